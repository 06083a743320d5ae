"""Frames and capture files, laid out by hand as the standards have them."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from ipaddress import ip_address

SOURCE, DESTINATION = "192.0.2.1", "198.51.100.2"
SOURCE_6, DESTINATION_6 = "2001:db8::1", "2001:db8::2"
MACS = bytes.fromhex("020000000001020000000002")


def checksum(data: bytes) -> int:
    """RFC 1071 4.1, word by word."""
    total = 0
    for at in range(0, len(data), 2):
        total += int.from_bytes(data[at : at + 2].ljust(2, b"\0"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total ^ 0xFFFF


def packed(*addresses: str) -> bytes:
    return b"".join(ip_address(each).packed for each in addresses)


def udp(
    payload: bytes, addresses: bytes, ports: tuple[int, int] = (5004, 5006), *, summed: bool = True
) -> bytes:
    """A UDP datagram (RFC 768); without checksum unless `summed`."""
    length = 8 + len(payload)
    header = struct.pack("!HHHH", *ports, length, 0)
    if not summed:
        return header + payload
    pseudo = addresses + struct.pack("!IHBB", length, 0, 0, 17)
    total = checksum(pseudo + header + payload) or 0xFFFF
    return header[:6] + struct.pack("!H", total) + payload


def ipv4(
    payload: bytes,
    *,
    addresses: tuple[str, str] = (SOURCE, DESTINATION),
    protocol: int = 17,
    options: bytes = b"",
    ident: int = 7,
    place: int = 0,
) -> bytes:
    """An IPv4 packet (RFC 791); `place` are flags and fragment offset."""
    first = 0x45 + len(options) // 4
    total = 20 + len(options) + len(payload)
    header = struct.pack("!BBHHHBBH", first, 0, total, ident, place, 64, protocol, 0)
    header += packed(*addresses) + options
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def ipv6(
    payload: bytes,
    *,
    addresses: tuple[str, str] = (SOURCE_6, DESTINATION_6),
    protocol: int = 17,
    extensions: bytes = b"",
    first: int | None = None,
) -> bytes:
    """An IPv6 packet (RFC 8200); `first` is the number of the first extension header."""
    header = struct.pack("!IHBB", 0x60000000, len(extensions) + len(payload),
                         protocol if first is None else first, 64)  # fmt: skip
    return header + packed(*addresses) + extensions + payload


def ethernet(payload: bytes, kind: int, tags: tuple[int, ...] = ()) -> bytes:
    """An Ethernet frame; `tags` are the types of VLAN tags, each of VLAN 5."""
    return (
        MACS
        + b"".join(struct.pack("!HH", tag, 5) for tag in tags)
        + struct.pack("!H", kind)
        + payload
    )


def udp_frame(payload: bytes, ports: tuple[int, int] = (5004, 5006)) -> bytes:
    """Ethernet, IPv4, UDP."""
    return ethernet(ipv4(udp(payload, packed(SOURCE, DESTINATION), ports)), 0x0800)


def pcap(
    frames: Iterable[bytes], *, order: str = "<", nanoseconds: bool = False, link: int = 1,
    snaplen: int = 65535, wire: int = 0,
) -> bytes:  # fmt: skip
    """A pcap file; `wire` is added to the length that each packet had."""
    magic = 0xA1B23C4D if nanoseconds else 0xA1B2C3D4
    out = [struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, snaplen, link)]
    for number, frame in enumerate(frames):
        fraction = number * (1000 if nanoseconds else 1)
        head = struct.pack(f"{order}IIII", 1000, fraction, len(frame), len(frame) + wire)
        out += [head, frame]
    return b"".join(out)


def block(kind: int, body: bytes, order: str = "<") -> bytes:
    """A pcapng block."""
    body += bytes(-len(body) % 4)
    length = struct.pack(f"{order}I", len(body) + 12)
    return struct.pack(f"{order}I", kind) + length + body + length


def option(code: int, value: bytes, order: str = "<") -> bytes:
    """A pcapng option."""
    return struct.pack(f"{order}HH", code, len(value)) + value + bytes(-len(value) % 4)


def section(order: str = "<", length: int = -1, options: bytes = b"") -> bytes:
    """A Section Header Block."""
    return block(0x0A0D0D0A, struct.pack(f"{order}IHHq", 0x1A2B3C4D, 1, 0, length) + options, order)


def interface(link: int = 1, options: bytes = b"", order: str = "<", snaplen: int = 0) -> bytes:
    """An Interface Description Block."""
    return block(1, struct.pack(f"{order}HHI", link, 0, snaplen) + options, order)


def enhanced(
    frame: bytes, ticks: int = 0, which: int = 0, options: bytes = b"", order: str = "<",
    wire: int | None = None,
) -> bytes:  # fmt: skip
    """An Enhanced Packet Block."""
    head = struct.pack(
        f"{order}IIIII", which, ticks >> 32, ticks & 0xFFFFFFFF, len(frame),
        len(frame) if wire is None else wire,
    )  # fmt: skip
    return block(6, head + frame + bytes(-len(frame) % 4) + options, order)


def simple(frame: bytes, order: str = "<", wire: int | None = None) -> bytes:
    """A Simple Packet Block."""
    return block(3, struct.pack(f"{order}I", len(frame) if wire is None else wire) + frame, order)


def old_packet(frame: bytes, ticks: int = 0, which: int = 0, order: str = "<") -> bytes:
    """A Packet Block, which is obsolete."""
    head = struct.pack(
        f"{order}HHIIII", which, 0xFFFF, ticks >> 32, ticks & 0xFFFFFFFF, len(frame), len(frame)
    )
    return block(2, head + frame, order)


def many_links(frames: list[tuple[int, bytes]]) -> bytes:
    """A capture (pcapng) of frames, each with its link type."""
    links = sorted({link for link, _ in frames})
    packets = [enhanced(frame, which=links.index(link)) for link, frame in frames]
    return section() + b"".join(map(interface, links)) + b"".join(packets)
