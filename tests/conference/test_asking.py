"""The KMS is asked while the state file is free, and whatever happens meanwhile counts."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mikeytool.client.kms_access import Kms
from mikeytool.conference import calling_in, group_keys, membership
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.model import Purpose
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.error import error_message
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import Session
from mikeytool.exchange.update import update_init
from mikeytool.wire.errors import Refused, StateError, Unavailable, Unreachable, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import RANDR
from mikeytool.wire.registry import DataType, ErrorNo, RandRole
from tests.conference.invariants import check
from tests.conference.room import DAN, FACTORY, FOCUS, Room
from tests.world import ALICE, BOB, CAROL, EVE

TEAM = Identity.from_text("sip:team@example.com")


@dataclass
class Watched:
    """A KMS; while it is asked, someone who does not wait writes to the state file.

    `meanwhile` is done once, the first time that a question of its kind is asked.
    """

    kms: Kms
    path: Path
    asked: list[str] = field(default_factory=list)
    meanwhile: dict[str, Callable[[], object]] = field(default_factory=dict)

    @property
    def identity(self) -> Identity:
        return self.kms.identity

    def answer(self, env: Environment, message: bytes) -> bytes:
        kind = Message.parse(message).header.data_type
        self._note("request" if kind == DataType.REQUEST_INIT_PSK else "resolve")
        return self.kms.answer(env, message)

    def groups_of(self, identity: Identity) -> Sequence[Identity]:
        self._note("groups")
        return self.kms.groups_of(identity)

    def is_group(self, identity: Identity) -> bool:
        self._note("group")
        return self.kms.is_group(identity)

    def _note(self, what: str) -> None:
        self.asked.append(what)
        with closing(sqlite3.connect(self.path, timeout=0, isolation_level=None)) as db:
            db.execute("UPDATE system SET may_create = may_create")
        happens = self.meanwhile.pop(what, None)
        if happens is not None:
            happens()


class Busy(Room):
    """A room whose KMS is watched, and a second process at the same file."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.kms = Watched(self.system.kms, self.state.path)
        self.other = replace(self.system, state=ConferenceState(self.state.path))
        self.system = replace(self.system, kms=self.kms)

    def close(self) -> None:
        self.other.state.close()
        super().close()

    def questions(self) -> list[str]:
        """What the KMS was asked since the last time."""
        asked, self.kms.asked = self.kms.asked, []
        return asked

    def calls(self, who: Identity, ssrc: int | None = None) -> bytes:
        """TRANSFER_INIT of someone to the focus, with a new ticket."""
        self.person(who).ticket(FOCUS)
        return self.person(who).call(FOCUS, (ssrc,))

    def deliver_newest(self) -> None:
        """Everyone who is behind answers the newest update; all have the newest key then."""
        for update in membership.unanswered(self.other, None):
            self.answer(self.person(update.to).update(update.message))
        newest = self.group_keys()[0]
        for who, state in check(self.state.path).items():
            if state == "joined":
                assert {media.key for _, media in self.person(who).sends()} == {newest.tek}


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Busy]:
    with closing(Busy(tmp_path)) as made:
        yield made


@pytest.fixture
def full(room: Busy) -> Busy:
    """Alice, Bob and Carol by name, and Dan by his group, in a conference."""
    room.store.add_members(TEAM, [DAN])
    room.create(BOB, CAROL, TEAM)
    for ssrc, who in enumerate((ALICE, BOB, CAROL, DAN), 0x11111111):
        room.person(who).call_in(ssrc)
    room.questions()
    return room


# The file is free


def test_creating_and_calling_in(room: Busy) -> None:
    room.store.add_members(TEAM, [DAN])
    room.create(BOB, TEAM)
    assert room.questions() == ["resolve"]
    room.person(BOB).call_in()
    assert room.questions() == ["resolve", "request"]
    room.person(DAN).call_in()
    assert room.questions() == ["resolve", "groups"]


def test_the_first_to_come_is_in_by_a_group(room: Busy) -> None:
    room.store.add_members(TEAM, [DAN])
    room.create(TEAM)
    room.questions()
    room.person(DAN).call_in()
    assert room.questions() == ["resolve", "groups", "request"]


def test_calling_out(room: Busy) -> None:
    room.create(BOB)
    room.questions()
    init = room.call_out(BOB)
    assert room.questions() == ["group", "request", "request"]
    room.answer(room.person(BOB).pick_up(init))
    assert room.questions() == []


def test_an_answer_with_a_taken_ssrc(full: Busy) -> None:
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE), ssrc=0x11111111)
    full.questions()
    assert len(full.answer(answer).updates) == 5
    assert full.questions() == ["request"]


