"""Create a conference and admit callers: TRANSFER_INIT comes in, TRANSFER_RESP goes out (TR 33.828
5.3.2, RFC 6043 4.2.2).

The checks run in this order: those that need no KMS; the KMS, which says whose ticket it is; the
MAC; the replay entry, which refuses the same message a second time; and the sender's permission.
Group keys are read only after that. Membership, SSRCs and the answer are one transaction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial

from mikeytool.conference import member_rows, rows
from mikeytool.conference.endings import refuse_ended
from mikeytool.conference.group_keys import current_keys, keep_interval
from mikeytool.conference.membership import catch_up, check_open, may_take_part, open_conferences
from mikeytool.conference.model import Conference, Purpose, Topology
from mikeytool.conference.purpose_suites import (
    check_lengths,
    check_offer,
    conference_policies,
    is_of,
    own_policies,
)
from mikeytool.conference.purposes import (
    Lines,
    check_directions,
    check_names,
    lined_up,
    names_of,
)
from mikeytool.conference.seats import seat_for
from mikeytool.conference.ssrcs import CallInPlan, check_number, is_from_member
from mikeytool.conference.stream_updates import sender_of_update, update_streams
from mikeytool.conference.system import ConferenceSystem, Step, resolved_file, ticket_digest
from mikeytool.exchange.error import error_message_on_refusal
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.responder import (
    VerifiedInit,
    check_acceptable,
    transfer_resp,
    verify_transfer_init,
)
from mikeytool.exchange.stream_names import names_in
from mikeytool.exchange.transfer import (
    AcceptPolicy,
    TransferInit,
    refuse_unless,
    transfer_init_of,
)
from mikeytool.media.suite_policies import accept_suites, supported_policies
from mikeytool.srtp.suites import Suite
from mikeytool.storage import replay
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message_types import is_update
from mikeytool.wire.pattern import matches
from mikeytool.wire.payloads import SP
from mikeytool.wire.registry import DataType, ErrorNo, TicketFlag

_SHORTEST_INTERVAL = 60
"""The shortest rekeying interval, in seconds, that a member's ticket can ask for."""


def create(
    system: ConferenceSystem,
    message: bytes,
    focus: Identity,
    purposes: Sequence[Purpose],
    suites: Mapping[Purpose, Suite] | None = None,
    topology: Topology = Topology.RELAY,
    may_add: Sequence[str] = (),
) -> bytes:
    """Create a conference from a TRANSFER_INIT to the factory and return the TRANSFER_RESP.

    `purposes` are in the order of the media lines, and `suites` has the SRTP suites of those that
    do not take the default. The ticket's responders and the creator become the allowed set; the
    creator, and users whose identity matches one of the patterns `may_add`, may add people later.
    No group key is handed out, and the creator is not a member yet. Raises Refused, with an Error
    message in its `answer`, or WireError for a message that cannot be read.
    """
    factory = system.settings.identity
    if focus == factory:
        raise UsageError(f"{focus} is the factory; a conference has an address of its own")
    init = _first(system, Incoming.read(message, DataType.TRANSFER_INIT))
    known = supported_policies([], init.policy.prf)
    with _early(system, init, known):
        accept = accept_suites([])
        _check_early(system, init, TicketFlag.I, accept)
        if init.responder is not None and init.responder != factory:
            raise Refused(
                f"this is for {init.responder}, conferences are created at {factory}; a call to a"
                " focus is for `conference call-in`",
                ErrorNo.INVALID_ID,
            )
        verified = verify_transfer_init(init, system.resolve(init, factory), factory)
    with _late(system, verified, known):
        _remember(system, verified)

        def work(step: Step) -> bytes:
            by, order, adding = verified.initiator, tuple(purposes), tuple(may_add)
            new = Conference(0, focus, by, order, 0, suites or {}, topology, adding)
            return _created(step, verified, new)

        return system.step(work)


