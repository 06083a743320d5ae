"""The RTP and RTCP streams in a capture, as far as they are visible without a key."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from mikeytool.capture.endpoints import destination_of, endpoint, source_of
from mikeytool.capture.frames import UDP, Datagram, find_datagram, why_unread
from mikeytool.capture.media_in_tcp import MediaInTcp
from mikeytool.capture.packet_lines import NO_LINE
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.record import BARE_PACKET, NO_PACKET, Capture
from mikeytool.capture.turn import Turn
from mikeytool.media.flows import FlowFilter, TcpProtocols, other_protocol
from mikeytool.srtp.index import estimate
from mikeytool.srtp.packet import RTP_HEADER, rtp_fields
from mikeytool.wire.errors import WireError

_MOST_STREAMS = 4096
_LONGEST_WAIT = 1 << 16
"""Packets after which a stream without a second one makes room for another."""
_NEAR = 100  # sequence numbers
_MISORDER = 3000  # sequence numbers; one further off begins anew (RFC 3550 A.1 has 3000 and 100)


@dataclass
class StreamSummary:
    """What is visible of an SSRC from one endpoint to another.

    Endpoints are None if packets have none. `packets` and `octets` count RTP, `rtcp` counts RTCP
    packets. `types` counts payload types. Times are in Unix nanoseconds; times and sequence numbers
    are None if no packet has them.
    """

    ssrc: int
    source: str | None
    destination: str | None
    packets: int = 0
    octets: int = 0
    rtcp: int = 0
    seat: str | None = None
    types: Counter[int] = field(default_factory=Counter)
    first_time: int | None = None
    last_time: int | None = None
    first_seq: int | None = None
    last_seq: int | None = None
    _lowest: int = 0
    _highest: int = -1
    _in_run: int = 0
    _lost: int = 0
    _last: tuple[int, int] | None = None
    _follows: bool = False

    def add(self, packet_type: int, sequence: int, size: int, time: int | None) -> None:
        """Count an RTP packet."""
        self.packets += 1
        self.octets += size
        self.types[packet_type] += 1
        self._see(time)
        if not self._follows:
            if self._last is not None and self._last[0] == packet_type:
                ahead = (sequence - self._last[1]) & 0xFFFF
                self._follows = 0 < min(ahead, 0x10000 - ahead) <= _NEAR
            self._last = packet_type, sequence
        if self._highest < 0:
            self.first_seq = sequence
            self._begin(sequence)
            return
        index = estimate(self._highest, sequence)
        if abs(index - self._highest) > _MISORDER:
            self._lost = self.lost
            self._begin(sequence)
            return
        self._in_run += 1
        self._lowest = min(self._lowest, index)
        if index > self._highest:
            self._highest = index
            self.last_seq = sequence

    def add_rtcp(self, time: int | None) -> None:
        """Count an RTCP packet."""
        self.rtcp += 1
        self._see(time)

    def _begin(self, sequence: int) -> None:
        self.last_seq = sequence
        # Far from 0, so that no packet before it has an index below 0.
        self._lowest = self._highest = 1 << 20 | sequence
        self._in_run = 1

    def _see(self, time: int | None) -> None:
        if time is not None:
            self.first_time = time if self.first_time is None else min(self.first_time, time)
            self.last_time = time if self.last_time is None else max(self.last_time, time)

    @property
    def is_sure(self) -> bool:
        """Whether it is a real stream: it has RTCP, or a packet that closely follows another."""
        return self._follows or self.rtcp > 0

    @property
    def lost(self) -> int:
        """Sequence numbers that are missing between the first and the last."""
        return self._lost + max(self._highest - self._lowest + 1 - self._in_run, 0)

    @property
    def seconds(self) -> float | None:
        """From the first to the last packet."""
        if self.first_time is None or self.last_time is None:
            return None
        return (self.last_time - self.first_time) / 1e9

    def json(self) -> dict[str, Any]:
        """The stream for programs."""
        return {
            "ssrc": f"{self.ssrc:#010x}",
            "source": self.source,
            "destination": self.destination,
            "packets": self.packets,
            "octets": self.octets,
            "payload_types": sorted(self.types),
            "first": _iso(self.first_time),
            "last": _iso(self.last_time),
            "seconds": self.seconds,
            "first_seq": self.first_seq,
            "last_seq": self.last_seq,
            "lost": self.lost,
            "rtcp": self.rtcp,
        } | ({} if self.seat is None else {"seat": self.seat})


@dataclass
class StreamList:
    """The streams of a capture, and how many packets are neither RTP nor RTCP, by protocol.

    `fault` is the defect of the file itself, if it has one; everything before it is counted.
    """

    streams: list[StreamSummary]
    others: Counter[str]
    fault: WireError | None = None

    def name_seats(self, names: Mapping[int, str]) -> None:
        """Name the member of a conference whose stream each one is, by its SSRC."""
        for stream in self.streams:
            stream.seat = names.get(stream.ssrc, "nobody has it")

    def json(self) -> dict[str, Any]:
        """The list as `srtp info --json` prints it."""
        return {"streams": [each.json() for each in self.streams], "others": dict(self.others)}


def streams_in(capture: Capture) -> StreamList:
    """List the streams of a capture, or of a text with one packet per line."""
    table = _Table()
    fault: WireError | None = None
    try:
        fault = _look(capture, table)
    except WireError as error:
        fault = error
    table.drop_unsure()
    return StreamList(_joined(table.streams), table.others, fault)


class _Table:
    """The streams seen so far, and the number of packets outside any stream."""

    def __init__(self) -> None:
        self.streams: dict[tuple[int, bytes], StreamSummary] = {}
        self.others: Counter[str] = Counter()
        self._seen = 0
        # Streams that may not be sure, and when they came, the oldest first.
        self._new: deque[tuple[int, tuple[int, bytes]]] = deque()

    def add(self, flow: bytes, raw: bytes, start: int, end: int, time: int | None) -> bool:
        """Count the packet `raw[start:end]`; False if it is neither RTP nor RTCP."""
        size = end - start
        is_rtcp = size > 1 and 192 <= raw[start + 1] <= 223
        if size < (8 if is_rtcp else RTP_HEADER) or raw[start] >> 6 != 2:
            return False
        if is_rtcp:
            if flow and 4 * (int.from_bytes(raw[start + 2 : start + 4]) + 1) > size:
                return False
            sequence, ssrc = 0, int.from_bytes(raw[start + 4 : start + 8])
        else:
            sequence, ssrc = rtp_fields(raw, start)
        self._seen += 1
        stream = self.streams.get((ssrc, flow)) or self._open(ssrc, flow)
        if stream is None:
            self.others["of more streams than are listed"] += 1
        elif is_rtcp:
            stream.add_rtcp(time)
        else:
            stream.add(raw[start + 1] & 0x7F, sequence, size, time)
        return True

    def _open(self, ssrc: int, flow: bytes) -> StreamSummary | None:
        if len(self.streams) >= _MOST_STREAMS and not self._drop_oldest():
            return None
        ends = (endpoint(source_of(flow)), endpoint(destination_of(flow))) if flow else (None,) * 2
        stream = self.streams[ssrc, flow] = StreamSummary(ssrc, *ends)
        self._new.append((self._seen, (ssrc, flow)))
        return stream

    def _drop_oldest(self) -> bool:
        """Drop a stream that has waited long for a second packet; returns whether there was one."""
        while self._new and self._new[0][0] <= self._seen - _LONGEST_WAIT:
            if self._drop(self._new.popleft()[1]):
                return True
        return False

    def _drop(self, key: tuple[int, bytes]) -> bool:
        if not key[1] or self.streams[key].is_sure:
            return False
        self.others["other"] += self.streams.pop(key).packets
        return True

    def drop_unsure(self) -> None:
        """Drop streams that looked like RTP but are probably something else."""
        for _, key in self._new:
            self._drop(key)
        self._new.clear()


def _look(capture: Capture, table: _Table) -> WireError | None:
    """Count every packet; returns the fault of the first line of a text that is none."""
    fault: WireError | None = None
    flows = FlowFilter()
    turn = Turn()
    media = MediaInTcp(turn)
    tcp = TcpProtocols()
    others = table.others
    for number, time, link, raw, start, end, _ in capture:
        flow = b""
        if link != BARE_PACKET:
            found = find_datagram(link, raw, start, end)
            if not isinstance(found, Datagram):
                if link == NO_LINE:
                    text = f"line {number}: a packet in hex or base64 is expected"
                    fault = fault or WireError(text)
                elif link != NO_PACKET:
                    unread = "" if found else why_unread(link, raw, start, end)
                    others[unread or "other"] += 1
                continue
            flow, start, end = found.flow, found.start, found.end
            if found.protocol != UDP:
                others[tcp.of(flow, raw[start:end])] += 1
                for one in media.add(raw, found, Moment(number, time)):
                    table.add(one.flow, one.packet, 0, len(one.packet), one.moment.time)
                continue
        if not flows.accepts(flow):
            others["other"] += 1
        elif not table.add(flow, raw, start, end, time):
            packet = raw[start:end]
            relayed = turn.read(flow, packet)
            if relayed is None or not table.add(relayed[0], relayed[1], 0, len(relayed[1]), time):
                others[other_protocol(packet)] += 1
    for one in media.end():
        table.add(one.flow, one.packet, 0, len(one.packet), one.moment.time)
    return fault


def _joined(streams: dict[tuple[int, bytes], StreamSummary]) -> list[StreamSummary]:
    """The streams, with separate-port RTCP counted with the RTP of its SSRC and addresses."""
    media = {(ssrc, flow[:-4]): s for (ssrc, flow), s in streams.items() if s.packets}
    found = []
    for (ssrc, flow), stream in streams.items():
        rtp = media.get((ssrc, flow[:-4]))
        if stream.packets or rtp is None:
            found.append(stream)
        else:
            rtp.rtcp += stream.rtcp
    return found


def _iso(time: int | None) -> str | None:
    if time is None:
        return None
    try:
        moment = datetime.fromtimestamp(time // 10**9, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{time % 10**9 // 1000:06}Z"
