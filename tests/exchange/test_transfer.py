"""Ticket Transfer: what a responder refuses, and what an initiator refuses of the answer
(RFC 6043 4.2.2).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mikeytool.crypto.derive import message_keys
from mikeytool.crypto.kemac import seal_kemac
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import ErrorReceived, error_message
from mikeytool.exchange.policy import wanted_key
from mikeytool.exchange.profile import PROFILE_256
from mikeytool.exchange.protection import protect
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.transfer import (
    check_acceptable,
    finish_transfer,
    read_transfer_init,
    session_of_init,
    transfer_resp,
    verify_transfer_init,
)
from mikeytool.srtp.policy import policy_for
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, KEMAC, RANDR, SP, TICKET, KeyData, Payload, T, V
from mikeytool.wire.registry import ErrorNo, KeyType, RandRole, TicketFlag
from mikeytool.wire.timestamp import Timestamp
from tests.world import (
    ALICE,
    BOB,
    CAROL,
    EVE,
    FORKING,
    HALF_TRIP,
    PLAIN,
    POLICY,
    SUITE_128,
    SUITE_256,
    Change,
    World,
    accept_all,
    dropping,
    init_keys,
    inserting,
    policy_with,
    putting,
    rewritten,
    rewritten_answer,
    rewritten_init,
    setting,
    tek,
    untouched,
    with_initiator_data,
)

WITH_KEYS = "DEFGHJLMNO"
BOSS = Identity.from_text("sip:boss@trusted.example")


def respond(world: World, init: bytes, **how: object) -> tuple[bytes | None, Session]:
    """Everything that a responder does, files and replay cache apart."""
    read = read_transfer_init(init)
    check_acceptable(world.env, read, accept_all)
    verified = verify_transfer_init(read, world.resolved(init), BOB)
    return transfer_resp(world.env, verified, accept_all, local=BOB, **how)  # type: ignore[arg-type]


def finish(world: World, held: HeldTicket, init: bytes, answer: bytes) -> Session:
    return finish_transfer(world.env, held, init, answer, accept_all)


def rand_in(answer: bytes, role: RandRole) -> bytes:
    return next(p.rand for p in Message.parse(answer).all(RANDR) if p.rand_role == role)


# --- RANDs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 1, 15])
@pytest.mark.parametrize("flags", [FORKING, PLAIN, HALF_TRIP])
def test_a_short_randr_i(world: World, flags: str, length: int) -> None:
    """RFC 6043 12.1: it goes with keys of 128 bits and more."""
    held = world.held(flags)
    init = world.call(held)
    respond(world, rewritten_init(init, held, putting(RANDR, rand=bytes(16))))
    with pytest.raises(Refused):
        respond(world, rewritten_init(init, held, putting(RANDR, rand=bytes(length))))


@pytest.mark.parametrize("length", [0, 1, 15])
@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_short_randr_r(world: World, flags: str, length: int) -> None:
    """RFC 6043 12.1, interpretation 27: with the G flag it must be there."""
    held = world.held(flags)
    init = world.call(held)
    answer, session = world.answered(init)
    finish(world, held, init, rewritten_answer(answer, init, session.mpk, untouched))
    for change in (
        putting(RANDR, 0, rand=bytes(length)),
        dropping(RANDR, rand_role=RandRole.RESPONDER.value),
    ):
        with pytest.raises(Refused):
            finish(world, held, init, rewritten_answer(answer, init, session.mpk, change))


def test_a_randr_r_that_was_not_asked_for_is_ignored(world: World) -> None:
    """Interpretation 27: RANDRr when G = 0."""
    held = world.held("DEFHJNO")
    init = world.call(held)
    answer, theirs = world.answered(init)
    assert Message.parse(answer).all(RANDR) == []
    extra = RANDR(rand_role=RandRole.RESPONDER.value, rand=bytes(16))
    message = Message.parse(answer)
    header, payloads = rewritten(answer, inserting(extra))
    keys = message_keys(
        header.prf,
        theirs.mpk,
        header.csb_id,
        response=True,
        randr_i=read_transfer_init(init).randr_i,
    )
    changed = protect(header, payloads, read_transfer_init(init).incoming.profile, keys, init)
    ours = finish(world, held, init, changed)
    assert message.header.csb_id == ours.csb_id
    for mine, other in zip(ours.crypto_sessions, theirs.crypto_sessions, strict=True):
        assert ours.media_key(mine) == theirs.media_key(other)


@pytest.mark.parametrize("length", [16, 32, 64])
def test_rands_are_as_long_as_the_longest_key(world: World, length: int) -> None:
    """RFC 6043 12.1: of MPK, TGK and GTGK, those that either end brings included."""
    keys = (wanted_key(KeyType.TGK, length, 0),)
    held = world.held(WITH_KEYS, prf=PROFILE_256.prf, keys=keys)
    init = world.call(held)
    assert len(read_transfer_init(init).randr_i) >= max(32, length)
    short = rewritten_init(init, held, putting(RANDR, rand=bytes(16)))
    answer, _ = respond(world, short)
    assert answer is not None
    assert len(rand_in(answer, RandRole.RESPONDER)) >= max(32, length)
    finish(world, held, short, answer)


def test_rands_are_as_long_as_keys_of_ones_own(world: World) -> None:
    """RFC 6043 12.1."""
    held = world.held(WITH_KEYS, prf=PROFILE_256.prf)
    own = new_key(KeyType.TGK, os.urandom(100), None, b"own!")
    init = world.call(held, kemac_keys=[own])
    assert len(read_transfer_init(init).randr_i) >= 100
    bare = world.call(held)
    short = rewritten_init(bare, held, putting(RANDR, rand=bytes(16)))
    answer, _ = respond(world, with_kemac(short, held, [own]))
    assert len(rand_in(answer or b"", RandRole.RESPONDER)) >= 100
    answer, _ = respond(world, bare, kemac_keys=[own])
    assert len(rand_in(answer or b"", RandRole.RESPONDER)) >= 100


# --- strength ---------------------------------------------------------------------------------


def test_header_and_ticket_of_different_strength(world: World) -> None:
    """Interpretation 5, RFC 6043 12.1: 128 and 256 bits are not mixed."""
    for prf in (0, 1):
        init = world.call(world.held(PLAIN, prf=prf))
        header, payloads = rewritten(init, setting(prf=1 - prf))
        mixed = Message(header, [*payloads, Message.parse(init).payloads[-1]]).build()
        with pytest.raises(Refused) as caught:
            read_transfer_init(mixed)
        assert caught.value.error_no == ErrorNo.INVALID_PRF


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_a_256_bit_suite_under_128_bit_algorithms(world: World, flags: str) -> None:
    """RFC 6043 12.1: with TEKs longer than 128 bits, 128-bit algorithms SHALL NOT be used."""
    held = world.held(flags)
    long = policy_for(SUITE_256, 0)
    with pytest.raises(Refused, match=r"12\.1"):
        world.call(held, policies=[long])
    forged = rewritten_init(
        world.call(held), held, putting(SP, policy_param=list(long.policy_param))
    )
    with pytest.raises(Refused, match=r"12\.1"):
        respond(world, forged)
    with pytest.raises(Refused, match=r"12\.1"):
        respond(world, world.call(held, policies=[]), policies=[long])
    strong = world.held(flags, prf=PROFILE_256.prf)
    _, session = respond(world, world.call(strong, policies=[long]))
    assert [len(session.media_key(one).key) for one in session.crypto_sessions] == [32, 32]


def test_an_answer_with_a_256_bit_suite_under_128_bit_algorithms(world: World) -> None:
    """RFC 6043 12.1."""
    held = world.held(PLAIN)
    init = world.call(held, policies=[])
    answer, session = world.answered(init, policies=[POLICY])
    long = policy_for(SUITE_256, 0)
    forged = rewritten_answer(
        answer, init, session.mpk, putting(SP, policy_param=list(long.policy_param))
    )
    with pytest.raises(Refused, match=r"12\.1"):
        finish(world, held, init, forged)


@pytest.mark.parametrize("kind", [KeyType.TEK, KeyType.TGK, KeyType.GTGK])
def test_a_256_bit_key_under_128_bit_algorithms(world: World, kind: KeyType) -> None:
    """RFC 6043 12.1, whoever brings the key."""
    held = world.held(WITH_KEYS)
    for length in (15, 32):
        odd = new_key(kind, os.urandom(length), None, b"long")
        with pytest.raises(Refused, match=r"12\.1"):
            world.call(held, kemac_keys=[odd])
        with pytest.raises(Refused, match=r"12\.1"):
            respond(world, with_kemac(world.call(held), held, [odd]))
        with pytest.raises(Refused, match=r"12\.1"):
            respond(world, world.call(held), kemac_keys=[odd])


@pytest.mark.parametrize("length", [0, 1, 15, 24, 255])
def test_a_policy_with_keys_that_no_cipher_has(world: World, length: int) -> None:
    """RFC 6043 12.1; a key length is for nobody to choose freely."""
    held = world.held(PLAIN)
    odd = policy_with(0, ENCR_KEY_LENGTH=length)
    forged = rewritten_init(
        world.call(held), held, putting(SP, policy_param=list(odd.policy_param))
    )
    with pytest.raises(Refused) as caught:
        respond(world, forged)
    assert caught.value.error_no == ErrorNo.INVALID_SPPAR


# --- KEMAC ------------------------------------------------------------------------------------


def with_kemac(init: bytes, held: HeldTicket, keys: Sequence[KeyData]) -> bytes:
    """TRANSFER_INIT with a KEMAC of any content, which the code refuses to write."""

    def change(header: HDR, payloads: list[Payload]) -> None:
        payloads[:] = [payload for payload in payloads if not isinstance(payload, KEMAC)]
        t = Timestamp.of(next(p for p in payloads if isinstance(p, T)))
        protection = init_keys(header, payloads, held.keys.mpki.key)
        encr_alg = 1 if header.prf == 0 else 3
        payloads.append(seal_kemac(encr_alg, keys, protection, header.csb_id, t))

    return rewritten_init(init, held, change)


def test_an_mpk_is_no_session_key(world: World) -> None:
    """RFC 6043 5.2: KEMAC = E(encr_key, {TEK|TGK|GTGK}), from either end."""
    held = world.held(WITH_KEYS)
    mpk = new_key(KeyType.MPK, os.urandom(16), None, b"mpk!")
    _, good = respond(world, with_kemac(world.call(held), held, [tek(b"tek!")]))
    assert good.keys[0].spi == b"tek!"
    for keys in ([mpk], [tek(b"tek!"), mpk], [mpk, tek(b"tek!")]):
        with pytest.raises(Refused, match="MPK"):
            respond(world, with_kemac(world.call(held), held, keys))
    init = world.call(held)
    answer, session = world.answered(init, kemac_keys=[tek(b"tek!")])
    keys_of_answer = message_keys(
        0,
        session.mpk,
        session.csb_id,
        response=True,
        randr_i=session.randr_i,
        randr_r=session.randr_r,
    )

    def with_mpk(header: HDR, payloads: list[Payload]) -> None:
        at = next(n for n, payload in enumerate(payloads) if isinstance(payload, KEMAC))
        t = Timestamp.of(next(p for p in payloads if isinstance(p, T)))
        payloads[at] = seal_kemac(1, [tek(b"tek!"), mpk], keys_of_answer, header.csb_id, t)

    with pytest.raises(Refused, match="MPK"):
        finish(world, held, init, rewritten_answer(answer, init, session.mpk, with_mpk))


def test_keys_are_sent_only_with_leave_of_the_ticket(world: World) -> None:
    """RFC 6043 6.10, flags L and M."""
    neither = world.held(PLAIN)
    with pytest.raises(Refused, match="L flag") as caught:
        world.call(neither, kemac_keys=[tek(b"tek!")])
    assert caught.value.error_no == ErrorNo.INVALID_TPPAR
    with pytest.raises(Refused, match="L flag"):
        respond(world, with_kemac(world.call(neither), neither, [tek(b"tek!")]))
    init = world.call(neither)
    with pytest.raises(Refused, match="M flag"):
        respond(world, init, kemac_keys=[tek(b"tek!")])
    answer, session = world.answered(init)
    empty = KEMAC(encr_alg=1, encr_data=b"", mac_alg=0)
    with pytest.raises(Refused, match="M flag"):
        finish(world, neither, init, rewritten_answer(answer, init, session.mpk, inserting(empty)))


@pytest.mark.parametrize("fields", [{"encr_alg": 0}, {"mac_alg": 1, "mac": bytes(20)}])
def test_a_kemac_that_is_not_encrypted_or_has_a_mac(world: World, fields: dict[str, Any]) -> None:
    """Interpretation 16: NULL encryption only in a TP; RFC 6043 4.2.1.5: a NULL MAC."""
    held = world.held(WITH_KEYS)
    init = world.call(held, kemac_keys=[tek(b"tek!")])
    respond(world, rewritten_init(init, held, untouched))
    with pytest.raises(Refused):
        respond(world, rewritten_init(init, held, putting(KEMAC, **fields)))


def test_two_keys_with_one_spi(world: World) -> None:
    """Interpretation 25."""
    held = world.held(WITH_KEYS)
    taken = held.keys.keys[0].spi or b""
    for keys in ([tek(taken)], [tek(b"same"), tek(b"same")]):
        with pytest.raises(Refused, match="SPI"):
            world.call(held, kemac_keys=keys)
        with pytest.raises(Refused, match="SPI"):
            respond(world, with_kemac(world.call(held), held, keys))
        with pytest.raises(Refused, match="SPI"):
            respond(world, world.call(held), kemac_keys=keys)


def test_a_crypto_session_that_names_no_key(world: World) -> None:
    """Interpretation 9: a crypto session's SPI names its key."""
    held = world.held(WITH_KEYS)
    init = world.call(held)

    def nowhere(header: HDR, _payloads: list[Payload]) -> None:
        header.cs_id_map[0] = header.cs_id_map[0].copy(spi=b"nope", spi_length=None)

    with pytest.raises(Refused, match="6e6f7065"):
        respond(world, rewritten_init(init, held, nowhere))


