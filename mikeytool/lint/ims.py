"""What IMS media plane security wants of a message (`--profile ims`).

The sources are RFC 6043, RFC 4567 and 3GPP TR 33.828.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from mikeytool.lint.kemac_keys import asked_for
from mikeytool.lint.notation import name_of
from mikeytool.lint.rule import HEADER, PERMITTED, Found, Level, Profile
from mikeytool.lint.rule import rule as plain_rule
from mikeytool.lint.subject import Subject, Within
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.identity import Identity
from mikeytool.wire.message_types import TICKET_MODE, TRANSFERS
from mikeytool.wire.payloads import IDR, TICKET, TP, TR, KeyData
from mikeytool.wire.registry import (
    DataType,
    IdRole,
    IdType,
    KeyType,
    ProtType,
    TicketFlag,
    TicketType,
    TsRole,
    label,
)

F = TicketFlag
_POLICIES = (TP, TICKET)
_USERS = (IdRole.INITIATOR, IdRole.RESPONDER)
_SCHEMES = (b"sip:", b"sips:", b"tel:")
rule = partial(plain_rule, profile=Profile.IMS)

PERMITTED[Profile.IMS] = frozenset()


@rule("ims-mode", Level.ERROR, "TR 33.828 5.3")
def mode(subject: Subject) -> Iterator[Found]:
    """A message that does not belong to MIKEY-TICKET."""
    if subject.kind not in TICKET_MODE and subject.kind != DataType.ERROR:
        yield Found(HEADER, f"{subject.name} is not of MIKEY-TICKET, which IMS takes for its KMS")


@rule("ims-forking", Level.WARNING, "RFC 6043 12.2", on=_POLICIES, kinds=TICKET_MODE)
def forking(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """A ticket without key forking, whose keys everyone has who may answer."""
    if F.I not in payload.flag:
        yield Found(
            payload,
            "I is 0: an INVITE that SIP forks gives the keys to every device that may resolve the"
            " ticket; set I, with E and F",
        )


@rule("ims-ticket-type", Level.NOTE, "RFC 6043 6.10", on=_POLICIES, kinds=TICKET_MODE)
def ticket_type(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """A ticket of another type than the 3GPP base ticket."""
    if payload.ticket_type != TicketType.BASE_3GPP:
        yield Found(
            payload,
            f"the Ticket Type is {label(TicketType, payload.ticket_type)}; 3GPP uses its own,"
            f" {TicketType.BASE_3GPP.value}",
        )


@rule("ims-identity", Level.WARNING, "TR 33.828 5.3.2", on=IDR, kinds=TICKET_MODE)
def identity(subject: Subject, payload: IDR, within: Within) -> Iterator[Found]:
    """A user whose identity is no SIP or tel URI, as public user identities are."""
    if payload.id_role not in _USERS or within.content == "ticket_data":
        return
    if payload.id_type != IdType.URI or not payload.id_data.lower().startswith(_SCHEMES):
        yield Found(
            payload,
            f"{name_of(payload)} is {Identity.of(payload)}; users of IMS have sip: and tel: URIs,"
            " of type URI",
        )


@rule("ims-validity", Level.WARNING, "RFC 6043 6.10", on=_POLICIES, kinds=TICKET_MODE)
def validity(subject: Subject, payload: TP, within: Within) -> Iterator[Found]:
    """A Ticket Policy without an end."""
    inside = subject.inside(payload, "tp_data")
    if inside and not any(isinstance(one, TR) and one.ts_role == TsRole.END for one in inside):
        yield Found(payload, "the policy has no TRe, so the ticket never ends; add it")


@rule("ims-group-key", Level.WARNING, "RFC 6043 9", on=KeyData, kinds=TICKET_MODE)
def group_key(subject: Subject, payload: KeyData, within: Within) -> Iterator[Found]:
    """A request for a GTGK, from which members of a conference derive different keys."""
    if asked_for(within) and payload.type in (KeyType.GTGK, KeyType.GTGK_SALT):
        yield Found(
            payload,
            "a GTGK gives all members the same TEK only with the same RANDs, which callers and"
            " called never have; ask for TEK+SALT",
        )


@rule("ims-answer-keys", Level.NOTE, "TR 33.828 5.3.2", on=TICKET, kinds=[DataType.TRANSFER_INIT])
def answer_keys(subject: Subject, payload: TICKET, within: Within) -> Iterator[Found]:
    """A call whose answer may not bring keys, so not one to a conference."""
    if F.M not in payload.flag:
        yield Found(payload, "M is 0: a conference that is called cannot answer with its group key")


@rule("ims-cs-ids", Level.WARNING, "RFC 4567 7.1", kinds=TRANSFERS)
def cs_ids(subject: Subject) -> Iterator[Found]:
    """CS IDs that are not two consecutive ones for each media line."""
    if subject.is_update or not subject.map:
        return  # an update says what changes
    ids = [at.cs_id for at in subject.map if isinstance(at.entry, GenericIdEntry)]
    media = [at for at in subject.map if _protocol(at.entry) == ProtType.SRTP]
    if ids != list(range(1, len(ids) + 1)) or (len(media) == len(ids) and len(ids) % 2):
        yield Found(
            HEADER,
            f"the CS IDs are {', '.join(map(str, ids))}; a media line of the SDP has two"
            " consecutive ones, the first line 1 and 2",
        )


def _protocol(entry: object) -> int:
    return entry.protocol if isinstance(entry, GenericIdEntry) else ProtType.SRTP.value
