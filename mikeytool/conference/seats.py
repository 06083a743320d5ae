"""The seats of a user, one for each device (TR 33.828 5.3.2).

A user who calls in from another device gets another seat. A device that comes back, for example
after a restart, is known by the SSRC that it proposes, and its new session replaces the old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mikeytool.conference import ending_rows, member_rows, rows
from mikeytool.conference.database import Db
from mikeytool.conference.group_keys import put_out
from mikeytool.conference.model import MAX_SEATS, Conference, Member, MemberState
from mikeytool.exchange.transfer import TransferInit
from mikeytool.wire.errors import Refused
from mikeytool.wire.header import srtp_session_data
from mikeytool.wire.identity import Identity

IN = (MemberState.INVITED, MemberState.JOINED)


def seat_for(
    db: Db, conference: Conference, caller: Identity, init: TransferInit, now_ns: int
) -> Member:
    """Return the seat of a caller, joined but without a session.

    It is the seat that has one of the SSRCs that the caller proposes, or the same CSB ID;
    otherwise a new one. Raises Refused for more seats than a user can have.
    """
    theirs = member_rows.seats_of(db, conference.number, caller)
    back = _coming_back(db, theirs, init)
    inside = [one for one in theirs if one.state in IN]
    if not back and len(inside) >= MAX_SEATS:
        raise Refused(
            f"{caller} has {len(inside)} seats in {conference.focus}, more than that there cannot"
            " be; conference remove --seat takes one of them out"
        )
    # Their earlier SSRCs may have sent packets under the same key.
    for one in back:
        put_out(db, one, conference.generation, ending_rows.REPLACED, now_ns)
    left = [one for one in theirs if one.state == MemberState.LEFT]
    number = next((one.number for one in (*back, *left)), 0)
    seat = Member(
        number,
        conference.number,
        caller,
        MemberState.JOINED,
        init.incoming.csb_id,
        conference.generation,
    )
    return replace(seat, number=member_rows.put_member(db, seat))


def _coming_back(db: Db, theirs: Sequence[Member], init: TransferInit) -> list[Member]:
    """Return the seats, of those that the caller has, to which a TRANSFER_INIT belongs."""
    data = [srtp_session_data(entry) for entry in init.entries]
    wanted = {one[0] for one in data if one is not None}
    return [
        one
        for one in theirs
        if one.state != MemberState.INVITED
        and (one.csb_id == init.incoming.csb_id or wanted & rows.had_ssrcs(db, one.number))
    ]