def _created(step: Step, verified: VerifiedInit, new: Conference) -> bytes:
    db, factory = step.db, step.system.settings.identity
    _check_may_create(step.system, new.creator)
    number = rows.add_conference(db, new)
    own = rows.own_addresses(db, step.system.settings)
    for identity in (new.creator, *verified.init.policy.responders):
        if identity not in own:
            rows.allow(db, number, identity)
    verified = _as_first(step, number, verified, factory)
    answer, _ = transfer_resp(step.call_env, verified, accept_suites([]), local=factory)
    return _needed(answer)


def _as_first(step: Step, number: int, verified: VerifiedInit, called: Identity) -> VerifiedInit:
    """Keep the modifier of a ticket that the same address resolved before (5.3, interpretation 22).

    If a ticket names several foci, each focus has its own modifier and its own IDRr.
    """
    by = step.system.resolver(verified.init, called)
    digest = ticket_digest(verified.init, by)
    known = rows.known_ticket(step.db, digest)
    if known is None:
        ticket = resolved_file(verified.init, verified.resolved, by)
        rows.remember_ticket(step.db, number, digest, ticket)
        return verified
    return replace(verified, resolved=replace(known.resolved, policy=verified.resolved.policy))


def _check_may_create(system: ConferenceSystem, creator: Identity) -> None:
    patterns = system.state.settings().may_create  # it may have been changed meanwhile
    if patterns and not any(matches(creator, pattern) for pattern in patterns):
        raise Refused(
            f"{creator} may not create conferences here; `conference may-create` says who may",
            ErrorNo.UNSPECIFIED,
        )


def call_in(system: ConferenceSystem, message: bytes, lines: Lines = ()) -> bytes:
    """Admit a caller with a TRANSFER_INIT and return the TRANSFER_RESP with the group keys.

    `lines` are the media lines of the session description around the message: a stream whose media
    line is of another purpose than its CS ID says is of the purpose of the media line. The update
    of a member's session, with other streams, is answered as well. Raises the same errors as
    `create`.
    """
    incoming = Incoming.read(message, DataType.TRANSFER_INIT)
    sender = sender_of_update(system, incoming)
    if sender is not None:
        return update_streams(system, sender, incoming, lines)
    init = _first(system, incoming)
    with _early(system, init, ()):
        # Suites are compared later, when an Error message can name those of the conference.
        _check_early(system, init, TicketFlag.I | TicketFlag.M, lambda _policy: True)
        called = _called(system, init)
        focus = called.focus
        verified = verify_transfer_init(init, system.resolve(init, focus), focus)
    with _late(system, verified, conference_policies(called)):
        _remember(system, verified)
        return system.step(lambda step: _called_in(step, verified, focus, lines))


def _called_in(step: Step, verified: VerifiedInit, focus: Identity, lines: Lines) -> bytes:
    conference = rows.conference_of(step.db, focus)
    if conference is None:
        raise Refused(f"{focus} is the focus of no conference", ErrorNo.INVALID_ID)
    check_open(conference)
    may_take_part(step, conference, verified.initiator)
    conference, _ = catch_up(step, conference)
    return _seat(step, conference, _as_first(step, conference.number, verified, focus), lines)


def _seat(step: Step, conference: Conference, verified: VerifiedInit, lines: Lines) -> bytes:
    """Give a caller their SSRCs and the group keys."""
    init = verified.init
    db, keys = step.db, current_keys(step, conference)
    names = names_of(conference, lines, init.entries, names_in(init.incoming))
    conference = lined_up(rows.conference(db, conference.number), names)
    check_names(conference, names, init.entries)
    streams = [(entry, is_from_member(entry)) for entry in init.entries]
    check_directions(conference, streams)
    check_offer(conference, init.entries, init.policies)
    seat = seat_for(db, conference, verified.initiator, verified.init, step.env.clock())
    plan = CallInPlan(db, step.env, conference, seat, keys, streams)
    added = plan.added()
    check_lengths(conference, plan.purposes, init.incoming.profile)
    answer, session = transfer_resp(
        step.call_env,
        verified,
        partial(is_of, conference),
        local=conference.focus,
        crypto_sessions=added,
        policies=own_policies(conference),
        kemac_keys=plan.kemac_keys(),
        arrangement=plan,
    )
    check_number(db, seat)
    member_rows.put_member(db, replace(seat, session=session))
    keep_interval(step, conference, [session.policy.rekey])
    return _needed(answer)


