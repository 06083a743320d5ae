"""All floor keys of a conference, for its floor control server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mikeytool.conference import member_rows, rows
from mikeytool.conference.database import ConferenceState, Db
from mikeytool.conference.membership import check_open, the_conference
from mikeytool.conference.model import Conference, MemberState, Purpose
from mikeytool.conference.seat_keys import seat_keys
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.masked_repr import masked_repr


@masked_repr
@dataclass(frozen=True, slots=True)
class FloorKey:
    """A TLS pre-shared key of a seat; `state` is `active` or `overlap`."""

    focus: Identity
    identity: Identity
    csb_id: int
    spi: bytes
    key: bytes = field(repr=False)
    state: str

    @property
    def psk_identity(self) -> str:
        """The PSK identity that the member gives to the server."""
        return self.spi.hex()


def floor_keys(state: ConferenceState, now_ns: int, focus: Identity | None) -> list[FloorKey]:
    """Return the floor keys of those who are in, of one conference or of all.

    Keys that have been replaced are there for as long as their overlap lasts, for the sessions that
    had them: a device that was put out is not let in by the key of the next in its seat. Raises
    UsageError if there is no such conference, or none with floor control, and Refused if all of
    those have ended.
    """
    with state.snapshot() as db:
        chosen = rows.conferences(db) if focus is None else [the_conference(db, focus)]
        with_floor = [one for one in chosen if Purpose.FLOOR in one.purposes]
        if not with_floor:
            raise UsageError("there is no floor control; conference create --purpose floor has it")
        running = [one for one in with_floor if one.ended_ns is None]
        if not running:
            check_open(with_floor[-1])
        return [key for one in running for key in _keys(db, one, now_ns)]


def _keys(db: Db, conference: Conference, now_ns: int) -> Iterator[FloorKey]:
    live = [
        key
        for key in rows.group_keys(db, conference.number)
        if key.purpose == Purpose.FLOOR and key.tek and key.state(now_ns) != "expired"
    ]
    is_replaced = any(key.until_ns is not None for key in live)
    find = member_rows.members if is_replaced else member_rows.people
    for member in find(db, conference.number, MemberState.JOINED):
        had = {key.spi for key in member.session.keys} if member.session else set()
        for key in seat_keys(live, member.number, member.identity):
            if key.until_ns is None or key.spi in had:
                yield FloorKey(
                    conference.focus, member.identity, member.csb_id, key.spi, key.tek,
                    key.state(now_ns),
                )  # fmt: skip


def psk_file(keys: Sequence[FloorKey]) -> bytes:
    """Return the keys as a file of pre-shared keys: `IDENTITY:KEY` in hex, one a line.

    That is how GnuTLS, stunnel and others take them. `openssl s_server` takes the two parts of a
    line as `-psk_identity` and `-psk`.
    """
    return "".join(f"{one.psk_identity}:{one.key.hex()}\n" for one in keys).encode()
