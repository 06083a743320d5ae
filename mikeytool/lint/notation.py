"""What each message consists of, in the notation of the RFCs.

A name alone means exactly once, `[X]` at most once, `{X}` any number of times, `(X)` at least
once. The payload ID has no role, so IDi and IDr are both ID; a certificate may go with an
identity. The General Extension payload may be in any message (RFC 3830 6.15).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from mikeytool.wire.payloads import IDR, RANDR, TR, Payload
from mikeytool.wire.registry import DataType, IdRole, RandRole, TsRole

D = DataType

ANYWHERE = frozenset({"General Ext."})
"""Payloads that may be in any message, any number of times."""

ENDS = frozenset({"V", "SIGN"})
"""Payloads that are always the last one of a message."""

_MESSAGES: dict[int, tuple[str, str]] = {
    D.PRE_SHARED: ("RFC 3830 3.1", "T, [RAND], [ID], [ID], {SP}, KEMAC"),
    D.PSK_VER_MSG: ("RFC 3830 3.1", "T, [ID], V"),
    D.PUBLIC_KEY: (
        "RFC 3830 3.2",
        "T, RAND, [ID], {CERT}, [ID], {SP}, KEMAC, [CHASH], PKE, SIGN",
    ),
    D.PK_VER_MSG: ("RFC 3830 3.2", "T, [ID], V"),
    D.DH_INIT: ("RFC 3830 3.3", "T, RAND, [ID], {CERT}, [ID], {SP}, DH, SIGN"),
    D.DH_RESP: ("RFC 3830 3.3", "T, [ID], {CERT}, ID, [DH], [DH], SIGN"),
    D.ERROR: ("RFC 3830 5.1.2", "T, (ERR), {SP}, [V], [SIGN]"),
    D.DHHMAC_INIT: ("RFC 4650 3", "T, RAND, [ID], ID, {SP}, DH, KEMAC"),
    D.DHHMAC_RESP: ("RFC 4650 3", "T, [ID], ID, [DH], [DH], KEMAC"),
    D.RSA_R_I_MSG: ("RFC 4738 3.4", "T, [RAND], [ID], {CERT}, [ID], {SP}, SIGN"),
    D.RSA_R_R_MSG: ("RFC 4738 3.6", "T, [RAND], [ID], {CERT}, {SP}, KEMAC, PKE, SIGN"),
    D.REQUEST_INIT_PSK: ("RFC 6043 4.2.1", "T, RANDRi, [IDRi], [IDRkms], TP, [IDRpsk], V"),
    D.REQUEST_INIT_PK: (
        "RFC 6043 4.2.1",
        "T, RANDRi, [IDRi], {CERT}, [IDRkms], TP, [CHASH], PKE, SIGN",
    ),
    D.REQUEST_RESP: ("RFC 6043 4.2.1", "T, [IDRkms], TICKET, KEMAC, V"),
    D.TRANSFER_INIT: (
        "RFC 6043 4.2.2",
        "T, RANDRi, [IDRi], [IDRr], {SP}, TICKET, [KEMAC], V",
    ),
    D.TRANSFER_RESP: (
        "RFC 6043 4.2.2",
        "T, [RANDRr], [IDRr], [RANDRkms], {SP}, [KEMAC], V",
    ),
    D.RESOLVE_INIT_PSK: ("RFC 6043 4.2.3", "T, RANDRr, [IDRr], [IDRkms], TICKET, [IDRpsk], V"),
    D.RESOLVE_INIT_PK: (
        "RFC 6043 4.2.3",
        "T, RANDRr, [IDRr], {CERT}, [IDRkms], TICKET, [CHASH], PKE, SIGN",
    ),
    D.RESOLVE_RESP: ("RFC 6043 4.2.3", "T, [IDRkms], KEMAC, [IDRr], [RANDRkms], V"),
    D.REQUEST_KEY_PSK: (
        "RFC 6267 4.2.1",
        "T, RAND, {IDRi}, {IDRr}, IDRkms, [IDRpsk], [KEMAC], V",
    ),
    D.REQUEST_KEY_PKE: (
        "RFC 6267 4.2.1",
        "T, RAND, {IDRi}, {IDRr}, {CERT}, IDRkms, [KEMAC], [CHASH], PKE, SIGN",
    ),
    D.REQUEST_KEY_RESP: ("RFC 6267 4.2.1", "T, {IDRi}, {IDRr}, [IDRkms], KEMAC, V"),
    D.I_MESSAGE_1: ("RFC 6267 4.2.2", "T, RAND, IDRi, IDRr, IBAKE, [ESK]"),
    D.R_MESSAGE_1: ("RFC 6267 4.2.2", "T, IDRi, IDRr, IBAKE"),
    D.I_MESSAGE_2: ("RFC 6267 4.2.2", "T, RAND, IDRi, IDRr, IBAKE, [ESK]"),
    D.R_MESSAGE_2: ("RFC 6267 4.2.2", "T, [IDRi], [IDRr], [IBAKE], V"),
    D.SAKKE_MSG: (
        "RFC 6509 2.1",
        "T, RAND, [IDRi], [IDRuidi], [IDRr], [IDRuidr], [IDRkmsi], [IDRkmsr], [CERT], {SP}, SAKKE,"
        " SIGN",
    ),
}

_TRANSFER_UPDATE = "T, [RANDRi], [RANDRr], [IDRi], [IDRr], [RANDRkms], {SP}, [TICKET], [KEMAC], V"
"""With RANDs and the ticket of the first exchange, which should be left out but may be there."""

_UPDATES: dict[int, tuple[str, str]] = {
    D.PRE_SHARED: ("RFC 3830 4.5", "T, [ID], [ID], {SP}, KEMAC"),
    D.PUBLIC_KEY: (
        "RFC 3830 4.5",
        "T, [ID], {CERT}, [ID], {SP}, [KEMAC], [CHASH], PKE, SIGN",
    ),
    D.DH_INIT: ("RFC 3830 4.5", "T, [ID], {CERT}, [ID], {SP}, [DH], SIGN"),
    D.DHHMAC_INIT: ("RFC 4650 3.1", "T, [ID], ID, {SP}, [DH], KEMAC"),
    D.TRANSFER_INIT: ("RFC 6043 5.2", _TRANSFER_UPDATE),
    D.TRANSFER_RESP: ("RFC 6043 5.2", _TRANSFER_UPDATE),
}

_INSIDE: dict[str, tuple[str, str]] = {
    "tp_data": (
        "RFC 6043 6.10",
        "[IDRkms], [IDRi], [TRs], [TRe], [TRr], [KEMAC], {IDRapp}, (IDRr)",
    ),
    "ticket_data": ("RFC 6043 A", "THDR, T, RAND, KEMAC, [IDRpsk], V"),
    "initiator_data": ("RFC 6043 6.10", "V, V"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """How often each payload may occur, and in which order.

    `counts` has the least and the most of each name, None for any number; `order` are the
    labels in the recommended order, without roles.
    """

    section: str
    counts: dict[str, tuple[int, int | None]]
    order: tuple[str, ...]


_ROLE = re.compile(r"(IDR|RANDR|TR)[a-z]+$")
_MARKS = {"": (1, 1), "[": (0, 1), "{": (0, None), "(": (1, None)}


def _layout(section: str, notation: str) -> Layout:
    counts: dict[str, tuple[int, int | None]] = {}
    order = []
    for token in notation.split(", "):
        name = token.strip("[]{}()")
        least, most = _MARKS[token[0] if token != name else ""]
        already = counts.get(name, (0, 0))
        many = None if most is None or already[1] is None else already[1] + most
        counts[name] = (already[0] + least, many)
        order.append(_ROLE.sub(r"\1", name))
    return Layout(section, counts, tuple(order))


@cache
def message_layout(data_type: int, update: bool) -> Layout | None:
    """The layout of messages of a data type; None for an unknown type."""
    table = _UPDATES if update and data_type in _UPDATES else _MESSAGES
    return _layout(*table[data_type]) if data_type in table else None


@cache
def inner_layout(field: str) -> Layout | None:
    """The layout of what a field of TP or TICKET holds."""
    return _layout(*_INSIDE[field]) if field in _INSIDE else None


_ROLES: dict[type[Payload], tuple[str, dict[int, str]]] = {
    IDR: (
        "id_role",
        {
            IdRole.INITIATOR: "i", IdRole.RESPONDER: "r", IdRole.KMS: "kms", IdRole.PSK: "psk",
            IdRole.APPLICATION: "app", IdRole.INITIATOR_KMS: "kmsi",
            IdRole.RESPONDER_KMS: "kmsr", IdRole.INITIATOR_UID: "uidi",
            IdRole.RESPONDER_UID: "uidr",
        },
    ),
    RANDR: (
        "rand_role",
        {RandRole.INITIATOR: "i", RandRole.RESPONDER: "r", RandRole.KMS: "kms"},
    ),
    TR: (
        "ts_role",
        {TsRole.ISSUE: "i", TsRole.START: "s", TsRole.END: "e", TsRole.REKEY: "r"},
    ),
}  # fmt: skip


def name_of(payload: Payload) -> str:
    """The RFCs' name of a payload, with its role: IDRi, RANDRkms, TRe."""
    roles = _ROLES.get(type(payload))
    if roles is None:
        return payload.label
    field, names = roles
    number = getattr(payload, field)
    return payload.label + names.get(number, f" of role {number}")
