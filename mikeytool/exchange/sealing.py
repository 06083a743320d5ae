"""Protect a message again after editing: the reverse of `inspect`.

`inspect_keys` and `inspect_context` tell both modules which keys there are and what they cover.
Nothing is checked, because messages may be made wrong on purpose. What no key covers stays
unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import TypeVar

from mikeytool.crypto.derive import MessageKeys, initiator_data_keys, ticket_keys
from mikeytool.crypto.kemac import TICKET_CSB_ID, encrypt
from mikeytool.crypto.mac import mac
from mikeytool.exchange.inspect import first_good, inspect_tickets, kemac_payloads
from mikeytool.exchange.inspect_context import Context, signing_certificate, tag_of
from mikeytool.exchange.inspect_keys import KeyRing, Protection, known_mpkrs, protections
from mikeytool.exchange.resolve import initiator_data
from mikeytool.exchange.ticket import BaseTicket, covered_by_ticket_mac
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message, build_chain, ticket_data
from mikeytool.wire.payloads import ID, KEMAC, SIGN, TICKET, Chained, Payload, T, V
from mikeytool.wire.registry import DataType, EncrAlg, IdRole, MacAlg
from mikeytool.wire.timestamp import Timestamp

P = TypeVar("P", bound=Payload)
Keys = Mapping[int, Sequence[Payload]]


@dataclass(slots=True)
class Sealed:
    """A message, and a description for people of what was rewritten in it.

    `kemacs` are the original offsets of the KEMACs that were encrypted. `notes` say what is still
    wrong with the message.
    """

    message: Message
    written: list[str] = field(default_factory=list)
    kemacs: set[int] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def seal_message(
    message: Message,
    ring: KeyRing,
    init: Message | None = None,
    identities: Mapping[IdRole, Identity] | None = None,
    earlier: Sequence[Message] = (),
    *,
    keys: Keys | None = None,
) -> Sealed:
    """Rewrite everything in a message that keys of `ring` cover.

    The ticket comes first (its KEMAC and MAC), then the message's own KEMAC, then V, the MAC of
    KEMAC or SIGN, and Initiator Data. Vr is written before the V that covers it; in TRANSFER_INIT,
    Vi and Vr are written after the V that Vi repeats. A private key signs if it belongs to the
    certificate in CERT, or if it is the only key and there is no certificate.

    `message` has `raw`, and its payloads have their `offset` and `length` in it, as from
    `Message.read`. `keys` is the intended content of KEMACs by their offset, including those in
    Ticket Data; other KEMACs keep their Encr data. `init`, `identities` and `earlier` are those of
    `inspect_message`. If several keys fit, the first is used, but never a key with another name.

    Raises UsageError for key data that the algorithm does not accept, Refused for unknown
    algorithms and PRFs.
    """
    before = [*earlier, *([] if init is None else [init])]
    sealer = _Sealer(message, ring, before, identities or {}, keys or {})
    sealer.ticket()
    sealer.kemac()
    if message.header.data_type == DataType.TRANSFER_INIT:
        sealer.end()
        sealer.initiator_data()
    else:
        sealer.initiator_data()
        sealer.end()
    sealer.sealed.message = sealer.message
    return sealer.sealed


class _Sealer:
    """A message while its payloads are rewritten in turn."""

    def __init__(
        self,
        message: Message,
        ring: KeyRing,
        earlier: Sequence[Message],
        identities: Mapping[IdRole, Identity],
        keys: Keys,
    ) -> None:
        self._ring, self._earlier, self._identities = ring, earlier, identities
        kemac = message.find(KEMAC)
        self._kemac_at = -1 if kemac is None else kemac.offset
        self._keys = keys
        self._chosen: Protection | None = None
        self._has_new_v = False
        self.message = message
        self.sealed = Sealed(message)

    @property
    def _context(self) -> Context:
        return Context.of(self.message, self._earlier, self._identities)

    def ticket(self) -> None:
        """Write KEMAC and MAC of a base ticket, under its TPK (RFC 6043 A.1)."""
        ticket = self.message.find(TICKET)
        if ticket is None:
            return
        try:
            base = BaseTicket.of(ticket)
        except MikeyError:
            return
        tpk = _tpk(base, self._ring)
        if tpk is None or base.v.auth_alg == MacAlg.NULL:
            return
        protection = ticket_keys(ticket.prf, tpk, base.rand)
        inside = ticket_data(ticket.ticket_data)
        new = self._keys.get(base.kemac.offset)
        if new is not None and base.kemac.encr_alg != EncrAlg.NULL:
            at = next(at for at, one in enumerate(inside) if isinstance(one, KEMAC))
            inside[at] = _encrypted(base.kemac, new, protection, TICKET_CSB_ID, base.t)
            self.sealed.kemacs.add(base.kemac.offset)
        sealed = self._put(ticket, _with_ticket_data(ticket, build_chain(inside)))
        covers = covered_by_ticket_mac(sealed, len(base.v.ver_data))
        tag = mac(base.v.auth_alg, protection, covers)
        self._put(sealed, _with_ticket_data(sealed, sealed.ticket_data[: -len(tag)] + tag))
        self.sealed.written.append("the ticket")

    def kemac(self) -> None:
        """Write the KEMAC of the message, and its MAC if that covers only the KEMAC."""
        context, kemac = self._context, self.message.find(KEMAC)
        self._chosen = self._choose(context)
        if kemac is None or self._chosen is None:
            return
        keys = self._chosen.keys
        new, t = self._keys.get(self._kemac_at), self.message.find(T)
        if kemac.encr_alg == EncrAlg.NULL:
            pass
        elif new is not None and t is not None:
            inside = [*self._sender(context, keys), *new]
            sealed = _encrypted(kemac, inside, keys, context.csb_id, Timestamp.of(t))
            self._put(kemac, sealed)
            self.sealed.kemacs.add(self._kemac_at)
            self.sealed.written.append("KEMAC")
        elif kemac.encr_data:
            self._note_stale(context, kemac, keys)
        self._lone_mac(keys)

    def _lone_mac(self, keys: MessageKeys) -> None:
        context = self._context
        kemac = context.lone_kemac
        if kemac is not None and kemac.mac_alg != MacAlg.NULL:
            self._put(kemac, kemac.copy(mac=mac(kemac.mac_alg, keys, context.kemac_covers(kemac))))
            self.sealed.written.append("the MAC of KEMAC")

    def _note_stale(self, context: Context, kemac: KEMAC, keys: MessageKeys) -> None:
        """Note Encr data that was not encrypted again although its T, RAND or key changed."""
        try:
            kemac_payloads(context, kemac, keys)
        except MikeyError:
            self.sealed.notes.append(
                "KEMAC keeps Encr data that this key does not open; to encrypt it anew, describe"
                " its keys in full, as decode --show-keys does"
            )

    def _choose(self, context: Context) -> Protection | None:
        """Return the keys that verified the MAC of a message, or else the first ones."""
        candidates = list(protections(context, self._ring, inspect_tickets(context, self._ring)))
        end, lone = context.end, context.lone_kemac
        covers, tag, alg = context.covers(), b"", 0
        if lone is not None:
            covers, tag, alg = context.kemac_covers(lone), lone.mac, lone.mac_alg
        elif end is not None and not isinstance(end, SIGN):
            tag = tag_of(end)
            alg = end.auth_alg if isinstance(end, V) else end.mac_alg
        if covers is not None and tag:
            _, proven = first_good(iter(candidates), alg, covers, tag)
            if proven is not None:
                return proven
        return next((one for one in candidates if not one.is_guess), None)

    def _sender(self, context: Context, keys: MessageKeys) -> list[Payload]:
        """Return the ID before the keys of a lone KEMAC: the one in it, or else the sender's."""
        kemac = context.lone_kemac
        if kemac is None:
            return []
        try:
            return kemac_payloads(context, kemac, keys)[:1]
        except MikeyError:
            sender = context.identity(context.kemac_sender)
            if sender is None:
                return []
            return [ID(id_type=int(sender.id_type), id_data=sender.data)]

    def initiator_data(self) -> None:
        """Write Vi, a copy of the V of TRANSFER_INIT, and Vr under MPKr (RFC 6043 6.10).

        An update may repeat the ticket with the Vi of the TRANSFER_INIT before it.
        """
        ticket = self.message.find(TICKET)
        if ticket is None or not ticket.initiator_data:
            return
        try:
            vi, vr = initiator_data(ticket)
        except MikeyError:
            return
        data, v = ticket.initiator_data, self.message.find(V)
        offer = self._context.offer
        first = None if offer is None or offer is self.message else offer.find(V)
        repeats = first is not None and vi.ver_data == first.ver_data
        if self._has_new_v and not repeats and v is not None and vi.auth_alg == v.auth_alg:
            before_vr = len(data) - vr.length
            end = before_vr - (vr.offset - vi.offset) + vi.length
            data = data[: end - len(v.ver_data)] + v.ver_data + data[end:]
        tickets = inspect_tickets(self._context, self._ring)
        mpkrs = known_mpkrs(self.message.header.csb_id, self._ring, tickets)
        if mpkrs:
            keys = initiator_data_keys(ticket.prf, mpkrs[0])
            tag = mac(vr.auth_alg, keys, data[: -len(vr.ver_data)])
            data = data[: -len(tag)] + tag
        if data != ticket.initiator_data or mpkrs:
            self._put(ticket, ticket.copy(initiator_data=data))
            self.sealed.written.append("Initiator Data")

    def end(self) -> None:
        """Write the MAC or signature that covers the message."""
        context = self._context
        end, covers = context.end, context.covers()
        if end is None or covers is None:
            return
        if isinstance(end, SIGN):
            self._sign(end)
            return
        chosen = self._chosen
        alg = end.auth_alg if isinstance(end, V) else end.mac_alg
        if chosen is None or alg == MacAlg.NULL:
            return
        tag = mac(alg, chosen.keys, covers)
        if isinstance(end, V):
            self._put(end, end.copy(ver_data=tag))
            self.sealed.written.append("V")
            self._has_new_v = True
        else:
            self._put(end, end.copy(mac=tag))
            self.sealed.written.append("the MAC")

    def _sign(self, old: SIGN) -> None:
        """Write SIGN; its length may change with another key."""
        certificate = signing_certificate(self.message)
        if certificate is not None:
            key = self._ring.private_key(certificate)
        else:
            key = self._ring.rsa[0] if len(self._ring.rsa) == 1 else None
        if key is None:
            return
        from mikeytool.crypto.signature import sign, signature_length

        length = signature_length(key)
        blank = old.copy(signature=bytes(length), signature_len=_kept(
            old.signature_len, len(old.signature), length))  # fmt: skip
        blank = self._put(old, blank)
        covers = self._context.covers()
        if covers is not None:
            signature = sign(self.message.header.prf, key, blank.s_type, covers)
            self._put(blank, blank.copy(signature=signature))
            self.sealed.written.append("SIGN")

    def _put(self, old: P, new: P) -> P:
        """Replace a payload, move what follows it, and return the new payload.

        Raises UsageError if it is too long.
        """
        raw = self.message.raw
        if isinstance(new, Chained):
            new = new.copy(next_payload=raw[old.offset])
        octets = build_chain([new])
        growth = len(octets) - old.length
        payloads: list[Payload] = []
        for payload in self.message.payloads:
            placed = new if payload is old else copy(payload)
            placed.offset, placed.length = payload.offset, payload.length
            if payload.offset > old.offset:
                placed.offset += growth
            payloads.append(placed)
        new.length = len(octets)
        raw = raw[: old.offset] + octets + raw[old.offset + old.length :]
        self.message = Message(self.message.header, payloads, self.message.trailing, raw)
        return new


