"""Rules about security policies, SP payloads, for SRTP (RFC 3830 6.10.1, RFC 3711)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import Found, Level, rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.payloads import SP
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import (
    DataType,
    ProtType,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    label,
    labels,
)
from mikeytool.wire.srtp_policy import SRTP_DEFAULTS, SRTP_VALUES, srtp_defaults

P = SrtpParam
_SWITCHES = (P.SRTP_ENCRYPTION, P.SRTCP_ENCRYPTION, P.SRTP_AUTHENTICATION)
_KEY_LENGTHS: dict[int, tuple[int, ...]] = {
    SrtpEncrAlg.AES_CM: (16, 24, 32),
    SrtpEncrAlg.AES_F8: (16,),
    SrtpEncrAlg.AES_GCM: (16, 32),
    SrtpEncrAlg.SEED_CTR: (16,),
    SrtpEncrAlg.SEED_CCM: (16,),
    SrtpEncrAlg.SEED_GCM: (16,),
    SrtpEncrAlg.ARIA_CTR: (16, 32),
    SrtpEncrAlg.ARIA_GCM: (16, 32),
}
HMAC_SHA_1_KEY = SRTP_DEFAULTS[P.AUTH_KEY_LENGTH]
"""Octets of the session authentication key of HMAC-SHA-1 (RFC 3711 5.2)."""

TAG_LENGTHS = (4, 10)
"""Octets of the authentication tags that SRTP's suites have (RFC 3711 5.2)."""

ROC_LENGTH = 4
"""Octets of the ROC in a tag of RCC (RFC 4771 2)."""
_RCC = (SrtpAuthAlg.RCC_M1, SrtpAuthAlg.RCC_M2, SrtpAuthAlg.RCC_M3)


