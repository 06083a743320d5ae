"""The file of a conference system: its conferences, members, SSRCs and group keys.

Every command is one transaction: what is answered is on disk, and after a crash the file
holds either what was before the command or what is after it.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mikeytool.client.sessions import session_json, session_of_json
from mikeytool.client.tickets import TicketFile
from mikeytool.conference.model import (
    Conference,
    GroupKey,
    Member,
    MemberState,
    Purpose,
    System,
)
from mikeytool.kms import replay
from mikeytool.kms.database import Database
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.identity import Identity

Db = sqlite3.Connection

_SHOWN = 2
"""How many generations of expired group keys are still shown."""
_WAITING = 4
"""How many updates to a member wait for an answer at most; answers to older ones are late."""


class ConferenceState(Database):
    """A conference system's state file. Queries take the connection of the transaction."""

    kind = 0x6D6B6366  # "mkcf"
    name = "conference system"
    schema = (
        "".join(f"{statement};" for statement in replay.SCHEMA)
        + """
CREATE TABLE system (
    identity BLOB NOT NULL, id_type INTEGER NOT NULL, psk BLOB NOT NULL, kms TEXT NOT NULL,
    kms_id BLOB NOT NULL, kms_id_type INTEGER NOT NULL, may_create TEXT NOT NULL);
CREATE TABLE conferences (
    number INTEGER PRIMARY KEY, focus BLOB NOT NULL UNIQUE, focus_type INTEGER NOT NULL,
    creator BLOB NOT NULL, creator_type INTEGER NOT NULL, purposes TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0);
CREATE TABLE tickets (
    ticket BLOB PRIMARY KEY, resolved TEXT NOT NULL, until_ns INTEGER) WITHOUT ROWID;
CREATE INDEX tickets_until ON tickets (until_ns);
CREATE TABLE allowed (
    conference INTEGER NOT NULL REFERENCES conferences, identity BLOB NOT NULL,
    id_type INTEGER NOT NULL, denied INTEGER NOT NULL, PRIMARY KEY (conference, identity));
CREATE TABLE members (
    number INTEGER PRIMARY KEY, conference INTEGER NOT NULL REFERENCES conferences,
    identity BLOB NOT NULL, id_type INTEGER NOT NULL, state TEXT NOT NULL,
    csb_id INTEGER NOT NULL, generation INTEGER NOT NULL, deadline_ns INTEGER,
    session TEXT, UNIQUE (conference, identity));
CREATE INDEX members_csb ON members (csb_id);
CREATE INDEX members_deadline ON members (conference, deadline_ns) WHERE deadline_ns NOT NULL;
CREATE TABLE calls (
    member INTEGER PRIMARY KEY REFERENCES members, init BLOB NOT NULL, ticket TEXT NOT NULL);
CREATE TABLE updates (
    number INTEGER PRIMARY KEY, member INTEGER NOT NULL REFERENCES members,
    generation INTEGER NOT NULL, message BLOB NOT NULL);
CREATE INDEX updates_member ON updates (member);
CREATE TABLE ssrcs (
    conference INTEGER NOT NULL REFERENCES conferences, ssrc INTEGER NOT NULL,
    member INTEGER, purpose TEXT, generation INTEGER, PRIMARY KEY (conference, ssrc)
    ) WITHOUT ROWID;
CREATE INDEX ssrcs_member ON ssrcs (member);
CREATE TABLE group_keys (
    conference INTEGER NOT NULL REFERENCES conferences, generation INTEGER NOT NULL,
    purpose TEXT NOT NULL, spi BLOB NOT NULL, tek BLOB NOT NULL, salt BLOB NOT NULL,
    due_ns INTEGER, until_ns INTEGER, PRIMARY KEY (conference, generation, purpose),
    UNIQUE (conference, spi));
"""
    )

    @classmethod
    def init(cls, path: Path, system: System) -> ConferenceState:
        """Make the file of a new conference system; raises StateError when it exists."""

        def fill(db: Db) -> None:
            db.execute(
                "INSERT INTO system VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    *_identity_row(system.identity),
                    system.psk,
                    system.kms,
                    *_identity_row(system.kms_id),
                    json.dumps(system.may_create),
                ),
            )

        return cls.create(path, fill)

    def system(self) -> System:
        """Who the conference system is."""
        with self.errors():
            row = self.db.execute("SELECT * FROM system").fetchone()
        if row is None:
            raise StateError(f"{self.path}: it names no conference system")
        return System(
            Identity(row[0], row[1]),
            row[2],
            row[3],
            Identity(row[4], row[5]),
            tuple(json.loads(row[6])),
        )


