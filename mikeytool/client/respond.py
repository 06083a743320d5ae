"""The responder's side of Ticket Transfer, with its files and the replay cache."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from mikeytool.client.initiate import Media, update_of
from mikeytool.client.resolvers import Resolve
from mikeytool.client.session_files import KIND, SessionFile, locked_session
from mikeytool.client.state import ClientState, open_state
from mikeytool.client.ticket_files import TicketFile
from mikeytool.exchange.crypto_sessions import Brought
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message, error_message_on_refusal
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.responder import (
    VerifiedInit,
    check_acceptable,
    check_media,
    transfer_resp,
    verify_transfer_init,
)
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import for_key_wrap
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import AcceptPolicy, TransferInit, encr_alg_of, transfer_init_of
from mikeytool.exchange.update import answer_update, is_update_of
from mikeytool.storage.private_files import Stage, check_free, not_staged
from mikeytool.wire.errors import MikeyError, Refused, UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_update
from mikeytool.wire.pattern import matches
from mikeytool.wire.registry import DataType, TicketFlag


@dataclass(frozen=True, slots=True)
class Callee:
    """A responder: its identity, the calls that it accepts, and how it resolves a ticket.

    `resolve` is None if the ticket must have been resolved before. With `caches`, a ticket that
    was resolved before is not resolved again. With `sends_errors`, callers that cannot be
    authenticated get Error messages without a MAC (interpretation 32).
    """

    identity: Identity
    resolve: Resolve | None
    accept_policy: AcceptPolicy
    accept_from: Sequence[str] = ()
    apps: Sequence[Identity] = ()
    caches: bool = False
    sends_errors: bool = False


def answer_message(
    env: Environment,
    data: bytes,
    session_path: Path,
    *,
    callee: Callable[[], Callee],
    call_media: Callable[[TicketPolicy], Media],
    update_policy: AcceptPolicy,
    update_media: Callable[[Session], Media],
    sends_errors: bool = False,
    force: bool = False,
    stage: Stage = not_staged,
) -> tuple[bytes | None, Session]:
    """Answer a TRANSFER_INIT, which is either a call or an update of the session in the file.

    `callee` and `call_media` are used for a call, `update_policy` and `update_media` for an
    update. Returns the answer, or None if none is wanted, and the session. Raises the errors of
    `answer_call` and `answer_session_update`. With `sends_errors`, the refusal of a message that
    cannot be read has an Error message as well.
    """
    try:
        incoming = Incoming.read(data, DataType.TRANSFER_INIT)
    except Refused as refusal:
        header = Message.read(data).header
        if sends_errors and header.data_type != DataType.ERROR:
            refusal.answer = error_message(env, header, refusal.error_no, None)
        raise
    if is_update(incoming.message) or _repeats_ticket(session_path, incoming):
        return answer_session_update(
            env,
            incoming,
            session_path,
            accept_policy=update_policy,
            media=update_media,
            stage=stage,
        )
    responder = callee()
    with error_message_on_refusal(env, incoming, None, ()) if sends_errors else nullcontext():
        init = transfer_init_of(incoming)
    media = call_media(init.policy)
    return answer_call(env, init, session_path, responder, media, force=force, stage=stage)


def is_for_session(session_path: Path, message: bytes) -> bool:
    """Return whether a message has the CSB ID of the session in a file.

    False without such a file, and for octets that are no message.
    """
    try:
        csb_id = Message.read(message).header.csb_id
    except WireError:
        return False
    session = _session_in(session_path)
    return session is not None and session.csb_id == csb_id


def _repeats_ticket(session_path: Path, message: Incoming) -> bool:
    """Return whether a message is an update though it repeats the ticket (interpretation 44).

    Its MAC has the keys of the session. That of the message which set the session up has not.
    """
    session = _session_in(session_path)
    return session is not None and is_update_of(session, message)


def _session_in(session_path: Path) -> Session | None:
    """Return the session in a file; None for what is no session."""
    if not session_path.exists():
        return None
    try:
        return SessionFile.read(session_path).session
    except MikeyError:
        return None  # whoever writes the file says what is wrong with it


def answer_call(
    env: Environment,
    init: TransferInit,
    session_path: Path,
    callee: Callee,
    media: Media,
    *,
    force: bool,
    stage: Stage = not_staged,
) -> tuple[bytes | None, Session]:
    """Answer a TRANSFER_INIT and write the session file before returning the answer.

    The steps run in this order: refuse what can be refused without the KMS, including a replay;
    resolve the ticket; check the MAC; read the contents of the message, make the answer and
    remember the message. Raises WireError, StateError or Refused. Refused has an Error message in
    its `answer` once the caller is authenticated. Raises UsageError for media that this end cannot
    bring; the message may then be answered with others.
    """
    check_free(session_path, force=force, kind=KIND)
    with closing(open_state()) as state:
        if callee.sends_errors:
            with error_message_on_refusal(env, init.incoming, None, media.supported):
                verified = _verified(env, state, init, callee, media)
        else:
            verified = _verified(env, state, init, callee, media)
        keys = init.keys(verified.resolved.keys.mpki.key, response=False)
        with error_message_on_refusal(env, init.incoming, keys, media.supported):
            with state.remembering(env, verified):
                answer, session = transfer_resp(
                    env,
                    verified,
                    callee.accept_policy,
                    local=callee.identity,
                    crypto_sessions=media.crypto_sessions,
                    policies=media.policies,
                    kemac_keys=for_key_wrap(env, encr_alg_of(init.incoming), media.kemac_keys),
                )
            session = media.with_overlap(session)
            state.claim_streams(session)
    content = SessionFile(session=session)
    if answer is None:
        content.write(session_path, force=force)
    else:
        with stage(answer):
            content.write(session_path, force=force)
    return answer, session


def _verified(
    env: Environment, state: ClientState, init: TransferInit, callee: Callee, media: Media
) -> VerifiedInit:
    check_acceptable(env, init, callee.accept_policy, callee.apps)
    brought = Brought(callee.accept_policy, media.crypto_sessions, media.policies)
    check_media(env, init, brought, media.kemac_keys)
    _check_caller(init, callee.accept_from)
    caller = init.initiator or init.policy.initiator
    if caller is not None:
        state.refuse_seen(init.incoming, caller)
    found = state.resolved(env, init.ticket, callee.identity) if callee.caches else None
    if found is not None:
        return verify_transfer_init(init, found, callee.identity)
    if callee.resolve is None:
        raise UsageError(
            "this ticket was not resolved before: give --kms STORE with --psk KEY or"
            " --private-key PEM, --tpk KEY, or --ticket FILE"
        )
    resolved = callee.resolve(init)
    verified = verify_transfer_init(init, resolved, callee.identity)
    # With key forking it is valid for this message only, and a message is accepted once.
    if callee.caches and TicketFlag.I not in init.policy.flags:
        state.keep(env, TicketFile.of_resolved(init.ticket, resolved, callee.identity))
    return verified


def _check_caller(init: TransferInit, accept_from: Sequence[str]) -> None:
    """Refuse a call unless both the caller's name and the ticket initiator's name match a pattern.

    Without key forking, everyone who may resolve the ticket can call under any name
    (interpretation 18). The name that the KMS vouches for must therefore match as well.
    """
    for name in {init.initiator or init.policy.initiator, init.policy.initiator}:
        if accept_from and not any(matches(name, pattern) for pattern in accept_from):
            raise Refused(f"calls from {name} are not accepted (--accept-from)")


def answer_session_update(
    env: Environment,
    message: Incoming,
    session_path: Path,
    *,
    accept_policy: AcceptPolicy,
    media: Callable[[Session], Media],
    stage: Stage = not_staged,
) -> tuple[bytes | None, Session]:
    """Answer the other end's update of a session; the new session is written to its file first.

    Raises Refused, WireError or StateError.
    """
    with locked_session(session_path) as content:
        before = content.established
        brought = media(before)
        with update_of(before) as updated:
            answer, session = answer_update(
                env,
                brought.with_overlap(before),
                message,
                accept_policy,
                crypto_sessions=brought.crypto_sessions,
                policies=brought.policies,
                kemac_keys=for_key_wrap(env, encr_alg_of(message), brought.kemac_keys),
                supported=brought.supported,
            )
            updated(session)
            with nullcontext() if answer is None else stage(answer):
                replace(content, session=session).write(session_path, force=True)
    return answer, session
