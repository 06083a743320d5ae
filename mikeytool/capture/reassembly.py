"""Reassembles TCP streams from segments (RFC 9293 3.4, 3.10).

A stream is one direction of a connection. A `StreamReader` receives its octets in order, each once.
Segments may be out of order, repeated or overlapping (the first counts); some may be missing from
the capture, sequence numbers may wrap, and the capture may begin in the middle of a connection.

Captures may be hostile, so memory is bounded for each stream and in total. A stream that holds too
much continues after its gap. If all streams together hold too much, the one idle for longest is
ended.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from operator import itemgetter
from typing import NamedTuple

from mikeytool.capture.frames import Datagram

MAX_WAITING = 1 << 20
"""The most octets of a stream that wait for an earlier segment, with their overhead."""
MAX_SEGMENTS = 1024
"""The most waiting segments of a stream."""
MAX_START = 32
"""The most waiting segments at the start of a stream whose SYN was not captured."""
MAX_STREAMS = 4096
MAX_HELD = 1 << 24
"""The most octets that all streams and their readers hold."""
PIECE = 256
"""The memory overhead of a piece of a stream, in octets."""
_FAR = 1 << 24
"""A segment this many octets back is not a repetition but belongs to another connection."""

_FIN, _SYN, _RST = 0x01, 0x02, 0x04
_MODULUS = 1 << 32


class Moment(NamedTuple):
    """A frame, counted from 1, and its time in Unix nanoseconds, None without one."""

    frame: int
    time: int | None


class StreamReader(ABC):
    """Takes the octets of a stream, until it is `finished`."""

    finished: bool = False
    seq: int = 0
    """The sequence number of the next octet."""

    @property
    @abstractmethod
    def held(self) -> int:
        """How many octets it holds."""

    @abstractmethod
    def feed(self, data: bytes, moment: Moment) -> None:
        """Take the next octets; `moment` is when the last of them arrived."""

    @abstractmethod
    def lost(self) -> None:
        """Note that the next octets are missing."""

    @abstractmethod
    def end(self) -> None:
        """Note that the stream has ended."""


OpenReader = Callable[[bytes, bytes], StreamReader]


class _Segment(NamedTuple):
    """A waiting segment. Segments sort by their place in the stream, then in the capture."""

    at: int
    moment: Moment
    data: bytes
    cut: bool


class _Stream:
    """One direction of a connection.

    `_at` is how many of its octets were read or given up. It starts high, so that places before
    the first captured segment are not negative. Without a SYN the first segment is unknown, so some
    segments wait until it is likely to be among them.
    """

    def __init__(self, open_reader: OpenReader, flow: bytes, seq: int, *, syn: bool) -> None:
        self._open_reader = open_reader
        self._flow = flow
        self._reader: StreamReader | None = None
        self._first = seq
        self._at = _MODULUS
        self._seq = seq
        self._started = syn
        self._torn = self._closed = False
        self._latest = Moment(0, None)
        self._fin: int | None = None
        self._waiting: list[_Segment] = []
        self._waiting_octets = 0

    @property
    def held(self) -> int:
        """How many octets the stream and its reader hold."""
        return self._waiting_octets + (self._reader.held if self._reader else 0)

    @property
    def finished(self) -> bool:
        """Whether it needs no more octets."""
        return self._closed or (self._reader is not None and self._reader.finished)

    def is_retried_syn(self, seq: int) -> bool:
        """Whether a SYN before octet `seq` repeats the one with which the stream began."""
        return self._first == seq

    def is_other(self, seq: int) -> bool:
        """Whether a segment is so far away that it belongs to a later connection."""
        ahead = self._position(seq) - self._at
        return ahead < -_FAR or (self._closed and ahead > _FAR)

    def add(self, seq: int, data: bytes, moment: Moment, *, cut: bool, fin: bool) -> bool:
        """Take a segment; returns False if the stream ends with it."""
        segment = _Segment(self._position(seq), moment, data, cut)
        if fin:
            self._fin = segment.at + len(data)
        if self._started and segment.at <= self._at:
            self._deliver(segment)
        elif data:
            heapq.heappush(self._waiting, segment)
            self._waiting_octets += len(data) + PIECE
        self._go_on()
        return self._fin is None or self._at < self._fin

    def close(self) -> None:
        """Deliver the waiting segments, despite gaps, and end the reader."""
        while self._waiting and not self.finished:
            self._next()
        if self._reader is not None and not self.finished:
            self._reader.end()
        self._closed = True
        self._reader = None
        self._drop()

    def _position(self, seq: int) -> int:
        """The place of a sequence number in the stream that is nearest to `_at`."""
        ahead = (seq - self._seq) % _MODULUS
        return self._at + (ahead if ahead < _MODULUS // 2 else ahead - _MODULUS)

    def _move(self, at: int) -> None:
        self._seq = (self._seq + at - self._at) % _MODULUS
        self._at = at

    def _deliver(self, segment: _Segment) -> None:
        fresh = segment.data[self._at - segment.at :]
        if not fresh:
            return
        if self._reader is None:
            self._reader = self._open_reader(self._flow, fresh)
        self._reader.seq = self._seq
        self._move(self._at + len(fresh))
        self._torn = segment.cut
        self._latest = max(self._latest, segment.moment, key=itemgetter(0))
        self._reader.feed(fresh, self._latest)

    def _go_on(self) -> None:
        """Deliver waiting segments, up to a gap, or beyond it if too much is waiting."""
        while self._waiting and not self.finished:
            most = MAX_SEGMENTS if self._started else MAX_START
            full = len(self._waiting) > most or self._waiting_octets > MAX_WAITING
            due = self._started and (self._torn or self._waiting[0].at <= self._at)
            if not (due or full):
                return
            self._next()
        if self.finished:
            self._drop()

    def _drop(self) -> None:
        self._waiting.clear()
        self._waiting_octets = 0

    def _next(self) -> None:
        """Deliver the first waiting segment; octets missing before it are lost."""
        segment = heapq.heappop(self._waiting)
        self._waiting_octets -= len(segment.data) + PIECE
        if segment.at > self._at or not self._started:
            if self._reader is not None:
                self._reader.lost()
            self._started = True
            self._move(segment.at)
        self._deliver(segment)


class TcpStreams:
    """Every TCP stream of a capture.

    `open_reader` makes the reader of a stream from its flow and its first octets.
    """

    def __init__(self, open_reader: OpenReader) -> None:
        self._open_reader = open_reader
        self._streams: OrderedDict[bytes, _Stream] = OrderedDict()
        self._held = 0
        self.given_up = 0
        """How many streams were ended because they held too much together, or were too many."""

    def add(self, raw: bytes, segment: Datagram, moment: Moment) -> None:
        """Take a segment, with its TCP header at `segment.transport` of `raw`."""
        flags = raw[segment.transport + 13]
        data = raw[segment.start : segment.end]
        if not data and not flags & (_FIN | _SYN | _RST):
            return
        seq = int.from_bytes(raw[segment.transport + 4 : segment.transport + 8])
        syn = bool(flags & _SYN)
        if syn:
            seq = (seq + 1) % _MODULUS
        stream = self._stream(segment.flow, seq, syn=syn)
        if stream.finished:
            return
        before = stream.held
        open_on = stream.add(seq, data, moment, cut=segment.cut, fin=bool(flags & _FIN))
        if not open_on or flags & _RST:
            stream.close()  # but remembered, because segments may be repeated
        self._held += stream.held - before
        while self._held > MAX_HELD or len(self._streams) > MAX_STREAMS:
            oldest = next(iter(self._streams))
            self.given_up += not self._streams[oldest].finished
            self._close(oldest)

    def end(self) -> None:
        """Deliver everything that is waiting, at the end of the capture."""
        while self._streams:
            self._close(next(iter(self._streams)))

    def _stream(self, flow: bytes, seq: int, *, syn: bool) -> _Stream:
        stream = self._streams.get(flow)
        if stream is not None:
            another = not stream.is_retried_syn(seq) if syn else stream.is_other(seq)
            if not another:
                self._streams.move_to_end(flow)
                return stream
            self._close(flow)
        stream = self._streams[flow] = _Stream(self._open_reader, flow, seq, syn=syn)
        return stream

    def _close(self, flow: bytes) -> None:
        stream = self._streams.pop(flow)
        self._held -= stream.held
        stream.close()
