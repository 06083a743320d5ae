"""Maps the parameters of SP payloads (RFC 3830 6.10.1) to suites, and back.

The parameters for AES-GCM are from RFC 7714 14.3 and 15. Those for tags with the ROC, and for RTCP
tags alone, are from RFC 4771 4.
"""

from __future__ import annotations

from typing import Any

from mikeytool.srtp.suites import (
    AEAD_TAG,
    ROC_LENGTH,
    RTCP_AUTH_KEY,
    RTCP_TAG,
    SHORT_AEAD_TAG,
    SUITES,
    Cipher,
    Rcc,
    Suite,
    adapted,
)
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
# Parameters that the tool writes only if they differ from the default.
_UNSAID = (P.PRF, P.KEY_DERIVATION_RATE, P.FEC_ORDER, P.PREFIX_LENGTH)
_SWITCHES = (P.SRTP_ENCRYPTION, P.SRTCP_ENCRYPTION, P.SRTP_AUTHENTICATION)
# Parameters with only one allowed value; with AES-GCM also those of the absent HMAC.
_FIXED = (P.PRF, P.FEC_ORDER, P.AUTH_ALG, P.SALT_KEY_LENGTH)
_GCM_FIXED = (*_FIXED, P.AUTH_KEY_LENGTH, P.AUTH_TAG_LENGTH)
# The modes of RFC 4771 3.
_RCC_MODES: dict[int, int] = {
    SrtpAuthAlg.RCC_M1: 1,
    SrtpAuthAlg.RCC_M2: 2,
    SrtpAuthAlg.RCC_M3: 3,
}
# Parameters for SRTP alone, and the one that each takes precedence over (RFC 4771 4).
_OF_SRTP: dict[int, int] = {
    P.SRTP_AUTH_ALG: P.AUTH_ALG,
    P.SRTP_AUTH_KEY_LENGTH: P.AUTH_KEY_LENGTH,
    P.SRTP_AUTH_TAG_LENGTH: P.AUTH_TAG_LENGTH,
}
_OF_SRTCP = (P.SRTCP_AUTH_ALG, P.SRTCP_AUTH_KEY_LENGTH, P.SRTCP_AUTH_TAG_LENGTH)


def policy_for(suite: Suite, policy_no: int) -> SP:
    """The SP payload for a suite, with a policy number."""
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
    """The suite that an SP payload means; None if no suite fits its parameters."""
    try:
        return read_policy(policy)
    except Refused:
        return None


