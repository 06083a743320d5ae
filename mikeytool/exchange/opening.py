"""Opening a message with whatever keys are at hand, to look into it.

This is no protocol role: nothing is refused, every check that can be made is made and its
result told.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mikeytool.crypto.derive import MessageKeys, initiator_data_keys, message_keys
from mikeytool.crypto.kemac import open_kemac
from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange.protection import covered
from mikeytool.exchange.resolve import initiator_data
from mikeytool.exchange.ticket import BaseTicket, TicketKeys
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, KEMAC, RANDR, TICKET, KeyData, T, V
from mikeytool.wire.registry import DataType, EncrAlg, IdRole, RandRole
from mikeytool.wire.timestamp import Timestamp

VERIFIED = "verified"
FAILED = "FAILED"
NOT_CHECKED = "not checked"

_REQUESTS = (DataType.REQUEST_INIT_PSK, DataType.REQUEST_RESP)
_RESOLVES = (DataType.RESOLVE_INIT_PSK, DataType.RESOLVE_RESP)
_TRANSFERS = (DataType.TRANSFER_INIT, DataType.TRANSFER_RESP)
_RESPONSES = (DataType.REQUEST_RESP, DataType.TRANSFER_RESP, DataType.RESOLVE_RESP)


@dataclass(slots=True)
class KeyRing:
    """Keys that may open a message. Several of a kind are tried one after the other.

    `psks` are keys of users with their KMS, by URI or key name where that is known, else
    under None. `mpki` and `mpkr` go by CSB ID, or under None for any message; `mpkr` is the
    forked one for TRANSFER_RESP and the original for Initiator Data.
    """

    psks: list[tuple[bytes | None, bytes]] = field(default_factory=list, repr=False)
    tpks: list[tuple[bytes | None, bytes]] = field(default_factory=list, repr=False)
    mpki: list[tuple[int | None, bytes]] = field(default_factory=list, repr=False)
    mpkr: list[tuple[int | None, bytes]] = field(default_factory=list, repr=False)


@dataclass(slots=True)
class Opened:
    """What the keys said of a message. `keys` are the key data that could be decrypted."""

    mac: str | None = None
    ticket: str | None = None
    initiator_data: str | None = None
    keys: list[KeyData] = field(default_factory=list, repr=False)

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
    for those that the message leaves out.
    """
    opened = Opened()
    ticket = message.find(TICKET)
    from_ticket = None
    if ticket is not None:
        opened.ticket, from_ticket = _open_ticket(ticket, ring)
        if from_ticket is not None:
            opened.keys += from_ticket.keys
        if ticket.initiator_data:
            opened.initiator_data = _check_initiator_data(message, ticket, ring, from_ticket)
    v = message.payloads[-1] if message.payloads else None
    if isinstance(v, V):
        opened.mac = _check_mac(message, v, ring, init, identities or {}, from_ticket, opened)
    return opened


def _open_ticket(ticket: TICKET, ring: KeyRing) -> tuple[str, TicketKeys | None]:
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
            return VERIFIED, base.open(tpk)
        except MikeyError:
            continue
    return FAILED if tried else NOT_CHECKED, None


def _check_initiator_data(
    message: Message, ticket: TICKET, ring: KeyRing, from_ticket: TicketKeys | None
) -> str:
    """Vr under MPKr, and in TRANSFER_INIT that Vi is the V of the message (6.10)."""
    keys = [key for _, key in ring.mpkr]
    if from_ticket is not None and from_ticket.mpkr is not None:
        keys.append(from_ticket.mpkr.key)
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


def _check_mac(
    message: Message,
    v: V,
    ring: KeyRing,
    init: Message | None,
    identities: dict[IdRole, Identity],
    from_ticket: TicketKeys | None,
    opened: Opened,
) -> str:
    behind = _behind(message, init, identities)
    candidates = list(_candidates(message, ring, init, from_ticket))
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
    roles = {
        DataType.REQUEST_INIT_PSK: (IdRole.INITIATOR, IdRole.KMS),
        DataType.TRANSFER_INIT: (IdRole.INITIATOR, IdRole.RESPONDER),
        DataType.RESOLVE_INIT_PSK: (IdRole.RESPONDER, IdRole.KMS),
    }.get(DataType(kind) if kind in list(DataType) else DataType.ERROR)
    if roles is None:
        return None
    behind = b""
    for role in roles:
        found = _identity(message, role) or identities.get(role)
        if found is None:
            return None
        behind += found.data
    return behind


def _identity(message: Message, role: IdRole) -> Identity | None:
    return next((Identity.of(p) for p in message.all(IDR) if p.id_role == role), None)


def _candidates(
    message: Message, ring: KeyRing, init: Message | None, from_ticket: TicketKeys | None
) -> Iterator[MessageKeys]:
    """The keys that may protect a message, likely ones first (5.1.2)."""
    first = message if init is None else init
    kind = message.header.data_type
    basis = first.header.data_type if kind in (DataType.ERROR, *_RESPONSES) else kind
    randr_i, randr_r = _rand(first, RandRole.INITIATOR), _rand(first, RandRole.RESPONDER)
    if kind == DataType.TRANSFER_RESP:
        randr_r = _rand(message, RandRole.RESPONDER)
    for inkey in _inkeys(first, basis, message, ring, from_ticket):
        yield message_keys(
            message.header.prf,
            inkey,
            message.header.csb_id,
            response=kind in _RESPONSES,
            randr_i=randr_i if basis not in _RESOLVES else b"",
            randr_r=randr_r if basis not in _REQUESTS else b"",
        )


def _inkeys(
    first: Message, basis: int, message: Message, ring: KeyRing, from_ticket: TicketKeys | None
) -> Iterator[bytes]:
    if basis in _TRANSFERS or message.header.data_type in _TRANSFERS:
        if from_ticket is not None:
            yield from_ticket.mpki.key
        for csb_id, key in (*ring.mpki, *ring.mpkr):
            if csb_id in (None, message.header.csb_id):
                yield key
    if basis not in _TRANSFERS:
        names = {p.id_data for p in first.all(IDR)}
        yield from (key for name, key in ring.psks if name is None or name in names)


def _rand(message: Message, role: RandRole) -> bytes:
    return next((p.rand for p in message.all(RANDR) if p.rand_role == role), b"")


def _open_kemac(message: Message, keys: MessageKeys, opened: Opened) -> None:
    kemac, t = message.find(KEMAC), message.find(T)
    if kemac is None or t is None or kemac.encr_alg == EncrAlg.NULL:
        return
    opened.keys += open_kemac(kemac, keys, message.header.csb_id, Timestamp.of(t))
