"""SP payloads and suites: which parameters of RFC 3830 6.10.1 make which suite.

Those for AES-GCM are from RFC 7714 14.3 and 15.
"""

from __future__ import annotations

from typing import Any

from mikeytool.srtp.suites import RTCP_TAG, SUITES, Cipher, Suite, adapted
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.payloads import SP, PolicyParam
from mikeytool.wire.registry import (
    ErrorNo,
    ProtType,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SrtpPrf,
    label,
)
from mikeytool.wire.srtp_policy import SRTP_DEFAULTS, srtp_defaults

P = SrtpParam

_CIPHERS: dict[int, Cipher] = {
    SrtpEncrAlg.NULL: Cipher.NULL,
    SrtpEncrAlg.AES_CM: Cipher.AES_CM,
    SrtpEncrAlg.AES_F8: Cipher.AES_F8,
    SrtpEncrAlg.AES_GCM: Cipher.AES_GCM,
}
_ALGORITHMS = {cipher: number for number, cipher in _CIPHERS.items()}
# What a policy that the tool writes says only when it is not the default.
_UNSAID = (P.PRF, P.KEY_DERIVATION_RATE, P.FEC_ORDER, P.PREFIX_LENGTH)
_SWITCHES = (P.SRTP_ENCRYPTION, P.SRTCP_ENCRYPTION, P.SRTP_AUTHENTICATION)
# Parameters that have one value, and with AES-GCM those of an HMAC that is not there.
_FIXED = (P.PRF, P.FEC_ORDER, P.AUTH_ALG, P.SALT_KEY_LENGTH)
_GCM_FIXED = (*_FIXED, P.AUTH_KEY_LENGTH, P.AUTH_TAG_LENGTH, P.AEAD_TAG_LENGTH)


def policy_for(suite: Suite, policy_no: int) -> SP:
    """The SP payload that stands for a suite, under a policy number."""
    defaults = srtp_defaults(_ALGORITHMS[suite.cipher])
    return SP(
        policy_no=policy_no,
        protocol=ProtType.SRTP.value,
        policy_param=[
            PolicyParam(type=int(kind), value=value.to_bytes(-(-value.bit_length() // 8) or 1))
            for kind, value in sorted(_values(suite).items())
            if kind not in _UNSAID or value != defaults[kind]
        ],
    )


def suite_of(policy: SP) -> Suite | None:
    """The suite that an SP payload means; None when there is none for its parameters."""
    try:
        return read_policy(policy)
    except Refused:
        return None


def read_policy(policy: SP) -> Suite:
    """The suite that an SP payload means.

    Raises Refused (Invalid SP, Invalid SPpar), saying why, for another protocol, algorithms
    that cannot be done here, and parameters that contradict each other or SRTP.
    """
    if policy.protocol != ProtType.SRTP:
        raise Refused(
            f"the policy is for {label(ProtType, policy.protocol)}, not for SRTP",
            ErrorNo.INVALID_SP,
        )
    given: dict[int, int] = {}
    for param in policy.policy_param:
        if param.type in given:
            raise _refused(param.type, "is there twice; give it once")
        if not 1 <= len(param.value) <= 4:
            raise _refused(param.type, f"has {len(param.value)} octets; 1 to 4 hold its value")
        given[param.type] = int.from_bytes(param.value)
    algorithm = given.get(P.ENCR_ALG, SRTP_DEFAULTS[P.ENCR_ALG])
    cipher = _CIPHERS.get(algorithm)
    if cipher is None:
        raise _refused(P.ENCR_ALG, f"is {label(SrtpEncrAlg, algorithm)}, which cannot be done here")
    defaults = srtp_defaults(algorithm)
    for kind in sorted(given.keys() - defaults.keys()):
        raise _refused(kind, f"says nothing here with {cipher.value}; leave it out")
    values = {**defaults, **given}
    _check(values, defaults, cipher)
    return _suite(values, cipher)


def _check(values: dict[int, int], defaults: dict[int, int], cipher: Cipher) -> None:
    if cipher is not Cipher.AES_GCM and values[P.AUTH_ALG] == SrtpAuthAlg.NULL:
        raise _refused(
            P.AUTH_ALG,
            "is NULL, and SRTCP is always authenticated (RFC 3711 3.4); leave HMAC-SHA-1 and "
            f"switch off {P.SRTP_AUTHENTICATION.label}",
        )
    names = {P.AUTH_ALG: SrtpAuthAlg, P.PRF: SrtpPrf}
    for kind in _GCM_FIXED if cipher is Cipher.AES_GCM else _FIXED:
        if values[kind] != defaults[kind]:
            value, only = (
                label(names[kind], each) if kind in names else str(each)
                for each in (values[kind], defaults[kind])
            )
            raise _refused(kind, f"is {value}, and with {cipher.value} can only be {only} here")
    for kind in _SWITCHES:
        if values[kind] not in (0, 1):
            raise _refused(kind, f"is {values[kind]}; it is 0 for off or 1 for on")


def _suite(values: dict[int, int], cipher: Cipher) -> Suite:
    bases = [each for each in SUITES.values() if each.cipher is cipher]
    base = next((each for each in bases if each.key_length == values[P.ENCR_KEY_LENGTH]), None)
    if base is None:
        lengths = ", ".join(map(str, sorted({each.key_length for each in bases})))
        raise _refused(
            P.ENCR_KEY_LENGTH, f"is {values[P.ENCR_KEY_LENGTH]}; {cipher.value} has {lengths}"
        )
    authenticated = bool(values[P.SRTP_AUTHENTICATION])
    tag = values[P.AUTH_TAG_LENGTH]
    hmac: dict[str, Any] = {
        "rtp_authenticated": authenticated,
        # With RTP unauthenticated, it is the length of SRTCP's.
        "tag_length": tag if authenticated else max(tag, RTCP_TAG),
        "auth_key_length": values[P.AUTH_KEY_LENGTH],
    }
    try:
        return adapted(
            base,
            rtp_encrypted=bool(values[P.SRTP_ENCRYPTION]),
            rtcp_encrypted=bool(values[P.SRTCP_ENCRYPTION]),
            key_derivation_rate=values[P.KEY_DERIVATION_RATE],
            prefix_length=values[P.PREFIX_LENGTH],
            **({} if cipher is Cipher.AES_GCM else hmac),
        )
    except UsageError as error:
        raise Refused(f"security policy: {error}", ErrorNo.INVALID_SPPAR) from None


def _refused(kind: int, text: str) -> Refused:
    return Refused(f"security policy: {label(P, kind)} {text}", ErrorNo.INVALID_SPPAR)


def _values(suite: Suite) -> dict[int, int]:
    values = {
        **srtp_defaults(_ALGORITHMS[suite.cipher]),
        P.ENCR_KEY_LENGTH: suite.key_length,
        P.AUTH_KEY_LENGTH: suite.auth_key_length,
        P.SALT_KEY_LENGTH: suite.salt_length,
        P.KEY_DERIVATION_RATE: suite.key_derivation_rate,
        P.SRTP_ENCRYPTION: int(suite.rtp_encrypted),
        P.SRTCP_ENCRYPTION: int(suite.rtcp_encrypted),
        P.SRTP_AUTHENTICATION: int(suite.rtp_tag_length > 0),
        P.PREFIX_LENGTH: suite.prefix_length,
    }
    if suite.cipher is Cipher.AES_GCM:
        return values
    return {**values, P.AUTH_TAG_LENGTH: suite.rtp_tag_length or suite.rtcp_tag_length}
