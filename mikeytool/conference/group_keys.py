"""Group keys: made by the KMS, handed out to members, replaced (TR 33.828 5.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import replace

from mikeytool.conference import state as rows
from mikeytool.conference.model import (
    DEFAULT_OVERLAP,
    SALT_LENGTH,
    TEK_LENGTH,
    Conference,
    GroupKey,
    Member,
    MemberState,
    Purpose,
    Update,
)
from mikeytool.conference.state import Db
from mikeytool.conference.streams import purposes_of
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.exchange.environment import NS
from mikeytool.exchange.policy import TicketPolicy, wanted_key
from mikeytool.exchange.session import Session
from mikeytool.exchange.update import update_init
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType, TicketFlag

KEY_FLAGS = TicketFlag.from_letters("DEFGHJNO")
"""The ticket that the group keys come in is sent to nobody."""


def current_keys(desk: ConferenceSystem, db: Db, conference: Conference) -> list[GroupKey]:
    """The active group keys, from the KMS when there are none yet."""
    if not conference.generation:
        return new_keys(desk, db, conference)
    return rows.group_keys(db, conference.number, conference.generation)


def new_keys(desk: ConferenceSystem, db: Db, conference: Conference) -> list[GroupKey]:
    """Ask the KMS for the next generation of group keys and put it into force.

    Raises Refused or Unreachable as `ConferenceSystem.request` does.
    """
    taken = {key.spi for key in rows.group_keys(db, conference.number)}
    wanted = [
        wanted_key(KeyType.TEK_SALT, TEK_LENGTH, SALT_LENGTH, desk.env.spi(taken))
        for _ in conference.purposes
    ]
    me = desk.system.identity
    held = desk.request(me, me, KEY_FLAGS, wanted)
    due = _due(held.policy, desk.env.clock())
    made = [
        GroupKey(
            purpose, conference.generation + 1, key.spi or b"", key.key, key.salt or b"", due, None
        )
        for purpose, key in zip(conference.purposes, held.keys.keys, strict=True)
    ]
    rows.add_group_keys(db, conference.number, made)
    return made


def _due(policy: TicketPolicy, now_ns: int) -> int | None:
    """When keys of a ticket have to be replaced: after its rekeying interval, else before
    its end.

    Their packets run out much later: 2^31 SRTCP packets take a member decades.
    """
    if policy.rekey is not None:
        return now_ns + policy.rekey * NS
    end = None if policy.valid_to is None else policy.valid_to.unix_ns
    return None if end is None else now_ns + (end - now_ns) * 9 // 10


def rekey(
    desk: ConferenceSystem, db: Db, conference: Conference, overlap: int = DEFAULT_OVERLAP
) -> list[Update]:
    """Replace the group keys; an update for each member (RFC 6043 5.2).

    The old keys stay good for `overlap` seconds. Without a group key there is nothing to
    replace. Members whose ticket has expired cannot be reached any more: they are out.
    """
    if not conference.generation:
        return []
    now = desk.env.clock()
    staying = []
    for member in rows.members(db, conference.number, MemberState.JOINED):
        if _is_over(member, now):
            put_out(db, member, conference.generation)
        else:
            staying.append(member)
    rows.retire_group_keys(db, conference.number, now + overlap * NS)
    keys = new_keys(desk, db, conference)
    conference = rows.conference(db, conference.number)
    return _bring_up(desk, db, conference, staying, keys)


def _is_over(member: Member, now_ns: int) -> bool:
    """Whether a member's ticket has expired, so that no update can be sent (interpretation 20)."""
    end = None if member.session is None else member.session.policy.valid_to
    return end is not None and end.unix_ns is not None and end.unix_ns < now_ns


def bring_up(
    desk: ConferenceSystem, db: Db, conference: Conference, members: Iterable[Member]
) -> list[Update]:
    """An update for each of these members, with the group keys and their crypto sessions.

    When the ticket of one has expired, they are out: then the keys change for everybody.
    """
    now, found = desk.env.clock(), list(members)
    if any(_is_over(member, now) for member in found):
        return rekey(desk, db, conference)
    keys = rows.group_keys(db, conference.number, conference.generation)
    return _bring_up(desk, db, conference, found, keys)


def _bring_up(
    desk: ConferenceSystem,
    db: Db,
    conference: Conference,
    members: Iterable[Member],
    keys: Sequence[GroupKey],
) -> list[Update]:
    now = desk.env.clock()
    spis = {key.purpose: key.spi for key in keys}
    gone = {
        key.spi for key in rows.group_keys(db, conference.number) if key.state(now) == "expired"
    }
    updates = []
    for member in members:
        assert member.session is not None  # noqa: S101 - who has joined has a session
        session = _without(member.session, gone)
        message, session = update_init(
            desk.env,
            session,
            crypto_sessions=_under(conference, session, spis),
            kemac_keys=_not_known(session, keys),
        )
        rows.put_member(db, replace(member, session=session))
        rows.put_update(db, member.number, conference.generation, message)
        updates.append(Update(member.identity, message))
    return updates


def _under(conference: Conference, session: Session, spis: Mapping[Purpose, bytes]) -> list[CsSpec]:
    """The crypto sessions of a member under the keys of these SPIs."""
    return [
        CsSpec(send=session.is_local(one), cs_id=one.entry.cs_id, spi=spis[purpose])
        for one, purpose in purposes_of(conference, session)
    ]


def _not_known(session: Session, keys: Sequence[GroupKey]) -> list[KeyData]:
    known = {key.spi for key in session.keys}
    return [key.key_data() for key in keys if key.spi not in known]


def _without(session: Session, spis: Set[bytes]) -> Session:
    """A session without keys that have expired."""
    return replace(
        session,
        keys=tuple(key for key in session.keys if key.spi not in spis),
        crypto_sessions=tuple(
            replace(one, previous=tuple(spi for spi in one.previous if spi not in spis))
            for one in session.crypto_sessions
        ),
    )


def put_out(db: Db, member: Member, generation: int) -> None:
    """Someone is out: their session ends, their SSRCs stay taken while the group keys of
    `generation`, the last that they had, are good.
    """
    rows.put_member(db, replace(member, state=MemberState.LEFT, session=None, deadline_ns=None))
    rows.release_ssrcs(db, member.number, generation)
    rows.forget_waiting(db, member.number)
