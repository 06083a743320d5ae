"""RTP and RTCP packets in TCP: interleaved with RTSP, framed as RFC 4571 says, or through TURN.

    for packet in MediaInTcp(turn).add(raw, segment, moment): ...

The first octets of a stream identify its format. In a framed stream, two consecutive packets have
to be plausible before the first is returned, because other data may look like one packet.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal, NamedTuple

from mikeytool.capture.carrier import END_OF_HEAD, MAX_HEAD
from mikeytool.capture.endpoints import channel_flow
from mikeytool.capture.frames import Datagram
from mikeytool.capture.reassembly import Moment, StreamReader, TcpStreams
from mikeytool.capture.turn import STUN_HEADER, Turn, is_stun

Framing = Literal["RTSP interleaved", "RFC 4571", "TURN"]

_INTERLEAVED = 0x24
_SHORTEST = 8  # an RTCP packet
_ENOUGH = 32  # octets that identify the format of a stream
_RTSP = re.compile(rb"RTSP/[12]\.|[A-Z_]{3,20} (?:rtsps?://|\* RTSP/)")
_PACKET = re.compile(rb"\$[\x00-\x1f]..[\x80-\xbf]", re.DOTALL)
_LENGTH = re.compile(rb"(?mi)^(?:Content-Length|l)[ \t]*:[ \t]*(\d{1,9})[ \t]*\r?$")
_MODULUS = 1 << 32


class CarriedPacket(NamedTuple):
    """A packet inside another transport.

    `flow` has its ends. In TCP it occupies `length` octets of the stream from sequence number `seq`
    on, framing included. `moment` is when it was complete.
    """

    framing: Framing
    flow: bytes
    packet: bytes
    seq: int = 0
    length: int = 0
    moment: Moment = Moment(0, None)


Emit = Callable[[CarriedPacket], None]


class MediaInTcp:
    """Takes the TCP segments of a capture and gives the packets in them."""

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._found: list[CarriedPacket] = []
        self._streams = TcpStreams(self._open)

    def add(self, raw: bytes, segment: Datagram, moment: Moment) -> list[CarriedPacket]:
        """Take a segment; returns the packets it completes."""
        self._streams.add(raw, segment, moment)
        return self._take()

    def end(self) -> list[CarriedPacket]:
        """Return the packets that waited for segments, at the end of the capture."""
        self._streams.end()
        return self._take()

    def _take(self) -> list[CarriedPacket]:
        found = self._found
        if found:
            self._found = []
        return found

    def _open(self, flow: bytes, _first: bytes) -> StreamReader:
        return _Undecided(lambda first: self._choose(flow, first))

    def _choose(self, flow: bytes, first: bytes) -> StreamReader | None:
        """The reader for a stream that begins with these octets; None if it carries no packets."""
        if first[0] == _INTERLEAVED or _RTSP.match(first):
            return _Interleaved(flow, self._found_packet)
        if is_stun(first) or _is_relayed(first):
            return _Relayed(flow, self._found_packet, self._turn)
        if _is_plausible(first[2:]):
            return _Framed(flow, self._found_packet)
        return None

    def _found_packet(self, packet: CarriedPacket) -> None:
        self._found.append(packet)


def _is_plausible(octets: bytes) -> bool:
    """Whether octets may begin a packet of RTP, RTCP, STUN or DTLS."""
    first = octets[0]
    return first >> 6 == 2 or is_stun(octets) or (20 <= first < 64 and octets[1:2] == b"\xfe")


def _is_relayed(first: bytes) -> bool:
    """Whether octets may begin ChannelData with RTP."""
    return len(first) > 4 and 0x40 <= first[0] < 0x50 and first[4] >> 6 == 2


class _Undecided(StreamReader):
    """A stream whose format is unknown until enough octets have arrived."""

    def __init__(self, choose: Callable[[bytes], StreamReader | None]) -> None:
        self._choose = choose
        self._octets = b""
        self._first = 0
        self._reader: StreamReader | None = None

    @property
    def held(self) -> int:
        """How many octets it holds."""
        return len(self._octets) + (self._reader.held if self._reader else 0)

    def feed(self, data: bytes, moment: Moment) -> None:
        """Take the next octets."""
        reader, seq = self._reader, self.seq
        if reader is None:
            if not self._octets:
                self._first = seq
            self._octets += data
            if len(self._octets) < _ENOUGH:
                return
            data, seq, self._octets = self._octets, self._first, b""
            reader = self._reader = self._choose(data)
            if reader is None:
                self.finished = True
                return
        reader.seq = seq
        reader.feed(data, moment)
        self.finished = reader.finished

    def lost(self) -> None:
        """Start again after the gap."""
        self._octets = b""
        if self._reader is not None:
            self._reader.lost()

    def end(self) -> None:
        """Note that the stream has ended."""
        if self._reader is not None:
            self._reader.end()


class _Reader(StreamReader):
    """Cuts a stream into messages, each of which `_step` takes from its beginning."""

    def __init__(self, flow: bytes, emit: Emit) -> None:
        self._flow = flow
        self._emit = emit
        self._octets = bytearray()
        self._at = 0
        self._moment = Moment(0, None)

    @property
    def held(self) -> int:
        """How many octets it holds."""
        return len(self._octets)

    def feed(self, data: bytes, moment: Moment) -> None:
        """Take the next octets."""
        self._moment = moment
        if not self._octets:
            self._at = self.seq
        self._octets += data
        done = 0
        while (size := self._step(done)) and not self.finished:
            done += size
        del self._octets[:done]
        self._at = (self._at + done) % _MODULUS
        if self.finished:
            self._octets.clear()

    def lost(self) -> None:
        """Start again after the gap, assuming that a packet begins there."""
        self._octets.clear()

    def end(self) -> None:
        """Drop an incomplete packet."""
        self._octets.clear()

    def _step(self, at: int) -> int:
        """Take the message at an offset of `_octets`; 0 if it is not complete."""
        raise NotImplementedError

    def _number(self, at: int) -> int:
        return int.from_bytes(self._octets[at : at + 2])

    def _place(self, at: int, size: int) -> tuple[int, int, Moment]:
        """Where a message is in the stream, and when it was complete."""
        return (self._at + at) % _MODULUS, size, self._moment


class _Interleaved(_Reader):
    """RTSP, with packets between its messages (RFC 2326 10.12)."""

    def __init__(self, flow: bytes, emit: Emit) -> None:
        super().__init__(flow, emit)
        self._body = 0

    def lost(self) -> None:
        """Start again after the gap."""
        super().lost()
        self._body = 0

    def _step(self, at: int) -> int:
        octets = self._octets
        left = len(octets) - at
        if left <= 0:
            return 0
        if self._body:
            size = min(self._body, left)
            self._body -= size
            return size
        if octets[at] == _INTERLEAVED:
            size = 4 + self._number(at + 2)
            if left < 4 or left < size:
                return 0
            packet = bytes(octets[at + 4 : at + size])
            if len(packet) >= _SHORTEST and packet[0] >> 6 == 2:
                flow = channel_flow(self._flow, octets[at + 1])
                self._emit(CarriedPacket("RTSP interleaved", flow, packet, *self._place(at, size)))
            return size
        if octets[at] in b"\r\n":
            return 1
        if 0x41 <= octets[at] <= 0x5A:
            end = END_OF_HEAD.search(octets, at)
            if end is not None:
                length = _LENGTH.search(octets, at, end.end())
                self._body = int(length[1]) if length else 0
                return end.end() - at
            if left <= MAX_HEAD:
                return 0
        following = _PACKET.search(octets, at + 1)
        return (following.start() if following else max(len(octets) - 4, at)) - at


class _Relayed(_Reader):
    """TURN over TCP: STUN messages, and ChannelData padded to a multiple of four (12.5)."""

    def __init__(self, flow: bytes, emit: Emit, turn: Turn) -> None:
        super().__init__(flow, emit)
        self._turn = turn

    def _step(self, at: int) -> int:
        octets = self._octets
        left = len(octets) - at
        if left < 4:
            return 0
        size = self._number(at + 2)
        if 0x40 <= octets[at] < 0x50:
            size = 4 + size + -size % 4
        elif octets[at] < 4 and size % 4 == 0:
            size += STUN_HEADER
        else:
            self.finished = True
            return 0
        if left < size:
            return 0
        relayed = self._turn.read(self._flow, bytes(octets[at : at + size]))
        if relayed is not None and len(relayed[1]) >= _SHORTEST and relayed[1][0] >> 6 == 2:
            flow, packet = relayed
            self._emit(CarriedPacket("TURN", flow, packet, *self._place(at, size)))
        return size


class _Framed(_Reader):
    """Packets, each preceded by its length in two octets (RFC 4571 2)."""

    def __init__(self, flow: bytes, emit: Emit) -> None:
        super().__init__(flow, emit)
        self._first: CarriedPacket | None = None
        self._is_sure = False

    def lost(self) -> None:
        """Start again after the gap, where the next octets may not begin a packet."""
        super().lost()
        self._first, self._is_sure = None, False

    def _step(self, at: int) -> int:
        left = len(self._octets) - at
        size = 2 + self._number(at)
        if left < 2 or left < size:
            return 0
        packet = bytes(self._octets[at + 2 : at + size])
        if packet and not _is_plausible(packet):
            self.finished = True
            return 0
        if len(packet) < _SHORTEST or packet[0] >> 6 != 2:
            self._is_sure = self._is_sure or is_stun(packet)
            return size
        found = CarriedPacket("RFC 4571", self._flow, packet, *self._place(at, size))
        if self._is_sure:
            self._emit(found)
        elif self._first is None:
            self._first = found
        else:
            self._is_sure = True
            self._emit(self._first)
            self._emit(found)
        return size
