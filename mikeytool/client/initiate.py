"""The initiator's side of Ticket Transfer, with its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from mikeytool.client.session_files import KIND, SessionFile, locked_session
from mikeytool.client.state import open_state
from mikeytool.client.ticket_files import TicketFile, read_ticket
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import raise_if_error
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.initiator import finish_transfer, session_of_init, transfer_init
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.session import LONGEST_OVERLAP, Session
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    TransferInit,
    check_apps,
    read_transfer_init,
    transfer_header,
)
from mikeytool.exchange.update import finish_update, update_init
from mikeytool.exchange.update_rules import update_keys
from mikeytool.storage.private_files import Stage, check_free, locked, not_staged
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import SP, KeyData
from mikeytool.wire.registry import DataType, EncrAlg, TicketFlag


@dataclass(frozen=True, slots=True)
class Media:
    """What one end brings to the negotiation: crypto sessions, policies and keys.

    `encr_alg` is the encryption algorithm of this end's KEMAC, if it is not the profile's
    default. `supported` lists the policies that an Error message names when the other end's
    policies are refused. `overlap` is how long, in seconds, keys stay valid that updates of the
    session replace; None leaves it as it is.
    """

    crypto_sessions: Sequence[CsSpec] = ()
    policies: Sequence[SP] = ()
    kemac_keys: Sequence[KeyData] = ()
    encr_alg: EncrAlg | None = None
    supported: Sequence[SP] = ()
    overlap: int | None = None

    def with_overlap(self, session: Session) -> Session:
        """The session with this end's overlap. Raises UsageError for more than a day."""
        if self.overlap is None:
            return session
        if self.overlap > LONGEST_OVERLAP:
            raise UsageError("replaced keys stay valid for a day at most")
        return replace(session, overlap=self.overlap)


@dataclass(frozen=True, slots=True)
class Call:
    """The parties of a call; without `initiator` the holder of the ticket calls.

    `group` is the RANDRi of another exchange with the same group key (9).
    """

    initiator: Identity | None
    responder: Identity
    apps: Sequence[Identity] = ()
    group: bytes | None = None


def start_call(
    env: Environment,
    ticket_path: Path,
    session_path: Path,
    call: Call,
    media: Callable[[TicketPolicy], Media],
    *,
    force: bool,
    stage: Stage = not_staged,
) -> bytes:
    """Make a TRANSFER_INIT from a ticket file, mark the ticket as used, and write the session file.

    The result of `media` may depend on the ticket. The message is staged before anything is
    written, and the ticket is marked before the session file appears. A ticket without the J flag
    is therefore never used twice, whatever fails later. Raises Refused for a second use.
    """
    with locked(ticket_path):
        ticket = read_ticket(ticket_path)
        wanted = media(ticket.policy)  # wrong usage is told before a file in the way
        check_free(session_path, force=force, kind=KIND)
        init = _init(env, ticket, ticket_path, call, wanted)
        content = SessionFile(waiting=(init.raw, ticket))
        if TicketFlag.F not in ticket.policy.flags:
            content = SessionFile(session=session_of_init(ticket.held, init))
        with stage(init.raw):
            if content.session is not None:
                claim_streams(content.session)
            replace(ticket, used=True).write(ticket_path, force=True)
            content.write(session_path, force=force)
    return init.raw


def _init(
    env: Environment, ticket: TicketFile, path: Path, call: Call, media: Media
) -> TransferInit:
    flags = ticket.policy.flags
    if ticket.resolved_by is not None and TicketFlag.I in flags:
        raise Refused(
            f"{path}: {ticket.resolved_by} resolved this ticket; with key forking it is for"
            " answering, and only who requested it may call with it"
        )
    # The resolver of a ticket has already taken part in a transfer of it.
    if (ticket.used or ticket.resolved_by is not None) and TicketFlag.J not in flags:
        raise Refused(f"{path}: this ticket was used and has no J flag; request another")
    check_apps(ticket.policy, call.apps)
    caller = call.initiator or ticket.resolved_by or ticket.policy.initiator
    if ticket.resolved_by not in (None, caller):
        # Responders know MPKi too: only this check keeps them from calling as others.
        raise Refused(f"{path}: {ticket.resolved_by} resolved this ticket, not {caller}")
    if caller is None:
        raise Refused("the ticket names no initiator; say who calls with --as")
    return transfer_init(
        env,
        ticket.held,
        initiator=caller,
        responder=call.responder,
        crypto_sessions=media.crypto_sessions,
        policies=media.policies,
        kemac_keys=media.kemac_keys,
        randr_i=call.group,
        encr_alg=media.encr_alg,
    )


