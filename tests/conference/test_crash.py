"""After a kill at any instant the file holds what was before a command, or what is after it."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from mikeytool.conference import member_rows, rows
from mikeytool.conference.model import MemberState
from mikeytool.conference.state import ConferenceState
from mikeytool.wire.identity import Identity
from tests.conference.room import FOCUS, Room
from tests.support import TESTS
from tests.world import Clock, psk_of

GUESTS = 200
KILLS = 30


class RealClock(Clock):
    def __call__(self) -> int:
        return time.time_ns()


def guest(at: int) -> Identity:
    return Identity.from_text(f"sip:guest-{at}@example.com")


def prepared(folder: Path) -> Room:
    """A conference, and the calls of many guests, each proposing one of a few SSRCs."""
    room = Room(folder, clock=RealClock())
    for at in range(GUESTS):
        room.store.add_user(guest(at), psk_of(guest(at)))
    room.create(*map(guest, range(GUESTS)))
    calls = folder / "calls"
    calls.mkdir()
    for at in range(GUESTS):
        person = room.person(guest(at))
        person.ticket(FOCUS)
        (calls / str(at)).write_bytes(person.call(ssrcs=[1000 + at % 7]))
    return room


def killed(state: Path, calls: Path, start: int, after: float) -> dict[int, str]:
    """Run the worker, kill it `after` seconds of work; what it said of each message."""
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.conference.worker", state, calls, str(start)],
        cwd=TESTS.parent, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert worker.stdout is not None
    first = worker.stdout.readline()
    time.sleep(after)
    worker.kill()
    rest, _ = worker.communicate(timeout=60)
    # The last line may have been cut.
    lines = [line for line in (first + rest).split("\n")[:-1] if line]
    return {int(line.split()[0]): line.partition(" ")[2] for line in lines}


def check(path: Path) -> set[Identity]:
    """The file is whole and agrees with itself; gives who is in."""
    state = ConferenceState(path)
    with state.transaction() as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        (conference,) = rows.conferences(db)
        active = [key for key in rows.group_keys(db, conference.number) if key.until_ns is None]
        assert {key.generation for key in active} <= {conference.generation}
        joined = list(member_rows.members(db, conference.number, MemberState.JOINED))
        for member in joined:
            assert member.session is not None
            own = {
                one.ssrc
                for one in member.session.crypto_sessions
                if not member.session.is_local(one)
            }
            assert own == set(rows.ssrcs_of(db, member.number))
            waiting = member_rows.updates_of(db, member.number)
            assert member.generation == conference.generation or waiting
        every = [ssrc for member in joined for ssrc in rows.ssrcs_of(db, member.number)]
        assert len(set(every)) == len(every)
    state.close()
    return {member.identity for member in joined}


def test_kill_9_at_random_points(tmp_path: Path) -> None:
    room = prepared(tmp_path)
    state, calls = room.state.path, tmp_path / "calls"
    room.state.close()
    chance, told = random.Random(5), set[int]()
    for _ in range(KILLS):
        # The last few again: they may have been written down without being told.
        said = killed(state, calls, max(len(told) - 3, 0), chance.uniform(0, 0.3))
        for at, what in said.items():
            # An answer is given once. What was killed before it was told is a replay as well.
            assert what == "seen" or (what == "in" and at not in told), (at, what)
            told |= {at} if what == "in" else set()
        inside = check(state)
        assert {guest(at) for at in told} <= inside
    assert len(told) > KILLS // 2
