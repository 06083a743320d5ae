"""What RTSP cameras and their clients want of a message (`--profile onvif`).

The source is the section "MIKEY" of the ONVIF Streaming Specification, and for what players can
read, Live555 (MIKEY.cpp).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mikeytool.lint.rule import HEADER, PERMITTED, Found, Level, Profile
from mikeytool.lint.rule import rule as plain_rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.payloads import KEMAC, RAND, SP, KeyData, T
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import (
    CsIdMapType,
    DataType,
    EncrAlg,
    KeyType,
    MacAlg,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SrtpPrf,
    label,
    labels,
)
from mikeytool.wire.srtp_policy import SrtpPolicy, srtp_defaults

P = SrtpParam
_SOURCE = "ONVIF Streaming MIKEY"
_PSK = [DataType.PRE_SHARED]
rule = partial(plain_rule, profile=Profile.ONVIF)

PERMITTED[Profile.ONVIF] = frozenset({
    "quirk-key-and-salt", "quirk-null-protection", "keys-in-clear", "rand-missing", "mac-null",
})  # fmt: skip

_COMMON = {P.SRTP_ENCRYPTION: 1, P.SRTCP_ENCRYPTION: 1, P.PRF: SrtpPrf.AES_CM}
_AES_CM = {
    **_COMMON, P.ENCR_ALG: SrtpEncrAlg.AES_CM, P.ENCR_KEY_LENGTH: 16,
    P.AUTH_ALG: SrtpAuthAlg.HMAC_SHA_1, P.AUTH_KEY_LENGTH: 20, P.SALT_KEY_LENGTH: 14,
    P.AUTH_TAG_LENGTH: 10,
}  # fmt: skip
_GCM = {
    **_COMMON, P.ENCR_ALG: SrtpEncrAlg.AES_GCM, P.AUTH_ALG: SrtpAuthAlg.NULL,
    P.SALT_KEY_LENGTH: 12, P.AEAD_TAG_LENGTH: 16,
}  # fmt: skip
_SUITES = {
    "AES_CM_128_HMAC_SHA1_80": _AES_CM,
    "AEAD_AES_128_GCM": {**_GCM, P.ENCR_KEY_LENGTH: 16},
    "AEAD_AES_256_GCM": {**_GCM, P.ENCR_KEY_LENGTH: 32},
}


@rule("onvif-mode", Level.ERROR, _SOURCE)
def mode(subject: Subject) -> Iterator[Found]:
    """A message of another mode than the pre-shared key mode."""
    if subject.kind not in (DataType.PRE_SHARED, DataType.PSK_VER_MSG, DataType.ERROR):
        yield Found(HEADER, f"{subject.name} is not used by ONVIF devices; use Pre-shared")


@rule("onvif-map", Level.WARNING, _SOURCE, kinds=_PSK)
def cs_map(subject: Subject) -> Iterator[Found]:
    """A map that is not that of RFC 3830, the only one that ONVIF names."""
    if subject.header.cs_id_map_type != CsIdMapType.SRTP_ID:
        name = label(CsIdMapType, subject.header.cs_id_map_type)
        yield Found(HEADER, f"the map is of type {name}; cameras and players read SRTP-ID")


@rule("onvif-policy-missing", Level.ERROR, _SOURCE, kinds=_PSK, whole=True)
def policy_missing(subject: Subject) -> Iterator[Found]:
    """No security policy in a message that is not for rekeying."""
    rekeys = subject.message.find(RAND) is None
    if subject.message.find(SP) is None and not rekeys:
        yield Found(HEADER, "there is no SP; only a message for rekeying may leave it out")


@rule("onvif-suite", Level.ERROR, _SOURCE, on=SP, kinds=_PSK)
def suite(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A security policy of none of the three suites."""
    policy = subject.srtp(payload)
    if policy is None:
        return
    differences = [_difference(policy, wanted) for wanted in _SUITES.values()]
    if all(differences):
        nearest = min(range(len(differences)), key=lambda at: len(differences[at]))
        yield Found(
            payload,
            f"the policy is none of {', '.join(_SUITES)}; for {list(_SUITES)[nearest]} set"
            f" {', '.join(differences[nearest])}",
        )


def _difference(policy: SrtpPolicy, wanted: dict[P, int]) -> list[str]:
    defaults = srtp_defaults(policy.encr_alg)
    return [
        f"{kind.label} to {value}"
        for kind, value in wanted.items()
        if policy.given.get(kind, defaults.get(kind, 0)) != value
    ]


