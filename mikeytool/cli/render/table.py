"""Tables for people, of any number of rows: a few are held at a time."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import chain, zip_longest
from textwrap import wrap

from rich.cells import cell_len

from mikeytool.cli.exit_codes import while_waiting
from mikeytool.cli.render.guarded_streams import is_plain
from mikeytool.wire.printable import printable

HELD = 256
"""The most rows that are laid out together."""
LONGEST_CELL = 1024
"""Characters of a cell of a list, enough for an identity; a longer one ends in an ellipsis."""
_OCTETS = re.compile(r"[0-9A-Fa-f]{33,}")
"""Octets in hex, the only words that are broken: no address, URI or time is."""
_SOME = "0" * 32


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows, the first of which are the headings; empty headings are left out.

    In a pipe no line is folded; a cell wider than its column moves what is behind it. On a
    terminal the widest columns are folded between words until all of them fit. If they cannot,
    there are no columns: a row takes as many lines as it needs, and each value has its name. Rows
    are printed when the command waits for input; columns grow with what comes later.
    """
    rows = iter(rows)
    heading = tuple(next(rows))
    table = _Table(heading)
    while_waiting(table.print)
    for row in rows:
        table.held.append(tuple(_cell(cell, any(heading)) for cell in row))
        if len(table.held) == HELD:
            table.print()
    table.print(is_end=True)


class _Table:
    """A table that is printed in parts, `held` being the rows of the next."""

    def __init__(self, heading: Sequence[str]) -> None:
        self.held: list[Sequence[str]] = []
        self._heading = heading
        self._new = [heading] if any(heading) else []  # until it is printed
        self._widths = self._least = [0] * len(heading)

    def print(self, *, is_end: bool = False) -> None:
        """Print the rows held, below the heading if they are the first."""
        rows, head = self.held, self._new
        if not (rows or (head and is_end)):
            return
        self.held, self._new = [], []
        columns = list(zip(self._heading, *rows, strict=True))
        self._widths = list(map(max, self._widths, map(_width, columns)))
        if is_plain():
            for row in chain(head, rows):
                print(_plain(row, self._widths))
            return
        # Imported here: a pipe needs no more of rich.
        from rich.table import Table

        from mikeytool.cli.render.console import console

        out = console()
        self._least = list(map(max, self._least, map(_least, columns)))
        widths = _fitting(self._widths, self._least, out.width)
        total = _total(widths)
        if total > out.width:
            for row in rows:
                print(_packed(self._heading, row, out.width))
            return
        table = Table(box=None, show_header=bool(head), pad_edge=False, header_style="bold")
        for name, width in zip(self._heading, widths, strict=True):
            table.add_column(name, overflow="fold", min_width=width, max_width=width)
        for row in rows:
            table.add_row(*row)
        with out.capture() as captured:
            out.print(table, width=max(total, out.width), crop=False)
        out.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def _width(column: Iterable[str]) -> int:
    return max(cell_len(line) for cell in column for line in cell.split("\n"))


def _least(column: Sequence[str]) -> int:
    """Give the width below which a word would break: an address, a time, a number, not octets."""
    words = (cell_len(word) for cell in column for word in _OCTETS.sub(_SOME, cell).split())
    return max(cell_len(column[0]), *words, 0)


def _fitting(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Narrow the widest columns, a character at a time, until a row fits or none can give way."""
    widths = list(widths)
    while _total(widths) > room:
        spares = (width - min(width, to) for width, to in zip(widths, least, strict=True))
        spare, widest = max((spare, at) for at, spare in enumerate(spares))
        if not spare:
            break
        widths[widest] -= 1
    return widths


def _packed(heading: Sequence[str], row: Sequence[str], room: int) -> str:
    """Give a row in as few lines as it takes, with the name of each value; empty ones go."""
    named = zip(heading, (cell.replace("\n", " ") for cell in row), strict=True)
    items = [
        f"{name if at else ''} {cell}".strip() for at, (name, cell) in enumerate(named) if cell
    ]
    lines = [""]
    for item in items:
        if lines[-1] and cell_len(lines[-1]) + 2 + cell_len(item) <= room:
            lines[-1] += f"  {item}"
        else:
            lines += wrap(
                item,
                room,
                initial_indent="    " * bool(lines[0]),
                subsequent_indent="    ",
                break_long_words=False,
                break_on_hyphens=False,
            )
            lines = lines if lines[0] else lines[1:]
    return "\n".join(lines)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _cell(text: str, in_list: bool) -> str:
    """Make a cell printable, and short if there may be many; the facts of one thing stay whole."""
    text = printable(text, keep="\n")
    return text if len(text) <= LONGEST_CELL or not in_list else f"{text[:LONGEST_CELL]}…"


def _plain(row: Sequence[str], widths: Sequence[int]) -> str:
    """Lay out a row; each line of a cell begins where the cell does."""
    lines = zip_longest(*(cell.split("\n") for cell in row), fillvalue="")
    return "\n".join("  ".join(map(_padded, line, widths)).rstrip() for line in lines)


def _padded(cell: str, width: int) -> str:
    return cell + " " * (width - cell_len(cell))
