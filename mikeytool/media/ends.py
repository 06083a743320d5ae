"""Where the two sides of a call send media from and take it: addresses, ports, channels.

An end is a few octets, whose length says what is known of it:

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

MAX_ENDS = 64
"""Ends of one side that are kept."""

Ends = tuple[bytes, ...]


def address_of(text: str) -> bytes:
    """The octets of an IP address; none for a host name or an unspecified address."""
    try:
        packed = ip_address(text).packed
    except ValueError:
        return b""
    return packed if any(packed) else b""


def end_at(address: bytes | str, port: int) -> bytes:
    """The end at an address, which may be unknown, and a port; none for port 0."""
    if not 0 < port < 1 << 16:
        return b""
    known = address if isinstance(address, bytes) else address_of(address)
    return known + port.to_bytes(2)


def channel_end(connection: bytes, channel: int) -> bytes:
    """The end of a channel interleaved into an RTSP connection (RFC 2326 10.12).

    `connection` is address and port of the side at this end of the connection.
    """
    return connection + channel_of(channel)


def ends_of(section: Section, bundle: Section | None = None) -> Ends:
    """The ends where the sender of a description takes a medium, RTCP included.

    `bundle` is the medium whose transport it shares (RFC 9143), if it shares one. With
    rtcp-mux RTCP may come on the port of RTP, and before the answer on its own as well.
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
    """Ends in order, each once and no unknown ones."""
    return tuple(dict.fromkeys(filter(None, ends)))[:MAX_ENDS]
