"""Leaving and rekeying: who has left cannot read what follows (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any

import pytest

from mikeytool.conference import group_keys, member_rows, membership, rows
from mikeytool.conference.model import Purpose, Update
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.request import Granted, accept_request_resp
from mikeytool.exchange.session import Session
from mikeytool.exchange.update import answer_update, update_init
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC
from mikeytool.wire.registry import DataType, ErrorNo
from tests.conference.room import DAN, FACTORY, FOCUS, Room
from tests.world import ALICE, BOB, CAROL, EVE, accept_all


def test_updates_are_read_a_few_at_a_time_while_they_wait(
    full: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the order of the members; what was answered or given up meanwhile is not sent."""
    monkeypatch.setattr("mikeytool.conference.updates._AT_ONCE", 2)
    monkeypatch.setattr("mikeytool.conference.group_keys._AT_ONCE", 2)
    updates = membership.change_keys(full.system, None)
    sent = iter(updates)
    everyone = [next(sent), next(sent)]
    with full.state.transaction() as db:  # nothing is held while they are sent
        db.execute("UPDATE members SET state = state")
    everyone += sent
    assert [one.to for one in everyone] == [ALICE, BOB, CAROL]
    assert len(updates) == 3
    assert everyone[2] in updates
    deliver(full, everyone[:1])
    membership.dismiss(full.system, None, [BOB], deny=True)
    assert list(updates) == everyone[2:]
    assert everyone[0] not in updates


def deliver(room: Room, updates: Collection[Update]) -> None:
    """Every member answers, and the system takes it."""
    for update in updates:
        room.answer(room.person(update.to).update(update.message))


def test_who_is_removed_does_not_get_the_new_key(full: Room) -> None:
    updates = membership.dismiss(full.system, None, [BOB], deny=False)
    assert {update.to for update in updates} == {ALICE, CAROL}
    deliver(full, updates)
    new = full.group_keys()[0]
    assert full.person(ALICE).sends()[0][1].key == new.tek
    assert full.person(CAROL).sends()[0][1].key == new.tek
    assert new.tek not in full.person(BOB).keys().values()
    assert full.states()[BOB] == "left"
    for update in updates:
        with pytest.raises(Refused):
            full.person(BOB).update(update.message)


def test_who_is_removed_may_come_back(full: Room) -> None:
    deliver(full, membership.dismiss(full.system, None, [BOB], deny=False))
    full.person(BOB).call_in()
    assert full.states()[BOB] == "joined"
    assert full.person(BOB).sends()[0][1].key == full.group_keys()[0].tek


def test_who_is_denied_may_not_come_back_before_they_are_allowed(full: Room) -> None:
    deliver(full, membership.dismiss(full.system, None, [BOB], deny=True))
    with pytest.raises(Refused, match="may not take part"):
        full.person(BOB).call_in()
    membership.allow(full.system, None, [BOB])
    full.person(BOB).call_in()
    assert full.states()[BOB] == "joined"


def test_a_name_that_is_denied_outweighs_a_group(full: Room) -> None:
    team = Identity.from_text("sip:team@example.com")
    full.store.add_members(team, [DAN])
    membership.allow(full.system, FOCUS, [team])
    assert not membership.dismiss(full.system, None, [DAN], deny=True)
    with pytest.raises(Refused, match="may not take part"):
        full.person(DAN).call_in()


def test_only_someone_who_is_in_is_removed(full: Room) -> None:
    before = full.dump()
    with pytest.raises(Refused, match="is not in"):
        membership.dismiss(full.system, None, [BOB, DAN], deny=False)
    assert full.dump() == before


