"""Who may take part, who is in, and what becomes of those who leave (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from mikeytool.conference import member_rows, rows
from mikeytool.conference.group_keys import bring_up, put_out, rekey
from mikeytool.conference.model import (
    DEFAULT_OVERLAP,
    Conference,
    Member,
    MemberState,
    Update,
)
from mikeytool.conference.state import Db
from mikeytool.conference.system import ConferenceSystem, Step
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo

_LONGEST_OVERLAP = 24 * 3600
_IN = (MemberState.INVITED, MemberState.JOINED)


def may_take_part(step: Step, conference: Conference, identity: Identity) -> None:
    """Raise Refused unless someone is in the allowed set, by name or as a group's member."""
    if identity not in _allowed(step, conference, [identity]):
        raise Refused(f"{identity} may not take part in {conference.focus}", ErrorNo.UNSPECIFIED)


def _allowed(step: Step, conference: Conference, people: Sequence[Identity]) -> set[Identity]:
    """Those of `people` who may take part.

    A name outweighs groups, and a group that is denied outweighs those that are allowed.
    """
    found = {one: rows.permission(step.db, conference.number, one) for one in people}
    unnamed = [one for one, allowed in found.items() if allowed is None]
    for one, groups in zip(unnamed, step.groups_of(unnamed), strict=True):
        said = [rows.permission(step.db, conference.number, group) for group in groups]
        found[one] = True in said and False not in said
    return {one for one, allowed in found.items() if allowed}


def the_conference(db: Db, focus: Identity | None) -> Conference:
    """The conference of a focus, or the only one; raises UsageError."""
    if focus is not None:
        found = rows.conference_of(db, focus)
        if found is None:
            raise UsageError(f"there is no conference with the focus {focus}")
        return found
    every = rows.conferences(db)
    if not every:
        raise UsageError("there is no conference yet; `conference create` makes one")
    if len(every) > 1:
        raise UsageError(f"there are {len(every)} conferences; say which with --focus")
    return every[0]


def catch_up(step: Step, conference: Conference) -> tuple[Conference, list[Update]]:
    """Do what is due: put out who did not answer, renew old keys.

    Gives the conference as it stands then, and the updates that came of it.
    """
    updates = rekey(step, conference) if _is_due(step, conference) else []
    return rows.conference(step.db, conference.number), updates


def _is_due(step: Step, conference: Conference) -> bool:
    """Put out who did not answer in time; whether the group keys are to be replaced."""
    now = step.env.clock()
    late = member_rows.late_members(step.db, conference.number, now)
    for member in late:
        put_out(step, member, conference.generation)
    active = rows.group_keys(step.db, conference.number, conference.generation)
    return bool(late) or any(key.due_ns is not None and key.due_ns <= now for key in active)


def allow(desk: ConferenceSystem, focus: Identity | None, who: Sequence[Identity]) -> list[Update]:
    """Put people or groups into the allowed set. Raises UsageError for a pattern."""
    for identity in who:
        if "*" in str(identity):
            raise UsageError(f"{identity}: the allowed set has names and groups, no patterns")
    with desk.state.transaction() as db:
        conference = the_conference(db, focus)
        for identity in who:
            rows.allow(db, conference.number, identity)
    return tidy(desk, conference.focus)


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
            elif member_rows.member_of(db, conference.number, identity) is None:
                raise Refused(f"{identity} is not in {conference.focus}")
    return desk.step(lambda step: _dismissed(step, conference.focus, who, deny=deny))


def _dismissed(step: Step, focus: Identity, who: Sequence[Identity], *, deny: bool) -> list[Update]:
    conference = the_conference(step.db, focus)
    due = _is_due(step, conference)
    inside = list(member_rows.people(step.db, conference.number, *_IN))
    known = {one.identity for one in inside}
    # Only a group takes others with it, and who is in is none: then the KMS need not be asked.
    stay = known if not deny or known.issuperset(who) else _allowed(step, conference, [*known])
    out = [one for one in inside if one.identity in who or one.identity not in stay]
    if out:
        return let_go(step, conference, out)
    return rekey(step, conference) if due else []


def tidy(desk: ConferenceSystem, focus: Identity) -> list[Update]:
    """Catch up in a transaction of its own; gives the updates."""
    return desk.step(lambda step: catch_up(step, the_conference(step.db, focus))[1])


def let_go(step: Step, conference: Conference, out: Sequence[Member]) -> list[Update]:
    """Put members out and change the group keys, which they have; gives the updates."""
    for member in out:
        put_out(step, member, conference.generation)
    return rekey(step, conference)


def change_keys(
    desk: ConferenceSystem, focus: Identity | None, overlap: int = DEFAULT_OVERLAP
) -> list[Update]:
    """Replace the group keys of a conference; gives the updates.

    Raises UsageError for an overlap of more than a day.
    """
    if overlap > _LONGEST_OVERLAP:
        raise UsageError("old group keys stay good for a day at most")

    def work(step: Step) -> list[Update]:
        conference = the_conference(step.db, focus)
        if not conference.generation:
            raise Refused(f"{conference.focus} has no group key yet; the first to join gets one")
        _is_due(step, conference)
        return rekey(step, conference, overlap)

    return desk.step(work)


def unanswered(desk: ConferenceSystem, focus: Identity | None) -> list[Update]:
    """The updates that members have not answered, made anew: no old message is taken twice."""
    with desk.state.snapshot() as db:
        chosen = rows.conferences(db) if focus is None else [the_conference(db, focus)]
    return [update for each in chosen for update in desk.step(partial(_made_anew, each.focus))]


def _made_anew(focus: Identity, step: Step) -> list[Update]:
    conference, fresh = catch_up(step, the_conference(step.db, focus))
    behind = [] if fresh else member_rows.behind(step.db, conference.number)
    return fresh or bring_up(step, conference, behind)
