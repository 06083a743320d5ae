"""Whoever is not in any more is told, and an ended conference has no keys (interpretation 51)."""

from __future__ import annotations

from pathlib import Path

import pytest

from mikeytool.client.session_files import ENDED, SessionFile
from mikeytool.conference import calling_in, membership
from mikeytool.conference.description import describe_conferences
from mikeytool.conference.ending_rows import _KEPT, REPLACED
from mikeytool.conference.model import Purpose, Update
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.error import ErrorReceived, raise_if_error
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.update import answer_update, update_init
from mikeytool.exchange.update_rules import update_keys
from mikeytool.lint.check import lint
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_end
from mikeytool.wire.registry import DataType
from tests.conference.room import DAN, FOCUS, Person, Room
from tests.conference.test_database import holds
from tests.conference.test_relay import relay_of
from tests.conference.test_ssrcs import protected
from tests.world import ALICE, BOB, CAROL, EVE, accept_all


def told(person: Person, message: bytes) -> None:
    """A device gets an update that ends its session."""
    assert person.session is not None
    incoming = Incoming.read(message, DataType.TRANSFER_INIT)
    answer, person.session = answer_update(person.room.env, person.session, incoming, accept_all)
    assert answer is None


def replaced(room: Room) -> tuple[Person, Person]:
    """Bob's phone with an old session, and the same after a restart."""
    old, new = room.person(BOB), room.device(BOB)
    new.call_in(0x11111112)
    return old, new


def hears_an_error(person: Person, refusal: Refused) -> None:
    """The Error message of a refusal has the MAC of a device's session."""
    assert refusal.answer is not None
    assert person.session is not None
    message = Message.read(refusal.answer)
    with pytest.raises(ErrorReceived) as heard:
        raise_if_error(person.room.env, message, message.header, update_keys(person.session))
    assert heard.value.verified


# A seat that another session has taken


def test_a_replaced_session_is_told(full: Room, tmp_path: Path) -> None:
    old, new = replaced(full)
    (update,) = membership.unanswered(full.system, None)
    assert update.to == BOB
    assert old.is_for(update.message)
    assert not new.is_for(update.message)
    told(old, update.message)
    SessionFile(session=old.session).write(tmp_path / "session")
    read = SessionFile.read(tmp_path / "session")
    assert read.state == ENDED
    with pytest.raises(Refused, match=r"room-1@conf\.example\.com has ended this session"):
        read.established  # noqa: B018 - it raises
    assert read.session is not None
    assert (read.session.keys, read.session.crypto_sessions) == ((), ())
    # Once is enough: the device hears of it again when it sends anything.
    assert not membership.unanswered(full.system, None)


def test_an_ended_session_takes_nothing_more(full: Room) -> None:
    old, _ = replaced(full)
    (update,) = membership.unanswered(full.system, None)
    told(old, update.message)
    with pytest.raises(Refused, match="has ended this session"):
        told(old, update.message)
    assert old.session is not None
    with pytest.raises(Refused, match="has ended this session"):
        update_init(full.env, old.session, crypto_sessions=[CsSpec(send=True, ssrc=7)])


@pytest.mark.parametrize("out", ["replaced", "removed", "denied"])
def test_the_next_answer_of_who_is_out_gets_an_error(full: Room, out: str) -> None:
    """The answer to an update that was on its way."""
    old = full.person(BOB)
    answers = [old.update(u.message) for u in membership.change_keys(full.system, None)
               if u.to == BOB]  # fmt: skip
    if out == "replaced":
        replaced(full)
    else:
        membership.dismiss(full.system, None, [BOB], deny=out == "denied")
    before = full.dump()
    for _ in range(2):
        with pytest.raises(Refused, match=r"bob@.*: (another|it was put)") as refused:
            full.answer(answers[0])
        hears_an_error(old, refused.value)
    assert full.dump() == before


