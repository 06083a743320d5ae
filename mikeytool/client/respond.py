"""A user's side of Ticket Transfer: files and the replay cache, for whoever answers it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from mikeytool.client.initiate import Media, claim_streams
from mikeytool.client.session_files import SessionFile, locked_session
from mikeytool.client.state import ClientState, open_state
from mikeytool.client.ticket_files import TicketFile
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message_on_refusal
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.responder import (
    VerifiedInit,
    check_acceptable,
    transfer_resp,
    verify_transfer_init,
)
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import for_key_wrap
from mikeytool.exchange.transfer import AcceptPolicy, TransferInit, encr_alg_of
from mikeytool.exchange.update import answer_update
from mikeytool.storage.private_files import Stage, check_free, not_staged
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.pattern import matches
from mikeytool.wire.registry import TicketFlag

Resolve = Callable[[TransferInit], ResolvedTicket]


@dataclass(frozen=True, slots=True)
class Callee:
    """Who answers, whom they take calls from, and how they come by the keys of a ticket.

    `resolve` is None where it must have been resolved before. With `caches` a ticket that
    was resolved before is not resolved again. `sends_errors` has Error messages without a
    MAC made for callers who cannot be authenticated (interpretation 32).
    """

    identity: Identity
    resolve: Resolve | None
    accept_policy: AcceptPolicy
    accept_from: Sequence[str] = ()
    apps: Sequence[Identity] = ()
    caches: bool = False
    sends_errors: bool = False


def respond(
    env: Environment,
    init: TransferInit,
    session_path: Path,
    callee: Callee,
    media: Media,
    *,
    force: bool,
    stage: Stage = not_staged,
) -> tuple[bytes | None, Session]:
    """Answer a TRANSFER_INIT and write the session file before the answer is given.

    In this order: what can be refused without the KMS, a replay included; resolving; the
    MAC; the replay cache; what the message holds and the answer. Raises WireError,
    StateError, and Refused, with an Error message in its `answer` once the caller is
    authenticated.
    """
    check_free(session_path, force=force)
    with closing(open_state()) as state:
        if callee.sends_errors:
            with error_message_on_refusal(env, init.incoming, None, media.supported):
                verified = _verified(env, state, init, callee)
        else:
            verified = _verified(env, state, init, callee)
        keys = init.keys(verified.resolved.keys.mpki.key, response=False)
        with error_message_on_refusal(env, init.incoming, keys, media.supported):
            state.remember(env, verified)
            answer, session = transfer_resp(
                env,
                verified,
                callee.accept_policy,
                local=callee.identity,
                crypto_sessions=media.crypto_sessions,
                policies=media.policies,
                kemac_keys=for_key_wrap(env, encr_alg_of(init.incoming), media.kemac_keys),
            )
            state.claim_streams(session)
    content = SessionFile(session=session)
    if answer is None:
        content.write(session_path, force=force)
    else:
        with stage(answer):
            content.write(session_path, force=force)
    return answer, session


def _verified(
    env: Environment, state: ClientState, init: TransferInit, callee: Callee
) -> VerifiedInit:
    check_acceptable(env, init, callee.accept_policy, callee.apps)
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
    # With key forking it is good for this message alone, and this message comes but once.
    if callee.caches and TicketFlag.I not in init.policy.flags:
        state.keep(env, TicketFile.of_resolved(init.ticket, resolved, callee.identity))
    return verified


def _check_caller(init: TransferInit, accept_from: Sequence[str]) -> None:
    """Refuse callers that no pattern fits: who claims to call, and whose ticket it is.

    Without key forking anybody who may resolve the ticket can claim to be anyone
    (interpretation 18), so the name that the KMS vouches for must fit as well.
    """
    for name in {init.initiator or init.policy.initiator, init.policy.initiator}:
        if accept_from and not any(matches(name, pattern) for pattern in accept_from):
            raise Refused(f"calls from {name} are not accepted (--accept-from)")


def respond_to_update(
    env: Environment,
    message: Incoming,
    session_path: Path,
    *,
    accept_policy: AcceptPolicy,
    media: Callable[[Session], Media],
    stage: Stage = not_staged,
) -> tuple[bytes | None, Session]:
    """Answer the other end's update of a session; the file has the new one before.

    Raises Refused, WireError or StateError.
    """
    with locked_session(session_path) as content:
        before = content.established
        brought = media(before)
        answer, session = answer_update(
            env,
            before,
            message,
            accept_policy,
            crypto_sessions=brought.crypto_sessions,
            policies=brought.policies,
            kemac_keys=for_key_wrap(env, encr_alg_of(message), brought.kemac_keys),
            supported=brought.supported,
        )
        claim_streams(session, before)
        made = replace(content, session=session)
        if answer is None:
            made.write(session_path, force=True)
        else:
            with stage(answer):
                made.write(session_path, force=True)
    return answer, session
