"""The KMS: a message in, an answer out (RFC 6043 4.2.1.4, 4.2.3.4, 5.4).

The order is that of RFC 3830 5.3, with one rule above all: nothing is written before the
sender is authenticated. Replay entry, log entry and answer are one transaction, so that an
answer leaves only when its replay entry is on disk.
"""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from hmac import compare_digest

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.request import RequestInit, request_resp
from mikeytool.exchange.resolve import ResolveInit, open_for_responder, resolve_resp
from mikeytool.exchange.ticket import BaseTicket, make_ticket
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.kms.authorization import Responder, acting_responder, check_foreign
from mikeytool.kms.foreign_tickets import Forwarder, is_foreign
from mikeytool.kms.grant import check_made, grant, make_keys
from mikeytool.kms.kms_policy import KmsPolicy
from mikeytool.kms.sender_limits import Failures
from mikeytool.kms.senders import Sender, authenticate
from mikeytool.kms.store.records import Handled, LogEntry, Tpk, User
from mikeytool.kms.store.store import Exchange, Store
from mikeytool.wire.errors import Refused, StateError, Unavailable, UsageError, WireError
from mikeytool.wire.header import HDR
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import DataType, ErrorNo, TicketFlag


def handle(
    store: Store,
    env: Environment,
    data: bytes,
    *,
    send_errors: bool = False,
    source: str = "",
    failures: Failures | None = None,
    deadline: float | None = None,
) -> Handled:
    """Answer REQUEST_INIT or RESOLVE_INIT.

    A refusal is answered with an Error message when the sender was authenticated, or when
    `send_errors` asks for it. `failures`, kept by a process that answers many messages,
    limits those from one `source` that are not authenticated. Other KMSs are asked until
    `deadline`, on the clock of `time.monotonic`. Raises WireError for what cannot be read,
    StateError when the store fails.
    """
    now = env.clock()
    if failures is not None:
        try:
            failures.check(source, now)
        except Refused as refusal:
            return Handled(None, refusal)
    policy = store.policy()
    env = replace(env, skew=policy.max_skew)
    store.forget(env)
    message: Message | None = None
    try:
        message = Message.read(data)
        sender = authenticate(store, env, policy, message)
    except (Refused, WireError) as error:
        if failures is not None:
            failures.failed(source, now)
        if message is None or isinstance(error, WireError):
            raise
        header = message.header
        sends = send_errors and header.data_type != DataType.ERROR
        return Handled(error_message(env, header, error.error_no, None) if sends else None, error)
    return _Case(store, env, policy, sender, deadline).handled()