def claim_streams(session: Session) -> None:
    """Record the streams that a session sends in the client's state; see `ClientState`."""
    with closing(open_state()) as state:
        state.claim_streams(session)


@contextmanager
def update_of(session: Session) -> Iterator[Callable[[Session], None]]:
    """The transaction of an update in the client's state; see `ClientState.update`."""
    with closing(open_state()) as state, state.update(session) as updated:
        yield updated


def finish_call(
    env: Environment,
    answer: bytes,
    session_path: Path,
    accept_policy: AcceptPolicy,
    another: Path | None = None,
    supported: Callable[[int], Sequence[SP]] = lambda _prf: (),
) -> Session:
    """Process the answer to this end's TRANSFER_INIT and write the session file.

    The session is written to `another` if that is given. A forked call may get several answers,
    each of which is a session of its own (interpretation 28). An Error message about this end's
    answer to a call is accepted as well. `supported` returns, for a PRF, the policies to name
    when those of the answer are refused. Raises ErrorReceived, WireError, StateError or Refused.
    Refused has an Error message for the other end when the answer has verified.
    """
    if another is not None:
        check_free(another, force=False)
    with locked_session(session_path) as content:
        message = Message.read(answer)
        if content.session is not None and content.update is not None:
            known = supported(content.session.policy.prf)
            return _finish_update(env, message, session_path, content, accept_policy, known)
        if content.session is not None:
            _raise_if_error(env, message, content.session)
        if content.waiting is None:
            raise Refused(f"{session_path}: this session does not wait for an answer")
        if content.session is not None and another is None:
            raise Refused(
                f"{session_path}: it has its answer; if this is one more answer to a forked"
                " call, write its session to another file with --save-as"
            )
        sent, ticket = content.waiting
        known = supported(ticket.policy.prf)
        init = read_transfer_init(sent)
        session = finish_transfer(env, ticket.held, init, message, accept_policy, known)
        claim_streams(session)
        made = SessionFile(session, content.waiting)
        made.write(another or session_path, force=another is None)
    return session


def _raise_if_error(env: Environment, message: Message, session: Session) -> None:
    """Raise ErrorReceived for an Error message about the message that set up or updated a session.

    The Error message has the keys of that message, which are the keys of updates (5.2, 5.4).
    """
    profile = profile_of(session.policy.prf)
    about = transfer_header(DataType.TRANSFER_RESP, profile, session.csb_id, (), v=False)
    raise_if_error(env, message, about, update_keys(session))


def start_update(
    env: Environment,
    session_path: Path,
    media: Callable[[Session], Media],
    *,
    stage: Stage = not_staged,
) -> bytes:
    """Return the TRANSFER_INIT that updates a session (5.2); the session then waits for the answer.

    An update that was not answered may be followed by another.
    """
    with locked_session(session_path) as content:
        before = content.established
        brought = media(before)
        before = brought.with_overlap(before)
        init, session = update_init(
            env,
            before,
            crypto_sessions=brought.crypto_sessions,
            policies=brought.policies,
            kemac_keys=brought.kemac_keys,
            encr_alg=brought.encr_alg,
        )
        with update_of(before) as updated, stage(init.raw):
            updated(session)
            replace(content, session=session, update=init.raw).write(session_path, force=True)
    return init.raw


def _finish_update(
    env: Environment,
    answer: Message,
    session_path: Path,
    content: SessionFile,
    accept_policy: AcceptPolicy,
    supported: Sequence[SP],
) -> Session:
    before = content.established
    init = Incoming.read(content.update or b"", DataType.TRANSFER_INIT)
    with update_of(before) as updated:
        session = finish_update(env, before, init, answer, accept_policy, supported)
        updated(session)
        replace(content, session=session, update=None).write(session_path, force=True)
    return session
