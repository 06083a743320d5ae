"""Crypto suites: which lengths go with which name (RFC 4568 6.2, RFC 6188 4).

All lengths are in octets. A suite whose name ends in `_32` shortens the tag of RTP packets
only: RTCP keeps 80 bits, for a forged BYE does more harm than a forged 20 ms of sound.
"""

from __future__ import annotations

from dataclasses import dataclass

from mikeytool.wire.errors import UsageError


@dataclass(frozen=True)
class Suite:
    """A named set of lengths in octets; `name` is the one that SDP uses (RFC 4568 6.2)."""

    name: str
    key_length: int
    salt_length: int
    rtp_tag_length: int
    rtcp_tag_length: int
    auth_key_length: int = 20


SUITES: dict[str, Suite] = {
    each.name: each
    for each in (
        Suite("AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10),
        Suite("AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10),
        Suite("AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10),
        Suite("AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10),
    )
}


def suite(name: str) -> Suite:
    """Return the suite of that exact name.

    Raises UsageError, which lists the names known, for any other.
    """
    try:
        return SUITES[name]
    except KeyError:
        raise UsageError(f"unknown suite {name!r}; choose one of {', '.join(SUITES)}") from None
