"""Tables for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from mikeytool.cli.render.tree import console


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows, the first of which are the headings; empty headings are left out."""
    heading, *body = rows
    table = Table(box=None, show_header=any(heading), pad_edge=False, header_style="bold")
    for name in heading:
        table.add_column(name, overflow="fold")
    for row in body:
        table.add_row(*row)
    out = console()
    with out.capture() as captured:
        out.print(table)
    # Columns are filled with blanks, which a pipe has no use for.
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
