"""Group keys: the KMS makes them, members receive them, and they are replaced (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

from mikeytool.conference import ending_rows, member_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.member_rows import Sent
from mikeytool.conference.model import (
    DEFAULT_OVERLAP,
    Conference,
    GroupKey,
    Member,
    MemberState,
)
from mikeytool.conference.purposes import purposes_of
from mikeytool.conference.seat_keys import seat_keys
from mikeytool.conference.system import Step
from mikeytool.conference.updates import Updates
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket_policy import TicketPolicy, wanted_key
from mikeytool.exchange.update import update_init
from mikeytool.wire.errors import StateError
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType, TicketFlag

KEY_FLAGS = TicketFlag.from_letters("DEFGHIJNO")
"""The ticket that brings the group keys is not sent to anyone."""

_AT_ONCE = 500
"""How many updates are made before they are written; one takes some 10 kB until then."""


def current_keys(step: Step, conference: Conference) -> list[GroupKey]:
    """Return the active group keys; requests them from the KMS when there are none yet."""
    return _active(step, conference) if conference.generation else new_keys(step, conference)


def _active(step: Step, conference: Conference) -> list[GroupKey]:
    keys = rows.group_keys(step.db, conference.number, conference.generation)
    if [key.purpose for key in keys] != list(conference.purposes):
        raise StateError(
            f"{conference.focus} has not the group keys that it should; restore a backup of the"
            " state file"
        )
    return keys


def new_keys(step: Step, conference: Conference) -> list[GroupKey]:
    """Get the next generation of group keys from the KMS and put it into force.

    The request names the generation after the known one, and its purposes. If another process has
    made that generation in the meantime, or has created the system anew, the answer and its SPIs
    are discarded.
    """
    taken = {key.spi for key in rows.group_keys(step.db, conference.number)}
    wanted = [
        wanted_key(KeyType.TEK_SALT, *conference.key_lengths(one), step.env.spi(taken))
        for one in conference.purposes
    ]
    me, generation = step.system.settings.identity, conference.generation + 1
    name = ("keys", conference.number, generation, conference.purposes)
    held = step.ticket(name, conference.profile, me, me, KEY_FLAGS, wanted)
    due = _due(held.policy, step.env.clock())
    made = [
        GroupKey(purpose, generation, key.spi or b"", key.key, key.salt or b"", due, None)
        for purpose, key in zip(conference.purposes, held.keys.keys, strict=True)
    ]
    rows.add_group_keys(step.db, conference.number, made)
    return made


def _due(policy: TicketPolicy, now_ns: int) -> int | None:
    """Return when the keys of a ticket have to be replaced.

    That is after the ticket's rekeying interval, or without one before the ticket ends.
    The packet limit comes much later: a member needs decades to send 2^31 SRTCP packets.
    """
    if policy.rekey is not None:
        return now_ns + policy.rekey * NS
    end = None if policy.valid_to is None else policy.valid_to.unix_ns
    return None if end is None else now_ns + (end - now_ns) * 9 // 10


def keep_interval(step: Step, conference: Conference, intervals: Iterable[int | None]) -> None:
    """Replace the active keys as often as the members' tickets require (6.10, TRr)."""
    given = [interval for interval in intervals if interval is not None]
    if given:
        rows.hasten(step.db, conference.number, step.env.clock() + min(given) * NS)


def rekey(step: Step, conference: Conference, overlap: int = DEFAULT_OVERLAP) -> Updates:
    """Replace the group keys and return an update for each member (RFC 6043 5.2).

    The old keys stay valid for `overlap` seconds. Members whose ticket has expired cannot be
    reached any more and are put out. Denied members should be out already; they get no key.
    """
    db, now = step.db, step.env.clock()
    rows.retire_group_keys(db, conference.number, now + overlap * NS)
    if rows.wipe_expired(db, now):
        step.system.state.wipe_soon()
    # Get the keys before reading the members: this may fail until the KMS has been asked, and
    # there may be many members.
    keys = new_keys(step, conference)
    before, conference = conference, rows.conference(db, conference.number)
    denied, intervals = rows.denied(db, conference.number), set[int | None]()

    def staying() -> Iterator[Member]:
        for member in member_rows.members(db, conference.number, MemberState.JOINED):
            if _is_over(member, now) or member.identity.data in denied:
                put_out(db, member, before.generation, ending_rows.REMOVED, now)
                continue
            if member.session is not None:
                intervals.add(member.session.policy.rekey)
            yield member

    updates = _bring_up(step, conference, staying(), keys)
    keep_interval(step, conference, intervals)
    return updates


def _is_over(member: Member, now_ns: int) -> bool:
    """Return whether a member's ticket has expired, so no update can go out (interpretation 20)."""
    end = None if member.session is None else member.session.policy.valid_to
    return end is not None and end.unix_ns is not None and end.unix_ns < now_ns


def bring_up(
    step: Step, conference: Conference, members: Callable[[], Iterable[Member]]
) -> Updates:
    """Return an update for each of these members, with the group keys and their crypto sessions.

    A member whose ticket has expired, or who is denied, is put out. The keys then change for
    everybody. `members` reads them; it is called again once nobody has to be put out.
    """
    now, denied = step.env.clock(), rows.denied(step.db, conference.number)
    if any(_is_over(one, now) or one.identity.data in denied for one in members()):
        return rekey(step, conference)
    return _bring_up(step, conference, members(), _active(step, conference))


def _bring_up(
    step: Step, conference: Conference, members: Iterable[Member], keys: Sequence[GroupKey]
) -> Updates:
    known = rows.group_keys(step.db, conference.number)
    before, todo = member_rows.last_update(step.db), iter(members)
    while some := list(islice(todo, _AT_ONCE)):
        made = [_update(step.env, conference, member, keys, known) for member in some]
        member_rows.put_updates(step.db, conference.generation, made)
    return Updates(step.system.state, [range(before + 1, member_rows.last_update(step.db) + 1)])


def _update(
    env: Environment,
    conference: Conference,
    member: Member,
    keys: Sequence[GroupKey],
    known: Sequence[GroupKey],
) -> Sent:
    assert member.session is not None  # noqa: S101 - members that have joined have one
    new = {key.purpose: key for key in seat_keys(keys, member.number, member.identity)}
    streams = [
        (one, new[purpose]) for one, purpose in purposes_of(conference, member.session, known)
    ]
    init, session = update_init(
        env,
        member.session,
        crypto_sessions=[
            CsSpec(
                send=member.session.is_local(one),
                cs_id=one.entry.cs_id,
                protocol=one.entry.protocol,
                spi=key.spi,
            )
            for one, key in streams
        ],
        kemac_keys=_not_known(member.session, [key for _, key in streams]),
    )
    return Sent(member.number, init.raw, session.fresh.last_t)


def _not_known(session: Session, keys: Iterable[GroupKey]) -> list[KeyData]:
    """Return those of the keys of a member's purposes that the member does not have."""
    known = {key.spi for key in session.keys}
    return [key.key_data() for key in dict.fromkeys(keys) if key.spi not in known]


def put_out(db: Db, member: Member, generation: int, reason: str, now_ns: int) -> None:
    """Put a member out and end their session; `reason` is what its device will hear.

    Their SSRCs stay taken while the group keys of `generation`, the last that they had, are
    valid.
    """
    ending_rows.remember(db, member.number, reason, now_ns)
    left = replace(member, state=MemberState.LEFT, session=None, deadline_ns=None)
    member_rows.put_member(db, left)
    rows.release_ssrcs(db, member.number, generation)
    member_rows.forget_waiting(db, member.number)
