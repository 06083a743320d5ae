"""A progress bar on standard error, for inputs that take a while, on a terminal only."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader, UnsupportedOperation

from mikeytool.cli.render.guarded_streams import unguarded

WORTH_IT = 8 << 20
"""Octets of input from which on there is a progress bar."""

_EVERY = 256
"""How many items pass between two updates of the bar."""


@contextmanager
def progress(source: BufferedReader) -> Iterator[Callable[[], None]]:
    """Show how much of a file has been read; the caller calls the result for every item."""
    size = _size(source)
    # With both on one terminal the bar would stand in the middle of the output.
    if size < WORTH_IT or sys.stdout.isatty():
        yield lambda: None
        return
    count = 0

    def tick() -> None:
        nonlocal count
        count += 1
        if count % _EVERY == 0:
            move(source.tell(), size)

    with counted("reading") as move:
        yield tick


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int | None], None]]:
    """Show how much of all is done; the caller calls the result with both numbers."""
    if not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    console = Console(file=unguarded(sys.stderr))
    with Progress(console=console, transient=True, redirect_stdout=False) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _size(source: BufferedReader) -> int:
    """Give the length of a file; 0 for a pipe and other files without one."""
    try:
        status = os.fstat(source.fileno())
    except (OSError, UnsupportedOperation):
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