def read_policy(policy: SP) -> Suite:
    """The suite that an SP payload means.

    Raises Refused (Invalid SP, Invalid SPpar) with the reason, for another protocol, unsupported
    algorithms, and parameters that contradict each other or SRTP.
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
    rtcp: dict[int, int] = {kind: given.pop(kind) for kind in _OF_SRTCP if kind in given}
    general = given.get(P.AUTH_TAG_LENGTH)
    own_tag = given.get(P.SRTP_AUTH_TAG_LENGTH)
    for kind, of_both in _OF_SRTP.items():
        if kind in given:
            given[of_both] = given.pop(kind)
    rate = given.pop(P.ROC_RATE, None)
    mode = _RCC_MODES.get(given.get(P.AUTH_ALG, defaults[P.AUTH_ALG]))
    for kind in sorted(given.keys() - defaults.keys()):
        raise _refused(kind, f"says nothing here with {cipher.value}; leave it out")
    values: dict[int, int] = {**defaults, **given}
    rcc = None
    if mode is not None:
        # A general length may apply to RTCP tags, if RTP tags have only the ROC.
        usual = ROC_LENGTH if mode == 3 else values[P.AUTH_TAG_LENGTH]
        rcc = Rcc(mode, 1 if rate is None else rate, usual if own_tag is None else own_tag)
        values |= {kind: defaults[kind] for kind in (P.AUTH_ALG, P.AUTH_TAG_LENGTH)}
    elif rate is not None:
        raise _refused(P.ROC_RATE, "says nothing without RCCm1, RCCm2 or RCCm3; leave it out")
    _check(values, defaults, cipher)
    return _suite(values, cipher, rcc, _rtcp_tag(rtcp, general, values, defaults, cipher))


def _rtcp_tag(
    given: dict[int, int],
    general: int | None,
    values: dict[int, int],
    defaults: dict[int, int],
    cipher: Cipher,
) -> int | None:
    """The length of RTCP tags, if the parameters give one (RFC 4771 4)."""
    is_gcm = cipher is Cipher.AES_GCM
    key = 0 if is_gcm else max(values[P.AUTH_KEY_LENGTH], RTCP_AUTH_KEY)
    for kind, only in (
        (P.SRTCP_AUTH_ALG, defaults[P.AUTH_ALG]),
        (P.SRTCP_AUTH_KEY_LENGTH, key),
    ):
        if given.get(kind, only) != only:
            raise _refused(kind, f"is {given[kind]}, and with {cipher.value} can only be {only}")
    tag = given.get(P.SRTCP_AUTH_TAG_LENGTH)
    if not is_gcm:
        return tag if tag is not None or general is None else max(general, RTCP_TAG)
    if tag:
        raise _refused(
            P.SRTCP_AUTH_TAG_LENGTH, f"is {tag}, and AES-GCM has a tag of its own; leave it out"
        )
    return None


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
    if cipher is Cipher.AES_GCM and values[P.AEAD_TAG_LENGTH] not in (AEAD_TAG, SHORT_AEAD_TAG):
        raise _refused(
            P.AEAD_TAG_LENGTH,
            f"is {values[P.AEAD_TAG_LENGTH]}, and with AES-GCM can only be {AEAD_TAG}, or "
            f"{SHORT_AEAD_TAG} here",
        )
    for kind in _SWITCHES:
        if values[kind] not in (0, 1):
            raise _refused(kind, f"is {values[kind]}; it is 0 for off or 1 for on")


def _suite(values: dict[int, int], cipher: Cipher, rcc: Rcc | None, rtcp_tag: int | None) -> Suite:
    bases = [each for each in SUITES.values() if each.cipher is cipher]
    if cipher is Cipher.AES_GCM:
        bases = [each for each in bases if each.rtp_tag_length == values[P.AEAD_TAG_LENGTH]]
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
        # If RTP is unauthenticated, it is the length of SRTCP tags.
        "tag_length": tag if authenticated else max(tag, RTCP_TAG),
        "auth_key_length": values[P.AUTH_KEY_LENGTH],
        "rtcp_tag_length": rtcp_tag,
    }
    try:
        return adapted(
            base,
            rtp_encrypted=bool(values[P.SRTP_ENCRYPTION]),
            rtcp_encrypted=bool(values[P.SRTCP_ENCRYPTION]),
            key_derivation_rate=values[P.KEY_DERIVATION_RATE],
            prefix_length=values[P.PREFIX_LENGTH],
            rcc=rcc,
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
    if suite.rcc is not None:
        values[P.SRTP_AUTH_ALG] = next(
            number for number, mode in _RCC_MODES.items() if mode == suite.rcc.mode
        )
        values[P.SRTP_AUTH_TAG_LENGTH] = suite.rcc.tag_length
        values[P.ROC_RATE] = suite.rcc.rate
        values[P.SRTP_AUTHENTICATION] = 1
    if suite.cipher is Cipher.AES_GCM:
        return {**values, P.AEAD_TAG_LENGTH: suite.rtp_tag_length}
    tag = suite.rtp_tag_length or suite.rtcp_tag_length
    if suite.rcc is not None:
        tag = suite.rtcp_tag_length
    elif suite.rtcp_tag_length != max(tag, RTCP_TAG):
        values[P.SRTCP_AUTH_TAG_LENGTH] = suite.rtcp_tag_length
    return {**values, P.AUTH_TAG_LENGTH: tag}
