"""Creating a conference: who may, and what comes of it (TR 33.828 5.3.2)."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.conference import calling_in, rows
from mikeytool.conference.model import Purpose
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.error import ErrorReceived
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, KEMAC, V
from mikeytool.wire.registry import DataType, ErrorNo
from tests.conference.room import DAN, FACTORY, FLAGS, FOCUS, Room
from tests.world import ALICE, BOB, CAROL, EVE

AUDIO = (Purpose.AUDIO,)
OTHER = Identity.from_text("sip:room-2@conf.example.com")


def test_the_tickets_responders_and_the_creator_are_allowed(room: Room) -> None:
    room.create(BOB, CAROL)
    number = room.conference().number
    with room.state.transaction() as db:
        allowed = rows.allowed_set(db, number)
    assert set(allowed) == {ALICE, BOB, CAROL}
    assert room.conference().creator == ALICE


def test_the_systems_own_addresses_are_not_allowed(room: Room) -> None:
    """Nor those of its other conferences."""
    room.create(BOB)
    creator = room.person(CAROL)
    creator.ticket(FACTORY, FOCUS, OTHER, BOB, keys=1)
    calling_in.create(room.system, creator.call(FACTORY), OTHER, AUDIO)
    number = room.conference(OTHER).number
    with room.state.transaction() as db:
        assert set(rows.allowed_set(db, number)) == {BOB, CAROL}


def test_the_kms_can_refuse_a_creator_too(room: Room) -> None:
    """By not resolving their ticket any more."""
    creator = room.person(ALICE)
    creator.ticket(FACTORY, BOB, keys=1)
    init = creator.call(FACTORY)
    room.store.enable(ALICE, False)
    with pytest.raises(Refused, match="KMS refuses"):
        calling_in.create(room.system, init, FOCUS, AUDIO)
    assert room.tables()["conferences"] == []


def test_creation_hands_out_no_key_and_no_seat(room: Room) -> None:
    creator = room.person(ALICE)
    creator.ticket(FACTORY, BOB, keys=1)
    answer = calling_in.create(room.system, creator.call(FACTORY), FOCUS, AUDIO)
    assert Message.parse(answer).find(KEMAC) is None
    session = creator.take(answer)
    assert session.remote == FACTORY
    assert room.members() == {}
    assert room.group_keys() == []
    assert not list(room.state.db.execute("SELECT * FROM ssrcs"))


def test_a_creation_seen_before_makes_no_second_conference(room: Room) -> None:
    creator = room.create(BOB)
    for focus in (FOCUS, OTHER):
        with pytest.raises(Refused, match="seen before"):
            calling_in.create(room.system, creator.init, focus, AUDIO)
    assert len(list(room.state.db.execute("SELECT * FROM conferences"))) == 1


def test_a_focus_has_one_conference(room: Room) -> None:
    creator = room.create(BOB)
    creator.ticket(FACTORY, CAROL, keys=1)
    with pytest.raises(Refused, match="already"):
        calling_in.create(room.system, creator.call(FACTORY), FOCUS, AUDIO)
    assert room.conference().number == 1


@pytest.mark.parametrize("flags", ["DEFGHJMNO", "DEHJNO"])
def test_a_ticket_without_forking_is_refused_before_the_kms_is_asked(
    room: Room, flags: str
) -> None:
    creator = room.person(ALICE)
    creator.ticket(FACTORY, BOB, flags=flags, keys=1)
    init = creator.call(FACTORY, receive=0)
    asked = room.store.count_log()
    with pytest.raises(Refused, match="I flag") as refused:
        calling_in.create(room.system, init, FOCUS, AUDIO)
    assert refused.value.error_no == ErrorNo.INVALID_TPPAR
    assert refused.value.answer is None
    assert room.store.count_log() == asked


def test_an_early_refusal_has_an_error_message_when_asked_for(room: Room) -> None:
    creator = room.person(ALICE)
    creator.ticket(FACTORY, BOB, flags="DEFGHJMNO", keys=1)
    system = ConferenceSystem(room.state, room.env, room.system.kms, send_errors=True)
    with pytest.raises(Refused) as refused:
        calling_in.create(system, creator.call(FACTORY), FOCUS, AUDIO)
    error = Message.parse(refused.value.answer or b"")
    assert error.header.data_type == DataType.ERROR
    assert [p.error_no for p in error.all(ERR)] == [ErrorNo.INVALID_TPPAR]
    assert error.find(V) is None


def test_who_may_not_create_is_told_with_an_authentic_error(tmp_path: Path) -> None:
    with closing(Room(tmp_path, may_create=("sip:bob@*",))) as room:
        creator = room.person(ALICE)
        creator.ticket(FACTORY, BOB, keys=1)
        with pytest.raises(Refused, match="may not create") as refused:
            calling_in.create(room.system, creator.call(FACTORY), FOCUS, AUDIO)
        assert refused.value.error_no == ErrorNo.UNSPECIFIED
        with pytest.raises(ErrorReceived) as received:
            creator.take(refused.value.answer or b"")
        assert received.value.verified
        assert received.value.error_no == ErrorNo.UNSPECIFIED
        assert not list(room.state.db.execute("SELECT * FROM conferences"))


def test_the_pattern_of_who_may_create_is_for_octets(tmp_path: Path) -> None:
    with closing(Room(tmp_path, may_create=("sip:alice@example.com",))) as room:
        room.create(BOB)
        assert room.conference().creator == ALICE


def test_a_call_for_someone_else_creates_nothing(room: Room) -> None:
    creator = room.person(ALICE)
    creator.ticket(FACTORY, BOB, keys=1)
    with pytest.raises(Refused, match="conferences are created at") as refused:
        calling_in.create(room.system, creator.call(FOCUS), FOCUS, AUDIO)
    assert refused.value.error_no == ErrorNo.INVALID_ID


def test_a_ticket_that_is_not_for_the_system_is_refused_by_the_kms(room: Room) -> None:
    creator = room.person(ALICE)
    creator.ticket(BOB, keys=1)
    with pytest.raises(Refused, match="may not resolve"):
        calling_in.create(room.system, creator.call(FACTORY), FOCUS, AUDIO)


def test_an_impostor_with_someone_elses_ticket_creates_nothing(room: Room) -> None:
    """Bob may resolve Alice's ticket, so he knows MPKi; MPKr he does not have."""
    creator = room.person(ALICE)
    held = creator.ticket(FACTORY, BOB, keys=1)
    impostor = room.person(BOB)
    known = room.resolved(creator.call(FACTORY), BOB)
    impostor.held = type(held)(held.ticket, held.policy, known.keys)
    impostor.who = ALICE
    with pytest.raises(Refused, match="Initiator Data"):
        calling_in.create(room.system, impostor.call(FACTORY), FOCUS, AUDIO)


