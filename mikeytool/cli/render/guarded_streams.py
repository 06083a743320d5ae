"""The one way out for text, so that nothing in it can control a terminal; JSON passes as it is."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from mikeytool.wire.printable import printable

_UNSAFE = bytes({*range(32), 127} - set(b"\n\t"))


class _Guarded:
    """A text stream on which everything is printable, apart from line feeds and tabs."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text, with escapes in it where it is needed."""
        is_safe = text.isascii() and len(text.encode().translate(None, _UNSAFE)) == len(text)
        return self.stream.write(text if is_safe else printable(text, keep="\n\t"))

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of the lines."""
        for line in lines:
            self.write(line)


def is_plain() -> bool:
    """Tell whether lines can be written as they are, without styles and without folding them."""
    forced = any(name in os.environ for name in ("COLUMNS", "FORCE_COLOR", "TTY_COMPATIBLE"))
    is_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")
    return is_unicode and not forced and not sys.stdout.isatty()


def print_json(text: str) -> None:
    """Print a line that `json.dumps` made: every octet of it is printable ASCII already."""
    unguarded(sys.stdout).write(f"{text}\n")


def unguarded(stream: TextIO) -> TextIO:
    """What is below a stream, for colours, whose texts are made printable before."""
    return stream.stream if isinstance(stream, _Guarded) else stream


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Let nothing but printable text out of a command."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Guarded(unguarded(stream)) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before
