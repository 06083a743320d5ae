"""Flows: the addresses and ports of a packet, as octets.

A flow is source address, destination address, source port and destination port, 12 octets with
IPv4 and 36 with IPv6, as IP, UDP and TCP have them. Packets on a channel of an RTSP connection
(RFC 2326 10.12) have a flow with two more octets, `$` and the channel.

An end is one side of a flow: address, port, and the channel if there is one.
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address

_CHANNEL = b"$"


def source_of(flow: bytes) -> bytes:
    """The end that sends in a flow."""
    if len(flow) < 32:
        return flow[:4] + flow[8:10] + flow[12:]
    return flow[:16] + flow[32:34] + flow[36:]


def destination_of(flow: bytes) -> bytes:
    """The end that receives in a flow."""
    if len(flow) < 32:
        return flow[4:8] + flow[10:12] + flow[12:]
    return flow[16:32] + flow[34:36] + flow[36:]


def flow_between(source: bytes, destination: bytes) -> bytes:
    """The flow between two ends without channels; empty if their IP versions differ."""
    if len(source) != len(destination):
        return b""
    return source[:-2] + destination[:-2] + source[-2:] + destination[-2:]


def channel_flow(connection: bytes, channel: int) -> bytes:
    """The flow of a channel of an RTSP connection."""
    return connection + channel_of(channel)


def channel_of(channel: int) -> bytes:
    """What a channel adds to a flow, and to an end."""
    return _CHANNEL + bytes([channel])


def has_channel(flow: bytes) -> bool:
    """Whether a flow belongs to a channel."""
    return len(flow) in (14, 38)


def without_channel(flow: bytes) -> bytes:
    """The flow of the connection that a channel is in."""
    return flow[:-2] if has_channel(flow) else flow


@lru_cache(4096)
def endpoint(end: bytes) -> str:
    """Write an end as text, `192.0.2.1:5004`, `[2001:db8::1]:554 channel 0`."""
    if len(end) in (8, 20):
        return f"{endpoint(end[:-2])} channel {end[-1]}"
    address, port = end[:-2], int.from_bytes(end[-2:], "big")
    if len(address) == 4:
        return f"{IPv4Address(address)}:{port}"
    return f"[{IPv6Address(address)}]:{port}"
