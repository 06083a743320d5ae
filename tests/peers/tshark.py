"""MIKEY messages as Wireshark's dissector reads them."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from tests.peers.programs import need, run

MIKEY_PORT = 2269
_HEADERS = 28
"""Octets of IPv4 and UDP before the message."""
_RAW_IP = 101
"""LINKTYPE_RAW: a packet starts with its IP header."""


def pcap(messages: list[bytes]) -> bytes:
    """A capture with a UDP packet for each message."""
    packets = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, _RAW_IP)]
    addresses = bytes([192, 0, 2, 1, 192, 0, 2, 2])
    for message in messages:
        length = _HEADERS + len(message)
        ip = struct.pack(">BBHHHBBH", 0x45, 0, length, 0, 0, 64, 17, 0) + addresses
        udp = struct.pack(">HHHH", MIKEY_PORT, MIKEY_PORT, length - 20, 0)
        packets += [struct.pack("<IIII", 0, 0, length, length), ip, udp, message]
    return b"".join(packets)


@dataclass(frozen=True)
class Seen:
    """A field that tshark shows; `offset` counts from the start of the message."""

    name: str
    offset: int
    size: int
    show: str
    octets: str
    fields: tuple[Seen, ...]

    @classmethod
    def of(cls, element: ElementTree.Element) -> Seen:
        return cls(
            element.get("name", ""),
            int(element.get("pos", "0")) - _HEADERS,
            int(element.get("size", "0")),
            element.get("show", ""),
            element.get("value", ""),
            tuple(cls.of(inner) for inner in element.findall("field")),
        )

    def all(self, name: str) -> Iterator[Seen]:
        """Every field of that name in this one."""
        for inner in self.fields:
            if inner.name == name:
                yield inner
            yield from inner.all(name)

    def one(self, name: str) -> Seen:
        """The only field of that name directly in this one."""
        (found,) = (inner for inner in self.fields if inner.name == name)
        return found

    @property
    def number(self) -> int:
        return int(self.show, 0)

    @property
    def unix_ns(self) -> int:
        """A moment such as `May 28, 2026 23:33:28.121666844 UTC`, in nanoseconds."""
        moment, fraction = self.show.removesuffix(" UTC").split(".")
        parsed = datetime.strptime(moment, "%b %d, %Y %H:%M:%S").replace(tzinfo=UTC)
        return int(parsed.timestamp()) * 1_000_000_000 + int(fraction)


def dissect(messages: list[bytes], folder: Path) -> list[Seen]:
    """What tshark makes of each message."""
    program = need("tshark")
    capture = folder / "messages.pcap"
    capture.write_bytes(pcap(messages))
    printed = run([program, "-r", str(capture), "-T", "pdml"])
    packets = ElementTree.fromstring(printed).findall("packet")
    return [Seen.of(p) for packet in packets for p in packet.findall("proto[@name='mikey']")]
