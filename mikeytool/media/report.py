"""What came of the packets: a row an SSRC and destination."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mikeytool.cli.exit_codes import EXIT_REFUSED, EXIT_UNREADABLE, complain, exit_code
from mikeytool.cli.options.common import is_terminal, say
from mikeytool.media.handlers import Handler
from mikeytool.srtp import Clash, Replayed
from mikeytool.srtp.index import TooLate
from mikeytool.wire.errors import MikeyError, StateError

_MOST_ROWS = 4096
_MOST_COMPLAINTS = 10
_NO_WIDTH = 1 << 18
_ELSE = -1
"""In place of an SSRC, where rows would be too many, or no SSRC could be read."""


@dataclass
class Row:
    """The counts of one SSRC at one destination; `key` names the key that opened it."""

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
    """What came of the packets of a run; `verb` is `encrypted` or `decrypted`."""

    verb: str
    unit: str
    """What the numbers of packets count: packets, or lines."""
    others: Counter[str] = field(default_factory=Counter)
    codes: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    _rows: dict[tuple[int, str], Row] = field(default_factory=dict)
    _complained: set[str] = field(default_factory=set)
    _unsaid: int = 0
    _copies: int = 0

    @property
    def is_empty(self) -> bool:
        """Whether there was no packet at all."""
        return not self._rows and not self.others and not self.codes

    def row(self, ssrc: int, destination: str) -> Row:
        """The row of an SSRC at a destination."""
        if len(self._rows) >= _MOST_ROWS and (ssrc, destination) not in self._rows:
            ssrc, destination = _ELSE, ""
        return self._rows.setdefault((ssrc, destination), Row(ssrc, destination))

    def failed(self, number: int, row: Row, error: MikeyError, *, is_text: bool) -> None:
        """Count a packet that did not go through, and say why.

        In a capture a copy of a packet is no failure: it was captured twice.
        """
        if isinstance(error, Replayed):
            row.replayed += 1
            if not is_text and not isinstance(error, TooLate):
                self._copies += 1
                return
        else:
            row.failed += 1
            row.clashes += isinstance(error, Clash)
        self.codes.add(exit_code(error) if is_text else EXIT_REFUSED)
        self._complain(number, str(error))

    def unreadable(self, number: int, text: str, *, counted: bool = False) -> None:
        """A line that cannot be read, as a packet or at all."""
        if counted:
            row = self.row(_ELSE, "")
            row.packets += 1
            row.failed += 1
        self.codes.add(EXIT_UNREADABLE)
        self._complain(number, text)

    def _complain(self, number: int, text: str) -> None:
        if text in self._complained or len(self._complained) >= _MOST_COMPLAINTS:
            self._unsaid += 1
            return
        self._complained.add(text)
        complain(f"{self.unit} {number}: {text}")

    def take_notes(self, handlers: Iterable[Handler]) -> None:
        """Say what the senders and receivers have noted down since the last time."""
        for each in handlers:
            for note in each.notes.take():
                self.notes.append(note)
                say(f"note: {note}")

    def finish(self, handlers: Iterable[Handler]) -> None:
        """Take what the receivers know of their streams, and say how the run went."""
        for each in handlers:
            for (ssrc, destination), stream in each.streams.items():
                row = self._rows.get((ssrc, destination))
                if row is not None:
                    row.lost, row.late, row.roc = stream.lost, stream.late, stream.roc
        if self._unsaid:
            complain(f"{self._unsaid} {self.unit}s more failed, for such reasons")
        if self._copies:
            say(f"note: {self._copies} packets came a second time; the copies were left out")

    def show(self) -> None:
        """Print the report on standard error."""
        rows = sorted(self._rows.values(), key=lambda row: (row.ssrc, row.destination))
        several = len({row.key for row in rows if row.key}) > 1
        head = ["packets", self.verb, "failed", "replayed", "skipped", "lost", "out of order",
                "ROC", "clashes"]  # fmt: skip
        table = [["SSRC", "destination", *head, *["key"] * several]]
        for row in rows:
            counts = [row.packets, row.done, row.failed, row.replayed, row.skipped, row.lost,
                      row.late, "-" if row.roc is None else row.roc, row.clashes]  # fmt: skip
            key = [row.key or "-"] * several
            table.append([row.name, row.destination or "-", *map(str, counts), *key])
        for line in _lines(table, several) if rows else []:
            say(line)
        if self.others:
            kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.others.items()))
            say(f"skipped, neither RTP nor RTCP: {kinds}")

    def json(self) -> dict[str, Any]:
        """The report for programs."""
        rows = [
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
            for row in self._rows.values()
        ]
        return {"streams": rows, "others": dict(self.others), "notes": self.notes}

    def write(self, path: Path) -> None:
        """Write the report as JSON; raises StateError."""
        try:
            path.write_text(json.dumps(self.json()) + "\n")
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None


def _lines(table: list[list[str]], has_key: bool) -> Iterator[str]:
    """A table for people; in a narrow terminal each row is two lines."""
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    is_narrow = sum(widths) + 2 * (len(widths) - 1) > _width()
    last = len(widths) - has_key
    for cells in table:
        counts = [
            cell.rjust(width) for cell, width in zip(cells[2:last], widths[2:last], strict=True)
        ]
        if is_narrow:
            yield "  ".join([*cells[:2], *cells[last:]])
            yield "  " + " ".join(counts)
        else:
            ends = [cells[0].ljust(widths[0]), cells[1].ljust(widths[1])]
            yield "  ".join([*ends, *counts, *cells[last:]])


def _width() -> int:
    if is_terminal() or os.environ.get("COLUMNS"):
        return shutil.get_terminal_size().columns
    return _NO_WIDTH
