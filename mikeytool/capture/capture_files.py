"""Capture files of every kind, told apart by their first octets.

with path.open("rb") as file:
    for record in open_capture(file): ...    # see mikeytool.capture.record
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from mikeytool.capture import pcap, pcapng, rtpdump
from mikeytool.capture.record import READ_SIZE, Capture
from mikeytool.wire.errors import WireError

HEAD = 64
"""Octets from the beginning of a file that tell its kind."""


def is_capture(head: bytes) -> bool:
    """Whether a file with these first octets (HEAD of them are enough) is a capture."""
    return _kind(head) is not None


def open_capture(file: BinaryIO) -> Capture:
    """Make the reader for an open file, which may be a pipe.

    Raises WireError if the file is of no kind that is known or ends inside its header.
    """
    head, file = read_head(file)
    kind = _kind(head)
    if kind is None:
        raise WireError(
            "this is no capture file; pcap, pcapng and rtpdump are read",
            payload="capture file",
            offset=0,
        )
    return kind(file)


def read_head(file: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Read the first HEAD octets of a file or pipe; gives them, and a file that still has them."""
    head = b""
    while len(head) < HEAD and (more := file.read(HEAD - len(head))):
        head += more
    return head, io.BufferedReader(_Rejoined(head, file), READ_SIZE)


def _kind(head: bytes) -> type[Capture] | None:
    if head.startswith(pcap.MAGIC):
        return pcap.Pcap
    if head.startswith(pcapng.MAGIC):
        return pcapng.Pcapng
    if head.startswith(rtpdump.MAGIC):
        return rtpdump.Rtpdump
    return None


class _Rejoined(io.RawIOBase):
    """A file whose first octets were read already."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head = head
        self._file = file

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read the next octets into a buffer."""
        size = len(buffer)
        octets, self._head = self._head[:size], self._head[size:]
        octets = octets or self._file.read(size)
        buffer[: len(octets)] = octets
        return len(octets)
