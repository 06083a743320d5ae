"""Crypto suites: the cipher and lengths for each name (RFC 4568 6.2, 6188 4, 7714 12).

All lengths are in octets. A suite whose name ends in `_32` shortens the tag of RTP packets
only: RTCP keeps 80 bits, since a forged BYE does more harm than 20 ms of forged sound. The
suites with AES-GCM and tags of 8 octets were left out of RFC 7714, but are in use.

Parameters that an SDP line or an SP payload sets in addition to the suite (RFC 4568 6.3,
RFC 3830 6.10.1) make it a different suite with its own name: see `adapted`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

from mikeytool.wire.errors import UsageError
from mikeytool.wire.printable import number_of

# The shortest tag and key of HMAC-SHA1 in SRTCP (RFC 3711 5.2), and the longest tag, which is the
# whole output.
RTCP_TAG = 10
RTCP_AUTH_KEY = 20
SHORTEST_RTCP_TAG = 4  # sent by some software, against RFC 3711 5.2
AEAD_TAG, SHORT_AEAD_TAG = 16, 8
ROC_LENGTH = 4
LONGEST_TAG = 20
LONGEST_AUTH_KEY = 64  # a longer one is hashed
LONGEST_PREFIX = 255
_RATES = {0, *(1 << n for n in range(25))}  # of key derivation (RFC 3711 3.2.1)
# The salt length of every suite except those with AES-GCM.
USUAL_SALT = 14


class Cipher(Enum):
    """The cipher: AES in a mode (RFC 3711 4.1.1, 4.1.2, RFC 7714), or none (4.1.3)."""

    AES_CM = "AES-CM"
    AES_F8 = "AES-F8"
    AES_GCM = "AES-GCM"
    NULL = "NULL"


@dataclass(frozen=True)
class Rcc:
    """The rollover counter in the tags of RTP packets (RFC 4771).

    Packets whose sequence number is a multiple of `rate` carry it: in modes 1 and 2 before a
    MAC, in mode 3 alone. In mode 2 the other packets have a MAC of `tag_length` octets; in
    modes 1 and 3 they have none. `tag_length` includes the 4 octets of the ROC.
    """

    mode: int
    rate: int
    tag_length: int

    @property
    def mac_length(self) -> int:
        """The number of MAC octets after the ROC."""
        return self.tag_length - ROC_LENGTH

    @property
    def verified(self) -> int:
        """The number of MAC octets that every packet has at least."""
        return self.mac_length if self.mode == 2 or self.rate == 1 else 0


@dataclass(frozen=True)
class Suite:
    """A cipher and lengths in octets; `name` is its name in SDP (RFC 4568 6.2).

    AES-GCM also authenticates: it makes its own tags, and `auth_key_length` is 0. With any other
    cipher, a `rtp_tag_length` of 0 leaves RTP packets unauthenticated. `auth_key_length` applies to
    RTP; RTCP keys have at least 20 octets. Session keys are derived again every
    `key_derivation_rate` packets, once if it is 0 (RFC 3711 4.3.1). The first `prefix_length`
    octets of the key stream of an RTP packet encrypt nothing (RFC 3711 4.1). With `rcc` some RTP
    packets carry the ROC, and `rtp_tag_length` is the least tag length that verifies each packet.
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
    rcc: Rcc | None = None

    @property
    def protects(self) -> bool:
        """Whether every packet is encrypted, and authenticated as in a registered suite."""
        if self.cipher is Cipher.AES_GCM:
            return (
                self.rtcp_encrypted and min(self.rtp_tag_length, self.rtcp_tag_length) == AEAD_TAG
            )
        return (
            self.rtp_encrypted
            and self.rtcp_encrypted
            and self.rtp_tag_length >= 4
            and self.rtcp_tag_length >= RTCP_TAG
            and self.auth_key_length >= RTCP_AUTH_KEY
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
        Suite("F8_128_HMAC_SHA1_32", 16, 14, 4, 10, cipher=Cipher.AES_F8),
        Suite("AES_192_CM_HMAC_SHA1_80", 24, 14, 10, 10),
        Suite("AES_192_CM_HMAC_SHA1_32", 24, 14, 4, 10),
        Suite("AES_256_CM_HMAC_SHA1_80", 32, 14, 10, 10),
        Suite("AES_256_CM_HMAC_SHA1_32", 32, 14, 4, 10),
        Suite("AEAD_AES_128_GCM", 16, 12, 16, 16, 0, Cipher.AES_GCM),
        Suite("AEAD_AES_256_GCM", 32, 12, 16, 16, 0, Cipher.AES_GCM),
        Suite("AEAD_AES_128_GCM_8", 16, 12, 8, 8, 0, Cipher.AES_GCM),
        Suite("AEAD_AES_256_GCM_8", 32, 12, 8, 8, 0, Cipher.AES_GCM),
        Suite("NULL_HMAC_SHA1_80", 16, 14, 10, 10, 20, Cipher.NULL, False, False),
        Suite("NULL_HMAC_SHA1_32", 16, 14, 4, 10, 20, Cipher.NULL, False, False),
    )
}
# Other spellings of their names, including those of DTLS (RFC 5764 4.1.2, 7714 14.2).
_SPELLINGS = (
    (r"SRTP_AES128_CM_(?:HMAC_)?SHA1_(80|32)", r"AES_CM_128_HMAC_SHA1_\1"),
    (r"SRTP_NULL_(?:HMAC_)?SHA1_(80|32)", r"NULL_HMAC_SHA1_\1"),
    (r"SRTP_(AEAD_AES_(?:128|256)_GCM)", r"\1"),
    (r"AES_CM_(192|256)_HMAC_SHA1_(80|32)", r"AES_\1_CM_HMAC_SHA1_\2"),
    (r"AES_128_CM_HMAC_SHA1_(80|32)", r"AES_CM_128_HMAC_SHA1_\1"),
)
# Names that occur elsewhere and are not supported, and what to do about them.
_ELSEWHERE = {
    "SEED_": "the cipher SEED (RFC 5669) cannot be done here",
    "ARIA_": "the cipher ARIA (RFC 8269) cannot be done here",
    "AEAD_ARIA_": "the cipher ARIA (RFC 8269) cannot be done here",
}


