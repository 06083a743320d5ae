"""Where the two sides of a call send and receive media: addresses, ports, channels.

An end is a short octet string. Its length says what is known:

- 6 or 18: address and port, as `frames.source_of` and `destination_of` give them;
- 2: a port whose address is not known (a host name, or 0.0.0.0 while on hold);
- 4 or 16: an address whose port is not known;
- 8 or 20: a channel of an RTSP connection, see `channel_end`.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from mikeytool.capture.endpoints import channel_of
from mikeytool.capture.sdp import Section

MAX_ENDS = 128
"""The most ends kept for one side."""

Ends = tuple[bytes, ...]


def address_of(text: str) -> bytes:
    """The octets of an IP address; empty for a host name or an unspecified address."""
    try:
        packed = ip_address(text).packed
    except ValueError:
        return b""
    return packed if any(packed) else b""


def end_at(address: bytes | str, port: int) -> bytes:
    """The end at a port and an address, which may be unknown; empty for port 0."""
    if not 0 < port < 1 << 16:
        return b""
    known = address if isinstance(address, bytes) else address_of(address)
    return known + port.to_bytes(2)


def channel_end(connection: bytes, channel: int) -> bytes:
    """The end of a channel interleaved into an RTSP connection (RFC 2326 10.12).

    `connection` is the address and port of this side of the connection.
    """
    return connection + channel_of(channel)


def ends_of(section: Section, bundle: Section | None = None) -> Ends:
    """The ends where the sender of a description receives a medium, RTCP included.

    `bundle` is the medium whose transport it shares (RFC 9143), if it shares one. With rtcp-mux,
    RTCP may arrive on the RTP port; before the answer also on its own port.
    """
    return joined(each for one in (section, bundle) if one is not None for each in _of(one))


def _of(section: Section) -> Iterable[bytes]:
    if not section.port:
        return
    yield end_at(section.address, section.port)
    yield end_at(section.rtcp_address or section.address, section.rtcp_port)
    if section.mux:
        yield end_at(section.address, section.port + 1)
    for address, port in section.candidates:
        if address_of(address):
            yield end_at(address, port)


def joined(ends: Iterable[bytes]) -> Ends:
    """The ends in order, without duplicates and unknown ones."""
    return tuple(dict.fromkeys(filter(None, ends)))[:MAX_ENDS]
