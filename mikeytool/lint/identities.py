"""Rules about identities (RFC 3830 6.7, RFC 6043 6.5 and 6.6, RFC 4650 3)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mikeytool.lint.notation import name_of
from mikeytool.lint.rule import HEADER, Found, Level, rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import ID, IDR
from mikeytool.wire.registry import DataType, IdRole, IdType
from mikeytool.wire.registry_extensions import IdScheme

D = DataType
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*:.")
_TEL = re.compile(rb"tel:\+[0-9]+")
_HOST = re.compile(rb"[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_SHOULD: dict[int, tuple[str, ...]] = {
    D.REQUEST_INIT_PSK: ("IDRi", "IDRkms"),
    D.REQUEST_INIT_PK: ("IDRi", "IDRkms"),
    D.TRANSFER_INIT: ("IDRi", "IDRr"),
    D.RESOLVE_INIT_PSK: ("IDRr", "IDRkms"),
    D.RESOLVE_INIT_PK: ("IDRr", "IDRkms"),
}
"""The identities that should be in a message (RFC 6043 4.2.1.1, 4.2.2.1, 4.2.3.1)."""


def is_uid(payload: ID | IDR) -> bool:
    """Whether a payload has a UID, a hash, in place of a URI (3GPP TS 33.180 E.7)."""
    roles = (IdRole.INITIATOR_UID, IdRole.RESPONDER_UID)
    return isinstance(payload, IDR) and payload.id_role in roles


def _is_host_of_kms(payload: ID | IDR) -> bool:
    """Whether a payload names a KMS by its host, as mission-critical systems do."""
    return (
        isinstance(payload, IDR)
        and payload.id_role in (IdRole.KMS, IdRole.INITIATOR_KMS, IdRole.RESPONDER_KMS)
        and _HOST.fullmatch(payload.id_data) is not None
    )


@rule("id-empty", Level.WARNING, "RFC 3830 6.7", on=(ID, IDR))
def id_empty(subject: Subject, payload: ID | IDR, within: Within) -> Iterator[Found]:
    """An empty identity."""
    if not payload.id_data:
        yield Found(payload, f"{name_of(payload)} is empty; leave the payload out")


@rule("id-not-uri", Level.WARNING, "RFC 3830 6.7", on=(ID, IDR))
def id_not_uri(subject: Subject, payload: ID | IDR, within: Within) -> Iterator[Found]:
    """An identity of type URI without a scheme."""
    if is_uid(payload) or _is_host_of_kms(payload):
        return
    if payload.id_type == IdType.URI and payload.id_data and not _SCHEME.match(payload.id_data):
        yield Found(
            payload,
            f"{name_of(payload)} is of type URI, but {Identity.of(payload)} has no scheme; sip:"
            " or tel: may be missing, or the type may be wrong",
        )


@rule("id-not-nai", Level.WARNING, "RFC 3830 6.7", on=(ID, IDR))
def id_not_nai(subject: Subject, payload: ID | IDR, within: Within) -> Iterator[Found]:
    """An identity of type NAI that is a URI."""
    data = payload.id_data
    if payload.id_type == IdType.NAI and data.startswith((b"sip:", b"sips:", b"tel:")):
        yield Found(
            payload,
            f"{name_of(payload)} is of type NAI, but {Identity.of(payload)} is a URI; both ends"
            " must use the same type",
        )


@rule("id-byte-string", Level.WARNING, "RFC 6043 6.5", on=(ID, IDR))
def id_byte_string(subject: Subject, payload: ID | IDR, within: Within) -> Iterator[Found]:
    """An identity of type byte string, which is meant for names of keys."""
    names_key = isinstance(payload, IDR) and payload.id_role in (
        IdRole.PSK,
        IdRole.APPLICATION,
    )
    if payload.id_type == IdType.BYTE_STRING and not names_key and not is_uid(payload):
        yield Found(
            payload,
            f"{name_of(payload)} is a byte string, a type for names of keys; use URI or NAI",
        )


@rule("sakke-tel", Level.WARNING, "RFC 6509 3.2", on=IDR, kinds=[D.SAKKE_MSG])
def sakke_tel(subject: Subject, payload: IDR, within: Within) -> Iterator[Found]:
    """An identity of the ID scheme of tel URIs that is no plain tel URI."""
    if payload.id_role not in (IdRole.INITIATOR, IdRole.RESPONDER):
        return
    schemes = {one["id_scheme"] for one in subject.message.payloads if one.label == "SAKKE"}
    if IdScheme.TEL_MONTHLY in schemes and not _TEL.fullmatch(payload.id_data):
        yield Found(
            payload,
            f"the ID scheme takes tel URIs, but {name_of(payload)} is {Identity.of(payload)}; give"
            " tel:+ and digits, without separators and parameters",
        )


@rule("id-left-out", Level.NOTE, "RFC 6043 4.2", kinds=_SHOULD, whole=True)
def id_left_out(subject: Subject) -> Iterator[Found]:
    """A missing identity that should be in the message."""
    missing = [name for name in _SHOULD[subject.kind] if name not in subject.layers[0].names]
    if missing:
        yield Found(
            HEADER,
            f"{subject.name} has no {' and no '.join(missing)}; MACs cover identities, so both ends"
            " must know them",
        )


@rule("error-unprotected", Level.NOTE, "RFC 3830 5.1.2", kinds=[D.ERROR], whole=True)
def error_unprotected(subject: Subject) -> Iterator[Found]:
    """An Error message without a MAC or signature, which anyone may have sent."""
    if not any(p.label in ("V", "SIGN") for p in subject.message.payloads):
        yield Found(HEADER, "there is no MAC or signature; treat the Error as no more than a hint")