def test_one_ssrc_under_one_key_in_two_crypto_sessions(world: World) -> None:
    """RFC 3711 9.1: their key streams would be the same."""
    held = world.held(WITH_KEYS)
    twice = [CsSpec(send=True, ssrc=5, spi=b"tek!")] * 2
    with pytest.raises(Refused, match="SSRC"):
        respond(world, world.call(held, twice, kemac_keys=[tek(b"tek!")]))
    other_ids = [CsSpec(send=True, ssrc=5)] * 2  # a TGK gives each CS ID a TEK of its own
    respond(world, world.call(held, other_ids))


# --- who --------------------------------------------------------------------------------------


def test_with_forking_only_its_requester_sends_a_ticket(world: World) -> None:
    """Interpretation 18."""
    held = world.held(FORKING)
    with pytest.raises(Refused, match="only sip:alice") as caught:
        world.call(held, caller=BOSS)
    assert caught.value.error_no == ErrorNo.INVALID_ID
    posing = rewritten_init(world.call(held), held, putting(IDR, 0, id_data=BOSS.data))
    with pytest.raises(Refused, match="only sip:alice"):
        check_acceptable(world.env, read_transfer_init(posing), accept_all)
    plain = world.held(PLAIN)
    _, session = respond(world, world.call(plain, caller=BOSS))
    assert session.remote == BOSS


