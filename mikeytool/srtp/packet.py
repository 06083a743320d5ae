"""The headers of RTP and RTCP packets, as far as protection needs them (RFC 3550 5.1, 6.4).

Packets come from a network or a file, so every length in them is checked against the octets
present.
"""

from __future__ import annotations

import struct
from collections.abc import Set

from mikeytool.wire.errors import Refused, WireError

RTP_HEADER = 12
RTCP_HEADER = 8
ENCRYPTED = 1 << 31  # the E flag, above the 31 bits of the SRTCP index
TRAILER = 4  # octets of E flag and SRTCP index

# Sequence number and SSRC.
rtp_fields = struct.Struct("!xxHxxxxI").unpack_from
_rtcp_fixed = struct.Struct("!BxxxI").unpack_from


def is_rtcp(packet: bytes) -> bool:
    """Whether the second octet indicates RTCP, on a port shared with RTP (RFC 5761 4)."""
    return len(packet) > 1 and 192 <= packet[1] <= 223


def is_clear_rtcp(packet: bytes) -> bool:
    """Whether RTCP headers follow each other to the very end, as only without protection.

    What SRTCP adds at the end (RFC 3711 3.4) is in no header's length.
    """
    at, size = 0, len(packet)
    while at + 4 <= size and packet[at] >> 6 == 2 and 192 <= packet[at + 1] <= 223:
        at += 4 * (int.from_bytes(packet[at + 2 : at + 4], "big") + 1)
    return at == size > 0


def parse_rtp(packet: bytes) -> tuple[int, int, int]:
    """Return SSRC, sequence number and the length of the header in octets.

    The header includes the CSRC list and the extension; what follows it is encrypted.
    Raises WireError if the version is not 2 or the packet ends inside its header.
    """
    if len(packet) < RTP_HEADER:
        raise _too_short("RTP header", len(packet), RTP_HEADER)
    sequence, ssrc = rtp_fields(packet)
    first = packet[0]
    if first >> 6 != 2:
        raise _wrong_version("RTP header", first)
    length = RTP_HEADER + 4 * (first & 0x0F)
    if first & 0x10:
        words = packet[length + 2 : length + 4]
        length += 4 + 4 * int.from_bytes(words, "big")
    if len(packet) < length:
        raise _too_short("RTP header", len(packet), length)
    return ssrc, sequence, length


def parse_rtcp(packet: bytes) -> int:
    """Return the SSRC in the first header of the compound packet.

    Raises WireError if the version is not 2 or the packet ends inside the header of 8 octets.
    """
    if len(packet) < RTCP_HEADER:
        raise _too_short("RTCP header", len(packet), RTCP_HEADER)
    first, ssrc = _rtcp_fixed(packet)
    if first >> 6 != 2:
        raise _wrong_version("RTCP header", first)
    return int(ssrc)


def check_ssrc(ssrc: int, allowed: Set[int] | None) -> None:
    """Raise Refused if `ssrc` is not among those allowed; None allows all."""
    if allowed is not None and ssrc not in allowed:
        raise Refused(
            f"SSRC 0x{ssrc:08x} is not one of the {len(allowed)} allowed; "
            "allow it or leave its packets out"
        )


def _too_short(what: str, found: int, needed: int) -> WireError:
    return WireError(
        f"the packet ends after {found} octets and this takes at least {needed}; "
        "leave the packet out or capture it whole",
        payload=what,
        offset=found,
    )


def _wrong_version(what: str, first: int) -> WireError:
    return WireError(
        f"version {first >> 6} where RTP and RTCP have 2; leave the packet out",
        payload=what,
        offset=0,
    )
