"""SP payloads and suites: which parameters of RFC 3830 6.10.1 make which suite.

Those for AES-GCM are from RFC 7714 14.3 and 15.
"""

from __future__ import annotations

from mikeytool.srtp.suites import SUITES, Cipher, Suite
from mikeytool.wire.payloads import SP, PolicyParam
from mikeytool.wire.registry import ProtType, SrtpAuthAlg, SrtpEncrAlg, SrtpParam

P = SrtpParam

_ALGORITHMS: dict[Cipher, int] = {
    Cipher.NULL: SrtpEncrAlg.NULL,
    Cipher.AES_CM: SrtpEncrAlg.AES_CM,
    Cipher.AES_F8: SrtpEncrAlg.AES_F8,
    Cipher.AES_GCM: SrtpEncrAlg.AES_GCM,
}
# What holds for a parameter that a policy does not set: SRTP's own defaults (RFC 3711 8.2),
_DEFAULTS: dict[int, int] = {
    P.ENCR_ALG: SrtpEncrAlg.AES_CM,
    P.ENCR_KEY_LENGTH: 16,
    P.AUTH_ALG: SrtpAuthAlg.HMAC_SHA_1,
    P.AUTH_KEY_LENGTH: 20,
    P.SALT_KEY_LENGTH: 14,
    P.PRF: 0,
    P.KEY_DERIVATION_RATE: 0,
    P.SRTP_ENCRYPTION: 1,
    P.SRTCP_ENCRYPTION: 1,
    P.FEC_ORDER: 0,
    P.SRTP_AUTHENTICATION: 1,
    P.AUTH_TAG_LENGTH: 10,
    P.PREFIX_LENGTH: 0,
}
# and with AES-GCM, which authenticates by itself, those of RFC 7714 12.
_GCM_DEFAULTS: dict[int, int] = {
    **_DEFAULTS,
    P.ENCR_ALG: SrtpEncrAlg.AES_GCM,
    P.AUTH_ALG: SrtpAuthAlg.NULL,
    P.AUTH_KEY_LENGTH: 0,
    P.SALT_KEY_LENGTH: 12,
    P.AUTH_TAG_LENGTH: 0,
    P.AEAD_TAG_LENGTH: 16,
}
# What a policy that the tool writes leaves to the default.
_UNSAID = (P.PRF, P.KEY_DERIVATION_RATE, P.FEC_ORDER, P.PREFIX_LENGTH)
# Switches of an algorithm that is NULL: on or off, packets are the same.
_MOOT: dict[Cipher, frozenset[int]] = {
    Cipher.NULL: frozenset({P.SRTP_ENCRYPTION, P.SRTCP_ENCRYPTION}),
    Cipher.AES_GCM: frozenset({P.SRTP_AUTHENTICATION}),
}


def policy_for(suite: Suite, policy_no: int) -> SP:
    """The SP payload that stands for a suite, under a policy number."""
    return SP(
        policy_no=policy_no,
        protocol=ProtType.SRTP.value,
        policy_param=[
            PolicyParam(type=int(kind), value=bytes([value]))
            for kind, value in sorted(_values(suite).items())
            if kind not in _UNSAID
        ],
    )


def suite_of(policy: SP) -> Suite | None:
    """The suite that an SP payload means; None when there is none for its parameters."""
    if policy.protocol != ProtType.SRTP:
        return None
    given = {param.type: int.from_bytes(param.value) for param in policy.policy_param}
    if len(given) != len(policy.policy_param):
        return None
    wanted = {**_defaults(given.get(P.ENCR_ALG, SrtpEncrAlg.AES_CM)), **given}
    return next((suite for suite in SUITES.values() if _is_meant(suite, wanted)), None)


def _is_meant(suite: Suite, wanted: dict[int, int]) -> bool:
    values = _values(suite)
    differing = {kind for kind, value in wanted.items() if values.get(kind) != value}
    return differing <= _MOOT.get(suite.cipher, frozenset()) and all(
        wanted[kind] in (0, 1) for kind in differing
    )


def _values(suite: Suite) -> dict[int, int]:
    algorithm = _ALGORITHMS[suite.cipher]
    values = {
        **_defaults(algorithm),
        P.ENCR_ALG: algorithm,
        P.ENCR_KEY_LENGTH: suite.key_length,
        P.AUTH_KEY_LENGTH: suite.auth_key_length,
        P.SALT_KEY_LENGTH: suite.salt_length,
    }
    if suite.cipher is Cipher.AES_GCM:
        return {**values, P.AEAD_TAG_LENGTH: suite.rtp_tag_length}
    if suite.cipher is Cipher.NULL:
        values |= {P.SRTP_ENCRYPTION: 0, P.SRTCP_ENCRYPTION: 0}
    return {**values, P.AUTH_TAG_LENGTH: suite.rtp_tag_length}


def _defaults(algorithm: int) -> dict[int, int]:
    return _GCM_DEFAULTS if algorithm == SrtpEncrAlg.AES_GCM else _DEFAULTS