def test_a_stale_ticket_is_refused(room: Room) -> None:
    creator = room.person(ALICE)
    creator.ticket(FACTORY, BOB, keys=1)
    init = creator.call(FACTORY)
    room.clock.now += 2 * 3600 * 1_000_000_000
    with pytest.raises(Refused, match="expired") as refused:
        calling_in.create(room.system, init, FOCUS, AUDIO)
    assert refused.value.error_no == ErrorNo.INVALID_TICKET


def test_a_group_in_the_ticket_is_allowed_as_a_group(room: Room) -> None:
    team = Identity.from_text("sip:team@example.com")
    room.store.add_members(team, [CAROL, DAN])
    room.create(BOB, team)
    room.person(DAN).call_in()
    with pytest.raises(Refused, match="may not take part"):
        room.person(EVE).call_in()
    assert room.states() == {DAN: "joined"}


def test_single_use_tickets_create_once_and_do_not_call_in(room: Room) -> None:
    creator = room.person(ALICE)
    creator.ticket(FACTORY, BOB, keys=1, flags=FLAGS.replace("J", ""))
    creator.take(calling_in.create(room.system, creator.call(FACTORY), FOCUS, AUDIO))
    with pytest.raises(Refused, match="J flag"):
        room.call_in(creator.call(FOCUS))
