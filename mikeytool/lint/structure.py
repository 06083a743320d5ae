"""Rules about the chain of payloads: what must be there, how often, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

from mikeytool.lint.notation import ANYWHERE, ENDS, Layout, name_of
from mikeytool.lint.rule import HEADER, Found, Level, Relation, Spot, rule
from mikeytool.lint.subject import MOST_PAYLOADS, Subject, Within
from mikeytool.wire.message_types import TICKET_MODE, WITH_ROLES
from mikeytool.wire.payloads import ID, IDR, RAND, RANDR, KeyData, Payload
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import DataType
from mikeytool.wire.registry import NextPayload as N

D = DataType
_DHHMAC = (D.DHHMAC_INIT, D.DHHMAC_RESP)
_IN_DHHMAC = frozenset({
    N.KEMAC, N.DH, N.T, N.ID, N.SP, N.RAND, N.ERR, N.GENERAL_EXT,
})  # fmt: skip
"""The payloads that DHHMAC may have (RFC 4650 4.1)."""


def place_of(layer: Within) -> Payload | Spot:
    """The place of a missing payload: the header of the message, or the holder of the layer."""
    return layer.holder or HEADER


@rule("unreadable", Level.ERROR, "RFC 3830 5.3")
def unreadable(subject: Subject) -> Iterator[Found]:
    """A message that breaks off, or has a payload that cannot be read."""
    error = subject.message.error
    if error is not None:
        yield Found(Spot(error.payload or "HDR", error.offset or 0), error.text)


@rule("map-missing", Level.ERROR, "RFC 3830 6.1")
def map_missing(subject: Subject) -> Iterator[Found]:
    """No CS ID map although #CS is not 0."""
    if subject.missing_sessions:
        yield Found(
            HEADER,
            f"#CS is {subject.missing_sessions}, but the CS ID map is missing: the payloads follow"
            " the header at once; add the map",
        )


@rule("unreadable-inside", Level.ERROR, "RFC 3830 6")
def unreadable_inside(subject: Subject) -> Iterator[Found]:
    """A payload with content that cannot be read to its last octet."""
    for holder, name, error in subject.faults:
        at = holder.offset if error.offset is None else error.offset
        yield Found(Spot(error.payload or holder.label, at), f"{name} cannot be read: {error.text}")


@rule("trailing-octets", Level.ERROR, "RFC 3830 6.1")
def trailing_octets(subject: Subject) -> Iterator[Found]:
    """Octets after the last payload."""
    # Refused by every role (interpretation 33).
    message = subject.message
    if message.trailing and message.error is None:
        last = message.payloads[-1].label if message.payloads else "HDR"
        at = len(message.raw) - len(message.trailing)
        yield Found(
            Spot(last, at),
            f"{number_of(len(message.trailing), 'octet')} behind the last payload; remove them",
        )


class Deviations(NamedTuple):
    """How payloads differ from the layout that they should have, by their names alone.

    `missing` has name, least and count; the others have positions: of the first one too many
    with how often it may occur, of those without a place, and of the first out of order.
    """

    missing: list[tuple[str, int, int]]
    too_many: list[tuple[int, int]]
    unexpected: list[int]
    out_of_order: int | None


@lru_cache(maxsize=256)
def _deviations(layout: Layout, names: tuple[str, ...], labels: tuple[str, ...]) -> Deviations:
    """How a row of names deviates; cached, because senders repeat themselves."""
    counts: Counter[str] = Counter()
    too_many = []
    for at, name in enumerate(names):
        counts[name] += 1
        most = layout.counts.get(name, (0, None))[1]
        if most is not None and counts[name] == most + 1:
            too_many.append((at, most))
    missing = [
        (name, least, counts[name])
        for name, (least, _) in layout.counts.items()
        if counts[name] < least
    ]
    unexpected = [at for at, name in enumerate(names) if name not in layout.counts]
    return Deviations(missing, too_many, unexpected, _first_out_of_order(layout, labels))


def _first_out_of_order(layout: Layout, labels: tuple[str, ...]) -> int | None:
    pos = 0
    for at, label in enumerate(labels):
        if label in ENDS or label not in layout.order:
            continue
        try:
            pos = layout.order.index(label, pos)
        except ValueError:
            return at
    return None


def _laid_out(subject: Subject) -> Iterator[tuple[Within, Layout, Deviations]]:
    for layer in subject.layers:
        if layer.layout is not None:
            yield layer, layer.layout, _deviations(layer.layout, layer.names, layer.labels)


@rule("payload-missing", Level.ERROR, "RFC 3830 5.2")
def payload_missing(subject: Subject) -> Iterator[Found]:
    """A missing payload that the message, policy or ticket must have."""
    for layer, layout, wrong in _laid_out(subject):
        if layer.holder is None and subject.message.error is not None:
            continue
        for name, least, count in wrong.missing:
            what = f"it needs {least}, but has {count}" if least > 1 else "add it"
            yield Found(
                place_of(layer), f"{layer.name} lacks the payload {name}; {what}", layout.section
            )


@rule("payload-twice", Level.ERROR, "RFC 3830 5.2")
def payload_twice(subject: Subject) -> Iterator[Found]:
    """A payload that occurs more often than it may."""
    for layer, layout, wrong in _laid_out(subject):
        for at, most in wrong.too_many:
            often = {1: "once", 2: "twice"}.get(most, f"{most} times")
            yield Found(
                layer.payloads[at],
                f"{layer.name} has {layer.names[at]} more often than {often}; leave one out",
                layout.section,
            )


