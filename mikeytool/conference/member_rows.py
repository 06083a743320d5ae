"""Queries about members: their sessions, and the messages that wait for their answers.

Each row is a seat; a user with several devices has several.
Queries take the connection of the transaction. A session is stored without the octets of its
group keys; it refers to them by SPI. Keys that have been wiped since are left out when the
session is read. Other keys that came with a ticket are not used by any crypto session of a
conference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from mikeytool.client.session_files import session_json, session_of_json
from mikeytool.client.ticket_files import TicketFile
from mikeytool.conference import rows
from mikeytool.conference.database import Db, identity_row, readable
from mikeytool.conference.model import Member, MemberState, Purpose, Update
from mikeytool.conference.seat_keys import seat_keys
from mikeytool.exchange.session import Session
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData

_WAITING = 4
"""The maximum number of a member's unanswered updates; answers to older ones are late."""

_AT_ONCE = 500
"""How many members are read at a time; one takes some 10 kB."""

Keys = Mapping[bytes, KeyData]


def put_member(db: Db, member: Member) -> int:
    """Store a seat, a new one if its number is 0; returns its number."""
    row = (
        member.state.value,
        member.csb_id,
        member.generation,
        member.deadline_ns,
        None if member.session is None else _written(db, member, member.session),
    )
    if member.number:
        db.execute(
            "UPDATE members SET state = ?, csb_id = ?, generation = ?, deadline_ns = ?,"
            " session = ? WHERE number = ?",
            (*row, member.number),
        )
        return member.number
    cursor = db.execute(
        "INSERT INTO members (conference, identity, id_type, state, csb_id, generation,"
        " deadline_ns, session) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (member.conference, *identity_row(member.identity), *row),
    )
    return int(cursor.lastrowid or 0)


class _GroupKeys:
    """The group keys of a conference that have not been wiped."""

    def __init__(self, db: Db, number: int) -> None:
        every = [key for key in rows.group_keys(db, number) if key.tek]
        self._shared = {key.spi: key.key_data() for key in every}
        self._floor = [key for key in every if key.purpose == Purpose.FLOOR]

    def of(self, seat: int, who: Identity) -> Keys:
        """Return the keys of a seat, by SPI."""
        if not self._floor:
            return self._shared
        own = seat_keys(self._floor, seat, who)
        return {**self._shared, **{key.spi: key.key_data() for key in own}}


def _written(db: Db, member: Member, session: Session) -> str:
    known = _GroupKeys(db, member.conference).of(member.number, member.identity)
    good = {(spi, key.key, key.salt) for spi, key in known.items()}
    named = [
        key.spi.hex() for key in session.keys if key.spi and (key.spi, key.key, key.salt) in good
    ]
    # A conference replaces its keys by a schedule of its own.
    bare = replace(session, keys=(), keys_since={})
    return json.dumps({**session_json(bare), "keys": named})


def read_session(text: str, keys: Keys) -> Session:
    """Return a stored session with those of its group keys that are among `keys`, by SPI."""
    content = json.loads(text)
    named = [bytes.fromhex(spi) for spi in content.pop("keys")]
    session = session_of_json(content, [keys[spi] for spi in named if spi in keys])
    if all(spi in keys for one in session.crypto_sessions for spi in one.previous):
        return session
    return replace(
        session,
        crypto_sessions=tuple(
            replace(one, previous=tuple(spi for spi in one.previous if spi in keys))
            for one in session.crypto_sessions
        ),
    )


_COLUMNS = "number, conference, identity, id_type, state, csb_id, generation, deadline_ns"
_MEMBER = f"SELECT {_COLUMNS}, session FROM members"  # noqa: S608 - a constant
_PERSON = f"SELECT {_COLUMNS}, NULL FROM members"  # noqa: S608 - a constant


def _member(row: Any, keys: _GroupKeys | None = None) -> Member:
    number, room, identity, id_type, state, csb_id, generation, deadline_ns, text = row
    who = Identity(identity, id_type)
    with readable(f"the session of {who}"):
        session = None
        if text is not None and keys is not None:
            session = read_session(text, keys.of(number, who))
        where = MemberState(state)
    return Member(number, room, who, where, csb_id, generation, deadline_ns, session)


def member(db: Db, number: int) -> Member | None:
    """Return the seat with a number."""
    row = db.execute(f"{_MEMBER} WHERE number = ?", (number,)).fetchone()
    return None if row is None else _member(row, _GroupKeys(db, row[1]))


def seats_of(db: Db, number: int, identity: Identity) -> list[Member]:
    """Return the seats of a user in a conference, without their sessions."""
    found = db.execute(
        f"{_PERSON} WHERE conference = ? AND identity = ? ORDER BY number", (number, identity.data)
    )
    return [_member(row) for row in found.fetchall()]


def members(db: Db, number: int, *states: MemberState) -> Iterator[Member]:
    """Return the members of a conference in these states, in the order in which they came."""
    return _found(db, number, _in_states(_MEMBER, states), *(state.value for state in states))


def people(db: Db, number: int, *states: MemberState) -> Iterator[Member]:
    """Return the members of a conference in these states, without their sessions."""
    return _found(db, number, _in_states(_PERSON, states), *(state.value for state in states))


def _in_states(query: str, states: Sequence[MemberState]) -> str:
    marks = ", ".join("?" * len(states))
    return f"{query} WHERE conference = ? AND state IN ({marks})"


