"""Packets that a TURN server relays: ChannelData, Send and Data indications (RFC 8656).

    relayed = Turn().read(flow, payload)

is the flow and the packet inside, or None. The ends of the flow are the client and the peer if TURN
names the peer, in an indication or in an earlier ChannelBind request; otherwise they are the ends
of the datagram.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from mikeytool.capture.endpoints import destination_of, flow_between, source_of

COOKIE = b"\x21\x12\xa4\x42"
"""The magic cookie of STUN (RFC 8489 5), in octets 4 to 7 of a message."""
STUN_HEADER = 20
MAX_BINDINGS = 1 << 14
_CHANNEL_BIND, _SEND, _DATA = 0x0009, 0x0016, 0x0017
_CHANNEL_NUMBER, _XOR_PEER_ADDRESS, _DATA_ATTRIBUTE = 0x000C, 0x0012, 0x0013
_XOR_RELAYED_ADDRESS, _XOR_MAPPED_ADDRESS = 0x0016, 0x0020
_BOUND, _ALLOCATED = b"\x01\x01", b"\x01\x03"  # success responses
_MOST_ENDS = 4
_CHANNELS = range(0x40, 0x50)  # first octets
_MOST_ATTRIBUTES = 32
_two_u16 = struct.Struct("!HH").unpack_from


class Turn:
    """Reads the packets between TURN clients and servers, and remembers channels."""

    def __init__(self) -> None:
        self._peers: dict[tuple[bytes, bytes, int], bytes] = {}

    def read(self, flow: bytes, data: bytes) -> tuple[bytes, bytes] | None:
        """The flow and the packet that a datagram, or a message in a stream, relays."""
        if not data or data[0] >= 0x50:
            return None
        if data[0] in _CHANNELS:
            return self._channel_data(flow, data)
        if not is_stun(data):
            return None
        kind, _ = _two_u16(data)
        if kind not in (_CHANNEL_BIND, _SEND, _DATA):
            return None
        found = dict(_attributes(data))
        peer = _address(found.get(_XOR_PEER_ADDRESS, b""), data)
        if kind == _CHANNEL_BIND:
            self._bind(flow, found.get(_CHANNEL_NUMBER, b""), peer)
            return None
        packet = found.get(_DATA_ATTRIBUTE)
        if packet is None:
            return None
        source, destination = source_of(flow), destination_of(flow)
        ends = (source, peer) if kind == _SEND else (peer, destination)
        return flow_between(*ends) or flow, packet

    def _channel_data(self, flow: bytes, data: bytes) -> tuple[bytes, bytes] | None:
        if len(data) < 4:
            return None
        channel, length = _two_u16(data)
        if not length <= len(data) - 4 < length + 4:
            return None
        source, destination = source_of(flow), destination_of(flow)
        relayed = b""
        if (peer := self._peers.get((source, destination, channel))) is not None:
            relayed = flow_between(source, peer)
        elif (peer := self._peers.get((destination, source, channel))) is not None:
            relayed = flow_between(peer, destination)
        return relayed or flow, data[4 : 4 + length]

    def _bind(self, flow: bytes, number: bytes, peer: bytes) -> None:
        if len(number) == 4 and peer and len(self._peers) < MAX_BINDINGS:
            key = source_of(flow), destination_of(flow), int.from_bytes(number[:2])
            self._peers[key] = peer


class OtherAddresses:
    """By what addresses others know an end: those that STUN and TURN servers tell it.

    These are the address that a NAT gives it (XOR-MAPPED-ADDRESS, RFC 8489 14.2) and the one
    allocated for it on a relay (XOR-RELAYED-ADDRESS, RFC 8656 18.5).
    """

    def __init__(self) -> None:
        self._known: dict[bytes, list[bytes]] = {}

    def add(self, flow: bytes, data: bytes) -> None:
        """Take a datagram, or the beginning of a segment."""
        if not is_stun(data) or data[:2] not in (_BOUND, _ALLOCATED):
            return
        end = destination_of(flow)
        for kind, value in _attributes(data):
            if kind in (_XOR_MAPPED_ADDRESS, _XOR_RELAYED_ADDRESS):
                ends = self._known.get(other := _address(value, data))
                if ends is None and other and len(self._known) < MAX_BINDINGS:
                    ends = self._known[other] = []
                if ends is not None and end not in (other, *ends) and len(ends) < _MOST_ENDS:
                    ends.append(end)

    def ends_behind(self, ends: tuple[bytes, ...]) -> tuple[bytes, ...]:
        """The ends that others know by one of these."""
        known = self._known
        return tuple(behind for end in ends for behind in known.get(end, ())) if known else ()


def is_stun(data: bytes) -> bool:
    """Whether octets begin like a STUN message."""
    return len(data) >= STUN_HEADER and data[0] < 4 and data[4:8] == COOKIE


def is_channel_data(data: bytes) -> bool:
    """Whether a datagram is ChannelData, by its length."""
    return (
        len(data) >= 4
        and data[0] in _CHANNELS
        and int.from_bytes(data[2:4]) <= len(data) - 4 < int.from_bytes(data[2:4]) + 4
    )


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = STUN_HEADER
    for _ in range(_MOST_ATTRIBUTES):
        if len(data) - at < 4:
            return
        kind, length = _two_u16(data, at)
        yield kind, data[at + 4 : at + 4 + length]
        at += 4 + length + -length % 4


def _address(value: bytes, message: bytes) -> bytes:
    """Address and port of an XOR-PEER-ADDRESS (RFC 8489 14.2); empty if it has none."""
    size = {1: 4, 2: 16}.get(value[1]) if len(value) > 1 else None
    if size is None or len(value) != 4 + size:
        return b""
    masked = value[4:] + value[2:4]
    mask = message[4 : 4 + size] + COOKIE[:2]
    return bytes(a ^ b for a, b in zip(masked, mask, strict=True))
