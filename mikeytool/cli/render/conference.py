"""How `conference show` shows a conference."""

from __future__ import annotations

import textwrap
from typing import Any

from mikeytool.cli.render.table import print_table
from mikeytool.conference import member_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.model import Conference, GroupKey, MemberState
from mikeytool.wire.describe import masked


def conference_json(db: Db, one: Conference, now_ns: int, show_keys: bool) -> dict[str, Any]:
    """A conference as `conference show --json` prints it."""
    members = [
        {
            "identity": str(member.identity),
            "state": _state_now(member.state, member.deadline_ns, now_ns).value,
            "ssrcs": [f"{ssrc:#010x}" for ssrc in rows.ssrcs_of(db, member.number)],
        }
        for member in member_rows.people(db, one.number, *MemberState)
    ]
    return {
        "focus": str(one.focus),
        "creator": str(one.creator),
        "allowed": [str(identity) for identity in rows.allowed_set(db, one.number)],
        "members": members,
        "keys": [_key_json(key, now_ns, show_keys) for key in rows.group_keys(db, one.number)],
    }


def _state_now(state: MemberState, deadline_ns: int | None, now_ns: int) -> MemberState:
    """Who has not answered in time has left, also before the next command writes it down."""
    late = deadline_ns is not None and deadline_ns <= now_ns
    return MemberState.LEFT if late else state


def _key_json(key: GroupKey, now_ns: int, show_keys: bool) -> dict[str, Any]:
    def secret(octets: bytes) -> str | None:
        if not octets or key.state(now_ns) == "expired":
            return None
        return octets.hex() if show_keys else masked(octets)

    return {
        "purpose": key.purpose.value,
        "spi": key.spi.hex(),
        "tek": secret(key.tek),
        "salt": secret(key.salt),
        "state": key.state(now_ns),
    }


def print_conference(one: dict[str, Any]) -> None:
    """A conference for people."""
    print(f"{one['focus']}, created by {one['creator']}")
    print(textwrap.fill(f"allowed: {', '.join(one['allowed']) or 'nobody'}", 79))
    rows_of = [("member", "state", "SSRCs")]
    rows_of += [(m["identity"], m["state"], " ".join(m["ssrcs"])) for m in one["members"]]
    print_table(rows_of)
    keys = [("purpose", "SPI", "TEK", "salt", "state")]
    keys += [
        (k["purpose"], k["spi"], k["tek"] or "", k["salt"] or "", k["state"]) for k in one["keys"]
    ]
    print_table(keys)
