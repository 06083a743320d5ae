"""UDP and TCP in the frames of a capture: where the payload is, and frames with another one.

    found = find_datagram(record.link, record.raw, record.start, record.end)

is a `Datagram` (a UDP datagram, or a TCP segment), a `Fragment` of an IP packet, or None for
anything else. Their offsets count in `record.raw`: the payload is
`record.raw[found.start:found.end]`. No other object is made.

It reads Ethernet (with any VLAN tags, 802.1Q and 802.1ad), Linux cooked v1 and v2, raw IP,
BSD loopback, IPv4 with options and IPv6 with extension headers. Checksums are not verified:
in a capture made at the sender they are often not there yet.

Fragments with the same `key` belong to one IP packet; `offset` says where `raw[start:end]`
belongs in its payload, and the last has `more` False. `datagram_of` finds ports and payload
in a payload that was put together.
"""

from __future__ import annotations

import struct
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from mikeytool.wire.errors import WireError

TCP = 6
UDP = 17

NULL, ETHERNET, LOOP, LINUX_SLL, LINUX_SLL2 = 0, 1, 108, 113, 276
RAW, IPV4, IPV6 = 101, 228, 229
_OTHER_RAW = (12, 14)  # what some systems write for RAW

_ETHERTYPE_IPV4 = 0x0800
_ETHERTYPE_IPV6 = 0x86DD
_VLAN = (0x8100, 0x88A8, 0x9100)
_MOST_TAGS = 8

# IPv6 extension headers (RFC 8200 4, RFC 4302).
_EXTENSIONS = (0, 43, 60)
_FRAGMENT = 44
_AUTHENTICATION = 51
_MOST_EXTENSIONS = 16

_LONGEST = 0xFFFF  # octets of an IPv4 packet, or behind an IPv6 header
_u16 = struct.Struct("!H").unpack_from
_two_u16 = struct.Struct("!HH")


class Datagram(NamedTuple):
    """A UDP datagram or a TCP segment.

    `protocol` is UDP or TCP. `flow` is source address, destination address, source port and
    destination port as in the packet: 12 octets with IPv4, 36 with IPv6.
    `network` and `transport` are the offsets of the IP and the UDP or TCP header, `start`
    and `end` of the payload; `cut` says that the capture does not have all of it.
    """

    protocol: int
    flow: bytes
    network: int
    transport: int
    start: int
    end: int
    cut: bool

    @property
    def source(self) -> str:
        """Address and port of the sender, `192.0.2.1:5004` or `[2001:db8::1]:5004`."""
        return endpoint(source_of(self.flow))

    @property
    def destination(self) -> str:
        """Address and port of the receiver."""
        return endpoint(destination_of(self.flow))


class Fragment(NamedTuple):
    """A piece of an IP packet: `raw[start:end]` is its payload from `offset` octets on.

    `key` is the same for all pieces of a packet: addresses, protocol, identification.
    `addresses` are source and destination, 8 or 32 octets. `protocol` is that of the whole
    packet's payload. `cut` says that the capture does not have all of the piece.
    """

    key: bytes
    addresses: bytes
    protocol: int
    offset: int
    more: bool
    start: int
    end: int
    cut: bool


def source_of(flow: bytes) -> bytes:
    """Address and port of the sender in a flow, as octets."""
    return flow[:4] + flow[8:10] if len(flow) == 12 else flow[:16] + flow[32:34]


def destination_of(flow: bytes) -> bytes:
    """Address and port of the receiver in a flow, as octets."""
    return flow[4:8] + flow[10:12] if len(flow) == 12 else flow[16:32] + flow[34:36]


def endpoint(octets: bytes) -> str:
    """Write an address of 4 or 16 octets and a port of 2 as text."""
    address, port = octets[:-2], int.from_bytes(octets[-2:], "big")
    if len(address) == 4:
        return f"{IPv4Address(address)}:{port}"
    return f"[{IPv6Address(address)}]:{port}"


