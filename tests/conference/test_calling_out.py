"""Calling out: the ticket is for one person, and the answer proves who they are."""

from __future__ import annotations

import pytest

from mikeytool.conference import membership
from mikeytool.conference.model import Purpose
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.error import error_message
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, TICKET
from mikeytool.wire.registry import ErrorNo, TicketFlag
from tests.conference.room import DAN, FOCUS, Person, Room
from tests.world import ALICE, BOB, CAROL, EVE


@pytest.fixture
def alice(room: Room) -> Person:
    """Alice in her conference, to which Bob and Carol may come."""
    creator = room.create(BOB, CAROL)
    creator.call_in()
    return creator


def test_who_answers_is_in(room: Room, alice: Person) -> None:
    bob = room.person(BOB)
    init = room.call_out(BOB)
    assert room.states()[BOB] == "invited"
    answered = room.answer(bob.pick_up(init))
    assert (answered.identity, list(answered.updates), answered.refusal) == (BOB, [], None)
    assert room.states() == {ALICE: "joined", BOB: "joined"}
    assert bob.sends()[0][1] == alice.sends()[0][1]
    assert room.ssrcs(BOB) == [bob.sends()[0][0]]


def test_the_ticket_is_a_new_one_for_that_person_alone(room: Room, alice: Person) -> None:
    message = Message.parse(room.call_out(BOB))
    ticket = message.find(TICKET)
    assert ticket is not None
    policy = TicketPolicy.of(ticket)
    assert policy.responders == (BOB,)
    assert policy.initiator == FOCUS
    for flag in (TicketFlag.L, TicketFlag.I, TicketFlag.F):
        assert flag in policy.flags
    assert message.find(KEMAC) is not None


@pytest.mark.parametrize("who", [EVE, DAN])
def test_strangers_are_not_called(room: Room, alice: Person, who: Identity) -> None:
    with pytest.raises(Refused, match="may not take part"):
        room.call_out(who)
    assert who not in room.states()


def test_a_group_is_not_called(room: Room, alice: Person) -> None:
    team = Identity.from_text("sip:team@example.com")
    room.store.add_members(team, [BOB, CAROL])
    membership.allow(room.system, None, [team])
    with pytest.raises(Refused, match="not one person"):
        room.call_out(team)


def test_a_name_that_becomes_a_groups_while_the_telephone_rings(room: Room, alice: Person) -> None:
    """Then its members may resolve the ticket, but none of them was called."""
    team = Identity.from_text("sip:team@example.com")
    membership.allow(room.system, None, [team])
    init = room.call_out(team)
    room.store.add_members(team, [BOB])
    answered = room.answer(room.person(BOB).pick_up(init))
    assert str(answered.refusal) == "sip:bob@example.com answers, sip:team@example.com was called"
    # Bob has heard the group key, so it changes.
    assert room.states() == {ALICE: "joined", team: "left"}
    assert [update.to for update in answered.updates] == [ALICE]
    assert room.group_keys()[0].tek not in room.person(BOB).keys().values()
    with pytest.raises(Refused, match="too late"):
        room.answer(room.person(BOB).pick_up(init))


def test_a_pattern_is_not_called(room: Room, alice: Person) -> None:
    with pytest.raises(Refused, match="not one person"):
        room.call_out(Identity.from_text("sip:*@example.com"))


def test_a_member_of_an_allowed_group_is_called(room: Room, alice: Person) -> None:
    team = Identity.from_text("sip:team@example.com")
    room.store.add_members(team, [DAN])
    membership.allow(room.system, None, [team])
    room.answer(room.person(DAN).pick_up(room.call_out(DAN)))
    assert room.states()[DAN] == "joined"


def test_someone_who_is_in_is_not_called(room: Room, alice: Person) -> None:
    with pytest.raises(Refused, match="already"):
        room.call_out(ALICE)


def test_someone_who_is_being_called_is_not_called_again(room: Room, alice: Person) -> None:
    """Else whoever answers the first call would be a leaver."""
    init = room.call_out(BOB, timeout=60)
    before = room.dump()
    with pytest.raises(Refused, match=r"being called until 2025-06-15T15:0\d.*remove ends that"):
        room.call_out(BOB)
    assert room.dump() == before
    room.answer(room.person(BOB).pick_up(init))
    assert room.states()[BOB] == "joined"


def test_someone_is_called_again_after_their_time_or_a_removal(room: Room, alice: Person) -> None:
    room.call_out(BOB, timeout=60)
    room.clock.now += 61 * NS
    room.call_out(BOB, timeout=60)
    assert len(room.group_keys()) == 2
    membership.dismiss(room.system, None, [BOB], deny=False)
    room.answer(room.person(BOB).pick_up(room.call_out(BOB)))
    assert room.states()[BOB] == "joined"
    assert len(room.group_keys()) == 3


def test_nobody_else_can_answer(room: Room, alice: Person) -> None:
    init = room.call_out(BOB)
    with pytest.raises(Refused, match="may not resolve"):
        room.person(CAROL).pick_up(init)


