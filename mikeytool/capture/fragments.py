"""Reassembles IP packets from their fragments (RFC 791 3.2, RFC 8200 4.5).

Captures may be hostile, so memory is bounded. The oldest packet is given up first. A packet with
overlapping fragments is dropped, as RFC 5722 requires of receivers.
"""

from __future__ import annotations

from bisect import bisect
from collections import OrderedDict
from dataclasses import dataclass, field

from mikeytool.capture.frames import Datagram, Fragment, datagram_of

MAX_PACKET = 1 << 16
"""The most octets in the payload of one packet."""
MAX_PIECES = 256
"""The most fragments of one packet."""
MAX_PACKETS = 256
"""The most packets waiting for fragments; with the limits above, memory is at most 16 MB."""
MAX_WAIT = 10_000
"""A waiting packet is given up after this many fragments of other packets.

Identifications are reused, and fragments of two packets must not be joined.
"""


@dataclass(slots=True)
class _Packet:
    """The fragments of one packet, by offset; `length` is known once the last one is there."""

    at: int
    pieces: dict[int, bytes] = field(default_factory=dict)
    offsets: list[int] = field(default_factory=list)
    octets: int = 0
    length: int | None = None

    def add(self, offset: int, data: bytes, *, last: bool) -> bool:
        """Take a fragment; returns False if it contradicts the others."""
        end = offset + len(data)
        if last:
            if self.length not in (None, end):
                return False
            self.length = end
        if end > (MAX_PACKET if self.length is None else self.length):
            return False
        if self.pieces.get(offset) == data:
            return True
        place = bisect(self.offsets, offset)
        before = self.offsets[place - 1] if place else None
        if before is not None and before + len(self.pieces[before]) > offset:
            return False
        if self.offsets[place:] and (self.offsets[place] < end or last):
            return False
        self.offsets.insert(place, offset)
        self.pieces[offset] = data
        self.octets += len(data)
        return len(self.offsets) <= MAX_PIECES


class Fragments:
    """Takes fragments, and returns the datagrams of complete packets."""

    def __init__(self) -> None:
        self._packets: OrderedDict[bytes, _Packet] = OrderedDict()
        self._count = 0
        self.given_up = 0
        """How many packets were dropped because too many were waiting."""

    def add(self, raw: bytes, fragment: Fragment) -> tuple[bytes, Datagram] | None:
        """Take a fragment; returns the payload of the packet that it completes, and the datagram.

        The offsets of the datagram refer to that payload.
        """
        self._count += 1
        data = raw[fragment.start : fragment.end]
        packet = self._packets.pop(fragment.key, None)
        if packet is None or self._count - packet.at > MAX_WAIT:
            packet = _Packet(self._count)
        packet.at = self._count
        if fragment.cut or not data:
            return None
        if not packet.add(fragment.offset, data, last=not fragment.more):
            return None
        if packet.octets != packet.length:
            self._packets[fragment.key] = packet
            if len(self._packets) > MAX_PACKETS:
                self._packets.popitem(last=False)
                self.given_up += 1
            return None
        whole = b"".join(packet.pieces[offset] for offset in packet.offsets)
        found = datagram_of(whole, fragment.addresses, fragment.protocol, 0, len(whole))
        if isinstance(found, Fragment):  # of a packet inside, in a tunnel
            return self.add(whole, found)
        return None if found is None else (whole, found)
