"""The algorithms that go together: all of 128 bits, or all of 256 (RFC 6043 12.1)."""

from __future__ import annotations

from dataclasses import dataclass

from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.registry import EncrAlg, ErrorNo, MacAlg, PrfFunc, label


@dataclass(frozen=True, slots=True)
class Profile:
    """PRF, encryption and MAC of one strength; `key_length` in octets."""

    bits: int
    prf: PrfFunc
    encr_alg: EncrAlg
    mac_alg: MacAlg

    @property
    def key_length(self) -> int:
        """How long MPKs and generated keys are, in octets."""
        return self.bits // 8


PROFILE_128 = Profile(128, PrfFunc.MIKEY_1, EncrAlg.AES_CM_128, MacAlg.HMAC_SHA_1_160)
PROFILE_256 = Profile(256, PrfFunc.HMAC_SHA_256, EncrAlg.AES_CM_256, MacAlg.HMAC_SHA_256_256)
PROFILES = {PROFILE_128.bits: PROFILE_128, PROFILE_256.bits: PROFILE_256}


def profile_of(prf: int) -> Profile:
    """The profile that a PRF func belongs to; raises Refused (Invalid PRF) for unknown ones."""
    for profile in PROFILES.values():
        if profile.prf == prf:
            return profile
    raise Refused(f"PRF func {prf} is not supported", ErrorNo.INVALID_PRF)


def check_mac_alg(profile: Profile, mac_alg: int) -> None:
    """Refuse a MAC that is not of the profile; NULL is never accepted (interpretation 16)."""
    if mac_alg != profile.mac_alg:
        raise Refused(
            f"MAC algorithm {label(MacAlg, mac_alg)} does not go with"
            f" {profile.prf.label} (RFC 6043 12.1)",
            ErrorNo.INVALID_MAC,
        )


def check_encr_alg(profile: Profile, encr_alg: int) -> None:
    """Refuse an encryption algorithm that is not of the profile."""
    if encr_alg != profile.encr_alg:
        raise Refused(
            f"encryption algorithm {label(EncrAlg, encr_alg)} does not go with"
            f" {profile.prf.label} (RFC 6043 12.1)",
            ErrorNo.INVALID_EA,
        )


MIN_RAND = 16
"""In octets: with keys of 128 bits or more, no shorter RAND is enough (12.1)."""


def check_key(key: bytes, what: str) -> None:
    """Raise UsageError for a key under 128 bits (12.1)."""
    if len(key) < MIN_KEY:
        raise UsageError(f"the {what} has {len(key)} octets, {MIN_KEY} are the least (12.1)")


MIN_KEY = 16
"""In octets (12.1)."""


def rand_length(*keys: bytes) -> int:
    """How long a RAND must be to go with these keys: at least 16 octets (RFC 6043 12.1)."""
    return min(max(MIN_RAND, *map(len, keys)), 255)