def _tpk(base: BaseTicket, ring: KeyRing) -> bytes | None:
    """Return the TPK that opens a ticket in its current form, or else the first."""
    name = None if base.tpk_id is None else base.tpk_id.data
    candidates = list(ring.tpks_of(name))
    for one in candidates:
        with suppress(MikeyError):
            base.decrypt(one.key)
            return one.key
    return next((one.key for one in candidates if not one.is_guess), None)


def _encrypted(
    kemac: KEMAC, inside: Sequence[Payload], keys: MessageKeys, csb_id: int, t: Timestamp
) -> KEMAC:
    """Return a KEMAC with other encrypted payloads."""
    data = encrypt(kemac.encr_alg, build_chain(inside), keys, csb_id, t)
    length = _kept(kemac.encr_data_len, len(kemac.encr_data), len(data))
    return kemac.copy(encr_data=data, encr_data_len=length)


def _with_ticket_data(ticket: TICKET, data: bytes) -> TICKET:
    length = _kept(ticket.ticket_data_length, len(ticket.ticket_data), len(data))
    return ticket.copy(ticket_data=data, ticket_data_length=length)


def _kept(given: int | None, before: int, now: int) -> int | None:
    """Return a length field: the given value, right or wrong, until the counted data changes."""
    return given if before == now else None
