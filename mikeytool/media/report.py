"""The results of a run: packet counts for each SSRC at each destination."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, NamedTuple

from mikeytool.media.listener import Listener
from mikeytool.srtp.index import Clash, Replayed, TooLate, Unverified
from mikeytool.srtp.notes import Notes
from mikeytool.srtp.receiver import Receiver
from mikeytool.wire.errors import MikeyError, Refused, WireError
from mikeytool.wire.printable import number_of

_MOST_STREAMS = 4096
_MOST_FAILURES = 10
_MOST_KEYS = 64
_SHOWN = 3
"""How many streams are named when many are alike."""
_MOST_NOTES = 1000
_ELSE = -1
"""Used instead of an SSRC when there are too many streams or the SSRC cannot be read."""


class KeyChange(NamedTuple):
    """A key, and the first frame that it opened in a stream."""

    frame: int
    key: str


@dataclass
class StreamReport:
    """The counts of one SSRC at one destination, which is empty if packets have none.

    Of `packets` received, `done` were encrypted or decrypted, `failed` did not verify or could not
    be read, `replayed` had been received before, and `skipped` have no key. `duplicates`, which
    count as done, are copies of packets received within the previous second. `clashes`, which count
    as failed, had the index of another packet under the same key. `keys` are the keys that opened
    the stream, one after the other. `lost` RTP packets never arrived and `late` ones arrived out of
    order. `roc` is the final rollover counter, None without an RTP packet.
    """

    ssrc: int
    destination: str
    packets: int = 0
    done: int = 0
    failed: int = 0
    replayed: int = 0
    skipped: int = 0
    clashes: int = 0
    duplicates: int = 0
    keys: list[KeyChange] = field(default_factory=list)
    lost: int = 0
    late: int = 0
    roc: int | None = None

    @property
    def key(self) -> str:
        """The name of the first key that opened it; empty if none did."""
        return self.keys[0].key if self.keys else ""

    @property
    def name(self) -> str:
        """The SSRC as text, `?` for none."""
        return "?" if self.ssrc == _ELSE else f"{self.ssrc:#010x}"


@dataclass
class Report:
    """The results of a run.

    `verb` names the operation, and `unit` says what packet numbers count.
    `others` counts the packets that are neither RTP nor RTCP, by protocol; `unread` counts packets
    that cannot be read, for example because of their link type. `notes` are the notes of senders
    and receivers. `unused_keys` lists the keys in the signalling that could not be used, with the
    reasons. `failures` has the reasons why packets failed, ten at most, and `errors` the first
    error of each class. If nothing at all was decrypted, `nothing` says why. `given_up` counts the
    receivers that were released because of a limit. `fault` is the defect of the file itself, if it
    has one; everything before the defect was processed.
    """

    verb: Literal["encrypted", "decrypted"]
    unit: Literal["packet", "line"] = "packet"
    listener: Listener = field(default_factory=Listener, repr=False)
    others: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    unused_keys: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    errors: list[MikeyError] = field(default_factory=list)
    nothing: str = ""
    given_up: int = 0
    fault: WireError | None = None
    _streams: dict[tuple[int, str], StreamReport] = field(default_factory=dict, repr=False)
    _reasons: set[str] = field(default_factory=set, repr=False)
    _told: set[str] = field(default_factory=set, repr=False)
    _untold: int = field(default=0, repr=False)
    _copies: int = field(default=0, repr=False)
    _unverified: tuple[int, str] | None = field(default=None, repr=False)
    _unverified_count: int = field(default=0, repr=False)
    _left: dict[str, dict[str, None]] = field(default_factory=dict, repr=False)
    _unopened: MikeyError | None = field(default=None, repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether there were no packets at all."""
        return not self._streams and not self.others and not self.errors

    @property
    def streams(self) -> list[StreamReport]:
        """The counts of every stream, in order of appearance."""
        return list(self._streams.values())

    def stream(self, ssrc: int, destination: str) -> StreamReport:
        """The counts of an SSRC at a destination."""
        if len(self._streams) >= _MOST_STREAMS and (ssrc, destination) not in self._streams:
            if ssrc != _ELSE:
                self.add_note(f"the streams after the first {_MOST_STREAMS} are counted together")
            ssrc, destination = _ELSE, ""
        return self._streams.setdefault((ssrc, destination), StreamReport(ssrc, destination))

    def count_failure(self, number: int, stream: StreamReport, error: MikeyError) -> None:
        """Count a packet that failed, and record why.

        In a capture, a packet that was captured twice is not a failure. Tags that do not verify are
        reported in one line at the end, since they all have the same cause.
        """
        if isinstance(error, Replayed):
            stream.replayed += 1
            if self.unit == "packet" and not isinstance(error, TooLate):
                self._copies += 1
                return
        else:
            stream.failed += 1
            stream.clashes += isinstance(error, Clash)
        if isinstance(error, Unverified):
            self._unverified = self._unverified or (number, str(error))
            self._unverified_count += 1
            self._keep(error)
        else:
            self._tell(number, str(error), error)

    def count_unopened(self, error: MikeyError) -> None:
        """Remember why a packet was left unchanged in a flow that may not be ours."""
        self._unopened = self._unopened or error

    def count_left(self, reason: str, stream: str) -> None:
        """Remember a stream that is left unchanged although it looks encrypted."""
        self._left.setdefault(reason, {})[stream] = None

    def count_key(
        self, stream: StreamReport, name: str, frame: int, *, is_guess: bool = False
    ) -> None:
        """Note the key that opens a stream from a given frame on."""
        if stream.ssrc == _ELSE or (stream.keys and stream.keys[-1].key == name):
            return
        if stream.keys:
            self.add_note(f"{stream.name} to {stream.destination}: from frame {frame} on with "
                          f"another key, {name}")  # fmt: skip
        if len(stream.keys) < _MOST_KEYS:
            stream.keys.append(KeyChange(frame, name))
        if is_guess:
            self.add_note(
                f"{name}: other suites were offered with the same key and no answer was "
                "captured; that it is AES-CM is a guess"
            )

    def count_unreadable(self, number: int, text: str, *, counted: bool = False) -> None:
        """Record a line that cannot be read; `counted` says that it was counted as a packet."""
        if counted:
            stream = self.stream(_ELSE, "")
            stream.packets += 1
            stream.failed += 1
        self._tell(number, text, WireError(text))

    def _keep(self, error: MikeyError) -> None:
        if all(type(each) is not type(error) for each in self.errors):
            self.errors.append(error)

    def _tell(self, number: int, text: str, error: MikeyError) -> None:
        self._keep(error)
        if text in self._reasons or len(self._reasons) >= _MOST_FAILURES:
            self._untold += 1
            return
        self._reasons.add(text)
        self._add_failure(f"{self.unit} {number}: {text}")

    def tell_not_done(self, text: str) -> None:
        """Report what was asked for and not done."""
        self._keep(Refused(text))
        self._add_failure(text)

    def _add_failure(self, text: str) -> None:
        self.failures.append(text)
        self.listener.failure(text)

    def count_unused_key(self, text: str) -> None:
        """Record a key in the signalling that cannot be used."""
        self.unused_keys.append(text)
        self.listener.note(text)

    def add_note(self, text: str) -> None:
        """Record useful information that is not an error."""
        if text not in self._told and len(self.notes) < _MOST_NOTES:
            self._told.add(text)
            self.notes.append(text)
            self.listener.note(text)

    def take_notes(self, notes: Notes) -> None:
        """Record the notes that a sender or receiver made since the last call."""
        for note in notes.take():
            self.add_note(note)

    def take_streams(self, receiver: Receiver) -> None:
        """Add what a receiver knows about its streams."""
        for (ssrc, destination), stream in receiver.streams.items():
            row = self._streams.get((ssrc, destination))
            if row is not None:
                row.lost += stream.lost
                row.late += stream.late
                row.roc = stream.roc if row.roc is None else max(row.roc, stream.roc or 0)

    def finish(self) -> None:
        """Record what was left out; if nothing was decrypted, record why."""
        if self._unverified is not None:
            number, text = self._unverified
            more = self._unverified_count - 1
            others = f"; {more} {self.unit}s more do not verify" if more else ""
            self._add_failure(f"{self.unit} {number}: {text}{others}")
        if self._untold:
            self._add_failure(f"{number_of(self._untold, self.unit)} more failed, for such reasons")
        if self._copies:
            self.listener.note(
                f"{number_of(self._copies, 'packet')} came a second time; the copies were left out"
            )
        for reason, left in self._left.items():
            shown = ", ".join(islice(left, _SHOWN))
            shown += f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
            self.add_note(f"left as they are: {shown} ({reason})")
        if self.given_up:
            self.add_note(
                f"{self.given_up} receivers were given up, for more than {_MOST_STREAMS} streams"
                " were open; packets that come again for them are not told as copies"
            )

    def tell_nothing(self, reason: str) -> None:
        """Report that nothing at all was encrypted or decrypted, and why."""
        if self.is_empty:
            reason = "there is no packet in it"
        self.nothing = f"nothing was {self.verb}: {reason}"
        self.tell_not_done(self.nothing)

    @property
    def unopened(self) -> str:
        """Why the first packet that no key opened was left alone."""
        return "" if self._unopened is None else str(self._unopened)

    def json(self) -> dict[str, Any]:
        """The report as `srtp --report` writes it."""
        streams = [
            {
                "ssrc": row.name,
                "destination": row.destination or None,
                "packets": row.packets,
                self.verb: row.done,
                "failed": row.failed,
                "replayed": row.replayed,
                "skipped": row.skipped,
                "lost": row.lost,
                "out_of_order": row.late,
                "roc": row.roc,
                "clashes": row.clashes,
                "key": row.key or None,
                "duplicates": row.duplicates,
                "keys": [{"frame": frame, "key": key} for frame, key in row.keys],
            }
            for row in self._streams.values()
        ]
        return {"streams": streams, "others": dict(self.others), "notes": self.notes}