def _needed(answer: bytes | None) -> bytes:
    if answer is None:
        raise Refused("the ticket has no F flag: no answer can be given", ErrorNo.INVALID_TPPAR)
    return answer


def _first(system: ConferenceSystem, incoming: Incoming) -> TransferInit:
    """Return the TRANSFER_INIT in a message that is not the update of a member's session."""
    if is_update(incoming.message):
        with system.state.snapshot() as db:
            refuse_ended(db, system.env, incoming.message)
        raise Refused(
            "this is an update, and of no session that a member has: its MAC fails, or its sender"
            " is in no more and has to call in",
            ErrorNo.AUTH_FAILURE,
        )
    return transfer_init_of(incoming)


def _check_early(
    system: ConferenceSystem, init: TransferInit, flags: TicketFlag, accept_policy: AcceptPolicy
) -> None:
    """Refuse what can be refused without the KMS (4.2.2.2)."""
    for flag, why in _WHY.items():
        refuse_unless(flag not in flags or flag in init.policy.flags, why)
    refuse_unless(
        TicketFlag.F in init.policy.flags,
        "the ticket has no F flag: no answer can be given; request one with --flags=+F",
    )
    refuse_unless(
        init.policy.rekey is None or init.policy.rekey >= _SHORTEST_INTERVAL,
        f"the ticket wants other group keys every {init.policy.rekey} s; that costs everybody,"
        f" so {_SHORTEST_INTERVAL} s are the least: request one with --rekey-every"
        f" {_SHORTEST_INTERVAL}s",
    )
    check_acceptable(system.env, init, accept_policy)
    sender = init.initiator or init.policy.initiator
    if sender is not None:
        with system.state.snapshot() as db:
            replay.refuse_seen(db, init.incoming, sender)


_WHY = {
    TicketFlag.I: "the ticket has no I flag: without key forking whoever may resolve it could"
    " pose as the caller; request one with --flags=+I",
    TicketFlag.M: "the ticket has no M flag: no group key could be handed out; request one with"
    " --flags=+M",
}


def _early(
    system: ConferenceSystem, init: TransferInit, supported: Sequence[SP]
) -> AbstractContextManager[None]:
    """Handle refusals made before there is a key to protect an Error message with (5.4)."""
    return (
        error_message_on_refusal(system.env, init.incoming, None, supported)
        if system.send_errors
        else nullcontext()
    )


def _late(
    system: ConferenceSystem, verified: VerifiedInit, supported: Sequence[SP]
) -> AbstractContextManager[None]:
    """Handle refusals of an authenticated caller: their Error message has a MAC."""
    keys = verified.init.keys(verified.resolved.keys.mpki.key, response=False)
    return error_message_on_refusal(system.env, verified.init.incoming, keys, supported)


def _called(system: ConferenceSystem, init: TransferInit) -> Conference:
    """Return the conference that is called; raises Refused when none has that address."""
    with system.state.snapshot() as db:
        every = [] if init.responder else open_conferences(db)
        named = None if init.responder is None else rows.conference_of(db, init.responder)
    if named is not None:
        check_open(named)
        return named
    if init.responder is not None:
        raise Refused(
            f"{init.responder} is the focus of no conference; `conference show` lists them",
            ErrorNo.INVALID_ID,
        )
    if len(every) != 1:
        raise Refused(
            f"it does not say which of {len(every)} conferences it is for: the caller names a focus"
            " in IDRr",
            ErrorNo.INVALID_ID,
        )
    return every[0]


def _remember(system: ConferenceSystem, verified: VerifiedInit) -> None:
    """Refuse a message that was seen before; otherwise record it, whatever its outcome."""
    init, refusal = verified.init, None
    with system.state.transaction() as db:
        mpki = verified.resolved.keys.mpki.key
        replay.remember(db, system.env, init.incoming, verified.initiator, mpki)
        replay.forget(db, system.env)
        try:
            transfer = init.incoming.v.ver_data
            replay.use_once(db, system.env, init.ticket, init.policy, b"", transfer)
        except Refused as error:
            refusal = error
    if refusal is not None:
        raise refusal
