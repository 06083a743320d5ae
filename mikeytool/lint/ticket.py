"""Rules about Ticket Policy, Ticket Data and Initiator Data (RFC 6043 6.10, appendix A)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import HEADER, Found, Level, Relation, rule
from mikeytool.lint.subject import Subject, Within, identity_in, ticket_of
from mikeytool.wire.identity import Identity
from mikeytool.wire.message_types import REQUESTS
from mikeytool.wire.payloads import (
    DH,
    ERR,
    IDR,
    KEMAC,
    RANDR,
    TICKET,
    TP,
    TR,
    KeyData,
    Payload,
    V,
)
from mikeytool.wire.registry import (
    BASE_TICKET,
    DataType,
    IdRole,
    KeyType,
    RandRole,
    TicketFlag,
    TicketType,
    TsRole,
)
from mikeytool.wire.timestamp import Timestamp

D = DataType
F = TicketFlag
_POLICIES = (TP, TICKET)
_TGKS = (KeyType.TGK, KeyType.TGK_SALT)


@rule("flag-d-or-l", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_d_or_l(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: without D there must be L."""
    if F.D not in payload.flag and F.L not in payload.flag:
        yield Found(
            payload,
            "neither D nor L: an initiator that made the ticket may supply keys; set L, or D if"
            " the KMS made it",
        )


