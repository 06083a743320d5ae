"""Queries about conferences: permissions, group keys, SSRCs.

Queries take the connection of the transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from mikeytool.client.ticket_files import TicketFile
from mikeytool.conference.database import Db, identity_row, readable
from mikeytool.conference.model import (
    Conference,
    GroupKey,
    MemberState,
    Purpose,
    Seat,
    Settings,
    Topology,
)
from mikeytool.srtp.suites import SUITES, Suite
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.identity import Identity

SHOWN = 2
"""The number of generations of expired group keys that are still shown."""
_ALLOWED, _DENIED, _UNSETTLED = range(3)
"""The values of the column `denied`. Members of a denied group are put out once the KMS has said
who they are; until then the denial is unsettled.
"""

# Conferences


def add_conference(db: Db, new: Conference) -> int:
    """Store a new conference and return its number.

    It replaces one at the same focus that has ended. Raises Refused when the focus has another.
    """
    before = conference_of(db, new.focus)
    if before is not None and before.ended_ns is None:
        raise Refused(f"{new.focus} is the focus of a conference already; choose another --focus")
    if before is not None:
        _forget(db, before.number)
    cursor = db.execute(
        "INSERT INTO conferences (focus, focus_type, creator, creator_type, purposes, may_add,"
        " topology) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *identity_row(new.focus),
            *identity_row(new.creator),
            _purposes_text(new.purposes, new.suites),
            json.dumps(new.may_add),
            new.topology.value,
        ),
    )
    return int(cursor.lastrowid or 0)


def _forget(db: Db, number: int) -> None:
    """Delete a conference that has ended."""
    db.execute(
        "DELETE FROM updates WHERE member IN (SELECT number FROM members WHERE conference = ?)",
        (number,),
    )
    for table in ("allowed", "members", "group_keys", "mixers"):
        db.execute(f"DELETE FROM {table} WHERE conference = ?", (number,))  # noqa: S608 - constants
    db.execute("DELETE FROM conferences WHERE number = ?", (number,))


def conference_of(db: Db, focus: Identity) -> Conference | None:
    """Return the conference of a focus URI."""
    found = db.execute("SELECT * FROM conferences WHERE focus = ?", (focus.data,)).fetchone()
    return None if found is None else _conference(found)


def conference(db: Db, number: int) -> Conference:
    """Return the conference with this number; raises StateError when it is gone."""
    found = db.execute("SELECT * FROM conferences WHERE number = ?", (number,)).fetchone()
    if found is None:
        raise StateError("the conference is gone: the conference system was made anew")
    return _conference(found)


def conferences(db: Db) -> list[Conference]:
    """Return all conferences, oldest first."""
    return [_conference(row) for row in db.execute("SELECT * FROM conferences ORDER BY number")]


@lru_cache(256)
def _conference(row: tuple[Any, ...]) -> Conference:
    """Return the conference in a row. A command reads the same row several times."""
    number, focus, focus_type, creator, creator_type, purposes, generation, *later = row
    may_add, ended_ns, topology = later
    at = Identity(focus, focus_type)
    with readable(f"the row of {at}"):
        named = [part.partition("=") for part in purposes.split(",")]
        in_order = tuple(Purpose(name) for name, _, _ in named)
        suites = {Purpose(name): SUITES[suite] for name, _, suite in named if suite}
        media, adding = Topology(topology), tuple(json.loads(may_add))
    by = Identity(creator, creator_type)
    return Conference(number, at, by, in_order, generation, suites, media, adding, ended_ns)


def _purposes_text(purposes: Sequence[Purpose], suites: Mapping[Purpose, Suite]) -> str:
    """Return the purposes in the order of the media lines, as in `audio=AEAD_AES_128_GCM,video`."""
    return ",".join(f"{one}={suites[one].name}" if one in suites else one.value for one in purposes)


def end(db: Db, number: int, now_ns: int) -> None:
    """End a conference: nobody is in any more, and no key of it is left."""
    db.execute("UPDATE conferences SET ended_ns = ? WHERE number = ?", (now_ns, number))
    db.execute(
        "UPDATE group_keys SET tek = x'', salt = x'', until_ns = min(ifnull(until_ns, ?1), ?1)"
        " WHERE conference = ?2",
        (now_ns, number),
    )
    db.execute(
        "DELETE FROM calls WHERE member IN (SELECT number FROM members WHERE conference = ?)",
        (number,),
    )
    for table in ("ssrcs", "endings", "tickets"):
        db.execute(f"DELETE FROM {table} WHERE conference = ?", (number,))  # noqa: S608 - constants
    db.execute(
        "UPDATE members SET state = 'left', session = NULL, deadline_ns = NULL"
        " WHERE conference = ?",
        (number,),
    )


def own_addresses(db: Db, settings: Settings) -> set[Identity]:
    """Return the addresses of the factory and of every focus."""
    return {settings.identity, *(one.focus for one in conferences(db))}


def remember_ticket(db: Db, number: int, digest: bytes, ticket: TicketFile) -> None:
    """Keep a resolved ticket until it or its conference ends: its modifier is reused (5.3)."""
    end = ticket.policy.valid_to
    until = None if end is None else end.unix_ns
    db.execute(
        "INSERT OR IGNORE INTO tickets VALUES (?, ?, ?, ?)",
        (digest, json.dumps(ticket.json()), until, number),
    )


def known_ticket(db: Db, digest: bytes) -> TicketFile | None:
    """Return a ticket that was resolved before."""
    row = db.execute("SELECT resolved FROM tickets WHERE ticket = ?", (digest,)).fetchone()
    if row is None:
        return None
    with readable("a resolved ticket"):
        return TicketFile.of_json(json.loads(row[0]))


# Who may take part


def allow(db: Db, number: int, identity: Identity) -> None:
    """Add someone to the allowed set."""
    _put_permission(db, number, identity, _ALLOWED)


def deny(db: Db, number: int, identity: Identity, *, settled: bool) -> None:
    """Remove someone from the allowed set.

    The denial is `settled` when the identity is one person, so that no other member is affected.
    """
    _put_permission(db, number, identity, _DENIED if settled else _UNSETTLED)


def _put_permission(db: Db, number: int, identity: Identity, denied: int) -> None:
    db.execute(
        "INSERT INTO allowed VALUES (?, ?, ?, ?) ON CONFLICT (conference, identity)"
        " DO UPDATE SET denied = excluded.denied",
        (number, *identity_row(identity), denied),
    )


def is_unsettled(db: Db, number: int) -> bool:
    """Return whether someone may still be in through a group that is denied."""
    row = db.execute(
        "SELECT 1 FROM allowed WHERE conference = ? AND denied = ?", (number, _UNSETTLED)
    ).fetchone()
    return row is not None


def settle(db: Db, number: int) -> None:
    """Record that nobody is in any more through a group that is denied."""
    db.execute(
        "UPDATE allowed SET denied = ? WHERE conference = ? AND denied = ?",
        (_DENIED, number, _UNSETTLED),
    )


def denied(db: Db, number: int) -> set[bytes]:
    """Return the octets of all identities that are denied by name."""
    found = db.execute("SELECT identity FROM allowed WHERE conference = ? AND denied", (number,))
    return {data for (data,) in found}


def permission(db: Db, number: int, identity: Identity) -> bool | None:
    """Return whether someone is allowed or denied by name; None when their name is not listed."""
    row = db.execute(
        "SELECT denied FROM allowed WHERE conference = ? AND identity = ?",
        (number, identity.data),
    ).fetchone()
    return None if row is None else not row[0]


def allowed_set(db: Db, number: int) -> list[Identity]:
    """Return everyone who may take part, with groups as they were named."""
    rows = db.execute(
        "SELECT identity, id_type FROM allowed WHERE conference = ? AND NOT denied"
        " ORDER BY identity",
        (number,),
    )
    return [Identity(data, id_type) for data, id_type in rows]


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
    """Set the end of the active keys."""
    db.execute(
        "UPDATE group_keys SET until_ns = ? WHERE conference = ? AND until_ns IS NULL",
        (until_ns, number),
    )


def hasten(db: Db, number: int, due_ns: int) -> None:
    """Have the active keys replaced at `due_ns`, if not before."""
    db.execute(
        "UPDATE group_keys SET due_ns = min(ifnull(due_ns, ?), ?)"
        " WHERE conference = ? AND until_ns IS NULL",
        (due_ns, due_ns, number),
    )


def wipe_expired(db: Db, now_ns: int) -> bool:
    """Delete expired tickets and the octets of expired group keys, in all conferences.

    Also deletes the updates that carry these keys, and frees the SSRCs that were taken only
    because of them. Returns whether there were such keys.
    """
    db.execute("DELETE FROM tickets WHERE until_ns < ?", (now_ns,))
    db.execute("DELETE FROM endings WHERE until_ns < ?", (now_ns,))
    expired = db.execute(
        "SELECT conference, max(generation) FROM group_keys WHERE until_ns <= ? AND tek != x''"
        " GROUP BY conference",
        (now_ns,),
    ).fetchall()
    for number, generation in expired:
        _wipe(db, number, generation, now_ns)
    return bool(expired)


def _wipe(db: Db, number: int, generation: int, now_ns: int) -> None:
    """Wipe the expired keys of a conference; `generation` is that of the newest keys."""
    db.execute(
        "UPDATE group_keys SET tek = x'', salt = x'' WHERE conference = ? AND until_ns <= ?",
        (number, now_ns),
    )
    db.execute(
        "DELETE FROM updates WHERE generation <= ? AND member IN"
        " (SELECT number FROM members WHERE conference = ?)",
        (generation, number),
    )
    db.execute("DELETE FROM ssrcs WHERE conference = ? AND generation <= ?", (number, generation))
    db.execute(
        "DELETE FROM group_keys WHERE conference = ?1 AND until_ns <= ?2 AND generation < min("
        "(SELECT generation FROM conferences WHERE number = ?1) - ?3, (SELECT ifnull("
        "min(generation), ?2) FROM members WHERE conference = ?1 AND state = 'joined'))",
        (number, now_ns, SHOWN),
    )


def group_keys(db: Db, number: int, generation: int | None = None) -> list[GroupKey]:
    """Return the group keys of a conference, newest first, or those of one generation."""
    rows = db.execute(
        "SELECT purpose, generation, spi, tek, salt, due_ns, until_ns FROM group_keys"
        " WHERE conference = ? AND generation = ifnull(?, generation)"
        " ORDER BY generation DESC, rowid",
        (number, generation),
    )
    with readable("a group key"):
        return [GroupKey(Purpose(row[0]), *row[1:]) for row in rows]


# SSRCs


def claim_ssrc(
    db: Db,
    number: int,
    ssrc: int,
    member: int | None,
    purpose: Purpose,
    receiver: int | None = None,
) -> bool:
    """Store an SSRC of a member, or of the system itself; returns False when it is taken.

    `receiver` is the seat to which a mixer sends with it.
    """
    cursor = db.execute(
        "INSERT OR IGNORE INTO ssrcs (conference, ssrc, member, purpose, receiver)"
        " VALUES (?, ?, ?, ?, ?)",
        (number, ssrc, member, purpose.value, receiver),
    )
    return cursor.rowcount == 1


def release_ssrcs(db: Db, member: int, generation: int) -> None:
    """Mark a member's SSRCs, and those of the mixer for them, as no longer in use.

    They are freed once the group keys of `generation` have expired.
    """
    db.execute(
        "UPDATE ssrcs SET generation = ? WHERE (member = ? OR receiver = ?) AND generation IS NULL",
        (generation, member, member),
    )


def release_some(db: Db, number: int, ssrcs: Iterable[int], generation: int) -> None:
    """Mark SSRCs of a conference as no longer in use; see `release_ssrcs`."""
    db.executemany(
        "UPDATE ssrcs SET generation = ? WHERE conference = ? AND ssrc = ?",
        [(generation, number, ssrc) for ssrc in ssrcs],
    )


def ssrcs_of(db: Db, member: int) -> list[int]:
    """Return the SSRCs that a member has now."""
    rows = db.execute(
        "SELECT ssrc FROM ssrcs WHERE member = ? AND generation IS NULL ORDER BY ssrc", (member,)
    )
    return [ssrc for (ssrc,) in rows]


def had_ssrcs(db: Db, member: int) -> set[int]:
    """Return the SSRCs that a seat has, or had under keys that are still valid."""
    return {ssrc for (ssrc,) in db.execute("SELECT ssrc FROM ssrcs WHERE member = ?", (member,))}


_SEATS = (
    "SELECT ssrc, purpose, identity, id_type, csb_id, state, deadline_ns, ssrcs.generation,"
    " (SELECT count(*) FROM members AS own WHERE own.conference = members.conference"
    " AND own.identity = members.identity AND own.state != 'left'),"
    " member IS NULL AND EXISTS (SELECT 1 FROM mixers"
    " WHERE mixers.conference = ssrcs.conference AND mixers.purpose = ssrcs.purpose)"
    " FROM ssrcs LEFT JOIN members ON members.number = ssrcs.member WHERE ssrcs.conference = ?"
)


def seats(db: Db, number: int) -> list[Seat]:
    """Return who has, or had, each SSRC of a conference while its keys are in use."""
    return [_seat(row) for row in db.execute(_SEATS, (number,))]


def seat(db: Db, number: int, ssrc: int) -> Seat | None:
    """Return who has, or had, an SSRC; None when nobody was given it."""
    row = db.execute(f"{_SEATS} AND ssrc = ?", (number, ssrc)).fetchone()
    return None if row is None else _seat(row)


def _seat(row: Any) -> Seat:
    ssrc, purpose, identity, id_type, csb_id, state, deadline_ns, released, seats, is_mixer = row
    who = None if identity is None else str(Identity(identity, id_type))
    if seats > 1 and released is None:
        who = f"{who} (seat {csb_id:#010x})"
    with readable("the list of SSRCs"):
        place = None if state is None else MemberState(state)
        return Seat(
            ssrc, Purpose(purpose), who, place, deadline_ns, released is not None, bool(is_mixer)
        )


def system_ssrc(db: Db, number: int, purpose: Purpose) -> int | None:
    """Return the SSRC that stands for everyone else's streams of a purpose."""
    row = db.execute(
        "SELECT ssrc FROM ssrcs WHERE conference = ? AND member IS NULL AND purpose = ?"
        " AND receiver IS NULL",
        (number, purpose.value),
    ).fetchone()
    return None if row is None else row[0]