def test_a_refusal(full: Busy) -> None:
    membership.allow(full.system, None, [EVE])
    init = full.call_out(EVE)
    verified = full.verified(init, EVE)
    keys = verified.init.keys(verified.resolved.keys.mpki.key, response=False)
    header = Message.parse(init).header
    full.questions()
    full.answer(error_message(full.env, header, ErrorNo.UNSPECIFIED, keys))
    assert full.questions() == ["request"]


def due(room: Busy) -> None:
    """The group keys have to be replaced."""
    due_ns = room.group_keys()[0].due_ns
    assert due_ns is not None
    # So that members' tickets, of an hour, do not end before.
    with room.state.transaction() as db:
        db.execute("UPDATE group_keys SET due_ns = ?", (room.clock(),))


def late(room: Busy) -> None:
    """Eve was called and does not answer."""
    membership.allow(room.system, None, [EVE])
    room.call_out(EVE, timeout=5)
    room.clock.now += 6 * NS


def nothing(_room: Busy) -> None:
    """Nothing is due."""


@dataclass(frozen=True)
class Command:
    """Something that needs new group keys, what comes before it, and what the KMS is asked."""

    run: Callable[[Busy], object]
    before: Callable[[Busy], None] = nothing
    asks: Sequence[str] = ("request",)


COMMANDS = {
    "allow": Command(lambda room: membership.allow(room.system, None, [EVE]), due),
    "deny": Command(lambda room: membership.dismiss(room.system, None, [BOB], deny=True)),
    "deny a group": Command(
        lambda room: membership.dismiss(room.system, None, [TEAM], deny=True),
        asks=("groups", "request"),
    ),
    "remove": Command(lambda room: membership.dismiss(room.system, None, [BOB], deny=False)),
    "rekey": Command(lambda room: membership.change_keys(room.system, None)),
    "updates": Command(lambda room: membership.unanswered(room.system, None), late),
}


@pytest.fixture(params=COMMANDS)
def command(full: Busy, request: pytest.FixtureRequest) -> Command:
    """Each of them, with what comes before it done."""
    found = COMMANDS[request.param]
    found.before(full)
    full.questions()
    return found


def test_the_file_is_free_while_the_kms_is_asked(full: Busy, command: Command) -> None:
    command.run(full)
    assert tuple(full.questions()) == command.asks
    assert len(full.group_keys()) == 2
    full.deliver_newest()


