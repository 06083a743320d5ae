"""Capture files of every kind, distinguished by their first octets; each may be gzipped.

with path.open("rb") as file:
    for record in open_capture(file): ...    # see mikeytool.capture.record
"""

from __future__ import annotations

import io
from typing import Any, BinaryIO, cast

from mikeytool.capture import gzip_files, pcap, pcapng, rtpdump
from mikeytool.capture.record import READ_SIZE, Capture
from mikeytool.wire.errors import WireError

HEAD = 64
"""How many octets from the beginning of a file identify its kind."""


def is_capture(head: bytes) -> bool:
    """Whether a file with these first octets (HEAD of them are enough) is a capture."""
    if head.startswith(gzip_files.MAGIC):
        head = gzip_files.beginning(head, HEAD)
    return _kind(head) is not None


def open_capture(file: BinaryIO) -> Capture:
    """Make the reader for an open file, which may be a pipe.

    Raises WireError if the kind of file is unknown, or the file is broken or ends inside its
    header.
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
    """Read the first HEAD octets of a file or pipe; returns them, and a file that still has them.

    For a gzipped file, both the octets and the returned file have the unpacked content.
    """
    head = _read(file)
    if not head.startswith(gzip_files.MAGIC):
        return head, io.BufferedReader(_Rejoined(head, file), READ_SIZE)
    # Not buffered, so that the octets before a fault are delivered before the fault is raised.
    unpacked = cast(BinaryIO, gzip_files.Unpacked(cast(BinaryIO, _Rejoined(head, file))))
    head = _read(unpacked)
    return head, cast(BinaryIO, _Rejoined(head, unpacked))


def _read(file: BinaryIO) -> bytes:
    head = b""
    while len(head) < HEAD and (more := file.read(HEAD - len(head))):
        head += more
    return head


def _kind(head: bytes) -> type[Capture] | None:
    if head.startswith(pcap.MAGIC):
        return pcap.Pcap
    if head.startswith(pcapng.MAGIC):
        return pcapng.Pcapng
    if head.startswith(rtpdump.MAGIC):
        return rtpdump.Rtpdump
    return None


class _Rejoined(io.RawIOBase):
    """A file whose first octets were already read."""

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