def find_datagram(link: int, raw: bytes, start: int, end: int) -> Datagram | Fragment | None:
    """Find the datagram, segment or fragment in the frame `raw[start:end]`; None without any.

    `link` is the LINKTYPE number of the frame.
    """
    # Most frames are these: Ethernet, IPv4 without options, UDP, in one piece.
    if (
        link == ETHERNET
        and end - start >= 42
        and raw[start + 12 : start + 15] == b"\x08\x00\x45"
        and raw[start + 23] == UDP
        and not (raw[start + 20] & 0x3F or raw[start + 21])
    ):
        transport = start + 34
        length = (raw[start + 38] << 8) | raw[start + 39]
        total = (raw[start + 16] << 8) | raw[start + 17]
        if length >= 8 and length + 20 == total and transport + length <= end:
            return tuple.__new__(
                Datagram,
                (
                    UDP,
                    raw[start + 26 : start + 38],
                    start + 14,
                    transport,
                    transport + 8,
                    transport + length,
                    False,
                ),
            )
    network = _network(link, raw, start, end)
    if network is None:
        return None
    version = raw[network] >> 4
    if version == 4:
        return _in_ipv4(raw, network, end)
    if version == 6:
        return _in_ipv6(raw, network, end)
    return None


def datagram_of(
    raw: bytes, addresses: bytes, protocol: int, network: int, at: int, end: int, cut: bool
) -> Datagram | None:
    """Find the UDP datagram or TCP segment in the IP payload `raw[at:end]`; None without any.

    `addresses` are source and destination, 8 or 32 octets; `network` is the offset of the IP
    header, for the result.
    """
    room = end - at
    if protocol == UDP and room >= 8:
        (length,) = _u16(raw, at + 4)
        # 0 is a jumbogram, or a length that the network card would have filled in.
        length = length or room
        if length < 8:
            return None
        flow = addresses + raw[at : at + 4]
        return Datagram(
            UDP, flow, network, at, at + 8, at + min(length, room), cut or length > room
        )
    if protocol == TCP and room >= 20:
        header = raw[at + 12] >> 4 << 2
        if not 20 <= header <= room:
            return None
        flow = addresses + raw[at : at + 4]
        return Datagram(TCP, flow, network, at, at + header, end, cut)
    return None


def _network(link: int, raw: bytes, start: int, end: int) -> int | None:
    """The offset of the IP header, of which at least the first octet is there."""
    if link == ETHERNET:
        at = _behind_tags(raw, start + 12, end)
    elif link == LINUX_SLL:
        at = _behind_tags(raw, start + 14, end)
    elif link == LINUX_SLL2:
        if end - start < 20:
            return None
        (kind,) = _u16(raw, start)
        at = start + 20
        if kind in _VLAN:
            at = _behind_tags(raw, at + 2, end) or end
        elif kind not in (_ETHERTYPE_IPV4, _ETHERTYPE_IPV6):
            return None
    elif link in (NULL, LOOP):
        at = start + 4
    elif link in (RAW, IPV4, IPV6, *_OTHER_RAW):
        at = start
    else:
        return None
    return at if at is not None and at < end else None


def _behind_tags(raw: bytes, at: int, end: int) -> int | None:
    """The offset of the IP header after the type at `at` and the VLAN tags that may follow."""
    for _ in range(_MOST_TAGS):
        if end - at < 2:
            return None
        (kind,) = _u16(raw, at)
        if kind in (_ETHERTYPE_IPV4, _ETHERTYPE_IPV6):
            return at + 2
        if kind not in _VLAN:
            return None
        at += 4
    return None


def _in_ipv4(raw: bytes, network: int, end: int) -> Datagram | Fragment | None:
    header = (raw[network] & 0x0F) * 4
    if header < 20 or end - network < header:
        return None
    total, ident, place = struct.unpack_from("!HHH", raw, network + 2)
    # 0: segmentation was left to the network card, which fills in the lengths.
    packet_end = network + total if total else end
    if packet_end < network + header:
        return None
    cut, stop = packet_end > end, min(packet_end, end)
    protocol = raw[network + 9]
    addresses = raw[network + 12 : network + 20]
    if place & 0x3FFF:
        return Fragment(
            addresses + bytes([protocol]) + ident.to_bytes(2, "big"),
            addresses,
            protocol,
            (place & 0x1FFF) * 8,
            bool(place & 0x2000),
            network + header,
            stop,
            cut,
        )
    return datagram_of(raw, addresses, protocol, network, network + header, stop, cut)


