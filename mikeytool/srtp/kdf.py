"""Derives session keys from a master key (RFC 3711 4.3; RFC 6188 3 for 192 and 256 bits).

AES in counter mode derives the keys of every suite: once, before the first packet, or again at
each packet index that is a multiple of the key derivation rate.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from mikeytool.srtp.suites import RTCP_AUTH_KEY, Suite
from mikeytool.wire.masked_repr import masked_repr


class Label(IntEnum):
    """The use of a derived key (RFC 3711 4.3.1 and 4.3.2)."""

    RTP_ENCRYPTION = 0
    RTP_AUTHENTICATION = 1
    RTP_SALT = 2
    RTCP_ENCRYPTION = 3
    RTCP_AUTHENTICATION = 4
    RTCP_SALT = 5


@masked_repr
@dataclass(frozen=True)
class SessionKeys:
    """k_e, k_a and k_s of one direction of RTP, or of RTCP; printing it masks them.

    k_a is empty for AES-GCM, which has no separate key for authentication.
    """

    encryption: bytes = field(repr=False)
    authentication: bytes = field(repr=False)
    salt: bytes = field(repr=False)


def derive(master_key: bytes, master_salt: bytes, label: int, length: int, r: int = 0) -> bytes:
    """Return `length` octets of AES-CM PRF output for `label` (RFC 3711 4.3.1, 4.3.3).

    `master_key` has 16, 24 or 32 octets, which picks AES-128, AES-192 or AES-256.
    `master_salt` has 14, or 12 with AES-GCM, to which zeros are appended (RFC 7714 11 does not say
    where; this is common practice). `r` is the packet index divided by the key derivation rate, in
    48 bits. The SRTCP value has 32 bits and is padded with leading zeros (4.3.2), so that the label
    is in the same octet for both.
    """
    x = int.from_bytes(master_salt.ljust(14, b"\0"), "big") ^ label << 48 ^ r
    start = x.to_bytes(14, "big") + bytes(2)
    return Cipher(AES(master_key), CTR(start)).encryptor().update(bytes(length))


def rtp_keys(suite: Suite, master_key: bytes, master_salt: bytes, r: int = 0) -> SessionKeys:
    """Return the session keys that protect RTP packets, with the lengths of `suite`."""
    return SessionKeys(
        derive(master_key, master_salt, Label.RTP_ENCRYPTION, suite.key_length, r),
        derive(master_key, master_salt, Label.RTP_AUTHENTICATION, suite.auth_key_length, r),
        derive(master_key, master_salt, Label.RTP_SALT, suite.salt_length, r),
    )


def rtcp_keys(suite: Suite, master_key: bytes, master_salt: bytes, r: int = 0) -> SessionKeys:
    """Return the session keys that protect RTCP packets, with the lengths of `suite`."""
    # The HMAC-SHA1 key of SRTCP is never shorter than usual (RFC 3711 5.2).
    length = max(suite.auth_key_length, RTCP_AUTH_KEY) if suite.auth_key_length else 0
    return SessionKeys(
        derive(master_key, master_salt, Label.RTCP_ENCRYPTION, suite.key_length, r),
        derive(master_key, master_salt, Label.RTCP_AUTHENTICATION, length, r),
        derive(master_key, master_salt, Label.RTCP_SALT, suite.salt_length, r),
    )