def test_the_update_of_a_replaced_session_gets_an_error(full: Room) -> None:
    old, _ = replaced(full)
    assert old.session is not None
    update, _ = update_init(full.env, old.session, crypto_sessions=[CsSpec(send=True, ssrc=7)])
    for take in (full.call_in, full.answer):
        with pytest.raises(Refused, match="another session has its seat") as refused:
            take(update.raw)
        hears_an_error(old, refused.value)


def test_a_forged_message_of_an_ended_session_gets_no_error(full: Room) -> None:
    old = full.person(BOB)
    (answer,) = [old.update(u.message) for u in membership.change_keys(full.system, None)
                 if u.to == BOB]  # fmt: skip
    replaced(full)
    with pytest.raises(Refused, match="no call-out and no update waits") as refused:
        full.answer(answer[:-1] + bytes([answer[-1] ^ 1]))
    assert refused.value.answer is None


def test_an_ended_session_is_forgotten_after_a_day(full: Room) -> None:
    replaced(full)
    full.clock.now += 25 * 3600 * NS
    membership.allow(full.system, None, [DAN])
    assert not [row for row in full.tables()["endings"] if repr(REPLACED) in row]


def test_a_device_that_comes_back_all_the_time_costs_no_end_of_room(full: Room) -> None:
    for _ in range(_KEPT + 3):
        full.person(BOB).come_back()
    assert len(full.tables()["endings"]) == _KEPT


def test_the_system_takes_nothing_of_a_replaced_seat(full: Room) -> None:
    """From that moment on; the key goes on, because its user goes on."""
    relay = relay_of(full)
    old, new = replaced(full)
    for seconds in (0, 9, 2):
        full.clock.now += seconds * NS
        with pytest.raises(Refused, match="has another SSRC now"):
            relay.take(protected(old, 1 + seconds))
        relay.take(protected(new, 1 + seconds))


# The end of a conference


def ended(room: Room) -> list[Update]:
    return list(membership.end(room.system, None))


def test_everyone_is_told_of_the_end(full: Room) -> None:
    phone, tablet = full.person(BOB), full.device(BOB)
    tablet.call_in(0x44444444)
    updates = ended(full)
    assert [update.to for update in updates] == [ALICE, BOB, CAROL, BOB]
    for device, update in zip(
        [full.person(ALICE), phone, full.person(CAROL), tablet], updates, strict=True
    ):
        message = Message.read(update.message)
        assert is_end(message)
        found = lint(message, now_ns=full.clock.now).findings
        assert [one for one in found if one.level != "note"] == []
        told(device, update.message)
        assert device.session is not None
        assert device.session.keys == ()
    assert full.states() == dict.fromkeys((ALICE, BOB, CAROL), "left")
    assert membership.unanswered(full.system, FOCUS)  # told again, when they are asked for
    assert not membership.unanswered(full.system, None)


@pytest.mark.parametrize("open_before", [False, True])
def test_no_key_is_left_in_the_file(full: Room, open_before: bool) -> None:
    """Not in free pages, not beside the file, not in tickets that open recorded answers."""
    membership.allow(full.system, None, [DAN])
    full.call_out(DAN)
    membership.change_keys(full.system, None)
    keys = [part for key in full.group_keys() for part in (key.tek, key.salt)]
    keys += [member.session.mpk for member in full.members().values() if member.session]
    held = full.person(BOB).held
    assert held is not None
    keys.append(held.keys.mpki.key)
    assert all(holds(full.state.path, key) for key in keys)
    if open_before:
        replaced(full)
    ended(full)
    wal = Path(f"{full.state.path}-wal")
    octets = full.state.path.read_bytes() + (wal.read_bytes() if wal.exists() else b"")
    for key in keys:
        assert key not in octets
        assert key.hex().encode() not in octets