@rule("onvif-encrypted", Level.WARNING, _SOURCE, on=KEMAC, kinds=_PSK)
def encrypted(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """An encrypted KEMAC, though TLS protects the connection."""
    if payload.encr_alg != EncrAlg.NULL:
        yield Found(payload, "the keys are encrypted; ONVIF leaves that to TLS")


@rule("onvif-key-type", Level.ERROR, _SOURCE, on=KeyData, kinds=_PSK)
def key_type(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A key that is not a TEK."""
    if payload.type not in (KeyType.TEK, KeyType.TEK_SALT):
        name = label(KeyType, payload.type)
        yield Found(payload, f"the key is of type {name}; ONVIF devices take TEK and TEK+SALT")


@rule("onvif-key-form", Level.WARNING, _SOURCE, needs=KeyData, kinds=_PSK)
def key_form(subject: Subject) -> Iterator[Found]:
    """A TEK in the form that devices need not support for its suite."""
    policies = [policy for sp in subject.policies.values() if (policy := subject.srtp(sp))]
    aead = any(policy.is_aead for policy in policies)
    for key in subject.teks:
        if key.type == KeyType.TEK and aead:
            yield Found(key, "AEAD suites take TEK+SALT, with the salt apart")
        elif key.type == KeyType.TEK_SALT and not aead:
            yield Found(key, "AES_CM_128_HMAC_SHA1_80 takes TEK, with the salt behind the key")


@rule("onvif-salt", Level.ERROR, _SOURCE, needs=KeyData, kinds=_PSK)
def salt(subject: Subject) -> Iterator[Found]:
    """A TEK without a salt, which every suite needs."""
    joined = {size + salt for size, salt in subject.tek_lengths}
    for key in subject.teks:
        if key.type == KeyType.TEK and len(key.key) not in joined:
            yield Found(
                key,
                f"the TEK has {number_of(len(key.key), 'octet')}, not those of key and salt,"
                f" {' or '.join(map(str, sorted(joined)))}; append the salt",
            )


@rule("onvif-mki", Level.ERROR, _SOURCE, on=KeyData, kinds=_PSK)
def mki(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A key without SPI, which packets carry as MKI."""
    if not payload.spi:
        yield Found(payload, "the key has no SPI; packets carry it as MKI, so that keys can change")


@rule("onvif-one-key", Level.WARNING, _SOURCE, needs=KeyData, kinds=_PSK)
def one_key(subject: Subject) -> Iterator[Found]:
    """Several keys, though a message brings the new key alone."""
    for key in subject.teks[1:2]:
        yield Found(key, f"there are {len(subject.teks)} keys; send the new key alone")


_LIVE555 = {
    P.ENCR_ALG: (0, 1), P.ENCR_KEY_LENGTH: (16,), P.AUTH_ALG: (0, 1), P.AUTH_KEY_LENGTH: (20,),
    P.SALT_KEY_LENGTH: (14,), P.SRTP_ENCRYPTION: (0, 1), P.SRTCP_ENCRYPTION: (0, 1),
    P.SRTP_AUTHENTICATION: (0, 1), P.AUTH_TAG_LENGTH: (10,),
}  # fmt: skip


@rule("onvif-live555", Level.NOTE, "Live555 MIKEY.cpp", kinds=_PSK)
def live555(subject: Subject) -> Iterator[Found]:
    """A message that Live555, and players made with it, cannot read."""
    for payload in subject.message.payloads:
        if not isinstance(payload, T | RAND | SP | KEMAC):
            yield Found(payload, f"Live555 cannot read messages with {payload.label}")
        elif isinstance(payload, SP):
            for param in payload.policy_param:
                taken = _LIVE555.get(param.type)  # type: ignore[call-overload]
                if taken and int.from_bytes(param.value) not in taken:
                    name = labels(SrtpParam)[param.type]
                    yield Found(payload, f"Live555 takes no {name} of {param.value.hex()}")
        elif isinstance(payload, KEMAC):
            yield from _kemac_of_live555(subject, payload)


def _kemac_of_live555(subject: Subject, kemac: KEMAC) -> Iterator[Found]:
    if (kemac.encr_alg, kemac.mac_alg) != (EncrAlg.NULL, MacAlg.NULL):
        yield Found(kemac, "Live555 reads a KEMAC only without encryption and MAC")
    for key in subject.inside(kemac, "encr_data")[:1]:
        if not isinstance(key, KeyData):
            continue
        if (key.type, len(key.key), len(key.spi or b"")) != (KeyType.TEK, 30, 4):
            yield Found(key, "Live555 reads only a TEK of 30 octets with an SPI of 4")
