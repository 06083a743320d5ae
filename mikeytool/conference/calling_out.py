"""Call people out, and process the answers to call-outs and updates (TR 33.828 5.3.2).

A call-out carries the group keys. A callee that refuses, or does not answer in time, is therefore
treated as a member that leaves.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mikeytool.client.ticket_files import TicketFile
from mikeytool.conference import member_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.endings import refuse_ended
from mikeytool.conference.group_keys import bring_up, current_keys, keep_interval, rekey
from mikeytool.conference.membership import (
    catch_up,
    check_may_add,
    let_go,
    may_take_part,
    settle_denials,
    the_conference,
    tidy,
)
from mikeytool.conference.model import Conference, Member, MemberState, Update
from mikeytool.conference.purpose_suites import (
    check_agreed,
    conference_policies,
    is_of,
    own_policies,
)
from mikeytool.conference.purposes import Lines, check_directions, check_lines, purposes_of
from mikeytool.conference.seat_keys import seat_keys
from mikeytool.conference.ssrcs import CallInPlan, claim, with_spi, with_ssrc
from mikeytool.conference.system import TICKET_VALIDITY, ConferenceSystem, Step
from mikeytool.exchange.environment import NS
from mikeytool.exchange.error import ErrorReceived, error_message_on_refusal
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.initiator import finish_transfer, transfer_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.transfer import read_transfer_init
from mikeytool.exchange.update import finish_update
from mikeytool.exchange.update_rules import update_keys
from mikeytool.wire.errors import MikeyError, Refused, UsageError
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_update
from mikeytool.wire.payloads import RANDR
from mikeytool.wire.registry import DataType, ErrorNo, ProtType, TicketFlag, TsType
from mikeytool.wire.timestamp import Timestamp

CALL_OUT_FLAGS = TicketFlag.from_letters("DEFGHILNO")
"""Flags for forking, an answer, and keys from the initiator; the ticket is used once."""


def call_out(
    system: ConferenceSystem,
    focus: Identity | None,
    who: Identity,
    timeout: int,
    by: Identity | None = None,
    lines: Lines = (),
) -> bytes:
    """Call one person: return a TRANSFER_INIT with the group keys.

    The person has `timeout` seconds to answer. `by` is the member who asks for it, with a REFER
    for example, None for the operator; members who may not add people may not invite either.
    `lines` are the media lines of the session description for the message; they are in the order
    of the conference's purposes, and Refused is raised for another order.

    Raises Refused for someone who may not take part, is already in, or is already being called,
    and for a group or a pattern, because the ticket must be for one person alone. Raises UsageError
    for a timeout longer than the ticket is valid.
    """
    if timeout > TICKET_VALIDITY:
        raise UsageError(f"nobody is waited for longer than {TICKET_VALIDITY} s")
    if "*" in str(who) or system.kms.is_group(who):
        raise Refused(
            f"{who} is not one person: whoever answers first would be in; call out each by name"
        )
    return system.step(lambda step: _called_out(step, focus, who, timeout, by, lines))


def _called_out(
    step: Step,
    focus: Identity | None,
    who: Identity,
    timeout: int,
    by: Identity | None,
    lines: Lines,
) -> bytes:
    db, conference = step.db, the_conference(step.db, focus)
    check_lines(conference, lines)
    check_may_add(step, conference, by)
    may_take_part(step, conference, who)
    seat = _seat_to_call(step, conference, who)
    profile = conference.profile
    name = ("call", conference.focus, who, profile.bits)
    held = step.ticket(name, profile, conference.focus, who, CALL_OUT_FLAGS)
    conference, _ = catch_up(step, conference)
    keys = current_keys(step, conference)
    conference = rows.conference(db, conference.number)
    seat = replace(seat, generation=conference.generation)
    number = member_rows.put_member(db, seat)
    plan = CallInPlan(db, step.env, conference, replace(seat, number=number), keys, None)
    init = transfer_init(
        step.call_env,
        held,
        initiator=conference.focus,
        responder=who,
        crypto_sessions=plan.offer(),
        policies=own_policies(conference),
        kemac_keys=plan.kemac_keys(),
    )
    deadline = step.env.clock() + timeout * NS
    member_rows.put_member(
        db, replace(seat, number=number, csb_id=init.incoming.csb_id, deadline_ns=deadline)
    )
    ticket = TicketFile(held.ticket, held.policy, held.keys, True)
    member_rows.put_call(db, number, init.raw, ticket)
    return init.raw


def _seat_to_call(step: Step, conference: Conference, who: Identity) -> Member:
    """Return the seat for someone who is called; it is not stored yet.

    Raises Refused for someone who is in, or who may still answer an earlier call-out.
    """
    theirs, now = member_rows.seats_of(step.db, conference.number, who), step.env.clock()
    for one in theirs:
        if one.state == MemberState.JOINED:
            raise Refused(f"{who} is in {conference.focus} already")
        if one.deadline_ns is not None and not _is_late(one, now):
            until = Timestamp.at(one.deadline_ns, TsType.NTP_UTC).utc
            raise Refused(
                f"{who} is being called until {until}; conference remove ends that, and then they"
                " can be called again"
            )
    number = next((one.number for one in theirs), 0)
    return Member(number, conference.number, who, MemberState.INVITED, 0, conference.generation)


@dataclass
class Answered:
    """The outcome of an answer: its sender, and the updates that it leads to.

    `refusal` is set when the person called out does not come: the answer was an authentic Error
    message, or it came from someone else. `undone` says why group keys that were due could not be
    changed yet.
    """

    focus: Identity
    identity: Identity
    updates: Collection[Update] = ()
    refusal: Refused | None = None
    undone: MikeyError | None = None


def answer(system: ConferenceSystem, message: bytes) -> Answered:
    """Process the answer to a call-out or an update.

    Raises Refused when no message is waiting for this answer or the answer does not verify; an
    authenticated sender gets an Error message in its `answer`. Raises WireError when the answer
    cannot be read. The outcome is kept even if the KMS cannot be reached for changes that are
    then due.
    """
    read = Message.parse(message)
    csb_id = read.header.csb_id
    failure: MikeyError = Refused(
        f"no call-out and no update waits for an answer with the CSB ID {csb_id:#010x}"
    )
    if read.header.data_type == DataType.TRANSFER_INIT and not is_update(read):
        raise Refused(f"{failure}; this is TRANSFER_INIT, which `conference call-in` takes")
    with system.state.snapshot() as db:
        candidates = member_rows.members_of_csb(db, csb_id)
    for member in candidates:
        try:
            found = system.step(partial(_take, member, read))
        except MikeyError as error:
            failure = error
        else:
            tidied = tidy(system, found.focus)
            # Updates with newer keys go to everybody and replace those with the earlier keys.
            found.updates, found.undone = tidied.updates or found.updates, tidied.undone
            return found
    with system.state.snapshot() as db:
        refuse_ended(db, system.env, read)
    raise failure


def _take(called: Member, message: Message, step: Step) -> Answered:
    conference = rows.conference(step.db, called.conference)
    if called.state == MemberState.INVITED:
        settle_denials(step, conference)
    member, now = member_rows.member(step.db, called.number), step.env.clock()
    if member is not None and member.csb_id != called.csb_id:
        member = None  # another session has that seat since
    if member is not None and member.state == MemberState.INVITED and not _is_late(member, now):
        return _join(step, conference, member, message)
    if member is not None and member.state == MemberState.JOINED and member.session is not None:
        if message.find(RANDR) is not None:
            raise Refused(f"{member.identity} is in already; their answer to the call was taken")
        return _confirm(step, conference, member, member.session, message)
    raise Refused(
        f"{called.identity} is not in {conference.focus} any more; the answer comes too late"
    )


def _is_late(member: Member, now_ns: int) -> bool:
    return member.deadline_ns is not None and member.deadline_ns <= now_ns


def _join(step: Step, conference: Conference, member: Member, message: Message) -> Answered:
    """Verify the answer to a call-out, and admit the callee only after that."""
    call = member_rows.call_of(step.db, member.number)
    if call is None:
        raise Refused(f"no call-out to {member.identity} waits for an answer")
    sent, ticket = call
    init = read_transfer_init(sent)
    answered = Answered(conference.focus, member.identity)
    try:
        accept, known = partial(is_of, conference), conference_policies(conference)
        session = finish_transfer(step.env, ticket.held, init, message, accept, known)
    except ErrorReceived as error:
        if not error.verified:
            raise
        refusal: Refused | None = error
    else:
        refusal = _unwanted(step.db, conference, member, session)
    if refusal is not None:
        let_go(step.db, conference, [member], step.env.clock())
        return replace(answered, refusal=refusal)
    session, change = _seated(step, conference, member, session)
    joined = replace(member, state=MemberState.JOINED, deadline_ns=None, session=session)
    member_rows.put_member(step.db, joined)
    member_rows.forget_waiting(step.db, member.number)
    keep_interval(step, conference, [session.policy.rekey])
    if change == _CLASH:
        # Under the old key two members would send with the same SSRC, so it must not be used.
        return replace(answered, updates=rekey(step, conference))
    if change == _NONE and member.generation == conference.generation:
        return answered
    return replace(answered, updates=bring_up(step, conference, lambda: [joined]))


def _unwanted(db: Db, conference: Conference, member: Member, session: Session) -> Refused | None:
    """Return why someone is not admitted although their answer to a call-out is authentic.

    If the answer comes from someone else, the KMS let them resolve the ticket, so they have the
    group keys.
    """
    if session.remote != member.identity:
        return Refused(f"{session.remote} answers, {member.identity} was called")
    if rows.permission(db, conference.number, member.identity) is False:
        return Refused(f"{member.identity} may not take part in {conference.focus}")
    try:
        check_agreed(conference, session)
        streams = [(one.entry, not session.is_local(one)) for one in session.crypto_sessions]
        check_directions(conference, streams)
    except Refused as refusal:
        return refusal
    return None


_NONE, _KEY, _CLASH = range(3)


def _seated(
    step: Step, conference: Conference, member: Member, session: Session
) -> tuple[Session, int]:
    """Claim the SSRCs of someone who was called out; an SSRC that is taken is replaced by another.

    Returns the session with its final SSRCs and keys, and how it differs from the session that
    was answered: by the key of a crypto session, or by an SSRC that is taken. The keys from the
    call-out may have expired in the meantime; new ones are then on their way.
    """
    every = rows.group_keys(step.db, conference.number, member.generation)
    keys = seat_keys(every, member.number, member.identity)
    spis = {key.purpose: key.spi for key in keys}
    chosen, change = [], _NONE
    for one, purpose in purposes_of(conference, session):
        entry = one.entry
        if entry.spi != spis.get(purpose, entry.spi):
            entry, change = with_spi(entry, spis[purpose]), max(change, _KEY)
        if not session.is_local(one) and entry.protocol == ProtType.SRTP and one.ssrc is not None:
            given = claim(step.db, step.env, conference, member.number, purpose, one.ssrc)
            change = max(change, _NONE if given == one.ssrc else _CLASH)
            entry = with_ssrc(entry, given)
        chosen.append(replace(one, entry=entry))
    return replace(session, crypto_sessions=tuple(chosen)), change


def _confirm(
    step: Step, conference: Conference, member: Member, session: Session, message: Message
) -> Answered:
    """Process the answer to an update, which may be to any of the updates sent."""
    failure: MikeyError = Refused(f"no update to {member.identity} waits for an answer")
    known = conference_policies(conference)
    waiting = member_rows.updates_of(step.db, member.number)
    for generation, update in waiting:
        sent = Incoming.read(update, DataType.TRANSFER_INIT)
        try:
            agreed = finish_update(step.env, session, sent, message, lambda _policy: False)
            came = Incoming.read(message, DataType.TRANSFER_RESP)
            with error_message_on_refusal(step.env, came, update_keys(session), known):
                _check_unchanged(sent, agreed)
        except MikeyError as error:
            failure = error
            continue
        generation = max(member.generation, generation)
        # With earlier updates its answer would be taken a second time; newer ones still wait.
        agreed = _with_sent(agreed, [update for made, update in waiting if made <= generation])
        member_rows.forget_answered(step.db, member.number, generation)
        member_rows.put_member(step.db, replace(member, session=agreed, generation=generation))
        return Answered(conference.focus, member.identity)
    raise failure


def _with_sent(session: Session, updates: Sequence[bytes]) -> Session:
    """Return the session that remembers the system's own updates, in case one is sent back."""
    fresh = session.fresh
    for update in reversed(updates):
        fresh = fresh.after_sending(Incoming.read(update, DataType.TRANSFER_INIT))
    return replace(session, fresh=fresh)


def _check_unchanged(sent: Incoming, agreed: Session) -> None:
    """Refuse an answer that changes SSRCs, keys or suites, or that adds streams."""
    wanted = {
        entry.cs_id: (entry.policies, entry.spi, entry.session_data[:4])
        for entry in sent.message.header.cs_id_map
        if isinstance(entry, GenericIdEntry)
    }
    for one in agreed.crypto_sessions:
        entry = one.entry
        if wanted.get(entry.cs_id) != (entry.policies, entry.spi, entry.session_data[:4]):
            raise Refused(
                f"the answer changes crypto session {entry.cs_id}; who wants other streams"
                " calls in again",
                ErrorNo.INVALID_SP,
            )
