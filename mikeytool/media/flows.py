"""Which packets of a capture are media, and which flows the options choose."""

from __future__ import annotations

import re
from collections.abc import Sequence
from ipaddress import ip_address
from typing import NamedTuple

from mikeytool.capture.frames import destination_of, source_of
from mikeytool.wire.errors import UsageError

_FLOW = re.compile(r"(.+):(\d{1,5})>(.+):(\d{1,5})")
_MAGIC_COOKIE = b"\x21\x12\xa4\x42"
LOWEST_PORT = 1024
"""No media below it: what is there and begins like RTP is DNS and the like."""

# RFC 7983 7: what the first octet says on a port that several protocols share.
_PROTOCOLS = ((range(0, 4), "STUN"), (range(16, 20), "ZRTP"), (range(20, 64), "DTLS"),
              (range(64, 80), "TURN"))  # fmt: skip


def other_protocol(first: int) -> str:
    """What a packet that is neither RTP nor RTCP is, by its first octet (RFC 7983 7)."""
    return next((name for octets, name in _PROTOCOLS if first in octets), "other")


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
    """What `--port` and `--flow` choose; without either, all flows.

    A port is that of either end; a flow is a pair of source and destination, each an address
    of 4 or 16 octets and a port of 2.
    """

    ports: frozenset[bytes]
    flows: frozenset[tuple[bytes, bytes]]

    @classmethod
    def of(cls, ports: Sequence[int], flows: Sequence[str]) -> FlowFilter:
        """The filter that the options ask for; raises UsageError."""
        return cls(frozenset(p.to_bytes(2) for p in ports), frozenset(map(_flow, flows)))

    @property
    def chooses(self) -> bool:
        """Whether some flows are chosen rather than all."""
        return bool(self.ports or self.flows)

    def accepts(self, flow: bytes) -> bool:
        """Whether a flow (see `capture.frames.Datagram`) is chosen; one without addresses is."""
        if not flow:
            return True
        if not self.chooses:
            return flow[-4:-2] >= _LOWEST and flow[-2:] >= _LOWEST
        return (
            flow[-4:-2] in self.ports
            or flow[-2:] in self.ports
            or (source_of(flow), destination_of(flow)) in self.flows
        )


_LOWEST = LOWEST_PORT.to_bytes(2)


def _flow(text: str) -> tuple[bytes, bytes]:
    match = _FLOW.fullmatch(text.replace(" ", ""))
    if match is None:
        raise UsageError(f"--flow {text}: SRC:PORT>DST:PORT is expected, in quotes")
    source, destination = (_end(text, match[n], match[n + 1]) for n in (1, 3))
    if len(source) != len(destination):
        raise UsageError(f"--flow {text}: one end has IPv4, the other IPv6")
    return source, destination


def _end(text: str, address: str, port: str) -> bytes:
    try:
        return ip_address(address.strip("[]")).packed + int(port).to_bytes(2)
    except (ValueError, OverflowError):
        raise UsageError(
            f"--flow {text}: {address}:{port} is no address and port; an IPv6 address goes into []"
        ) from None