def _identity_row(identity: Identity) -> tuple[bytes, int]:
    return identity.data, int(identity.id_type)


# Conferences


def add_conference(db: Db, focus: Identity, creator: Identity, purposes: Sequence[Purpose]) -> int:
    """Write down a new conference and give its number; Refused when the focus has one."""
    if conference_of(db, focus) is not None:
        raise Refused(f"{focus} is the focus of a conference already; choose another --focus")
    cursor = db.execute(
        "INSERT INTO conferences (focus, focus_type, creator, creator_type, purposes)"
        " VALUES (?, ?, ?, ?, ?)",
        (*_identity_row(focus), *_identity_row(creator), ",".join(purposes)),
    )
    return int(cursor.lastrowid or 0)


def conference_of(db: Db, focus: Identity) -> Conference | None:
    """The conference of a focus URI."""
    found = db.execute("SELECT * FROM conferences WHERE focus = ?", (focus.data,)).fetchone()
    return None if found is None else _conference(found)


def conference(db: Db, number: int) -> Conference:
    """The conference of a number that is known to be there."""
    return _conference(
        db.execute("SELECT * FROM conferences WHERE number = ?", (number,)).fetchone()
    )


def conferences(db: Db) -> list[Conference]:
    """All conferences, oldest first."""
    return [_conference(row) for row in db.execute("SELECT * FROM conferences ORDER BY number")]


def _conference(row: Any) -> Conference:
    number, focus, focus_type, creator, creator_type, purposes, generation = row
    return Conference(
        number,
        Identity(focus, focus_type),
        Identity(creator, creator_type),
        tuple(Purpose(name) for name in purposes.split(",")),
        generation,
    )


def own_addresses(db: Db, system: System) -> set[Identity]:
    """The factory and every focus."""
    return {system.identity, *(one.focus for one in conferences(db))}


def remember_ticket(db: Db, digest: bytes, ticket: TicketFile) -> None:
    """Keep a resolved ticket until it ends: its modifier is to be used again (RFC 6043 5.3)."""
    end = ticket.policy.valid_to
    until = None if end is None else end.unix_ns
    db.execute(
        "INSERT OR IGNORE INTO tickets VALUES (?, ?, ?)",
        (digest, json.dumps(ticket.json()), until),
    )


def known_ticket(db: Db, digest: bytes) -> TicketFile | None:
    """A ticket that was resolved before."""
    row = db.execute("SELECT resolved FROM tickets WHERE ticket = ?", (digest,)).fetchone()
    return None if row is None else TicketFile.of_json(json.loads(row[0]))


# Who may take part


def allow(db: Db, number: int, identity: Identity, *, allowed: bool = True) -> None:
    """Put someone into the allowed set, or write down that they are out of it."""
    db.execute(
        "INSERT INTO allowed VALUES (?, ?, ?, ?) ON CONFLICT (conference, identity)"
        " DO UPDATE SET denied = excluded.denied",
        (number, *_identity_row(identity), int(not allowed)),
    )


def permission(db: Db, number: int, identity: Identity) -> bool | None:
    """Whether someone is allowed or denied by name; None when their name is not there."""
    row = db.execute(
        "SELECT denied FROM allowed WHERE conference = ? AND identity = ?",
        (number, identity.data),
    ).fetchone()
    return None if row is None else not row[0]


def allowed_set(db: Db, number: int) -> list[Identity]:
    """Everyone who may take part, groups as they were named."""
    rows = db.execute(
        "SELECT identity, id_type FROM allowed WHERE conference = ? AND NOT denied"
        " ORDER BY identity",
        (number,),
    )
    return [Identity(data, id_type) for data, id_type in rows]


