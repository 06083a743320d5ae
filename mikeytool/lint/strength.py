"""Rules about the strength of algorithms and random values (RFC 6043 12.1, RFC 3830 4.2)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from mikeytool.lint.rule import HEADER, Found, Level, Place, Relation, rule
from mikeytool.lint.subject import Subject, Within, ticket_of
from mikeytool.wire.grammar import Record
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import KMS_EXCHANGES, TICKET_MODE
from mikeytool.wire.payloads import CHASH, DH, PKE, RAND, RANDR, SIGN, SP, TP, KeyData
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import (
    DataType,
    DhGroup,
    EncrAlg,
    HashFunc,
    MacAlg,
    Namespace,
    PrfFunc,
    RandRole,
    SType,
    TicketFlag,
    label,
)

D = DataType
_RSA = (SType.RSA_PKCS1_V15, SType.RSA_PSS)
MIN_RAND = 16
"""Octets of a RAND that match keys of 128 bits (12.1)."""

MIN_RSA = 2048
"""Bits: with fewer, RSA is weaker than any key that it would protect."""

_PROFILES: dict[type[Namespace], dict[int, int]] = {
    PrfFunc: {PrfFunc.MIKEY_1: 128, PrfFunc.HMAC_SHA_256: 256},
    EncrAlg: {EncrAlg.AES_CM_128: 128, EncrAlg.AES_KW_128: 128, EncrAlg.AES_CM_256: 256},
    MacAlg: {MacAlg.HMAC_SHA_1_160: 128, MacAlg.HMAC_SHA_256_256: 256},
}
"""The profile in bits that each of MIKEY's own algorithms belongs to."""


@cache
def _choices(kind: type[Record]) -> list[tuple[str, type[Namespace]]]:
    """The fields of a record that choose one of MIKEY's own algorithms."""
    return [(n, field.names) for n, field in kind.fields.items() if field.names in _PROFILES]


def _algorithms(subject: Subject) -> Iterator[tuple[Place, str, int]]:
    """Every one of MIKEY's own algorithms in a message: place, name, profile in bits."""
    records: list[tuple[Place, Record]] = [(HEADER, subject.header)]
    records += [(p, p) for layer in subject.layers for p in layer.payloads]
    for place, record in records:
        for name, registry in _choices(type(record)):  # type: ignore[arg-type]
            number = getattr(record, name)
            bits = _PROFILES[registry].get(number)
            if bits is not None:
                yield place, label(registry, number), bits


@rule("mixed-strength", Level.ERROR, "RFC 6043 12.1")
def mixed_strength(subject: Subject) -> Iterator[Found]:
    """Algorithms of 128 and of 256 bits in one message."""
    first = None
    for place, name, bits in _algorithms(subject):
        if first is None:
            first = name, bits
        elif bits != first[1]:
            yield Found(
                place,
                f"{name} is in the {bits}-bit profile, but {first[0]} is in the other; use one"
                " profile for PRF, encryption and MAC",
            )
            return


@rule("long-key", Level.ERROR, "RFC 6043 12.1", kinds=TICKET_MODE)
def long_key(subject: Subject) -> Iterator[Found]:
    """Session keys of more than 128 bits under algorithms of 128 bits."""
    if subject.header.prf != PrfFunc.MIKEY_1:
        return
    for layer in subject.layers:
        for key in layer.all(KeyData):
            if len(key.key) > MIN_RAND:
                yield Found(key, f"the session key has {8 * len(key.key)} bits; {_LONGER}")
    for sp in subject.message.all(SP):
        policy = subject.srtp(sp)
        if policy is not None and policy.key_length > MIN_RAND:
            yield Found(sp, f"the session keys have {8 * policy.key_length} bits; {_LONGER}")


_LONGER = "more than 128 need PRF-HMAC-SHA-256, AES-CM-256 and HMAC-SHA-256-256"


def _rands(message: Message) -> dict[int, RANDR]:
    return {rand.rand_role: rand for rand in reversed(message.all(RANDR))}


@rule("rand-short", Level.ERROR, "RFC 6043 12.1", kinds=TICKET_MODE)
def rand_short(subject: Subject) -> Iterator[Found]:
    """Random values that are shorter than the keys, in MIKEY-TICKET."""
    # Keys are as long as the profile says (interpretation 40).
    rands, least = _rands(subject.message), _least(subject.header.prf)
    for rand, most in _weak_rands(subject, rands, least):
        yield Found(rand, f"there are {8 * most} random bits for keys of at least {8 * least}; use"
                    f" at least {least} octets")  # fmt: skip
    for layer in subject.layers:
        if layer.content == "ticket_data":
            least = _least(layer.holder.prf) if isinstance(layer.holder, TP) else MIN_RAND
            for own in layer.all(RAND):
                if len(own.rand) < least:
                    yield Found(own, f"the RAND of the ticket has {8 * len(own.rand)} bits, but"
                                f" TPK and MPK have at least {8 * least}")  # fmt: skip


def _least(prf: int) -> int:
    """The octets of the keys that go with a PRF func, the least for a RAND."""
    return 2 * MIN_RAND if prf == PrfFunc.HMAC_SHA_256 else MIN_RAND


