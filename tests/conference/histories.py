"""Random histories of a conference: devices come, go, come back, change streams and are put out,
keys change, processes die. After each step the file is whole, and packets of libsrtp are the judge
of who hears whom.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pylibsrtp import Policy
from pylibsrtp import Session as LibSrtp

from mikeytool.client.state import ClientState
from mikeytool.conference import calling_out, member_rows, membership
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.mixer import Mixer
from mikeytool.conference.mixer_session import set_up_mixer
from mikeytool.conference.model import MemberState, Purpose, Topology, Update
from mikeytool.conference.relay import Relay
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.srtp import MasterKey, Receiver
from mikeytool.wire.errors import MikeyError, Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_end
from tests.conference.invariants import check
from tests.conference.room import FOCUS, Person, Room
from tests.conference.test_ssrcs import SUITE, libsrtp, packet
from tests.world import psk_of

USERS = [Identity.from_text(f"sip:guest-{at}@example.com") for at in range(5)]
SSRCS = (0x11111111, 0x22222222, 0x33333333, 0x44444444)
"""What devices propose: few, so that they collide all the time."""
_LONGEST = 10
"""How many devices are in at a time, and how many of those that are out go on sending."""


class Crash(BaseException):
    """The process is dead."""


@dataclass
class Out:
    """A device that is out. One that another session replaced has the keys of its user still."""

    device: Person
    is_expelled: bool
    sequence: int = 1000


@dataclass
class History:
    """A conference with what is known of it; `step` makes the next step."""

    room: Room
    chance: random.Random
    topology: Topology
    memory: ClientState
    inside: list[Person] = field(default_factory=list)
    outside: list[Out] = field(default_factory=list)
    expelled: list[Person] = field(default_factory=list)
    owners: dict[tuple[bytes, int], int] = field(default_factory=dict)
    sequence: int = 0
    done: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for who in USERS:
            self.room.store.add_user(who, psk_of(who))
        self.room.create(*USERS, by=USERS[0], topology=self.topology)
        self.room.person(USERS[0]).call_in()
        self.inside.append(self.room.people.pop(USERS[0]))
        if self.topology != Topology.RELAY:
            set_up_mixer(self.room.system, None, Purpose.AUDIO, self.mixer_file)
        self.begin()

    @property
    def mixer_file(self) -> Path:
        return self.room.folder / "mixer.session"

    def begin(self) -> None:
        """What a process of the system begins with: a relay, or a mixer."""
        self.relay = Relay(self.room.state, self.room.env.clock)
        self.mixer = None
        if self.topology != Topology.RELAY:
            self.mixer = Mixer(self.room.state, self.memory, self.mixer_file, self.room.env.clock)

    # Steps

    def step(self) -> None:
        """Make one step, and look at everything."""
        (name,) = self.chance.choices(list(STEPS), [weight for _, weight in STEPS.values()])
        self.done[name] = self.done.get(name, 0) + 1
        with suppress(Refused):  # of a collision of two histories: the call of one who is in
            STEPS[name][0](self)
        self.settle()
        self.look()

    def device(self) -> Person:
        return self.chance.choice(self.inside)

    def join(self) -> None:
        if len(self.inside) < _LONGEST:
            self.call_in(self.room.device(self.chance.choice(USERS)))

    def call_in(self, device: Person) -> None:
        device.ticket(FOCUS)
        ssrc = self.chance.choice([None, *SSRCS])
        device.take(self.room.call_in(device.call(FOCUS, [ssrc])))
        self.inside.append(device)

    def second(self) -> None:
        if self.inside and len(self.inside) < _LONGEST:
            self.call_in(self.room.device(self.device().who))

    def come_back(self) -> None:
        """A device restarts, and calls in with what it had."""
        if self.inside:
            old = self.device()
            new = self.room.device(old.who)
            new.ticket(FOCUS)
            ((ssrc, _),) = old.sends()
            new.take(self.room.call_in(new.call(FOCUS, [ssrc])))
            self.inside.append(new)

    def change_stream(self) -> None:
        """A member's update: another SSRC."""
        if self.inside:
            device = self.device()
            assert device.session is not None
            cs_id = next(
                one.entry.cs_id
                for one in device.session.crypto_sessions
                if device.session.is_local(one)
            )
            spec = CsSpec(send=True, cs_id=cs_id, ssrc=self.chance.choice(SSRCS))
            before = device.session
            try:
                device.told(self.room.call_in(device.ask(spec)))
            except Refused:
                device.session = before  # it has an update to answer first
                raise

    def remove(self) -> None:
        if self.inside:
            who = self.put_out(self.device().who)
            self.take(membership.dismiss(self.room.system, None, [who], deny=False))
            assert who not in self.users()

    def remove_seat(self) -> None:
        if self.inside:
            device = self.device()
            assert device.session is not None
            csb_id = device.session.csb_id
            self.expelled.append(device)
            self.take(membership.dismiss_seat(self.room.system, None, csb_id, device.who))
            assert device not in self.joined()

    def deny(self) -> None:
        if self.inside:
            who = self.put_out(self.device().who)
            self.take(membership.dismiss(self.room.system, None, [who], deny=True))
            try:
                self.call_in(self.room.device(who))
            except Refused:
                membership.allow(self.room.system, None, [who])
            else:
                raise AssertionError(f"{who} is in though denied")

    def put_out(self, who: Identity) -> Identity:
        self.expelled += [one for one in self.inside if one.who == who]
        return who

    def rekey(self) -> None:
        self.take(membership.change_keys(self.room.system, None))

    def updates(self) -> None:
        self.take(membership.unanswered(self.room.system, None), lost=0)

    def call_out(self) -> None:
        """Somebody is called, and answers, or does not."""
        who = self.chance.choice(USERS)
        init = calling_out.call_out(self.room.system, FOCUS, who, 60)
        if self.chance.random() < 0.3:
            self.room.clock.now += 61 * NS
            return
        device = self.room.device(who)
        answer = device.pick_up(init, ssrc=self.chance.choice(SSRCS))
        updates = self.room.answer(answer).updates
        self.inside.append(device)
        self.take(updates, lost=0)

    def time(self) -> None:
        self.room.clock.now += self.chance.choice([1, 5, 11, 40]) * NS

    def crash(self) -> None:
        """A process dies at one of the statements of some step, and another one begins."""
        names = [name for name in STEPS if name not in ("crash", "time")]
        left = self.chance.randrange(1, 80)

        class Dying:
            """A connection that dies before one of its statements."""

            def __init__(self, db: Any) -> None:
                self.db, self.left = db, left

            def __getattr__(self, name: str) -> Any:
                found = getattr(self.db, name)
                if name not in ("execute", "executemany"):
                    return found

                def statement(*values: Any) -> Any:
                    self.left -= 1
                    if self.left < 0:
                        raise Crash
                    return found(*values)

                return statement

        state = self.room.state
        state.db = Dying(state.db)  # type: ignore[assignment]
        with suppress(Crash, MikeyError):
            STEPS[self.chance.choice(names)][0](self)
        state.close()
        self.room.state = ConferenceState(state.path)
        self.room.system = replace(self.room.system, state=self.room.state)
        self.begin()
        # The next command does what is due.
        self.take(membership.allow(self.room.system, None, USERS).updates)

    def end(self) -> None:
        """Everyone who is in is told, and the system takes no packet any more."""
        updates = list(membership.end(self.room.system, None))
        for device in self.inside:
            (update,) = [one for one in updates if device.is_for(one.message)]
            assert is_end(Message.read(update.message))
            ((ssrc, media), *_) = device.sends()
            with pytest.raises(Refused, match="ended at"):
                self.relay.take(libsrtp(ssrc, media).protect(packet(ssrc, 2000)))
        check(self.room.state.path)

    # What follows from a step

    def take(self, updates: Iterable[Update], lost: float = 0.1) -> None:
        """Devices get their updates and answer them; some are lost on the way."""
        for update in list(updates):
            for device in self.inside:
                if device.is_for(update.message) and self.chance.random() >= lost:
                    self.room.answer(device.update(update.message))
            for out in self.outside:  # what a device that is out gets ends its session
                if out.device.is_for(update.message):
                    assert is_end(Message.read(update.message))

    def seats(self) -> set[tuple[Identity, int]]:
        """User and CSB ID of the seats that are in, as the file says."""
        number = self.room.conference().number
        with self.room.state.snapshot() as db:
            found = member_rows.people(db, number, MemberState.JOINED)
            return {(one.identity, one.csb_id) for one in found}

    def users(self) -> set[Identity]:
        return {who for who, _ in self.seats()}

    def joined(self) -> list[Person]:
        """Those of the devices that the file has as members."""
        found = self.seats()
        return [
            one
            for one in self.inside
            if one.session is not None and (one.who, one.session.csb_id) in found
        ]

    def settle(self) -> None:
        """Sort devices by what the file says, which `look` then holds against their packets."""
        stay = self.joined()
        gone = [Out(one, one in self.expelled) for one in self.inside if one not in stay]
        self.outside = [*self.outside, *gone][-_LONGEST:]
        self.inside, self.expelled = stay, []

    @staticmethod
    def keys_of(device: Person) -> set[bytes]:
        assert device.session is not None
        return {key.key for key in device.session.keys}

    # Invariants

    def look(self) -> None:
        check(self.room.state.path)
        keys = self.room.group_keys()
        active = {key.tek for key in keys if key.until_ns is None}
        for device in self.inside:
            assert device.session is not None
            for ssrc, media in device.sends():
                owner = self.owners.setdefault((media.key, ssrc), device.session.csb_id)
                assert owner == device.session.csb_id, "two seats have one SSRC under one key"
        self.look_outside(active)
        if self.inside:
            current = [one for one in self.inside if active <= self.keys_of(one)]
            if current:
                self.hear(self.chance.choice(current), current)

    def look_outside(self, active: set[bytes]) -> None:
        """Nobody outside holds a live key, and the system takes no packet of theirs."""
        users = self.users()
        for out in self.outside:
            if out.is_expelled or out.device.who not in users:
                assert not self.keys_of(out.device) & active, "who is out has a live key"
        for out in self.outside[-2:]:
            out.sequence += 1
            for ssrc, media in out.device.sends():
                data = libsrtp(ssrc, media).protect(packet(ssrc, out.sequence))
                with suppress(Refused):
                    self.relay.take(data)
                    raise AssertionError(f"a packet of {out.device.who} passes, who is out")

    def hear(self, sender: Person, readers: list[Person]) -> None:
        """A packet of a member passes the system, and every other device opens it, or its mix."""
        self.sequence += 1
        ((ssrc, media),) = sender.sends()
        clear = packet(ssrc, self.sequence)
        data = libsrtp(ssrc, media).protect(clear)
        if self.mixer is None:
            assert self.relay.take(data) == data
            for reader in readers:
                if reader is not sender:
                    assert self.opened(reader, data) == clear
            return
        heard = self.mixer.take(data)
        assert heard is not None
        assert heard.ssrc == ssrc
        for stream in self.mixer.streams:
            mixed = self.mixer.send(stream, heard.payload, 160, [ssrc])
            for reader in readers:
                assert self.opened(reader, mixed, max(stream.highest, 0) >> 16)[16:] == clear[12:]

    @staticmethod
    def opened(reader: Person, data: bytes, roc: int = 0) -> bytes:
        """A packet as a telephone with libsrtp opens it, under the key that it has for others.

        pylibsrtp cannot begin at another ROC than 0.
        """
        session = reader.session
        assert session is not None
        theirs = next(one for one in session.crypto_sessions if not session.is_local(one))
        media = session.media_key(theirs)
        key = media.key + media.salt
        if roc:
            ssrc = int.from_bytes(data[8:12])
            master = MasterKey(media.key, media.salt)
            return Receiver(SUITE, [master], roc={ssrc: roc}).unprotect(data)
        return LibSrtp(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND)).unprotect(data)


STEPS: dict[str, tuple[Callable[[History], None], int]] = {
    "join": (History.join, 5),
    "second device": (History.second, 4),
    "come back": (History.come_back, 3),
    "change a stream": (History.change_stream, 4),
    "remove": (History.remove, 1),
    "remove a seat": (History.remove_seat, 2),
    "deny": (History.deny, 1),
    "rekey": (History.rekey, 2),
    "updates": (History.updates, 3),
    "call out": (History.call_out, 2),
    "time": (History.time, 2),
    "crash": (History.crash, 2),
}
"""What may happen, and how often."""