def _found(db: Db, number: int, query: str, *values: object) -> Iterator[Member]:
    """Yield members a few rows at a time. Rows that were yielded may be changed meanwhile."""
    keys, last = _GroupKeys(db, number), 0
    query += " AND number > ? ORDER BY number LIMIT ?"
    while found := db.execute(query, (number, *values, last, _AT_ONCE)).fetchall():
        for row in found:
            yield _member(row, keys)
        last = found[-1][0]


def members_of_csb(db: Db, csb_id: int) -> list[Member]:
    """Return the members whose session or call-out has this CSB ID, without their sessions."""
    return [_member(row) for row in db.execute(f"{_PERSON} WHERE csb_id = ?", (csb_id,))]


def late_members(db: Db, number: int, now_ns: int) -> list[Member]:
    """Return those who were called out and have not answered in time."""
    late = "WHERE conference = ? AND deadline_ns NOT NULL AND deadline_ns <= ?"
    return list(_found(db, number, f"{_PERSON} {late}", now_ns))


# Messages that wait for an answer


def put_call(db: Db, member: int, init: bytes, ticket: TicketFile) -> None:
    """Keep the TRANSFER_INIT of a call-out and its ticket until the answer comes."""
    db.execute(
        "INSERT OR REPLACE INTO calls VALUES (?, ?, ?)", (member, init, json.dumps(ticket.json()))
    )


def call_of(db: Db, member: int) -> tuple[bytes, TicketFile] | None:
    """Return the call-out that waits for a member's answer."""
    row = db.execute("SELECT init, ticket FROM calls WHERE member = ?", (member,)).fetchone()
    if row is None:
        return None
    with readable("the ticket of a call-out"):
        return row[0], TicketFile.of_json(json.loads(row[1]))


class Sent(NamedTuple):
    """An update of a member, and the largest T of their session after it."""

    member: int
    message: bytes
    last_t: int


def put_updates(db: Db, generation: int, made: Sequence[Sent]) -> None:
    """Keep updates until they are answered, along with a few earlier ones of each member.

    Sending changes nothing in a session but its largest T.
    """
    db.executemany(
        "UPDATE members SET session = json_set(session, '$.last_t', json(?)) WHERE number = ?",
        [(str(one.last_t), one.member) for one in made],
    )
    db.executemany(
        "INSERT INTO updates (member, generation, message) VALUES (?, ?, ?)",
        [(one.member, generation, one.message) for one in made],
    )
    db.executemany(
        "DELETE FROM updates WHERE member = ?1 AND number <= (SELECT number FROM updates"
        " WHERE member = ?1 ORDER BY number DESC LIMIT 1 OFFSET ?2)",
        [(one.member, _WAITING) for one in made],
    )


def put_farewell(db: Db, member: int, message: bytes) -> None:
    """Keep the update that ends a member's session. Nobody answers it."""
    db.execute(
        "INSERT INTO updates (member, generation, message) VALUES (?, 0, ?)", (member, message)
    )


def forget_updates(db: Db, number: int) -> None:
    """Delete the updates that members of a conference have not answered."""
    db.execute(
        "DELETE FROM updates WHERE member IN (SELECT number FROM members WHERE conference = ?)",
        (number,),
    )


def farewells(db: Db, number: int) -> range:
    """Return the numbers of the updates that told the members of the end of a conference."""
    first, last = db.execute(
        "SELECT min(number), max(number) FROM updates WHERE member IN"
        " (SELECT number FROM members WHERE conference = ?)",
        (number,),
    ).fetchone()
    return range(first or 0, (last or -1) + 1)


def last_update(db: Db) -> int:
    """Return the number of the newest update; those made from now on have larger ones."""
    return int(db.execute("SELECT ifnull(max(number), 0) FROM updates").fetchone()[0])


def updates_between(db: Db, first: int, end: int) -> list[Update]:
    """Return the unanswered updates with numbers from `first` to before `end`."""
    found = db.execute(
        "SELECT identity, id_type, message FROM updates JOIN members"
        " ON members.number = updates.member"
        " WHERE updates.number >= ? AND updates.number < ? ORDER BY updates.number",
        (first, end),
    )
    return [Update(Identity(who, id_type), message) for who, id_type, message in found]


def updates_of(db: Db, member: int) -> list[tuple[int, bytes]]:
    """Return generation and message of the updates that a member has not answered, newest first."""
    return db.execute(
        "SELECT generation, message FROM updates WHERE member = ? ORDER BY number DESC", (member,)
    ).fetchall()


def forget_waiting(db: Db, member: int) -> None:
    """Delete all messages that wait for a member's answer."""
    db.execute("DELETE FROM calls WHERE member = ?", (member,))
    db.execute("DELETE FROM updates WHERE member = ?", (member,))


def forget_answered(db: Db, member: int, generation: int) -> None:
    """Delete the updates to a member with the keys of a generation and of those before it."""
    db.execute("DELETE FROM updates WHERE member = ? AND generation <= ?", (member, generation))


def behind(db: Db, number: int) -> Iterator[Member]:
    """Return the members that have not answered an update."""
    waiting = "number IN (SELECT member FROM updates)"
    return _found(db, number, f"{_MEMBER} WHERE conference = ? AND {waiting}")


def count_behind(db: Db) -> int:
    """Count the members of all conferences that have not answered an update."""
    waiting = "SELECT count(DISTINCT member) FROM updates WHERE generation > 0"
    return int(db.execute(waiting).fetchone()[0])
