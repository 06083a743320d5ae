"""Queries about mixers: which session is one, and the streams that it sends.

Queries take the connection of the transaction.
"""

from __future__ import annotations

from collections.abc import Mapping

from mikeytool.conference import rows
from mikeytool.conference.database import Db
from mikeytool.conference.model import Conference, MemberState, MixerStream, Purpose, Topology
from mikeytool.srtp.index import Highest
from mikeytool.wire.identity import Identity


def mixer(db: Db, number: int, purpose: Purpose) -> int | None:
    """Return the CSB ID of the session that is the mixer of a purpose."""
    row = db.execute(
        "SELECT csb_id FROM mixers WHERE conference = ? AND purpose = ?", (number, purpose.value)
    ).fetchone()
    return None if row is None else int(row[0])


def put_mixer(db: Db, number: int, purpose: Purpose, csb_id: int) -> None:
    """Make the session with a CSB ID the mixer of a purpose."""
    db.execute("INSERT OR REPLACE INTO mixers VALUES (?, ?, ?)", (number, purpose.value, csb_id))


def conference_of(db: Db, csb_id: int) -> tuple[Conference, Purpose] | None:
    """Return the conference and the purpose whose mixer is the session with a CSB ID."""
    row = db.execute(
        "SELECT conference, purpose FROM mixers WHERE csb_id = ?", (csb_id,)
    ).fetchone()
    return None if row is None else (rows.conference(db, row[0]), Purpose(row[1]))


def streams(db: Db, conference: Conference, purpose: Purpose) -> list[MixerStream]:
    """Return the streams that the mixer of a purpose sends now."""
    number = conference.number
    for_one = conference.topology == Topology.MIX_MINUS
    found = db.execute(
        "SELECT ssrc, highest, highest_rtcp, receiver, identity, id_type FROM ssrcs"
        " LEFT JOIN members ON members.number = receiver"
        " WHERE ssrcs.conference = ? AND purpose = ? AND member IS NULL"
        " AND ssrcs.generation IS NULL AND (receiver IS NOT NULL) = ?"
        " AND (receiver IS NULL OR state = ?) ORDER BY receiver, ssrc",
        (number, purpose.value, for_one, MemberState.JOINED.value),
    ).fetchall()
    return [
        MixerStream(
            ssrc,
            None if receiver is None else Identity(identity, id_type),
            frozenset() if receiver is None else frozenset(rows.ssrcs_of(db, receiver)),
            highest,
            highest_rtcp,
        )
        for ssrc, highest, highest_rtcp, receiver, identity, id_type in found
    ]


_HEARD = (
    " FROM ssrcs JOIN members ON members.number = member WHERE ssrcs.conference = ?"
    " AND purpose = ? AND ssrcs.generation IS NULL AND state = 'joined'"
)


def heard(db: Db, number: int, purpose: Purpose, most: int) -> list[int]:
    """Return the SSRCs with which members send now, at most so many."""
    found = db.execute(
        f"SELECT ssrc{_HEARD} ORDER BY ssrc LIMIT ?",
        (number, purpose.value, most),
    )
    return [ssrc for (ssrc,) in found]


def count_heard(db: Db, number: int, purpose: Purpose) -> int:
    """Count the SSRCs with which members send now."""
    query = f"SELECT count(*){_HEARD}"
    return int(db.execute(query, (number, purpose.value)).fetchone()[0])


def put_indices(db: Db, number: int, highest: Mapping[int, Highest]) -> None:
    """Store up to which packet indices each stream of a mixer may have been used."""
    db.executemany(
        "UPDATE ssrcs SET highest = ?, highest_rtcp = ? WHERE conference = ? AND ssrc = ?",
        [(*indices, number, ssrc) for ssrc, indices in highest.items()],
    )


def stream_to(db: Db, number: int, purpose: Purpose, member: int | None) -> tuple[int, int] | None:
    """Return the SSRC of the stream of a purpose to a seat, or to everybody, and its index."""
    row = db.execute(
        "SELECT ssrc, highest FROM ssrcs WHERE conference = ? AND purpose = ? AND member IS NULL"
        " AND receiver IS ? AND generation IS NULL",
        (number, purpose.value, member),
    ).fetchone()
    return None if row is None else (row[0], row[1])
