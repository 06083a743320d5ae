"""Capture files of every kind, distinguished by their first octets; each may be gzipped.

with path.open("rb") as file:
    for record in open_capture(file): ...    # see mikeytool.capture.record
"""

from __future__ import annotations

import io
from importlib import import_module
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from mikeytool.wire.errors import WireError

# The readers are imported when a file needs one: most inputs of `decode` are no captures.
if TYPE_CHECKING:
    from mikeytool.capture.record import Capture

HEAD = 64
"""How many octets from the beginning of a file identify its kind."""
_GZIP = b"\x1f\x8b\x08"
_READERS = {
    b"\xa1\xb2\xc3\xd4": ("pcap", "Pcap"),
    b"\xd4\xc3\xb2\xa1": ("pcap", "Pcap"),
    b"\xa1\xb2\x3c\x4d": ("pcap", "Pcap"),
    b"\x4d\x3c\xb2\xa1": ("pcap", "Pcap"),
    b"\x0a\x0d\x0d\x0a": ("pcapng", "Pcapng"),
    b"#!rtpplay1.0 ": ("rtpdump", "Rtpdump"),
}
"""The module and the class that read a file with these first octets."""
_LONGEST_MAGIC = max(map(len, _READERS))


def is_capture(head: bytes) -> bool:
    """Whether a file with these first octets (HEAD of them are enough) is a capture."""
    if head.startswith(_GZIP):
        from mikeytool.capture.gzip_files import beginning

        head = beginning(head, HEAD)
    return _reader(head) is not None


def open_capture(file: BinaryIO) -> Capture:
    """Make the reader for an open file, which may be a pipe.

    Raises WireError if the kind of file is unknown, or the file is broken or ends inside its
    header.
    """
    head, file = read_head(file)
    reader = _reader(head)
    if reader is None:
        raise WireError(
            "this is no capture file; pcap, pcapng and rtpdump are read",
            payload="capture file",
            offset=0,
        )
    module, name = reader
    kind: type[Capture] = getattr(import_module(f"mikeytool.capture.{module}"), name)
    return kind(file)


def read_head(file: BinaryIO) -> tuple[bytes, BinaryIO]:
    """Read the first HEAD octets of a file or pipe; returns them, and a file that still has them.

    For a gzipped file, both the octets and the returned file have the unpacked content.
    """
    head = _read(file)
    if not head.startswith(_GZIP):
        if isinstance(file, io.IOBase) and file.seekable():
            file.seek(-len(head), io.SEEK_CUR)
            return head, file
        from mikeytool.capture.record import READ_SIZE

        return head, io.BufferedReader(_Rejoined(head, file), READ_SIZE)
    from mikeytool.capture.gzip_files import Unpacked

    # Not buffered, so that the octets before a fault are delivered before the fault is raised.
    unpacked = cast(BinaryIO, Unpacked(cast(BinaryIO, _Rejoined(head, file))))
    head = _read(unpacked)
    return head, cast(BinaryIO, _Rejoined(head, unpacked))


def _read(file: BinaryIO) -> bytes:
    """Read HEAD octets; of a pipe, what has come, if that shows the kind of file."""
    head = b""
    read = getattr(file, "read1", file.read)
    while len(head) < (HEAD if _GZIP.startswith(head[:3]) else _LONGEST_MAGIC):
        more = read(HEAD - len(head))
        if not more:
            break
        head += more
    return head


def _reader(head: bytes) -> tuple[str, str] | None:
    return next((reader for magic, reader in _READERS.items() if head.startswith(magic)), None)


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
        octets = octets or getattr(self._file, "read1", self._file.read)(size)
        buffer[: len(octets)] = octets
        return len(octets)
