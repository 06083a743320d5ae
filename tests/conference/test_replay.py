"""Recorded exchanges of a whole conference get nobody a second seat (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mikeytool.conference import calling_in, membership
from mikeytool.conference.model import Purpose
from mikeytool.exchange.environment import NS
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from tests.conference.room import FOCUS, Room
from tests.world import ALICE, BOB, CAROL

Heard = list[tuple[Callable[[bytes], object], bytes]]
OTHER = Identity.from_text("sip:room-2@conf.example.com")


def test_everything_that_was_said_is_said_again(room: Room) -> None:
    heard: Heard = []

    def create(message: bytes) -> object:
        return calling_in.create(room.system, message, OTHER, (Purpose.AUDIO,))

    alice = room.create(BOB, CAROL)
    heard.append((create, alice.init))
    alice.take(room.call_in(alice.call(FOCUS)))
    heard.append((room.call_in, alice.init))
    room.person(BOB).call_in(0x11111111)
    heard.append((room.call_in, room.person(BOB).init))
    answer = room.person(CAROL).pick_up(room.call_out(CAROL))
    room.answer(answer)
    heard.append((room.answer, answer))
    for update in membership.dismiss(room.system, None, [BOB], deny=False):
        answer = room.person(update.to).update(update.message)
        room.answer(answer)
        heard.append((room.answer, answer))

    before = room.dump()
    assert len(heard) == 6
    for say, message in heard:
        with pytest.raises(Refused):
            say(message)
    assert room.dump() == before
    # Nor later, when the replay cache has forgotten them.
    room.clock.now += 400 * NS
    room.person(CAROL).ticket(FOCUS)
    room.person(CAROL).take(room.call_in(room.person(CAROL).call()))
    later = room.tables()
    for say, message in heard:
        with pytest.raises(Refused):
            say(message)
    for name in ("conferences", "members", "ssrcs", "allowed", "calls", "updates"):
        assert room.tables()[name] == later[name]
    assert room.states() == {ALICE: "joined", BOB: "left", CAROL: "joined"}


def test_a_call_to_one_conference_does_not_enter_another(room: Room) -> None:
    room.create(BOB)
    room.create(BOB, by=CAROL, focus=OTHER)
    bob = room.person(BOB)
    bob.call_in()
    with pytest.raises(Refused, match="seen before"):
        room.call_in(bob.init)
    assert room.states() == {BOB: "joined"}
    row = room.state.db.execute("SELECT count(*) FROM members WHERE conference = 2").fetchone()
    assert row == (0,)


def test_one_person_in_two_conferences(room: Room) -> None:
    """With keys of their own, and updates to one only."""
    room.create(BOB)
    room.create(BOB, by=CAROL, focus=OTHER)
    bob = room.person(BOB)
    first = bob.call_in(0x11111111)
    bob.ticket(OTHER)
    second = bob.take(room.call_in(bob.call(OTHER, ssrcs=[0x11111111])))
    assert first.media_key(first.crypto_sessions[0]) != second.media_key(second.crypto_sessions[0])
    assert second.crypto_sessions[0].ssrc == 0x11111111
    (update,) = membership.change_keys(room.system, OTHER)
    room.answer(bob.update(update.message))


def test_an_answer_to_an_earlier_update_is_taken_once(room: Room) -> None:
    """A newer update still waits for its own answer, and brings the member up to date."""
    alice = room.create(BOB, CAROL)
    alice.take(room.call_in(alice.call(FOCUS)))
    answers = []
    for _ in range(2):
        (update,) = membership.change_keys(room.system, None)
        answers.append(alice.update(update.message))
    room.answer(answers[0])
    before = room.dump()
    with pytest.raises(Refused):
        room.answer(answers[0])
    assert room.dump() == before
    room.answer(answers[1])
    assert alice.sends()[0][1].key == room.group_keys()[0].tek
    assert len(membership.unanswered(room.system, None)) == 0
