"""Rules about timestamps and periods (RFC 3830 4.2.8 and 6.6, RFC 6043 6.3, 6.4 and 6.10)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import Found, Level, rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.payloads import TR, T
from mikeytool.wire.registry import DataType, TsRole, TsType
from mikeytool.wire.timestamp import NTP_EPOCH, Timestamp

_NS = 1_000_000_000
_USES = (
    DataType.TRANSFER_INIT, DataType.TRANSFER_RESP, DataType.RESOLVE_INIT_PSK,
    DataType.RESOLVE_INIT_PK,
)  # fmt: skip
SKEW_NS = 300 * _NS
"""How far apart the clocks of two ends may be (interpretation 30)."""

_HALF_YEAR = 182 * 86_400


def span(ns: int) -> str:
    """A length of time in words."""
    seconds = abs(ns) // _NS
    for size, unit in ((86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"


@rule("time-future", Level.WARNING, "RFC 3830 5.4", on=T)
def time_future(subject: Subject, payload: T, within: Within) -> Iterator[Found]:
    """A timestamp further ahead of the clock than clocks may be apart."""
    t = Timestamp.of(payload)
    moment = t.unix_ns
    if moment is None or moment - subject.now_ns <= SKEW_NS or t.filetime or t.is_zero:
        return
    text = f"{t.utc} is {span(moment - subject.now_ns)} ahead: one of the clocks is wrong"
    seconds = int.from_bytes(payload.ts_value[:4])
    if abs(seconds - subject.now_ns // _NS) < _HALF_YEAR:
        text += f"; as Unix time it would be right, so {NTP_EPOCH} seconds are missing in it"
    yield Found(payload, text)


@rule("time-past", Level.NOTE, "RFC 3830 5.4", on=T)
def time_past(subject: Subject, payload: T, within: Within) -> Iterator[Found]:
    """A timestamp further in the past than clocks may be apart, which receivers refuse."""
    t = Timestamp.of(payload)
    moment = t.unix_ns
    if within.holder is None and moment is not None and subject.now_ns - moment > SKEW_NS:
        yield Found(
            payload,
            f"{t.utc} is {span(subject.now_ns - moment)} ago, but receivers accept"
            f" {SKEW_NS // _NS} seconds; give the time of receipt with --at",
        )


@rule("time-not-utc", Level.WARNING, "RFC 3830 4.2.8", on=(T, TR))
def time_not_utc(subject: Subject, payload: T | TR, within: Within) -> Iterator[Found]:
    """A timestamp of type NTP, which may be in any time zone."""
    if payload.ts_type == TsType.NTP:
        yield Found(payload, "TS type NTP does not say which time zone it is in; use NTP-UTC")


@rule("time-type-sakke", Level.ERROR, "RFC 6509 2.2.1", on=T, kinds=[DataType.SAKKE_MSG])
def time_type_sakke(subject: Subject, payload: T, within: Within) -> Iterator[Found]:
    """A SAKKE message without an NTP time, which decides the month of its keys."""
    if payload.ts_type not in (TsType.NTP_UTC, TsType.NTP):
        yield Found(payload, "the TS type of a SAKKE message must be NTP-UTC or NTP")


@rule("validity-counter", Level.ERROR, "RFC 6043 6.10", on=TR)
def validity_counter(subject: Subject, payload: TR, within: Within) -> Iterator[Found]:
    """A COUNTER as start or end of a validity period."""
    # A COUNTER is not a time (interpretation 20).
    if payload.ts_role in (TsRole.START, TsRole.END) and payload.ts_type == TsType.COUNTER:
        yield Found(payload, "the validity period is given as a COUNTER; use NTP-UTC-32")


@rule("validity-reversed", Level.ERROR, "RFC 6043 6.10", needs=TR)
def validity_reversed(subject: Subject) -> Iterator[Found]:
    """A validity period that ends before it begins."""
    for layer in subject.layers:
        by_role = {tr.ts_role: tr for tr in layer.all(TR)}
        start, end = by_role.get(TsRole.START), by_role.get(TsRole.END)
        first, last = _moment(start), _moment(end)
        if end is not None and first is not None and last is not None and last <= first:
            yield Found(end, "the validity period ends before it begins; swap TRs and TRe")


@rule("validity-over", Level.NOTE, "RFC 6043 6.10", on=TR)
def validity_over(subject: Subject, payload: TR, within: Within) -> Iterator[Found]:
    """A ticket, or a request for one, with a validity period in the past."""
    end = _moment(payload) if payload.ts_role == TsRole.END else None
    if end is not None and end < subject.now_ns:
        yield Found(
            payload,
            f"the validity period ended at {Timestamp.of(payload).utc},"
            f" {span(subject.now_ns - end)} ago; a new ticket is needed",
        )


@rule("validity-to-come", Level.WARNING, "RFC 6043 6.10", on=TR, kinds=_USES)
def validity_to_come(subject: Subject, payload: TR, within: Within) -> Iterator[Found]:
    """A message that uses a ticket before its validity period begins."""
    if payload.ts_role != TsRole.START:
        return
    start = _moment(payload)
    if start is not None and start - subject.now_ns > SKEW_NS:
        yield Found(
            payload,
            f"the ticket is valid only from {Timestamp.of(payload).utc},"
            f" in {span(start - subject.now_ns)}",
        )


@rule("rekey-type", Level.ERROR, "RFC 6043 6.10", on=TR)
def rekey_type(subject: Subject, payload: TR, within: Within) -> Iterator[Found]:
    """A rekeying interval of a type other than NTP-UTC-32."""
    if payload.ts_role == TsRole.REKEY and payload.ts_type != TsType.NTP_UTC_32:
        yield Found(payload, "the TS type of TRr must be NTP-UTC-32")


@rule("rekey-zero", Level.WARNING, "RFC 6043 6.10", on=TR)
def rekey_zero(subject: Subject, payload: TR, within: Within) -> Iterator[Found]:
    """A rekeying interval of 0."""
    if payload.ts_role == TsRole.REKEY and Timestamp.of(payload).interval == 0:
        yield Found(payload, "TRr is 0, so keys would have to change all the time; leave it out")


def _moment(payload: TR | None) -> int | None:
    return None if payload is None else Timestamp.of(payload).unix_ns