def test_an_answer_in_a_name_that_was_not_called(world: World) -> None:
    """Without forking whoever may resolve the ticket could write any name into IDRr: only who
    was called and whom the ticket names is believed (4.2.2.3).
    """
    held = world.held(PLAIN, responders=(BOB, CAROL))
    init = world.call(held)
    answer, session = world.answered(init)

    def from_(who: Identity) -> bytes:
        return rewritten_answer(answer, init, session.mpk, putting(IDR, id_data=who.data))

    assert finish(world, held, init, from_(BOB)).remote == BOB
    assert finish(world, held, init, from_(CAROL)).remote == CAROL
    for stranger in (EVE, ALICE, BOSS):
        with pytest.raises(Refused, match="not called") as caught:
            finish(world, held, init, from_(stranger))
        assert caught.value.error_no == ErrorNo.INVALID_ID
    nameless = rewritten_answer(answer, init, session.mpk, dropping(IDR))
    assert finish(world, held, init, nameless).remote == BOB


def test_with_forking_the_name_in_the_answer_goes_into_its_keys(world: World) -> None:
    """RFC 6043 5.1.1: MPKr' is bound to IDRr, so nobody answers in another's name."""
    held = world.held(FORKING, responders=(BOB, CAROL))
    init = world.call(held)
    answer, session = world.answered(init)
    assert finish(world, held, init, answer).remote == BOB
    forged = rewritten_answer(answer, init, session.mpk, putting(IDR, id_data=CAROL.data))
    with pytest.raises(Refused, match="MAC"):
        finish(world, held, init, forged)
    assert finish(world, held, init, world.answered(init, CAROL)[0]).remote == CAROL


