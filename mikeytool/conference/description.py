"""JSON descriptions of conferences, their members and their keys."""

from __future__ import annotations

from typing import Any

from mikeytool.conference import member_rows, rows
from mikeytool.conference.database import ConferenceState, Db
from mikeytool.conference.model import Conference, GroupKey, MemberState, Purpose
from mikeytool.wire.describe import masked
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp


def describe_conferences(
    state: ConferenceState, now_ns: int, *, show_keys: bool = False
) -> list[dict[str, Any]]:
    """Describe the conferences of a system as `conference show --json` prints them.

    `now_ns` is the time in Unix nanoseconds. Keys are given as the beginning of their SHA-256
    unless `show_keys`, and not at all once they have expired.
    """
    with state.snapshot() as db:
        return [_conference(db, one, now_ns, show_keys) for one in rows.conferences(db)]


def _conference(db: Db, one: Conference, now_ns: int, show_keys: bool) -> dict[str, Any]:
    members = [
        {
            "identity": str(member.identity),
            "csb_id": f"{member.csb_id:#010x}",
            "state": _state_now(member.state, member.deadline_ns, now_ns).value,
            "ssrcs": [f"{ssrc:#010x}" for ssrc in rows.ssrcs_of(db, member.number)],
        }
        for member in member_rows.people(db, one.number, *MemberState)
    ]
    return {
        "focus": str(one.focus),
        "creator": str(one.creator),
        "topology": one.topology.value,
        "state": "active" if one.ended_ns is None else "ended",
        "ended": None if one.ended_ns is None else Timestamp.at(one.ended_ns, TsType.NTP_UTC).utc,
        "may_add": list(one.may_add),
        "allowed": [str(identity) for identity in rows.allowed_set(db, one.number)],
        "members": members,
        "keys": [
            _group_key(key, now_ns, show_keys)
            for key in rows.group_keys(db, one.number)
            if key.generation >= one.generation - rows.SHOWN
        ],
    }


def _state_now(state: MemberState, deadline_ns: int | None, now_ns: int) -> MemberState:
    """Count a member that did not answer in time as one that left, as the next change will."""
    late = deadline_ns is not None and deadline_ns <= now_ns
    return MemberState.LEFT if late else state


def _group_key(key: GroupKey, now_ns: int, show_keys: bool) -> dict[str, Any]:
    def secret(octets: bytes) -> str | None:
        if not octets or key.state(now_ns) == "expired" or key.purpose == Purpose.FLOOR:
            return None  # nobody uses the floor key itself; see floor_control
        return octets.hex() if show_keys else masked(octets)

    return {
        "purpose": key.purpose.value,
        "spi": key.spi.hex(),
        "tek": secret(key.tek),
        "salt": secret(key.salt),
        "state": key.state(now_ns),
    }
