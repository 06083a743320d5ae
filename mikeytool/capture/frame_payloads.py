"""Replaces the payload of a datagram or segment in a frame, and corrects lengths and checksums."""

from __future__ import annotations

import struct

from mikeytool.capture.frames import NO_HEADER, TCP, UDP, Datagram
from mikeytool.capture.layers import (
    Layer,
    checksum,
    enclose,
    fix_ipv4,
    fix_ipv6,
    fix_tcp,
    fix_udp,
    words_sum,
)
from mikeytool.wire.errors import WireError

_LONGEST = 0xFFFF  # octets of an IPv4 packet, or behind an IPv6 header
_two_u16 = struct.Struct("!HH")


def with_octets(raw: bytes, start: int, end: int, found: Datagram, octets: bytes) -> bytes:
    """Replace the payload of a TCP segment in `raw[start:end]` with as many other octets.

    The checksum is corrected. Raises WireError if the capture does not have all of it.
    """
    if found.cut or len(octets) != found.end - found.start:
        raise WireError("the capture does not have the whole segment")
    at = found.transport
    segment = raw[at : at + 16] + b"\0\0" + raw[at + 18 : found.start] + octets
    pseudo = int.from_bytes(found.flow[:-4], "big") + TCP + len(segment)
    head = raw[start : at + 16] + checksum(segment, pseudo).to_bytes(2, "big")
    frame = head + raw[at + 18 : found.start] + octets
    return enclose(frame, start, found.layers) if found.layers else frame + raw[found.end : end]


def with_segment(raw: bytes, start: int, found: Datagram, skip: int, octets: bytes) -> bytes:
    """Reduce the TCP segment of a frame to a part of its payload, from octet `skip` on.

    The frame begins at `raw[start]`. Sequence number, lengths and checksums are corrected.
    """
    at = found.transport
    seq = (int.from_bytes(raw[at + 4 : at + 8]) + skip) % (1 << 32)
    frame = raw[start : at + 4] + seq.to_bytes(4) + raw[at + 8 : found.start] + octets
    ip = Layer(fix_ipv4 if len(found.flow) == 12 else fix_ipv6, found.network)
    return enclose(frame, start, (*found.layers, ip, Layer(fix_tcp, at, found.network)))


def as_datagram(raw: bytes, start: int, found: Datagram, flow: bytes, payload: bytes) -> bytes:
    """Replace the datagram or segment in a frame with a UDP datagram of a flow.

    Everything around the IP packet stays. If the flow has another IP version, it is ignored, and
    the datagram keeps the ends of the packet that it replaces. Raises WireError if the payload is
    too long.
    """
    if len(flow) != len(found.flow):
        flow = found.flow
    if found.network == NO_HEADER:
        return raw[start : found.start] + payload
    size = 8 + len(payload)
    if size + 40 > _LONGEST:
        raise WireError(f"a packet of {size} octets is longer than an IP packet can be")
    addresses, ports = flow[:-4], flow[-4:]
    if len(flow) == 12:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 1, 0, 0x4000, 64, UDP, 0) + addresses
        ip = Layer(fix_ipv4, found.network)
    else:
        head = struct.pack("!IHBB", 6 << 28, 1, UDP, 64) + addresses
        ip = Layer(fix_ipv6, found.network)
    frame = raw[start : found.network] + head + ports + _two_u16.pack(size, 0xFFFF) + payload
    udp = Layer(fix_udp, found.network + len(head), found.network)
    return enclose(frame, start, (*found.layers, ip, udp))


def with_payload(raw: bytes, start: int, found: Datagram, payload: bytes) -> bytes:
    """Replace the UDP payload of `found` in the frame that begins at `raw[start]`.

    Lengths and checksums of IP and UDP are corrected; in IPv4 a UDP checksum of 0, which means
    none, is kept. What follows the IP packet in the frame (padding, a frame check sequence)
    is left out.

    Raises WireError if the capture does not have the whole datagram, if it is not UDP, or if the
    packet would be too long for IP.
    """
    protocol, flow, network, transport, payload_at, _, cut, layers = found
    if protocol != UDP:
        raise WireError("the payload of TCP cannot be replaced")
    if cut:
        raise WireError("the capture does not have the whole packet; capture with a longer snaplen")
    if network == NO_HEADER:
        return raw[start:payload_at] + payload
    length = 8 + len(payload)
    v4 = len(flow) == 12
    ahead = transport - network - (0 if v4 else 40)  # octets that count in addition to UDP's
    if ahead + length > _LONGEST:
        raise WireError(f"a packet of {ahead + length} octets is longer than an IP packet can be")
    ports = raw[transport : transport + 4]
    if v4:
        head = raw[start : network + 2] + (ahead + length).to_bytes(2, "big")
        behind = raw[network + 12 : transport]
        options = behind[: (raw[network] & 0x0F) * 4 - 12]  # an authentication header may follow
        middle = raw[network + 4 : network + 10]
        words = int.from_bytes(head[network - start :] + middle + options, "big")
        head += middle + (-words % 0xFFFF).to_bytes(2, "big") + behind
        if raw[transport + 6 : payload_at] == b"\0\0":
            frame = head + ports + _two_u16.pack(length, 0) + payload
            return enclose(frame, start, layers) if layers else frame
    else:
        head = raw[start : network + 4] + (ahead + length).to_bytes(2, "big")
        head += raw[network + 6 : transport]
    # The pseudo header has the length once more.
    total = -(words_sum(payload) + words_sum(flow) + UDP + 2 * length) % 0xFFFF
    frame = head + ports + _two_u16.pack(length, total or 0xFFFF) + payload
    return enclose(frame, start, layers) if layers else frame