@rule("srtp-parameter-unassigned", Level.WARNING, "RFC 3830 6.10.1", on=SP)
def parameter_unassigned(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """An SRTP parameter, or its value, that is not in its registry."""
    policy = subject.srtp(payload)
    if policy is None:
        return
    known = labels(SrtpParam)
    for param in payload.policy_param:
        if param.type not in known:
            yield Found(
                payload,
                f"parameter {param.type} is not assigned; other implementations do not know it",
            )
    for kind, registry in SRTP_VALUES.items():
        value = policy.given.get(kind)
        if value is not None and value not in labels(registry):
            yield Found(
                payload,
                f"{label(P, kind)} {value} is not assigned; other implementations do not know it",
            )


@rule("srtp-parameter-twice", Level.WARNING, "RFC 3830 6.10.1", on=SP)
def parameter_twice(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """An SRTP parameter given twice, other than in an offer of several."""
    if subject.kind in (DataType.RSA_R_I_MSG, DataType.RSA_R_R_MSG, DataType.ERROR):
        return
    seen = set()
    for param in payload.policy_param:
        if param.type in seen:
            yield Found(
                payload,
                f"{label(P, param.type)} is given twice; the RFC does not say which one counts",
            )
        seen.add(param.type)


@rule("srtp-parameter-length", Level.ERROR, "RFC 3830 6.10.1", on=SP)
def parameter_length(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """An SRTP parameter without a value, or with a value that is not a number."""
    if payload.protocol != ProtType.SRTP:
        return
    for param in payload.policy_param:
        if not 1 <= len(param.value) <= 8:
            yield Found(
                payload,
                f"the value of {label(P, param.type)} has "
                f"{number_of(len(param.value), 'octet')}; most need one",
            )


@rule("srtp-switch", Level.ERROR, "RFC 3830 6.10.1", on=SP)
def switch(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """An on/off parameter with a value other than 0 or 1."""
    if policy := subject.srtp(payload):
        for kind in _SWITCHES:
            if policy.value(kind) > 1:
                yield Found(payload, f"{kind.label} is {policy.given[kind]}; 0 is off, 1 is on")


@rule("srtp-rate", Level.ERROR, "RFC 3711 4.3.1", on=SP)
def rate(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A key derivation rate other than 0 or a power of two up to 2^24."""
    if policy := subject.srtp(payload):
        value = policy.value(P.KEY_DERIVATION_RATE)
        if value & (value - 1) or value > 1 << 24:
            yield Found(payload, f"the key derivation rate is {value}; use 0 or a power of two")


@rule("srtp-roc-rate", Level.ERROR, "RFC 4771 4", on=SP)
def roc_rate(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A ROC transmission rate of 0, or of more than 16 bits."""
    policy = subject.srtp(payload)
    if policy and not 1 <= policy.value(P.ROC_RATE, 1) <= 0xFFFF:
        yield Found(
            payload,
            f"the ROC transmission rate is {policy.given[P.ROC_RATE]}; it must be 1 to 65535",
        )


@rule("srtp-key-length", Level.ERROR, "RFC 3711 8.2", on=SP)
def key_length(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A session encryption key length that the cipher does not support."""
    if policy := subject.srtp(payload):
        lengths = _KEY_LENGTHS.get(policy.encr_alg)
        if lengths and policy.key_length not in lengths:
            yield Found(
                payload,
                f"{label(SrtpEncrAlg, policy.encr_alg)} with keys of "
                f"{number_of(policy.key_length, 'octet')};"
                f" it takes {' or '.join(map(str, lengths))}",
            )


@rule("srtp-salt-length", Level.WARNING, "RFC 3711 8.2", on=SP)
def salt_length(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A session salt key length other than that of the cipher."""
    if policy := subject.srtp(payload):
        wanted = srtp_defaults(policy.encr_alg)[P.SALT_KEY_LENGTH]
        if policy.salt_length != wanted and policy.encr_alg in _KEY_LENGTHS:
            yield Found(
                payload,
                f"the salt has {number_of(policy.salt_length, 'octet')};"
                f" {label(SrtpEncrAlg, policy.encr_alg)} takes {wanted}",
            )


@rule("srtp-auth-key-length", Level.WARNING, "RFC 3711 5.2", on=SP)
def auth_key_length(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A session authentication key of a length other than that of HMAC-SHA-1."""
    policy = subject.srtp(payload)
    if policy and policy.auth_alg == SrtpAuthAlg.HMAC_SHA_1:
        length = policy.value(P.AUTH_KEY_LENGTH)
        if length != HMAC_SHA_1_KEY and length not in TAG_LENGTHS:
            yield Found(
                payload,
                f"the session authentication key has {number_of(length, 'octet')}; HMAC-SHA-1 takes"
                f" {HMAC_SHA_1_KEY}",
            )


@rule("srtp-tag-length", Level.WARNING, "RFC 3711 5.2", on=SP)
def tag_length(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """An authentication tag of a length that no suite of SRTP has."""
    policy = subject.srtp(payload)
    if policy and policy.auth_alg == SrtpAuthAlg.HMAC_SHA_1:
        length = policy.value(P.AUTH_TAG_LENGTH)
        if length not in TAG_LENGTHS:
            yield Found(
                payload,
                f"the authentication tag has {number_of(length, 'octet')}; 10 or 4 are usual",
            )


@rule("srtp-rcc-tag-length", Level.ERROR, "RFC 4771 4", on=SP)
def rcc_tag_length(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A tag too short for the ROC of RCC, or with RCCm3 longer than the ROC."""
    policy = subject.srtp(payload)
    if policy is None or policy.auth_alg not in _RCC:
        return
    length = policy.value(P.SRTP_AUTH_TAG_LENGTH, policy.value(P.AUTH_TAG_LENGTH))
    is_bare = policy.auth_alg == SrtpAuthAlg.RCC_M3
    if length < ROC_LENGTH or (is_bare and length != ROC_LENGTH):
        yield Found(
            payload,
            f"{label(SrtpAuthAlg, policy.auth_alg)} with a tag of {number_of(length, 'octet')}; "
            + (
                f"set it to {ROC_LENGTH}" if is_bare else f"{ROC_LENGTH} are for the ROC, so use 14"
            ),
        )


@rule("srtp-aead-mac", Level.WARNING, "RFC 7714 14.3", on=SP)
def aead_mac(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A MAC in addition to a cipher that authenticates by itself."""
    policy = subject.srtp(payload)
    # RCCm3 has no MAC: it puts the ROC into the tag (RFC 7714 7.1).
    if policy and policy.is_aead and policy.auth_alg not in (SrtpAuthAlg.NULL, SrtpAuthAlg.RCC_M3):
        yield Found(
            payload,
            f"{label(SrtpEncrAlg, policy.encr_alg)} authenticates by itself; set the"
            " authentication algorithm to NULL",
        )


@rule("srtp-not-encrypted", Level.WARNING, "RFC 3711 9.1", on=SP)
def not_encrypted(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A policy that leaves RTP or RTCP in the clear."""
    if policy := subject.srtp(payload):
        off = [
            what
            for kind, what in ((P.SRTP_ENCRYPTION, "RTP"), (P.SRTCP_ENCRYPTION, "RTCP"))
            if policy.value(kind) == 0 or policy.encr_alg == SrtpEncrAlg.NULL
        ]
        if off:
            yield Found(payload, f"{' and '.join(off)} packets are not encrypted")


@rule("srtp-not-authenticated", Level.WARNING, "RFC 3711 9.5", on=SP)
def not_authenticated(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A policy that leaves RTP without a MAC."""
    policy = subject.srtp(payload)
    if policy is None or policy.is_aead:
        return
    if policy.auth_alg == SrtpAuthAlg.NULL or policy.value(P.SRTP_AUTHENTICATION) == 0:
        yield Found(payload, "RTP packets are not authenticated: anyone can forge or change them")
