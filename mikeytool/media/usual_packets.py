"""Decrypts the usual packets of a pcap file in one pass over its octets.

Most packets of a capture are alike: a plain header below IPv4 and UDP, a stream whose key is known,
and the packet that comes next in it. They are verified, decrypted and written here without an
object for each; where many of a stream follow each other, `PacketRuns` takes them together.
Everything else is left to the `Rewriter`, which would come to the same results for these packets
too.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from mikeytool.capture.frames import PLAIN_HEADERS, UDP
from mikeytool.capture.layers import WORTH_FOLDING, folded
from mikeytool.capture.link_types import RAW
from mikeytool.capture.pcap import RECORD_HEADER, Block, Pcap
from mikeytool.capture.record import Record
from mikeytool.media.demux import Demux, Route
from mikeytool.media.packet_runs import PacketRuns
from mikeytool.srtp.in_order import InOrder
from mikeytool.srtp.packet import RTP_HEADER

_IPV4_AND_UDP = 28  # octets


class _Ready:
    """A route whose next packet can be taken, and what its headers have in common.

    `link` are the octets before the length of the IP packet; `ip` and `udp` what addresses, ports
    and other constants add to the checksums. `number` and `time` are those of the last packet.
    """

    __slots__ = ("ip", "link", "number", "route", "state", "time", "udp")

    def __init__(self, state: InOrder, route: Route, link: bytes) -> None:
        self.state = state
        self.route = route
        self.link = link
        self.ip = int.from_bytes(link[-2:] + route.flow[:8]) % 0xFFFF
        self.udp = int.from_bytes(route.flow) % 0xFFFF + UDP
        self.number = 0
        self.time = b""


class UsualPackets:
    """Takes the usual packets of a pcap file."""

    def __init__(self, pcap: Pcap, demux: Demux) -> None:
        self._pcap = pcap
        self._known = demux.known
        self._header = PLAIN_HEADERS.get(pcap.link, 0)
        self._lengths: dict[int, bytes] = {}
        self._ready: dict[bytes, _Ready] = {}
        self._remembered: set[int] = set()  # the lists of packets that those ready write to
        self._runs = PacketRuns(self._header, self._lengths_of)
        # Time and lengths of the record; the header up to the IP packet's length; length, ID,
        # fragment with TTL and protocol; the flow; length and checksum of UDP; RTP.
        front = f">8s8s{self._header + 2}sHHI"
        self._unpack = struct.Struct(f"{front}2x12sHHBBH4x4s")
        self._pack = struct.Struct(f"{front}H12sHH").pack

    def others(
        self, block: Block, out: list[bytes], is_stopped: Callable[[], bool]
    ) -> Iterator[Record]:
        """The records of a block that are not taken here, each when it is its turn.

        What those taken become is added to `out`. After a record for which `is_stopped` says so,
        nothing more is taken.
        """
        pcap, data, at, end = self._pcap, block.data, block.begin, block.end
        number, last = block.before + 1, end - self._unpack.size
        if pcap.link not in PLAIN_HEADERS:
            last = -1
        unpack, pack, lengths_of = self._unpack.unpack_from, self._pack, self._lengths_of
        ready, lengths, add, number_in = self._ready, self._lengths.get, out.append, int.from_bytes
        payload_at = RECORD_HEADER + self._header + _IPV4_AND_UDP
        before = None
        while at < end:
            if at <= last:
                (
                    time, sizes, link, total, ident, rest,
                    flow, length, usum, first, kind, sequence, ssrc,
                ) = unpack(data, at)  # fmt: skip
                one = ready.get(flow + ssrc) or self._find(flow, ssrc, link)
                if (
                    one is not None
                    and link == one.link
                    and rest & 0x3FFF00FF == UDP  # no fragment
                    and length == total - 20
                    and sizes == (lengths(total) or lengths_of(total))
                    and first & 0xDF == 0x80  # padded or not
                    and not 192 <= kind <= 223
                    and (state := one.state).next & 0xFFFF == sequence != 0
                ):
                    index = state.next
                    stop = at + payload_at + length - 8
                    packet = data[at + payload_at : stop]
                    clear = state.open_(packet, RTP_HEADER, state.ssrc, index)
                    if clear is not None:
                        state.hashes[index & state.mask] = hash(packet[state.proof :])
                        state.next = index + 1
                        one.number, one.time = number, time
                        size = len(clear) + 8
                        total = size + 20
                        if usum:
                            words = number_in(clear, "little")
                            if size > WORTH_FOLDING:
                                words = folded(words)
                            words = words % 0xFFFF * 256 + one.udp + 2 * size
                            usum = -words % 0xFFFF or 0xFFFF
                        words = one.ip + total + ident + (rest >> 16) + (rest & 0xFFFF)
                        sizes = lengths(total) or lengths_of(total)
                        add(pack(time, sizes, link, total, ident, rest, -words % 0xFFFF,
                                 flow, size, usum))  # fmt: skip
                        add(clear)
                        number += 1
                        stride, at = stop - at, stop
                        if one is before and state.opens_runs:
                            ip = one.ip + (rest >> 16) + (rest & 0xFFFF)
                            taken = self._runs.take(data, at, end, stride, state, ip, one.udp)
                            if taken:
                                out += taken
                                number += len(taken) // 2
                                at += stride * (len(taken) // 2)
                                one.number, one.time = number - 1, taken[-2][:8]
                        before = one
                        continue
            before = None
            if ready:
                self.save()
            record = pcap.record_at(data, at, number)
            yield record
            if is_stopped():
                return
            number += 1
            at += len(record.raw)
        self.save()

    def _lengths_of(self, total: int) -> bytes:
        """The lengths in the header of a record with an IP packet of a length."""
        made = self._lengths[total] = self._pcap.lengths(self._header + total)
        return made

    def save(self) -> None:
        """Tell routes, reports and receivers what was taken."""
        for one in self._ready.values():
            count = one.state.save()
            if count:
                route = one.route
                route.report.packets += count
                route.report.done += count
                route.last_frame = one.number
                route.last_time = self._pcap.time_of(one.time)
        self._ready.clear()
        self._remembered.clear()

    def _find(self, flow: bytes, ssrc: bytes, link: bytes) -> _Ready | None:
        """Make a route ready if it has a key, and nothing about it is unusual."""
        route = self._known.get(flow + ssrc)
        if route is None or route.process is None or route.context is None:
            return None
        if link[-2] != 0x45 or (self._pcap.link != RAW and link[-4:-2] != b"\x08\x00"):
            return None
        receiver = route.context.receiver
        state = receiver.in_order(int.from_bytes(ssrc), route.source, route.destination)
        if state is None or route.first_time is None:
            return None
        # Streams of one SSRC at two destinations share the list that tells a clash.
        if id(state.hashes) in self._remembered:
            return None
        self._remembered.add(id(state.hashes))
        one = self._ready[flow + ssrc] = _Ready(state, route, link)
        return one
