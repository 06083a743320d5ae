"""A crash at any SQL statement of any command leaves what was before a transaction, or after it.

The file is closed as a dead process would leave it: nothing after the statement is done, no
rollback either.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mikeytool.conference import calling_in, calling_out, membership
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.model import MemberState, Purpose
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.environment import NS
from mikeytool.exchange.error import error_message
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.registry import ErrorNo
from tests.conference.invariants import check
from tests.conference.room import DAN, FACTORY, FOCUS, Room
from tests.series import Series
from tests.world import ALICE, BOB, CAROL, EVE, psk_of

FRANK = Identity.from_text("sip:frank@example.com")
GRACE = Identity.from_text("sip:grace@example.com")
OTHER = Identity.from_text("sip:room-2@conf.example.com")


Tables = dict[str, list[Any]]


class Crash(BaseException):
    """The process is dead."""


CONNECT = sqlite3.connect


@dataclass
class Process:
    """What a process does to a file, dead before its statement `at`, or after a COMMIT."""

    path: Path
    at: int = -1
    after_commit: int = 0
    statements: int = 0
    committed: list[Tables] = field(default_factory=list)
    dead: bool = False

    @contextmanager
    def alive(self) -> Iterator[None]:
        """Everything that opens the file is this process."""
        opened = []

        def connect(path: Path, **how: Any) -> Any:
            db = CONNECT(path, **how)
            if Path(path) != self.path:
                return db
            opened.append(db)
            return Connection(db, self)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sqlite3, "connect", connect)
            try:
                yield
            finally:
                for db in opened:
                    db.close()

    def before(self, statement: str) -> None:
        if self.dead or self.statements == self.at:
            self.dead = True
            raise Crash
        self.statements += 1

    def after(self, statement: str) -> None:
        if statement == "COMMIT":
            self.committed.append(content(self.path))
            if len(self.committed) == self.after_commit:
                self.dead = True
                raise Crash


@dataclass
class Connection:
    """A connection of a process."""

    db: sqlite3.Connection
    process: Process

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        self.process.before(statement)
        if not statement.startswith(("BEGIN", "SELECT", "COMMIT", "ROLLBACK", "PRAGMA")):
            assert self.db.in_transaction, statement
        done = self.db.execute(statement, values)
        self.process.after(statement)
        return done

    def executemany(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Each row is a statement."""
        for row in rows:
            self.execute(statement, row)

    @property
    def in_transaction(self) -> bool:
        return self.db.in_transaction

    def close(self) -> None:
        """The process may be dead: then its files are closed, and no more."""


def content(path: Path) -> Tables:
    """All that is in a file."""
    with closing(CONNECT(path)) as db:
        names = db.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: db.execute(f"SELECT * FROM {name}").fetchall() for (name,) in names}


@dataclass(frozen=True)
class Command:
    """A command, how many transactions it may write in, and what is so when it is done."""

    run: Callable[[Stage, ConferenceSystem], object]
    commits: int
    done: Callable[[dict[Identity, str], Tables], bool]
    again: str = ""
    """What is said to the same message once more."""


@dataclass
class Stage:
    """A conference in which there is something to do for every command."""

    room: Room
    messages: dict[str, bytes]
    now: int

    def run(self, command: Command, process: Process, *, fresh: bool = True) -> None:
        """Let a process do a command, at the same time each time; Crash when it dies.

        A `fresh` one has a copy of the file as it was.
        """
        self.room.clock.now = self.now
        if fresh:
            shutil.copy(self.room.state.path, process.path)
        with process.alive():
            command.run(self, replace(self.room.system, state=ConferenceState(process.path)))


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    room = Room(tmp_path_factory.mktemp("stage"))
    messages: dict[str, bytes] = {}
    for who in (FRANK, GRACE):
        room.store.add_user(who, psk_of(who))
    room.create(BOB, CAROL, DAN, EVE, FRANK, GRACE)
    for who in (ALICE, BOB, CAROL):
        room.person(who).call_in()
    taken = room.person(ALICE).sends()[0][0]
    messages["answer"] = room.person(DAN).pick_up(room.call_out(DAN, 600))
    messages["clash"] = room.person(EVE).pick_up(room.call_out(EVE, 600), ssrc=taken)
    init = room.call_out(FRANK, 60)
    verified = room.verified(init, FRANK)
    keys = verified.init.keys(verified.resolved.keys.mpki.key, response=False)
    messages["refusal"] = error_message(
        room.env, Message.parse(init).header, ErrorNo.UNSPECIFIED, keys
    )
    for update in membership.change_keys(room.system, None):
        if update.to == BOB:
            messages["updated"] = room.person(BOB).update(update.message)
    creator = room.person(CAROL)
    creator.ticket(FACTORY, BOB, keys=1)
    messages["create"] = creator.call(FACTORY)
    for name, who in (("call in", GRACE), ("call in again", ALICE)):
        room.person(who).ticket(FOCUS)
        messages[name] = room.person(who).call(FOCUS)
    room.state.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    yield Stage(room, messages, room.clock.now)
    room.close()


def late(stage: Stage) -> None:
    """Frank's time is over."""
    stage.room.clock.now = stage.now + 61 * NS


def generation(tables: Tables) -> int:
    return int(tables["conferences"][0][6])


JOINED, LEFT, INVITED = (one.value for one in (MemberState.JOINED, MemberState.LEFT,
                                               MemberState.INVITED))  # fmt: skip