class _Case:
    """One message of an authenticated sender, until it is answered or refused."""

    def __init__(
        self,
        store: Store,
        env: Environment,
        policy: KmsPolicy,
        sender: Sender,
        deadline: float | None,
    ) -> None:
        self.store, self.env, self.policy, self.sender = store, env, policy, sender
        self.deadline = deadline
        self.key: bytes | None = None if sender.signed else sender.key
        """What answer and Error message are protected with, once it is known."""
        self.base: BaseTicket | None = None
        """The ticket that is to be resolved, once it was read."""

    def handled(self) -> Handled:
        """Answer it; a refusal goes back as an Error message."""
        try:
            answer = self._answer()
        except Refused as refusal:
            return Handled(self._error(refusal.error_no), refusal)
        return Handled(answer)

    def _error(self, error_no: int) -> bytes:
        """An Error message; without a MAC as long as the envelope is not opened."""
        header: HDR = self.sender.incoming.message.header
        keys = None
        if self.key is not None:
            keys = self.sender.request.keys(self.key, response=False)
        return error_message(self.env, header, error_no, keys)

    def _answer(self) -> bytes:
        """Refuse what is old or was seen before, decide, and write it down; refusals are too.

        Of messages that anybody may have captured nothing is written: they must neither cost
        a write nor count against whom they are from.
        """
        sender = self.sender
        self.env.check_fresh(sender.incoming.t)
        self.store.check_new(self.env, sender.incoming, sender.acting, sender.key)
        refusal: Refused | None = None
        answer: bytes | None = None
        with self.store.exchange() as exchange:
            count = self._counted(exchange)
            try:
                self._admit(count)
                answer = self._decide(exchange)
            except (Refused, WireError, UsageError) as error:
                refusal = _refusal(error)
            if answer is not None or refusal is not None:
                exchange.log(self._log_entry(refusal))
        if refusal is not None:
            raise refusal
        if answer is not None:
            return answer
        try:
            return self._forwarded()
        except Unavailable as error:
            raise StateError(f"{error}; the message counts as seen, it takes a new one") from None

    def _counted(self, exchange: Exchange) -> int:
        """Remember a new message and count it; what is raised leaves nothing written."""
        sender, env, most = self.sender, self.env, self.policy.rate
        exchange.remember(env, sender.incoming, sender.acting, sender.key)
        count = exchange.count(sender.user.identity, env.clock()) if most else 0
        if count > most + 1:
            raise Refused(f"more than {most} messages of {sender.user.identity} in a minute")
        return count

    def _admit(self, count: int) -> None:
        """Refuse what is too much, and whom the operator has shut out.

        They are looked up again, for that may have happened since the message was verified.
        """
        sender, store, most = self.sender, self.store, self.policy.rate
        who = sender.user.identity
        if count > most:
            raise Refused(
                f"more than {most} messages of {who} in a minute; what else comes is not logged"
            )
        if sender.path:
            peer = store.peer(who)
            if peer is None or not compare_digest(peer.psk, sender.key):
                raise Refused(f"the KMS {who} was removed, or has another key")
            check_foreign(store, sender.acting)
            return
        if sender.admitted:
            for name in sender.names:
                _check_enabled(store, name, "the user", known=False)
            return
        user, before = _check_enabled(store, who, "the user"), sender.user
        if user is None or (user.sealed_psk, user.certificate) != (
            before.sealed_psk,
            before.certificate,
        ):
            raise Refused(f"the user {who} has another key now", ErrorNo.AUTH_FAILURE)

    def _decide(self, exchange: Exchange) -> bytes | None:
        """The answer, None when another KMS has to give it.

        What can be refused without the envelope key is refused before it is decrypted.
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
        return [bits for bits in self.policy.profiles if bits <= self.store.profile.bits]

    def _open(self) -> bytes:
        """The key of the answer, now that the sender is known and authorized."""
        self.key = self.sender.protection(self.store, self.env)
        return self.key

    # --- Ticket Request -------------------------------------------------------------------

    def _grant_ticket(self, exchange: Exchange, request: RequestInit) -> bytes:
        """REQUEST_RESP with a new ticket (4.2.1.5)."""
        asked, kms = request.policy, self.store.identity
        rules = self.store.rules()
        for responder in asked.responders:
            if not rules.allow(self.sender.acting, [responder]):
                raise _denied(self.sender.acting, responder)
        key = self._open()
        if asked.prf != request.incoming.profile.prf:
            raise _mixed()
        tpk = self._tpk_for(asked)
        shared = tpk.shared_with is not None
        granted = grant(self.env, asked, self.sender.acting, kms, self.policy, shared=shared)
        keys = make_keys(self.env, granted.keys)
        ticket, handed_out = make_ticket(self.env, granted.policy, keys, tpk.key, tpk.name)
        if not self.sender.admitted:
            exchange.note(ticket, granted.policy, self.sender.user.identity)
        return request_resp(self.env, request, key, kms, ticket, handed_out)

    def _tpk_for(self, asked: TicketPolicy) -> Tpk:
        """The key that protects a new ticket: shared with its one responder only on request,
        and as long as that one is let in."""
        wants_shared = TicketFlag.E not in asked.flags and TicketFlag.I not in asked.flags
        shared = None
        if wants_shared and not self.policy.require_forking and len(asked.responders) == 1:
            party = self.store.user(asked.responders[0])
            if party is not None and party.enabled:
                shared = self.store.shared_tpk(party.identity)
        if shared is not None and len(shared.key) >= profile_of(asked.prf).key_length:
            return shared
        own = self.store.tpk()
        if own is None:
            raise Refused("the KMS has no ticket protection key")
        return own

    # --- Ticket Resolve -------------------------------------------------------------------

    def _resolve_ticket(self, exchange: Exchange, request: ResolveInit) -> bytes | None:
        """RESOLVE_RESP with the keys of a ticket (4.2.3.5); None for that of another KMS."""
        base = self.base = BaseTicket.of(request.ticket)
        policy = base.policy
        if is_foreign(self.store, base):
            self._check_call(policy, [self.sender.acting])
            self._open()
            return None
        responder = self._authorized(policy)
        key = self._open()
        tpk = self.store.tpk(base.tpk_id)
        if tpk is None:
            raise Refused(
                f"the ticket is protected with the key {base.tpk_id}, which is not known",
                ErrorNo.INVALID_TICKET,
            )
        keys = open_for_responder(base, tpk.key)
        if policy.prf != request.incoming.profile.prf:
            raise _mixed()
        policy.check_flags()
        _check_maker(self.store, tpk, policy)
        policy.check_validity(self.env.clock())
        if TicketFlag.D not in policy.flags:
            check_made(self.env, policy, keys.keys, self.policy)
        self._check_requester(request.ticket, policy)
        self._use_once(exchange, request.ticket, policy, responder.acting)
        kms = self.store.identity
        return resolve_resp(self.env, request, key, kms, policy, keys, responder.acting)

    def _check_requester(self, ticket: TICKET, policy: TicketPolicy) -> None:
        """Refuse the tickets of who is disabled or gone: who asked, and in whose name."""
        requester = self.store.requester(ticket)
        if requester is not None:
            _check_enabled(self.store, requester, "the requester of the ticket")
        if policy.initiator is not None:
            # This may be somebody whom a user acts as, or who was let in by a certificate.
            _check_enabled(self.store, policy.initiator, "the initiator", known=False)

    def _authorized(self, policy: TicketPolicy) -> Responder:
        """Who resolves; raises Refused for whom ticket or KMS do not let (4.2.3)."""
        sender = self.sender
        responder = acting_responder(self.store, sender.user, sender.acting, policy)
        self._check_call(policy, [responder.acting, responder.named])
        return responder

    def _check_call(self, policy: TicketPolicy, names: list[Identity]) -> None:
        if not self.store.rules().allow(policy.initiator, names):
            raise _denied(policy.initiator, names[0])

    def _use_once(
        self, exchange: Exchange, ticket: TICKET, policy: TicketPolicy, responder: Identity
    ) -> None:
        """A ticket without the J flag is good for one TRANSFER_INIT (interpretation 22).

        With key forking the Initiator Data tells one from another, and each responder that
        a call is forked to may resolve it; without, each responder may do so once.
        """
        by, transfer = responder.data, os.urandom(16)
        if TicketFlag.I in policy.flags:
            by, transfer = b"", hashlib.sha256(ticket.initiator_data).digest()
        exchange.use_once(self.env, ticket, policy, by, transfer)

    def _forwarded(self) -> bytes:
        """What another KMS makes of the ticket. No transaction is open while it is asked."""
        request, key = self.sender.request, self.key
        assert isinstance(request, ResolveInit)  # noqa: S101 - nothing else is handed on
        base = self.base
        assert base is not None and key is not None  # noqa: S101, PT018 - both were opened
        refusal: Refused | None = None
        answer = b""
        try:
            forwarder = Forwarder(self.store, self.env, handle, self.deadline)
            sender = self.sender
            answer = forwarder.resolve(request, base.policy, sender.acting, sender.path, key)
        except Refused as error:
            refusal = error
        with self.store.exchange() as exchange:
            exchange.log(self._log_entry(refusal))
        if refusal is not None:
            raise refusal
        return answer

    # --- log ------------------------------------------------------------------------------

    def _log_entry(self, refusal: Refused | None) -> LogEntry:
        request = self.sender.request
        if isinstance(request, RequestInit):
            exchange, about = "request", ", ".join(map(str, request.policy.responders))
        else:
            exchange, about = "resolve", self._owner(request)
        outcome = "answered" if refusal is None else "refused"
        reason = "" if refusal is None else str(refusal)
        who = " via ".join(map(str, (self.sender.acting, *reversed(self.sender.path))))
        return LogEntry(self.env.clock(), exchange, who, about, outcome, reason)

    def _owner(self, request: ResolveInit) -> str:
        """Who requested a ticket, as far as it can be read."""
        try:
            policy = self.base.policy if self.base else TicketPolicy.of(request.ticket)
        except (Refused, WireError):
            return "a broken ticket"
        return f"ticket of {policy.initiator}"


def _refusal(error: Refused | WireError | UsageError) -> Refused:
    """What a broken ticket or a value that does not fit is refused with."""
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


def _check_enabled(
    store: Store, identity: Identity, what: str, *, known: bool = True
) -> User | None:
    """Refuse a user who is disabled or, if it has to be `known` here, is not there any more."""
    user = store.user(identity)
    if user is not None and not user.enabled:
        raise Refused(f"{what} {identity} is disabled")
    if user is None and known:
        raise Refused(f"{what} {identity} is no user any more")
    return user


def _check_maker(store: Store, tpk: Tpk, policy: TicketPolicy) -> None:
    """Whoever has a key can make tickets with it: believe each only what is theirs to say.

    With the KMS's own key that is everything; with a key shared with a user, a ticket that
    this user made (D is 0) and is the initiator of, or one that the KMS made for them; both
    as long as they are let in.
    """
    if tpk.shared_with is None:
        if TicketFlag.D not in policy.flags:
            raise Refused("D is 0, but nobody else has this key", ErrorNo.INVALID_TICKET)
        return
    _check_enabled(store, tpk.shared_with, "the owner of the ticket's protection key")
    made_by_user = TicketFlag.D not in policy.flags and policy.initiator == tpk.shared_with
    for_user = TicketFlag.E not in policy.flags and policy.responders == (tpk.shared_with,)
    if not (made_by_user or for_user):
        raise Refused(
            f"the ticket is protected with the key of {tpk.shared_with}, who may not make it",
            ErrorNo.INVALID_TICKET,
        )
