"""pcap files, in both byte orders, with microseconds or nanoseconds.

capture = Pcap(file)
for record in capture: ...          # see mikeytool.capture.record
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

from mikeytool.capture.record import LONGEST_RECORD, ROOMY, Capture, Record, make_record

HEADER = 24
RECORD_HEADER = 16
_LINK_TYPE = 0xFFFF
_SHORTEST_SNAPLEN = 0xFFFF  # room for every IP packet

# The magic number as in the file: byte order, nanoseconds in a tick.
_MAGIC = {
    b"\xa1\xb2\xc3\xd4": (">", 1000),
    b"\xd4\xc3\xb2\xa1": ("<", 1000),
    b"\xa1\xb2\x3c\x4d": (">", 1),
    b"\x4d\x3c\xb2\xa1": ("<", 1),
}


class Pcap(Capture):
    """A pcap file.

    Raises WireError if the file header is incomplete. `head`, which goes before the records of
    a copy, has a snapshot length with room for packets that grow, and announces no frame check
    sequence, since changed frames have none.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._need(HEADER, "header")
        self._order, self._tick = _MAGIC[self._data[:4]]
        snaplen, network = struct.unpack_from(f"{self._order}II", self._data, 16)
        self._link = network & _LINK_TYPE
        if 0 < snaplen < _SHORTEST_SNAPLEN:
            snaplen = ROOMY
        self.head = self._data[:16] + struct.pack(f"{self._order}II", snaplen, self._link)
        self._lengths = struct.Struct(f"{self._order}II").pack

    def __iter__(self) -> Iterator[Record]:
        """The records; raises WireError at the end if the file is broken there."""
        unpack = struct.Struct(f"{self._order}IIII").unpack_from
        tick, link = self._tick, self._link
        at, number = HEADER, 0
        while True:
            data, wanted = self._data, 0
            last = len(data) - RECORD_HEADER
            while at <= last:
                seconds, fraction, length, wire = unpack(data, at)
                end = at + RECORD_HEADER + length
                if end > len(data):
                    if length > LONGEST_RECORD:
                        raise self._broken(
                            at, f"a packet of {length} octets; the file is broken from here on"
                        )
                    wanted = end - at
                    break
                number += 1
                yield make_record(
                    (
                        number,
                        seconds * 1_000_000_000 + fraction * tick,
                        link,
                        data[at:end],
                        RECORD_HEADER,
                        RECORD_HEADER + length,
                        wire,
                    )
                )
                at = end
            data = b""  # frees it before the next is read
            if not self._fill(at, wanted):
                break
            at = 0
        if self._data:
            raise self._cut_short(0)

    def rewritten(self, record: Record, frame: bytes) -> bytes:
        """Return the octets of a record of this file with another frame in place of its own."""
        return record.raw[:8] + self._lengths(len(frame), len(frame)) + frame
