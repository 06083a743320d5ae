"""Queries about sessions that the system has ended. They take the connection of the transaction."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from mikeytool.conference.database import Db, readable
from mikeytool.conference.member_rows import read_session
from mikeytool.exchange.environment import NS
from mikeytool.exchange.session import Session
from mikeytool.wire.identity import Identity

REPLACED = "another session has its seat, because its device called in again"
REMOVED = "it was put out of the conference"

_REMEMBERED = 24 * 3600 * NS
"""How long an ended session is remembered, to answer its device."""
_KEPT = 16
"""How many ended sessions of a user are remembered."""


@dataclass(frozen=True, slots=True)
class Ending:
    """A session that has ended, without keys of media, and why.

    `waiting` are the updates that its device had not answered.
    """

    identity: Identity
    session: Session
    waiting: tuple[bytes, ...]
    reason: str


def remember(db: Db, member: int, reason: str, now_ns: int) -> None:
    """Remember that the session of a seat ends now, if it has one.

    Its device is told if another session has replaced it.
    """
    db.execute(
        "INSERT INTO endings (conference, identity, id_type, csb_id, session, waiting, reason,"
        " told, until_ns) SELECT conference, identity, id_type, csb_id, session,"
        " (SELECT json_group_array(hex(message)) FROM updates WHERE member = ?1), ?2, ?3, ?4"
        " FROM members WHERE number = ?1 AND session NOT NULL",
        (member, reason, reason != REPLACED, now_ns + _REMEMBERED),
    )
    db.execute(
        "DELETE FROM endings WHERE number IN (SELECT endings.number FROM endings JOIN members"
        " USING (conference, identity) WHERE members.number = ? ORDER BY endings.number DESC"
        " LIMIT -1 OFFSET ?)",
        (member, _KEPT),
    )


def of_csb(db: Db, csb_id: int) -> list[Ending]:
    """Return the ended sessions with a CSB ID."""
    return [_ending(row) for row in db.execute(f"{_ENDING} WHERE csb_id = ?", (csb_id,))]


def untold(db: Db, number: int) -> list[Ending]:
    """Return the ended sessions of a conference whose devices have not been told."""
    where = "WHERE conference = ? AND NOT told ORDER BY number"
    return [_ending(row) for row in db.execute(f"{_ENDING} {where}", (number,))]


def all_told(db: Db, number: int) -> None:
    """Note that every device of a conference whose session has ended is being told."""
    db.execute("UPDATE endings SET told = 1 WHERE conference = ? AND NOT told", (number,))


def count_untold(db: Db) -> int:
    """Count the devices of all conferences that have not been told of the end of their session."""
    return int(db.execute("SELECT count(*) FROM endings WHERE NOT told").fetchone()[0])


_ENDING = "SELECT identity, id_type, session, waiting, reason FROM endings"


def _ending(row: Any) -> Ending:
    identity, id_type, session, waiting, reason = row
    who = Identity(identity, id_type)
    with readable(f"the ended session of {who}"):
        updates = tuple(map(bytes.fromhex, json.loads(waiting)))
        return Ending(who, read_session(session, {}), updates, reason)
