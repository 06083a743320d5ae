"""What came of the packets of a run: counts for each SSRC at each destination."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from mikeytool.media.contexts import Context
from mikeytool.media.listener import Listener
from mikeytool.srtp.index import Clash, Replayed, TooLate
from mikeytool.wire.errors import MikeyError, WireError

_MOST_STREAMS = 4096
_MOST_FAILURES = 10
_ELSE = -1
"""In place of an SSRC, where streams would be too many, or no SSRC could be read."""


@dataclass
class StreamReport:
    """The counts of one SSRC at one destination, which is empty where packets have none.

    `packets` came, of which `done` were encrypted or decrypted, `failed` did not verify or
    could not be read, `replayed` came before, and `skipped` have no key. `clashes`, which
    count as failed, had the index of another packet under the same key. `key` names the key
    that opened the stream. Of RTP packets `lost` never came and `late` came out of order;
    `roc` is the rollover counter in the end, None without an RTP packet.
    """

    ssrc: int
    destination: str
    packets: int = 0
    done: int = 0
    failed: int = 0
    replayed: int = 0
    skipped: int = 0
    clashes: int = 0
    key: str = ""
    lost: int = 0
    late: int = 0
    roc: int | None = None

    @property
    def name(self) -> str:
        """The SSRC as text, `?` for none."""
        return "?" if self.ssrc == _ELSE else f"{self.ssrc:#010x}"


@dataclass
class Report:
    """What came of the packets of a run.

    `verb` says what was to be done with them and `unit` what the numbers of packets count.
    `others` counts the packets that are neither RTP nor RTCP, by protocol. `notes` are those
    of senders and receivers, `unused_keys` the keys in the signalling that were no use, and
    why. `failures` tells why packets failed, ten reasons at most, and `errors` has the first
    error of each class. `fault` is what is wrong with the file itself, if anything is:
    everything before it was processed.
    """

    verb: Literal["encrypted", "decrypted"]
    unit: Literal["packet", "line"] = "packet"
    listener: Listener = field(default_factory=Listener, repr=False)
    others: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    unused_keys: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    errors: list[MikeyError] = field(default_factory=list)
    fault: WireError | None = None
    _streams: dict[tuple[int, str], StreamReport] = field(default_factory=dict, repr=False)
    _reasons: set[str] = field(default_factory=set, repr=False)
    _untold: int = field(default=0, repr=False)
    _copies: int = field(default=0, repr=False)

    @property
    def is_empty(self) -> bool:
        """Whether there was no packet at all."""
        return not self._streams and not self.others and not self.errors

    @property
    def streams(self) -> list[StreamReport]:
        """The counts of every stream, in the order in which they were met."""
        return list(self._streams.values())

    def stream(self, ssrc: int, destination: str) -> StreamReport:
        """The counts of an SSRC at a destination."""
        if len(self._streams) >= _MOST_STREAMS and (ssrc, destination) not in self._streams:
            ssrc, destination = _ELSE, ""
        return self._streams.setdefault((ssrc, destination), StreamReport(ssrc, destination))

    def count_failure(self, number: int, stream: StreamReport, error: MikeyError) -> None:
        """Count a packet that did not go through, and tell why.

        In a capture a copy of a packet is no failure: it was captured twice.
        """
        if isinstance(error, Replayed):
            stream.replayed += 1
            if self.unit == "packet" and not isinstance(error, TooLate):
                self._copies += 1
                return
        else:
            stream.failed += 1
            stream.clashes += isinstance(error, Clash)
        self._tell(number, str(error), error)

    def count_unreadable(self, number: int, text: str, *, counted: bool = False) -> None:
        """Tell of a line that cannot be read, as a packet (then it is counted) or at all."""
        if counted:
            stream = self.stream(_ELSE, "")
            stream.packets += 1
            stream.failed += 1
        self._tell(number, text, WireError(text))

    def _tell(self, number: int, text: str, error: MikeyError) -> None:
        if all(type(each) is not type(error) for each in self.errors):
            self.errors.append(error)
        if text in self._reasons or len(self._reasons) >= _MOST_FAILURES:
            self._untold += 1
            return
        self._reasons.add(text)
        self._add_failure(f"{self.unit} {number}: {text}")

    def _add_failure(self, text: str) -> None:
        self.failures.append(text)
        self.listener.failure(text)

    def count_unused_key(self, text: str) -> None:
        """Tell of a key in the signalling that is no use."""
        self.unused_keys.append(text)
        self.listener.note(text)

    def take_notes(self, contexts: Iterable[Context]) -> None:
        """Take and tell what the senders and receivers have noted down since the last time."""
        for each in contexts:
            for note in each.notes.take():
                self.notes.append(note)
                self.listener.note(note)

    def finish(self, contexts: Iterable[Context]) -> None:
        """Take what the receivers know of their streams, and tell what was left out."""
        for each in contexts:
            for (ssrc, destination), stream in each.streams.items():
                row = self._streams.get((ssrc, destination))
                if row is not None:
                    row.lost, row.late, row.roc = stream.lost, stream.late, stream.roc
        if self._untold:
            self._add_failure(f"{self._untold} {self.unit}s more failed, for such reasons")
        if self._copies:
            self.listener.note(
                f"{self._copies} packets came a second time; the copies were left out"
            )

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
            }
            for row in self._streams.values()
        ]
        return {"streams": streams, "others": dict(self.others), "notes": self.notes}
