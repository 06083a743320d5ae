"""Media packets as text: one per line, in hex or base64.

capture = PacketLines(file)
for record in capture: ...      # see mikeytool.capture.record; link is BARE_PACKET
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator

from mikeytool.capture.record import BARE_PACKET, Capture, Record, make_record

NO_LINE = -3
"""Used instead of a link type for a line that is not a packet."""

_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
_LONGEST_LINE = 1 << 18  # octets; twice the longest packet in hex


class PacketLines(Capture):
    """A text with one packet per line. The number of a record is that of its line.

    A line with an even number of hex digits and nothing else is hex; the base64 of a packet is too
    long to look like that by chance. Blank lines and lines that begin with `#` are skipped. A line
    that is not a packet becomes a record with the link type NO_LINE.
    """

    def __iter__(self) -> Iterator[Record]:
        """Yield the packets; `raw` has the packet, followed by the original line."""
        number = 0
        while line := self._file.readline(_LONGEST_LINE):
            number += 1
            text = line.strip()
            if not text or text.startswith(b"#"):
                continue
            packet = _packet(text)
            if packet is None:
                yield make_record((number, None, NO_LINE, line, 0, 0, 0))
            else:
                size = len(packet)
                yield make_record((number, None, BARE_PACKET, packet + line, 0, size, size))

    def kept(self, record: Record) -> bytes:
        """Return the original line, with a newline."""
        return record.raw[record.end :].rstrip(b"\r\n") + b"\n"

    def rewritten(self, record: Record, frame: bytes) -> bytes:
        """Write another packet in the encoding of the record's own, with a newline."""
        if _HEX.fullmatch(record.raw[record.end :].strip()):
            return frame.hex().encode() + b"\n"
        return base64.b64encode(frame) + b"\n"


def _packet(text: bytes) -> bytes | None:
    if _HEX.fullmatch(text):
        return binascii.unhexlify(text)
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None
