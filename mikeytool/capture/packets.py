"""Media packets as text: one a line, in hex or base64."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from typing import NamedTuple

from mikeytool.wire.errors import WireError

_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")


class PacketLine(NamedTuple):
    """A packet, the number of its line from 1, and whether it stood there in hex."""

    packet: bytes
    line: int
    is_hex: bool

    def like(self, packet: bytes) -> bytes:
        """Another packet, written as this one was, with its newline."""
        text = packet.hex().encode() if self.is_hex else base64.b64encode(packet)
        return text + b"\n"


def packet_lines(data: bytes) -> Iterator[PacketLine | WireError]:
    """The packets in a text, and a WireError in the place of each line that is none.

    A line of nothing but hex digits, an even number, is hex; packets are long enough that
    base64 never looks so. Blank lines and lines with `#` first are passed over.
    """
    for number, line in enumerate(data.splitlines(), 1):
        text = line.strip()
        if not text or text.startswith(b"#"):
            continue
        if _HEX.fullmatch(text):
            yield PacketLine(bytes.fromhex(text.decode()), number, True)
            continue
        try:
            yield PacketLine(base64.b64decode(text, validate=True), number, False)
        except binascii.Error:
            yield WireError(f"line {number}: a packet in hex or base64 is expected")
