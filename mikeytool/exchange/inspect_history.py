"""Inspect messages in sequence, using what earlier messages revealed.

Responses cover the messages they answer. Updates use RANDs and keys of the exchange before them. A
user's key opens the KMS response that contains the keys of a ticket.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from mikeytool.exchange.inspect import VERIFIED, Inspection, KnownKeys, inspect_message
from mikeytool.exchange.inspect_context import Context
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.ticket import TicketKeys, ticket_octets
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import KEMAC, TICKET
from mikeytool.wire.registry import DataType, IdRole

MAX_OCTETS = 4 << 20
"""How many octets of messages to keep; the exchanges idle for longest are dropped first."""

MAX_MESSAGES, FIRST = 32, 8
"""How many messages to keep of one exchange, and how many of its first are always kept."""

MAX_TICKETS, MAX_ANSWERS = 1024, 8
"""How many tickets to keep, and the keys from how many KMS answers for each."""


class Earlier:
    """Earlier messages by CSB ID; memory is bounded."""

    def __init__(self) -> None:
        self._exchanges: OrderedDict[int, list[Message]] = OrderedDict()
        self._octets = 0

    def of(self, message: Message) -> list[Message]:
        """Return the earlier messages of a message's exchange, in order."""
        return self._exchanges.get(message.header.csb_id, [])

    def add(self, message: Message) -> None:
        """Remember a message."""
        csb_id = message.header.csb_id
        exchange = self._exchanges.setdefault(csb_id, [])
        self._exchanges.move_to_end(csb_id)
        if len(exchange) == MAX_MESSAGES:
            self._octets -= len(exchange.pop(FIRST).raw)
        exchange.append(message)
        self._octets += len(message.raw)
        while self._octets > MAX_OCTETS:
            _, gone = self._exchanges.popitem(last=False)
            self._octets -= sum(len(one.raw) for one in gone)


class History:
    """Inspects messages in the order in which they arrived, and remembers them."""

    def __init__(self, ring: KeyRing, identities: Mapping[IdRole, Identity] | None = None) -> None:
        self._ring, self._identities = ring, identities
        self._earlier = Earlier()
        self._known_keys: OrderedDict[bytes, list[KnownKeys]] = OrderedDict()

    def inspect(self, message: Message, init: Message | None = None) -> Inspection:
        """Inspect a message, as `inspect_message` does, and remember it."""
        earlier = self._earlier.of(message)
        context = Context.of(message, [*earlier, *([] if init is None else [init])])
        inspection = inspect_message(
            message, self._ring, init, self._identities, earlier, self._known(context)
        )
        self._learn(context, inspection)
        self._earlier.add(message)
        return inspection

    def _known(self, context: Context) -> list[KnownKeys]:
        """Return the keys that the KMS sent for the ticket of a call."""
        ticket = None if context.offer is None else context.offer.find(TICKET)
        return [] if ticket is None else self._known_keys.get(ticket_octets(ticket), [])

    def _learn(self, context: Context, inspection: Inspection) -> None:
        """Store the keys that the KMS sent for a ticket; a responder's are forked."""
        message, asked = context.message, context.asked
        kemac = message.find(KEMAC)
        resolved = context.kind == DataType.RESOLVE_RESP
        if not (resolved or context.kind == DataType.REQUEST_RESP) or inspection.mac != VERIFIED:
            return
        ticket = asked.find(TICKET) if resolved and asked is not None else message.find(TICKET)
        if ticket is None or kemac is None or kemac.offset not in inspection.kemacs:
            return
        try:
            keys = TicketKeys.of(inspection.kemacs[kemac.offset], ticket.flag)
        except MikeyError:
            return
        given = self._known_keys.setdefault(ticket_octets(ticket), [])
        if len(given) < MAX_ANSWERS:
            given.append(KnownKeys(keys, is_forked=resolved))
        if len(self._known_keys) > MAX_TICKETS:
            self._known_keys.popitem(last=False)