COMMANDS = {
    "create": Command(
        lambda stage, system: calling_in.create(
            system, stage.messages["create"], OTHER, (Purpose.AUDIO,)
        ),
        2,
        lambda _, tables: len(tables["conferences"]) == 2 and len(tables["tickets"]) == 5,
        "seen before",
    ),
    "call in": Command(
        lambda stage, system: calling_in.call_in(system, stage.messages["call in"]),
        2,
        lambda states, _: states[GRACE] == JOINED,
        "seen before",
    ),
    "call in again": Command(
        lambda stage, system: calling_in.call_in(system, stage.messages["call in again"]),
        2,
        lambda states, tables: states[ALICE] == JOINED and len(tables["tickets"]) == 5,
        "seen before",
    ),
    "call out": Command(
        lambda _, system: calling_out.call_out(system, None, GRACE, 60),
        1,
        lambda states, tables: states[GRACE] == INVITED and len(tables["calls"]) == 4,
    ),
    "answer": Command(
        lambda stage, system: calling_out.answer(system, stage.messages["answer"]),
        2,
        lambda states, tables: states[DAN] == JOINED and generation(tables) == 2,
        "is in already",
    ),
    "clash": Command(
        lambda stage, system: calling_out.answer(system, stage.messages["clash"]),
        2,
        lambda states, tables: states[EVE] == JOINED and generation(tables) == 3,
        "is in already",
    ),
    "refusal": Command(
        lambda stage, system: calling_out.answer(system, stage.messages["refusal"]),
        2,
        lambda states, tables: states[FRANK] == LEFT and generation(tables) == 3,
        "too late",
    ),
    "updated": Command(
        lambda stage, system: calling_out.answer(system, stage.messages["updated"]),
        2,
        lambda states, tables: len(tables["updates"]) == 2 and states[BOB] == JOINED,
        "no update",
    ),
    "allow": Command(
        lambda _, system: membership.allow(system, None, [Identity.from_text("sip:new@x.example")]),
        2,
        lambda _, tables: len(tables["allowed"]) == 8,
    ),
    "deny": Command(
        lambda _, system: membership.dismiss(system, None, [BOB], deny=True),
        2,
        lambda states, tables: states[BOB] == LEFT and generation(tables) == 3,
    ),
    "remove": Command(
        lambda _, system: membership.dismiss(system, None, [BOB], deny=False),
        2,
        lambda states, tables: states[BOB] == LEFT and generation(tables) == 3,
    ),
    "end": Command(
        lambda _, system: membership.end(system, FOCUS),
        1,
        lambda states, tables: set(states.values()) == {LEFT} and not tables["ssrcs"],
        "ended",
    ),
    "rekey": Command(
        lambda _, system: membership.change_keys(system, None),
        1,
        lambda _, tables: generation(tables) == 3 and len(tables["updates"]) == 6,
    ),
    "updates": Command(
        lambda _, system: membership.unanswered(system, None),
        1,
        lambda _, tables: generation(tables) == 2 and len(tables["updates"]) == 6,
    ),
    "late": Command(
        lambda stage, system: (late(stage), membership.unanswered(system, None)),  # type: ignore[func-returns-value]
        1,
        lambda states, tables: states[FRANK] == LEFT and generation(tables) == 3,
    ),
    "anew": Command(
        lambda _, system: ConferenceState.init(system.state.path, system.settings, force=True),
        1,
        lambda states, tables: not states and not tables["conferences"] and bool(tables["replay"]),
    ),
}


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest) -> Command:
    return COMMANDS[request.param]


def is_done(command: Command, path: Path) -> bool:
    return command.done(check(path), content(path))


def test_each_command_as_a_whole(stage: Stage, command: Command, tmp_path: Path) -> None:
    process = Process(tmp_path / "whole.db")
    stage.run(command, process)
    assert len(process.committed) == command.commits
    assert is_done(command, process.path)
    if command.again:
        before = content(process.path)
        with pytest.raises(Refused, match=command.again):
            stage.run(command, Process(process.path), fresh=False)
        assert content(process.path) == before


def test_a_crash_at_every_statement(
    stage: Stage, command: Command, tmp_path: Path, series: Series
) -> None:
    path, start = tmp_path / "crash.db", content(stage.room.state.path)
    whole = Process(path)
    stage.run(command, whole)
    assert whole.statements > 4
    assert is_done(command, path)
    for at in series.drawn(range(whole.statements), 12):
        process = Process(path, at)
        with pytest.raises(Crash):
            stage.run(command, process)
        left = content(path)
        assert left == (process.committed[-1] if process.committed else start), at
        check(path)


def test_a_crash_after_every_transaction(stage: Stage, command: Command, tmp_path: Path) -> None:
    """Whoever repeats the command then gets no second of anything."""
    for commit in range(1, command.commits + 1):
        process = Process(tmp_path / f"commit-{commit}.db", after_commit=commit)
        with pytest.raises(Crash):
            stage.run(command, process)
        if commit == command.commits:
            assert is_done(command, process.path)
        if command.again:
            before = content(process.path)
            with pytest.raises(Refused, match=command.again):
                stage.run(command, Process(process.path), fresh=False)
            assert content(process.path) == before
        elif commit < command.commits:
            stage.run(command, Process(process.path), fresh=False)
            assert is_done(command, process.path)


def test_a_crash_before_anything_is_written_costs_nothing(
    stage: Stage, command: Command, tmp_path: Path
) -> None:
    path = tmp_path / "nothing.db"
    with pytest.raises(Crash):
        stage.run(command, Process(path, at=3))
    stage.run(command, Process(path), fresh=False)
    assert is_done(command, path)
