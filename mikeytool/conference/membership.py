"""Who may take part, who is in, and what becomes of those who leave (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.conference import state as rows
from mikeytool.conference.group_keys import bring_up, put_out, rekey
from mikeytool.conference.model import (
    DEFAULT_OVERLAP,
    Conference,
    Member,
    MemberState,
    Update,
)
from mikeytool.conference.state import Db
from mikeytool.conference.system import ConferenceSystem
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo

_LONGEST_OVERLAP = 24 * 3600
_IN = (MemberState.INVITED, MemberState.JOINED)


def may_take_part(
    desk: ConferenceSystem, db: Db, conference: Conference, identity: Identity
) -> None:
    """Raise Refused unless someone is in the allowed set, by name or as a group's member.

    A name outweighs groups, and a group that is denied outweighs those that are allowed.
    """
    allowed = rows.permission(db, conference.number, identity)
    if allowed is None:
        groups = desk.kms.groups_of(identity)
        found = [rows.permission(db, conference.number, group) for group in groups]
        allowed = True in found and False not in found
    if not allowed:
        raise Refused(f"{identity} may not take part in {conference.focus}", ErrorNo.UNSPECIFIED)


def the_conference(db: Db, focus: Identity | None) -> Conference:
    """The conference of a focus, or the only one; raises UsageError."""
    if focus is not None:
        found = rows.conference_of(db, focus)
        if found is None:
            raise UsageError(f"there is no conference with the focus {focus}")
        return found
    every = rows.conferences(db)
    if len(every) != 1:
        raise UsageError(f"there are {len(every)} conferences; say which with --focus")
    return every[0]


def catch_up(
    desk: ConferenceSystem, db: Db, conference: Conference
) -> tuple[Conference, list[Update]]:
    """Do what is due: forget expired keys, put out who did not answer, renew old keys.

    Gives the conference as it stands then, and the updates that came of it.
    """
    now = desk.env.clock()
    rows.wipe_expired(db, conference.number, now)
    late = rows.late_members(db, conference.number, now)
    for member in late:
        put_out(db, member, conference.generation)
    active = rows.group_keys(db, conference.number, conference.generation)
    old = any(key.due_ns is not None and key.due_ns <= now for key in active)
    updates = rekey(desk, db, conference) if late or old else []
    return rows.conference(db, conference.number), updates


def allow(desk: ConferenceSystem, focus: Identity | None, who: Sequence[Identity]) -> list[Update]:
    """Put people or groups into the allowed set. Raises UsageError for a pattern."""
    for identity in who:
        if "*" in str(identity):
            raise UsageError(f"{identity}: the allowed set has names and groups, no patterns")
    with desk.state.transaction() as db:
        conference = the_conference(db, focus)
        for identity in who:
            rows.allow(db, conference.number, identity)
    return tidy(desk, conference)


def dismiss(
    desk: ConferenceSystem, focus: Identity | None, who: Sequence[Identity], *, deny: bool
) -> list[Update]:
    """Put people out, and with `deny` out of the allowed set too; gives the updates.

    A denial stands even when the KMS cannot be reached for new group keys. A group that is
    denied takes those with it who are in by it alone. Raises Refused for a removal of
    someone who never was in.
    """
    with desk.state.transaction() as db:
        conference = the_conference(db, focus)
        for identity in who:
            if deny:
                rows.allow(db, conference.number, identity, allowed=False)
            elif rows.member_of(db, conference.number, identity) is None:
                raise Refused(f"{identity} is not in {conference.focus}")
    with desk.state.transaction() as db:
        conference, updates = catch_up(desk, db, the_conference(db, conference.focus))
        out = [
            member
            for member in rows.members(db, conference.number, *_IN)
            if member.identity in who or (deny and not _is_allowed(desk, db, conference, member))
        ]
        return let_go(desk, db, conference, out) if out else updates


def _is_allowed(desk: ConferenceSystem, db: Db, conference: Conference, member: Member) -> bool:
    try:
        may_take_part(desk, db, conference, member.identity)
    except Refused:
        return False
    return True


def tidy(desk: ConferenceSystem, conference: Conference) -> list[Update]:
    """Catch up in a transaction of its own; gives the updates."""
    with desk.state.transaction() as db:
        return catch_up(desk, db, rows.conference(db, conference.number))[1]


def let_go(
    desk: ConferenceSystem, db: Db, conference: Conference, out: Sequence[Member]
) -> list[Update]:
    """Put members out and change the group keys, which they have; gives the updates."""
    for member in out:
        put_out(db, member, conference.generation)
    return rekey(desk, db, conference)


def change_keys(
    desk: ConferenceSystem, focus: Identity | None, overlap: int = DEFAULT_OVERLAP
) -> list[Update]:
    """Replace the group keys of a conference; gives the updates.

    Raises UsageError for an overlap of more than a day.
    """
    if overlap > _LONGEST_OVERLAP:
        raise UsageError("old group keys stay good for a day at most")
    with desk.state.transaction() as db:
        conference, _ = catch_up(desk, db, the_conference(db, focus))
        if not conference.generation:
            raise Refused(f"{conference.focus} has no group key yet; the first to join gets one")
        return rekey(desk, db, conference, overlap)


def unanswered(desk: ConferenceSystem, focus: Identity | None) -> list[Update]:
    """The updates that members have not answered, made anew: no old message is taken twice."""
    with desk.state.transaction() as db:
        chosen = rows.conferences(db) if focus is None else [the_conference(db, focus)]
        updates = []
        for each in chosen:
            conference, fresh = catch_up(desk, db, each)
            updates += fresh or _made_anew(desk, db, conference)
        return updates


def _made_anew(desk: ConferenceSystem, db: Db, conference: Conference) -> list[Update]:
    return bring_up(desk, db, conference, rows.behind(db, conference.number))
