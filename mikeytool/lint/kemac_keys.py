"""Rules about KEMAC and the keys in it (RFC 3830 6.2 and 6.13, RFC 6043 6.2 and 6.10).

Only keys that stand in the clear can be looked at; what is encrypted stays unseen.
"""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import Found, Level, rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.message_types import TICKET_MODE
from mikeytool.wire.payloads import KEMAC, SP, KeyData, V
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
"""Octets of an SRTP index, which intervals are given in (RFC 3830 6.14)."""


def in_policy(within: Within) -> bool:
    """Whether a layer is a Ticket Policy, whose KEMAC says only what keys are wanted."""
    return within.content == "tp_data"


def asked_for(within: Within) -> bool:
    """Whether a layer is the Encr data of a KEMAC in a Ticket Policy."""
    return within.parent is not None and in_policy(within.parent)


def is_all_null(kemac: KEMAC) -> bool:
    """Whether a KEMAC is neither encrypted nor has it a MAC."""
    return kemac.encr_alg == EncrAlg.NULL and kemac.mac_alg == MacAlg.NULL


@rule("keys-in-clear", Level.WARNING, "RFC 3830 4.2.3", on=KEMAC)
def keys_in_clear(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """Keys that are not encrypted, in a message that has a MAC."""
    if subject.kind in TICKET_MODE or payload.encr_alg != EncrAlg.NULL or not payload.encr_data:
        return
    if not is_all_null(payload) or subject.kind not in _KEMAC_MAC:
        yield Found(
            payload,
            "the keys stand in the clear; right only where the transport is encrypted end to end",
        )


@rule("ticket-keys-in-clear", Level.ERROR, "RFC 6043 4.2.1.5", on=KEMAC, kinds=TICKET_MODE)
def ticket_keys_in_clear(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """Keys that are not encrypted, in MIKEY-TICKET."""
    if payload.encr_alg == EncrAlg.NULL and payload.encr_data and not in_policy(within):
        yield Found(payload, "the keys stand in the clear; encrypt them with AES-CM")


@rule("mac-null", Level.WARNING, "RFC 3830 4.2.4", on=(KEMAC, V))
def mac_null(subject: Subject, payload: KEMAC | V, within: Within) -> Iterator[Found]:
    """A message whose MAC is NULL, though its keys are encrypted."""
    if subject.kind in TICKET_MODE or within.holder is not None:
        return
    if isinstance(payload, KEMAC):
        if payload.mac_alg != MacAlg.NULL or subject.kind not in _KEMAC_MAC:
            return
        if subject.kind == D.PRE_SHARED and is_all_null(payload):
            return
    elif payload.auth_alg != MacAlg.NULL:
        return
    yield Found(payload, "no MAC protects the message; anyone can change it on its way")


@rule("ticket-mac-null", Level.ERROR, "RFC 6043 4.2.1", on=V, kinds=TICKET_MODE)
def ticket_mac_null(subject: Subject, payload: V, within: Within) -> Iterator[Found]:
    """A NULL MAC in V, in MIKEY-TICKET."""
    # NULL is never accepted (interpretation 16).
    if payload.auth_alg == MacAlg.NULL:
        yield Found(payload, "V has no MAC; every message and ticket must have one")


@rule("kemac-mac", Level.ERROR, "RFC 6043 4.2.1.5", on=KEMAC, kinds=TICKET_MODE)
def kemac_mac(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """A MAC in a KEMAC of MIKEY-TICKET, where V has it."""
    if payload.mac_alg != MacAlg.NULL and not in_policy(within):
        yield Found(payload, "KEMAC has a MAC of its own; make it NULL, for V protects all")


@rule("kemac-length", Level.ERROR, "RFC 3830 6.13", on=KEMAC)
def kemac_length(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """A KEMAC of more than 2^16 octets."""
    if payload.length > _MOST:
        yield Found(payload, f"KEMAC has {payload.length} octets, {_MOST} are the most")


@rule("key-wrap-length", Level.ERROR, "RFC 3830 4.2.3", on=KEMAC)
def key_wrap_length(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """AES key wrap with a length that it cannot have."""
    if payload.encr_alg != EncrAlg.AES_KW_128 or subject.kind in _DHHMAC:
        return
    if len(payload.encr_data) % 8 or len(payload.encr_data) < 24:
        yield Found(
            payload,
            f"AES key wrap gives a multiple of 8 octets, 24 or more; here are"
            f" {len(payload.encr_data)}",
        )


@rule("dhhmac-kemac", Level.ERROR, "RFC 4650 4.2", on=KEMAC, kinds=_DHHMAC)
def dhhmac_kemac(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """Encrypted data in a KEMAC of DHHMAC, which is there for its MAC alone."""
    # RFC 4650 writes 2 for NULL where the registry has 0; both are taken for it.
    if payload.encr_data or payload.encr_alg not in (EncrAlg.NULL, 2):
        yield Found(payload, "the KEMAC of DHHMAC carries a MAC and nothing else; empty it")


@rule("key-short", Level.ERROR, "RFC 6043 12.1", on=KeyData, kinds=TICKET_MODE)
def key_short(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A key of less than 128 bits."""
    if len(payload.key) < _MIN_KEY:
        yield Found(payload, f"a key of {8 * len(payload.key)} bits; 128 are the least")


@rule("key-without-spi", Level.ERROR, "RFC 6043 6.2.1", on=KeyData, kinds=TICKET_MODE)
def key_without_spi(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A key without an SPI, outside of a request."""
    if not payload.spi and not asked_for(within):
        yield Found(payload, "the key has no SPI; every key must have one")


@rule("key-spi-twice", Level.ERROR, "RFC 6043 6.2.1", needs=KeyData)
def key_spi_twice(subject: Subject) -> Iterator[Found]:
    """Two keys with one SPI."""
    for layer in subject.layers:
        if layer.content != "encr_data":
            continue
        seen = set()
        for key in layer.all(KeyData):
            if key.spi and key.spi in seen:
                yield Found(key, f"the SPI {key.spi.hex()} is that of another key too")
            seen.add(key.spi)


@rule("key-interval", Level.WARNING, "RFC 3830 6.14", on=KeyData)
def key_interval(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """An interval of a key that is not made of two SRTP indexes, or ends before it begins."""
    if payload.kv != KeyValidity.INTERVAL or payload.valid_from is None or not payload.valid_to:
        return
    if any(len(end) != _INDEX for end in (payload.valid_from, payload.valid_to)):
        yield Found(payload, f"the ends of an interval are SRTP indexes of {_INDEX} octets")
    elif payload.valid_to < payload.valid_from:
        yield Found(payload, "the interval of the key ends before it begins")


@rule("key-length", Level.WARNING, "RFC 3830 6.10.1", needs=KeyData)
def key_length(subject: Subject) -> Iterator[Found]:
    """A TEK, or its salt, that is not as long as its policy says."""
    lengths = subject.tek_lengths
    joined = {key + salt for key, salt in lengths}
    for key in subject.teks:
        size, salt = len(key.key), key.salt
        wanted = {salt for length, salt in lengths if length == size}
        if not wanted:
            if salt is not None or size not in joined:
                yield Found(
                    key,
                    f"a TEK of {size} octets; {_or({key for key, _ in lengths})} are its policy's",
                )
        elif salt is not None and len(salt) not in wanted:
            yield Found(key, f"a salt of {len(salt)} octets; {_or(wanted)} are its policy's")


def _or(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


@rule("policy-kemac", Level.ERROR, "RFC 6043 6.10", on=KEMAC)
def policy_kemac(subject: Subject, payload: KEMAC, within: Within) -> Iterator[Found]:
    """A KEMAC in a Ticket Policy that is encrypted or has a MAC."""
    if in_policy(within) and not is_all_null(payload):
        yield Found(
            payload,
            f"the KEMAC of a Ticket Policy has {label(EncrAlg, payload.encr_alg)} and"
            f" {label(MacAlg, payload.mac_alg)}; both are NULL there",
        )


@rule("policy-key-not-zero", Level.ERROR, "RFC 6043 6.10", on=KeyData)
def policy_key_not_zero(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """Key data in a Ticket Policy that is not all zero."""
    if asked_for(within) and (any(payload.key) or any(payload.salt or b"")):
        yield Found(
            payload,
            "the key data of a request is all zero; if this is a key, it is in the clear: make"
            " a new one",
        )


@rule("policy-key-type", Level.ERROR, "RFC 6043 6.10", on=KeyData)
def policy_key_type(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """An MPK, which the KMS gives anyway, or a private key among the keys that are asked for."""
    if asked_for(within) and payload.type in (KeyType.MPK, KeyType.K_PR):
        yield Found(payload, f"a {label(KeyType, payload.type)} cannot be asked for")


@rule("tek-shared", Level.WARNING, "RFC 3830 6.13", needs=KeyData)
def tek_shared(subject: Subject) -> Iterator[Found]:
    """One TEK for several crypto sessions of a protocol that cannot share it."""
    protocols = {sp.protocol for sp in subject.message.all(SP)}
    found = subject.teks
    if len(subject.map) > 1 and len(found) == 1 and protocols - {ProtType.SRTP}:
        yield Found(found[0], "one TEK for several crypto sessions; only SRTP can share a TEK")
