"""Processes that run a conference and are killed: a program of its own, because it forks.

`python -m tests.conference.crashing FOLDER EACH SEED` has every command killed at a random moment
until each has been cut short EACH times, and checks the file after every kill. What was cut
short is repeated; what was told counts. Prints, as JSON, how often each command was killed
before it told of anything, and after. Fails where something does not hold.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mikeytool.conference import calling_in, calling_out, membership, rows
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.model import Purpose, Update
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.environment import Environment
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import MikeyError, Refused
from mikeytool.wire.identity import Identity
from tests.conference.invariants import check
from tests.conference.room import FACTORY, FOCUS, Person, Room
from tests.world import psk_of

GUESTS = [Identity.from_text(f"sip:guest-{at}@example.com") for at in range(8)]
SSRCS = (0x11111111, 0x22222222, 0x33333333)

Told = dict[str, Any]
"""What a process says of its command: the message that it made, or the updates."""
Work = Callable[[ConferenceSystem], Told]


def said(answer: bytes) -> Told:
    return {"message": answer.hex()}


def updates(made: Collection[Update]) -> Told:
    return {"updates": [[str(one.to), one.message.hex()] for one in made]}


@dataclass
class Killed:
    """A conference whose commands are killed, and what is known of it from what was told."""

    room: Room
    chance: random.Random
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)
    usual: dict[str, float] = field(default_factory=dict)
    streams: dict[tuple[bytes, int], tuple[Identity, int]] = field(default_factory=dict)
    answers: dict[str, list[tuple[Identity, bytes]]] = field(default_factory=dict)
    conferences: int = 1

    # Processes

    def run(self, name: str, work: Work, *, kill: bool = True) -> Told | None:
        """Fork for a command and kill it; what it told, None when it did not get to that."""
        self.room.store.close()  # it must not be used on both sides of a fork
        reading, writing = os.pipe()
        process = os.fork()
        if process == 0:
            os.close(reading)
            try:
                self._do(work, writing)
            finally:
                os._exit(1)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            assert pipe.readline() == "ready\n"
            start = time.monotonic()
            if kill:
                time.sleep(self.chance.uniform(0, 1.2 * self.usual.get(name, 0.05)))
                os.kill(process, signal.SIGKILL)
            line = pipe.readline()
            if line and not kill:
                self.usual[name] = time.monotonic() - start
            elif line:  # it is faster than was thought
                self.usual[name] = 0.7 * self.usual.get(name, 0.05)
        os.waitpid(process, 0)
        if self.room.store.path.exists():
            self.room.store = Store(self.room.store.path)
        check(self.room.state.path)
        told: Told | None = json.loads(line) if line.endswith("\n") else None
        if kill:
            (self.before if told is None else self.after)[name] += 1
        return told

    def _do(self, work: Work, pipe: int) -> None:
        env = Environment(time.time_ns, os.urandom)
        with ConferenceSystem.open(self.room.state.path, env) as system:
            os.write(pipe, b"ready\n")
            try:
                told = work(system)
            except MikeyError as error:
                told = {"refused": str(error)}
            os.write(pipe, json.dumps(told).encode() + b"\n")

    def states(self) -> dict[Identity, str]:
        return check(self.room.state.path)

    def generation(self) -> int:
        with closing(ConferenceState(self.room.state.path)) as state, state.snapshot() as db:
            return rows.conferences(db)[0].generation

    def once(self, name: str, work: Work) -> Told | None:
        """Kill a command that takes a message, and repeat the message: it is taken once.

        Gives what was told of it, None when the answer was lost.
        """
        told = self.run(name, work)
        again = self.run(name, work, kill=False)
        assert again is not None
        if told is not None and "refused" not in told:
            assert "refused" in again, (name, told, again)
            return told
        return again

    # People

    def calls(self, who: Identity) -> bytes:
        person = self.room.person(who)
        person.ticket(FOCUS)
        session, ssrcs = person.session, [self.chance.choice(SSRCS)]
        if session is not None:  # the device comes back
            ssrcs = [ssrc for ssrc, _ in person.sends()]
        return person.call(FOCUS, ssrcs)

    def heard(self, person: Person) -> None:
        """Nobody else has one of a person's SSRCs under the same key, now or earlier."""
        assert person.session is not None
        for ssrc, media in person.sends():
            owner = person.who, person.session.csb_id
            assert self.streams.setdefault((media.key, ssrc), owner) == owner

    def take(self, told: Told | None) -> None:
        """People get their updates, and answer them some time."""
        for to, message in (told or {}).get("updates", ()):
            person = self.room.person(Identity.from_text(to))
            try:
                answer = person.update(bytes.fromhex(message))
            except (Refused, AssertionError):
                continue  # of a session that is not theirs any more: an answer was lost
            self.heard(person)
            self.answers.setdefault("update", []).append((person.who, answer))

    # Commands

    def create(self) -> None:
        self.conferences += 1
        focus = Identity.from_text(f"sip:room-{self.conferences}@conf.example.com")
        creator = self.room.person(GUESTS[0])
        creator.ticket(FACTORY, *GUESTS, keys=1)
        init = creator.call(FACTORY)
        told = self.once(
            "create", lambda system: said(calling_in.create(system, init, focus, (Purpose.AUDIO,)))
        )
        with closing(ConferenceState(self.room.state.path)) as state, state.snapshot() as db:
            found = rows.conference_of(db, focus)
            assert (found is not None) or (told is not None and "refused" in told)
            if found is not None:
                assert len(rows.allowed_set(db, found.number)) == len(GUESTS)

    def call_in(self) -> None:
        who = self.chance.choice(GUESTS)
        init = self.calls(who)
        self.answers["update"] = [one for one in self.answers.get("update", []) if one[0] != who]
        told = self.once("call in", lambda system: said(calling_in.call_in(system, init)))
        if told is not None and "message" in told:
            person = self.room.person(who)
            person.take(bytes.fromhex(told["message"]))
            self.heard(person)
            assert self.states()[who] == "joined"

    def call_out(self, timeout: int = 600) -> tuple[Identity, bytes] | None:
        states = self.states()
        out = [who for who in GUESTS if states.get(who) != "joined"]
        if not out:
            self.remove()
            return None
        who = self.chance.choice(out)
        if states.get(who) == "invited":
            self.take(self.run("remove", lambda system: dismiss(system, who), kill=False))
        told = self.run(
            "call out",
            lambda system: said(calling_out.call_out(system, FOCUS, who, timeout)),
            kill=self.chance.random() < 0.5,
        )
        if told is None or "message" not in told:
            return None
        assert self.states()[who] == "invited"
        return who, bytes.fromhex(told["message"])

    def answer(self) -> None:
        """Someone answers a call-out, some of them with an SSRC that is taken."""
        called = self.call_out()
        if called is None:
            return
        who, init = called
        person = self.room.person(who)
        answer = person.pick_up(init, ssrc=self.chance.choice(SSRCS))
        told = self.once(
            "answer", lambda system: updates(calling_out.answer(system, answer).updates)
        )
        assert self.states()[who] == "joined"
        if told is not None and "updates" in told:
            if who not in {Identity.from_text(to) for to, _ in told["updates"]}:
                self.heard(person)
            self.take(told)

    def update(self) -> None:
        """Someone answers an update."""
        if not self.answers.get("update"):
            self.take(self.run("rekey", rekey, kill=False))
        waiting = self.answers.get("update")
        if waiting:
            who, answer = waiting.pop()
            self.once("update", lambda system: updates(calling_out.answer(system, answer).updates))
            assert who in self.states()

    def changes(self, name: str, work: Work, out: Identity | None = None) -> Told | None:
        """A command that changes the keys does all of it or nothing, but that who is to be out is
        out before.
        """
        before, states = self.generation(), self.states()
        told = self.run(name, work)
        after = self.generation()
        assert after in (before, before + 1)
        if after == before:
            assert self.states() in (states, {**states, **({out: "left"} if out else {})})
        if told is not None:
            self.take(told)
        return told

    def rekey(self) -> None:
        self.changes("rekey", rekey)

    def remove(self, *, deny: bool = False) -> None:
        inside = [who for who, state in self.states().items() if state == "joined"]
        if not inside:
            self.call_in()
            return
        who, name = self.chance.choice(inside), "deny" if deny else "remove"
        before = self.generation()
        self.changes(name, lambda system: dismiss(system, who, deny=deny), who)
        # What is due since is done by the next command.
        self.take(self.run("updates", unanswered, kill=False))
        assert (self.states()[who] == "left") == (self.generation() == before + 1)
        if deny:
            self.run("allow", lambda system: allow(system, who))
            self.run("allow", lambda system: allow(system, who), kill=False)

    def deny(self) -> None:
        self.remove(deny=True)

    def alone(self) -> None:
        """Someone is put out while the store of the KMS is gone."""
        inside = [who for who, state in self.states().items() if state == "joined"]
        if not inside:
            self.call_in()
            return
        who, deny, before = self.chance.choice(inside), self.chance.random() < 0.5, self.states()
        store, away = self.room.store.path, self.room.folder / "away"
        store.rename(away)
        try:
            told = self.run("alone", lambda system: dismiss(system, who, deny=deny))
        finally:
            away.rename(store)
        assert told is None or "stands" in told["refused"]
        out = self.states()[who] == "left"
        assert out or told is None
        assert self.states() == {**before, **({who: "left"} if out else {})}
        generation = self.generation()
        self.take(self.run("updates", unanswered, kill=False))
        assert self.generation() == generation + out
        if deny:
            self.run("allow", lambda system: allow(system, who), kill=False)

    def again(self) -> None:
        told = self.run("updates", unanswered)
        self.take(told)

    def expire(self) -> None:
        """Someone is called and their time is over: the keys change with their leaving."""
        called = self.call_out(timeout=0)
        if called is not None:
            self.changes("expire", unanswered)
            self.take(self.run("updates", unanswered, kill=False))
            assert self.states()[called[0]] == "left"


