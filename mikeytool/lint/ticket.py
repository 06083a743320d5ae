"""Rules about Ticket Policy, Ticket Data and Initiator Data (RFC 6043 6.10, appendix A)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.rule import HEADER, Found, Level, Relation, rule
from mikeytool.lint.subject import Subject, Within, identity_in, ticket_of
from mikeytool.wire.identity import Identity
from mikeytool.wire.message_types import REQUESTS, TRANSFERS
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
    """Flags: L must be set if D is not."""
    if F.D not in payload.flag and F.L not in payload.flag:
        yield Found(
            payload,
            "neither D nor L is set: an initiator that made the ticket may supply keys; set L, or"
            " D if the KMS made it",
        )


@rule("flag-g-needs-f", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_g_needs_f(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: G needs F."""
    if F.G in payload.flag and F.F not in payload.flag:
        yield Found(payload, "G is set without F: RANDRr comes in TRANSFER_RESP; set F or clear G")


@rule("flag-g-or-h", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_g_or_h(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: G or H must be set."""
    if F.G not in payload.flag and F.H not in payload.flag:
        yield Found(
            payload, "neither G nor H is set, so no RAND would go into the keys; set one or both"
        )


@rule("flag-i-needs-e", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_i_needs_e(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: I needs E."""
    if F.I in payload.flag and F.E not in payload.flag:
        yield Found(payload, "I is set without E: only the KMS can fork keys; set E or clear I")


@rule("flag-k-needs-d", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def flag_k_needs_d(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: K needs D."""
    if F.K in payload.flag and F.D not in payload.flag:
        yield Found(
            payload, "K is set without D: a KMS that changed the policy made the ticket; set D"
        )


@rule("flag-m-needs-f", Level.ERROR, "RFC 6043 6.10", on=_POLICIES)
def flag_m_needs_f(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: M needs F."""
    if F.M in payload.flag and F.F not in payload.flag:
        yield Found(
            payload, "M is set without F: the responder's keys come in TRANSFER_RESP; set F"
        )


def _asks_for_tgk(subject: Subject, payload: TP) -> bool:
    """Whether a Ticket Policy itself requests a TGK."""
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
        yield Found(payload, "I is set without F, but a TGK is to be forked; set F")


@rule("flag-i-without-f", Level.WARNING, "RFC 6043 6.10", on=_POLICIES)
def flag_i_without_f(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: I without F, right only if no TGK is in the ticket."""
    if F.I in payload.flag and F.F not in payload.flag and not _asks_for_tgk(subject, payload):
        yield Found(payload, "I is set without F, which is right only if the ticket has no TGK")


@rule("flag-k-in-request", Level.ERROR, "RFC 6043 6.10", on=TP)
def flag_k_in_request(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: K in a request, where it must be 0."""
    if F.K in payload.flag:
        yield Found(payload, "only the KMS sets K; clear it in a request")


@rule("flag-d-in-request", Level.WARNING, "RFC 6043 6.10", on=TP)
def flag_d_in_request(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """Flags: no D in a request, although the KMS will make the ticket."""
    # The KMS sets it itself (interpretation 21).
    if F.D not in payload.flag:
        yield Found(payload, "D is 0, but the KMS makes a requested ticket; set D")


@rule("reserved-bits", Level.NOTE, "RFC 6043 6.10", on=(TP, TICKET, ERR, DH))
def reserved_bits(subject: Subject, payload: Payload, within: Within) -> Iterator[Found]:
    """Reserved bits that are not 0."""
    bits = payload.res if isinstance(payload, TP) else getattr(payload, "reserved", 0)
    if bits:
        yield Found(payload, f"the reserved bits are {bits:#x}; set them to 0")


@rule("ticket-form", Level.WARNING, "RFC 6043 6.10", on=_POLICIES)
def ticket_form(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """A MIKEY base ticket with an undefined subtype or version."""
    form = (payload.ticket_type, payload.subtype, payload.version)
    if payload.ticket_type == TicketType.MIKEY_BASE and form != BASE_TICKET:
        yield Found(
            payload,
            f"the MIKEY Base Ticket has subtype {payload.subtype} and version {payload.version};"
            f" only {BASE_TICKET.subtype} and {BASE_TICKET.version} are defined",
        )


@rule("granted-kemac", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def granted_kemac(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A KEMAC in a granted policy."""
    for inside in subject.inside(payload, "tp_data"):
        if type(inside) is KEMAC:
            yield Found(
                inside, "the policy of a TICKET must not have a KEMAC; only that of a TP may"
            )


@rule("initiator-data-missing", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def initiator_data_missing(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A ticket without Initiator Data although keys are forked."""
    sent = subject.kind not in REQUESTS
    if sent and F.I in payload.flag and not payload.initiator_data:
        yield Found(payload, "I is set, but there is no Initiator Data; the initiator must add it")


@rule("initiator-data-unwanted", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def initiator_data_unwanted(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """Initiator Data without key forking, or from the KMS."""
    if payload.initiator_data and F.I not in payload.flag:
        yield Found(payload, "there is Initiator Data, but I is 0; leave it out or set I")
    elif payload.initiator_data and subject.kind in REQUESTS:
        yield Found(
            payload, "the KMS sends Initiator Data, which only the initiator can make; leave it out"
        )


def _vs(subject: Subject, ticket: TICKET) -> list[V]:
    return [p for p in subject.inside(ticket, "initiator_data") if isinstance(p, V)]


def _other_vi(subject: Subject) -> V | None:
    """Vi, if it differs from the V of a message that is not known to be an update."""
    ticket, v = ticket_of(subject.message), subject.message.find(V)
    if ticket is None or v is None or subject.is_update:
        return None
    for vi in _vs(subject, ticket)[:1]:
        if (vi.auth_alg, vi.ver_data) != (v.auth_alg, v.ver_data):
            return vi
    return None


@rule("vi-differs", Level.ERROR, "RFC 6043 6.10", kinds=[D.TRANSFER_INIT])
def vi_differs(subject: Subject) -> Iterator[Found]:
    """A Vi in Initiator Data that differs from the V of TRANSFER_INIT."""
    vi = _other_vi(subject)
    if vi is not None and subject.message.find(KEMAC) is None:
        yield Found(vi, "Vi differs from the V of the message; copy that")


@rule("vi-of-another", Level.WARNING, "RFC 6043 5.2", kinds=[D.TRANSFER_INIT])
def vi_of_another(subject: Subject) -> Iterator[Found]:
    """A Vi other than V in TRANSFER_INIT with keys, right in an update that repeats the ticket."""
    vi = _other_vi(subject)
    if vi is not None and subject.message.find(KEMAC) is not None:
        yield Found(
            vi,
            "Vi differs from the V of the message: right in a CSB update that repeats the ticket,"
            " wrong in the first message of a crypto session bundle; give --init",
        )


@rule("vr-algorithm", Level.ERROR, "RFC 6043 6.10", on=TICKET)
def vr_algorithm(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A Vr with an algorithm other than that of Vi."""
    vs = _vs(subject, payload)
    if len(vs) == 2 and vs[0].auth_alg != vs[1].auth_alg:
        yield Found(vs[1], "the algorithm of Vr differs from that of Vi; use the same")


@rule("initiator-differs", Level.ERROR, "RFC 6043 5.3", kinds=[D.TRANSFER_INIT])
def initiator_differs(subject: Subject) -> Iterator[Found]:
    """A message under key forking from an initiator that does not own the ticket."""
    # Without I, another may send it (interpretation 18).
    ticket = ticket_of(subject.message)
    if ticket is None or F.I not in ticket.flag:
        return
    owner = identity_in(subject.inside(ticket, "tp_data"), IdRole.INITIATOR)
    sender = identity_in(subject.message.payloads, IdRole.INITIATOR)
    if owner is not None and sender is not None and owner.id_data != sender.id_data:
        yield Found(
            sender,
            f"the ticket belongs to {Identity.of(owner)}; with I only its owner can send it, but"
            f" the sender is {Identity.of(sender)}",
        )


@rule("initiator-unnamed", Level.NOTE, "RFC 6043 4.2.1.1", on=TICKET)
def initiator_unnamed(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A granted policy without the identity of the initiator."""
    inside = subject.inside(payload, "tp_data")
    if inside and identity_in(inside, IdRole.INITIATOR) is None:
        yield Found(
            payload, "the policy has no IDRi, so responders cannot identify the owner of the ticket"
        )


@rule("initiator-keys", Level.ERROR, "RFC 6043 4.2.2.1", kinds=TRANSFERS)
def initiator_keys(subject: Subject) -> Iterator[Found]:
    """Keys from the initiator although L = 0 forbids them."""
    # L and M bind by role, in updates too (interpretation 21).
    kemac, flags, sender = _sent_keys(subject)
    if kemac is None:
        return
    if sender == IdRole.INITIATOR and F.L not in flags:
        yield Found(kemac, "the initiator sends keys, but L is 0; leave KEMAC out or set L")
    elif sender is None and not flags & (F.L | F.M):
        yield Found(kemac, "there are keys, but L and M are 0; leave KEMAC out")


@rule("responder-keys", Level.ERROR, "RFC 6043 4.2.2.3", kinds=TRANSFERS)
def responder_keys(subject: Subject) -> Iterator[Found]:
    """Keys from the responder although M = 0 forbids them."""
    kemac, flags, sender = _sent_keys(subject)
    if kemac is not None and sender == IdRole.RESPONDER and F.M not in flags:
        yield Found(kemac, "the responder sends keys, but M is 0; leave KEMAC out or set M")


def _sent_keys(subject: Subject) -> tuple[KEMAC | None, TicketFlag, int | None]:
    """The KEMAC of a message under a known ticket, the ticket's flags, and the sender's role."""
    ticket = ticket_of(subject.message)
    if ticket is None and subject.relation is not None:
        ticket = ticket_of(subject.init)
    if ticket is None:
        return None, F(0), None
    return subject.message.find(KEMAC), ticket.flag, _sender(subject)


def _sender(subject: Subject) -> int | None:
    """The role of the sender of a message of Ticket Transfer; None if nothing tells it.

    Either end may start an update. Its identity then comes first, and an answer has that of the
    other end (5.2).
    """
    is_answer = subject.kind == D.TRANSFER_RESP
    named: list[int] = [idr.id_role for idr in subject.message.all(IDR)]
    if not subject.is_update:
        if named == [IdRole.RESPONDER, IdRole.INITIATOR]:
            return None  # the order of an update by the responder, which may repeat the ticket
        return IdRole.RESPONDER if is_answer else IdRole.INITIATOR
    if not is_answer or len(named) == 1:
        return named[0] if named else None
    asked = subject.init.find(IDR) if subject.init and subject.relation else None
    others = {IdRole.INITIATOR: IdRole.RESPONDER, IdRole.RESPONDER: IdRole.INITIATOR}
    return None if asked is None else others.get(IdRole(asked.id_role))


def _offered_ticket(subject: Subject) -> TICKET | None:
    """The ticket of the message that is answered; an update may only repeat it."""
    return None if subject.is_update else ticket_of(subject.init)


@rule("answer-forbidden", Level.ERROR, "RFC 6043 6.10", relation=Relation.ANSWER)
def answer_forbidden(subject: Subject) -> Iterator[Found]:
    """TRANSFER_RESP although F = 0 forbids it."""
    ticket = _offered_ticket(subject)
    if subject.kind == D.TRANSFER_RESP and ticket is not None and F.F not in ticket.flag:
        yield Found(HEADER, "F is 0 in the ticket, so there must be no TRANSFER_RESP")


def _randr(subject: Subject, role: RandRole) -> RANDR | None:
    return next((p for p in subject.message.all(RANDR) if p.rand_role == role), None)


@rule("randr-missing", Level.ERROR, "RFC 6043 4.2.2.3", relation=Relation.ANSWER, whole=True)
def randr_missing(subject: Subject) -> Iterator[Found]:
    """TRANSFER_RESP without RANDRr although G = 1 requires one."""
    ticket = _offered_ticket(subject)
    if subject.kind != D.TRANSFER_RESP or ticket is None or F.G not in ticket.flag:
        return
    if _randr(subject, RandRole.RESPONDER) is None:
        yield Found(HEADER, "G is 1 in the ticket, but there is no RANDRr; add it")


@rule("randr-unwanted", Level.ERROR, "RFC 6043 6.10", relation=Relation.ANSWER)
def randr_unwanted(subject: Subject) -> Iterator[Found]:
    """TRANSFER_RESP with RANDRr although G = 0 forbids it."""
    ticket, rand = _offered_ticket(subject), _randr(subject, RandRole.RESPONDER)
    if subject.kind != D.TRANSFER_RESP or ticket is None or rand is None:
        return
    if F.G not in ticket.flag:
        yield Found(rand, "G is 0 in the ticket, so there must be no RANDRr; leave it out")


@rule("modifier-missing", Level.ERROR, "RFC 6043 4.2.3.5", relation=Relation.ANSWER, whole=True)
def modifier_missing(subject: Subject) -> Iterator[Found]:
    """An answer under key forking without IDRr or RANDRkms, on which the keys depend."""
    # Both or neither, as the I flag says (interpretation 27).
    ticket = _offered_ticket(subject)
    if ticket is None or F.I not in ticket.flag or not _carries_modifier(subject):
        return
    gaps = []
    if identity_in(subject.message.payloads, IdRole.RESPONDER) is None:
        gaps.append("IDRr")
    if _randr(subject, RandRole.KMS) is None:
        gaps.append("RANDRkms")
    if gaps:
        yield Found(
            HEADER, f"keys are forked (I is 1), but there is no {' and no '.join(gaps)}; add it"
        )


@rule("modifier-unwanted", Level.ERROR, "RFC 6043 4.2.3.5", relation=Relation.ANSWER)
def modifier_unwanted(subject: Subject) -> Iterator[Found]:
    """An answer with RANDRkms although keys are not forked."""
    ticket, rand = ticket_of(subject.init), _randr(subject, RandRole.KMS)
    if ticket is not None and rand is not None and F.I not in ticket.flag:
        yield Found(
            rand, "keys are not forked (I is 0), so there must be no RANDRkms; leave it out"
        )


def _carries_modifier(subject: Subject) -> bool:
    return subject.kind in (D.TRANSFER_RESP, D.RESOLVE_RESP)


@rule("flag-k-unset", Level.ERROR, "RFC 6043 6.10", relation=Relation.ANSWER, whole=True)
def flag_k_unset(subject: Subject) -> Iterator[Found]:
    """Flags: K is not set although the KMS changed the policy."""
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
        yield Found(granted, f"the KMS changed {', '.join(changes)}, but K is 0; set K")


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