@pytest.mark.parametrize("at_once", [1, 2, 3])
def test_members_are_read_a_few_at_a_time(
    full: Room, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """Each gets one update, while rows that were read are changed."""
    everyone = [one.to for one in membership.change_keys(full.system, None)]
    assert len(everyone) == len(set(everyone)) == 3
    monkeypatch.setattr(member_rows, "_AT_ONCE", at_once)
    number = full.conference().number
    with full.state.transaction() as db:
        rows.deny(db, number, everyone[1], settled=True)
    updates = membership.change_keys(full.system, None)
    assert [one.to for one in updates] == [everyone[0], *everyone[2:]]
    deliver(full, updates)


def test_the_old_key_is_good_for_the_overlap(full: Room) -> None:
    deliver(full, membership.change_keys(full.system, None, 30))
    old_spi = full.group_keys()[1].spi
    alice = full.person(ALICE).session
    assert alice is not None
    assert alice.crypto_sessions[0].previous == (old_spi,)
    states = [key.state(full.clock.now) for key in full.group_keys()]
    assert states == ["active", "overlap"]
    full.clock.now += 31 * NS
    states = [key.state(full.clock.now) for key in full.group_keys()]
    assert states == ["active", "expired"]
    membership.unanswered(full.system, None)
    assert full.group_keys()[1].tek == b""


def test_updates_are_printed_until_they_are_answered(full: Room) -> None:
    first = membership.change_keys(full.system, None)
    deliver(full, [update for update in first if update.to != BOB])
    (again,) = membership.unanswered(full.system, None)
    assert again.to == BOB
    deliver(full, [again])
    assert not membership.unanswered(full.system, None)
    assert full.person(BOB).sends()[0][1].key == full.group_keys()[0].tek


def test_an_answer_that_was_lost_does_no_harm(full: Room) -> None:
    (to_alice, *_) = membership.change_keys(full.system, None)
    assert to_alice.to == ALICE
    full.person(ALICE).update(to_alice.message)
    again = [one for one in membership.unanswered(full.system, None) if one.to == ALICE]
    deliver(full, again)
    assert ALICE not in {one.to for one in membership.unanswered(full.system, None)}


def test_an_answer_to_an_update_that_was_made_anew_meanwhile_is_taken(full: Room) -> None:
    answers = []
    for _ in range(3):
        for update in membership.unanswered(full.system, None) or membership.change_keys(
            full.system, None
        ):
            if update.to == BOB:
                answers.append(full.person(BOB).update(update.message))
    membership.unanswered(full.system, None)
    assert full.answer(answers[-1]).identity == BOB
    assert BOB not in {one.to for one in membership.unanswered(full.system, None)}


def test_an_answer_cannot_bring_a_stream_or_another_ssrc(full: Room) -> None:
    """Else a member could send with the SSRC of another, under the same key."""
    (update,) = [one for one in membership.change_keys(full.system, None) if one.to == BOB]
    bob = full.person(BOB)
    assert bob.session is not None
    incoming = Incoming.read(update.message, DataType.TRANSFER_INIT)
    answer, _ = answer_update(
        full.env,
        bob.session,
        incoming,
        accept_all,
        crypto_sessions=[CsSpec(send=True, ssrc=0x11111111)],
    )
    before = full.dump()
    with pytest.raises(Refused, match="calls in again") as refused:
        full.answer(answer or b"")
    assert Message.parse(refused.value.answer or b"").header.data_type == DataType.ERROR
    assert full.dump() == before
    full.answer(bob.update(update.message))


def test_who_is_out_for_an_expired_ticket_takes_the_key_along(room: Room) -> None:
    """Bob has had the newest key, though his answer to it was lost."""
    room.create(BOB, CAROL)
    bob, carol = room.person(BOB), room.person(CAROL)
    bob.call_in(0x11111111)
    room.clock.now += 1800 * NS
    carol.call_in()
    (to_bob,) = [one for one in membership.change_keys(room.system, None) if one.to == BOB]
    bob.update(to_bob.message)
    room.clock.now += 2000 * NS
    deliver(room, membership.unanswered(room.system, None))
    assert room.states() == {BOB: "left", CAROL: "joined"}
    assert room.group_keys()[0].tek not in bob.keys().values()
    carol.call_in(0x11111111)
    assert carol.sends()[0][0] != 0x11111111


def test_a_group_that_is_denied_takes_its_members_along(full: Room) -> None:
    team = Identity.from_text("sip:team@example.com")
    other = Identity.from_text("sip:other@example.com")
    full.store.add_members(team, [DAN])
    full.store.add_members(other, [DAN])
    membership.allow(full.system, None, [team, other])
    full.person(DAN).call_in()
    assert membership.dismiss(full.system, None, [team], deny=True)
    assert full.states()[DAN] == "left"
    with pytest.raises(Refused, match="may not take part"):
        full.person(DAN).call_in()


def test_a_pattern_is_no_name(full: Room) -> None:
    with pytest.raises(UsageError, match="no patterns"):
        membership.allow(full.system, None, [Identity.from_text("sip:*@example.com")])


def test_a_name_that_fits_into_no_message(full: Room) -> None:
    membership.allow(full.system, None, [Identity(b"x" * 1024)])
    before = full.dump()
    with pytest.raises(UsageError, match="1,025 octets is too long"):
        membership.allow(full.system, None, [DAN, Identity(b"x" * 1025)])
    assert full.dump() == before


def test_an_update_that_was_lost_does_no_harm(full: Room) -> None:
    membership.change_keys(full.system, None)
    deliver(full, membership.change_keys(full.system, None))
    for who in (ALICE, BOB, CAROL):
        assert full.person(who).sends()[0][1].key == full.group_keys()[0].tek


def test_members_keep_their_ssrcs(full: Room) -> None:
    before = {who: full.person(who).sends()[0][0] for who in (ALICE, BOB, CAROL)}
    deliver(full, membership.change_keys(full.system, None))
    assert {who: full.person(who).sends()[0][0] for who in (ALICE, BOB, CAROL)} == before


def test_a_leavers_ssrc_is_free_when_the_last_key_they_had_has_expired(full: Room) -> None:
    ssrc = full.person(BOB).sends()[0][0]
    membership.allow(full.system, None, [DAN])
    deliver(full, membership.dismiss(full.system, None, [BOB], deny=False))
    full.person(DAN).call_in(ssrc)
    assert full.person(DAN).sends()[0][0] != ssrc
    full.clock.now += 60 * NS
    full.person(BOB).call_in(ssrc)
    assert full.person(BOB).sends()[0][0] == ssrc


def test_members_whose_ticket_has_expired_are_out(full: Room) -> None:
    full.clock.now += 2 * 3600 * NS
    assert not membership.change_keys(full.system, None)
    assert set(full.states().values()) == {"left"}


def test_a_ticket_that_ends_while_the_keys_change(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With many members a change of keys takes long; Bob's ticket ends meanwhile."""

    def slow(*args: Any, **how: Any) -> tuple[Incoming, Session]:
        room.clock.now += 10 * NS
        return update_init(*args, **how)

    room.create(BOB, CAROL, DAN)
    room.person(BOB).call_in()
    room.clock.now += 1800 * NS
    for who in (CAROL, DAN, ALICE):
        room.person(who).call_in()
    session = room.members()[BOB].session
    assert session is not None
    assert session.policy.valid_to is not None
    room.clock.now = (session.policy.valid_to.unix_ns or 0) - 5 * NS
    monkeypatch.setattr(group_keys, "update_init", slow)
    updates = membership.dismiss(room.system, None, [CAROL], deny=True)
    assert [update.to for update in updates] == [BOB, DAN, ALICE]
    # The next change is after its end.
    assert [one.to for one in membership.change_keys(room.system, None)] == [DAN, ALICE]
    assert room.states()[BOB] == "left"


def test_keys_change_before_their_ticket_ends(full: Room) -> None:
    (key,) = full.group_keys()
    assert key.due_ns is not None
    full.clock.now = key.due_ns + NS
    membership.allow(full.system, None, [DAN])
    assert len(full.group_keys()) == 2


def due_in(room: Room) -> int:
    """Seconds until the group keys have to be replaced."""
    (due_ns,) = {key.due_ns for key in room.group_keys() if key.until_ns is None}
    assert due_ns is not None
    return (due_ns - room.clock.now) // NS


def test_no_stream_can_use_a_key_up_before_it_is_replaced(full: Room) -> None:
    """2^31 SRTCP packets would have to be 80,000 a second, of one SSRC."""
    assert 2**31 / due_in(full) > 80_000


def test_keys_change_as_often_as_the_kms_wants(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The KMS may grant the ticket that the group keys come in with a rekeying interval."""

    def accepted(*args: Any) -> Granted:
        found = accept_request_resp(*args)
        policy = replace(found.held.policy, rekey=900)
        return replace(found, held=replace(found.held, policy=policy))

    monkeypatch.setattr("mikeytool.conference.system.accept_request_resp", accepted)
    room.create(BOB)
    room.person(BOB).call_in()
    assert due_in(room) in (899, 900)


def test_keys_change_as_often_as_a_members_ticket_wants(full: Room) -> None:
    """TRr says how often rekeying must be done (6.10)."""
    membership.allow(full.system, None, [DAN, EVE])
    for who, interval in ((DAN, 600), (EVE, 1200)):
        full.person(who).ticket(FOCUS, rekey=interval)
        full.person(who).take(full.call_in(full.person(who).call()))
        assert due_in(full) <= 600
    assert len(full.group_keys()) == 1
    full.clock.now += 601 * NS
    deliver(full, membership.unanswered(full.system, None))
    assert len(full.group_keys()) == 2
    # The next ones too, for as long as they are in.
    assert 595 <= due_in(full) <= 600
    deliver(full, membership.dismiss(full.system, None, [DAN], deny=False))
    assert 1195 <= due_in(full) <= 1200
    deliver(full, membership.dismiss(full.system, None, [EVE], deny=False))
    assert due_in(full) > 3600


def test_a_ticket_that_wants_new_keys_all_the_time_is_refused(full: Room) -> None:
    membership.allow(full.system, None, [DAN])
    full.person(DAN).ticket(FOCUS, rekey=59)
    with pytest.raises(Refused, match="60 s are the least") as refused:
        full.call_in(full.person(DAN).call())
    assert refused.value.error_no == ErrorNo.INVALID_TPPAR


def test_updates_want_an_answer_and_bring_keys_of_the_kms(full: Room) -> None:
    for update in membership.change_keys(full.system, None):
        message = Message.parse(update.message)
        assert message.header.v
        assert message.find(KEMAC) is not None
    new, old = full.group_keys()
    assert new.tek != old.tek
    requests = [one for one in full.store.log() if "request" in one.exchange]
    assert sum(one.user == str(FACTORY) for one in requests) == 2


def test_without_a_key_there_is_nothing_to_change(room: Room) -> None:
    room.create(BOB)
    with pytest.raises(Refused, match="no group key"):
        membership.change_keys(room.system, None)
    assert not membership.dismiss(room.system, None, [BOB], deny=True)


def test_every_purpose_gets_its_own_new_key(room: Room) -> None:
    room.create(BOB, purposes=list(Purpose))
    bob = room.person(BOB)
    bob.call_in(None, None)
    deliver(room, membership.change_keys(room.system, None))
    assert bob.session is not None
    by_spi = {key.spi: key.purpose for key in room.group_keys() if key.until_ns is None}
    purposes = [by_spi.get(one.entry.spi, Purpose.FLOOR) for one in bob.session.crypto_sessions]
    assert purposes == [
        Purpose.AUDIO, Purpose.VIDEO, Purpose.AUDIO, Purpose.VIDEO, Purpose.FLOOR, Purpose.EVENTS
    ]  # fmt: skip


def test_which_conference_has_to_be_said(room: Room) -> None:
    with pytest.raises(UsageError, match="no conference yet"):
        membership.allow(room.system, None, [BOB])
    room.create(BOB)
    room.create(BOB, focus=Identity.from_text("sip:room-2@conf.example.com"))
    with pytest.raises(UsageError, match="--focus"):
        membership.allow(room.system, None, [CAROL])
    membership.allow(room.system, FOCUS, [CAROL])
    with room.state.transaction() as db:
        assert rows.permission(db, 1, CAROL)
        assert rows.permission(db, 2, CAROL) is None
