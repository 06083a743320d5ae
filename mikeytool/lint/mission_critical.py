"""What mission-critical systems want of a message (`--profile mc`).

The sources are 3GPP TS 33.179 and TS 33.180, Annex E, and TS 36.579-1.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from functools import partial

from mikeytool.lint.notation import name_of
from mikeytool.lint.rule import HEADER, PERMITTED, Found, Level, Profile
from mikeytool.lint.rule import rule as plain_rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.errors import WireError
from mikeytool.wire.extensions import read_extension
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.mission_critical import KeyParameters, ProtectedPayload
from mikeytool.wire.payloads import SIGN, SP, GeneralExt
from mikeytool.wire.registry import (
    CsIdMapType,
    DataType,
    PrfFunc,
    SrtpAuthAlg,
    SrtpEncrAlg,
    SrtpParam,
    SType,
    label,
    labels,
)
from mikeytool.wire.registry_extensions import IdScheme, KeyPurpose
from mikeytool.wire.sakke import SAKKE
from mikeytool.wire.srtp_policy import srtp_defaults

P = SrtpParam
_SAKKE = [DataType.SAKKE_MSG]
rule = partial(plain_rule, profile=Profile.MC)

PERMITTED[Profile.MC] = frozenset({"empty-map-policy", "quirk-empty-map-policy"})

_NEEDED = (("IDRi", "IDRuidi"), ("IDRr", "IDRuidr"), ("IDRkmsi",), ("IDRkmsr",))
"""The identities of a message; a UID stands in place of a URI (TS 33.180 E.7)."""

_PRIVATE = {
    P.ENCR_ALG: SrtpEncrAlg.AES_GCM, P.ENCR_KEY_LENGTH: 16, P.SALT_KEY_LENGTH: 12, P.PRF: 0,
    P.KEY_DERIVATION_RATE: 0, P.AEAD_TAG_LENGTH: 16,
}  # fmt: skip
_GROUP = {
    **_PRIVATE, P.AUTH_ALG: SrtpAuthAlg.RCC_M3, P.ROC_RATE: 1, P.SRTP_AUTH_TAG_LENGTH: 4,
    P.SRTCP_AUTH_TAG_LENGTH: 0,
}  # fmt: skip
_CSK_CS_ID = 6


def _purpose(subject: Subject) -> int:
    """The top four bits of the CSB ID (TS 33.180 5.2.2)."""
    return subject.header.csb_id >> 28


@rule("mc-mode", Level.ERROR, "TS 33.179 E.2")
def mode(subject: Subject) -> Iterator[Found]:
    """A message of another mode than MIKEY-SAKKE."""
    if subject.kind != DataType.SAKKE_MSG:
        yield Found(HEADER, f"{subject.name} is not used; keys come in SAKKE msg")


@rule("mc-identity-missing", Level.ERROR, "TS 33.179 E.2", kinds=_SAKKE, whole=True)
def identity_missing(subject: Subject) -> Iterator[Found]:
    """A message without the identities of both ends and of their KMSs."""
    names = set(map(name_of, subject.message.payloads))
    missing = [either[0] for either in _NEEDED if names.isdisjoint(either)]
    if missing:
        yield Found(HEADER, f"there is no {' and no '.join(missing)}; add it")


@rule("mc-identity-twice", Level.WARNING, "TS 33.180 E.7", kinds=_SAKKE)
def identity_twice(subject: Subject) -> Iterator[Found]:
    """A URI beside the UID that hides it."""
    names = {name_of(payload): payload for payload in subject.message.payloads}
    for uri, uid in ((each[0], each[1]) for each in _NEEDED if len(each) > 1):
        if uri in names and uid in names:
            yield Found(names[uri], f"{uid} hides what {uri} shows; leave one of them out")


@rule("mc-signature", Level.ERROR, "TS 33.179 E.2", on=SIGN, kinds=_SAKKE)
def signature(subject: Subject, payload: SIGN, within: Within) -> Iterator[Found]:
    """A signature of another type than ECCSI."""
    if payload.s_type != SType.ECCSI:
        yield Found(payload, f"the signature is {label(SType, payload.s_type)}; it must be ECCSI")


@rule("mc-scheme", Level.ERROR, "TS 33.180 F.2.1", on=SAKKE, kinds=_SAKKE)
def scheme(subject: Subject, payload: SAKKE, within: Within) -> Iterator[Found]:
    """An ID scheme of SAKKE other than hashed UIDs."""
    if payload.id_scheme != IdScheme.MCX_HASHED_UID:
        yield Found(
            payload,
            f"the ID scheme is {label(IdScheme, payload.id_scheme)}; use"
            f" {IdScheme.MCX_HASHED_UID.label}, 2",
        )


@rule("mc-purpose", Level.NOTE, "TS 33.180 5.2.2", kinds=_SAKKE)
def purpose(subject: Subject) -> Iterator[Found]:
    """A CSB ID that does not say GMK, PCK or CSK in its top four bits."""
    if _purpose(subject) not in labels(KeyPurpose):
        yield Found(HEADER, f"the purpose {_purpose(subject)} in the CSB ID has no name here")


@rule("mc-csk-prf", Level.ERROR, "TS 36.579-1 5.5.9.1", kinds=_SAKKE)
def csk_prf(subject: Subject) -> Iterator[Found]:
    """A client-server key with another PRF func than HMAC-SHA-256."""
    if _purpose(subject) == KeyPurpose.CSK and subject.header.prf != PrfFunc.HMAC_SHA_256:
        yield Found(HEADER, "the PRF func of a CSK message must be PRF-HMAC-SHA-256")


@rule("mc-csk-map", Level.ERROR, "TS 36.579-1 5.5.9.1", kinds=_SAKKE)
def csk_map(subject: Subject) -> Iterator[Found]:
    """A client-server key without the Empty map, or crypto session 6."""
    if _purpose(subject) != KeyPurpose.CSK:
        return
    entries = [at.entry for at in subject.map]
    if not entries and subject.header.cs_id_map_type == CsIdMapType.EMPTY:
        return
    one = entries[0] if len(entries) == 1 else None
    if not isinstance(one, GenericIdEntry) or one.cs_id != _CSK_CS_ID:
        yield Found(
            HEADER,
            "a CSK message has the Empty map with #CS 0, or a GENERIC-ID map with CS ID"
            f" {_CSK_CS_ID} alone",
        )


@rule("mc-policy-missing", Level.NOTE, "TS 33.179 E.2", kinds=_SAKKE, whole=True)
def policy_missing(subject: Subject) -> Iterator[Found]:
    """A message for media without a security policy, so that the default applies."""
    media = _purpose(subject) in (KeyPurpose.GMK, KeyPurpose.PCK)
    if media and subject.message.find(SP) is None:
        yield Found(HEADER, "there is no SP, which is recommended; the default policy applies")


@rule("mc-default-policy", Level.NOTE, "TS 33.179 E.2", on=SP, kinds=_SAKKE)
def default_policy(subject: Subject, payload: SP, within: Within) -> Iterator[Found]:
    """A policy for media that differs from the default of groups or of private calls."""
    wanted = {KeyPurpose.GMK: _GROUP, KeyPurpose.PCK: _PRIVATE}.get(_purpose(subject))  # type: ignore[call-overload]
    policy = subject.srtp(payload)
    if wanted is None or policy is None:
        return
    defaults = srtp_defaults(policy.encr_alg)
    others = [
        f"{kind.label} {value}"
        for kind in wanted
        if (value := policy.given.get(kind, defaults.get(kind, 0))) != wanted[kind]
    ]
    if others:
        whose = "of groups" if _purpose(subject) == KeyPurpose.GMK else "of private calls"
        yield Found(
            payload,
            f"{', '.join(others)} differs from the default policy {whose}",
            "TS 33.179 E.2" if _purpose(subject) == KeyPurpose.GMK else "TS 33.179 E.3",
        )


@rule("mc-to-self", Level.NOTE, "TS 33.180 E.5", on=GeneralExt, kinds=_SAKKE)
def to_self(subject: Subject, payload: GeneralExt, within: Within) -> Iterator[Found]:
    """SAKKE-to-self with a next payload, or in parameters other than the SAKKE payload's."""
    inside, outside = _content(payload), subject.message.find(SAKKE)
    if not isinstance(inside, SAKKE):
        return
    if inside.next_payload:
        yield Found(payload, f"the next payload in it is {inside.next_payload}; set it to 0")
    if outside is not None and inside.sakke_params != outside.sakke_params:
        yield Found(payload, "its SAKKE params differ from those of the SAKKE payload")


