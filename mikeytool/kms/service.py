"""The KMS: a message in, an answer out (RFC 6043 4.2.1.4, 4.2.3.4, 5.4).

The order is that of RFC 3830 5.3, with one rule above all: nothing is written before the
sender is authenticated. Replay entry, log entry and answer are one transaction, so that an
answer leaves only when its replay entry is on disk.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from dataclasses import dataclass

from mikeytool.crypto.derive import MessageKeys
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.policy import TicketPolicy
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.request import RequestInit, read_request_init, request_resp, verify_request
from mikeytool.exchange.resolve import (
    ResolveInit,
    open_for_responder,
    read_resolve_init,
    resolve_resp,
    verify_resolve,
)
from mikeytool.exchange.ticket import BaseTicket, make_ticket
from mikeytool.kms import replay
from mikeytool.kms.authorization import acting_responder, may_act_as
from mikeytool.kms.grant import grant, make_keys, wanted_keys
from mikeytool.kms.store import LogEntry, Store, Tpk, User
from mikeytool.wire.errors import Refused, UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import DataType, ErrorNo, TicketFlag


@dataclass(frozen=True, slots=True)
class Handled:
    """What came of a message. With a `refusal`, `answer` is an Error message or None."""

    answer: bytes | None
    refusal: Refused | None = None


@dataclass(frozen=True, slots=True)
class _Authenticated:
    """A verified request: whose key it has, who they act as, and the keys that an Error
    message is protected with.
    """

    request: RequestInit | ResolveInit
    user: User
    acting: Identity
    keys: MessageKeys

    @property
    def incoming(self) -> Incoming:
        return self.request.incoming


def handle(store: Store, env: Environment, data: bytes, *, send_errors: bool = False) -> Handled:
    """Answer REQUEST_INIT_PSK or RESOLVE_INIT_PSK.

    A refusal is answered with an Error message when the sender was authenticated, or when
    `send_errors` asks for it. Raises WireError for what cannot be read, StateError when
    the store fails.
    """
    try:
        who = _authenticate(store, data)
    except Refused as refusal:
        header = Message.read(data).header
        sends = send_errors and header.data_type != DataType.ERROR
        answer = error_message(env, header, refusal.error_no, None) if sends else None
        return Handled(answer, refusal)
    try:
        return Handled(_answer(store, env, who))
    except Refused as refusal:
        header = who.incoming.message.header
        return Handled(error_message(env, header, refusal.error_no, who.keys), refusal)


def _authenticate(store: Store, data: bytes) -> _Authenticated:
    """Find the sender's key and verify the message with it (interpretation 16)."""
    kms = store.identity
    if Message.read(data).header.data_type == DataType.RESOLVE_INIT_PSK:
        resolve = read_resolve_init(data)
        user = _sender(store, resolve.psk_id, resolve.responder)
        _check_kms(resolve.kms, kms)
        verify_resolve(resolve, user.psk, user.identity, kms)
        acting = resolve.responder or user.identity
        return _Authenticated(resolve, user, acting, resolve.keys(user.psk, response=False))
    request = read_request_init(data)
    user = _sender(store, request.psk_id, request.initiator)
    _check_kms(request.kms, kms)
    verify_request(request, user.psk, user.identity, kms)
    acting = request.initiator or user.identity
    return _Authenticated(request, user, acting, request.keys(user.psk, response=False))


def _sender(store: Store, psk_id: Identity | None, claimed: Identity | None) -> User:
    if psk_id is not None:
        user = store.user_of_key(psk_id)
    elif claimed is not None:
        user = store.user(claimed)
    else:
        raise Refused("it names neither its sender nor a key", ErrorNo.AUTH_FAILURE)
    if user is None:
        what = f"the key {psk_id}" if psk_id is not None else f"the user {claimed}"
        raise Refused(f"{what} is not known; see `kms user list`", ErrorNo.AUTH_FAILURE)
    if claimed is not None and not may_act_as(store, user, claimed):
        raise Refused(
            f"the key {psk_id} is not that of {claimed}, whom it claims to be from",
            ErrorNo.AUTH_FAILURE,
        )
    return user


def _check_kms(named: Identity | None, kms: Identity) -> None:
    if named is not None and named != kms:
        raise Refused(f"it is for the KMS {named}, this is {kms}", ErrorNo.INVALID_ID)


def _answer(store: Store, env: Environment, who: _Authenticated) -> bytes:
    """Refuse what is old or was seen before, decide, and write it down; refusals are too."""
    refusal: Refused | None = None
    answer = b""
    with store.transaction() as db:
        try:
            env.check_fresh(who.incoming.t)
            replay.remember(db, env, who.incoming, who.acting, who.user.psk)
            answer = _decide(store, db, env, who)
        except Refused as error:
            refusal = error
        except WireError as error:
            refusal = Refused(str(error), ErrorNo.INVALID_TICKET)
        except UsageError as error:
            refusal = Refused(str(error), ErrorNo.INVALID_TPPAR)
        store.write_log(db, _log_entry(env, who, refusal))
    if refusal is not None:
        raise refusal
    return answer


