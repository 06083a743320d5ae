"""UDP and TCP in the frames of a capture: finds the payload, which `frame_payloads` replaces.

    found = find_datagram(record.link, record.raw, record.start, record.end)

is a `Datagram` (a UDP datagram, or a TCP segment), a `Fragment` of an IP packet, or None for
anything else. Their offsets refer to `record.raw`: the payload is
`record.raw[found.start:found.end]`. No other object is made.

It reads every link type of `link_types` and every encapsulation of `encapsulations`, and finds the
innermost datagram. IPv4 may have options and IPv6 extension headers. Checksums are not verified,
because in a capture made at the sender they are often not filled in yet.

Fragments with the same `key` belong to one IP packet; `offset` says where `raw[start:end]`
belongs in its payload, and the last has `more` False. `datagram_of` finds ports and payload
in a reassembled payload.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

from mikeytool.capture.encapsulations import (
    ENCAPSULATIONS,
    IP,
    IP_TUNNELS,
    IPV6,
    UDP_SERVERS,
    UDP_TUNNELS,
    Found,
    Step,
)
from mikeytool.capture.endpoints import destination_of, endpoint, source_of
from mikeytool.capture.exported_pdu import read_exported_pdu
from mikeytool.capture.layers import (
    Layer,
    fix_ipv4,
    fix_ipv6,
    fix_udp,
)
from mikeytool.capture.link_types import (
    ETHERNET,
    EXPORTED_PDU,
    LINK_TYPES,
    LINUX_COOKED,
    RAW,
    unread_link,
)

TCP = 6
UDP = 17

NO_HEADER = -1
"""Used instead of an offset for a datagram without IP and UDP headers, an exported PDU."""
PLAIN_HEADERS = {ETHERNET: 14, LINUX_COOKED: 16, RAW: 0}
"""The octets before the IP header, by link type, where the last two (if any) say what follows."""
MAX_LAYERS = 16
"""The most headers read in a frame, down to the innermost datagram."""

# IPv6 extension headers (RFC 8200 4, RFC 4302).
_EXTENSIONS = (0, 43, 60)
_FRAGMENT = 44
_AUTHENTICATION = 51
_MOST_EXTENSIONS = 16

_u16 = struct.Struct("!H").unpack_from


class Datagram(NamedTuple):
    """A UDP datagram or a TCP segment.

    `protocol` is UDP or TCP. `flow` is source address, destination address, source port and
    destination port as in the packet: 12 octets with IPv4, 36 with IPv6.
    `network` and `transport` are the offsets of the IP and the UDP or TCP header, `start`
    and `end` of the payload; `cut` says that the capture does not have all of it. `layers` are the
    headers around the IP packet that contain its length.
    """

    protocol: int
    flow: bytes
    network: int
    transport: int
    start: int
    end: int
    cut: bool
    layers: tuple[Layer, ...] = ()

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


def find_datagram(link: int, raw: bytes, start: int, end: int) -> Datagram | Fragment | None:
    """Find the datagram, segment or fragment in the frame `raw[start:end]`; None without any.

    `link` is the LINKTYPE number of the frame.
    """
    # The most common frames: IPv4 without options, UDP, in one piece, behind a plain header.
    header = PLAIN_HEADERS.get(link)
    if header is not None and end - start >= header + 28:
        network = start + header
        if link == ETHERNET and raw[start + 12] == 0x81 and raw[start + 13] == 0:
            network += 4  # a tag
        if (
            raw[network] == 0x45
            and (link == RAW or raw[network - 2 : network] == b"\x08\x00")
            and raw[network + 9] == UDP
            and not (raw[network + 6] & 0x3F or raw[network + 7])
            and network + 28 < end
        ):
            transport = network + 20
            length = (raw[network + 24] << 8) | raw[network + 25]
            if (
                length > 8
                and length + 20 == (raw[network + 2] << 8) | raw[network + 3]
                and transport + length <= end
                # No tunnel header begins like media.
                and (
                    raw[network + 28] & 0x80
                    or (
                        raw[network + 22 : network + 24] not in UDP_TUNNELS
                        and raw[network + 20 : network + 22] not in UDP_SERVERS
                    )
                )
            ):
                return tuple.__new__(
                    Datagram,
                    (
                        UDP,
                        raw[network + 12 : network + 24],
                        network,
                        transport,
                        transport + 8,
                        transport + length,
                        False,
                        (),
                    ),
                )
    found = _find(link, raw, start, end)
    return None if isinstance(found, str) else found


def why_unread(link: int, raw: bytes, start: int, end: int) -> str:
    """Say why the frame `raw[start:end]` cannot be read; empty if it can.

    Readable frames without a datagram, such as ARP, also give an empty text.
    """
    found = _find(link, raw, start, end)
    return found if isinstance(found, str) else ""


def _find(link: int, raw: bytes, start: int, end: int) -> Datagram | Fragment | str | None:
    if link == EXPORTED_PDU:
        pdu = read_exported_pdu(raw, start, end)
        if pdu is None:
            return None
        at, flow, _ = pdu
        return Datagram(UDP, flow, NO_HEADER, NO_HEADER, min(at, end), end, at > end)
    step = LINK_TYPES.get(link)
    if step is None:
        return unread_link(link)
    layers: list[Layer] = []
    return _through(raw, step(raw, start, end, layers), layers)


def _through(raw: bytes, place: Found, layers: list[Layer]) -> Datagram | Fragment | str | None:
    """The innermost datagram, segment or fragment; a text names what cannot be read."""
    around: Datagram | None = None
    for _ in range(MAX_LAYERS):
        if place is None or isinstance(place, str):
            break
        kind, at, end = place
        if kind not in (IP, IPV6):
            step = ENCAPSULATIONS.get(kind)
            place = None if step is None or at >= end else step(raw, at, end, layers)
            continue
        packet = _packet(raw, at, end)
        if packet is None or isinstance(packet, Fragment):
            return packet or around
        network = at
        addresses, protocol, at, end, cut = packet
        layers.append(Layer(fix_ipv4 if len(addresses) == 8 else fix_ipv6, network))
        found = _datagram(raw, addresses, protocol, network, at, end, cut, layers[:-1])
        step = _tunnel(raw, protocol, at, found)
        if step is None:
            return found or around
        if found is not None:
            around = found
            layers.append(Layer(fix_udp, at, network))
            at, end = found.start, found.end
        place = step(raw, at, end, layers) if at < end else None
    return place if isinstance(place, str) else around


def _tunnel(raw: bytes, protocol: int, at: int, found: Datagram | None) -> Step | None:
    """The step that reads the payload of an IP packet as another packet."""
    if protocol == UDP:
        if found is None:
            return None
        return UDP_TUNNELS.get(raw[at + 2 : at + 4]) or UDP_SERVERS.get(raw[at : at + 2])
    return IP_TUNNELS.get(protocol)


def datagram_of(
    raw: bytes, addresses: bytes, protocol: int, at: int, end: int
) -> Datagram | Fragment | None:
    """Find what is in the IP payload `raw[at:end]`, which was reassembled from fragments.

    `addresses` are source and destination, 8 or 32 octets.
    """
    found = _datagram(raw, addresses, protocol, at, at, end, cut=False, layers=())
    step = _tunnel(raw, protocol, at, found)
    if step is None:
        return found
    if found is not None:
        at, end = found.start, found.end
    layers: list[Layer] = []
    inner = _through(raw, step(raw, at, end, layers), layers) if at < end else None
    return found if inner is None or isinstance(inner, str) else inner


def _datagram(
    raw: bytes,
    addresses: bytes,
    protocol: int,
    network: int,
    at: int,
    end: int,
    cut: bool,
    layers: Sequence[Layer],
) -> Datagram | None:
    """Find the UDP datagram or TCP segment in the IP payload `raw[at:end]`; None without any."""
    room = end - at
    if protocol == UDP and room >= 8:
        (length,) = _u16(raw, at + 4)
        # 0 is a jumbogram, or a length that the network card would have filled in.
        length = length or room
        if length < 8:
            return None
        stop = at + min(length, room)
        is_cut = cut or length > room
    elif protocol == TCP and room >= 20:
        length = raw[at + 12] >> 4 << 2
        if not 20 <= length <= room:
            return None
        stop, is_cut = end, cut
    else:
        return None
    flow = addresses + raw[at : at + 4]
    begin = at + (8 if protocol == UDP else length)
    return Datagram(protocol, flow, network, at, begin, stop, is_cut, tuple(layers))


_Packet = tuple[bytes, int, int, int, bool]
"""An IP packet: addresses, protocol, start and end of its payload, whether it is cut."""


def _packet(raw: bytes, network: int, end: int) -> _Packet | Fragment | None:
    version = raw[network] >> 4 if network < end else 0
    if version == 4:
        return _ipv4(raw, network, end)
    return _ipv6(raw, network, end) if version == 6 else None


def _ipv4(raw: bytes, network: int, end: int) -> _Packet | Fragment | None:
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
    at = network + header
    if protocol == _AUTHENTICATION:
        if stop - at < 8:
            return None
        protocol, at = raw[at], at + (raw[at + 1] + 2) * 4
    return (addresses, protocol, at, stop, cut) if at <= stop else None


def _ipv6(raw: bytes, network: int, end: int) -> _Packet | Fragment | None:
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
    return (addresses, protocol, at, stop, cut) if at < stop else None