def suite(name: str) -> Suite:
    """Return the suite of that name, in upper or lower case.

    Names that other software uses, such as AES_CM_256_HMAC_SHA1_80 and those of DTLS, are accepted
    too. Raises a UsageError that lists the known names for any other name.
    """
    known = name.upper()
    for spelling, usual in () if known in SUITES else _SPELLINGS:
        known = re.sub(f"^{spelling}$", usual, known)
    try:
        return SUITES[known]
    except KeyError:
        why = next((f": {why}" for start, why in _ELSEWHERE.items() if known.startswith(start)), "")
        raise UsageError(
            f"unknown suite {name!r}{why}; choose one of {', '.join(SUITES)}"
        ) from None


def split_key(suite: Suite, octets: bytes) -> tuple[bytes, bytes]:
    """Split octets into master key and master salt.

    Raises UsageError if the length is not that of both; the error names suites that would fit.
    """
    needed = suite.key_length + suite.salt_length
    if len(octets) == needed:
        return octets[: suite.key_length], octets[suite.key_length :]
    raise UsageError(
        f"master key and salt have {len(octets)} octets together; {suite.name} needs {needed}, "
        f"{suite.key_length} and {suite.salt_length}{_advice(suite, len(octets))}"
    )


def split_exporter(suite: Suite, octets: bytes) -> list[tuple[bytes, bytes]]:
    """Split the output of a DTLS exporter: client and server keys, then salts (RFC 5764 4.2).

    Returns the master key and salt of the client, then those of the server. Returns an empty list
    if the length does not match.
    """
    key, salt = suite.key_length, suite.salt_length
    if len(octets) != 2 * (key + salt):
        return []
    salts = octets[2 * key :]
    return [(octets[:key], salts[:salt]), (octets[key : 2 * key], salts[salt:])]


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
    rtcp_tag_length: int | None = None,
    auth_key_length: int | None = None,
    prefix_length: int = 0,
    rcc: Rcc | None = None,
) -> Suite:
    """Return `base` with some parameters changed; lengths are in octets.

    `tag_length` and `auth_key_length` are those of HMAC-SHA1; they also apply to RTCP unless they
    are shorter than its minimum, or `rtcp_tag_length` is given. `rcc` defines the tags of RTP
    packets. The name includes the parameters, in the terms of RFC 4568 6.3 where they exist.

    Raises UsageError for combinations that RFC 3711, RFC 4771 or RFC 7714 forbids.
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
    if rcc is not None:
        _check_rcc(base, rcc)
    tag = base.rtp_tag_length if tag_length is None else tag_length
    verified = tag if rtp_authenticated else 0
    if rcc is not None and base.cipher is not Cipher.AES_GCM:
        verified = rcc.verified
    made = replace(
        base,
        rtp_tag_length=verified,
        rtcp_tag_length=_rtcp_tag(base, tag_length, rtcp_tag_length),
        auth_key_length=base.auth_key_length if auth_key_length is None else auth_key_length,
        rtp_encrypted=base.rtp_encrypted and rtp_encrypted,
        rtcp_encrypted=base.rtcp_encrypted and rtcp_encrypted,
        key_derivation_rate=key_derivation_rate,
        prefix_length=prefix_length if base.rtp_encrypted and rtp_encrypted else 0,
        rcc=rcc,
    )
    return replace(made, name=_name(base, made, tag))


def with_rtcp_tag(suite: Suite, octets: int) -> Suite:
    """Return a suite with SRTCP tags of another length; raises UsageError for a wrong length."""
    made = replace(suite, rtcp_tag_length=_rtcp_tag(suite, None, octets))
    return suite if made == suite else replace(made, name=f"{suite.name} RTCP_TAG={octets}")


def _rtcp_tag(base: Suite, tag: int | None, given: int | None) -> int:
    if given is None:
        return base.rtcp_tag_length if tag is None else max(tag, RTCP_TAG)
    if base.cipher is Cipher.AES_GCM:
        if given not in (SHORT_AEAD_TAG, AEAD_TAG):
            raise UsageError(
                f"an SRTCP tag of {number_of(given, 'octet')}; that of AES-GCM has 16, or 8"
            )
    elif not SHORTEST_RTCP_TAG <= given <= LONGEST_TAG:
        raise UsageError(
            f"an SRTCP tag of {number_of(given, 'octet')}; it has {RTCP_TAG}, or from "
            f"{SHORTEST_RTCP_TAG} to "
            f"{LONGEST_TAG} in software that departs from RFC 3711 5.2"
        )
    return given


def _check_rcc(base: Suite, rcc: Rcc) -> None:
    if not 1 <= rcc.rate <= 0xFFFF:
        raise UsageError(f"a ROC transmission rate of {rcc.rate}; it is 1 to 65535 (RFC 4771 4)")
    if rcc.mode == 3:
        if rcc.tag_length != ROC_LENGTH:
            raise UsageError(
                f"a tag of {number_of(rcc.tag_length, 'octet')} with RCCm3; it has "
                f"{ROC_LENGTH}, the ROC "
                "(RFC 4771 5)"
            )
    elif base.cipher is Cipher.AES_GCM:
        raise UsageError(
            f"{base.name} has a tag of its own (RFC 7714 7.1); of the modes of RFC 4771 it takes "
            "RCCm3, which has no MAC"
        )
    elif not ROC_LENGTH <= rcc.tag_length <= LONGEST_TAG:
        raise UsageError(
            f"a tag of {number_of(rcc.tag_length, 'octet')} with the ROC in it; it has "
            f"{ROC_LENGTH} to "
            f"{LONGEST_TAG} (RFC 4771 4)"
        )


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
            f"a session authentication key of {number_of(auth_key_length, 'octet')}; "
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
    if made.rcc is not None:
        words.append(f"RCCm{made.rcc.mode}")
        if made.rcc.rate != 1:
            words.append(f"ROC_RATE={made.rcc.rate}")
        if made.rcc.mode != 3:
            words.append(f"TAG={made.rcc.tag_length}")
    elif tag != base.rtp_tag_length:
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
    usual = base.rtcp_tag_length if base.cipher is Cipher.AES_GCM else max(tag, RTCP_TAG)
    if made.rtcp_tag_length != usual:
        words.append(f"RTCP_TAG={made.rtcp_tag_length}")
    if not made.rtp_tag_length and made.rcc is None:
        words.append("UNAUTHENTICATED_SRTP")
    return " ".join(words)