def test_updates_are_made_once(full: Busy, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many members that is what takes long."""
    made = []

    def counted(*args: Any, **how: Any) -> tuple[Incoming, Session]:
        made.append(args)
        return update_init(*args, **how)

    monkeypatch.setattr(group_keys, "update_init", counted)
    assert len(membership.change_keys(full.system, None)) == 4
    assert len(made) == 4
    late(full)
    made.clear()
    # Calling out does what is due before.
    full.call_out(EVE)
    assert len(made) == 4


def fail() -> None:
    raise Unreachable("the KMS is away")


@pytest.mark.parametrize("name", ["rekey", "updates"])
def test_nothing_is_written_when_the_kms_is_away(full: Busy, name: str) -> None:
    COMMANDS[name].before(full)
    before = full.dump()
    full.kms.meanwhile["request"] = fail
    with pytest.raises(Unreachable):
        COMMANDS[name].run(full)
    assert full.dump() == before


def test_a_kms_that_refuses_keys(full: Busy) -> None:
    """The denial stands, and another one that can be carried out changes the keys."""

    def refuse() -> None:
        raise Refused("no", ErrorNo.UNSPECIFIED)

    full.kms.meanwhile["request"] = refuse
    with pytest.raises(Refused, match=r"^no; the system asked .*; the denial stands") as refused:
        membership.dismiss(full.system, None, [BOB], deny=True)
    assert refused.value.error_no == ErrorNo.UNSPECIFIED
    assert check(full.state.path)[BOB] == "left"
    membership.dismiss(full.system, None, [CAROL], deny=True)
    assert [key.generation for key in full.group_keys()] == [2, 1]
    full.deliver_newest()


@pytest.mark.parametrize("name", ["rekey", "remove", "deny"])
def test_what_is_due_goes_with_what_is_asked(full: Busy, name: str) -> None:
    """One change of keys serves both."""
    due(full)
    COMMANDS[name].run(full)
    assert [key.generation for key in full.group_keys()] == [2, 1]
    full.deliver_newest()


def test_the_groups_of_each_are_asked_for(full: Busy) -> None:
    other = Identity.from_text("sip:other@example.com")
    full.store.add_members(other, [EVE])
    membership.allow(full.system, None, [other])
    full.person(EVE).call_in()
    full.questions()
    membership.dismiss(full.system, None, [TEAM], deny=True)
    assert full.questions() == ["groups", "groups", "request"]
    found = check(full.state.path)
    assert (found[DAN], found[EVE]) == ("left", "joined")


def test_no_ticket_for_who_may_not_come(full: Busy) -> None:
    for who in (EVE, ALICE):
        with pytest.raises(Refused):
            full.call_out(who)
    assert "request" not in full.questions()


# What happens meanwhile


def test_two_who_change_the_keys_at_once(full: Busy) -> None:
    full.kms.meanwhile["request"] = lambda: membership.change_keys(full.other, None)
    membership.change_keys(full.system, None)
    assert full.questions() == ["request", "request"]
    assert [key.generation for key in full.group_keys()] == [3, 2, 1]
    full.deliver_newest()


def test_two_who_come_first_at_once(room: Busy) -> None:
    """One group key, made for whoever is faster."""
    room.create(BOB, CAROL)
    bob, carol = room.calls(BOB, 0x11111111), room.calls(CAROL, 0x11111111)

    def come() -> None:
        room.person(CAROL).take(calling_in.call_in(room.other, carol))

    room.kms.meanwhile["request"] = come
    room.person(BOB).take(room.call_in(bob))
    assert [key.generation for key in room.group_keys()] == [1]
    assert room.person(BOB).sends()[0][1] == room.person(CAROL).sends()[0][1]
    assert room.ssrcs(CAROL) == [0x11111111]
    assert room.ssrcs(BOB) != [0x11111111]
    assert check(room.state.path) == {BOB: "joined", CAROL: "joined"}


def test_one_person_who_calls_twice_at_once(room: Busy) -> None:
    room.create(BOB)
    second = room.calls(BOB, 0x11111111)
    first = room.calls(BOB, 0x11111111)
    room.kms.meanwhile["request"] = lambda: calling_in.call_in(room.other, second)
    room.person(BOB).take(room.call_in(first))
    assert room.ssrcs(BOB) == [room.person(BOB).sends()[0][0]]
    assert room.ssrcs(BOB) != [0x11111111]
    assert check(room.state.path) == {BOB: "joined"}


def test_one_message_in_two_processes(room: Busy) -> None:
    """One of them gives the answer."""
    room.create(BOB)
    init = room.calls(BOB)
    room.kms.meanwhile["resolve"] = lambda: calling_in.call_in(room.other, init)
    with pytest.raises(Refused, match="seen before"):
        room.call_in(init)
    assert check(room.state.path) == {BOB: "joined"}


def test_the_creators_ticket_has_one_modifier(room: Busy) -> None:
    """Creation and call-in meet; both answers are under one MPKr' (5.3)."""
    alice = room.person(ALICE)
    alice.ticket(FACTORY, BOB, keys=1)
    creation, call = alice.call(FACTORY), b""

    def create() -> None:
        calling_in.create(room.other, creation, FOCUS, (Purpose.AUDIO,))

    create()
    call = alice.call(FOCUS)
    other = alice.call(FOCUS)
    answers = []
    room.kms.meanwhile["resolve"] = lambda: answers.append(calling_in.call_in(room.other, other))
    answers.append(room.call_in(call))
    rands = {
        payload.rand
        for answer in answers
        for payload in Message.parse(answer).all(RANDR)
        if payload.rand_role == RandRole.KMS
    }
    assert len(rands) == 1


@pytest.mark.parametrize("kind", ["resolve", "request"])
def test_who_is_denied_while_they_call(room: Busy, kind: str) -> None:
    room.create(BOB)
    init = room.calls(BOB)
    room.kms.meanwhile[kind] = lambda: membership.dismiss(room.other, None, [BOB], deny=True)
    with pytest.raises(Refused, match="may not take part"):
        room.call_in(init)
    assert check(room.state.path) == {}
    assert room.group_keys() == []


def test_who_comes_while_they_are_called(full: Busy) -> None:
    membership.allow(full.system, None, [EVE])
    init = full.calls(EVE)
    full.kms.meanwhile["request"] = lambda: calling_in.call_in(full.other, init)
    with pytest.raises(Refused, match="already"):
        full.call_out(EVE)
    assert check(full.state.path)[EVE] == "joined"


def test_keys_that_change_while_someone_is_called(full: Busy) -> None:
    membership.allow(full.system, None, [EVE])
    full.kms.meanwhile["request"] = lambda: membership.change_keys(full.other, None)
    init = full.call_out(EVE)
    assert not full.answer(full.person(EVE).pick_up(init)).updates
    full.deliver_newest()


def test_who_answers_and_is_removed_at_once(full: Busy) -> None:
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE), ssrc=0x11111111)
    full.kms.meanwhile["request"] = lambda: membership.dismiss(full.other, None, [EVE], deny=False)
    with pytest.raises(Refused, match="too late"):
        full.answer(answer)
    assert check(full.state.path)[EVE] == "left"
    full.deliver_newest()
    assert full.group_keys()[0].tek not in full.person(EVE).keys().values()


