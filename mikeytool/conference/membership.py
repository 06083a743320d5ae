"""Permissions and membership, and how members are put out (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from mikeytool.conference import ending_rows, member_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.endings import end_conference, farewells
from mikeytool.conference.group_keys import bring_up, put_out, rekey
from mikeytool.conference.model import (
    DEFAULT_OVERLAP,
    Conference,
    Member,
    MemberState,
    Update,
)
from mikeytool.conference.seats import IN
from mikeytool.conference.system import ConferenceSystem, Step
from mikeytool.conference.updates import Updates
from mikeytool.exchange.session import LONGEST_OVERLAP
from mikeytool.wire.errors import MikeyError, Refused, UsageError, WireError
from mikeytool.wire.identity import MAX_IDENTITY, Identity
from mikeytool.wire.pattern import matches
from mikeytool.wire.registry import ErrorNo, TsType
from mikeytool.wire.timestamp import Timestamp


def may_take_part(step: Step, conference: Conference, identity: Identity) -> None:
    """Raise Refused unless someone is in the allowed set, by name or as a member of a group."""
    if identity not in _allowed(step, conference, [identity]):
        raise Refused(
            f"{identity} may not take part in {conference.focus}; `conference allow` lets them in",
            ErrorNo.UNSPECIFIED,
        )


def _allowed(step: Step, conference: Conference, people: Sequence[Identity]) -> set[Identity]:
    """Return those of `people` who may take part.

    A name takes precedence over groups, and a denied group takes precedence over allowed groups.
    """
    found = {one: rows.permission(step.db, conference.number, one) for one in people}
    unnamed = [one for one, allowed in found.items() if allowed is None]
    for one, groups in zip(unnamed, step.groups_of(unnamed), strict=True):
        said = [rows.permission(step.db, conference.number, group) for group in groups]
        found[one] = True in said and False not in said
    return {one for one, allowed in found.items() if allowed}


def the_conference(db: Db, focus: Identity | None) -> Conference:
    """Return the conference of a focus, or the only conference.

    Raises UsageError if there is none or it is not clear which, Refused if it has ended.
    """
    if focus is not None:
        found = rows.conference_of(db, focus)
        if found is None:
            raise UsageError(f"there is no conference with the focus {focus}; see conference show")
        check_open(found)
        return found
    every = open_conferences(db)
    if not every:
        none = (
            "every conference has ended" if rows.conferences(db) else "there is no conference yet"
        )
        raise UsageError(f"{none}; `conference create` makes one")
    if len(every) > 1:
        raise UsageError(f"there are {len(every)} conferences; say which with --focus")
    return every[0]


def open_conferences(db: Db) -> list[Conference]:
    """Return the conferences that have not ended, oldest first."""
    return [one for one in rows.conferences(db) if one.ended_ns is None]


def check_open(conference: Conference) -> None:
    """Raise Refused for a conference that has ended."""
    if conference.ended_ns is not None:
        ended = Timestamp.at(conference.ended_ns, TsType.NTP_UTC).utc
        raise Refused(
            f"the conference {conference.focus} ended at {ended}; `conference create` makes a new"
            " one",
            ErrorNo.UNSPECIFIED,
        )


def catch_up(step: Step, conference: Conference) -> tuple[Conference, Updates]:
    """Do what is due: put out members that did not answer, and renew old keys.

    Returns the conference in its new state, and the resulting updates.
    """
    due = _is_due(step, conference)
    updates = rekey(step, conference) if due else Updates(step.system.state)
    return rows.conference(step.db, conference.number), updates


def _is_due(step: Step, conference: Conference) -> bool:
    """Put out members that are due, and return whether the group keys have to be replaced."""
    now = step.env.clock()
    let_go(step.db, conference, member_rows.late_members(step.db, conference.number, now), now)
    settle_denials(step, conference)
    active = rows.group_keys(step.db, conference.number, conference.generation)
    return any(key.due_ns is not None and key.due_ns <= now for key in active)


def settle_denials(step: Step, conference: Conference) -> None:
    """Put out members that were admitted only through a group that is now denied."""
    if not rows.is_unsettled(step.db, conference.number):
        return
    inside = list(member_rows.people(step.db, conference.number, *IN))
    stay = _allowed(step, conference, [one.identity for one in inside])
    out = [one for one in inside if one.identity not in stay]
    let_go(step.db, conference, out, step.env.clock())
    rows.settle(step.db, conference.number)


def let_go(db: Db, conference: Conference, out: Iterable[Member], now_ns: int) -> None:
    """Put members out. The group keys, which they know, are due for replacement from now on."""
    for member in out:
        put_out(db, member, conference.generation, ending_rows.REMOVED, now_ns)
        rows.hasten(db, conference.number, 0)


@dataclass
class Tidied:
    """The updates that catching up led to; `undone` says why it could not be done yet."""

    updates: Collection[Update] = ()
    undone: MikeyError | None = None


def tidy(system: ConferenceSystem, focus: Identity) -> Tidied:
    """Catch up after a completed change; the change stands even if the KMS cannot be reached."""
    try:
        return Tidied(_caught_up(system, focus))
    except MikeyError as error:
        return Tidied(undone=error)


def _caught_up(system: ConferenceSystem, focus: Identity) -> Updates:
    return system.step(lambda step: catch_up(step, the_conference(step.db, focus))[1])


def check_may_add(step: Step, conference: Conference, by: Identity | None) -> None:
    """Refuse what somebody asks for who may neither add people nor invite them.

    The creator may, and those whose identity matches a pattern of `may_add`, unless they or a group
    of theirs are denied. None is the operator, who may do everything.
    """
    if by is None:
        return
    named = by == conference.creator or any(matches(by, one) for one in conference.may_add)
    if named and not _is_denied(step, conference, by):
        return
    patterns = " and ".join(("its creator", *conference.may_add))
    raise Refused(
        f"{by} may not add or invite anybody to {conference.focus}: that is for {patterns}",
        ErrorNo.UNSPECIFIED,
    )


def _is_denied(step: Step, conference: Conference, identity: Identity) -> bool:
    """Return whether someone is denied, by name or as a member of a group."""
    said = rows.permission(step.db, conference.number, identity)
    if said is not None:
        return not said
    denied = rows.denied(step.db, conference.number)
    # The KMS need not be asked where nobody is denied.
    (groups,) = step.groups_of([identity]) if denied else ((),)
    return any(group.data in denied for group in groups)


def allow(
    system: ConferenceSystem,
    focus: Identity | None,
    who: Sequence[Identity],
    by: Identity | None = None,
) -> Tidied:
    """Add people or groups to the allowed set.

    `by` is who asks for it, None for the operator. Raises Refused if they may not add people,
    UsageError for a pattern, and for an identity too long for a message.
    """
    for identity in who:
        if "*" in str(identity):
            raise UsageError(f"{identity}: the allowed set has names and groups, no patterns")
        if len(identity.data) > MAX_IDENTITY:
            raise UsageError(
                f"an identity of {len(identity.data):,} octets is too long; it has at most"
                f" {MAX_IDENTITY:,}"
            )

    def work(step: Step) -> Conference:
        conference = the_conference(step.db, focus)
        check_may_add(step, conference, by)
        for identity in who:
            rows.allow(step.db, conference.number, identity)
        return conference

    return tidy(system, system.step(work).focus)


def dismiss(
    system: ConferenceSystem,
    focus: Identity | None,
    who: Sequence[Identity],
    *,
    deny: bool,
    tell: Callable[[str], object] = lambda _: None,
) -> Updates:
    """Put people out and return the updates; `deny` also removes them from the allowed set.

    The people named are put out at once, in a transaction before the KMS is asked for new group
    keys. If the KMS does not make the keys, for any reason, its error is raised. The keys are
    then changed by the next command that the KMS answers. Denying a group puts out the members
    admitted only through that group, once the KMS has said who they are. `tell` is called with what
    became of each. Raises Refused for the removal of someone who was never in.
    """
    with system.state.transaction() as db:
        conference, now = the_conference(db, focus), system.env.clock()
        done = [_dismiss(db, conference, one, now, deny=deny) for one in who]
    updates = _keys_changed(system, conference, "denial" if deny else "removal")
    for text in done:
        tell(text)
    return updates


def dismiss_seat(
    system: ConferenceSystem, focus: Identity | None, csb_id: int, who: Identity | None = None
) -> Updates:
    """Put one seat out, named by its CSB ID, as `dismiss` does with all seats of a user.

    `who` is needed only if users have seats with the same CSB ID. Raises Refused for a seat that
    is not in.
    """
    with system.state.transaction() as db:
        conference = the_conference(db, focus)
        let_go(db, conference, [_seat(db, conference, csb_id, who)], system.env.clock())
    return _keys_changed(system, conference, "removal")


def _seat(db: Db, conference: Conference, csb_id: int, who: Identity | None) -> Member:
    found = [
        one
        for one in member_rows.members_of_csb(db, csb_id)
        if one.conference == conference.number and one.state in IN and who in (None, one.identity)
    ]
    if not found:
        whose = "" if who is None else f" of {who}"
        raise Refused(
            f"{conference.focus} has no seat {csb_id:#010x}{whose}; conference show lists them"
        )
    if len(found) > 1:
        names = " and ".join(str(one.identity) for one in found)
        raise Refused(f"{names} have a seat {csb_id:#010x} each; name one of them as well")
    return found[0]


def _keys_changed(system: ConferenceSystem, conference: Conference, done: str) -> Updates:
    """Change the group keys after somebody was put out, which stands even if this fails."""
    try:
        return _caught_up(system, conference.focus)
    except MikeyError as error:
        stands = (
            f"; the {done} stands, and the group keys change with the next command that reaches"
            " the KMS"
        )
        if isinstance(error, WireError):
            error.text += stands
        error.args = (f"{error.args[0]}{stands}",)
        raise


def _dismiss(db: Db, conference: Conference, identity: Identity, now_ns: int, *, deny: bool) -> str:
    """Put someone out and return what to say of it."""
    seats = member_rows.seats_of(db, conference.number, identity)
    if deny:
        # Someone who has joined is one person. Any other name, even that of someone who was
        # called out, may by now be the name of a group.
        joined = any(one.state == MemberState.JOINED for one in seats)
        rows.deny(db, conference.number, identity, settled=joined)
    elif not seats:
        raise Refused(f"{identity} is not in {conference.focus}")
    inside = [one for one in seats if one.state in IN]
    let_go(db, conference, inside, now_ns)
    was = "was in" if inside else "had left" if seats else "was not in"
    may = "may not take part from now on" if deny else "is out and may come back"
    return f"{identity} {was} {conference.focus} and {may}"


def change_keys(
    system: ConferenceSystem, focus: Identity | None, overlap: int = DEFAULT_OVERLAP
) -> Updates:
    """Replace the group keys of a conference and return the updates.

    Raises UsageError for an overlap of more than a day.
    """
    if overlap > LONGEST_OVERLAP:
        raise UsageError("old group keys stay good for a day at most")

    def work(step: Step) -> Updates:
        conference = the_conference(step.db, focus)
        if not conference.generation:
            raise Refused(f"{conference.focus} has no group key yet; the first to join gets one")
        _is_due(step, conference)
        return rekey(step, conference, overlap)

    return system.step(work)


def unanswered(system: ConferenceSystem, focus: Identity | None) -> Updates:
    """Make unanswered updates anew, because an old message is not accepted twice.

    With them come those that end replaced sessions, once each. Of a conference that has ended, and
    that `focus` names, the updates that said so are returned again.
    """
    with system.state.snapshot() as db:
        named = None if focus is None else rows.conference_of(db, focus)
        if named is not None and named.ended_ns is not None:
            return Updates(system.state, [member_rows.farewells(db, named.number)])
        chosen = open_conferences(db) if focus is None else [the_conference(db, focus)]
    made = [system.step(partial(_made_anew, each.focus)) for each in chosen]
    return Updates.joined(system.state, made)


def _made_anew(focus: Identity, step: Step) -> Updates:
    conference, fresh = catch_up(step, the_conference(step.db, focus))
    behind = partial(member_rows.behind, step.db, conference.number)
    made = fresh or bring_up(step, conference, behind)
    told = Updates(step.system.state, farewells=farewells(step, conference))
    return Updates.joined(step.system.state, [made, told])


def end(system: ConferenceSystem, focus: Identity | None) -> Updates:
    """End a conference and return the update that tells each member; nobody answers it.

    Every key of the conference is wiped from the state file. Raises Refused if it has ended.
    """
    told = system.step(lambda step: end_conference(step, the_conference(step.db, focus)))
    system.state.wipe()
    return Updates(system.state, [told])
