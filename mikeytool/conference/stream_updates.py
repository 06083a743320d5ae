"""Streams that a member changes or adds in a session, by a CSB update (RFC 6043 5.2, RFC 3550 8.2).

The update is checked as a call-in is: against the ledger of SSRCs, the media lines and the suites.
What it asks for is done or refused. Group keys are the system's to make, so it brings none, and it
waits until the member has answered the system's own update.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mikeytool.conference import member_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.group_keys import current_keys
from mikeytool.conference.membership import settle_denials, tidy
from mikeytool.conference.model import Conference, GroupKey, Member, MemberState, Topology
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
    purposes_of,
)
from mikeytool.conference.ssrcs import CallInPlan, Streams, check_number, is_from_member, with_spi
from mikeytool.conference.system import ConferenceSystem, Step
from mikeytool.exchange.crypto_sessions import read_map
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message_on_refusal
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.session import CryptoSession, Session
from mikeytool.exchange.stream_names import names_in
from mikeytool.exchange.update import answer_update, is_update_of
from mikeytool.exchange.update_rules import update_keys
from mikeytool.storage import replay
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import GenericIdEntry, srtp_session_data
from mikeytool.wire.payloads import KEMAC, KeyData
from mikeytool.wire.registry import ErrorNo, ProtType


def sender_of_update(system: ConferenceSystem, incoming: Incoming) -> Member | None:
    """Return the member who is in and whose session a message updates: its MAC verifies."""
    with system.state.snapshot() as db:
        for person in member_rows.members_of_csb(db, incoming.csb_id):
            found = member_rows.member(db, person.number)
            if found is None or found.session is None or found.state != MemberState.JOINED:
                continue
            if is_update_of(found.session, incoming):
                return found
    return None


def update_streams(
    system: ConferenceSystem, sender: Member, incoming: Incoming, lines: Lines = ()
) -> bytes:
    """Answer the update of a member's session; what it changes is on disk before the answer.

    `lines` are the media lines of the session description around it. Raises Refused, with an Error
    message in its `answer`.
    """
    session = _session(sender)
    with system.state.snapshot() as db:
        conference = rows.conference(db, sender.conference)
    known = conference_policies(conference)
    with error_message_on_refusal(system.env, incoming, update_keys(session), known):
        session.fresh.refuse_own(incoming)
        session.fresh.check(system.env, incoming)
        # A message that is refused now does not do what it asks for later.
        with system.state.transaction() as db:
            replay.remember(db, system.env, incoming, sender.identity, session.mpk)
            replay.forget(db, system.env)
        tidy(system, conference.focus)
        return system.step(partial(_updated, sender, incoming, lines))


def _session(member: Member) -> Session:
    if member.session is None or member.state != MemberState.JOINED:
        raise Refused(f"{member.identity} is in no more")
    return member.session


def _updated(sender: Member, incoming: Incoming, lines: Lines, step: Step) -> bytes:
    db, conference = step.db, rows.conference(step.db, sender.conference)
    settle_denials(step, conference)  # nobody gets keys before the KMS has said who they are
    member = member_rows.member(db, sender.number)
    if member is None:
        raise Refused("the conference system was made anew")
    session = _session(member)
    _check_allowed(db, conference, member, incoming)
    keys, every = current_keys(step, conference), rows.group_keys(db, conference.number)
    known = {one.entry.cs_id: v.value for one, v in purposes_of(conference, session, every)}
    offered, policies = read_map(incoming, complete=False, known=session.policies_by_number)
    names = names_of(conference, lines, offered, names_in(incoming))
    for cs_id in names.keys() & known.keys():
        if names[cs_id] != known[cs_id]:
            raise Refused(
                f"crypto session {cs_id} is {known[cs_id]}, and the update names it {names[cs_id]}",
                ErrorNo.INVALID_SP,
            )
    conference = lined_up(conference, {**names, **known})
    check_names(conference, names, offered)
    check_offer(conference, offered, policies)
    own = set(rows.ssrcs_of(db, member.number))
    streams = _streams(session, offered, _for_reports(conference, session, own))
    check_directions(conference, streams)
    plan = UpdatePlan(db, step.env, conference, member, keys, streams)
    added = plan.added()
    check_lengths(conference, plan.purposes, incoming.profile)
    answer, after = answer_update(
        step.call_env,
        session,
        incoming,
        partial(is_of, conference),
        crypto_sessions=added,
        policies=own_policies(conference),
        kemac_keys=plan.new_keys(),
        supported=conference_policies(conference),
        arrangement=plan,
    )
    member_rows.put_member(db, replace(member, session=after))
    _release(db, conference, member, after)
    assert answer is not None  # noqa: S101 - what asks for none is refused
    return answer


def _check_allowed(db: Db, conference: Conference, member: Member, incoming: Incoming) -> None:
    """Refuse what no update of a member may be."""
    if not incoming.message.header.v:
        raise Refused("an update of streams has the V flag: the answer says which SSRCs there are")
    if incoming.message.find(KEMAC) is not None:
        raise Refused(f"the group keys of {conference.focus} are the system's to make")
    behind = member.generation != conference.generation
    if behind or member_rows.updates_of(db, member.number):
        raise Refused(
            f"{member.identity} has an update to answer first; conference updates prints it again"
        )


def _release(db: Db, conference: Conference, member: Member, session: Session) -> None:
    """Give up the SSRCs that a member has in no stream any more; they stay taken under the keys."""
    kept = {one.ssrc for one in session.crypto_sessions}
    gone = set(rows.ssrcs_of(db, member.number)) - kept
    rows.release_some(db, conference.number, gone, conference.generation)
    check_number(db, member)


def _for_reports(conference: Conference, session: Session, own: set[int]) -> set[int]:
    """Return the CS IDs in which nothing is sent: their SSRC is the member's, for RTCP."""
    if conference.topology == Topology.RELAY:
        return set()
    return {
        one.entry.cs_id
        for one in session.crypto_sessions
        if session.is_local(one) and one.entry.protocol == ProtType.SRTP and one.ssrc in own
    }