def _decide(store: Store, db: sqlite3.Connection, env: Environment, who: _Authenticated) -> bytes:
    if not who.user.enabled:
        raise Refused(f"the user {who.user.identity} is disabled")
    if isinstance(who.request, RequestInit):
        return _grant_ticket(store, env, who.request, who)
    return _resolve_ticket(store, db, env, who.request, who)


def _grant_ticket(
    store: Store, env: Environment, request: RequestInit, who: _Authenticated
) -> bytes:
    """REQUEST_RESP with a new ticket (4.2.1.5)."""
    asked, kms = request.policy, store.identity
    if asked.prf != request.incoming.profile.prf:
        raise Refused(
            "the header and the Ticket Policy have PRFs of different strength", ErrorNo.INVALID_PRF
        )
    tpk = _tpk_for(store, asked)
    shared = tpk.shared_with is not None
    policy = grant(env, asked, who.acting, kms, store.profile, shared=shared)
    keys = make_keys(env, wanted_keys(asked))
    ticket, handed_out = make_ticket(env, policy, keys, tpk.key, tpk.name)
    return request_resp(env, request, who.user.psk, kms, ticket, handed_out)


def _tpk_for(store: Store, asked: TicketPolicy) -> Tpk:
    """The key that protects a new ticket: shared with its one responder only on request."""
    wants_shared = TicketFlag.E not in asked.flags and TicketFlag.I not in asked.flags
    shared = None
    if wants_shared and len(asked.responders) == 1:
        shared = store.shared_tpk(asked.responders[0])
    if shared is not None and len(shared.key) >= profile_of(asked.prf).key_length:
        return shared
    own = store.tpk()
    if own is None:
        raise Refused("the KMS has no ticket protection key")
    return own


def _check_maker(tpk: Tpk, policy: TicketPolicy) -> None:
    """Whoever has a key can make tickets with it: believe each only what is theirs to say.

    With the KMS's own key that is everything; with a key shared with a user, a ticket that
    this user made (D is 0) and is the initiator of, or one that the KMS made for them.
    """
    if tpk.shared_with is None:
        if TicketFlag.D not in policy.flags:
            raise Refused("D is 0, but nobody else has this key", ErrorNo.INVALID_TICKET)
        return
    made_by_user = TicketFlag.D not in policy.flags and policy.initiator == tpk.shared_with
    for_user = TicketFlag.E not in policy.flags and policy.responders == (tpk.shared_with,)
    if not (made_by_user or for_user):
        raise Refused(
            f"the ticket is protected with the key of {tpk.shared_with}, who may not make it",
            ErrorNo.INVALID_TICKET,
        )


def _resolve_ticket(
    store: Store,
    db: sqlite3.Connection,
    env: Environment,
    request: ResolveInit,
    who: _Authenticated,
) -> bytes:
    """RESOLVE_RESP with the keys of a ticket (4.2.3.5)."""
    base = BaseTicket.of(request.ticket)
    tpk = store.tpk(base.tpk_id)
    if tpk is None:
        raise Refused(
            f"the ticket is protected with the key {base.tpk_id}, which is not known",
            ErrorNo.INVALID_TICKET,
        )
    keys = open_for_responder(request.ticket, tpk.key)
    policy = base.policy
    if policy.prf != request.incoming.profile.prf:
        raise Refused(
            "the header and the Ticket Policy have PRFs of different strength", ErrorNo.INVALID_PRF
        )
    policy.check_flags()
    _check_maker(tpk, policy)
    policy.check_validity(env.clock())
    responder = acting_responder(store, who.user, who.acting, policy)
    owner = None if policy.initiator is None else store.user(policy.initiator)
    if owner is not None and not owner.enabled:
        raise Refused(f"the user {owner.identity}, who requested the ticket, is disabled")
    _use_once(db, request.ticket, policy, responder)
    return resolve_resp(env, request, who.user.psk, store.identity, policy, keys, responder)


def _use_once(
    db: sqlite3.Connection, ticket: TICKET, policy: TicketPolicy, responder: Identity
) -> None:
    """A ticket without the J flag is good for one TRANSFER_INIT (interpretation 22).

    With key forking the Initiator Data tells one from another, and each responder that a
    call is forked to may resolve it; without, each responder may do so once.
    """
    if TicketFlag.I in policy.flags:
        replay.use_once(db, ticket, policy, b"", hashlib.sha256(ticket.initiator_data).digest())
    else:
        replay.use_once(db, ticket, policy, responder.data, os.urandom(16))


def _log_entry(env: Environment, who: _Authenticated, refusal: Refused | None) -> LogEntry:
    if isinstance(who.request, RequestInit):
        exchange, about = "request", ", ".join(map(str, who.request.policy.responders))
    else:
        exchange, about = "resolve", _owner(who.request)
    outcome = "answered" if refusal is None else "refused"
    reason = "" if refusal is None else str(refusal)
    return LogEntry(env.clock(), exchange, str(who.acting), about, outcome, reason)


def _owner(request: ResolveInit) -> str:
    """Who requested a ticket, as far as it can be read."""
    try:
        return f"ticket of {TicketPolicy.of(request.ticket).initiator}"
    except (Refused, WireError):
        return "a broken ticket"
