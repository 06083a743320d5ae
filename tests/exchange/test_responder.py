"""What a responder refuses of a call (RFC 6043 4.2.2.2, 4.2.2.3)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from mikeytool.crypto.derive import message_keys
from mikeytool.crypto.kemac import seal_kemac
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.profile import PROFILE_256
from mikeytool.exchange.protection import protect
from mikeytool.exchange.request import HeldTicket
from mikeytool.exchange.responder import check_acceptable, transfer_resp, verify_transfer_init
from mikeytool.exchange.ticket import new_key
from mikeytool.exchange.transfer import TransferInit, read_transfer_init
from mikeytool.srtp.security_policy import policy_for
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, KEMAC, RANDR, SP, TICKET, KeyData, Payload, T, V
from mikeytool.wire.registry import ErrorNo, KeyType, RandRole, TicketFlag
from mikeytool.wire.timestamp import Timestamp
from tests.exchange.ends import BOSS, WITH_KEYS, finish, rand_in, respond
from tests.world import (
    ALICE,
    BOB,
    CAROL,
    EVE,
    FORKING,
    HALF_TRIP,
    PLAIN,
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
    tek,
    untouched,
)


@pytest.mark.parametrize(
    ("flags", "length", "good"),
    [
        (FORKING, 1, True),  # RANDRr makes up for it
        (FORKING, 0, False),
        (PLAIN, 15, True),
        (PLAIN, 0, False),
        ("DEFHJNO", 15, False),
        ("DEFHJNO", 16, True),
        (HALF_TRIP, 15, False),
        (HALF_TRIP, 16, True),
    ],
)
def test_a_short_randr_i(world: World, flags: str, length: int, good: bool) -> None:
    """RFC 6043 12.1: RANDRi and RANDRr are together as long as the longest key."""
    held = world.held(flags)
    changed = rewritten_init(world.call(held), held, putting(RANDR, rand=bytes(length)))
    if good:
        respond(world, changed)
    else:
        with pytest.raises(Refused, match="RAND"):
            respond(world, changed)


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
    resolved = world.resolved(init)

    def called(who: Identity) -> TransferInit:
        raw = protect(header, payloads, profile, keys, ALICE.data + who.data).raw
        return read_transfer_init(raw)

    # Bob is named in the ticket, and Carol is who answers.
    for who in (BOB, CAROL):
        assert verify_transfer_init(called(who), resolved, CAROL).initiator == ALICE
    for who in (EVE, ALICE):
        with pytest.raises(Refused, match="MAC"):
            verify_transfer_init(called(who), resolved, CAROL)


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
