"""Rules about HDR and its map of crypto sessions (RFC 3830 6.1, RFC 4563 5, RFC 6043 6.1)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import HEADER, Found, Level, Relation, rule
from mikeytool.lint.subject import MapEntry, Subject, crypto_sessions
from mikeytool.wire.header import GenericIdEntry, SrtpIdEntry, srtp_session_data
from mikeytool.wire.message_types import KMS_EXCHANGES, RESPONSES, TRANSFERS
from mikeytool.wire.payloads import SP, TICKET
from mikeytool.wire.registry import (
    MIKEY_VERSION,
    CsIdMapType,
    DataType,
    ProtType,
    TicketFlag,
    label,
)

D = DataType
_FIRST = (D.PRE_SHARED, D.PUBLIC_KEY, D.DH_INIT, D.DHHMAC_INIT)
_FIRST_PRIVATE = 241
"""From here on the 8-bit registries of MIKEY are for private use (RFC 3830 10)."""


@rule("version", Level.ERROR, "RFC 3830 6.1")
def version(subject: Subject) -> Iterator[Found]:
    """A version other than 1, the only one that exists."""
    if subject.header.version != MIKEY_VERSION:
        yield Found(HEADER, f"the version is {subject.header.version}; MIKEY has only version 1")


@rule("number-unassigned", Level.WARNING, "RFC 3830 10")
def number_unassigned(subject: Subject) -> Iterator[Found]:
    """A number that is not in its registry."""
    for place, name, value in subject.unregistered:
        if value < _FIRST_PRIVATE:
            yield Found(
                place,
                f"{_words(name)} {value} is not assigned; other implementations do not know it",
            )


@rule("number-private", Level.NOTE, "RFC 3830 10")
def number_private(subject: Subject) -> Iterator[Found]:
    """A number for private use, known only to its vendor."""
    for place, name, value in subject.unregistered:
        if value >= _FIRST_PRIVATE:
            yield Found(place, f"{_words(name)} {value} is for private use; ask its vendor")


def _words(name: str) -> str:
    return name.replace("_", " ")


@rule("empty-map-count", Level.ERROR, "RFC 4563 5")
def empty_map_count(subject: Subject) -> Iterator[Found]:
    """An Empty map with a #CS other than 0."""
    header = subject.header
    if header.cs_id_map_type == CsIdMapType.EMPTY and header.cs_count:
        yield Found(
            HEADER,
            f"#CS is {header.cs_count}, but an Empty map has no crypto sessions; set it to 0",
        )


@rule("empty-map-policy", Level.ERROR, "RFC 4563 5", needs=SP)
def empty_map_policy(subject: Subject) -> Iterator[Found]:
    """A security policy beside an Empty map."""
    if subject.kind == D.ERROR or subject.is_mission_critical:
        return
    if subject.header.cs_id_map_type == CsIdMapType.EMPTY:
        for sp in subject.message.all(SP)[:1]:
            yield Found(
                sp, "a message with an Empty map must not have an SP; leave one of them out"
            )


@rule("exchange-map", Level.ERROR, "RFC 6043 4.2.1.1", kinds=KMS_EXCHANGES)
def exchange_map(subject: Subject) -> Iterator[Found]:
    """A map other than the Empty map in Ticket Request or Ticket Resolve."""
    if subject.header.cs_id_map_type != CsIdMapType.EMPTY:
        yield Found(
            HEADER,
            f"{subject.name} has a map of type"
            f" {label(CsIdMapType, subject.header.cs_id_map_type)}; use the Empty map with #CS 0",
        )


@rule("transfer-map", Level.ERROR, "RFC 6043 6.1", kinds=TRANSFERS)
def transfer_map(subject: Subject) -> Iterator[Found]:
    """An SRTP-ID map in Ticket Transfer, where it must not be used."""
    if subject.header.cs_id_map_type == CsIdMapType.SRTP_ID:
        yield Found(HEADER, f"{subject.name} has an SRTP-ID map; use GENERIC-ID")


@rule("cs-id-twice", Level.ERROR, "RFC 6043 6.1.1")
def cs_id_twice(subject: Subject) -> Iterator[Found]:
    """Two crypto sessions with the same CS ID."""
    # Refused by every role (interpretation 25).
    seen = set()
    for place, cs_id, _ in subject.map:
        if cs_id in seen:
            yield Found(place, f"CS ID {cs_id} is given twice; give every crypto session its own")
        seen.add(cs_id)


