"""Rules about KEMAC and the keys in it (RFC 3830 6.2 and 6.13, RFC 6043 6.2 and 6.10).

Only keys in the clear can be checked.
"""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import Found, Level, rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.message_types import TICKET_MODE
from mikeytool.wire.payloads import KEMAC, SP, KeyData, V
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import (
    DataType,
    EncrAlg,
    KeyType,
    KeyValidity,
    MacAlg,
    ProtType,
    label,
)

D = DataType
_DHHMAC = (D.DHHMAC_INIT, D.DHHMAC_RESP)
_KEMAC_MAC = frozenset({int(D.PRE_SHARED), int(D.DHHMAC_INIT), int(D.DHHMAC_RESP)})
"""The data types in which the MAC of KEMAC is that of the whole message."""

_MOST = 1 << 16
_MIN_KEY = 16
_INDEX = 6
"""Octets of an SRTP index, the unit of intervals (RFC 3830 6.14)."""


def in_policy(within: Within) -> bool:
    """Whether a layer is a Ticket Policy; a KEMAC there only says which keys are requested."""
    return within.content == "tp_data"


def asked_for(within: Within) -> bool:
    """Whether a layer is the Encr data of a KEMAC in a Ticket Policy."""
    return within.parent is not None and in_policy(within.parent)


def is_all_null(kemac: KEMAC) -> bool:
    """Whether a KEMAC has neither encryption nor a MAC."""
    return kemac.encr_alg == EncrAlg.NULL and kemac.mac_alg == MacAlg.NULL