@rule("flag-g-needs-f", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_g_needs_f(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: G needs F."""
    if F.G in payload.flag and F.F not in payload.flag:
        yield Found(payload, "G without F: RANDRr comes in TRANSFER_RESP; set F or clear G")


@rule("flag-g-or-h", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_g_or_h(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: there must be G or H."""
    if F.G not in payload.flag and F.H not in payload.flag:
        yield Found(payload, "neither G nor H: no RAND would go into the keys; set one or both")


@rule("flag-i-needs-e", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_i_needs_e(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: I needs E."""
    if F.I in payload.flag and F.E not in payload.flag:
        yield Found(payload, "I without E: only the KMS can fork keys; set E or clear I")


@rule("flag-k-needs-d", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def flag_k_needs_d(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: K needs D."""
    if F.K in payload.flag and F.D not in payload.flag:
        yield Found(payload, "K without D: a KMS that changed the policy made the ticket; set D")


@rule("flag-m-needs-f", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_m_needs_f(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: M needs F."""
    if F.M in payload.flag and F.F not in payload.flag:
        yield Found(payload, "M without F: a responder's keys come in TRANSFER_RESP; set F")


def _asks_for_tgk(subject: Subject, payload: TP) -> bool:
    """Whether a Ticket Policy says itself that a TGK is wanted."""
    return any(
        key.type in _TGKS
        for kemac in subject.inside(payload, "tp_data")
        if type(kemac) is KEMAC
        for key in subject.inside(kemac, "encr_data")
        if isinstance(key, KeyData)
    )


@rule("flag-i-needs-f", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_i_needs_f(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: I needs F when a TGK is in the ticket."""
    if F.I in payload.flag and F.F not in payload.flag and _asks_for_tgk(subject, payload):
        yield Found(payload, "I without F, and a TGK is to be forked; set F")


@rule("flag-i-without-f", Level.WARNING, "RFC 6043 6.10", on=_POLICIES)
def flag_i_without_f(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: I without F, right only if no TGK is in the ticket."""
    if F.I in payload.flag and F.F not in payload.flag and not _asks_for_tgk(subject, payload):
        yield Found(payload, "I without F is right only when the ticket holds no TGK")


@rule("flag-k-in-request", Level.ERROR, "RFC 6043 6.10", on=TP)
def flag_k_in_request(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: K in a request, where it is always 0."""
    if F.K in payload.flag:
        yield Found(payload, "K is the KMS's to set; clear it in a request")


@rule("flag-d-in-request", Level.WARNING, "RFC 6043 6.10", on=TP)
def flag_d_in_request(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: no D in a request, though the KMS will make the ticket."""
    # The KMS sets it itself (interpretation 21).
    if F.D not in payload.flag:
        yield Found(payload, "D is 0, but a ticket that is requested is made by the KMS; set D")


@rule("reserved-bits", Level.NOTE, "RFC 6043 6.10", on=(TP, TICKET, ERR, DH))
def reserved_bits(subject: Subject, payload: Payload, within: Within) -> Iterator[Found]:
    """Reserved bits that are not 0."""
    bits = payload.res if isinstance(payload, TP) else getattr(payload, "reserved", 0)
    if bits:
        yield Found(payload, f"the reserved bits are {bits:#x}; set them to 0")


@rule("ticket-form", Level.WARNING, "RFC 6043 6.10", on=_POLICIES)
def ticket_form(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """A MIKEY base ticket of a subtype or version that is not defined."""
    form = (payload.ticket_type, payload.subtype, payload.version)
    if payload.ticket_type == TicketType.MIKEY_BASE and form != BASE_TICKET:
        yield Found(
            payload,
            f"MIKEY Base Ticket of subtype {payload.subtype}, version {payload.version}; there"
            f" are {BASE_TICKET.subtype} and {BASE_TICKET.version}",
        )


@rule("granted-kemac", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def granted_kemac(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A KEMAC in a granted policy."""
    for inside in subject.inside(payload, "tp_data"):
        if type(inside) is KEMAC:
            yield Found(inside, "a KEMAC stands in the policy of a TICKET; only a TP has one")


@rule("initiator-data-missing", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def initiator_data_missing(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """No Initiator Data although keys are forked."""
    sent = subject.kind not in REQUESTS
    if sent and F.I in payload.flag and not payload.initiator_data:
        yield Found(payload, "I is set and there is no Initiator Data; the initiator adds it")


@rule("initiator-data-unwanted", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def initiator_data_unwanted(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """Initiator Data without key forking, or from the KMS."""
    if payload.initiator_data and F.I not in payload.flag:
        yield Found(payload, "Initiator Data without I; leave it out or set I")
    elif payload.initiator_data and subject.kind in REQUESTS:
        yield Found(payload, "Initiator Data from the KMS; only the initiator can make it")


def _vs(subject: Subject, ticket: TICKET) -> list[V]:
    return [p for p in subject.inside(ticket, "initiator_data") if isinstance(p, V)]


@rule("vi-differs", Level.ERROR, "RFC 6043 6.10", kinds=[D.TRANSFER_INIT])
def vi_differs(subject: Subject) -> Iterator[Found]:
    """A Vi in Initiator Data that is not the V of TRANSFER_INIT."""
    ticket, v = ticket_of(subject.message), subject.message.find(V)
    if ticket is None or v is None:
        return
    for vi in _vs(subject, ticket)[:1]:
        if (vi.auth_alg, vi.ver_data) != (v.auth_alg, v.ver_data):
            yield Found(vi, "Vi differs from the V of the message; copy it")


@rule("vr-algorithm", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def vr_algorithm(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A Vr whose algorithm is not that of Vi."""
    vs = _vs(subject, payload)
    if len(vs) == 2 and vs[0].auth_alg != vs[1].auth_alg:
        yield Found(vs[1], "Vr has another algorithm than Vi; take the same")


@rule("initiator-differs", Level.ERROR, "RFC 6043 5.3", kinds=[D.TRANSFER_INIT])
def initiator_differs(subject: Subject) -> Iterator[Found]:
    """With key forking, an initiator that is not the owner of the ticket."""
    # Without I it may be another (interpretation 18).
    ticket = ticket_of(subject.message)
    if ticket is None or F.I not in ticket.flag:
        return
    owner = identity_in(subject.inside(ticket, "tp_data"), IdRole.INITIATOR)
    sender = identity_in(subject.message.payloads, IdRole.INITIATOR)
    if owner is not None and sender is not None and owner.id_data != sender.id_data:
        yield Found(
            sender,
            f"the ticket is {Identity.of(owner)}'s; with I nobody else can send it, not"
            f" {Identity.of(sender)}",
        )


@rule("initiator-unnamed", Level.NOTE, "RFC 6043 4.2.1.1", on=TICKET)
def initiator_unnamed(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A granted policy that does not name the initiator."""
    inside = subject.inside(payload, "tp_data")
    if inside and identity_in(inside, IdRole.INITIATOR) is None:
        yield Found(payload, "the policy has no IDRi, so responders cannot tell whose ticket it is")


@rule("initiator-keys", Level.ERROR, "RFC 6043 4.2.2.1", kinds=[D.TRANSFER_INIT])
def initiator_keys(subject: Subject) -> Iterator[Found]:
    """Keys from the initiator although L = 0 forbids them."""
    # L and M bind by role, in updates too (interpretation 21).
    ticket = ticket_of(subject.message)
    if ticket is None and subject.relation is Relation.UPDATE and _by_initiator(subject):
        ticket = ticket_of(subject.init)
    kemac = subject.message.find(KEMAC)
    if ticket is not None and kemac is not None and F.L not in ticket.flag:
        yield Found(kemac, "the initiator sends keys and L is 0; leave KEMAC out or set L")


@rule("responder-keys", Level.ERROR, "RFC 6043 4.2.2.3", kinds=[D.TRANSFER_INIT, D.TRANSFER_RESP])
def responder_keys(subject: Subject) -> Iterator[Found]:
    """Keys from the responder although M = 0 forbids them."""
    ticket, kemac = ticket_of(subject.init), subject.message.find(KEMAC)
    if ticket is None or kemac is None or subject.relation is None or F.M in ticket.flag:
        return
    if subject.kind == D.TRANSFER_RESP or not _by_initiator(subject):
        yield Found(kemac, "the responder sends keys and M is 0; leave KEMAC out or set M")


def _by_initiator(subject: Subject) -> bool:
    """Whether an update was started by the initiator, whose identity then comes first (5.2)."""
    first = subject.message.find(IDR)
    return first is None or first.id_role == IdRole.INITIATOR


@rule("answer-forbidden", Level.ERROR, "RFC 6043 6.10", relation=Relation.ANSWER)
def answer_forbidden(subject: Subject) -> Iterator[Found]:
    """TRANSFER_RESP although F = 0 forbids it."""
    ticket = ticket_of(subject.init)
    if subject.kind == D.TRANSFER_RESP and ticket is not None and F.F not in ticket.flag:
        yield Found(HEADER, "F is 0 in the ticket, so there must be no TRANSFER_RESP")


def _randr(subject: Subject, role: RandRole) -> RANDR | None:
    return next((p for p in subject.message.all(RANDR) if p.rand_role == role), None)


@rule("randr-missing", Level.ERROR, "RFC 6043 4.2.2.3", relation=Relation.ANSWER)
def randr_missing(subject: Subject) -> Iterator[Found]:
    """TRANSFER_RESP without RANDRr although G = 1 wants one."""
    ticket = ticket_of(subject.init)
    if subject.kind != D.TRANSFER_RESP or ticket is None or F.G not in ticket.flag:
        return
    if _randr(subject, RandRole.RESPONDER) is None:
        yield Found(HEADER, "G is 1 in the ticket and there is no RANDRr; add it")


@rule("randr-unwanted", Level.ERROR, "RFC 6043 6.10", relation=Relation.ANSWER)
def randr_unwanted(subject: Subject) -> Iterator[Found]:
    """TRANSFER_RESP with RANDRr although G = 0 forbids it."""
    ticket, rand = ticket_of(subject.init), _randr(subject, RandRole.RESPONDER)
    if subject.kind != D.TRANSFER_RESP or ticket is None or rand is None:
        return
    if F.G not in ticket.flag:
        yield Found(rand, "G is 0 in the ticket, so there is no RANDRr; leave it out")


@rule("modifier-missing", Level.ERROR, "RFC 6043 4.2.3.5", relation=Relation.ANSWER)
def modifier_missing(subject: Subject) -> Iterator[Found]:
    """With key forking, an answer without IDRr and RANDRkms, which the keys depend on."""
    # Both or none, as the I flag says (interpretation 27).
    ticket = ticket_of(subject.init)
    if ticket is None or F.I not in ticket.flag or not _carries_modifier(subject):
        return
    gaps = []
    if identity_in(subject.message.payloads, IdRole.RESPONDER) is None:
        gaps.append("IDRr")
    if _randr(subject, RandRole.KMS) is None:
        gaps.append("RANDRkms")
    if gaps:
        yield Found(HEADER, f"keys are forked (I) and {' and '.join(gaps)} is missing")


@rule("modifier-unwanted", Level.ERROR, "RFC 6043 4.2.3.5", relation=Relation.ANSWER)
def modifier_unwanted(subject: Subject) -> Iterator[Found]:
    """Without key forking, an answer with RANDRkms."""
    ticket, rand = ticket_of(subject.init), _randr(subject, RandRole.KMS)
    if ticket is not None and rand is not None and F.I not in ticket.flag:
        yield Found(rand, "keys are not forked (I is 0), so there is no RANDRkms; leave it out")


def _carries_modifier(subject: Subject) -> bool:
    return subject.kind in (D.TRANSFER_RESP, D.RESOLVE_RESP)


@rule("flag-k-unset", Level.ERROR, "RFC 6043 6.10", relation=Relation.ANSWER)
def flag_k_unset(subject: Subject) -> Iterator[Found]:
    """Flags: no K although the KMS changed the policy."""
    granted = subject.message.find(TICKET)
    asked = None if subject.init is None else subject.init.find(TP)
    if granted is None or asked is None or F.K in granted.flag or subject.init is None:
        return
    before = Subject(subject.init, subject.now_ns)
    changes = [
        what
        for what, one, other in (
            ("flags", asked.flags & ~F.K, granted.flags),
            ("PRF func", asked.prf, granted.prf),
            ("Ticket Type", asked.ticket_type, granted.ticket_type),
        )
        if one != other
    ]
    old, new = _terms(before.inside(asked, "tp_data")), _terms(subject.inside(granted, "tp_data"))
    changes += [name for name in _TERMS if old.get(name) != new.get(name)]
    if changes:
        yield Found(granted, f"the KMS changed {', '.join(changes)} and K is 0; set K")


_TERMS = ("TRs", "TRe", "TRr", "responders", "applications")


def _terms(payloads: list[Payload]) -> dict[str, object]:
    """What a Ticket Policy says beside its flags, in a form that can be compared."""
    names = {TsRole.START: "TRs", TsRole.END: "TRe"}
    terms: dict[str, object] = {
        names[TsRole(tr.ts_role)]: Timestamp.of(tr).unix_ns
        for tr in payloads
        if isinstance(tr, TR) and tr.ts_role in names
    }
    for tr in payloads:
        if isinstance(tr, TR) and tr.ts_role == TsRole.REKEY:
            terms["TRr"] = Timestamp.of(tr).interval
    ids = [p for p in payloads if isinstance(p, IDR)]
    for name, role in (("responders", IdRole.RESPONDER), ("applications", IdRole.APPLICATION)):
        terms[name] = sorted(p.id_data for p in ids if p.id_role == role)
    return terms