def _in_ipv6(raw: bytes, network: int, end: int) -> Datagram | Fragment | None:
    if end - network < 40:
        return None
    (length,) = _u16(raw, network + 4)
    packet_end = network + 40 + length if length else end
    cut, stop = packet_end > end, min(packet_end, end)
    addresses = raw[network + 8 : network + 40]
    protocol, at = raw[network + 6], network + 40
    for _ in range(_MOST_EXTENSIONS):
        if protocol in _EXTENSIONS or protocol == _AUTHENTICATION:
            if stop - at < 8:
                return None
            words = raw[at + 1]
            size = (words + 2) * 4 if protocol == _AUTHENTICATION else (words + 1) * 8
            protocol, at = raw[at], at + size
        elif protocol == _FRAGMENT:
            if stop - at < 8:
                return None
            behind, _, place, ident = struct.unpack_from("!BBHI", raw, at)
            if place & 0xFFF9:
                key = addresses + bytes([behind]) + ident.to_bytes(4, "big")
                more = bool(place & 1)
                return Fragment(key, addresses, behind, place & 0xFFF8, more, at + 8, stop, cut)
            protocol, at = behind, at + 8
        else:
            break
    return datagram_of(raw, addresses, protocol, network, at, stop, cut) if at < stop else None


def with_octets(raw: bytes, start: int, end: int, found: Datagram, octets: bytes) -> bytes:
    """Put as many other octets into a TCP segment of the frame `raw[start:end]`.

    The checksum is corrected. Raises WireError if the capture does not have all of it.
    """
    if found.cut or len(octets) != found.end - found.start:
        raise WireError("the capture does not have the whole segment")
    at = found.transport
    segment = raw[at : at + 16] + b"\0\0" + raw[at + 18 : found.start] + octets
    words = int.from_bytes(segment + b"\0" * (len(segment) & 1), "big")
    checksum = -(words + int.from_bytes(found.flow[:-4], "big") + TCP + len(segment)) % 0xFFFF
    head = raw[start : at + 16] + checksum.to_bytes(2, "big") + raw[at + 18 : found.start]
    return head + octets + raw[found.end : end]


def with_payload(raw: bytes, start: int, found: Datagram, payload: bytes) -> bytes:
    """Put another UDP payload into the frame that begins at `raw[start]`, in which `found` is.

    Lengths and checksums of IP and UDP are corrected; in IPv4 a UDP checksum of 0, which means
    none, is kept. What follows the IP packet in the frame (padding, a frame check sequence)
    is left out.

    Raises WireError if the capture does not have the whole datagram, if it is no UDP, or if
    the packet would be longer than IP can say.
    """
    protocol, flow, network, transport, payload_at, _, cut = found
    if protocol != UDP:
        raise WireError("the payload of TCP cannot be replaced")
    if cut:
        raise WireError("the capture does not have the whole packet; capture with a longer snaplen")
    length = 8 + len(payload)
    v4 = len(flow) == 12
    ahead = transport - network - (0 if v4 else 40)  # octets that count beside UDP's
    if ahead + length > _LONGEST:
        raise WireError(f"a packet of {ahead + length} octets is longer than an IP packet can be")
    ports = raw[transport : transport + 4]
    if v4:
        head = raw[start : network + 2] + (ahead + length).to_bytes(2, "big")
        behind = raw[network + 12 : transport]
        middle = raw[network + 4 : network + 10]
        words = int.from_bytes(head[network - start :] + middle + behind, "big")
        head += middle + (-words % 0xFFFF).to_bytes(2, "big") + behind
        if raw[transport + 6 : payload_at] == b"\0\0":
            return head + ports + _two_u16.pack(length, 0) + payload
    else:
        head = raw[start : network + 4] + (ahead + length).to_bytes(2, "big")
        head += raw[network + 6 : transport]
    # The sum of 16-bit words in one's complement is the number they make, modulo 2^16 - 1
    # (RFC 1071); the pseudo header has the length once more.
    words = int.from_bytes(payload, "big")
    if length & 1:
        words <<= 8
    checksum = -(words + int.from_bytes(flow, "big") + UDP + 2 * length) % 0xFFFF
    return head + ports + _two_u16.pack(length, checksum or 0xFFFF) + payload