# Members


def put_member(db: Db, member: Member) -> int:
    """Write down a member, in place of what was known of that identity; gives the number."""
    session = None if member.session is None else json.dumps(session_json(member.session))
    row = db.execute(
        "INSERT INTO members (conference, identity, id_type, state, csb_id, generation,"
        " deadline_ns, session) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (conference, identity) DO UPDATE SET state = excluded.state,"
        " csb_id = excluded.csb_id, generation = excluded.generation,"
        " deadline_ns = excluded.deadline_ns, session = excluded.session RETURNING number",
        (
            member.conference,
            *_identity_row(member.identity),
            member.state.value,
            member.csb_id,
            member.generation,
            member.deadline_ns,
            session,
        ),
    ).fetchone()
    return int(row[0])


_MEMBER = (
    "SELECT number, conference, identity, id_type, state, csb_id, generation, deadline_ns,"
    " session FROM members"
)


def _member(row: Any) -> Member:
    number, room, identity, id_type, state, csb_id, generation, deadline_ns, session = row
    return Member(
        number,
        room,
        Identity(identity, id_type),
        MemberState(state),
        csb_id,
        generation,
        deadline_ns,
        None if session is None else session_of_json(json.loads(session)),
    )


def member_of(db: Db, number: int, identity: Identity) -> Member | None:
    """What is known of an identity in a conference."""
    row = db.execute(
        f"{_MEMBER} WHERE conference = ? AND identity = ?", (number, identity.data)
    ).fetchone()
    return None if row is None else _member(row)


def members(db: Db, number: int, *states: MemberState) -> Iterator[Member]:
    """The members of a conference in these states, in the order they came."""
    marks = ", ".join("?" * len(states))
    rows = db.execute(
        f"{_MEMBER} WHERE conference = ? AND state IN ({marks}) ORDER BY number",
        (number, *(state.value for state in states)),
    ).fetchall()
    return map(_member, rows)


def members_of_csb(db: Db, csb_id: int) -> list[Member]:
    """Those whose session or call-out has a CSB ID."""
    return [_member(row) for row in db.execute(f"{_MEMBER} WHERE csb_id = ?", (csb_id,))]


def late_members(db: Db, number: int, now_ns: int) -> list[Member]:
    """Those who were called out and have not answered in time."""
    rows = db.execute(
        f"{_MEMBER} WHERE conference = ? AND deadline_ns NOT NULL AND deadline_ns <= ?",
        (number, now_ns),
    )
    return [_member(row) for row in rows]


# Messages that wait for an answer


def put_call(db: Db, member: int, init: bytes, ticket: TicketFile) -> None:
    """Keep the TRANSFER_INIT of a call-out and its ticket, for the answer."""
    db.execute(
        "INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", (member, init, json.dumps(ticket.json()))
    )


def call_of(db: Db, member: int) -> tuple[bytes, TicketFile] | None:
    """The call-out that waits for a member's answer."""
    row = db.execute("SELECT init, ticket FROM calls WHERE member = ?", (member,)).fetchone()
    return None if row is None else (row[0], TicketFile.of_json(json.loads(row[1])))


def put_update(db: Db, member: int, generation: int, message: bytes) -> None:
    """Keep an update until it is answered, and a few of those before it."""
    db.execute(
        "INSERT INTO updates (member, generation, message) VALUES (?, ?, ?)",
        (member, generation, message),
    )
    db.execute(
        "DELETE FROM updates WHERE member = ?1 AND number NOT IN (SELECT number FROM updates"
        " WHERE member = ?1 ORDER BY number DESC LIMIT ?2)",
        (member, _WAITING),
    )


def updates_of(db: Db, member: int) -> list[tuple[int, bytes]]:
    """Generation and message of the updates that wait for a member's answer, newest first."""
    return db.execute(
        "SELECT generation, message FROM updates WHERE member = ? ORDER BY number DESC", (member,)
    ).fetchall()


