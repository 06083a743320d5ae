"""Crypto suites: which cipher and lengths go with which name (RFC 4568 6.2, 6188 4, 7714 12).

All lengths are in octets. A suite whose name ends in `_32` shortens the tag of RTP packets
only: RTCP keeps 80 bits, for a forged BYE does more harm than a forged 20 ms of sound.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from mikeytool.wire.errors import UsageError


class Cipher(Enum):
    """What encrypts: AES in a mode (RFC 3711 4.1.1, 4.1.2, RFC 7714), or nothing (4.1.3)."""

    AES_CM = "AES-CM"
    AES_F8 = "AES-F8"
    AES_GCM = "AES-GCM"
    NULL = "NULL"


@dataclass(frozen=True)
class Suite:
    """A cipher and lengths in octets; `name` is the one that SDP uses (RFC 4568 6.2).

    AES-GCM authenticates too: with it the tags are its own, and `auth_key_length` is 0.
    """

    name: str
    key_length: int
    salt_length: int
    rtp_tag_length: int
    rtcp_tag_length: int
    auth_key_length: int = 20
    cipher: Cipher = Cipher.AES_CM


SUITES: dict[str, Suite] = {
    each.name: each
    for each in (
        Suite("AES_CM_128_HMAC_SHA1_80", 16, 14, 10, 10),
        Suite("AES_CM_128_HMAC_SHA1_32", 16, 14, 4, 10),
        Suite("F8_128_HMAC_SHA1_80", 16, 14, 10, 10, cipher=Cipher.AES_F8),
        Suite("AES_192_CM_HMAC_SHA1_80", 24, 14, 10, 10),
        Suite("AES_192_CM_HMAC_SHA1_32", 24, 14, 4, 10),
        Suite("AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10),
        Suite("AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10),
        Suite("AEAD_AES_128_GCM", 16, 12, 16, 16, 0, Cipher.AES_GCM),
        Suite("AEAD_AES_256_GCM", 32, 12, 16, 16, 0, Cipher.AES_GCM),
        Suite("NULL_HMAC_SHA1_80", 16, 14, 10, 10, cipher=Cipher.NULL),
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
