"""Files of packets, for input and output, that are never held in memory whole."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mikeytool.capture.capture_files import is_capture, open_capture, read_head
from mikeytool.capture.live_input import idleness
from mikeytool.capture.packet_lines import PacketLines
from mikeytool.capture.record import Capture
from mikeytool.wire.errors import StateError, UsageError, WireError

Source = str | os.PathLike[str] | BinaryIO
"""A capture, or a text with one packet per line: the name of a file, or an open file."""
Target = str | os.PathLike[str] | BinaryIO
"""The name of a file that appears when it is complete, or an open file."""

NO_PACKETS = (
    "there is no packet in the input; give a capture, or packets in hex or base64, one a line; in a"
    " pipe, the command before it may have failed"
)


class NoSignalledKeyError(UsageError):
    """The signalling of a capture has no usable key."""


class PacketFile:
    """An open file of packets: a capture, or a text with one per line.

    `head` are its first octets, `capture` reads its packets. `waits` tells that it is a pipe on
    which nothing comes for now.
    """

    def __init__(self, file: BinaryIO) -> None:
        """Read the beginning; raises WireError if the file is empty or its header is broken."""
        self._file = file
        self.waits = idleness(file)
        self.head, rejoined = read_head(file)
        if not self.head.strip():
            raise WireError(NO_PACKETS)
        self.is_capture = is_capture(self.head)
        self.capture: Capture = open_capture(rejoined) if self.is_capture else PacketLines(rejoined)

    @property
    def size(self) -> int | None:
        """The size of the file in octets; None for a file without a size, such as a pipe."""
        try:
            status = os.fstat(self._file.fileno())
        except OSError:
            return None
        return status.st_size or None

    def is_at(self, path: Path) -> bool:
        """Whether a path leads to this file."""
        try:
            return os.path.samestat(path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            return False

    @property
    def position(self) -> int:
        """How many octets of the file have been read; 0 if unknown."""
        try:
            return self._file.tell()
        except OSError:
            return 0

    def rewind(self) -> Capture:
        """Start the capture again; raises UsageError if that is impossible, as with a pipe."""
        if not self._file.seekable():
            raise UsageError("the capture is read twice to find its keys; give it as a file")
        self._file.seek(0)
        self.capture = open_capture(self._file)
        return self.capture


@contextmanager
def open_packets(source: Source) -> Iterator[PacketFile]:
    """Open a file of packets; raises StateError, and WireError as `PacketFile` does."""
    if not isinstance(source, str | os.PathLike):
        yield PacketFile(source)
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise StateError(f"{source}: {error.strerror}") from None
    with file:
        yield PacketFile(file)


@contextmanager
def open_target(
    target: Target, is_worth_it: Callable[[], bool] = lambda: True
) -> Iterator[BinaryIO]:
    """Open the output: a named file appears under its name when it is complete.

    It does not appear if `is_worth_it` says no in the end. Raises StateError if it cannot be
    written, or if another process has made it meanwhile; an existing file is then unchanged.
    """
    if not isinstance(target, str | os.PathLike):
        yield target
        target.flush()
        is_worth_it()
        return
    final = Path(os.path.realpath(target))
    try:
        if final.exists() and not final.is_file():
            with final.open("wb") as device:
                yield device
            is_worth_it()
            return
        is_new = not final.exists()
        temporary = final.with_name(f".{final.name[:200]}.{os.getpid()}")
        try:
            with temporary.open("xb") as out:
                yield out
            if is_worth_it():
                if is_new:
                    os.close(os.open(final, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                temporary.replace(final)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StateError(f"{os.fspath(target)}: {error.strerror}") from None
