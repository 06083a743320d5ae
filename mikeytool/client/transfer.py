"""A user's side of Ticket Transfer: files and the replay cache around the exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from mikeytool.client.files import check_free, locked
from mikeytool.client.sessions import SessionFile, locked_session
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
    VerifiedInit,
    check_acceptable,
    check_apps,
    finish_transfer,
    read_transfer_init,
    session_of_init,
    transfer_init,
    transfer_resp,
    verify_transfer_init,
)
from mikeytool.exchange.update import answer_update, finish_update, update_init
from mikeytool.wire.errors import Refused, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import TicketFlag

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
    apps: Sequence[Identity] = (),
    force: bool,
) -> bytes:
    """Make TRANSFER_INIT from a ticket file, mark the ticket used, write the session file.

    The ticket is marked before anything else is written: a ticket without the J flag is
    never used twice, whatever goes wrong after. Raises Refused for a second use.
    """
    check_free(session_path, force=force)
    with locked(ticket_path):
        ticket = read_ticket(ticket_path)
        if ticket.resolved_by is not None:
            raise Refused(
                f"{ticket_path}: this ticket was resolved by {ticket.resolved_by}; it"
                " is for answering, not for calling"
            )
        if ticket.used and TicketFlag.J not in ticket.policy.flags:
            raise Refused(f"{ticket_path}: this ticket was used and has no J flag; request another")
        check_apps(ticket.policy, apps)
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
        content = SessionFile(waiting=(message, ticket))
        if TicketFlag.F not in ticket.policy.flags:
            content = SessionFile(session=session_of_init(ticket.held, message))
            _claim_streams(content.established)
        replace(ticket, used=True).write(ticket_path, force=True)
    content.write(session_path, force=force)
    return message


def _claim_streams(session: Session, before: Session | None = None) -> None:
    with closing(open_state()) as state:
        state.claim_streams(session, before)


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

    In this order: what can be refused without the KMS, a replay included; resolving; the
    MAC; the replay cache; what the message holds and the answer. Raises WireError,
    StateError, and Refused, with an Error message in its `answer` once the caller is
    authenticated.
    """
    check_free(session_path, force=force)
    init = read_transfer_init(message)
    check_acceptable(env, init, accept_policy, apps)
    _check_caller(init, accept_from)
    with closing(open_state()) as state:
        caller = init.initiator or init.policy.initiator
        if caller is not None:
            state.refuse_seen(init.incoming, caller)
        verified = verify_transfer_init(init, resolve(init), local)
        try:
            state.remember(env, verified)
            answer, session = transfer_resp(
                env,
                verified,
                accept_policy,
                local=local,
                crypto_sessions=media.crypto_sessions,
                policies=media.policies,
                kemac_keys=media.kemac_keys,
            )
            state.claim_streams(session)
        except (Refused, WireError) as error:
            raise _told(env, verified, error) from None
    SessionFile(session=session).write(session_path, force=force)
    return answer, session


def _check_caller(init: TransferInit, accept_from: Sequence[str]) -> None:
    """Refuse callers that no pattern fits: who claims to call, and whose ticket it is.

    Without key forking anybody who may resolve the ticket can claim to be anyone
    (interpretation 18), so the name that the KMS vouches for must fit as well.
    """
    for name in {init.initiator or init.policy.initiator, init.policy.initiator}:
        if accept_from and not any(fnmatchcase(str(name), pattern) for pattern in accept_from):
            raise Refused(f"calls from {name} are not accepted (--accept-from)")


def _told(env: Environment, verified: VerifiedInit, error: Refused | WireError) -> Refused:
    """The refusal with an Error message, under the key of the caller's own message (5.4)."""
    refusal = error if isinstance(error, Refused) else Refused(str(error))
    init = verified.init
    keys = init.keys(verified.resolved.keys.mpki.key, response=False)
    header = init.incoming.message.header
    refusal.answer = error_message(env, header, refusal.error_no, keys)
    return refusal


def finish(
    env: Environment,
    answer: bytes,
    session_path: Path,
    accept_policy: AcceptPolicy,
    another: Path | None = None,
) -> Session:
    """Take the answer to one's own TRANSFER_INIT into the session file, or into `another`.

    A forked call may get several answers, each of which is a session of its own
    (interpretation 28).
    """
    if another is not None:
        check_free(another, force=False)
    with locked_session(session_path) as content:
        if content.session is not None and content.update is not None:
            return _finish_update(env, answer, session_path, content, accept_policy)
        if content.waiting is None:
            raise Refused(f"{session_path}: this session does not wait for an answer")
        if content.session is not None and another is None:
            raise Refused(
                f"{session_path}: it has its answer; if this is one more answer to a forked"
                " call, write its session to another file with --save-as"
            )
        init, ticket = content.waiting
        session = finish_transfer(env, ticket.held, init, answer, accept_policy)
        _claim_streams(session)
        made = SessionFile(session, content.waiting)
        made.write(another or session_path, force=another is None)
    return session


def update(env: Environment, session_path: Path, media: Media) -> bytes:
    """TRANSFER_INIT of an update of a session (5.2), which waits for its answer then.

    One that was not answered may be followed by another.
    """
    with locked_session(session_path) as content:
        message, session = update_init(
            env,
            content.established,
            crypto_sessions=media.crypto_sessions,
            policies=media.policies,
            kemac_keys=media.kemac_keys,
        )
        replace(content, session=session, update=message).write(session_path, force=True)
    return message


def respond_to_update(
    env: Environment,
    message: bytes,
    session_path: Path,
    *,
    accept_policy: AcceptPolicy,
    media: Media,
) -> tuple[bytes | None, Session]:
    """Answer the other end's update of a session; the file has the new one before.

    Raises Refused, WireError or StateError.
    """
    with locked_session(session_path) as content:
        before = content.established
        answer, session = answer_update(
            env,
            before,
            message,
            accept_policy,
            crypto_sessions=media.crypto_sessions,
            policies=media.policies,
            kemac_keys=media.kemac_keys,
        )
        _claim_streams(session, before)
        replace(content, session=session).write(session_path, force=True)
    return answer, session


def _finish_update(
    env: Environment,
    answer: bytes,
    session_path: Path,
    content: SessionFile,
    accept_policy: AcceptPolicy,
) -> Session:
    before = content.established
    session = finish_update(env, before, content.update or b"", answer, accept_policy)
    _claim_streams(session, before)
    replace(content, session=session, update=None).write(session_path, force=True)
    return session