@rule("mc-parameters-clear", Level.WARNING, "TS 33.180 E.6.1", on=GeneralExt, kinds=_SAKKE)
def parameters_clear(subject: Subject, payload: GeneralExt, within: Within) -> Iterator[Found]:
    """3GPP key parameters in the clear."""
    if isinstance(_content(payload), KeyParameters):
        yield Found(payload, "the key parameters are in the clear; protect them with the key")


@rule("mc-parameters-key", Level.ERROR, "TS 33.180 E.6.1", on=GeneralExt, kinds=_SAKKE)
def parameters_key(subject: Subject, payload: GeneralExt, within: Within) -> Iterator[Found]:
    """Protected key parameters under another key, or with numbers that are not 0."""
    inside = _content(payload)
    if not isinstance(inside, ProtectedPayload):
        return
    if inside.dppk_id != subject.header.csb_id:
        yield Found(
            payload,
            f"the DPPK-ID is {inside.dppk_id:#010x}; it must be the CSB ID,"
            f" {subject.header.csb_id:#010x}",
        )
    if inside.payload_id or inside.payload_sequence_number:
        yield Found(payload, "payload ID and sequence number must be 0")


@rule("mc-parameters-type", Level.ERROR, "TS 33.180 5.2.2", on=GeneralExt, kinds=_SAKKE)
def parameters_type(subject: Subject, payload: GeneralExt, within: Within) -> Iterator[Found]:
    """Key parameters for a key of another purpose than the CSB ID says."""
    inside = _content(payload)
    if isinstance(inside, KeyParameters) and inside.key_type != _purpose(subject):
        yield Found(
            payload,
            f"the key type is {label(KeyPurpose, inside.key_type)}, but the CSB ID is that of a"
            f" {label(KeyPurpose, _purpose(subject))}",
        )


def _content(payload: GeneralExt) -> object:
    with suppress(WireError):
        return read_extension(payload)
    return None
