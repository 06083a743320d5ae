"""Those who must not get in or hear anything, each of whom fails with an error of their own.

Intruder: not invited. Impostor: has someone else's ticket. Eavesdropper: may resolve the
caller's ticket, and hears the answer. Stale ticket: was good.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from mikeytool.conference import calling_in
from mikeytool.conference.model import Purpose
from mikeytool.exchange.environment import NS
from mikeytool.exchange.initiator import finish_transfer
from mikeytool.exchange.ticket import TicketKeys
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.wire.errors import MikeyError, Refused
from mikeytool.wire.header import HDR
from mikeytool.wire.payloads import IDR, Payload
from mikeytool.wire.registry import ErrorNo, IdRole
from tests.conference.room import FACTORY, FLAGS, FOCUS, Room
from tests.world import ALICE, BOB, CAROL, EVE, accept_all, rewritten_init


def refusal(room: Room, init: bytes) -> Refused:
    """How a call is refused; nothing comes of it."""
    before = room.tables()
    with pytest.raises(Refused) as refused:
        room.call_in(init)
    after = room.tables()
    for name in ("members", "ssrcs", "group_keys", "allowed"):
        assert after[name] == before[name]
    return refused.value


def intruder(room: Room) -> Refused:
    eve = room.person(EVE)
    eve.ticket(FOCUS)
    return refusal(room, eve.call())


def impostor(room: Room, flags: str) -> Refused:
    """Bob with the ticket of Alice, whose MPKi he gets from the KMS as one who may resolve it."""
    alice, bob = room.person(ALICE), room.person(BOB)
    held = alice.ticket(FOCUS, BOB, flags=flags)
    resolved = room.resolved(alice.call(), BOB)
    bob.who, bob.held = ALICE, replace(held, keys=resolved.keys)
    return refusal(room, bob.call())


def renamed(room: Room) -> Refused:
    """Eve calls with a ticket of her own, as Bob."""
    eve = room.person(EVE)
    held = eve.ticket(FOCUS)

    def as_bob(_header: HDR, payloads: list[Payload]) -> None:
        (at,) = [
            at
            for at, one in enumerate(payloads)
            if isinstance(one, IDR) and one.id_role == IdRole.INITIATOR
        ]
        payloads[at] = BOB.idr(IdRole.INITIATOR)

    return refusal(room, rewritten_init(eve.call(), held, as_bob))


def eavesdropper(room: Room) -> Refused:
    """Carol, who may resolve the ticket that Alice calls with, hears the answer.

    What she gets of the KMS is forked for her; she tries all that she can make of it.
    """
    alice = room.person(ALICE)
    held = alice.ticket(FOCUS, CAROL)
    init = alice.call()
    answer = room.call_in(init)
    hers = room.resolved(init, CAROL).keys
    assert hers.mpki.key == held.keys.mpki.key
    found = []
    for keys in (hers, TicketKeys(hers.mpki, hers.mpki, ()), TicketKeys(hers.mpki, None, ())):
        with pytest.raises(Refused) as refused:
            finish_transfer(
                room.env, replace(held, keys=keys), read_transfer_init(init), answer, accept_all
            )
        found.append(refused.value)
    assert alice.take(answer).keys
    assert len({str(one) for one in found}) == 1
    return found[0]


def stale(room: Room) -> Refused:
    """With a message that is new."""
    bob = room.person(BOB)
    bob.ticket(FOCUS)
    # The caller's own tool would not send it any more.
    clock, room.clock.now = room.clock.now, room.clock.now + 3590 * NS
    init = bob.call()
    room.clock.now += 20 * NS
    try:
        return refusal(room, init)
    finally:
        room.clock.now = clock


def test_each_fails_with_an_error_of_their_own(room: Room) -> None:
    room.create(BOB, CAROL)
    found = {
        "intruder": intruder(room),
        "impostor": impostor(room, FLAGS),
        "impostor, not forked": impostor(room, FLAGS.replace("I", "")),
        "renamed": renamed(room),
        "stale": stale(room),
    }
    assert room.group_keys() == []
    found["eavesdropper"] = eavesdropper(room)
    words = {
        "intruder": ("sip:eve@example.com may not take part", ErrorNo.UNSPECIFIED, True),
        "impostor": ("Initiator Data does not verify", ErrorNo.INVALID_TICKET, False),
        "impostor, not forked": ("no I flag", ErrorNo.INVALID_TPPAR, False),
        "renamed": ("only sip:eve@example.com may send this ticket", ErrorNo.INVALID_ID, False),
        "stale": ("expired", ErrorNo.INVALID_TICKET, False),
        "eavesdropper": ("MAC", ErrorNo.AUTH_FAILURE, False),
    }
    for name, refused in found.items():
        text, error_no, authenticated = words[name]
        assert text in str(refused), name
        assert refused.error_no == error_no, name
        assert (refused.answer is not None) == authenticated, name
    assert len({str(refused) for refused in found.values()}) == len(found) == len(words)


def test_an_eavesdropper_can_open_nothing_of_the_answer(room: Room) -> None:
    """Carol may resolve the ticket with which Alice calls; what she gets is forked for her."""
    alice = room.create(BOB, CAROL)
    init = alice.call(FOCUS)
    answer = room.call_in(init)
    assert alice.held is not None
    hers = room.resolved(init, CAROL).keys
    assert hers.mpki.key == alice.held.keys.mpki.key
    keys = (hers, TicketKeys(hers.mpki, hers.mpki, hers.keys), TicketKeys(hers.mpki, None, ()))
    for one in keys:
        with pytest.raises(MikeyError, match="MAC"):
            finish_transfer(
                room.env,
                replace(alice.held, keys=one),
                read_transfer_init(init),
                answer,
                accept_all,
            )
    assert alice.take(answer).keys


def test_an_eavesdropper_does_not_create_in_anothers_name(room: Room) -> None:
    """Bob may resolve the ticket and heard the creation; he sends it on, changed."""
    alice = room.person(ALICE)
    held = alice.ticket(FACTORY, BOB, keys=1)
    heard = alice.call(FACTORY)
    known = room.resolved(heard, BOB)
    bob = room.person(BOB)
    bob.who, bob.held = ALICE, replace(held, keys=known.keys)
    with pytest.raises(Refused, match="Initiator Data"):
        calling_in.create(room.system, bob.call(FACTORY), FOCUS, (Purpose.AUDIO,))
    calling_in.create(room.system, heard, FOCUS, (Purpose.AUDIO,))
