"""What a join and a rekey cost, by the number of members.

A join should cost the same at any size, a rekey should grow in a straight line. The members are
copies of one who joined through the whole exchange.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

from mikeytool.conference import membership
from mikeytool.wire.identity import Identity
from tests.conference.room import Room
from tests.world import BOB, psk_of

SIZES = (10, 100, 1_000, 10_000)
JOINS = 20


def guest(at: int) -> Identity:
    return Identity.from_text(f"sip:guest-{at}@example.com")


def filled(room: Room, size: int) -> None:
    """Copy the one member until there are `size`, each with a CSB ID and an SSRC of their own."""
    copy = (
        "INSERT INTO members (conference, identity, id_type, state, csb_id, generation, session)"
        " SELECT conference, ?1, id_type, state, ?2, generation,"
        " replace(session, '\"csb_id\": ' || csb_id, '\"csb_id\": ' || ?2) FROM members"
        " WHERE number = 1"
    )
    seat = (
        "INSERT OR IGNORE INTO ssrcs (conference, ssrc, member, purpose) VALUES (1, ?, ?, 'audio')"
    )
    with room.state.transaction() as db:
        for at in range(1, size):
            db.execute(copy, (f"sip:copy-{at}@example.com".encode(), at))
            db.execute(seat, (at, at + 1))


def measured(folder: Path, size: int) -> tuple[float, float]:
    """Seconds of a join, and of a rekey, with `size` members."""
    room = Room(folder)
    guests = [guest(at) for at in range(JOINS)]
    for who in guests:
        room.store.add_user(who, psk_of(who))
    room.create(BOB, *guests)
    room.person(BOB).call_in()
    filled(room, size)
    joins = []
    for who in guests:
        person = room.person(who)
        person.ticket(room.conference().focus)
        call = person.call()
        start = time.perf_counter()
        room.call_in(call)
        joins.append(time.perf_counter() - start)
    start = time.perf_counter()
    updates = membership.change_keys(room.system, None)
    rekey = time.perf_counter() - start
    assert len(updates) == size + JOINS
    room.state.close()
    return statistics.median(joins), rekey


def main() -> None:
    """Print the costs by size."""
    print("conference: members, a join, a rekey, a rekey for each member")
    for size in SIZES:
        with tempfile.TemporaryDirectory() as folder:
            join, rekey = measured(Path(folder), size)
        each = rekey / (size + JOINS)
        print(f"  {size:6} {1000 * join:8.1f} ms {1000 * rekey:10.1f} ms {1000 * each:8.2f} ms")


if __name__ == "__main__":
    main()