@rule("payload-unexpected", Level.WARNING, "RFC 3830 5.2")
def payload_unexpected(subject: Subject) -> Iterator[Found]:
    """A payload that has no place in a message of its type."""
    for layer, layout, wrong in _laid_out(subject):
        for at in wrong.unexpected:
            payload, name = layer.payloads[at], layer.names[at]
            if name in ANYWHERE or _has_own_rule(subject, payload):
                continue
            yield Found(
                payload,
                f"{name} has no place in {layer.name}; receivers ignore it or refuse the message",
                layout.section,
            )


def _has_own_rule(subject: Subject, payload: Payload) -> bool:
    """Whether another rule explains better why a payload has no place there."""
    if type(payload) is KeyData:
        return True
    if subject.kind in _DHHMAC:
        return payload.number not in _IN_DHHMAC
    if subject.relation is Relation.UPDATE and type(payload) in (RAND, RANDR):
        return True
    if subject.kind in TICKET_MODE:
        return type(payload) in (ID, RAND)
    return subject.kind not in WITH_ROLES and type(payload) in (IDR, RANDR)


@rule("dhhmac-payload", Level.ERROR, "RFC 4650 4.1", kinds=_DHHMAC)
def dhhmac_payload(subject: Subject) -> Iterator[Found]:
    """A payload in DHHMAC that must not be there."""
    for payload in subject.message.payloads:
        if payload.number not in _IN_DHHMAC:
            yield Found(payload, f"{name_of(payload)} must not be in DHHMAC; leave it out")


@rule("payload-order", Level.WARNING, "RFC 3830 5.2")
def payload_order(subject: Subject) -> Iterator[Found]:
    """Payloads in an order other than the recommended one."""
    for layer, layout, wrong in _laid_out(subject):
        if wrong.out_of_order is not None:
            yield Found(
                layer.payloads[wrong.out_of_order],
                f"{layer.names[wrong.out_of_order]} comes after payloads that it should"
                f" precede; the order of {layer.name} is {', '.join(dict.fromkeys(layout.order))}",
                layout.section,
            )


@rule("not-last", Level.ERROR, "RFC 3830 5.2")
def not_last(subject: Subject) -> Iterator[Found]:
    """A MAC or a signature with payloads after it."""
    for layer in subject.layers:
        if layer.layout is None or layer.content == "initiator_data":
            continue
        ends = ENDS if layer.layout.order[-1] != "KEMAC" else {*ENDS, "KEMAC"}
        for payload in layer.payloads[:-1]:
            if payload.label in ends and payload.label in layer.layout.order:
                yield Found(
                    payload,
                    f"{payload.label} must be the last payload of {layer.name}, but others follow;"
                    " put it at the end",
                    layer.layout.section,
                )


@rule("payload-count", Level.WARNING, "RFC 3830 5.2")
def payload_count(subject: Subject) -> Iterator[Found]:
    """More payloads than a message needs; only the first of them are checked."""
    count = sum(len(layer.payloads) for layer in subject.layers)
    if count > MOST_PAYLOADS:
        yield Found(
            HEADER,
            f"there are {count} payloads; only {MOST_PAYLOADS} are checked; this may be an attack",
        )


@rule("id-without-role", Level.ERROR, "RFC 6043 6.6", on=ID, kinds=TICKET_MODE)
def id_without_role(subject: Subject, payload: ID, within: Within) -> Iterator[Found]:
    """An ID payload in MIKEY-TICKET, where IDR must be used."""
    yield Found(payload, f"{subject.name} takes IDR payloads, never ID; give it a role")


@rule("rand-without-role", Level.WARNING, "RFC 6043 6.8", on=RAND, kinds=TICKET_MODE)
def rand_without_role(subject: Subject, payload: RAND, within: Within) -> Iterator[Found]:
    """A RAND payload in MIKEY-TICKET outside Ticket Data, where RANDR is used."""
    # Another RAND does no harm: unexpected payloads are ignored (4.2.1.4).
    if within.content != "ticket_data":
        yield Found(payload, f"{subject.name} takes RANDR payloads; a RAND without role is ignored")


@rule("role-not-known", Level.WARNING, "RFC 6043 6.6", on=(IDR, RANDR))
def role_not_known(subject: Subject, payload: Payload, within: Within) -> Iterator[Found]:
    """An IDR or RANDR payload in a mode that has only ID and RAND."""
    if subject.kind not in WITH_ROLES and within.layout is not None:
        plain = "ID" if isinstance(payload, IDR) else "RAND"
        yield Found(
            payload,
            f"{subject.name} takes {plain} payloads; implementations of its RFC cannot read"
            f" {payload.label}",
        )


@rule("rand-missing", Level.WARNING, "RFC 3830 3", whole=True)
def rand_missing(subject: Subject) -> Iterator[Found]:
    """A message without a RAND, which is right only in a CSB update."""
    if subject.is_update and subject.kind not in TICKET_MODE and subject.relation is None:
        yield Found(
            HEADER,
            f"{subject.name} has no RAND: right in a CSB update, wrong in the first message of"
            " a crypto session bundle",
        )


@rule("sakke-v", Level.ERROR, "RFC 6509 2.2.1", kinds=[D.SAKKE_MSG])
def sakke_v(subject: Subject) -> Iterator[Found]:
    """A SAKKE message that asks for an answer, which its mode does not have."""
    if subject.header.v:
        yield Found(HEADER, "the V flag is 1, but there is no answer in this mode; set it to 0")


@rule("key-data-outside", Level.ERROR, "RFC 3830 6.13", on=KeyData)
def key_data_outside(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """Key data in the message itself rather than in a KEMAC."""
    if within.content != "encr_data":
        yield Found(payload, "key data must not be in the message itself; put it into a KEMAC")
