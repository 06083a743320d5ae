"""Where `srtp` reads packets from and writes them to."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mikeytool.cli.message_io import check_kind
from mikeytool.cli.options.common import is_quiet, is_terminal, say
from mikeytool.media.packet_files import PacketFile, Target
from mikeytool.wire.errors import StateError, WireError

_IS_TEXT = re.compile(rb"(?:[0-9A-Fa-f]{2})+|[A-Za-z0-9+/]{11,}={0,2}|.*\s.*", re.DOTALL)
_WORTH_A_BAR = 1 << 24
"""Octets of input that take so long that progress is shown."""


@contextmanager
def open_input(argument: str | None) -> Iterator[PacketFile]:
    """Open what INPUT means: a file, standard input for none or `-`, else packets as text.

    Raises WireError for what has no packets, StateError for a file that cannot be opened.
    """
    file = _open(argument)
    try:
        packets = PacketFile(file)
        if not packets.is_capture:
            check_kind(packets.head)
            if isinstance(file, io.BytesIO) and not _IS_TEXT.fullmatch(packets.head):
                raise WireError(
                    f"there is no file {argument!r}, and it is no packet in hex or base64"
                )
        yield packets
    finally:
        if sys.stdin is None or file is not sys.stdin.buffer:
            file.close()


def _open(argument: str | None) -> BinaryIO:
    if argument is None or argument == "-":
        if sys.stdin is None:
            raise WireError("standard input is closed; give a file")
        if sys.stdin.isatty():
            say("reading from the terminal; end with Ctrl-D")
        return sys.stdin.buffer
    path = Path(argument)
    try:
        if path.is_dir():
            raise WireError(f"{argument}: this is a folder, a capture or packets are expected")
        if path.exists():
            return path.open("rb")
    except ValueError:
        pass
    except OSError as error:
        if not argument.isascii() or len(argument) < 255:
            raise StateError(f"{argument}: {error.strerror}") from None
    return io.BytesIO(os.fsencode(argument))


def target_of(output: str | None) -> Target:
    """Standard output for none or `-`, else the name of a file."""
    return sys.stdout.buffer if output is None or output == "-" else output


@contextmanager
def progress_bar(packets: PacketFile, argument: str | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while a large file is read; give what moves it."""
    size = packets.size
    if size is None or size < _WORTH_A_BAR or is_quiet() or not is_terminal():
        yield lambda _position: None
        return
    from rich.console import Console
    from rich.progress import Progress

    name = "standard input" if argument in (None, "-") else argument or ""
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=size)
        yield lambda position: bar.update(task, completed=position)