def rekey(system: ConferenceSystem) -> Told:
    return updates(membership.change_keys(system, FOCUS, 1))


def dismiss(system: ConferenceSystem, who: Identity, *, deny: bool = False) -> Told:
    return updates(membership.dismiss(system, FOCUS, [who], deny=deny))


def allow(system: ConferenceSystem, who: Identity) -> Told:
    return updates(membership.allow(system, FOCUS, [who]).updates)


def unanswered(system: ConferenceSystem) -> Told:
    return updates(membership.unanswered(system, FOCUS))


COMMANDS: dict[str, Callable[[Killed], object]] = {
    "create": Killed.create,
    "call in": Killed.call_in,
    "call out": Killed.call_out,
    "answer": Killed.answer,
    "update": Killed.update,
    "allow": Killed.deny,
    "deny": Killed.deny,
    "remove": Killed.remove,
    "alone": Killed.alone,
    "rekey": Killed.rekey,
    "updates": Killed.again,
    "expire": Killed.expire,
}


def main() -> None:
    folder, each, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    room = Room(folder)
    room.clock = time.time_ns  # type: ignore[assignment]
    room.env = Environment(time.time_ns, os.urandom)
    room.system = ConferenceSystem(room.state, room.env, room.system.kms)
    for who in GUESTS:
        room.store.add_user(who, psk_of(who))
    room.create(*GUESTS, by=GUESTS[0])
    room.state.close()
    killed = Killed(room, random.Random(seed))
    for _ in range(100 * each):
        left = [name for name in COMMANDS if killed.before[name] < each]
        if not left:
            break
        COMMANDS[left[0] if killed.chance.random() < 0.5 else killed.chance.choice(left)](killed)
    print(json.dumps({"before": killed.before, "after": killed.after}))


if __name__ == "__main__":
    main()