def test_the_identity_from_the_kms_is_echoed(world: World) -> None:
    """RFC 6043 4.2.2.3: an IDRr in RESOLVE_RESP MUST be sent; without forking too
    (interpretation 27).
    """
    support = Identity.from_text("sip:it-support@example.com")
    for flags in (PLAIN, FORKING):
        init = world.call(world.held(flags))
        resolved = world.resolved(init)
        if resolved.modifier is None:
            resolved = replace(resolved, responder=support)
        verified = verify_transfer_init(read_transfer_init(init), resolved, BOB)
        answer, session = transfer_resp(world.env, verified, accept_all, local=EVE)
        named = [Identity.of(p) for p in Message.parse(answer or b"").all(IDR)]
        assert named == [session.local] == [support if flags == PLAIN else BOB]


@pytest.mark.parametrize("half", [IDR, RANDR])
def test_half_a_modifier_in_an_answer(world: World, half: type[Payload]) -> None:
    """Interpretation 27: with the I flag IDRr and RANDRkms, or refused."""
    held = world.held(FORKING)
    init = world.call(held)
    answer, session = world.answered(init)
    fields = {"rand_role": RandRole.KMS.value} if half is RANDR else {}
    forged = rewritten_answer(answer, init, session.mpk, dropping(half, **fields))
    with pytest.raises(Refused, match="RANDRkms"):
        finish(world, held, init, forged)


