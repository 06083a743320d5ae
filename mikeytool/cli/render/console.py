"""The console of standard output, for terminals: styles, and lines that are folded."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.segment import Segment
from rich.text import Text

from mikeytool.cli.render.guarded_streams import unguarded
from mikeytool.wire.printable import printable

if TYPE_CHECKING:
    from mikeytool.wire.text_tree import Part

NO_WIDTH = 1 << 18
"""Wider than the hex of the longest field."""

_STYLES = {
    "verified": "green", "FAILED": "bold red", "not checked": "dim", "broken": "red",
    "title": "bold cyan", "name": "bold", "value": "not bold default", "note": "dim",
    "error": "bold red",
}  # fmt: skip


class _Console(Console):
    """A console that raises BrokenPipeError for a closed pipe, and prints what is printable."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError

    def render(self, *args: Any, **options: Any) -> Iterator[Segment]:
        for one in super().render(*args, **options):
            yield one if one.control else one._replace(text=printable(one.text, keep="\n"))


def console() -> Console:
    """Make the console of standard output; in a pipe it is plain and folds no line."""
    width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else NO_WIDTH
    file = unguarded(sys.stdout)
    return _Console(file=file, highlight=False, emoji=False, markup=False, width=width)


def styled(line: Sequence[Part]) -> Text:
    """The parts of a line, each in the style of its role."""
    first, *others = line
    text = Text(first.text, style=_STYLES.get(first.role, ""))
    for part in others:
        text.append(part.text, style=_STYLES.get(part.role, ""))
    return text
