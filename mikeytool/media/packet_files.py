"""Files of packets in and out: streams, never held whole."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from mikeytool.capture.capture_files import is_capture, open_capture, read_head
from mikeytool.capture.packet_lines import PacketLines
from mikeytool.capture.record import Capture
from mikeytool.cli.message_io import check_kind, check_output
from mikeytool.cli.options.common import say
from mikeytool.wire.errors import StateError, UsageError, WireError

_IS_TEXT = re.compile(rb"(?:[0-9A-Fa-f]{2})+|[A-Za-z0-9+/]{11,}={0,2}|.*\s.*", re.DOTALL)


class Input:
    """Packets to read: a capture, or lines; from a file, standard input, or the argument.

    `size` is that of the file in octets, None if it is none; `at` how far it was read.
    """

    def __init__(self, argument: str | None) -> None:
        """Open it and read its beginning; raises WireError, StateError."""
        self.name = "standard input" if argument in (None, "-") else argument or ""
        self._file = _open(argument)
        head, file = read_head(self._file)
        if not head.strip():
            raise WireError(
                "there is no packet in the input; the command before it may have failed"
            )
        self.is_capture = is_capture(head)
        self.capture: Capture
        if self.is_capture:
            self.capture = open_capture(file)
        else:
            check_kind(head)
            if isinstance(self._file, io.BytesIO) and not _IS_TEXT.fullmatch(head):
                raise WireError(
                    f"there is no file {argument!r}, and it is no packet in hex or base64"
                )
            self.capture = PacketLines(file)

    @property
    def size(self) -> int | None:
        """Octets of the file, None if it is none."""
        try:
            status = os.fstat(self._file.fileno())
        except OSError:
            return None
        return status.st_size or None

    @property
    def at(self) -> int:
        """How far the file was read."""
        return self._file.tell()

    def again(self) -> Capture:
        """The capture from its beginning once more; raises UsageError if it is no file."""
        if not self._file.seekable():
            raise UsageError("the capture is read twice to find its keys; give it as a file")
        self._file.seek(0)
        self.capture = open_capture(self._file)
        return self.capture


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


@contextmanager
def output(path: str | None) -> Iterator[BinaryIO]:
    """Standard output, or a file, which appears under its name when it is complete.

    So the input may be the same file. Raises StateError.
    """
    if path is None or path == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    check_output(path)
    final = Path(os.path.realpath(path))
    if final.exists() and not final.is_file():
        try:
            with final.open("wb") as device:
                yield device
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        return
    temporary = final.with_name(f".{final.name[:200]}.{os.getpid()}")
    try:
        with temporary.open("xb") as out:
            yield out
        temporary.replace(final)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)