@rule("keys-in-clear", Level.WARNING, "RFC 3830 4.2.3", on=KEMAC)
def keys_in_clear(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """Keys that are not encrypted, in a message that has a MAC."""
    if subject.kind in TICKET_MODE or payload.encr_alg != EncrAlg.NULL or not payload.encr_data:
        return
    if not is_all_null(payload) or subject.kind not in _KEMAC_MAC:
        yield Found(
            payload,
            "the keys are in the clear; this is right only if the transport is encrypted end to"
            " end",
        )


@rule("ticket-keys-in-clear", Level.ERROR, "RFC 6043 4.2.1.5", on=KEMAC, kinds=TICKET_MODE)
def ticket_keys_in_clear(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """Keys that are not encrypted, in MIKEY-TICKET."""
    if payload.encr_alg == EncrAlg.NULL and payload.encr_data and not in_policy(within):
        yield Found(payload, "the keys are in the clear; encrypt them with AES-CM")


@rule("mac-null", Level.WARNING, "RFC 3830 4.2.4", on=(KEMAC, V))
def mac_null(subject: Subject, payload: KEMAC | V, within: Within) -> Iterator[Found]:
    """A message with encrypted keys but a NULL MAC."""
    if subject.kind in TICKET_MODE or within.holder is not None:
        return
    if isinstance(payload, KEMAC):
        if payload.mac_alg != MacAlg.NULL or subject.kind not in _KEMAC_MAC:
            return
        if subject.kind == D.PRE_SHARED and is_all_null(payload):
            return
    elif payload.auth_alg != MacAlg.NULL:
        return
    yield Found(payload, "no MAC protects the message; anyone can change it in transit")


@rule("ticket-mac-null", Level.ERROR, "RFC 6043 4.2.1", on=V, kinds=TICKET_MODE)
def ticket_mac_null(subject: Subject, payload: V, within: Within) -> Iterator[Found]:
    """A NULL MAC in V, in MIKEY-TICKET."""
    # NULL is never accepted (interpretation 16).
    if payload.auth_alg == MacAlg.NULL:
        yield Found(payload, "the MAC in V is NULL; every message and ticket must have a MAC")


@rule("kemac-mac", Level.ERROR, "RFC 6043 4.2.1.5", on=KEMAC, kinds=TICKET_MODE)
def kemac_mac(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """A MAC in a KEMAC of MIKEY-TICKET, where it belongs in V."""
    if payload.mac_alg != MacAlg.NULL and not in_policy(within):
        yield Found(
            payload, "KEMAC has its own MAC; set it to NULL, because V protects the whole message"
        )


@rule("kemac-length", Level.ERROR, "RFC 3830 6.13", on=KEMAC)
def kemac_length(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """A KEMAC of more than 2^16 octets."""
    if payload.length > _MOST:
        yield Found(payload, f"KEMAC has {payload.length} octets; it can have at most {_MOST}")


@rule("key-wrap-length", Level.ERROR, "RFC 3830 4.2.3", on=KEMAC)
def key_wrap_length(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """Encr data of a length that AES key wrap cannot produce."""
    if payload.encr_alg != EncrAlg.AES_KW_128 or subject.kind in _DHHMAC:
        return
    if len(payload.encr_data) % 8 or len(payload.encr_data) < 24:
        yield Found(
            payload,
            f"there are {len(payload.encr_data)} octets; AES key wrap gives a multiple of 8, and"
            " at least 24",
        )


@rule("dhhmac-kemac", Level.ERROR, "RFC 4650 4.2", on=KEMAC, kinds=_DHHMAC)
def dhhmac_kemac(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """Encrypted data in a KEMAC of DHHMAC, which has only a MAC."""
    # RFC 4650 writes 2 for NULL where the registry has 0; both are accepted.
    if payload.encr_data or payload.encr_alg not in (EncrAlg.NULL, 2):
        yield Found(payload, "a KEMAC in DHHMAC carries only a MAC; remove the encrypted data")


@rule("key-short", Level.ERROR, "RFC 6043 12.1", on=KeyData, kinds=TICKET_MODE)
def key_short(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A key of fewer than 128 bits."""
    if len(payload.key) < _MIN_KEY:
        yield Found(payload, f"the key has {8 * len(payload.key)} bits; use at least 128")


@rule("key-without-spi", Level.ERROR, "RFC 6043 6.2.1", on=KeyData, kinds=TICKET_MODE)
def key_without_spi(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A key without an SPI, other than in a request."""
    if not payload.spi and not asked_for(within):
        yield Found(payload, "the key has no SPI; every key must have one")


@rule("key-spi-twice", Level.ERROR, "RFC 6043 6.2.1", needs=KeyData)
def key_spi_twice(subject: Subject) -> Iterator[Found]:
    """Two keys with the same SPI."""
    for layer in subject.layers:
        if layer.content != "encr_data":
            continue
        seen = set()
        for key in layer.all(KeyData):
            if key.spi and key.spi in seen:
                yield Found(
                    key, f"another key has the same SPI, {key.spi.hex()}; give each its own"
                )
            seen.add(key.spi)


@rule("key-interval", Level.WARNING, "RFC 3830 6.14", on=KeyData)
def key_interval(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A key interval that is not two SRTP indexes, or ends before it begins."""
    if payload.kv != KeyValidity.INTERVAL or payload.valid_from is None or not payload.valid_to:
        return
    if any(len(end) != _INDEX for end in (payload.valid_from, payload.valid_to)):
        yield Found(payload, f"the ends of an interval must be SRTP indexes of {_INDEX} octets")
    elif payload.valid_to < payload.valid_from:
        yield Found(payload, "the interval of the key ends before it begins")


@rule("key-length", Level.WARNING, "RFC 3830 6.10.1", needs=KeyData)
def key_length(subject: Subject) -> Iterator[Found]:
    """A TEK, or its salt, of a length that does not match its policy."""
    lengths = subject.tek_lengths
    joined = {key + salt for key, salt in lengths}
    for key in subject.teks:
        size, salt = len(key.key), key.salt
        wanted = {salt for length, salt in lengths if length == size}
        if not wanted:
            if salt is not None or size not in joined:
                yield Found(
                    key,
                    f"the TEK has {number_of(size, 'octet')}; its policy says"
                    f" {_or({length for length, _ in lengths})}",
                )
        elif salt is not None and len(salt) not in wanted:
            yield Found(
                key, f"the salt has {number_of(len(salt), 'octet')}; its policy says {_or(wanted)}"
            )


def _or(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


@rule("policy-kemac", Level.ERROR, "RFC 6043 6.10", on=KEMAC)
def policy_kemac(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """A KEMAC in a Ticket Policy that is encrypted or has a MAC."""
    if in_policy(within) and not is_all_null(payload):
        yield Found(
            payload,
            f"the KEMAC of a Ticket Policy has {label(EncrAlg, payload.encr_alg)} and"
            f" {label(MacAlg, payload.mac_alg)}; both must be NULL there",
        )


@rule("policy-key-not-zero", Level.ERROR, "RFC 6043 6.10", on=KeyData)
def policy_key_not_zero(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """Key data in a Ticket Policy that is not all zero."""
    if asked_for(within) and (any(payload.key) or any(payload.salt or b"")):
        yield Found(
            payload,
            "the key data of a request must be all zero; if this is a real key, it has been sent"
            " in the clear, so make a new one",
        )


@rule("policy-key-type", Level.ERROR, "RFC 6043 6.10", on=KeyData)
def policy_key_type(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A request for an MPK, which the KMS sends anyway, or for a private key."""
    if asked_for(within) and payload.type in (KeyType.MPK, KeyType.K_PR):
        yield Found(payload, f"a key of type {label(KeyType, payload.type)} cannot be requested")


@rule("tek-shared", Level.WARNING, "RFC 3830 6.13", needs=KeyData)
def tek_shared(subject: Subject) -> Iterator[Found]:
    """One TEK for several crypto sessions of a protocol that cannot share a TEK."""
    protocols = {sp.protocol for sp in subject.message.all(SP)}
    found = subject.teks
    if len(subject.map) > 1 and len(found) == 1 and protocols - {ProtType.SRTP}:
        yield Found(
            found[0], "there is one TEK for several crypto sessions; only SRTP can share a TEK"
        )