def test_keys_that_change_while_an_ssrc_clashes(full: Busy) -> None:
    membership.allow(full.system, None, [EVE])
    answer = full.person(EVE).pick_up(full.call_out(EVE), ssrc=0x11111111)
    full.kms.meanwhile["request"] = lambda: membership.change_keys(full.other, None)
    assert len(full.answer(answer).updates) == 5
    full.deliver_newest()
    assert len({full.person(who).sends()[0][0] for who in (ALICE, BOB, CAROL, DAN, EVE)}) == 5


@pytest.mark.parametrize("deny", [True, False])
def test_two_who_put_the_same_person_out(full: Busy, deny: bool) -> None:
    """The keys change once."""
    full.kms.meanwhile["request"] = lambda: membership.dismiss(full.other, None, [BOB], deny=deny)
    assert not membership.dismiss(full.system, None, [BOB], deny=deny)
    assert [key.generation for key in full.group_keys()] == [2, 1]
    assert check(full.state.path)[BOB] == "left"
    full.deliver_newest()


def test_who_comes_while_another_is_put_out(full: Busy) -> None:
    membership.allow(full.system, None, [EVE])
    init = full.calls(EVE)
    full.kms.meanwhile["request"] = lambda: full.person(EVE).take(
        calling_in.call_in(full.other, init)
    )
    assert not membership.dismiss(full.system, None, [BOB], deny=False)
    # Her call changed the keys, which were due.
    assert [key.generation for key in full.group_keys()] == [2, 1]
    assert full.group_keys()[0].tek in full.person(EVE).keys().values()
    full.deliver_newest()


def test_who_was_let_in_by_a_group_that_is_denied_meanwhile(full: Busy) -> None:
    full.person(DAN)
    init = full.calls(DAN)
    full.kms.meanwhile["groups"] = lambda: membership.dismiss(full.other, None, [TEAM], deny=True)
    with pytest.raises(Refused, match="may not take part"):
        full.call_in(init)
    assert check(full.state.path)[DAN] == "left"


@pytest.mark.parametrize("name", ["allow", "updates"])
def test_what_is_due_is_done_once(full: Busy, name: str) -> None:
    COMMANDS[name].before(full)
    full.kms.meanwhile["request"] = lambda: membership.unanswered(full.other, None)
    COMMANDS[name].run(full)
    assert [key.generation for key in full.group_keys()] == [2, 1]
    full.deliver_newest()


def test_a_system_that_is_made_anew_meanwhile(full: Busy, command: Command) -> None:
    full.kms.meanwhile["request"] = lambda: ConferenceState.init(
        full.state.path, full.system.settings, force=True
    ).close()
    if command is COMMANDS["allow"]:
        command.run(full)  # it was done before
    else:
        with pytest.raises((Refused, StateError, UsageError)):
            command.run(full)
    assert not list(full.state.db.execute("SELECT * FROM group_keys"))


def test_a_system_with_other_purposes_made_anew_while_someone_calls(room: Busy) -> None:
    """The keys that the KMS makes for the old conference are not taken for the new one's."""
    room.create(BOB)
    init = room.calls(BOB)

    def anew() -> None:
        ConferenceState.init(room.state.path, room.system.settings, force=True).close()
        room.create(BOB, purposes=(Purpose.AUDIO, Purpose.VIDEO))

    room.kms.meanwhile["request"] = anew
    room.person(BOB).take(room.call_in(init))
    assert [key.purpose for key in room.group_keys()] == [Purpose.AUDIO, Purpose.VIDEO]
    assert check(room.state.path) == {BOB: "joined"}


def test_others_who_are_faster_all_the_time(full: Busy) -> None:
    """Each time that the KMS has made keys, somebody else has changed them."""

    def faster() -> None:
        full.kms.meanwhile["request"] = faster
        membership.change_keys(full.other, None)

    full.kms.meanwhile["request"] = faster
    with pytest.raises(Unavailable, match="try again"):
        membership.change_keys(full.system, None)
    assert full.questions() == ["request"] * 20
    full.deliver_newest()