def test_an_ended_conference_takes_nobody_and_says_so(full: Room) -> None:
    relay = relay_of(full)
    data = protected(full.person(BOB), 1)
    ended(full)
    (one,) = describe_conferences(full.state, full.clock.now)
    assert one["state"] == "ended"
    assert one["ended"].startswith("2025-06-15T")
    assert {key["state"] for key in one["keys"]} == {"expired"}
    when = r"the conference sip:room-1@conf\.example\.com ended at 2025-06-15T"
    caller = full.person(BOB)
    for refused in (
        lambda: caller.call_in(),
        lambda: full.call_out(DAN),
        lambda: membership.allow(full.system, FOCUS, [DAN]),
        lambda: membership.dismiss(full.system, FOCUS, [BOB], deny=False),
        lambda: membership.change_keys(full.system, FOCUS),
        lambda: membership.end(full.system, FOCUS),
        lambda: relay.take(data),
    ):
        with pytest.raises(Refused, match=when):
            refused()
    with pytest.raises(UsageError, match="every conference has ended"):
        membership.change_keys(full.system, None)


def test_the_address_of_an_ended_conference_is_free(full: Room) -> None:
    ended(full)
    full.create(BOB, purposes=[Purpose.VIDEO])
    assert full.states() == {}
    full.person(BOB).call_in()
    assert full.conference().purposes == (Purpose.VIDEO,)
    with pytest.raises(Refused, match="may not take part"):
        full.person(CAROL).call_in()


def test_another_conference_goes_on(full: Room) -> None:
    other = Identity.from_text("sip:room-2@conf.example.com")
    full.create(BOB, CAROL, focus=other)
    membership.end(full.system, FOCUS)
    caller = full.person(CAROL)
    caller.ticket(other)
    caller.take(calling_in.call_in(full.system, caller.call(other)))
    assert [one["state"] for one in describe_conferences(full.state, 0)] == ["ended", "active"]


# Who may add and invite


@pytest.fixture
def team(room: Room) -> Room:
    """Bob may add people as well, Carol may not."""
    room.create(BOB, CAROL, may_add=["sip:b*@example.com"])
    return room


@pytest.mark.parametrize("by", [ALICE, BOB, None])
def test_who_may_add_people(team: Room, by: Identity | None) -> None:
    membership.allow(team.system, None, [DAN], by)
    assert team.call_out(DAN, by=by)


def test_who_may_not(team: Room) -> None:
    membership.allow(team.system, None, [DAN])
    before = team.dump()
    who = r"that is for its creator and sip:b\*@example\.com"
    with pytest.raises(Refused, match=f"carol@.* may not add or invite anybody .* {who}"):
        membership.allow(team.system, None, [DAN], CAROL)
    with pytest.raises(Refused, match="may not add or invite"):
        team.call_out(DAN, by=CAROL)
    assert team.dump() == before


def test_who_is_denied_adds_nobody(team: Room) -> None:
    membership.dismiss(team.system, None, [BOB], deny=True)
    with pytest.raises(Refused, match="may not add or invite"):
        membership.allow(team.system, None, [DAN], BOB)


def test_who_may_create_is_changed_later(team: Room) -> None:
    focus = Identity.from_text("sip:room-2@conf.example.com")
    team.state.put_may_create(["sip:carol@*"])
    with pytest.raises(Refused, match=r"bob@example\.com may not create conferences here"):
        team.create(CAROL, by=BOB, focus=focus)
    team.state.put_may_create([])
    team.create(CAROL, by=BOB, focus=focus)


def test_a_member_of_a_denied_group_invites_nobody(room: Room) -> None:
    """A pattern may name them, but a denial outweighs it, as it does when they call in."""
    team = Identity.from_text("sip:team@example.com")
    room.store.add_members(team, [DAN])
    room.create(BOB, team, may_add=["sip:*@example.com"])
    room.person(DAN).call_in()
    membership.allow(room.system, None, [CAROL], by=DAN)
    membership.dismiss(room.system, None, [team], deny=True)
    before = room.dump()
    with pytest.raises(Refused, match="may not add or invite"):
        membership.allow(room.system, None, [EVE], by=DAN)
    with pytest.raises(Refused, match="may not add or invite"):
        room.call_out(CAROL, by=DAN)
    assert room.dump() == before
    membership.allow(room.system, None, [EVE], by=BOB)
