"""Crypto suites: which cipher and lengths go with which name (RFC 4568 6.2, 6188 4, 7714 12).

All lengths are in octets. A suite whose name ends in `_32` shortens the tag of RTP packets
only: RTCP keeps 80 bits, since a forged BYE does more harm than 20 ms of forged sound.

Parameters that an SDP line or an SP payload sets in addition to the suite (RFC 4568 6.3,
RFC 3830 6.10.1) make it another suite, with a name of its own: see `adapted`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from mikeytool.wire.errors import UsageError

# The least lengths of tag and key of HMAC-SHA1 in SRTCP (RFC 3711 5.2), and the greatest of a
# tag, which is that of the output.
RTCP_TAG = 10
RTCP_AUTH_KEY = 20
LONGEST_TAG = 20
LONGEST_AUTH_KEY = 64  # a longer one is hashed
LONGEST_PREFIX = 255
_RATES = {0, *(1 << n for n in range(25))}  # of key derivation (RFC 3711 3.2.1)
# The salt of every suite but those with AES-GCM.
USUAL_SALT = 14


class Cipher(Enum):
    """The cipher: AES in a mode (RFC 3711 4.1.1, 4.1.2, RFC 7714), or none (4.1.3)."""

    AES_CM = "AES-CM"
    AES_F8 = "AES-F8"
    AES_GCM = "AES-GCM"
    NULL = "NULL"


@dataclass(frozen=True)
class Suite:
    """A cipher and lengths in octets; `name` is the one that SDP uses (RFC 4568 6.2).

    AES-GCM authenticates too: the tags are its own, and `auth_key_length` is 0. With any other
    cipher a `rtp_tag_length` of 0 leaves RTP packets unauthenticated. `auth_key_length` is that
    of RTP; RTCP has at least 20. Session keys are derived again every
    `key_derivation_rate` packets, once if it is 0 (RFC 3711 4.3.1). The first `prefix_length`
    octets of the key stream of an RTP packet encrypt nothing (RFC 3711 4.1).
    """

    name: str
    key_length: int
    salt_length: int
    rtp_tag_length: int
    rtcp_tag_length: int
    auth_key_length: int = 20
    cipher: Cipher = Cipher.AES_CM
    rtp_encrypted: bool = True
    rtcp_encrypted: bool = True
    key_derivation_rate: int = 0
    prefix_length: int = 0

    @property
    def protects(self) -> bool:
        """Whether every packet is encrypted, and authenticated as in a registered suite."""
        return (
            self.rtp_encrypted
            and self.rtcp_encrypted
            and self.rtp_tag_length >= 4
            and (self.cipher is Cipher.AES_GCM or self.auth_key_length >= RTCP_AUTH_KEY)
        )

    @property
    def leaves_open(self) -> str:
        """What it leaves unprotected, in words; empty if everything is protected."""
        faults = (
            (not self.rtp_encrypted, "RTP is not encrypted"),
            (not self.rtp_tag_length, "RTP is not authenticated"),
            (not self.rtcp_encrypted, "RTCP is not encrypted"),
        )
        return ", ".join(text for is_so, text in faults if is_so)


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
        Suite("NULL_HMAC_SHA1_80", 16, 14, 10, 10, 20, Cipher.NULL, False, False),
    )
}
# Names that occur elsewhere and are not supported, and what to do about them.
_ELSEWHERE = {
    "AES_CM_192_": "RFC 6188 spells it AES_192_CM_…",
    "AES_CM_256_": "RFC 6188 spells it AES_256_CM_…",
    "SRTP_AES128_CM_": "that is its name in DTLS, SDP spells it AES_CM_128_…",
    "SEED_": "the cipher SEED (RFC 5669) cannot be done here",
    "ARIA_": "the cipher ARIA (RFC 8269) cannot be done here",
    "AEAD_ARIA_": "the cipher ARIA (RFC 8269) cannot be done here",
}


def suite(name: str) -> Suite:
    """Return the suite of that exact name.

    Raises UsageError, which lists the names known, for any other.
    """
    try:
        return SUITES[name]
    except KeyError:
        why = next((f": {why}" for start, why in _ELSEWHERE.items() if name.startswith(start)), "")
        raise UsageError(
            f"unknown suite {name!r}{why}; choose one of {', '.join(SUITES)}"
        ) from None


def split_key(suite: Suite, octets: bytes) -> tuple[bytes, bytes]:
    """Split octets into master key and master salt.

    Raises UsageError for any other length than that of both, with the suites that would fit.
    """
    needed = suite.key_length + suite.salt_length
    if len(octets) == needed:
        return octets[: suite.key_length], octets[suite.key_length :]
    raise UsageError(
        f"master key and salt have {len(octets)} octets together; {suite.name} needs {needed}, "
        f"{suite.key_length} and {suite.salt_length}{_advice(suite, len(octets))}"
    )


def _advice(suite: Suite, given: int) -> str:
    salt = f" (AES-GCM has a salt of {suite.salt_length}, the other suites {USUAL_SALT})"
    text = salt * (suite.cipher is Cipher.AES_GCM and given == suite.key_length + USUAL_SALT)
    # A suite that leaves media in the clear is not suggested.
    fitting = [
        name
        for name, each in SUITES.items()
        if each.key_length + each.salt_length == given and each.cipher is not Cipher.NULL
    ]
    if given == suite.key_length:
        return f"{text}; the salt is missing"
    return text + (f"; use {' or '.join(fitting)}" if fitting else "; no suite takes that many")


def adapted(
    base: Suite,
    *,
    rtp_encrypted: bool = True,
    rtcp_encrypted: bool = True,
    rtp_authenticated: bool = True,
    key_derivation_rate: int = 0,
    tag_length: int | None = None,
    auth_key_length: int | None = None,
    prefix_length: int = 0,
) -> Suite:
    """Return `base` with parameters that differ from its own; lengths are in octets.

    `tag_length` and `auth_key_length` are those of HMAC-SHA1; RTCP has them too unless they
    are shorter than its least lengths. The name includes the parameters, in the words of
    RFC 4568 6.3 where it has any.

    Raises UsageError for what RFC 3711 or RFC 7714 forbids.
    """
    if key_derivation_rate not in _RATES:
        raise UsageError(
            f"a key derivation rate of {key_derivation_rate}; it is 0 or a power of two up to "
            "2^24 (RFC 3711 3.2.1)"
        )
    if base.cipher is not Cipher.AES_GCM:
        _check_hmac(tag_length, auth_key_length, prefix_length, used=rtp_authenticated)
    elif not (rtp_encrypted and rtp_authenticated):
        raise UsageError(
            f"{base.name} always encrypts and authenticates RTP (RFC 7714 8.2); "
            "take a suite with HMAC-SHA1"
        )
    elif (tag_length, auth_key_length, prefix_length) != (None, None, 0):
        raise UsageError(f"{base.name} has a tag of its own and no key for HMAC-SHA1 (RFC 7714 12)")
    tag = base.rtp_tag_length if tag_length is None else tag_length
    made = replace(
        base,
        rtp_tag_length=tag if rtp_authenticated else 0,
        rtcp_tag_length=base.rtcp_tag_length if tag_length is None else max(tag, RTCP_TAG),
        auth_key_length=base.auth_key_length if auth_key_length is None else auth_key_length,
        rtp_encrypted=base.rtp_encrypted and rtp_encrypted,
        rtcp_encrypted=base.rtcp_encrypted and rtcp_encrypted,
        key_derivation_rate=key_derivation_rate,
        prefix_length=prefix_length if base.rtp_encrypted and rtp_encrypted else 0,
    )
    return replace(made, name=_name(base, made, tag))


def _check_hmac(
    tag_length: int | None, auth_key_length: int | None, prefix_length: int, *, used: bool
) -> None:
    if tag_length is not None and not 1 <= tag_length <= LONGEST_TAG:
        raise UsageError(
            f"a tag of {tag_length} octets; HMAC-SHA1 gives 1 to {LONGEST_TAG}, "
            "or authentication is switched off"
        )
    if auth_key_length is not None and not 1 <= auth_key_length <= LONGEST_AUTH_KEY:
        raise UsageError(
            f"a session authentication key of {auth_key_length} octets; "
            f"HMAC-SHA1 takes 1 to {LONGEST_AUTH_KEY}"
        )
    if prefix_length > LONGEST_PREFIX:
        raise UsageError(
            f"a key stream prefix of {prefix_length} octets, more than {LONGEST_PREFIX}"
        )
    if prefix_length and used:
        raise UsageError(
            f"a key stream prefix of {prefix_length} octets; with HMAC-SHA1 there is none "
            "(RFC 3711 4.2.1)"
        )


def _name(base: Suite, made: Suite, tag: int) -> str:
    words = [base.name]
    if tag != base.rtp_tag_length:
        words = [f"{base.name.rpartition('_')[0]}_{8 * tag}"]
    if made.auth_key_length != base.auth_key_length:
        words.append(f"AUTH_KEY={made.auth_key_length}")
    if made.key_derivation_rate:
        words.append(f"KDR={made.key_derivation_rate.bit_length() - 1}")
    if made.prefix_length:
        words.append(f"PREFIX={made.prefix_length}")
    if base.rtp_encrypted and not made.rtp_encrypted:
        words.append("UNENCRYPTED_SRTP")
    if base.rtcp_encrypted and not made.rtcp_encrypted:
        words.append("UNENCRYPTED_SRTCP")
    if not made.rtp_tag_length:
        words.append("UNAUTHENTICATED_SRTP")
    return " ".join(words)
