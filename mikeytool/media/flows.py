"""Which packets of a capture are media, and which flows are processed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from mikeytool.capture.endpoints import destination_of, has_channel, source_of, without_channel
from mikeytool.capture.turn import is_channel_data
from mikeytool.wire.errors import UsageError

_MAGIC_COOKIE = b"\x21\x12\xa4\x42"
LOWEST_PORT = 1024
"""The lowest media port. Packets on lower ports that look like RTP are DNS and the like."""
_LOWEST = LOWEST_PORT.to_bytes(2)

# RFC 7983 7: what the first octet says on a port that several protocols share.
_PROTOCOLS = ((range(0, 4), "STUN"), (range(16, 20), "ZRTP"), (range(20, 64), "DTLS"))
_TEXTS = (b"SIP/", b"RTSP/", b"HTTP/")
_MOST_CONNECTIONS = 4096

_FLOW = re.compile(r"(.+):(\d{1,5})>(.+):(\d{1,5})")

Endpoint = tuple[str, int]
"""An IP address and a port."""


def other_protocol(packet: bytes) -> str:
    """The protocol of a packet that is neither RTP nor RTCP; "other" for those not known."""
    if not packet:
        return "other"
    first = packet[0]
    # Imported here: most captures have only media.
    from mikeytool.capture.carrier import START

    line = START.match(packet.lstrip(b"\r\n"))
    if line is not None:
        return next(name[:-1].decode() for name in _TEXTS if name in line[0])
    if is_channel_data(packet):
        return "TURN"
    if 20 <= first < 24 and packet[1:2] == b"\x03" and packet[2:3] <= b"\x04":
        return "TLS"
    return next((name for octets, name in _PROTOCOLS if first in octets), "other")


class TcpProtocols:
    """The protocols of TCP segments; a segment has the last protocol recognized in its flow."""

    def __init__(self) -> None:
        self._known: dict[bytes, str] = {}

    def of(self, flow: bytes, payload: bytes) -> str:
        """The protocol of a segment; "other" if unknown."""
        name = other_protocol(payload)
        if name not in ("SIP", "RTSP", "HTTP", "TLS"):
            return self._known.get(flow, "other")
        if len(self._known) < _MOST_CONNECTIONS:
            self._known[flow] = name
        return name


def is_other_protocol(packet: bytes) -> bool:
    """Whether a packet is STUN, ZRTP or DTLS beyond doubt."""
    return (
        (packet[0] < 4 and packet[4:8] == _MAGIC_COOKIE)
        or (packet[0] & 0xFC == 16 and packet[4:8] == b"ZRTP")
        or (20 <= packet[0] < 64 and packet[1:2] == b"\xfe" and len(packet) >= 13)
        if packet
        else False
    )


class FlowFilter(NamedTuple):
    """The flows to process: the flows listed and those with a listed port, or else all.

    A port matches either end. A flow is a pair of source and destination, each an address
    of 4 or 16 octets and a port of 2; `FlowFilter.of` makes them from text.
    """

    ports: frozenset[bytes] = frozenset()
    flows: frozenset[tuple[bytes, bytes]] = frozenset()

    @classmethod
    def of(
        cls, ports: Iterable[int] = (), flows: Iterable[tuple[Endpoint, Endpoint]] = ()
    ) -> FlowFilter:
        """Choose by ports, and by the source and the destination of flows.

        Raises UsageError for an invalid IP address or port.
        """
        return cls(
            frozenset(map(_packed_port, ports)),
            frozenset((_packed(source), _packed(destination)) for source, destination in flows),
        )

    @property
    def chooses(self) -> bool:
        """Whether some flows are chosen rather than all."""
        return bool(self.ports or self.flows)

    def accepts(self, flow: bytes) -> bool:
        """Whether a flow (see `capture.endpoints`) is chosen; one without addresses always is."""
        if not flow or (has_channel(flow) and not self.chooses):
            return True
        flow = without_channel(flow)
        if not self.chooses:
            return flow[-4:-2] >= _LOWEST and flow[-2:] >= _LOWEST
        return (
            flow[-4:-2] in self.ports
            or flow[-2:] in self.ports
            or (source_of(flow), destination_of(flow)) in self.flows
        )


def _packed(endpoint: Endpoint) -> bytes:
    address, port = endpoint
    try:
        return ip_address(address).packed + _packed_port(port)
    except ValueError:
        raise UsageError(f"{address} is no IP address") from None


def _packed_port(port: int) -> bytes:
    if not 0 <= port < 1 << 16:
        raise UsageError(f"{port} is no port")
    return port.to_bytes(2)


def parse_flow(text: str) -> tuple[Endpoint, Endpoint]:
    """The source and the destination of a `--flow`; raises UsageError."""
    match = _FLOW.fullmatch(text.replace(" ", ""))
    if match is None:
        raise UsageError(f"--flow {text}: SRC:PORT>DST:PORT is expected, in quotes")
    (source, version), (destination, other) = (_end(text, match[n], match[n + 1]) for n in (1, 3))
    if version != other:
        raise UsageError(f"--flow {text}: one end has IPv4, the other IPv6")
    return source, destination


def _end(text: str, address: str, port: str) -> tuple[Endpoint, int]:
    try:
        found = ip_address(address.strip("[]"))
        int(port).to_bytes(2)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--flow {text}: {address}:{port} is no address and port; an IPv6 address goes into []"
        ) from None
    return (str(found), int(port)), found.version
