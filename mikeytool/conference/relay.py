"""The media of a conference under the system's eye (TR 33.828 5.3.2).

The system knows who has which SSRC under which group key. A packet that verifies is taken only if
its SSRC is that of a member who is in; removal counts from that moment, whatever the overlap that
the members allow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mikeytool.conference import rows
from mikeytool.conference.database import ConferenceState, Db
from mikeytool.conference.membership import the_conference
from mikeytool.conference.model import Conference, GroupKey, Purpose, Seat
from mikeytool.media.contexts import ReceiverContext
from mikeytool.media.settings import Settings
from mikeytool.srtp.index import Excluded, Highest, Unverified
from mikeytool.srtp.master_key import MasterKey
from mikeytool.srtp.packet import is_rtcp, parse_rtcp, parse_rtp
from mikeytool.srtp.receiver import MOST_STREAMS, Receiver
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ProtType

_ALL_SEARCHED = 8
"""How many packets of an SSRC may fail before only one of eight is searched for."""


@dataclass(frozen=True)
class Ledger:
    """Who may send with which SSRC, for one purpose of a conference."""

    focus: Identity
    purpose: Purpose
    find: Callable[[int], Seat | None]
    admits_mixer: bool = False

    def check(self, ssrc: int) -> None:
        """Raise Excluded for an SSRC that no member who is in has for this purpose."""
        self.seat(ssrc)

    def seat(self, ssrc: int) -> Seat:
        """Return whose an SSRC is. Raises what `check` does."""
        seat = self.find(ssrc)
        if seat is None:
            reason = f"nobody in {self.focus} has it"
        elif seat.purpose != self.purpose:
            reason = f"it is for the {seat.purpose} of {seat.who or self.focus}"
        elif seat.is_mixer and not self.admits_mixer:
            reason = "it is the mixer's own, which no other end sends"
        else:
            found = seat.refusal()
            if found is None:
                return seat
            reason = found
        raise Excluded(f"SSRC 0x{ssrc:08x} under the {self.purpose} key: {reason}")


class Relay:
    """Takes the packets of one conference as they come.

    Changes of the state file by any process count from the next packet on. What is known of a
    stream (its index, replays) is kept over changes. `changes` counts them.
    """

    def __init__(
        self,
        state: ConferenceState,
        clock: Callable[[], int],
        focus: Identity | None = None,
        *,
        received: Mapping[bytes, Mapping[int, Highest]] | None = None,
    ) -> None:
        """Take a conference of a system; `focus` is not needed if there is only one.

        `clock` gives Unix nanoseconds. `received` is `highest` of an earlier relay, whose packets
        are not taken again. Raises UsageError when there is no such conference, or one
        without media.
        """
        self._state, self._clock, self._focus = state, clock, focus
        self._receivers: dict[bytes, Receiver] = {}
        self._keys: dict[Purpose, list[Receiver]] = {}
        self._received = dict(received or {})
        self.conference: Conference
        self.changes = 0
        self._seats: dict[int, Seat | None] = {}
        self._failed: dict[int, int] = {}
        self._ledgers: dict[Purpose, Ledger] = {}
        self._version: tuple[int, int] | None = None
        self._until_ns: int | None = None
        self.refresh()

    def take(self, packet: bytes, source: str = "", destination: str = "") -> bytes:
        """Return a packet that may go to the other members, as it is.

        `source` and `destination` are addresses and ports. Raises Excluded for an SSRC that may not
        be used, Unverified for a tag that verifies under no live key, Replayed and Clash as
        `Receiver` does, and WireError for what is no packet.
        """
        self.open(packet, source, destination)
        return packet

    def open(self, packet: bytes, source: str = "", destination: str = "") -> bytes:
        """Return a packet in the clear. Raises as `take` does."""
        return self.opened(packet, source, destination)[0]

    def opened(self, packet: bytes, source: str = "", destination: str = "") -> tuple[bytes, Seat]:
        """Return a packet in the clear, and whose it is. Raises as `take` does."""
        self.refresh()
        ssrc = parse_rtcp(packet) if is_rtcp(packet) else parse_rtp(packet)[0]
        seat = self._seat(ssrc)
        purpose = self._any if seat is None else seat.purpose
        seat = self._ledgers[purpose].seat(ssrc)
        failure = Unverified(f"there is no live {purpose} key")
        receivers = self._keys.get(purpose, ())
        for receiver in receivers:
            try:
                return receiver.unprotect(packet, source, destination), seat
            except Unverified as error:
                failure = error
        for receiver in receivers if self._may_search(ssrc, packet) else ():
            receiver.searches = True
            try:
                return receiver.unprotect(packet, source, destination), seat
            except Unverified as error:
                failure = error
            finally:
                receiver.searches = False
        raise failure

    def _may_search(self, ssrc: int, packet: bytes) -> bool:
        """Whether to search for the ROC of a packet that does not verify.

        That takes long, so of many such packets only some are chosen, and nobody can foresee which:
        the hash has a secret of the process (PEP 456). A stream whose ROC is lost is found soon.
        """
        self._failed[ssrc] = self._failed.get(ssrc, 0) + 1
        return self._failed[ssrc] <= _ALL_SEARCHED or not hash(packet) & 7

    @property
    def highest(self) -> dict[bytes, dict[int, Highest]]:
        """The highest packet indices received, by SPI and SSRC."""
        return {spi: receiver.highest for spi, receiver in self._receivers.items()}

    def _seat(self, ssrc: int) -> Seat | None:
        """Return who has an SSRC. Each is looked up once, until the state changes."""
        try:
            return self._seats[ssrc]
        except KeyError:
            if len(self._seats) >= MOST_STREAMS:
                self._seats.clear()
            found = rows.seat(self._state.db, self.conference.number, ssrc)
            self._seats[ssrc] = found
            return found

    def refresh(self) -> None:
        """Read the state again if it has changed, or a key has expired."""
        db = self._state.db
        (version,) = db.execute("PRAGMA data_version").fetchone()
        now = self._clock()
        if (version, db.total_changes) == self._version and (
            self._until_ns is None or now < self._until_ns
        ):
            return
        with self._state.snapshot() as snapshot:
            conference = the_conference(snapshot, self._focus)
            self._focus = conference.focus
            self._ledgers = _ledgers(conference, self._seat, admits_mixer=False)
            if not self._ledgers:
                raise UsageError(f"{conference.focus} has no media")
            keys = _live(snapshot, conference, now)
        self.conference, self._any = conference, next(iter(self._ledgers))
        self._seats.clear()
        self._failed.clear()
        self._take_keys(keys)
        self._version = version, db.total_changes
        self.changes += 1

    def _take_keys(self, keys: Sequence[GroupKey]) -> None:
        """Keep the receivers of keys that are live still, and make those of new keys."""
        before, self._receivers = self._receivers, {}
        self._keys = {}
        for key in keys:
            receiver = before.get(key.spi)
            if receiver is None:
                receiver = Receiver(
                    self.conference.media[key.purpose], [_master(key)],
                    roc=_rocs(before.values()), received=self._received.get(key.spi),
                )  # fmt: skip
                receiver.searches = False
            self._receivers[key.spi] = receiver
            self._keys.setdefault(key.purpose, []).append(receiver)
        ends = [key.until_ns for key in keys if key.until_ns is not None]
        self._until_ns = min(ends, default=None)


def _rocs(receivers: Iterable[Receiver]) -> dict[int, int]:
    """Return how often each SSRC has rolled over; it goes on counting under another key."""
    return {
        ssrc: max(highest.rtp, 0) >> 16
        for receiver in receivers
        for ssrc, highest in receiver.highest.items()
    }


def conference_receivers(path: Path, settings: Settings) -> list[ReceiverContext]:
    """Return the contexts that decrypt the media of the conferences in a state file.

    The SSRCs are those of the members who are in. Raises StateError for the file, and UsageError
    when none of its conferences has a live media key.
    """
    found = []
    now_ns = time.time_ns() if settings.now_ns is None else settings.now_ns
    with ConferenceState(path) as state, state.snapshot() as db:
        for conference in rows.conferences(db):
            seats = {seat.ssrc: seat for seat in rows.seats(db, conference.number)}
            ledgers = _ledgers(conference, seats.get, admits_mixer=True)
            for key in _live(db, conference, now_ns):
                ledger = ledgers[key.purpose]
                found.append(
                    ReceiverContext(
                        f"{conference.focus} {key.purpose}", conference.media[key.purpose],
                        [_master(key)], settings, ssrcs=settings.ssrcs, admits=ledger.check,
                    )
                )  # fmt: skip
    if not found:
        raise UsageError(f"{path}: no conference has a media key that is live")
    return found


def seat_names(path: Path) -> dict[int, str]:
    """Return who has each SSRC in the conferences of a state file, or why nobody may use it.

    Raises StateError for the file.
    """
    found = {}
    with ConferenceState(path) as state, state.snapshot() as db:
        for conference in rows.conferences(db):
            for seat in rows.seats(db, conference.number):
                found[seat.ssrc] = seat.refusal() or f"{seat.owner} {seat.purpose}"
    return found


def _ledgers(
    conference: Conference, find: Callable[[int], Seat | None], *, admits_mixer: bool
) -> dict[Purpose, Ledger]:
    """Return the ledger of each purpose with media."""
    return {one: Ledger(conference.focus, one, find, admits_mixer) for one in conference.media}


def _live(db: Db, conference: Conference, now_ns: int) -> list[GroupKey]:
    """Return the media keys that open packets now, newest first."""
    return [
        key
        for key in rows.group_keys(db, conference.number)
        if key.purpose.protocol == ProtType.SRTP and key.tek and key.state(now_ns) != "expired"
    ]


def _master(key: GroupKey) -> MasterKey:
    return MasterKey(key.tek, key.salt, key.spi)
