"""What an initiator refuses of the answer (RFC 6043 4.2.2.4)."""

from __future__ import annotations

import os

import pytest

from mikeytool.crypto.derive import message_keys
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import ErrorReceived, error_message
from mikeytool.exchange.initiator import finish_transfer, session_of_init
from mikeytool.exchange.profile import PROFILE_128, PROFILE_256
from mikeytool.exchange.protection import protect
from mikeytool.exchange.responder import check_acceptable
from mikeytool.exchange.session import Proof
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.srtp.security_policy import policy_for
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, RANDR, SP, TICKET, Payload
from mikeytool.wire.registry import ErrorNo, KeyType, RandRole
from tests.exchange.ends import BOSS, finish, rand_in, respond
from tests.world import (
    BOB,
    CAROL,
    EVE,
    FORKING,
    HALF_TRIP,
    PLAIN,
    POLICY,
    SUITE_128,
    SUITE_256,
    World,
    accept_all,
    dropping,
    inserting,
    putting,
    rewritten,
    rewritten_answer,
    rewritten_init,
    setting,
    untouched,
)


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
@pytest.mark.parametrize(
    ("length", "tgk", "good"), [(16, 32, True), (15, 32, False), (1, 16, True)]
)
def test_a_short_randr_r(world: World, flags: str, length: int, tgk: int, good: bool) -> None:
    """RFC 6043 12.1: RANDRi has 16 octets here, the TGK what is asked for."""
    prf = PROFILE_256.prf if tgk > 16 else PROFILE_128.prf
    held = world.held(flags, prf=prf, keys=(wanted_key(KeyType.TGK, tgk, 0),))
    first = world.call(held, policies=[policy_for(SUITE_128, 0)])
    init = rewritten_init(first, held, putting(RANDR, rand=bytes(16)))
    answer, session = world.answered(init)
    change = putting(RANDR, 0, rand=bytes(length))
    changed = rewritten_answer(answer, init, session.mpk, change)
    if good:
        assert len(finish(world, held, init, changed).randr_r) == length
    else:
        with pytest.raises(Refused, match="RANDs have 31 octets together"):
            finish(world, held, init, changed)


@pytest.mark.parametrize("flags", [FORKING, PLAIN])
def test_randr_r_must_be_there(world: World, flags: str) -> None:
    """Interpretation 27: with the G flag."""
    held = world.held(flags)
    init = world.call(held)
    answer, session = world.answered(init)
    finish(world, held, init, rewritten_answer(answer, init, session.mpk, untouched))
    for change in (
        putting(RANDR, 0, rand=b""),
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
    ours = finish(world, held, init, changed.raw)
    assert message.header.csb_id == ours.csb_id
    for mine, other in zip(ours.crypto_sessions, theirs.crypto_sessions, strict=True):
        assert ours.media_key(mine) == theirs.media_key(other)


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


def test_an_answer_in_a_name_that_was_not_called(world: World) -> None:
    """Interpretation 43: IDRr may differ from who was called (4.2.2.3). Without forking nothing
    but the KMS proves it, and the session says so.
    """
    held = world.held(PLAIN, responders=(BOB, CAROL))
    init = world.call(held)
    answer, session = world.answered(init)

    def from_(who: Identity) -> bytes:
        return rewritten_answer(answer, init, session.mpk, putting(IDR, id_data=who.data))

    for who in (BOB, CAROL, EVE, BOSS):
        made = finish(world, held, init, from_(who))
        assert (made.remote, made.remote_proof) == (who, Proof.KMS)
    nameless = rewritten_answer(answer, init, session.mpk, dropping(IDR))
    assert finish(world, held, init, nameless).remote == BOB


def test_with_forking_the_name_in_the_answer_goes_into_its_keys(world: World) -> None:
    """RFC 6043 5.1.1: MPKr' is bound to IDRr, so nobody answers in another's name."""
    held = world.held(FORKING, responders=(BOB, CAROL))
    init = world.call(held)
    answer, session = world.answered(init)
    made = finish(world, held, init, answer)
    assert (made.remote, made.remote_proof) == (BOB, Proof.MPKR)
    forged = rewritten_answer(answer, init, session.mpk, putting(IDR, id_data=CAROL.data))
    with pytest.raises(Refused, match="MAC"):
        finish(world, held, init, forged)
    assert finish(world, held, init, world.answered(init, CAROL)[0]).remote == CAROL


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


def test_a_ticket_that_expires_before_the_answer(world: World) -> None:
    """Interpretation 20: whoever acts on the ticket checks its validity."""
    held = world.held(PLAIN)
    init = world.call(held)
    answer, _ = world.answered(init)
    later = Environment(lambda: world.clock.now + 3700 * NS, os.urandom, skew=7200)
    with pytest.raises(Refused, match="expired"):
        finish_transfer(later, held, read_transfer_init(init), answer, accept_all)
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
    ours = session_of_init(held, read_transfer_init(init))
    assert [ours.media_key(one) for one in ours.crypto_sessions] == [
        theirs.media_key(one) for one in theirs.crypto_sessions
    ]


def test_a_suite_that_was_not_offered(world: World) -> None:
    """RFC 6043 4.2.2.4: the initiator checks that the security policies are acceptable."""
    held = world.held(PLAIN)
    init = world.call(held, policies=[])
    answer, _ = world.answered(init, policies=[policy_for(SUITE_128, 0)])
    with pytest.raises(Refused) as caught:
        finish_transfer(world.env, held, read_transfer_init(init), answer, lambda _: False)
    assert caught.value.error_no == ErrorNo.INVALID_SPPAR


def test_an_answer_covers_the_initiator_data(world: World) -> None:
    """Interpretation 12: TRANSFER_INIT as it was sent, although its own MAC leaves that out."""
    held = world.held(FORKING)
    init = world.call(held)
    answer, _ = respond(world, init)
    assert answer is not None
    message = Message.parse(init)
    ticket = message.find(TICKET)
    assert ticket is not None
    data = ticket.initiator_data[:-1] + bytes([ticket.initiator_data[-1] ^ 1])
    at = message.payloads.index(ticket)
    message.payloads[at] = ticket.copy(initiator_data=data)
    finish(world, held, init, answer)
    with pytest.raises(Refused, match="MAC"):
        finish(world, held, message.build(), answer)
