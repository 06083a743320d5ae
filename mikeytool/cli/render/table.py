"""Tables for people, of any number of rows: a few are held at a time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, islice

from rich.cells import cell_len

from mikeytool.cli.render.guarded_streams import is_plain
from mikeytool.wire.printable import printable

HELD = 256
"""Rows that are laid out together. The first so many decide on the widths of the columns."""
LONGEST_CELL = 1024
"""Characters of a cell, enough for an identity; a longer one ends in an ellipsis there."""
_NARROWEST = 10
"""A column becomes no narrower than this, or than its heading, to make the others fit."""
_LONGEST_TIME = 20
"""A column of times or numbers, which begin with a digit and are no longer, is not folded."""


def print_table(rows: Iterable[Sequence[str]]) -> None:
    """Print rows, the first of which are the headings; empty headings are left out.

    In a pipe every row is one line; a cell wider than its column moves what is behind it. On a
    terminal the widest columns are folded until all of them fit.
    """
    rows = (tuple(map(_cell, row)) for row in rows)
    heading = next(rows)
    first = list(islice(rows, HELD))
    columns = list(zip(heading, *first, strict=True))
    widths = [max(cell_len(line) for cell in one for line in cell.split("\n")) for one in columns]
    has_heading = any(heading)
    if is_plain():
        for row in chain([heading] * has_heading, first, rows):
            print(_plain(row, widths))
        return
    # Imported here: a pipe needs no more of rich.
    from rich.table import Table

    from mikeytool.cli.render.console import console

    out = console()
    widths = _fitting(widths, columns, out.width)
    total = _total(widths)
    while first or has_heading:
        table = Table(box=None, show_header=has_heading, pad_edge=False, header_style="bold")
        for name, width in zip(heading, widths, strict=True):
            table.add_column(name, overflow="fold", min_width=width, max_width=width)
        for row in first:
            table.add_row(*row)
        with out.capture() as captured:
            out.print(table, width=max(total, out.width), crop=False)
        out.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())
        first, has_heading = list(islice(rows, HELD)), False


def _fitting(widths: list[int], columns: list[tuple[str, ...]], room: int) -> list[int]:
    """Narrow the widest columns, a character at a time, until a row fits or none can give way."""
    least = [_least(width, *column) for width, column in zip(widths, columns, strict=True)]
    while _total(widths) > room:
        spare, widest = max(
            (w - min(w, to), at) for at, (w, to) in enumerate(zip(widths, least, strict=True))
        )
        if not spare:
            break
        widths = [*widths[:widest], widths[widest] - 1, *widths[widest + 1 :]]
    return widths


def _least(width: int, heading: str, *cells: str) -> int:
    is_time = width <= _LONGEST_TIME and all(cell[:1].isdigit() for cell in cells)
    return width if is_time else max(_NARROWEST, cell_len(heading))


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + 2 * (len(widths) - 1)


def _cell(text: str) -> str:
    text = printable(text, keep="\n")
    return text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…"


def _plain(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
    return "  ".join(cells).rstrip()
