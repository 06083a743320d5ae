"""One message on its way through the KMS (RFC 6043 4.2.1.4, 4.2.3.4, 5.4).

The steps follow the order of RFC 3830 5.3. The most important rule is that nothing is written
before the sender is authenticated, except a limited number of lines in the log. The replay entry,
the log entry and the answer belong to one transaction, so that no answer is sent before its replay
entry is on disk.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message
from mikeytool.exchange.forwarding import MAX_HOPS
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.request import RequestInit, request_resp
from mikeytool.exchange.resolve import ResolveInit, open_for_responder, resolve_resp
from mikeytool.exchange.ticket import BaseTicket, make_ticket
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms import broken_messages
from mikeytool.kms.authorization import (
    Responder,
    acting_responder,
    check_enabled,
    check_foreign,
    check_speaks_for,
    may_act_as,
)
from mikeytool.kms.foreign_tickets import Forwarder, is_foreign
from mikeytool.kms.grant import check_made, grant, make_keys
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.protection_keys import check_before_rotation, check_maker, tpk_for
from mikeytool.kms.senders import authenticate, check_certified, claimed_sender
from mikeytool.kms.store.exchanges import Entry, Exchange
from mikeytool.kms.store.records import Handled, LogEntry, User, unauthenticated
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError, Unavailable, UsageError, WireError
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import DataType, ErrorNo, TicketFlag

SEEN = "the message counts as seen: send a new one"
"""What a client has to do when the KMS fails after it recorded the message."""

_EXCHANGES: dict[int, str] = {
    DataType.REQUEST_INIT_PSK: "request",
    DataType.REQUEST_INIT_PK: "request",
    DataType.RESOLVE_INIT_PSK: "resolve",
    DataType.RESOLVE_INIT_PK: "resolve",
}


def exchange_of(data_type: int) -> str:
    """The exchange that a data type begins, as the log and the metrics name it."""
    return _EXCHANGES.get(data_type, "other")


class Uncounted(Exception):
    """A refusal of a known sender that changes nothing in the store except the log."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(str(refused))
        self.refused = refused


Handle = Callable[..., Handled]
"""The function that handles a message, for a KMS whose store is on this machine."""


