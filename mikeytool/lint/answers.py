"""Rules that compare a message with the previous one: what it must echo, and what it must not."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.lint.notation import name_of
from mikeytool.lint.rule import HEADER, Found, Level, Relation, rule
from mikeytool.lint.subject import Subject, identity_in
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import KMS_EXCHANGES, RESPONSES, TICKET_MODE, TRANSFERS
from mikeytool.wire.payloads import DH, ID, KEMAC, PKE, RAND, RANDR, SP, TICKET, Payload, T, V
from mikeytool.wire.registry import (
    CacheType,
    CsIdMapType,
    DataType,
    IdRole,
    MacAlg,
    PrfFunc,
    TsType,
    label,
)

D = DataType
_SAME_TIME = (
    *RESPONSES, D.REQUEST_KEY_RESP, D.R_MESSAGE_1, D.R_MESSAGE_2,
)  # fmt: skip
"""Answers that repeat the timestamp of the initial message (RFC 3830 5.2, RFC 6267 4.2)."""

_FRESH_TIME = (D.REQUEST_RESP, D.TRANSFER_RESP, D.RESOLVE_RESP, D.ERROR)
"""Answers with a timestamp of their own; an Error only in MIKEY-TICKET (RFC 6043 5.4)."""

_DH_ANSWERS = (D.DH_RESP, D.DHHMAC_RESP)
_KEY_ANSWERS = (D.REQUEST_KEY_RESP, D.R_MESSAGE_1, D.R_MESSAGE_2)


@rule("other-csb-id", Level.ERROR, "RFC 3830 6.1")
def other_csb_id(subject: Subject) -> Iterator[Found]:
    """A CSB ID that differs from that of the previous message."""
    if subject.init is not None and subject.init.header.csb_id != subject.header.csb_id:
        yield Found(
            HEADER,
            f"the CSB ID is {subject.header.csb_id:#010x}, but the previous message has"
            f" {subject.init.header.csb_id:#010x}; echo it, or give --init of this exchange",
        )


@rule("no-answer", Level.ERROR, "RFC 3830 6.1")
def no_answer(subject: Subject) -> Iterator[Found]:
    """A message of a type that cannot follow the previous message."""
    init = subject.init
    if init is not None and init.header.csb_id == subject.header.csb_id and not subject.relation:
        yield Found(
            HEADER,
            f"{subject.name} neither answers nor updates {label(DataType, init.header.data_type)}",
        )


@rule("other-version", Level.ERROR, "RFC 6043 4.2.1.5", relation=Relation.ANSWER)
def other_version(subject: Subject) -> Iterator[Found]:
    """An answer with a different version."""
    if subject.init is not None and subject.init.header.version != subject.header.version:
        yield Found(
            HEADER, f"the version is {subject.header.version}; echo that of the initial message"
        )


@rule("other-prf", Level.ERROR, "RFC 6043 4.2.1.5", relation=Relation.ANSWER)
def other_prf(subject: Subject) -> Iterator[Found]:
    """An answer with a different PRF func."""
    if subject.init is not None and subject.init.header.prf != subject.header.prf:
        yield Found(
            HEADER,
            f"the PRF func is {label(PrfFunc, subject.header.prf)}, but the initial message has"
            f" {label(PrfFunc, subject.init.header.prf)}; echo it",
        )


@rule("other-map", Level.ERROR, "RFC 3830 6.1", relation=Relation.ANSWER)
def other_map(subject: Subject) -> Iterator[Found]:
    """An answer with a different type of CS ID map."""
    if subject.init is None or subject.kind in (D.ERROR, D.RSA_R_R_MSG):
        return
    mine, theirs = subject.header.cs_id_map_type, subject.init.header.cs_id_map_type
    if not subject.init.header.cs_id_map:  # the initiator left the crypto sessions open
        return
    if mine != theirs and subject.kind not in KMS_EXCHANGES:
        yield Found(
            HEADER,
            f"the map is of type {label(CsIdMapType, mine)}, but that of the initial message is"
            f" of type {label(CsIdMapType, theirs)}; use the same",
        )


def _mac_alg(message: Message) -> int | None:
    """The algorithm of a message's MAC, which a Pre-shared message has in its KEMAC.

    The KEMAC of a public-key message has one of its own, NULL with key wrap (RFC 3830 4.2.3).
    """
    v = message.find(V)
    if v is not None:
        return v.auth_alg
    kemac = message.find(KEMAC)
    kinds = (D.PRE_SHARED, D.DHHMAC_INIT, D.DHHMAC_RESP)
    return kemac.mac_alg if kemac is not None and message.header.data_type in kinds else None


@rule("other-mac", Level.ERROR, "RFC 3830 6.9", relation=Relation.ANSWER)
def other_mac(subject: Subject) -> Iterator[Found]:
    """An answer with a different MAC algorithm."""
    # There is no negotiation (interpretation 23); an Error may be about the algorithm.
    if subject.init is None or subject.kind == D.ERROR:
        return
    mine, theirs = _mac_alg(subject.message), _mac_alg(subject.init)
    if mine and theirs and mine != theirs:  # NULL has rules of its own
        yield Found(
            subject.message.find(V) or HEADER,
            f"the MAC is {label(MacAlg, mine or 0)}, but that of the initial message is"
            f" {label(MacAlg, theirs or 0)}; there is no negotiation, so use the same",
        )


def _same_t(subject: Subject) -> tuple[T, bool] | None:
    """The T of the message, and whether it is that of the one before."""
    mine = subject.message.find(T)
    theirs = None if subject.init is None else subject.init.find(T)
    if mine is None or theirs is None:
        return None
    return mine, (mine.ts_type, mine.ts_value) == (theirs.ts_type, theirs.ts_value)


@rule("other-time", Level.ERROR, "RFC 3830 5.2", kinds=_SAME_TIME, relation=Relation.ANSWER)
def other_time(subject: Subject) -> Iterator[Found]:
    """An answer with its own timestamp, where it must repeat that of the initial message."""
    if (found := _same_t(subject)) and not found[1]:
        yield Found(found[0], "T differs from that of the initial message; repeat that one")


@rule("time-repeated", Level.ERROR, "RFC 6043 4.2.1.5", kinds=_FRESH_TIME,
      relation=Relation.ANSWER)  # fmt: skip
def time_repeated(subject: Subject) -> Iterator[Found]:
    """An answer that repeats the timestamp of the initial message, where it must have its own."""
    if subject.init is None or subject.init.header.data_type not in TICKET_MODE:
        return
    found = _same_t(subject)
    if found and found[1] and found[0].ts_type != TsType.COUNTER:
        yield Found(found[0], "T is that of the initial message; use the time of the answer")


@rule("update-time", Level.ERROR, "RFC 3830 4.5", relation=Relation.UPDATE)
def update_time(subject: Subject) -> Iterator[Found]:
    """A CSB update with the timestamp of the previous message."""
    if (found := _same_t(subject)) and found[1]:
        yield Found(found[0], "T is that of the previous message; an update needs a new timestamp")


@rule("update-public-key", Level.ERROR, "RFC 3830 4.5", kinds=[D.PUBLIC_KEY],
      relation=Relation.UPDATE)  # fmt: skip
def update_public_key(subject: Subject) -> Iterator[Found]:
    """A public-key message used as an update although the envelope key is cached."""
    pke = None if subject.init is None else subject.init.find(PKE)
    if pke is not None and pke.c != CacheType.NO_CACHE:
        yield Found(
            HEADER,
            f"C was {label(CacheType, pke.c)}; send the update as a pre-shared key message under"
            " the envelope key",
        )


def _static(message: Message) -> dict[str, tuple[Payload, bytes]]:
    """The RANDs and the ticket of a message, by name, with the octets that stay the same."""
    found: dict[str, tuple[Payload, bytes]] = {}
    for payload in message.payloads:
        if isinstance(payload, RAND | RANDR):
            found[name_of(payload)] = payload, payload.rand
        elif isinstance(payload, TICKET):
            # Initiator Data is that of one message.
            found["TICKET"] = payload, payload.copy(initiator_data=b"", initiator_data_length=0,
                                                    next_payload=0).build()  # fmt: skip
    return found


@rule("update-static", Level.ERROR, "RFC 6043 5.2", relation=Relation.UPDATE)
def update_static(subject: Subject) -> Iterator[Found]:
    """A CSB update with a new RAND or a new ticket."""
    for payload, name, is_new in _repeated(subject):
        if is_new:
            yield Found(payload, f"an update keeps the {name} of the first exchange; leave it out")


@rule("update-repeats", Level.WARNING, "RFC 6043 5.2", kinds=TRANSFERS)
def update_repeats(subject: Subject) -> Iterator[Found]:
    """A CSB update that repeats a RAND or the ticket of the first exchange."""
    for payload, name, is_new in _repeated(subject) if subject.is_update else ():
        if not is_new:
            yield Found(payload, f"an update should not repeat {name}; leave it out")


def _repeated(subject: Subject) -> Iterator[tuple[Payload, str, bool]]:
    """The RANDs and tickets of a message, and whether they differ from the previous message.

    What the previous message does not have may be from another one of the first exchange.
    """
    old = {} if subject.init is None else _static(subject.init)
    for name, (payload, octets) in _static(subject.message).items():
        if subject.kind in TRANSFERS:
            yield payload, name, name in old and old[name][1] != octets
        else:
            yield payload, name, True


@rule("sp-resent", Level.WARNING, "RFC 6043 4.2.2.3", relation=Relation.ANSWER)
def sp_resent(subject: Subject) -> Iterator[Found]:
    """An answer that repeats a security policy of the initiator."""
    if subject.init is None or subject.kind != D.TRANSFER_RESP:
        return
    theirs = {sp.policy_no: sp.policy_param for sp in subject.init.all(SP)}
    for sp in subject.message.all(SP):
        if theirs.get(sp.policy_no) == sp.policy_param:
            yield Found(
                sp,
                f"policy {sp.policy_no} is the initiator's; refer to it by number only",
            )


@rule("sp-number-taken", Level.ERROR, "RFC 3830 6.10", relation=Relation.ANSWER)
def sp_number_taken(subject: Subject) -> Iterator[Found]:
    """An answer with a new policy under a number that the initiator already uses."""
    # The numbers of both ends differ (interpretation 25).
    if subject.init is None or subject.kind != D.TRANSFER_RESP:
        return
    theirs = {sp.policy_no: sp.policy_param for sp in subject.init.all(SP)}
    for sp in subject.message.all(SP):
        if sp.policy_no in theirs and theirs[sp.policy_no] != sp.policy_param:
            yield Found(sp, f"the initiator already uses policy number {sp.policy_no}; use another")


@rule("dh-pair", Level.ERROR, "RFC 3830 4.5", kinds=_DH_ANSWERS, whole=True)
def dh_pair(subject: Subject) -> Iterator[Found]:
    """A Diffie-Hellman answer with one value; it has both or, in an update, neither."""
    found = subject.message.all(DH)
    if len(found) == 1:
        yield Found(found[0], "there is one DH payload; an answer has both DHr and DHi, or neither")


@rule("dh-echo", Level.ERROR, "RFC 3830 3.3", kinds=_DH_ANSWERS, relation=Relation.ANSWER,
      whole=True)  # fmt: skip
def dh_echo(subject: Subject) -> Iterator[Found]:
    """A Diffie-Hellman answer without the initiator's value, or in a different group."""
    offered = None if subject.init is None else subject.init.find(DH)
    found = subject.message.all(DH)
    if offered is None:
        for dh in found[:1]:
            yield Found(
                dh,
                "the initial message has no DH payload, so the answer must have none; leave it out",
            )
        return
    values = [(dh.dh_group, dh.dh_value) for dh in found]
    if (offered.dh_group, offered.dh_value) not in values:
        place: Payload | object = found[-1] if found else HEADER
        yield Found(place, "DHi of the initial message is not in the answer; repeat it")  # type: ignore[arg-type]
    elif any(dh.dh_group != offered.dh_group for dh in found):
        yield Found(
            found[0],
            "DHr and DHi are of different groups; use the group of DHi",
        )


@rule("initiator-echo", Level.ERROR, "RFC 3830 3.3", relation=Relation.ANSWER, whole=True)
def initiator_echo(subject: Subject) -> Iterator[Found]:
    """An answer with an initiator other than that of the initial message."""
    if subject.init is None:
        return
    if subject.kind in _DH_ANSWERS:
        offered, mine = subject.init.all(ID), subject.message.all(ID)
        wrong = bool(offered and mine) and offered[0].id_data not in {p.id_data for p in mine}
        named: Payload | None = mine[-1] if mine else None
        sender = Identity.of(offered[0]) if offered else None
    elif subject.kind in _KEY_ANSWERS:
        one = identity_in(subject.init.payloads, IdRole.INITIATOR)
        named = other = identity_in(subject.message.payloads, IdRole.INITIATOR)
        wrong = one is not None and other is not None and one.id_data != other.id_data
        sender = Identity.of(one) if one else None
    else:
        return
    if wrong and named is not None:
        yield Found(named, f"the initiator is {sender}; repeat that identity")
