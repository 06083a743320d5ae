"""Facts about message types: their exchanges, answers, senders and receivers, and CSB updates.

All packages take these facts from here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from mikeytool.wire.registry import DataType as D
from mikeytool.wire.registry import IdRole, NextPayload, RandRole

if TYPE_CHECKING:
    from mikeytool.wire.message import Message

REQUEST_INITS = (D.REQUEST_INIT_PSK, D.REQUEST_INIT_PK)
"""The variants of REQUEST_INIT (RFC 6043 4.2.1)."""

RESOLVE_INITS = (D.RESOLVE_INIT_PSK, D.RESOLVE_INIT_PK)
"""The variants of RESOLVE_INIT (RFC 6043 4.2.3)."""

REQUESTS = frozenset({*REQUEST_INITS, D.REQUEST_RESP})
TRANSFERS = frozenset({D.TRANSFER_INIT, D.TRANSFER_RESP})
RESOLVES = frozenset({*RESOLVE_INITS, D.RESOLVE_RESP})
KMS_EXCHANGES = REQUESTS | RESOLVES
TICKET_MODE = TRANSFERS | KMS_EXCHANGES
"""The data types of MIKEY-TICKET: Ticket Request, Transfer and Resolve (RFC 6043 6.1)."""

WITH_ROLES = TICKET_MODE | frozenset(range(D.REQUEST_KEY_PSK, D.SAKKE_MSG + 1))
"""The data types whose identities are IDR payloads (RFC 6043 6.6, RFC 6267, RFC 6509)."""

INITIALS = (D.PRE_SHARED, D.PUBLIC_KEY, D.DH_INIT, D.DHHMAC_INIT, D.RSA_R_I_MSG)
"""The first messages of the modes of RFC 3830, RFC 4650 and RFC 4738."""

RESPONSES = (D.PSK_VER_MSG, D.PK_VER_MSG, D.DH_RESP, D.DHHMAC_RESP, D.RSA_R_R_MSG)
"""The answers to `INITIALS`, in the same order."""

KEYS_IN_ANSWER = (D.DH_INIT, D.DHHMAC_INIT, D.RSA_R_I_MSG)
"""The initial messages that have no keys: the answer has them, or completes them."""

ANSWERED: Mapping[int, tuple[D, ...]] = {
    **{answer: (initial,) for answer, initial in zip(RESPONSES, INITIALS, strict=True)},
    D.REQUEST_RESP: REQUEST_INITS,
    D.TRANSFER_RESP: (D.TRANSFER_INIT,),
    D.RESOLVE_RESP: RESOLVE_INITS,
    D.REQUEST_KEY_RESP: (D.REQUEST_KEY_PSK, D.REQUEST_KEY_PKE),
    D.R_MESSAGE_1: (D.I_MESSAGE_1,),
    D.I_MESSAGE_2: (D.R_MESSAGE_1,),
    D.R_MESSAGE_2: (D.I_MESSAGE_2,),
    D.ERROR: tuple(kind for kind in D if kind != D.ERROR),
}
"""For each answer, the data types that it can answer."""

_UPDATED: Mapping[int, tuple[D, ...]] = {
    D.PRE_SHARED: (D.PRE_SHARED, D.PUBLIC_KEY),
    D.PUBLIC_KEY: (D.PUBLIC_KEY,),
    D.DH_INIT: (D.DH_INIT,),
    D.DHHMAC_INIT: (D.DHHMAC_INIT,),
    D.TRANSFER_INIT: (D.TRANSFER_INIT,),
}
"""For each message that can be a CSB update, the initial messages that it can follow
(RFC 3830 4.5, RFC 6043 5.2)."""

_I, _R, _KMS = IdRole.INITIATOR, IdRole.RESPONDER, IdRole.KMS

PARTIES: Mapping[int, tuple[IdRole, IdRole]] = {
    **dict.fromkeys(INITIALS, (_I, _R)),
    **dict.fromkeys(RESPONSES, (_R, _I)),
    **dict.fromkeys(REQUEST_INITS, (_I, _KMS)),
    D.REQUEST_RESP: (_KMS, _I),
    D.TRANSFER_INIT: (_I, _R),
    D.TRANSFER_RESP: (_R, _I),
    **dict.fromkeys(RESOLVE_INITS, (_R, _KMS)),
    D.RESOLVE_RESP: (_KMS, _R),
}
"""The roles of sender and receiver (RFC 3830 3, RFC 6043 4.1)."""

_NEW = frozenset({NextPayload.RAND.value})
_BROUGHT = frozenset({NextPayload.KEMAC.value, NextPayload.SP.value})
_NEW_TICKET = frozenset({NextPayload.TICKET.value, NextPayload.RANDR.value})


def answers(answer: int, initial: int) -> bool:
    """Whether messages of data type `answer` can answer those of data type `initial`."""
    return initial in ANSWERED.get(answer, ())


def updates(update: int, initial: int) -> bool:
    """Whether a CSB update of data type `update` can follow a message of type `initial`."""
    return initial in _UPDATED.get(update, ())


def is_update(message: Message) -> bool:
    """Whether a message can only be a CSB update or the answer to one.

    An update carries neither a new RAND nor, in MIKEY-TICKET, a ticket (RFC 3830 4.5,
    RFC 6043 5.2); an initial message always does.
    """
    kind = message.header.data_type
    if kind not in _UPDATED and kind != D.TRANSFER_RESP:
        return False
    new = _NEW_TICKET if kind in TRANSFERS else _NEW
    return not any(payload.number in new for payload in message.payloads)


def is_end(message: Message) -> bool:
    """Whether a CSB update ends its session: it brings nothing and asks for no answer.

    RFC 6043 has no message for that (interpretation 51).
    """
    header = message.header
    brings = header.cs_id_map or any(one.number in _BROUGHT for one in message.payloads)
    ends = is_update(message) and header.data_type == D.TRANSFER_INIT
    return ends and not header.v and not brings


def is_update_of(message: Message, initial: Message) -> bool:
    """Whether a message is a CSB update of the exchange that `initial` began.

    Unlike `is_update` it recognizes an update that repeats the initiator's RAND or the ticket
    (RFC 6043 5.2, interpretation 44). `initial` sent again is not an update.
    """
    if message.header.csb_id != initial.header.csb_id or is_update(initial):
        return False
    if not updates(message.header.data_type, initial.header.data_type):
        return False
    repeats = message.header.data_type == D.TRANSFER_INIT and message.raw != initial.raw
    return is_update(message) or (repeats and _static(message) <= _static(initial))


def _static(message: Message) -> set[tuple[object, ...]]:
    """The payloads of a TRANSFER_INIT that its updates may only repeat.

    Initiator Data is left out: it authenticates one message only.
    """
    found: set[tuple[object, ...]] = set()
    for payload in message.payloads:
        if payload.number == NextPayload.RANDR and payload["rand_role"] == RandRole.INITIATOR:
            found.add((payload.number, payload["rand"]))
        elif payload.number == NextPayload.TICKET:
            names = ("ticket_type", "subtype", "version", "prf", "flags", "tp_data", "ticket_data")
            found.add((payload.number, *(payload[name] for name in names)))
    return found
