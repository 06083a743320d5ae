"""The messages of a capture for people: a list, and the exchanges as a ladder."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import chain

from mikeytool.cli.render.table import print_table
from mikeytool.media.message_flow import COLUMNS, FOLDED_COLUMNS, Row


def show_list(rows: Iterable[Row], *, checked: bool) -> None:
    """Print a line for each message; on a terminal it is folded to fit 80 columns.

    `checked` adds the result of the checks.
    """
    if sys.stdout.isatty() or os.environ.get("COLUMNS"):
        print_table(chain([FOLDED_COLUMNS], (row.folded(checked=checked) for row in rows)))
        return
    wide = COLUMNS if checked else COLUMNS[:-1]
    print_table(chain([wide], ((*row.cells, row.result)[: len(wide)] for row in rows)))
