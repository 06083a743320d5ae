"""Decrypts packets of a pcap file that differ in nothing but what counts them, many at once.

A stream of constant rate is most of many captures: records of one length, in which only the time,
the identification of IP, sequence number, timestamp, payload and checksums change. What stays is
compared a column at a time, the octets at one place of all records; headers are written likewise.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

from mikeytool.capture.layers import words_sums
from mikeytool.capture.pcap import RECORD_HEADER
from mikeytool.srtp.in_order import InOrder
from mikeytool.srtp.packet import RTP_HEADER

_FEWEST = 8
"""With less than that in a row, one after the other is as fast."""
_IPV4, _UDP = 20, 8
_NOT_RTCP = bytes(each for each in range(256) if not 192 <= each <= 223)


class PacketRuns:
    """Finds and opens runs of packets of one stream.

    `header` are the octets before the IP packet in a frame; `lengths_of` gives the lengths in the
    header of a record with an IP packet of a length.
    """

    def __init__(self, header: int, lengths_of: Callable[[int], bytes]) -> None:
        self._lengths_of = lengths_of
        self._ip = ip = RECORD_HEADER + header
        self._udp = udp = ip + _IPV4
        self._rtp = rtp = udp + _UDP
        # SSRC; the lengths in the record's header, and up to that of the IP packet; its fragment,
        # TTL and protocol; addresses, ports and length; the first octet of RTP.
        self._constant = (
            *range(rtp + 8, rtp + RTP_HEADER), *range(8, ip + 4), *range(ip + 6, ip + 10),
            *range(ip + 12, udp + 6), rtp,
        )  # fmt: skip
        self._reach = _FEWEST

    def take(
        self, data: bytes, at: int, end: int, stride: int, state: InOrder, ip: int, udp: int
    ) -> list[bytes]:
        """Open the records from `at` on that are like the one before, which has `stride` octets.

        `ip` and `udp` are what all constant words add to the checksums, without the lengths.
        Returns a head and a clear packet for each record that was opened.
        """
        count = min(self._reach, (end - at) // stride)
        count = self._count(data, at, stride, count, state)
        if count < _FEWEST:
            self._reach = _FEWEST
            return []
        clear = state.open_run(data, at, stride, self._rtp, count)
        # A run is looked for only twice as far as the last one went: there may be no more.
        self._reach = max(_FEWEST, 2 * len(clear))
        if not clear:
            return []
        out = [b""] * (2 * len(clear))
        out[::2] = self._heads(data, at, stride, clear, ip, udp)
        out[1::2] = clear
        return out

    def _count(self, data: bytes, at: int, stride: int, most: int, state: InOrder) -> int:
        """How many of the records from `at` on are like the one before, and come in order."""
        count, before = most, at - stride
        for place in self._constant:
            column = data[at + place : at + count * stride : stride]
            constant = data[before + place : before + place + 1]
            if column != constant * count:
                count -= len(column.lstrip(constant))
                if count < _FEWEST:
                    return 0
        kinds = data[at + self._rtp + 1 : at + count * stride : stride]
        rtcp = kinds.translate(None, _NOT_RTCP)
        if rtcp:
            count = kinds.index(rtcp[:1])
        sequence = state.next & 0xFFFF  # a run ends where the numbers wrap
        numbers = _words(data, at + self._rtp + 2, stride, count)
        return _equal(numbers, range(sequence, sequence + count))

    def _heads(
        self, data: bytes, at: int, stride: int, clear: Sequence[bytes], ip: int, udp: int
    ) -> list[bytes]:
        """What precedes the RTP packets in their records, with lengths and checksums for these."""
        count, width = len(clear), self._rtp
        records = memoryview(data)[at : at + count * stride]
        parts = struct.iter_unpack(f"{width}s{stride - width}x", records)
        heads = bytearray(b"".join([head for (head,) in parts]))
        size = len(clear[0]) + _UDP
        total = size + _IPV4
        ip += total
        idents = _words(data, at + self._ip + 4, stride, count)
        udp += 2 * size
        sums = [-(each + udp) % 0xFFFF or 0xFFFF for each in words_sums(clear)]
        before = _words(data, at + self._udp + 6, stride, count)
        if 0 in before:  # an absent checksum stays absent
            sums = [each and new for each, new in zip(before, sums, strict=True)]
        for place, octets in (
            (8, self._lengths_of(total)),
            (self._ip + 2, total.to_bytes(2)),
            (self._udp + 4, size.to_bytes(2)),
        ):
            for n, octet in enumerate(octets, place):
                heads[n::width] = bytes([octet]) * count
        for place, words in (
            (self._ip + 10, [-(ip + each) % 0xFFFF for each in idents]),
            (self._udp + 6, sums),
        ):
            octets = struct.pack(f">{count}H", *words)
            heads[place::width], heads[place + 1 :: width] = octets[::2], octets[1::2]
        return [head for (head,) in struct.iter_unpack(f"{width}s", heads)]


def _words(data: bytes, at: int, stride: int, count: int) -> tuple[int, ...]:
    """The word of 16 bits at one place of each record."""
    octets, stop = bytearray(2 * count), at + count * stride
    octets[::2], octets[1::2] = data[at:stop:stride], data[at + 1 : stop + 1 : stride]
    return struct.unpack(f">{count}H", octets)


def _equal(numbers: tuple[int, ...], expected: range) -> int:
    """How many numbers from the first on are as expected."""
    if numbers == tuple(expected):
        return len(numbers)
    pairs = enumerate(zip(numbers, expected, strict=True))
    return next(n for n, (each, other) in pairs if each != other)
