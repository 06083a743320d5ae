"""The annotated dump of a message: octets on the left, what they are on the right."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from typing import NamedTuple

from mikeytool.cli.render.guarded_streams import is_plain
from mikeytool.wire.annotated_dump import Row, dump
from mikeytool.wire.message import Message
from mikeytool.wire.printable import printable

_OCTETS = 8
"""In a line: with their hex and the offset there is room for as much text in 80 columns."""

_LEFT = 5 + 2 + 3 * _OCTETS - 1 + 2
_LEAST = 24


def show_dump(message: Message, *, redact: bool = False) -> None:
    """Print the dump of one message; offsets are decimal, as errors and --json have them."""
    if is_plain():
        sys.stdout.writelines(f"{line.plain}\n" for line in _dump_lines(message, redact=redact))
        return
    # Imported here: a pipe needs no rich.
    from rich.text import Text

    from mikeytool.cli.render.console import console

    out = console()
    for line in _dump_lines(message, out.width, redact=redact):
        styled = Text(line.offset, style="dim")
        styled.append(line.octets, style=line.style)
        styled.append(line.words, style="not dim green")
        out.print(styled, soft_wrap=True)


class _Line(NamedTuple):
    """A line of the dump; a title has octets only."""

    offset: str
    octets: str
    words: str
    style: str = "not dim"

    @property
    def plain(self) -> str:
        """The line without styles."""
        return f"{self.offset}{self.octets}{self.words}"


def _dump_lines(message: Message, width: int | None = None, *, redact: bool) -> Iterator[_Line]:
    path = None
    for row in dump(message):
        if row.path != path:
            path = row.path
            title = " > ".join(name for name, _ in path)
            yield _Line("", title, "", "not dim bold cyan")
        yield from _row_lines(row, width, redact=redact)


def _row_lines(row: Row, width: int | None, *, redact: bool) -> Iterator[_Line]:
    room = sys.maxsize if width is None else max(width - _LEFT, _LEAST)
    text = printable(row.text if row.octets else f"{row.text}, empty").rstrip()
    words = [text] if len(text) <= room else textwrap.wrap(text, room)
    count = -(-len(row.octets) // _OCTETS) or 1
    for at in range(max(count, len(words))):
        offset = f"{row.offset + at * _OCTETS:>5}  " if at < count else " " * 7
        octets = row.shown(at * _OCTETS, _OCTETS, hide=redact and row.is_redacted)
        if at < len(words):
            yield _Line(offset, f"{octets:<{3 * _OCTETS - 1}}", f"  {words[at]}")
        else:
            yield _Line(offset, octets, "")
