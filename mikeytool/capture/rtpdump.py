"""rtpdump files, as rtptools write them: RTP and RTCP packets without the headers below them.

    capture = Rtpdump(file)
    for record in capture: ...          # see mikeytool.capture.record; link is BARE_PACKET

`capture.source` is the sender's address and port from the header of the file; the file has no
destinations. The file marks RTCP packets, but the packet type decides.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from mikeytool.capture.record import BARE_PACKET, Capture, Record, make_record
from mikeytool.wire.errors import WireError

_FIRST_LINE = re.compile(rb"#!rtpplay1\.0 ([0-9A-Za-z.:-]{1,255})/([0-9]{1,5})\n")
_LONGEST_LINE = 300
_HEADER = struct.Struct("!IIIHH")
_PACKET = struct.Struct("!HHI")
_LONGEST_PACKET = 0xFFFF - _PACKET.size


class Rtpdump(Capture):
    """An rtpdump file; raises WireError if its header is incomplete."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file)
        while b"\n" not in self._data and len(self._data) < _LONGEST_LINE and self._fill(0):
            pass
        line = _FIRST_LINE.match(self._data)
        if line is None:
            raise self._broken(
                0, "an rtpdump file begins '#!rtpplay1.0 ADDRESS/PORT'; correct its first line"
            )
        self._need_header(line.end() + _HEADER.size)
        self.head = self._data[: line.end() + _HEADER.size]
        self.source = f"{line[1].decode()}:{line[2].decode()}"
        seconds, fraction, *_ = _HEADER.unpack_from(self.head, line.end())
        self._began = seconds * 1_000_000_000 + fraction * 1000

    def __iter__(self) -> Iterator[Record]:
        """The records; raises WireError at the end if the file is broken there."""
        at, number = len(self.head), 0
        while True:
            data = self._data
            while len(data) - at >= _PACKET.size:
                length, wire, milliseconds = _PACKET.unpack_from(data, at)
                end = at + length
                if length < _PACKET.size:
                    raise self._broken(
                        at, f"a packet of {length} octets; the file is broken from here on"
                    )
                if end > len(data):
                    break
                number += 1
                time = self._began + milliseconds * 1_000_000
                size = length - _PACKET.size
                # RTCP has 0 in place of the length on the wire.
                fields = number, time, BARE_PACKET, data[at:end], _PACKET.size, length, wire or size
                yield make_record(fields)
                at = end
            if not self._fill(at):
                break
            at = 0
        if self._data:
            raise self._cut_short()

    def rewritten(self, record: Record, frame: bytes) -> bytes:
        """Return the octets of a record of this file with another packet in place of its own.

        Raises WireError for a packet that is too long for the format.
        """
        size = len(frame)
        if size > _LONGEST_PACKET:
            raise WireError(
                f"packet {record.number} would have {size} octets; rtpdump has room for"
                f" {_LONGEST_PACKET}, so keep it in a pcap file"
            )
        is_rtcp = record.raw[2:4] == b"\0\0"
        time = record.raw[4:8]
        return struct.pack("!HH", size + _PACKET.size, 0 if is_rtcp else size) + time + frame