class ReceivedMessage:
    """A message, until it is answered or refused.

    First `verify` is called, then `decide` within a transaction, then `log_apart`, and `finish`
    when everything is on disk. If the transaction is rolled back, `undo` is called, and `decide`
    again in another one.
    """

    def __init__(self, store: Store, env: Environment, data: bytes, send_errors: bool) -> None:
        self.store, self.env = store, env
        self._data, self._send_errors = data, send_errors
        self._reset()

    def _reset(self) -> None:
        self._result: Handled | Exception | None = None
        self.is_foreign = False
        """Whether another KMS has to be asked for the answer."""
        self._apart: LogEntry | None = None
        """A refusal that is logged outside of the transaction."""
        self.key: bytes | None = None
        """The key that protects the answer or the Error message, once it is known."""
        self.base: BaseTicket | None = None
        """The ticket to resolve, once it has been read."""

    @property
    def is_done(self) -> bool:
        """Whether there is a result already."""
        return self._result is not None

    @property
    def is_left(self) -> bool:
        """Whether nothing is decided yet."""
        return not self.is_done and not self.is_foreign

    def finish(self, store: Store, handle: Handle, deadline: float | None) -> Handled:
        """Return or raise the result. If it is foreign, ask another KMS."""
        self.store = store
        return self._forwarded(handle, deadline) if self.is_foreign else self.result()

    def result(self) -> Handled:
        """Return or raise the result, which is not foreign."""
        if isinstance(self._result, Handled):
            return self._result
        assert self._result is not None  # noqa: S101 - see the class
        raise self._result

    # --- before the transaction -------------------------------------------------------------

    def verify(self, kms_policy: KmsPolicy, *, look: bool = True) -> None:
        """Authenticate the sender, and refuse old messages. Write nothing.

        With `look`, refuse replays too. Without it, `decide` has to find them.
        """
        self._reset()
        self.kms_policy = kms_policy
        if self.env.skew != kms_policy.max_skew:
            self.env = replace(self.env, skew=kms_policy.max_skew)
        try:
            self._verify(look)
        except Exception as error:
            self._result = error

    def undo(self) -> None:
        """Return to the state after `verify`, because nothing was written of the decision."""
        self._reset()
        self.key = None if self.sender.signed else self.sender.key

    def _verify(self, look: bool) -> None:
        message = Message.read(self._data)
        try:
            sender = authenticate(self.store, self.env, self.kms_policy, message)
        except (Refused, WireError) as fault:
            self._result = self._broken(message, fault) or self._unauthenticated(message, fault)
            return
        self.sender = sender
        self.key = None if sender.signed else sender.key
        try:
            self._check_kms()
            self.env.check_fresh(sender.incoming.t)
            if look:
                self.store.check_new(self.env, sender.incoming, sender.acting, sender.key)
        except Refused as refusal:
            self.refuse_uncounted(refusal)

    def _broken(self, message: Message, fault: Refused | WireError) -> Handled | None:
        """Answer a message that breaks a rule and whose MAC or signature is right (RFC 6043 5.4).

        Returns None if nothing proves who sent it.
        """
        if isinstance(fault, Refused) and fault.error_no == ErrorNo.AUTH_FAILURE:
            return None
        proof = broken_messages.prove(self.store, self.env, self.kms_policy, message)
        if proof is None:
            return None
        refusal = broken_messages.refused(self.env, message, fault)
        exchange, user = exchange_of(message.header.data_type), str(proof.sender)
        self._apart = LogEntry(self.env.clock(), exchange, user, "", "refused", str(refusal))
        return Handled(broken_messages.error_for(self.env, message, proof, refusal), refusal)

    def _unauthenticated(self, message: Message, fault: Refused | WireError) -> Handled:
        """Refuse a message of nobody known, without a MAC if at all. Raises WireError."""
        if isinstance(fault, WireError):
            raise fault
        header, claimed = message.header, claimed_sender(self.store, message)
        if claimed is not None:
            exchange, now = exchange_of(header.data_type), self.env.clock()
            self._apart = unauthenticated(now, exchange, claimed, str(fault))
        sends = self._send_errors and header.data_type != DataType.ERROR
        return Handled(
            error_message(self.env, header, fault.error_no, None) if sends else None, fault
        )

    def _check_kms(self) -> None:
        named, own = self.sender.request.kms, self.store.identity
        if named is not None and named != own:
            raise Refused(f"the message is for the KMS {named}; this is {own}", ErrorNo.INVALID_ID)

    def refuse_uncounted(self, refusal: Refused) -> None:
        """Refuse the message. Nothing of its transaction is written.

        An attacker may replay captured messages. They must not count against their sender, and
        must cost few writes no matter how many arrive.
        """
        self._apart = self._log_entry(refusal)
        self._result = self._refused(refusal)

    def log_apart(self) -> None:
        """Log a refusal that is not logged in the transaction."""
        if self._apart is not None:
            self.store.log_refused(self._apart)

    def _refused(self, refusal: Refused) -> Handled:
        """Refuse with an Error message. It has no MAC if the envelope has not been opened."""
        incoming = self.sender.incoming
        header: HDR = incoming.message.header
        keys = None
        if self.key is not None:
            keys = self.sender.request.keys(self.key, response=False)
        answer = error_message(self.env, header, refusal.error_no, keys, t=incoming.t)
        return Handled(answer, refusal)

    # --- within the transaction -------------------------------------------------------------

    @property
    def entry(self) -> Entry:
        """What the transaction needs to know of a verified message."""
        sender, request = self.sender, self.sender.request
        return Entry(
            sender.incoming,
            sender.acting,
            sender.key,
            sender.user.identity if self.kms_policy.rate else None,
            request.ticket if isinstance(request, ResolveInit) else None,
        )

    def decide(self, exchange: Exchange) -> None:
        """Answer or refuse the message, and record it.

        The result holds only if the transaction is committed. Raises Uncounted if nothing is to
        be recorded.
        """
        refusal: Refused | None = None
        answer: bytes | None = None
        count = self._counted(exchange)
        try:
            self._admit(count)
            answer = self._decide(exchange)
        except (Refused, WireError, UsageError) as error:
            refusal = _refusal(error)
        self.is_foreign = answer is None and refusal is None
        if not self.is_foreign:
            exchange.log(self._log_entry(refusal))
            self._result = Handled(answer) if refusal is None else self._refused(refusal)

    def is_beyond(self, count: int) -> bool:
        """Whether so many messages in a minute are too many to be recorded."""
        return count > self.kms_policy.rate + 1

    def _counted(self, exchange: Exchange) -> int:
        """Record a new message and count it. If this raises, nothing is written."""
        most, user = self.kms_policy.rate, self.sender.user.identity
        try:
            count = exchange.enter(self.env, self.entry)
            if self.is_beyond(count):
                raise Refused(f"more than {most} messages of {user} in a minute")
        except Refused as refusal:
            raise Uncounted(refusal) from None
        return count

    def _admit(self, count: int) -> None:
        """Refuse messages above the rate limit, and senders that the operator has shut out."""
        sender, store, most = self.sender, self.store, self.kms_policy.rate
        identity = sender.user.identity
        if count > most:
            raise Refused(f"more than {most} messages of {identity} in a minute")
        if sender.path:
            if len(sender.path) > MAX_HOPS:
                raise Refused(f"the message came through more than {MAX_HOPS} KMSs")
            for kms in sender.path:  # includes the one with the key
                known = store.peer(kms)
                if known is not None:
                    check_speaks_for(store, known, sender.acting)
            check_foreign(store, sender.acting)
            return
        if sender.signed is None and not may_act_as(store, sender.user, sender.acting):
            raise Refused(
                f"the key of {identity} is not that of {sender.acting}, the sender that the"
                " message names",
                ErrorNo.AUTH_FAILURE,
            )
        if sender.admitted:
            check_certified(store, sender)
            return
        check_enabled(store, identity, "the user")

    def _decide(self, exchange: Exchange) -> bytes | None:
        """Return the answer, or None if another KMS has to give it.

        Checks that do not need the envelope key come before its decryption.
        """
        request = self.sender.request
        if profile_of(request.incoming.profile.prf).bits not in self._served():
            raise Refused(
                f"the KMS does not serve the {request.incoming.profile.bits}-bit profile",
                ErrorNo.INVALID_PRF,
            )
        if isinstance(request, RequestInit):
            return self._grant_ticket(exchange, request)
        return self._resolve_ticket(exchange, request)

    def _served(self) -> list[int]:
        return [bits for bits in self.kms_policy.profiles if bits <= self.store.profile.bits]

    def _open(self) -> bytes:
        """Return the key that protects the answer. Call this only after authorizing the sender."""
        self.key = self.sender.protection(self.store, self.env)
        return self.key

    # --- Ticket Request -------------------------------------------------------------------

    def _grant_ticket(self, exchange: Exchange, request: RequestInit) -> bytes:
        """Return a REQUEST_RESP with a new ticket (4.2.1.5)."""
        asked, kms = request.policy, self.store.identity
        rules = self.store.rules()
        for responder in asked.responders:
            if not rules.allow(self.sender.acting, [responder]):
                raise _denied(self.sender.acting, responder)
        key = self._open()
        if asked.prf != request.incoming.profile.prf:
            raise _mixed()
        tpk = tpk_for(self.store, self.kms_policy, asked)
        shared = tpk.shared_with is not None
        granted = grant(self.env, asked, self.sender.acting, kms, self.kms_policy, shared=shared)
        keys = make_keys(self.env, granted.keys)
        ticket, handed_out = make_ticket(self.env, granted.policy, keys, tpk.key, tpk.name)
        exchange.protected(self.env, tpk, granted.policy, self.kms_policy.max_validity)
        if not self.sender.admitted:
            exchange.note(ticket, granted.policy, self.sender.user.identity)
        return request_resp(self.env, request, key, kms, ticket, handed_out)

    # --- Ticket Resolve -------------------------------------------------------------------

    def _resolve_ticket(self, exchange: Exchange, request: ResolveInit) -> bytes | None:
        """Return a RESOLVE_RESP with the keys of a ticket (4.2.3.5).

        Returns None if the ticket belongs to another KMS.
        """
        base = self.base = BaseTicket.of(request.ticket)
        ticket_policy = base.policy
        if is_foreign(self.store, base):
            if ticket_policy.initiator is None:
                raise Refused(
                    "the ticket is of another KMS, and names no initiator for whom one speaks",
                    ErrorNo.INVALID_TICKET,
                )
            check_foreign(self.store, ticket_policy.initiator)
            self._check_call(ticket_policy, [self.sender.acting])
            self._open()
            return None
        responder = self._authorized(ticket_policy)
        key = self._open()
        tpk = self.store.tpk(base.tpk_id)
        if tpk is None or tpk.is_retired(self.env.clock()):
            raise Refused(
                f"the ticket is protected with the key {base.tpk_id}, which is unknown here,"
                " or has retired",
                ErrorNo.INVALID_TICKET,
            )
        check_before_rotation(tpk, ticket_policy)
        keys = open_for_responder(base, tpk.key)
        if ticket_policy.prf != request.incoming.profile.prf:
            raise _mixed()
        ticket_policy.check_flags()
        check_maker(self.store, tpk, ticket_policy)
        ticket_policy.check_validity(self.env.clock())
        if TicketFlag.D not in ticket_policy.flags:
            check_made(self.env, ticket_policy, keys.keys, self.kms_policy)
        self._check_requester(exchange.requester, ticket_policy)
        self._use_once(exchange, request.ticket, ticket_policy, responder.acting)
        kms = self.store.identity
        return resolve_resp(self.env, request, key, kms, ticket_policy, keys, responder.acting)

    def _check_requester(self, requester: Identity | None, ticket_policy: TicketPolicy) -> None:
        """Refuse a ticket whose requester or initiator is disabled or removed."""
        if requester is not None:
            check_enabled(self.store, requester, "the requester of the ticket")
        if ticket_policy.initiator is not None:
            # The initiator may be an identity that a user acts as, or admitted by a certificate:
            # then they are not a user.
            check_enabled(self.store, ticket_policy.initiator, "the initiator", known=False)

    def _authorized(self, ticket_policy: TicketPolicy) -> Responder:
        """Return the responder.

        Raises Refused unless the ticket and the KMS allow them to resolve it (4.2.3).
        """
        sender = self.sender
        # A KMS that forwards a message acts only for the identity in IDRr.
        user = User(sender.acting) if sender.path else sender.user
        responder = acting_responder(self.store, user, sender.acting, ticket_policy)
        self._check_call(ticket_policy, [responder.acting, responder.named])
        return responder

    def _check_call(self, ticket_policy: TicketPolicy, names: list[Identity]) -> None:
        if not self.store.rules().allow(ticket_policy.initiator, names):
            raise _denied(ticket_policy.initiator, names[0])

    def _use_once(
        self, exchange: Exchange, ticket: TICKET, ticket_policy: TicketPolicy, responder: Identity
    ) -> None:
        """Refuse a ticket without the J flag for a second TRANSFER_INIT (interpretation 22).

        With key forking, the Initiator Data identifies a TRANSFER_INIT, and every responder
        that the call is forked to may resolve it. Without key forking, each responder may
        resolve the ticket once.
        """
        if TicketFlag.J not in ticket_policy.flags and self.base is not None:
            made, restored = self.base.t.unix_ns, self.store.restored_ns()
            if restored and (made is None or made <= restored):
                raise Refused(
                    "the ticket is for single use, and the KMS was restored since it was made: it"
                    " may have been used; request a new one",
                    ErrorNo.INVALID_TICKET,
                )
        by, transfer = responder.data, os.urandom(16)
        if TicketFlag.I in ticket_policy.flags:
            by, transfer = b"", hashlib.sha256(ticket.initiator_data).digest()
        exchange.use_once(self.env, ticket, ticket_policy, by, transfer)

    # --- after the transaction --------------------------------------------------------------

    def _forwarded(self, handle: Handle, deadline: float | None) -> Handled:
        """Ask another KMS and return the result. No transaction is open meanwhile."""
        request, key, sender = self.sender.request, self.key, self.sender
        assert isinstance(request, ResolveInit)  # noqa: S101 - nothing else is handed on
        base = self.base
        assert base is not None and key is not None  # noqa: S101, PT018 - both were opened
        refusal: Refused | None = None
        answer = b""
        try:
            try:
                forwarder = Forwarder(self.store, self.env, handle, deadline)
                answer = forwarder.resolve(request, base, sender.acting, sender.path, key)
            except Refused as error:
                refusal = error
            with self.store.exchange() as exchange:
                exchange.log(self._log_entry(refusal))
        except Unavailable as error:
            raise StateError(f"{error}; {SEEN}") from None
        return Handled(answer) if refusal is None else self._refused(refusal)

    # --- log ------------------------------------------------------------------------------

    def _log_entry(self, refusal: Refused | None) -> LogEntry:
        request = self.sender.request
        if isinstance(request, RequestInit):
            exchange, about = "request", ", ".join(map(str, request.policy.responders))
        else:
            exchange, about = "resolve", self._owner(request)
        outcome = "answered" if refusal is None else "refused"
        reason = "" if refusal is None else str(refusal)
        user = " via ".join(map(str, (self.sender.acting, *reversed(self.sender.path))))
        return LogEntry(self.env.clock(), exchange, user, about, outcome, reason)

    def _owner(self, request: ResolveInit) -> str:
        """The initiator of a ticket, for the log."""
        try:
            ticket_policy = self.base.policy if self.base else TicketPolicy.of(request.ticket)
        except (Refused, WireError):
            return "a broken ticket"
        return f"ticket of {ticket_policy.initiator}"


def _refusal(error: Refused | WireError | UsageError) -> Refused:
    """Convert an error to a refusal.

    A WireError means a broken ticket, and a UsageError means an unsuitable value.
    """
    if isinstance(error, Refused):
        return error
    broken = isinstance(error, WireError)
    return Refused(str(error), ErrorNo.INVALID_TICKET if broken else ErrorNo.INVALID_TPPAR)


def _denied(sender: Identity | None, responder: Identity) -> Refused:
    return Refused(f"a rule denies {sender} to call {responder}; see `kms policy list`")


def _mixed() -> Refused:
    return Refused(
        "the header and the Ticket Policy have PRFs of different strength", ErrorNo.INVALID_PRF
    )
