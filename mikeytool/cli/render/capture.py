"""The messages of a capture for people: a list, and the exchanges as a ladder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING, Any

from mikeytool.capture.captured_messages import CapturedMessage
from mikeytool.cli.render.table import print_table
from mikeytool.media.message_flow import Row
from mikeytool.wire.printable import printable

if TYPE_CHECKING:
    pass

Json = dict[str, Any]
COLUMNS = ("#", "frame", "time", "from", "to", "carried by", "call", "level", "message",
           "CSB ID", "octets", "check")  # fmt: skip
"""The heads of the list of messages; `flat` gives a row's cells, without its check."""


def show_list(rows: Iterable[Row], *, checked: bool) -> None:
    """Print a line for each message; on a terminal it is folded to fit 80 columns.

    `checked` adds the result of the checks.
    """
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        head = ("#", "frame", "time", "from, to", "carried by", "message")
        print_table(chain([head], (_folded(row, checked=checked) for row in rows)))
        return
    wide = COLUMNS if checked else COLUMNS[:-1]
    print_table(chain([wide], ((*flat(row), row.result)[: len(wide)] for row in rows)))


def flat(row: Row) -> tuple[str, ...]:
    """Give the cells of a row in one line."""
    one = row.captured
    cells = (str(row.number), str(one.signal.moment.frame), _clock(one), one.signal.source,
             one.signal.destination, one.method, one.call_id, one.level, row.kind, row.csb_id,
             str(row.size))  # fmt: skip
    return tuple(printable(cell) or "-" for cell in cells)


def _folded(row: Row, *, checked: bool) -> tuple[str, ...]:
    one = row.captured
    carried = [one.method, one.call_id, one.level]
    message = [row.kind, row.csb_id, f"{row.size} octets", row.result if checked else ""]
    return (
        str(row.number),
        str(one.signal.moment.frame),
        _clock(one),
        f"{one.signal.source}\n{one.signal.destination}",
        "\n".join(printable(text) for text in carried if text),
        "\n".join(text for text in message if text),
    )


def _clock(one: CapturedMessage) -> str:
    """Give the time of day in UTC to the millisecond."""
    if one.signal.moment.time is None:
        return "-"
    seconds, milliseconds = divmod(one.signal.moment.time // 1_000_000, 1000)
    minutes, second = divmod(seconds % 86_400, 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{second:02}.{milliseconds:03}"
