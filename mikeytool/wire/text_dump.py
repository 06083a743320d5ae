"""The annotated dump of a message as lines: octets on the left, what they are on the right."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from mikeytool.wire.annotated_dump import Row, dump
from mikeytool.wire.message import Message
from mikeytool.wire.printable import printable

_OCTETS = 8
"""In a line: with their hex and the offset there is room for as much text in 80 columns."""

_LEFT = 5 + 2 + 3 * _OCTETS - 1 + 2
_LEAST = 24


class DumpLine(NamedTuple):
    """A line of the dump. The title of a record has no offset and no words."""

    offset: str
    octets: str
    words: str
    is_title: bool = False

    def __str__(self) -> str:
        """The whole line."""
        return f"{self.offset}{self.octets}{self.words}"


def dump_lines(
    message: Message, width: int | None = None, *, redact: bool = False
) -> Iterator[DumpLine]:
    """Give the lines of the dump of a message, with decimal offsets.

    Words are wrapped to fit `width` columns. With `redact`, octets that may hold keys are masked.
    """
    path = None
    for row in dump(message):
        if row.path != path:
            path = row.path
            yield DumpLine("", " > ".join(name for name, _ in path), "", is_title=True)
        yield from _row_lines(row, width, redact=redact)


def _row_lines(row: Row, width: int | None, *, redact: bool) -> Iterator[DumpLine]:
    room = sys.maxsize if width is None else max(width - _LEFT, _LEAST)
    text = printable(row.text if row.octets else f"{row.text}, empty").rstrip()
    words = [text] if len(text) <= room else textwrap.wrap(text, room)
    count = -(-len(row.octets) // _OCTETS) or 1
    for at in range(max(count, len(words))):
        offset = f"{row.offset + at * _OCTETS:>5}  " if at < count else " " * 7
        octets = row.shown(at * _OCTETS, _OCTETS, hide=redact and row.is_redacted)
        if at < len(words):
            yield DumpLine(offset, f"{octets:<{3 * _OCTETS - 1}}", f"  {words[at]}")
        else:
            yield DumpLine(offset, octets, "")
