"""Moves media out of a TCP connection: its octets are replaced with UDP datagrams.

Everything else in the connection stays, segment by segment, with unchanged sequence numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass, field

from mikeytool.capture.endpoints import without_channel
from mikeytool.capture.frame_payloads import as_datagram, with_segment
from mikeytool.capture.frames import Datagram
from mikeytool.capture.media_in_tcp import CarriedPacket, MediaInTcp
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.record import Capture, Record
from mikeytool.capture.turn import Turn

_HALF, _MODULUS = 1 << 31, 1 << 32
_FLAGS = 0x07  # FIN, SYN, RST


@dataclass(slots=True, eq=False)
class Segment:
    """A TCP segment of a batch: its place in the output, and the records to write after it."""

    record: Record
    found: Datagram
    frame: bytes
    place: int
    behind: list[bytes] = field(default_factory=list)

    @property
    def seq(self) -> int:
        """The sequence number of its first octet."""
        at = self.found.transport
        return int.from_bytes(self.record.raw[at + 4 : at + 8])


Carried = tuple[CarriedPacket, Segment]


class CarriedMedia:
    """The packets in the TCP connections of a capture, a batch of records at a time."""

    def __init__(self, capture: Capture, turn: Turn) -> None:
        self._capture = capture
        self._streams = MediaInTcp(turn)
        self._segments: dict[int, Segment] = {}
        self._last: Segment | None = None
        self._moved: dict[bytes, list[tuple[int, int]]] = {}

    def add(self, record: Record, found: Datagram, frame: bytes, place: int) -> Iterator[Carried]:
        """Take a segment; yields each packet that it completes, with the segment to put it after.

        `frame` is the frame that is written at `place` in the batch if no packet is moved.
        """
        self._last = self._segments[record.number] = Segment(record, found, frame, place)
        moment = Moment(record.number, record.time)
        for packet in self._streams.add(record.raw, found, moment):
            yield packet, self._segments.get(packet.moment.frame, self._last)

    def end(self) -> Iterator[Carried]:
        """Give the packets that waited for the end of the capture."""
        for packet in self._streams.end():
            segment = self._segments.get(packet.moment.frame, self._last)
            if segment is not None:
                yield packet, segment

    def move(self, packet: CarriedPacket, segment: Segment, clear: bytes | None) -> bytes:
        """Take a packet out of its connection, and write the resulting packet, if there is one.

        Returns the octets that are written.
        """
        connection = without_channel(segment.found.flow)
        self._moved.setdefault(connection, []).append((packet.seq, packet.length))
        if clear is None:
            return b""
        record, flow = segment.record, without_channel(packet.flow)
        frame = as_datagram(record.raw, record.start, segment.found, flow, clear)
        segment.behind.append(self._capture.rewritten(record, frame))
        return segment.behind[-1]

    def finish(self, out: list[bytes]) -> None:
        """Write the changed segments of a batch, each at its place."""
        ranges = {flow: _Ranges(moved) for flow, moved in self._moved.items()}
        for segment in self._segments.values():
            moved = ranges.get(segment.found.flow)
            if moved is not None:
                pieces = self._without(segment, moved)
                kept = [out[segment.place]] if pieces is None else pieces
                out[segment.place] = b"".join((*kept, *segment.behind))
        self._segments.clear()
        self._moved.clear()
        self._last = None

    def _without(self, segment: Segment, moved: _Ranges) -> list[bytes] | None:
        """The records that remain of a segment; None if it is unchanged."""
        found, record = segment.found, segment.record
        size = found.end - found.start
        kept = list(moved.others(segment.seq, size))
        if kept == [(0, size)] or found.cut or not size:
            return None
        shift = record.start
        raw = segment.frame
        if not kept and record.raw[found.transport + 13] & _FLAGS:
            kept = [(size, size)]
        at = found._replace(
            network=found.network - shift,
            transport=found.transport - shift,
            start=found.start - shift,
            layers=tuple(each._replace(at=each.at - shift, network=each.network - shift)
                         for each in found.layers),
        )  # fmt: skip
        return [
            self._capture.rewritten(
                record, with_segment(raw, 0, at, begin, raw[at.start + begin : at.start + end])
            )
            for begin, end in kept
        ]


class _Ranges:
    """Ranges of sequence numbers, which wrap."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self._base = ranges[0][0]
        self._ranges = sorted((self._ahead(seq), length) for seq, length in ranges)

    def others(self, seq: int, size: int) -> Iterator[tuple[int, int]]:
        """The parts of `size` octets from `seq` on that are in no range: begin and end, from 0."""
        first = self._ahead(seq)
        at = first
        for begin, length in self._ranges[max(bisect_right(self._ranges, (first, 0)) - 1, 0) :]:
            if begin >= first + size:
                break
            if begin > at:
                yield at - first, begin - first
            at = max(at, begin + length)
        if at < first + size:
            yield at - first, size

    def _ahead(self, seq: int) -> int:
        return (seq - self._base + _HALF) % _MODULUS - _HALF