def _ssrc(entry: SrtpIdEntry | GenericIdEntry) -> int | None:
    if isinstance(entry, SrtpIdEntry):
        return entry.ssrc
    data = srtp_session_data(entry)
    return None if data is None else data[0]


@rule("ssrc-twice", Level.WARNING, "RFC 3830 6.1.1")
def ssrc_twice(subject: Subject) -> Iterator[Found]:
    """Two crypto sessions with the same SSRC, which may use the same key stream twice."""
    seen: dict[int, int] = {}
    for place, cs_id, entry in subject.map:
        ssrc = _ssrc(entry)
        if not ssrc:
            continue
        if ssrc in seen:
            yield Found(
                place,
                f"crypto sessions {seen[ssrc]} and {cs_id} have the SSRC {ssrc:#010x}; under one"
                " TEK they would use the same key stream twice",
            )
        seen.setdefault(ssrc, cs_id)


@rule("ssrc-not-filled-in", Level.ERROR, "RFC 3830 6.1.1", kinds=RESPONSES)
def ssrc_not_filled_in(subject: Subject) -> Iterator[Found]:
    """An SSRC that the responder left at 0."""
    for place, cs_id, entry in subject.map:
        if isinstance(entry, SrtpIdEntry) and entry.ssrc == 0:
            yield Found(
                place, f"the SSRC of crypto session {cs_id} is 0; the responder must fill it in"
            )


@rule("ssrc-zero-generic", Level.NOTE, "RFC 6043 6.1.1")
def ssrc_zero_generic(subject: Subject) -> Iterator[Found]:
    """An SSRC of 0 in a GENERIC-ID map, where it is not a placeholder."""
    for place, cs_id, entry in subject.map:
        if isinstance(entry, GenericIdEntry) and _ssrc(entry) == 0:
            yield Found(
                place,
                f"the SSRC of crypto session {cs_id} is 0 and means 0; leave the Session Data"
                " out if the other side is to choose",
            )


@rule("policy-twice", Level.ERROR, "RFC 3830 6.10", needs=SP)
def policy_twice(subject: Subject) -> Iterator[Found]:
    """Two security policies with the same number."""
    seen = set()
    for sp in subject.message.all(SP):
        if sp.policy_no in seen:
            yield Found(
                sp, f"policy number {sp.policy_no} is given twice; give each policy its own"
            )
        seen.add(sp.policy_no)


@rule("policy-left-out", Level.WARNING, "RFC 3830 6.10.1", kinds=_FIRST, whole=True)
def policy_left_out(subject: Subject) -> Iterator[Found]:
    """Crypto sessions without any security policy in the first message."""
    if subject.map and not subject.policies and not subject.is_update:
        yield Found(
            HEADER,
            "there are crypto sessions, but no SP, so the defaults of SRTP apply: AES-CM with 128"
            " bits and HMAC-SHA-1 with 80; say so with an SP",
        )


@rule("policy-missing", Level.ERROR, "RFC 3830 6.10", whole=True)
def policy_missing(subject: Subject) -> Iterator[Found]:
    """A crypto session that refers to a policy that does not exist."""
    if not subject.policies or (subject.relation is None and not _is_first(subject)):
        return
    if subject.is_update and subject.kind in TRANSFERS:
        return  # it may be one of the other end's, from the first exchange
    for place, cs_id, entry in subject.map:
        for number in dict.fromkeys(_policies(entry)):
            if number not in subject.policies:
                yield Found(
                    place,
                    f"crypto session {cs_id} refers to policy {number}, which no SP has;"
                    f" there are {', '.join(map(str, sorted(subject.policies)))}",
                )


def _is_first(subject: Subject) -> bool:
    """Whether no previous message can have brought policies."""
    others = (D.RSA_R_I_MSG, D.TRANSFER_INIT, D.SAKKE_MSG)
    return not subject.is_update and subject.kind in (*_FIRST, *others)


def _policies(entry: SrtpIdEntry | GenericIdEntry) -> list[int]:
    return [entry.policy_no] if isinstance(entry, SrtpIdEntry) else entry.policies


