"""Which octets of a message are keys, and descriptions of messages without them.

`redact(describe(message))` can be shown to anyone: what is left out says how long it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mikeytool.wire.grammar import Record
from mikeytool.wire.json_field import REDACTED, Json
from mikeytool.wire.json_nested import MAX_DEPTH, kind_of
from mikeytool.wire.message import contents
from mikeytool.wire.payloads import CERT, KEMAC, Payload
from mikeytool.wire.registry import CertType, EncrAlg

_PAYLOADS = ("payloads", "ticket data")
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0


def is_secret(name: str, record: Record) -> bool:
    """Whether a field is a key in the clear, or octets that may hold one and cannot be read."""
    if isinstance(record, KEMAC) and name == "encr_data":
        return record.encr_alg == EncrAlg.NULL
    if isinstance(record, CERT) and name == "cert_data":
        return not _is_public(record.cert_type, record.cert_data)
    return name in record.fields and record.fields[name].show == "secret"


def holds_keys(payloads: Iterable[Payload], depth: int = MAX_DEPTH) -> bool:
    """Whether payloads have keys in the clear, or one of those in them has."""
    return any(_has_key(one, depth) for one in payloads)


def _has_key(payload: Payload, depth: int) -> bool:
    inside: dict[str, list[Payload]] = {}
    if depth:
        inside = {name: held for name, held, fault in contents(payload) if fault is None}
    for name in payload.fields:
        value = getattr(payload, name)
        if value and name in inside:
            if holds_keys(inside[name], depth - 1):
                return True
        elif value is not None and is_secret(name, payload):
            return True
    return False


def is_unread(name: str, record: Record) -> bool:
    """Whether a field that was not read holds payloads, of which some may be keys."""
    return name in record.fields and record.fields[name].holds in _PAYLOADS


def redact(described: Json, *, unread: bool = True) -> Json:
    """Mask the keys in a description, in place, and with `unread` octets that could not be read.

    The description must have been made without `show_keys`.
    """
    for payload in described["payloads"]:
        _redact_payload(payload, unread)
    if described["trailing"] and unread:
        described["trailing"] = _masked(described["trailing"])
    return described


def _redact_payload(payload: Json, unread: bool) -> None:
    kind = kind_of(payload)
    for name in kind.fields:
        value = payload.get(name)
        if isinstance(value, list) and kind.fields[name].holds in _PAYLOADS:
            for inside in value:
                _redact_payload(inside, unread)
        elif isinstance(value, str) and value and _is_hidden(name, kind, payload, unread):
            payload[name] = _masked(value)
            payload.pop("certificate", None)  # a URL may be a key that is in the wrong place


def _is_hidden(name: str, kind: type[Payload], payload: Json, unread: bool) -> bool:
    field = kind.fields[name]
    if name == "encr_data" and kind is KEMAC:
        return bool(payload["encr_alg_value"] == EncrAlg.NULL)
    if name == "cert_data" and kind is CERT:
        return not _is_public(payload["cert_type_value"], bytes.fromhex(payload[name]))
    return field.show == "secret" or (unread and field.holds in _PAYLOADS)


def _masked(octets: str) -> str:
    return f"{REDACTED} {len(octets) // 2} octets"


# --- Certificates -------------------------------------------------------------------------


def _is_public(cert_type: int, data: bytes) -> bool:
    """Whether octets are certificates and nothing else, or a URL.

    A private key in any format begins otherwise: with a version, or with an algorithm.
    """
    if cert_type == CertType.X509V3_URL:
        return data.isascii() and b" " not in data and b"\n" not in data
    try:
        return all(
            tag == _SEQUENCE and _looks_like_a_certificate(inside)
            for tag, inside in _elements(data)
        )
    except (IndexError, ValueError):
        return False


def _looks_like_a_certificate(inside: bytes) -> bool:
    """Whether three parts follow, of which the first begins with a version or serial number."""
    parts = list(_elements(inside))
    (tag, signed), *others = parts
    return tag == _SEQUENCE and len(others) == 2 and signed[0] in (_VERSION, _INTEGER)


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags and contents of DER; raises IndexError or ValueError for what is not whole."""
    at = 0
    while at < len(data):
        tag, size = data[at], data[at + 1]
        at += 2
        if size & 0x80:
            count = size & 0x7F
            size = int.from_bytes(data[at : at + count])
            at += count
        if at + size > len(data):
            raise ValueError("the octets end before the element")
        yield tag, data[at : at + size]
        at += size


def might_hold_keys(text: str) -> bool:
    """Whether the JSON of a message may have keys in the clear; quick, and sure if it says no.

    `keys` is written for each KEMAC that is not encrypted.
    """
    if '"key' in text and ('"keys": [' in text or '"key": "' in text):
        return True
    return '"cert_data": "' in text
