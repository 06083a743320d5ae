"""The messages of a capture for people: a list, and the exchanges as a ladder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import chain

from mikeytool.cli.render.table import print_table
from mikeytool.media.message_flow import COLUMNS, Row
from mikeytool.wire.printable import printable


def show_list(rows: Iterable[Row], *, checked: bool) -> None:
    """Print a line for each message; on a terminal it is folded to fit 80 columns.

    `checked` adds the result of the checks.
    """
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        head = ("#", "frame", "time", "from, to", "carried by", "message")
        print_table(chain([head], (_folded(row, checked=checked) for row in rows)))
        return
    wide = COLUMNS if checked else COLUMNS[:-1]
    print_table(chain([wide], ((*row.cells, row.result)[: len(wide)] for row in rows)))


def _folded(row: Row, *, checked: bool) -> tuple[str, ...]:
    one = row.captured
    carried = [one.method, one.call_id, one.level]
    message = [row.kind, row.csb_id, f"{row.size} octets", row.result if checked else ""]
    return (
        str(row.number),
        str(one.signal.moment.frame),
        row.clock,
        f"{one.signal.source}\n{one.signal.destination}",
        "\n".join(printable(text) for text in carried if text),
        "\n".join(text for text in message if text),
    )
