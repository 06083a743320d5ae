"""Opening a message with whatever keys are at hand, to look into it.

This is no protocol role: nothing is refused, every check that can be made is made and its
result told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mikeytool.crypto.derive import (
    MessageKeys,
    fork_mpkr,
    initiator_data_keys,
    message_keys,
)
from mikeytool.crypto.kemac import open_kemac
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.protection import covered
from mikeytool.exchange.resolve import initiator_data
from mikeytool.exchange.ticket import BaseTicket, TicketKeys
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, KEMAC, RANDR, TICKET, KeyData, T, V
from mikeytool.wire.registry import DataType, EncrAlg, IdRole, RandRole, TicketFlag
from mikeytool.wire.timestamp import Timestamp

VERIFIED = "verified"
FAILED = "FAILED"
NOT_CHECKED = "not checked"

_TRANSFERS = (DataType.TRANSFER_INIT, DataType.TRANSFER_RESP)
_RESPONSES = (DataType.REQUEST_RESP, DataType.TRANSFER_RESP, DataType.RESOLVE_RESP)


@dataclass(slots=True)
class KeyRing:
    """Keys that may open a message. Several of a kind are tried one after the other.

    `psks` are keys of users with their KMS, by URI or key name where that is known, else
    under None. `mpki` and `mpkr` go by CSB ID, or under None for any message; `mpkr` is forked
    one or the original.
    """

    psks: list[tuple[bytes | None, bytes]] = field(default_factory=list, repr=False)
    tpks: list[tuple[bytes | None, bytes]] = field(default_factory=list, repr=False)
    mpki: list[tuple[int | None, bytes]] = field(default_factory=list, repr=False)
    mpkr: list[tuple[int | None, bytes]] = field(default_factory=list, repr=False)


@dataclass(slots=True)
class Opened:
    """What the keys said of a message.

    `keys` is all key data that could be had, MPKi and MPKr of a ticket included; `kemacs`
    what each KEMAC holds, by its offset.
    """

    mac: str | None = None
    ticket: str | None = None
    initiator_data: str | None = None
    keys: list[KeyData] = field(default_factory=list, repr=False)
    kemacs: dict[int, list[KeyData]] = field(default_factory=dict, repr=False)

    @property
    def failed(self) -> bool:
        """Whether any check failed."""
        return FAILED in (self.mac, self.ticket, self.initiator_data)


def open_message(
    message: Message,
    ring: KeyRing,
    init: Message | None = None,
    identities: dict[IdRole, Identity] | None = None,
) -> Opened:
    """Verify and decrypt what the keys of `ring` allow.

    `init` is the initial message that the MAC of a response covers; `identities` stand in
    for those that the message leaves out. An `init` with another CSB ID is no help.
    """
    opened = Opened()
    if init is not None and init.header.csb_id != message.header.csb_id:
        init = None
    ticket = message.find(TICKET)
    from_ticket = None
    if ticket is not None:
        opened.ticket, from_ticket = _open_ticket(ticket, ring, opened)
        if ticket.initiator_data:
            opened.initiator_data = _check_initiator_data(message, ticket, ring, from_ticket)
    if from_ticket is None and init is not None and (sent := init.find(TICKET)) is not None:
        _, from_ticket = _open_ticket(sent, ring, Opened())
    v = message.payloads[-1] if message.payloads else None
    if isinstance(v, V):
        behind = _behind(message, init, identities or {})
        candidates = list(_candidates(message, init, ring, from_ticket))
        opened.mac = _check_mac(message, v, behind, candidates, opened)
    return opened


def _open_ticket(ticket: TICKET, ring: KeyRing, opened: Opened) -> tuple[str, TicketKeys | None]:
    try:
        base = BaseTicket.of(ticket)
    except MikeyError:
        return NOT_CHECKED, None
    tried = False
    for name, tpk in ring.tpks:
        if name is not None and base.tpk_id is not None and name != base.tpk_id.data:
            continue
        tried = True
        try:
            inside = base.decrypt(tpk)
        except MikeyError:
            continue
        keys = base.split(inside)
        opened.kemacs[base.kemac.offset] = inside
        opened.keys += keys.sub_payloads()
        return VERIFIED, keys
    return FAILED if tried else NOT_CHECKED, None


def _check_initiator_data(
    message: Message, ticket: TICKET, ring: KeyRing, from_ticket: TicketKeys | None
) -> str:
    """Vr under MPKr, and in TRANSFER_INIT that Vi is the V of the message (6.10)."""
    keys = _original_mpkrs(message, ring, from_ticket)
    if not keys:
        return NOT_CHECKED
    try:
        vi, vr = initiator_data(ticket)
        covers = ticket.initiator_data[: -len(vr.ver_data)]
        good = any(
            mac_is_good(vr.auth_alg, initiator_data_keys(ticket.prf, key), covers, vr.ver_data)
            for key in keys
        )
    except MikeyError:
        return FAILED
    v = message.find(V)
    if message.header.data_type == DataType.TRANSFER_INIT and v is not None:
        good = good and vi.ver_data == v.ver_data
    return VERIFIED if good else FAILED


def _original_mpkrs(message: Message, ring: KeyRing, from_ticket: TicketKeys | None) -> list[bytes]:
    """The MPKrs at hand, which may be forked ones as well."""
    keys = [key for csb_id, key in ring.mpkr if csb_id in (None, message.header.csb_id)]
    if from_ticket is not None and from_ticket.mpkr is not None:
        keys.append(from_ticket.mpkr.key)
    return keys


def _check_mac(
    message: Message, v: V, behind: bytes | None, candidates: list[MessageKeys], opened: Opened
) -> str:
    if behind is None or not candidates:
        return NOT_CHECKED
    covers = covered(message, message.raw, len(v.ver_data)) + behind
    for keys in candidates:
        try:
            if not mac_is_good(v.auth_alg, keys, covers, v.ver_data):
                continue
            _open_kemac(message, keys, opened)
        except MikeyError:
            continue
        return VERIFIED
    return FAILED


def _behind(
    message: Message, init: Message | None, identities: dict[IdRole, Identity]
) -> bytes | None:
    """What table 5.2 puts behind the message in its MAC; None when it is not known."""
    kind = message.header.data_type
    if kind in _RESPONSES:
        return None if init is None else init.raw
    if kind == DataType.ERROR:
        return b""
    behind = b""
    for role in _COVERED_IDENTITIES.get(kind, ()):
        found = _identity(message, role) or identities.get(role)
        if found is None:
            return None
        behind += found.data
    return behind if kind in _COVERED_IDENTITIES else None


_COVERED_IDENTITIES: dict[int, tuple[IdRole, IdRole]] = {
    DataType.REQUEST_INIT_PSK: (IdRole.INITIATOR, IdRole.KMS),
    DataType.TRANSFER_INIT: (IdRole.INITIATOR, IdRole.RESPONDER),
    DataType.RESOLVE_INIT_PSK: (IdRole.RESPONDER, IdRole.KMS),
}


def _identity(message: Message, role: IdRole) -> Identity | None:
    return next((Identity.of(p) for p in message.all(IDR) if p.id_role == role), None)


def _candidates(
    message: Message, init: Message | None, ring: KeyRing, from_ticket: TicketKeys | None
) -> Iterator[MessageKeys]:
    """The keys that may protect a message (5.1.2).

    Responses and Error messages take the RANDs of their initial message; without it there
    are none.
    """
    kind = message.header.data_type
    response = kind in _RESPONSES
    first = init if response or kind == DataType.ERROR else message
    if first is None:
        return
    transfer = first.header.data_type in _TRANSFERS
    randr_r = _rand(message if kind == DataType.TRANSFER_RESP else first, RandRole.RESPONDER)
    inkeys = _mpks(message, first, ring, from_ticket) if transfer else _psks(first, ring)
    for inkey in inkeys:
        yield message_keys(
            message.header.prf,
            inkey,
            message.header.csb_id,
            response=response,
            randr_i=_rand(first, RandRole.INITIATOR),
            randr_r=randr_r,
        )


def _psks(first: Message, ring: KeyRing) -> Iterator[bytes]:
    names = {p.id_data for p in first.all(IDR)}
    return (key for name, key in ring.psks if name is None or name in names)


def _mpks(
    message: Message, first: Message, ring: KeyRing, from_ticket: TicketKeys | None
) -> Iterator[bytes]:
    """MPKi; for the answer to a forked ticket the MPKrs, as they are and forked."""
    ticket = first.find(TICKET)
    forked = ticket is not None and TicketFlag.I in ticket.flag
    if message.header.data_type != DataType.TRANSFER_RESP or not forked:
        if from_ticket is not None:
            yield from_ticket.mpki.key
        csb_id = message.header.csb_id
        yield from (key for known, key in ring.mpki if known in (None, csb_id))
        return
    responder = _identity(message, IdRole.RESPONDER)
    for mpkr in _original_mpkrs(message, ring, from_ticket):
        yield mpkr
        if responder is not None and ticket is not None:
            randr_kms = _rand(message, RandRole.KMS)
            yield fork_mpkr(ticket.prf, mpkr, responder.data, randr_kms)


def _rand(message: Message, role: RandRole) -> bytes:
    return next((p.rand for p in message.all(RANDR) if p.rand_role == role), b"")


def _open_kemac(message: Message, keys: MessageKeys, opened: Opened) -> None:
    kemac, t = message.find(KEMAC), message.find(T)
    if kemac is None or t is None or kemac.encr_alg == EncrAlg.NULL:
        return
    inside = open_kemac(kemac, keys, message.header.csb_id, Timestamp.of(t))
    opened.kemacs[kemac.offset] = inside
    opened.keys += inside