def test_a_modifier_without_forking(world: World) -> None:
    """Interpretation 27: RANDRkms without I."""
    held = world.held(PLAIN)
    init = world.call(held)
    answer, session = world.answered(init)
    extra = RANDR(rand_role=RandRole.KMS.value, rand=bytes(16))
    with pytest.raises(Refused, match="RANDRkms"):
        finish(world, held, init, rewritten_answer(answer, init, session.mpk, inserting(extra)))


def test_a_randr_kms_shorter_than_the_keys_that_it_forks(world: World) -> None:
    """RFC 6043 12.1: at least as long as the longest MPKr or TGK."""
    for prf, lengths in ((0, (0, 1, 15)), (1, (16, 31))):
        held = world.held(FORKING, prf=prf)
        init = world.call(held)
        answer, session = world.answered(init)
        at = 1
        assert Message.parse(answer).all(RANDR)[at].rand_role == RandRole.KMS
        for length in lengths:
            forged = rewritten_answer(
                answer, init, session.mpk, putting(RANDR, at, rand=bytes(length))
            )
            with pytest.raises(Refused, match="RANDRkms"):
                finish(world, held, init, forged)


def test_the_longest_tgk_counts_for_randr_kms(world: World) -> None:
    """RFC 6043 12.1."""
    keys = (wanted_key(KeyType.TGK, 64, 0),)
    held = world.held(FORKING, prf=1, keys=keys)
    init = world.call(held)
    answer, session = world.answered(init)
    assert len(rand_in(answer, RandRole.KMS)) >= 64
    forged = rewritten_answer(answer, init, session.mpk, putting(RANDR, 1, rand=bytes(63)))
    with pytest.raises(Refused, match="RANDRkms"):
        finish(world, held, init, forged)


# --- Initiator Data ---------------------------------------------------------------------------