def forget_waiting(db: Db, member: int) -> None:
    """Nothing waits for an answer of a member any more."""
    db.execute("DELETE FROM calls WHERE member = ?", (member,))
    db.execute("DELETE FROM updates WHERE member = ?", (member,))


def behind(db: Db, number: int) -> list[Member]:
    """Members with an update that they have not answered."""
    rows = db.execute(
        f"{_MEMBER} WHERE conference = ? AND number IN "  # noqa: S608 - all of it constant
        "(SELECT member FROM updates) ORDER BY number",
        (number,),
    )
    return [_member(row) for row in rows]


# Group keys


def add_group_keys(db: Db, number: int, keys: Sequence[GroupKey]) -> None:
    """Put a new generation of group keys into force."""
    for key in keys:
        row = (number, key.generation, key.purpose.value, key.spi, key.tek, key.salt, key.due_ns)
        db.execute("INSERT INTO group_keys VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", row)
    db.execute(
        "UPDATE conferences SET generation = ? WHERE number = ?", (keys[0].generation, number)
    )


def retire_group_keys(db: Db, number: int, until_ns: int) -> None:
    """The active keys have an end from now on."""
    db.execute(
        "UPDATE group_keys SET until_ns = ? WHERE conference = ? AND until_ns IS NULL",
        (until_ns, number),
    )


def wipe_expired(db: Db, number: int, now_ns: int) -> None:
    """Forget tickets and the octets of keys that have expired, and the SSRCs that only they
    kept taken.
    """
    db.execute("DELETE FROM tickets WHERE until_ns < ?", (now_ns,))
    db.execute(
        "UPDATE group_keys SET tek = x'', salt = x'' WHERE conference = ? AND until_ns <= ?"
        " AND tek != x''",
        (number, now_ns),
    )
    db.execute(
        "DELETE FROM ssrcs WHERE conference = ?1 AND generation IS NOT NULL AND generation <="
        " (SELECT max(generation) FROM group_keys WHERE conference = ?1 AND until_ns <= ?2)",
        (number, now_ns),
    )
    db.execute(
        "DELETE FROM group_keys WHERE conference = ?1 AND until_ns <= ?2 AND generation <"
        " (SELECT generation FROM conferences WHERE number = ?1) - ?3",
        (number, now_ns, _SHOWN),
    )


def group_keys(db: Db, number: int, generation: int | None = None) -> list[GroupKey]:
    """The group keys of a conference, newest first, or those of one generation."""
    rows = db.execute(
        "SELECT purpose, generation, spi, tek, salt, due_ns, until_ns FROM group_keys"
        " WHERE conference = ?1 AND generation = ifnull(?2, generation)"
        " ORDER BY generation DESC, rowid",
        (number, generation),
    )
    return [GroupKey(Purpose(row[0]), *row[1:]) for row in rows]


# SSRCs


def claim_ssrc(db: Db, number: int, ssrc: int, member: int | None, purpose: Purpose) -> bool:
    """Write down an SSRC of a member, or of the system itself; False when it is taken."""
    cursor = db.execute(
        "INSERT OR IGNORE INTO ssrcs VALUES (?, ?, ?, ?, NULL)",
        (number, ssrc, member, purpose.value),
    )
    return cursor.rowcount == 1


def release_ssrcs(db: Db, member: int, generation: int) -> None:
    """A member's SSRCs are free once the group keys of `generation` have expired."""
    db.execute(
        "UPDATE ssrcs SET generation = ? WHERE member = ? AND generation IS NULL",
        (generation, member),
    )


def ssrcs_of(db: Db, member: int) -> list[int]:
    """The SSRCs that a member has now."""
    rows = db.execute(
        "SELECT ssrc FROM ssrcs WHERE member = ? AND generation IS NULL ORDER BY ssrc", (member,)
    )
    return [ssrc for (ssrc,) in rows]


def system_ssrc(db: Db, number: int, purpose: Purpose) -> int | None:
    """The SSRC that stands for everyone else's streams of a purpose."""
    row = db.execute(
        "SELECT ssrc FROM ssrcs WHERE conference = ? AND member IS NULL AND purpose = ?",
        (number, purpose.value),
    ).fetchone()
    return None if row is None else row[0]
