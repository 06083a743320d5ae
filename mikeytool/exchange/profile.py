"""The algorithms that belong together: all of 128 bits, or all of 256 (RFC 6043 12.1)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.registry import EncrAlg, ErrorNo, MacAlg, PrfFunc, label


@dataclass(frozen=True, slots=True)
class Profile:
    """PRF, encryption and MAC of one strength.

    `encr_alg` is the default for writing; `encr_algs` are all the accepted ones.
    """

    bits: int
    prf: PrfFunc
    encr_alg: EncrAlg
    mac_alg: MacAlg
    encr_algs: tuple[EncrAlg, ...]

    @property
    def key_length(self) -> int:
        """Return the length of MPKs and generated keys, in octets."""
        return self.bits // 8


PROFILE_128 = Profile(
    128,
    PrfFunc.MIKEY_1,
    EncrAlg.AES_CM_128,
    MacAlg.HMAC_SHA_1_160,
    (EncrAlg.AES_CM_128, EncrAlg.AES_KW_128),
)
PROFILE_256 = Profile(
    256,
    PrfFunc.HMAC_SHA_256,
    EncrAlg.AES_CM_256,
    MacAlg.HMAC_SHA_256_256,
    (EncrAlg.AES_CM_256,),
)
PROFILES = {PROFILE_128.bits: PROFILE_128, PROFILE_256.bits: PROFILE_256}
_BY_PRF = {profile.prf.value: profile for profile in PROFILES.values()}


def profile_of(prf: int) -> Profile:
    """Return the profile of a PRF func; raises Refused (Invalid PRF) for unknown ones."""
    profile = _BY_PRF.get(prf)
    if profile is None:
        raise Refused(f"PRF func {prf} is not supported", ErrorNo.INVALID_PRF)
    return profile


def check_mac_alg(profile: Profile, mac_alg: int) -> None:
    """Refuse a MAC that is not in the profile; NULL is never accepted (interpretation 16)."""
    if mac_alg != profile.mac_alg:
        raise Refused(
            f"MAC algorithm {label(MacAlg, mac_alg)} does not go with"
            f" {profile.prf.label} (RFC 6043 12.1)",
            ErrorNo.INVALID_MAC,
        )


def check_encr_alg(profile: Profile, encr_alg: int) -> None:
    """Refuse an encryption algorithm that is not in the profile."""
    if encr_alg not in profile.encr_algs:
        raise Refused(
            f"encryption algorithm {label(EncrAlg, encr_alg)} does not go with"
            f" {profile.prf.label} (RFC 6043 12.1)",
            ErrorNo.INVALID_EA,
        )


MIN_KEY = 16
"""In octets (12.1)."""


def check_key(key: bytes, what: str) -> None:
    """Raise UsageError for a key under 128 bits (12.1)."""
    if len(key) < MIN_KEY:
        octets = "1 octet" if len(key) == 1 else f"{len(key)} octets"
        raise UsageError(f"the {what} has {octets}; it needs {MIN_KEY} or more (RFC 6043 12.1)")


def rand_length(*keys: bytes) -> int:
    """Return the length of a new RAND for these keys (RFC 6043 12.1).

    It is the length of the longest key, and at least 16 octets.
    """
    return min(max(MIN_KEY, *map(len, keys)), 255)


def strength(key: bytes, profile: Profile) -> bytes:
    """Return the part of a pre-shared key or TPK that received RANDs must match in length (12.1).

    These keys come from outside, and peers with the 128-bit profile may have a longer key and a
    RAND of 16 octets, so that only 16 octets count there (interpretation 40). The tool makes its
    own RANDs as long as the whole key.
    """
    return key[:MIN_KEY] if profile is PROFILE_128 else key


def check_rands(rands: Iterable[bytes], keys: Iterable[bytes]) -> None:
    """Refuse RANDs that are together shorter than the longest key used with them (12.1)."""
    have, longest = sum(map(len, rands)), max(map(len, keys))
    if have < min(longest, 255):
        raise Refused(
            f"the RANDs have {have} octets together, and a key that goes with them {longest};"
            " they must not be shorter (RFC 6043 12.1)"
        )