def test_initiator_data_without_forking(world: World) -> None:
    """Interpretation 19: Initiator Data with I = 0 is refused, junk and the real thing."""
    held = world.held(PLAIN)
    init = world.call(held)
    for data in (b"\0", b"junkjunk", with_initiator_data(init, bytes(16))):
        forged = rewritten(init, putting(TICKET, initiator_data=data[:60]))
        raw = Message(forged[0], [*forged[1], Message.parse(init).payloads[-1]]).build()
        with pytest.raises(Refused, match="Initiator Data") as caught:
            read_transfer_init(raw)
        assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_forking_without_initiator_data(world: World) -> None:
    """Interpretation 19: none with I = 1. The keys are known to the responder already."""
    held = world.held(FORKING)
    init = world.call(held)
    resolved = world.resolved(init)
    bare = read_transfer_init(rewritten_init(init, held, untouched, signed=False))
    for check in (
        lambda: check_acceptable(world.env, bare, accept_all),
        lambda: verify_transfer_init(bare, resolved, BOB),
    ):
        with pytest.raises(Refused, match="Initiator Data") as caught:
            check()
        assert caught.value.error_no == ErrorNo.INVALID_TICKET


def test_a_ticket_taken_from_another_call(world: World) -> None:
    """RFC 6043 4.2.3.6: Vi is the V of the message. Carol, who may resolve the ticket as well,
    knows MPKi and so can make any call but not the Initiator Data for it.
    """
    held = world.held(FORKING, responders=(BOB, CAROL))
    init = world.call(held)
    header, payloads = rewritten(init, setting(csb_id=7))
    known = world.resolved(init, CAROL).keys.mpki.key
    profile = read_transfer_init(init).incoming.profile
    keys = init_keys(header, payloads, known)
    spliced = read_transfer_init(protect(header, payloads, profile, keys, ALICE.data + BOB.data))
    with pytest.raises(Refused, match="Vi") as caught:
        check_acceptable(world.env, spliced, accept_all)
    assert caught.value.error_no == ErrorNo.AUTH_FAILURE
    with pytest.raises(Refused, match="Vi"):
        verify_transfer_init(spliced, world.resolved(init), BOB)


# --- time and errors --------------------------------------------------------------------------


def test_a_ticket_that_expires_before_the_answer(world: World) -> None:
    """Interpretation 20: whoever acts on the ticket checks its validity."""
    held = world.held(PLAIN)
    init = world.call(held)
    answer, _ = world.answered(init)
    later = Environment(lambda: world.clock.now + 3700 * NS, os.urandom, skew=7200)
    with pytest.raises(Refused, match="expired"):
        finish_transfer(later, held, init, answer, accept_all)
    with pytest.raises(Refused, match="expired"):
        check_acceptable(later, read_transfer_init(init), accept_all)
    world.clock.now += 3700 * NS
    with pytest.raises(Refused, match="expired"):
        world.call(held)


def test_an_old_answer(world: World) -> None:
    """RFC 6043 4.2.2.3: the responder generates a fresh timestamp."""
    held = world.held(PLAIN)
    init = world.call(held)
    answer, _ = world.answered(init)
    world.clock.now += 400 * NS
    with pytest.raises(Refused) as caught:
        finish(world, held, init, answer)
    assert caught.value.error_no == ErrorNo.INVALID_TS


@pytest.mark.parametrize("field", [{"csb_id": 1}, {"prf": 1}, {"version": 2}])
def test_an_answer_to_something_else(world: World, field: dict[str, int]) -> None:
    """RFC 6043 4.2.2.3: version, PRF func and CSB ID are those of the TRANSFER_INIT."""
    held = world.held(PLAIN)
    init = world.call(held)
    answer, _ = world.answered(init)
    header, payloads = rewritten(answer, setting(**field))
    changed = Message(header, [*payloads, Message.parse(answer).payloads[-1]]).build()
    with pytest.raises(Refused, match=r"does not answer|version"):
        finish(world, held, init, changed)


def test_errors_are_believed_with_a_mac_and_nothing_else_of_theirs(world: World) -> None:
    """Interpretation 32: a valid MAC, an outstanding CSB ID and an acceptable T."""
    held = world.held(PLAIN)
    init = world.call(held)
    read = read_transfer_init(init)
    keys = read.keys(held.keys.mpki.key, response=False)
    header = read.incoming.message.header

    def told(env: Environment, about: HDR, **how: bool) -> bool:
        error = error_message(env, about, 9, keys if how.get("mac", True) else None)
        with pytest.raises(ErrorReceived) as caught:
            finish(world, held, init, error)
        return caught.value.verified

    assert told(world.env, header)
    assert not told(world.env, header, mac=False)
    assert not told(world.env, header.copy(csb_id=header.csb_id ^ 1))
    old = Environment(lambda: world.clock.now - 400 * NS, os.urandom)
    assert not told(old, header)


