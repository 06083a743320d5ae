"""Where `srtp` reads packets from and writes them to."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mikeytool.capture.other_kinds import refuse_other_kind
from mikeytool.cli import message_io
from mikeytool.cli.options.common import is_quiet
from mikeytool.cli.render.progress import WORTH_IT, counted
from mikeytool.media.packet_files import PacketFile, Target
from mikeytool.wire.errors import WireError
from mikeytool.wire.printable import printable

_IS_TEXT = re.compile(rb"(?:[0-9A-Fa-f]{2})+|[A-Za-z0-9+/]{11,}={0,2}|.*\s.*", re.DOTALL)


@contextmanager
def open_input(argument: str | None) -> Iterator[PacketFile]:
    """Open what INPUT means: a file, standard input for none or `-`, else packets as text.

    Raises WireError for what has no packets, StateError for a file that cannot be opened.
    """
    with message_io.open_input(argument) as file:
        packets = PacketFile(file)
        if not packets.is_capture:
            refuse_other_kind(packets.head)
            if isinstance(file.raw, io.BytesIO) and not _IS_TEXT.fullmatch(packets.head):
                raise WireError(
                    f"there is no file {argument!r}, and it is no packet in hex or base64"
                )
        yield packets


def target_of(output: str | None) -> Target:
    """Standard output for none or `-`, else the name of a file."""
    return sys.stdout.buffer if output is None or output == "-" else output


@contextmanager
def progress_bar(packets: PacketFile, argument: str | None) -> Iterator[Callable[[int], None]]:
    """Show a bar on a terminal while a large file is read; give what moves it."""
    size = packets.size
    if size is None or size < WORTH_IT or is_quiet():
        yield lambda _position: None
        return
    name = "standard input" if argument in (None, "-") else argument or ""
    with counted(printable(name)) as move:
        yield lambda position: move(position, size)