@rule("policy-protocol", Level.ERROR, "RFC 6043 6.1.1")
def policy_protocol(subject: Subject) -> Iterator[Found]:
    """A crypto session with a policy for a different security protocol."""
    for place, cs_id, entry in subject.map:
        protocol = ProtType.SRTP if isinstance(entry, SrtpIdEntry) else entry.protocol
        for number in dict.fromkeys(_policies(entry)):
            sp = subject.policies.get(number)
            if sp is not None and sp.protocol != protocol:
                yield Found(
                    place,
                    f"crypto session {cs_id} is for {label(ProtType, protocol)}, but its policy"
                    f" {number} is for {label(ProtType, sp.protocol)}; use one that fits",
                )


@rule("policy-unused", Level.NOTE, "RFC 3830 6.1.1", needs=SP)
def policy_unused(subject: Subject) -> Iterator[Found]:
    """A security policy that no crypto session uses."""
    if not subject.map or any(not _policies(entry) for _, _, entry in subject.map):
        return
    named = {number for _, _, entry in subject.map for number in _policies(entry)}
    for sp in subject.message.all(SP):
        if sp.policy_no not in named:
            yield Found(sp, f"no crypto session uses policy {sp.policy_no}")


@rule("session-data-length", Level.ERROR, "RFC 6043 6.1.1")
def session_data_length(subject: Subject) -> Iterator[Found]:
    """Session Data of SRTP with a length that does not match the S flag."""
    for place, cs_id, entry in subject.map:
        if isinstance(entry, SrtpIdEntry) or entry.protocol != ProtType.SRTP:
            continue
        wanted = 10 if entry.s else 4
        if entry.session_data and len(entry.session_data) != wanted:
            yield Found(
                place,
                f"the Session Data of crypto session {cs_id} has {len(entry.session_data)}"
                f" octets; with S = {entry.s} it must have {wanted}",
            )


def _gaps(entry: GenericIdEntry) -> str:
    """What is missing in a crypto session."""
    gaps = []
    if len(entry.policies) != 1:
        gaps.append(f"{len(entry.policies)} policies instead of one")
    if entry.protocol == ProtType.SRTP and not entry.session_data:
        gaps.append("no Session Data")
    if not entry.spi:
        gaps.append("no SPI")
    return ", ".join(gaps)


def _incomplete(subject: Subject) -> Iterator[tuple[MapEntry, str]]:
    for at in subject.map:
        if isinstance(at.entry, GenericIdEntry) and (gaps := _gaps(at.entry)):
            yield at, gaps


@rule("answer-incomplete", Level.ERROR, "RFC 6043 4.2.2.3", kinds=[D.TRANSFER_RESP])
def answer_incomplete(subject: Subject) -> Iterator[Found]:
    """A crypto session that TRANSFER_RESP leaves without policy, Session Data or SPI."""
    for at, gaps in _incomplete(subject):
        yield Found(at.place, f"crypto session {at.cs_id} still has {gaps}; fill it in")


@rule("offer-incomplete", Level.ERROR, "RFC 6043 6.10", kinds=[D.TRANSFER_INIT])
def offer_incomplete(subject: Subject) -> Iterator[Found]:
    """An incomplete crypto session although F = 0 forbids an answer."""
    # One policy, Session Data and SPI for each (interpretation 24).
    ticket = subject.message.find(TICKET)
    if ticket is None or TicketFlag.F in ticket.flag or subject.is_update:
        return
    for at, gaps in _incomplete(subject):
        yield Found(
            at.place,
            f"crypto session {at.cs_id} has {gaps}, and with F = 0 no answer can fill it in;"
            " complete it or use a ticket with F",
        )


@rule("session-dropped", Level.ERROR, "RFC 6043 4.2.2.3", relation=Relation.ANSWER)
def session_dropped(subject: Subject) -> Iterator[Found]:
    """An answer without a crypto session that was offered."""
    # Refused by the initiator (interpretation 25).
    if subject.init is None or not (subject.map or subject.kind == D.TRANSFER_RESP):
        return
    offered = crypto_sessions(subject.init.header)
    missing = {cs_id for _, cs_id, _ in offered} - {cs_id for _, cs_id, _ in subject.map}
    if missing:
        yield Found(
            HEADER,
            f"crypto session {', '.join(map(str, sorted(missing)))} was offered, but is not in"
            " the answer",
        )