def _weak_rands(
    subject: Subject, rands: dict[int, RANDR], least: int
) -> Iterator[tuple[RANDR, int]]:
    """RANDR payloads that are too short, with the number of octets that they add up to."""
    kms = rands.get(RandRole.KMS)
    if kms is not None and len(kms.rand) < least:
        yield kms, len(kms.rand)
    own = rands.get(RandRole.RESPONDER) or rands.get(RandRole.INITIATOR)
    if own is None or len(own.rand) >= least or subject.is_update:
        return
    if subject.kind in KMS_EXCHANGES:
        yield own, len(own.rand)
    elif subject.kind == D.TRANSFER_INIT:
        ticket = ticket_of(subject.message)
        if ticket is not None and TicketFlag.G not in ticket.flag:
            yield own, len(own.rand)
    elif subject.relation is Relation.ANSWER and subject.init is not None:
        theirs = _rands(subject.init).get(RandRole.INITIATOR)
        total = len(own.rand) + (0 if theirs is None else len(theirs.rand))
        if total < least:
            yield own, total


@rule("rand-alone-short", Level.WARNING, "RFC 3830 6.11", on=(RAND, RANDR))
def rand_alone_short(subject: Subject, payload: RAND | RANDR, within: Within) -> Iterator[Found]:
    """A RAND of fewer than 16 octets, which a RAND in the answer may make up for."""
    if len(payload.rand) >= MIN_RAND or within.holder is not None:
        return
    if subject.kind in TICKET_MODE:
        if subject.kind in KMS_EXCHANGES or not isinstance(payload, RANDR):
            return
        if payload.rand_role == RandRole.KMS or subject.relation is not None:
            return
        ticket = ticket_of(subject.message)
        if ticket is not None and TicketFlag.G not in ticket.flag:
            return
    yield Found(
        payload, f"the RAND has {number_of(len(payload.rand), 'octet')}; it should have {MIN_RAND}"
    )


@rule("rand-repeated", Level.WARNING, "RFC 3830 6.11", on=(RAND, RANDR))
def rand_repeated(subject: Subject, payload: RAND | RANDR, within: Within) -> Iterator[Found]:
    """A RAND in which all octets are the same."""
    if len(payload.rand) > 1 and len(set(payload.rand)) == 1:
        yield Found(
            payload, f"every octet of the RAND is {payload.rand[0]:#04x}; choose it at random"
        )


@rule("signature-sha1", Level.WARNING, "RFC 6043 12.1", on=SIGN)
def signature_sha1(subject: Subject, payload: SIGN, within: Within) -> Iterator[Found]:
    """A signature with SHA-1, the hash that goes with PRF MIKEY-1."""
    # The PRF func tells the hash (interpretation 35).
    if payload.s_type in _RSA and subject.header.prf == PrfFunc.MIKEY_1:
        yield Found(payload, "with MIKEY-1 the signature uses SHA-1, which has known collisions;"
                    " use PRF-HMAC-SHA-256")  # fmt: skip


@rule("rsa-short", Level.WARNING, "RFC 3830 9.1", on=(SIGN, PKE))
def rsa_short(subject: Subject, payload: SIGN | PKE, within: Within) -> Iterator[Found]:
    """A signature or an envelope key under an RSA key of fewer than 2048 bits."""
    if isinstance(payload, SIGN) and payload.s_type not in _RSA:
        return
    octets = payload.signature if isinstance(payload, SIGN) else payload.data
    if 8 * len(octets) < MIN_RSA:
        yield Found(payload, f"the RSA key has {8 * len(octets)} bits; use at least"
                    f" {MIN_RSA}")  # fmt: skip


@rule("chash-weak", Level.WARNING, "RFC 6043 6.7", on=CHASH)
def chash_weak(subject: Subject, payload: CHASH, within: Within) -> Iterator[Found]:
    """A certificate hash with SHA-1 or MD5."""
    if payload.hash_func in (HashFunc.SHA_1, HashFunc.MD5):
        yield Found(payload, f"{label(HashFunc, payload.hash_func)} in CHASH is weak; use SHA-256")


@rule("dh-weak", Level.WARNING, "RFC 3830 4.2.7", on=DH)
def dh_weak(subject: Subject, payload: DH, within: Within) -> Iterator[Found]:
    """A Diffie-Hellman group of 1024 bits or fewer."""
    if payload.dh_group in (DhGroup.OAKLEY_1, DhGroup.OAKLEY_2):
        yield Found(payload, f"{label(DhGroup, payload.dh_group)} has {8 * len(payload.dh_value)}"
                    " bits; use OAKLEY 5")  # fmt: skip


@rule("dh-value", Level.ERROR, "RFC 3830 3.3", on=DH)
def dh_value(subject: Subject, payload: DH, within: Within) -> Iterator[Found]:
    """A Diffie-Hellman value of 0 or 1, with which anyone can compute the key."""
    if int.from_bytes(payload.dh_value) <= 1:
        yield Found(payload, "the DH value is 0 or 1, so anyone can compute the key; refuse it")
