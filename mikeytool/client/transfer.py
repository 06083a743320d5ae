"""A user's side of Ticket Transfer: files and the replay cache around the exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from mikeytool.client.files import check_free
from mikeytool.client.sessions import SessionFile, locked
from mikeytool.client.state import open_state
from mikeytool.client.tickets import read_ticket
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.session import Session
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    TransferInit,
    check_acceptable,
    finish_transfer,
    read_transfer_init,
    session_of_init,
    transfer_init,
    transfer_resp,
    verify_transfer_init,
)
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import ErrorNo, TicketFlag

Resolve = Callable[[TransferInit], ResolvedTicket]


@dataclass(frozen=True, slots=True)
class Media:
    """What one end brings to the negotiation: crypto sessions, policies and keys."""

    crypto_sessions: Sequence[CsSpec] = ()
    policies: Sequence[SP] = ()
    kemac_keys: Sequence[KeyData] = field(default=(), repr=False)


def start(
    env: Environment,
    ticket_path: Path,
    session_path: Path,
    *,
    initiator: Identity | None,
    responder: Identity,
    media: Media,
    force: bool,
) -> bytes:
    """Make TRANSFER_INIT from a ticket file, mark the ticket used, write the session file.

    The ticket is marked before anything else is written: a ticket without the J flag is
    never used twice, whatever goes wrong after. Raises Refused for a second use.
    """
    check_free(session_path, force=force)
    ticket = read_ticket(ticket_path)
    if ticket.resolved_by is not None:
        raise Refused(
            f"{ticket_path}: this ticket was resolved by {ticket.resolved_by}, it is"
            " for answering, not for calling"
        )
    if ticket.used and TicketFlag.J not in ticket.policy.flags:
        raise Refused(f"{ticket_path}: this ticket was used and has no J flag; request another")
    caller = initiator or ticket.policy.initiator
    if caller is None:
        raise Refused("the ticket names no initiator; say who calls with --as")
    message = transfer_init(
        env,
        ticket.held,
        initiator=caller,
        responder=responder,
        crypto_sessions=media.crypto_sessions,
        policies=media.policies,
        kemac_keys=media.kemac_keys,
    )
    if TicketFlag.F in ticket.policy.flags:
        content = SessionFile(waiting=(message, ticket))
    else:
        content = SessionFile(session=session_of_init(ticket.held, message))
    replace(ticket, used=True).write(ticket_path, force=True)
    content.write(session_path, force=force)
    return message


def respond(
    env: Environment,
    message: bytes,
    session_path: Path,
    *,
    local: Identity,
    resolve: Resolve,
    accept_policy: AcceptPolicy,
    accept_from: Sequence[str] = (),
    apps: Sequence[Identity] = (),
    media: Media,
    force: bool,
) -> tuple[bytes | None, Session]:
    """Answer a TRANSFER_INIT and write the session file before the answer is given.

    In this order: what can be refused without the KMS, resolving, the MAC, what is to be
    answered, the replay cache, the session file. Raises WireError, StateError, and Refused,
    with an Error message in its `answer` once the caller is authenticated.
    """
    check_free(session_path, force=force)
    init = read_transfer_init(message)
    check_acceptable(env, init, accept_policy, apps)
    caller = init.initiator or init.policy.initiator
    if accept_from and not any(fnmatchcase(str(caller), pattern) for pattern in accept_from):
        raise Refused(f"calls from {caller} are not accepted (--accept-from)", ErrorNo.UNSPECIFIED)
    resolved = resolve(init)
    verified = verify_transfer_init(init, resolved, local)
    mpki = resolved.keys.mpki.key
    try:
        answer, session = transfer_resp(
            env,
            verified,
            accept_policy,
            local=local,
            crypto_sessions=media.crypto_sessions,
            policies=media.policies,
            kemac_keys=media.kemac_keys,
        )
        state = open_state()
        try:
            state.remember(env, init.incoming, verified.initiator, mpki)
        finally:
            state.close()
    except Refused as refusal:
        # The caller is authenticated, so it is told, under the key of its own message (5.4).
        keys = init.keys(mpki, response=False)
        header = init.incoming.message.header
        refusal.answer = error_message(env, header, refusal.error_no, keys)
        raise
    SessionFile(session=session).write(session_path, force=force)
    return answer, session


def finish(
    env: Environment, answer: bytes, session_path: Path, accept_policy: AcceptPolicy
) -> Session:
    """Take the answer to one's own TRANSFER_INIT into the session file."""
    with locked(session_path) as waiting:
        if waiting.waiting is None:
            raise Refused(f"{session_path}: this session does not wait for an answer")
        init, ticket = waiting.waiting
        session = finish_transfer(env, ticket.held, init, answer, accept_policy)
        SessionFile(session=session).write(session_path, force=True)
    return session
