"""What holds of a state file at any moment, after whatever happened."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from mikeytool.conference import member_rows, mixer_rows, rows
from mikeytool.conference.database import ConferenceState, Db
from mikeytool.conference.model import Conference, Member, MemberState, Topology
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ProtType

_ORDER = ["", "left", "invited", "joined"]


def check(path: Path) -> dict[Identity, str]:
    """The file is whole and agrees with itself; gives where everyone stands: the best of a
    user's seats.
    """
    found: dict[Identity, str] = {}
    with closing(ConferenceState(path)) as state, state.snapshot() as db:
        assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        for conference in rows.conferences(db):
            if conference.ended_ns is None:
                _check_keys(db, conference)
            else:
                _check_wiped(db, conference)
            taken: set[int] = set()
            denied = rows.denied(db, conference.number)
            for member in member_rows.members(db, conference.number, *MemberState):
                best = max(member.state.value, found.get(member.identity, ""), key=_ORDER.index)
                found[member.identity] = best
                assert member.state == MemberState.LEFT or member.identity.data not in denied
                own = rows.ssrcs_of(db, member.number)
                assert not taken & set(own)
                taken |= set(own)
                if conference.ended_ns is None:
                    _check_member(db, conference, member, set(own))
    return found


def _check_wiped(db: Db, conference: Conference) -> None:
    """Of a conference that has ended, no key is left, and nobody is in."""
    assert not any(key.tek or key.salt for key in rows.group_keys(db, conference.number))
    for table in ("ssrcs", "endings", "tickets"):
        query = f"SELECT count(*) FROM {table} WHERE conference = ?"
        assert db.execute(query, (conference.number,)).fetchone() == (0,)
    states = {one.state for one in member_rows.members(db, conference.number, *MemberState)}
    assert states <= {MemberState.LEFT}


def _check_keys(db: Db, conference: Conference) -> None:
    keys = rows.group_keys(db, conference.number)
    active = [key for key in keys if key.until_ns is None]
    assert {key.generation for key in active} <= {conference.generation}
    if conference.generation:
        assert [key.purpose for key in active] == list(conference.purposes)
    assert len({key.spi for key in keys}) == len(keys)
    assert len({key.tek for key in keys if key.tek}) == len([key for key in keys if key.tek])


def _check_member(db: Db, conference: Conference, member: Member, ssrcs: set[int]) -> None:
    call = member_rows.call_of(db, member.number)
    updates = member_rows.updates_of(db, member.number)
    if member.state == MemberState.INVITED:
        assert call is not None
        assert member.deadline_ns is not None
    else:
        assert call is None
        assert member.deadline_ns is None
    if member.state != MemberState.JOINED:
        assert member.session is None
        assert not updates
        assert not ssrcs
        return
    assert member.session is not None
    theirs = [
        one.ssrc
        for one in member.session.crypto_sessions
        if not member.session.is_local(one) and one.entry.protocol == ProtType.SRTP
    ]
    if conference.topology != Topology.RELAY:
        mixed = {
            stream.ssrc
            for purpose in conference.media
            for stream in mixer_rows.streams(db, conference, purpose)
            if stream.receiver in (None, member.identity)
        }
        for one in member.session.crypto_sessions:
            if member.session.is_local(one) and one.entry.protocol == ProtType.SRTP:
                assert one.ssrc in mixed | ssrcs  # what nobody sends in has an SSRC for RTCP
                assert one.seq is not None  # what it receives is that stream alone
    assert set(theirs) <= ssrcs
    # Those who only listen have an SSRC for their RTCP.
    assert ssrcs <= {one.ssrc for one in member.session.crypto_sessions}
    assert len(set(theirs)) == len(theirs)
    # Who does not have the newest keys has them under way.
    newest = [update for update, _ in updates if update == conference.generation]
    assert member.generation == conference.generation or newest