def _streams(session: Session, offered: Sequence[GenericIdEntry], no_streams: set[int]) -> Streams:
    """Return all streams as they will be, each with whether the member sends in it.

    `no_streams` are CS IDs that are left out. Raises Refused for one under another key than it has.
    """
    found = {
        one.entry.cs_id: (one.entry, _by_member(session, one)) for one in session.crypto_sessions
    }
    present = {one.entry.cs_id: one for one in session.crypto_sessions}
    for entry in offered:
        before = present.get(entry.cs_id)
        if before is not None and entry.spi not in (b"", before.entry.spi):
            raise Refused(
                f"crypto session {entry.cs_id} has the group key {before.entry.spi.hex()}; only"
                " the system gives it another",
                ErrorNo.INVALID_SP,
            )
        by_member = is_from_member(entry) if before is None else _by_member(session, before)
        found[entry.cs_id] = entry, by_member
    return [one for cs_id, one in found.items() if cs_id not in no_streams]


def _by_member(session: Session, one: CryptoSession) -> bool:
    return one.entry.protocol == ProtType.SRTP and not session.is_local(one)


class UpdatePlan(CallInPlan):
    """The crypto sessions of the answer to a member's update."""

    def __init__(
        self,
        db: Db,
        env: Environment,
        conference: Conference,
        member: Member,
        keys: Sequence[GroupKey],
        streams: Streams,
    ) -> None:
        super().__init__(db, env, conference, member, keys, streams)
        self._session = _session(member)
        self._present = {one.entry.cs_id: one for one in self._session.crypto_sessions}
        for one, purpose in purposes_of(conference, self._session):
            if one.entry.protocol == ProtType.SRTP and self._session.is_local(one):
                self._received.add(purpose)
                if one.ssrc in rows.ssrcs_of(db, member.number):
                    self._reports.add(purpose)

    def new_keys(self) -> list[KeyData]:
        """Return the group keys that the member gets with new media lines."""
        known = {key.spi for key in self._session.keys}
        return [key for key in self.kemac_keys() if key.spi not in known]

    def arrange(self, entry: GenericIdEntry, by_member: bool) -> GenericIdEntry:
        """Set SSRC and group key of a crypto session that is new or that the member changes."""
        before = self._present.get(entry.cs_id)
        if before is None:
            return super().arrange(entry, by_member)
        entry = with_spi(entry, before.entry.spi)
        if srtp_session_data(entry) == srtp_session_data(before.entry):
            return entry
        return self._changed(entry, before, by_member=by_member)

    def _changed(
        self, entry: GenericIdEntry, before: CryptoSession, *, by_member: bool
    ) -> GenericIdEntry:
        if entry.session_data[:4] == before.entry.session_data[:4] and (by_member or not entry.s):
            return entry  # where its own stream goes on
        if not by_member or entry.protocol != ProtType.SRTP:
            raise Refused(
                f"crypto session {entry.cs_id} is not the member's to send; the system chooses its"
                " SSRC",
                ErrorNo.INVALID_SP,
            )
        return super().arrange(entry, by_member)