def test_the_initiator_without_an_answer(world: World) -> None:
    """F = 0: TRANSFER_INIT is all there is, and both ends have the same keys."""
    held = world.held(HALF_TRIP)
    init = world.call(held)
    answer, theirs = respond(world, init)
    assert answer is None
    ours = session_of_init(held, init)
    assert [ours.media_key(one) for one in ours.crypto_sessions] == [
        theirs.media_key(one) for one in theirs.crypto_sessions
    ]


def test_null_authentication(world: World) -> None:
    """Interpretation 16: NULL authentication in V is never accepted."""
    held = world.held(PLAIN)
    init = world.call(held)
    header, payloads = rewritten(init, untouched)
    null = Message(header, [*payloads, V(auth_alg=0, ver_data=b"")]).build()
    with pytest.raises(Refused) as caught:
        verify_transfer_init(read_transfer_init(null), world.resolved(init), BOB)
    assert caught.value.error_no == ErrorNo.INVALID_MAC


@pytest.mark.parametrize("size", [1, 40, 400])
def test_garbage_in_a_kemac_behind_a_good_mac(world: World, size: int) -> None:
    """What is in it is read only once the MAC is good, and refused as what it is."""
    held = world.held(WITH_KEYS)
    init = world.call(held, kemac_keys=[tek(b"tek!")])
    garbage: Change = putting(KEMAC, encr_data=b"\x99" * size)
    with pytest.raises((WireError, Refused)):
        respond(world, rewritten_init(init, held, garbage))


def test_another_ticket_than_was_resolved(world: World) -> None:
    """What a responder resolved must be what the message carries: whoever knows MPKi could
    change the policy in a ticket that no KMS looks at again.
    """
    first, second = world.held(PLAIN, responders=(BOB, CAROL)), world.held(FORKING)
    resolved = world.resolved(world.call(first))
    with pytest.raises(Refused):
        verify_transfer_init(
            read_transfer_init(world.call(first)), world.resolved(world.call(second)), BOB
        )
    init = world.call(first)
    verify_transfer_init(read_transfer_init(init), resolved, BOB)
    for change in (
        putting(TICKET, flags=int(TicketFlag.from_letters(WITH_KEYS))),
        putting(TICKET, tp_data=second.ticket.tp_data),
        putting(TICKET, subtype=2),
    ):
        forged = read_transfer_init(rewritten_init(init, first, change))
        with pytest.raises(Refused, match="another ticket"):
            verify_transfer_init(forged, resolved, BOB)


def test_identities_stand_in_for_those_left_out(world: World) -> None:
    """Interpretation 4: what both ends know; others do not verify."""
    held = world.held(PLAIN)
    init = world.call(held)

    header, payloads = rewritten(init, dropping(IDR))
    keys = init_keys(header, payloads, held.keys.mpki.key)
    profile = read_transfer_init(init).incoming.profile
    raw = protect(header, payloads, profile, keys, ALICE.data + BOB.data)
    resolved = world.resolved(init)
    verified = verify_transfer_init(read_transfer_init(raw), resolved, BOB)
    assert verified.initiator == ALICE
    with pytest.raises(Refused, match="MAC"):
        verify_transfer_init(read_transfer_init(raw), resolved, CAROL)


def test_a_suite_that_was_not_offered(world: World) -> None:
    """RFC 6043 4.2.2.4: the initiator checks that the security policies are acceptable."""
    held = world.held(PLAIN)
    init = world.call(held, policies=[])
    answer, _ = world.answered(init, policies=[policy_for(SUITE_128, 0)])
    with pytest.raises(Refused) as caught:
        finish_transfer(world.env, held, init, answer, lambda _: False)
    assert caught.value.error_no == ErrorNo.INVALID_SPPAR