def test_an_answer_under_another_name_lets_nobody_in(room: Room, alice: Person) -> None:
    """Carol answers her own call-out; it is not taken for Bob's."""
    to_bob, to_carol = room.call_out(BOB), room.call_out(CAROL)
    answer = room.person(CAROL).pick_up(to_carol)
    forged = bytearray(answer)
    forged[4:8] = to_bob[4:8]
    with pytest.raises(Refused):
        room.answer(bytes(forged))
    assert room.states()[BOB] == "invited"


def test_a_forged_answer_changes_nothing(room: Room, alice: Person) -> None:
    answer = room.person(BOB).pick_up(room.call_out(BOB))
    before = room.dump()
    with pytest.raises(Refused, match="MAC"):
        room.answer(answer[:-1] + bytes([answer[-1] ^ 1]))
    assert room.dump() == before
    room.answer(answer)
    assert room.states()[BOB] == "joined"


def test_an_answer_is_taken_once(room: Room, alice: Person) -> None:
    answer = room.person(BOB).pick_up(room.call_out(BOB))
    room.answer(answer)
    before = room.dump()
    with pytest.raises(Refused):
        room.answer(answer)
    assert room.dump() == before


def test_who_does_not_answer_in_time_is_a_leaver(room: Room, alice: Person) -> None:
    """They have the group key since the call-out; so it changes."""
    init = room.call_out(BOB, timeout=60)
    answer = room.person(BOB).pick_up(init)
    (old,) = room.group_keys()
    room.clock.now += 61 * NS
    with pytest.raises(Refused, match="too late"):
        room.answer(answer)
    (update,) = membership.unanswered(room.system, None)
    room.answer(alice.update(update.message))
    assert room.states()[BOB] == "left"
    new, overlapping = room.group_keys()
    assert overlapping.spi == old.spi
    assert new.tek not in room.person(BOB).keys().values()
    assert alice.keys()[new.spi] == new.tek


def test_who_refuses_is_a_leaver(room: Room, alice: Person) -> None:
    init = room.call_out(BOB)
    verified = room.verified(init, BOB)
    keys = verified.init.keys(verified.resolved.keys.mpki.key, response=False)
    header = Message.parse(init).header
    answered = room.answer(error_message(room.env, header, ErrorNo.UNSPECIFIED, keys))
    assert answered.refusal is not None
    assert [update.to for update in answered.updates] == [ALICE]
    assert room.states()[BOB] == "left"
    assert len(room.group_keys()) == 2


def test_a_refusal_that_anyone_could_have_sent_is_a_hint(room: Room, alice: Person) -> None:
    init = room.call_out(BOB)
    header = Message.parse(init).header
    with pytest.raises(Refused, match="not authenticated"):
        room.answer(error_message(room.env, header, ErrorNo.UNSPECIFIED, None))
    assert room.states()[BOB] == "invited"


def test_a_taken_ssrc_in_the_answer_is_changed_and_the_key_with_it(
    room: Room, alice: Person
) -> None:
    """Under the old key two would send with one SSRC."""
    bob, taken = room.person(BOB), alice.sends()[0][0]
    answered = room.answer(bob.pick_up(room.call_out(BOB), ssrc=taken))
    assert {update.to for update in answered.updates} == {ALICE, BOB}
    for update in answered.updates:
        room.answer(room.person(update.to).update(update.message))
    assert bob.sends()[0][0] != taken
    assert room.ssrcs(BOB) == [bob.sends()[0][0]]
    assert room.ssrcs(ALICE) == [taken]
    assert {bob.sends()[0][1].key, alice.sends()[0][1].key} == {room.group_keys()[0].tek}
    assert not membership.unanswered(room.system, None)


def test_a_stream_under_the_key_of_another_purpose_is_put_right(room: Room) -> None:
    """Bob adds a second stream, whose key his tool could only guess."""
    room.create(BOB, purposes=[Purpose.EVENTS, Purpose.AUDIO])
    bob = room.person(BOB)
    init = room.call_out(BOB)
    answer, bob.session = room.answered(
        init, BOB, crypto_sessions=[CsSpec(send=True, ssrc=5), CsSpec(send=True, ssrc=6)]
    )
    (update,) = room.answer(answer).updates
    room.answer(bob.update(update.message))
    audio = next(key for key in room.group_keys() if key.purpose == Purpose.AUDIO)
    assert {media.key for _, media in bob.sends()} == {audio.tek}
    assert room.ssrcs(BOB) == [5, 6]


def test_keys_that_changed_while_the_telephone_rang_are_sent_after(
    room: Room, alice: Person
) -> None:
    bob = room.person(BOB)
    init = room.call_out(BOB)
    membership.change_keys(room.system, None)
    answered = room.answer(bob.pick_up(init))
    (update,) = answered.updates
    room.answer(bob.update(update.message))
    new = room.group_keys()[0]
    assert bob.sends()[0][1].key == new.tek
