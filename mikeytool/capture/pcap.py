"""pcap files, in both byte orders, with microseconds or nanoseconds.

capture = Pcap(file)
for record in capture: ...          # see mikeytool.capture.record
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

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


class Block(Sequence[Record]):
    """Records that follow each other in `data[begin:end]`, after the first `before` of the file.

    As a sequence it makes all of them, when it is first asked for one.
    """

    def __init__(self, pcap: Pcap, data: bytes, begin: int, end: int, before: int) -> None:
        self._pcap = pcap
        self.data = data
        self.begin = begin
        self.end = end
        self.before = before
        self._made: list[Record] = []

    def records(self) -> Iterator[Record]:
        """Make the records, one by one."""
        data, at, end, number = self.data, self.begin, self.end, self.before
        record_at = self._pcap.record_at
        while at < end:
            number += 1
            record = record_at(data, at, number)
            yield record
            at += len(record.raw)

    def _all(self) -> list[Record]:
        self._made = self._made or list(self.records())
        return self._made

    def __len__(self) -> int:
        return len(self._all())

    def __getitem__(self, at: Any) -> Any:
        return self._all()[at]

    def __iter__(self) -> Iterator[Record]:
        return iter(self._all())


class Pcap(Capture):
    """A pcap file; `link` is the link type of its frames.

    Raises WireError if the file header is incomplete. `head`, which goes before the records of
    a copy, has a snapshot length with room for packets that grow, and announces no frame check
    sequence, since changed frames have none.
    """

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        self._need_header(HEADER)
        self._order, self._tick = _MAGIC[self._data[:4]]
        snaplen, network = struct.unpack_from(f"{self._order}II", self._data, 16)
        self.link = network & _LINK_TYPE
        if 0 < snaplen < _SHORTEST_SNAPLEN:
            snaplen = ROOMY
        self.head = self._data[:16] + struct.pack(f"{self._order}II", snaplen, self.link)
        self._pair = struct.Struct(f"{self._order}II")
        self._header = struct.Struct(f"{self._order}IIII").unpack_from

    def __iter__(self) -> Iterator[Record]:
        """The records; raises WireError at the end if the file is broken there."""
        for block in self.blocks():
            yield from block.records()

    def blocks(self) -> Iterator[Block]:
        """The whole records of each piece of the file that is read; raises as `__iter__` does."""
        length_at = struct.Struct(f"{self._order}I").unpack_from
        at, number = HEADER, 0
        while True:
            data, wanted, begin, first = self._data, 0, at, number
            last = len(data) - RECORD_HEADER
            fault = None
            while at <= last:
                (length,) = length_at(data, at + 8)
                end = at + RECORD_HEADER + length
                if end > len(data):
                    wanted = end - at
                    if length > LONGEST_RECORD:
                        fault = self._broken(
                            at, f"a packet of {length} octets; the file is broken from here on"
                        )
                    break
                number += 1
                at = end
            if number > first:
                yield Block(self, data, begin, at, first)
            if fault is not None:
                raise fault
            data = b""  # frees it before the next is read
            if not self._fill(at, wanted):
                break
            at = 0
        if self._data:
            raise self._cut_short()

    def record_at(self, data: bytes, at: int, number: int) -> Record:
        """The record at an offset."""
        seconds, fraction, length, wire = self._header(data, at)
        end = RECORD_HEADER + length
        time = seconds * 1_000_000_000 + fraction * self._tick
        return make_record((number, time, self.link, data[at : at + end], RECORD_HEADER, end, wire))

    def time_of(self, octets: bytes) -> int:
        """The time in the first 8 octets of a record."""
        seconds, fraction = self._pair.unpack(octets)
        return int(seconds * 1_000_000_000 + fraction * self._tick)

    def lengths(self, size: int) -> bytes:
        """The two lengths in the header of a record whose frame has `size` octets."""
        return self._pair.pack(size, size)

    def rewritten(self, record: Record, frame: bytes) -> bytes:
        """Return the octets of a record of this file with another frame in place of its own."""
        return record.raw[:8] + self.lengths(len(frame)) + frame
