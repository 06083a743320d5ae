"""Captures compressed with gzip (RFC 1952), unpacked while they are read."""

from __future__ import annotations

import io
import zlib
from typing import Any, BinaryIO

from mikeytool.wire.errors import WireError

_GZIP = 31  # for zlib: a gzip header and the largest window
_READ = 1 << 16
_FREE = 1 << 26
"""How many octets may come out, regardless of the input size."""
_MOST_TIMES = 256
"""How many octets may come out per input octet; captures of silence need a tenth of that."""


class Unpacked(io.RawIOBase):
    """The content of a gzip file with one or more members.

    Reading raises WireError if the file is broken or cut off, after delivering everything before
    that point. It also raises WireError if the content is so large compared to the file that the
    file must be a decompression bomb.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._member = zlib.decompressobj(_GZIP)
        self._packed = b""
        self._in = self._out = 0

    def readable(self) -> bool:
        """Say that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read the next octets into a buffer."""
        while True:
            if self._member.eof:
                self._packed = self._member.unused_data.lstrip(b"\0") or self._read()
                if not self._packed.strip(b"\0"):
                    return 0
                self._member = zlib.decompressobj(_GZIP)
            octets = self._unpack(len(buffer))
            if octets:
                buffer[: len(octets)] = octets
                return len(octets)

    def _unpack(self, most: int) -> bytes:
        packed = self._packed or self._read()
        if not packed:
            raise WireError("the gzip file is cut off; copy it again")
        try:
            octets = self._member.decompress(packed, most)
        except zlib.error:
            raise WireError("the gzip file is broken from here on; copy it again") from None
        self._packed = self._member.unconsumed_tail
        self._out += len(octets)
        if self._out > max(_FREE, self._in * _MOST_TIMES):
            raise WireError("the gzip file holds far more than a capture can; unpack it first")
        return octets

    def _read(self) -> bytes:
        octets = self._file.read(_READ)
        self._in += len(octets)
        return octets


def beginning(head: bytes, most: int) -> bytes:
    """The first octets of a gzip file's content, as far as its own first octets reveal them."""
    try:
        return zlib.decompressobj(_GZIP).decompress(head, most)
    except zlib.error:
        return b""
