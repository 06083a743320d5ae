"""Frames and capture files, written octet by octet."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address
from typing import NamedTuple

from mikeytool.capture.capture_files import open_capture
from mikeytool.capture.record import Record

ALICE, BOB, PROXY = "192.0.2.1", "192.0.2.2", "192.0.2.9"
ALICE6, BOB6 = "2001:db8::1", "2001:db8::2"
START = 1_760_000_000
"""Unix seconds of the first frame; one frame a second."""


class Ends(NamedTuple):
    """Addresses and ports between which a packet goes."""

    source: str = ALICE
    sport: int = 5060
    destination: str = BOB
    dport: int = 5060

    @property
    def back(self) -> Ends:
        """The other direction."""
        return Ends(self.destination, self.dport, self.source, self.sport)


THERE, BACK = Ends(), Ends().back
CLIENT = Ends(sport=40000)
"""Of a TCP connection to port 5060."""
SYN, FIN, RST, PSH, ACK = 2, 1, 4, 8, 16
_UDP, _TCP = 17, 6


def checksum(data: bytes) -> int:
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f">{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def packet(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    """An IPv4 or IPv6 packet."""
    if ip_address(source).version == 6:
        return _ipv6(source, destination, protocol, payload)
    return _ipv4(source, destination, protocol, payload, ident=0, place=0)


def fragments(
    source: str,
    destination: str,
    payload: bytes,
    size: int,
    *,
    protocol: int = _UDP,
    ident: int = 7,
) -> list[bytes]:
    """The packets that one with this payload is cut into, `size` octets each."""
    packets = []
    for offset in range(0, len(payload), size):
        piece = payload[offset : offset + size]
        more = offset + size < len(payload)
        if ip_address(source).version == 6:
            header = struct.pack(">BBHI", protocol, 0, offset | more, ident)
            packets.append(_ipv6(source, destination, 44, header + piece))
        else:
            place = (more << 13) | (offset // 8)
            packets.append(_ipv4(source, destination, protocol, piece, ident=ident, place=place))
    return packets


def udp_datagram(source: str, sport: int, destination: str, dport: int, payload: bytes) -> bytes:
    """A UDP datagram with its checksum, without IP."""
    head = struct.pack(">HHHH", sport, dport, 8 + len(payload), 0)
    pseudo = _pseudo(source, destination, _UDP, 8 + len(payload))
    return head[:6] + struct.pack(">H", checksum(pseudo + head + payload) or 0xFFFF) + payload


def udp(payload: bytes, ends: Ends = THERE) -> bytes:
    """A UDP datagram in an IP packet."""
    return packet(ends.source, ends.destination, _UDP, udp_datagram(*ends, payload))


def tcp(payload: bytes, seq: int, ends: Ends = CLIENT, *, flags: int = ACK | PSH) -> bytes:
    """A TCP segment in an IP packet."""
    source, sport, destination, dport = ends
    head = struct.pack(">HHIIBBHHH", sport, dport, seq % 2**32, 1, 0x50, flags, 65535, 0, 0)
    pseudo = _pseudo(source, destination, _TCP, len(head) + len(payload))
    total = struct.pack(">H", checksum(pseudo + head + payload))
    segment = head[:16] + total + head[18:] + payload
    return packet(source, destination, _TCP, segment)


def stream(
    payload: bytes, size: int, seq: int, ends: Ends = CLIENT, *, opened: bool = True
) -> list[bytes]:
    """The segments of a stream from `seq` on, behind a SYN if `opened`."""
    segments = [tcp(b"", seq - 1, ends, flags=SYN)] if opened else []
    for at in range(0, len(payload), size):
        segments.append(tcp(payload[at : at + size], seq + at, ends))
    return segments


def pcap(packets: Iterable[bytes], *, milliseconds: int = 1000) -> bytes:
    """A pcap file of Ethernet frames, one a second unless `milliseconds` says otherwise."""
    out = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)]
    for number, one in enumerate(packets):
        kind = 0x86DD if one[0] >> 4 == 6 else 0x0800
        frame = bytes(12) + struct.pack(">H", kind) + one
        seconds, rest = divmod(number * milliseconds, 1000)
        times = START + seconds, rest * 1000
        out += [struct.pack("<IIII", *times, len(frame), len(frame)), frame]
    return b"".join(out)


def records(packets: Sequence[bytes]) -> Iterator[Record]:
    """The records of a capture of these packets."""
    return iter(open_capture(io.BytesIO(pcap(packets))))


def _pseudo(source: str, destination: str, protocol: int, length: int) -> bytes:
    addresses = ip_address(source).packed + ip_address(destination).packed
    return addresses + struct.pack(">IHBB", length, 0, 0, protocol)


def _ipv4(
    source: str, destination: str, protocol: int, payload: bytes, *, ident: int, place: int
) -> bytes:
    head = struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), ident, place, 64, protocol, 0)
    addresses = ip_address(source).packed + ip_address(destination).packed
    total = struct.pack(">H", checksum(head + addresses))
    return head[:10] + total + addresses + payload


def _ipv6(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    addresses = ip_address(source).packed + ip_address(destination).packed
    return struct.pack(">IHBB", 6 << 28, len(payload), protocol, 64) + addresses + payload
