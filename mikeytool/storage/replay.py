"""The replay cache (RFC 3830 5.4, RFC 6043 12.4, interpretations 22, 30 and 31).

It is a few tables in the database of its user, so that an entry is on disk together with
whatever its message led to. It stays small: a message is kept for as long as its timestamp
would be accepted, a ticket for single use until it expires, and both then until `forget` is
called. A message that was forgotten is not accepted again if the clock jumps back, because
the latest time that was forgotten, the horizon, is kept.

Several processes may use one database at once, each seeing what the others have committed: the
unique index decides which was first, and the horizon is read after it, so that no entry can be
forgotten unseen between the two.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from mikeytool.storage.sql import Db
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import DataType, ErrorNo, TicketFlag

if TYPE_CHECKING:
    from mikeytool.wire.identity import Identity
    from mikeytool.wire.payloads import TICKET
    from mikeytool.wire.timestamp import Timestamp

_SECOND = 1_000_000_000
"""In nanoseconds, which the tables have all times in."""

SCHEMA = (
    """CREATE TABLE replay (
    sender BLOB NOT NULL, mac BLOB NOT NULL, t_ns INTEGER NOT NULL,
    PRIMARY KEY (sender, mac)) WITHOUT ROWID""",
    "CREATE INDEX replay_t ON replay (t_ns)",
    """CREATE TABLE replay_horizon (
    forgotten_ns INTEGER NOT NULL, tickets_ns INTEGER NOT NULL DEFAULT 0)""",
    "INSERT INTO replay_horizon VALUES (0, 0)",
    """CREATE TABLE single_use (
    ticket BLOB PRIMARY KEY, transfer BLOB NOT NULL,
    until_ns INTEGER NOT NULL DEFAULT 9223372036854775807) WITHOUT ROWID""",
    "CREATE INDEX single_use_until ON single_use (until_ns)",
    "CREATE TABLE counters (scope BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID",
)

_SKEW_1 = 300 * _SECOND
"""The clock skew that version 1 allowed."""

FROM_VERSION_1 = (
    # Entries had the time until which they count, not that of the message.
    "ALTER TABLE replay RENAME COLUMN until_ns TO t_ns",
    f"UPDATE replay SET t_ns = t_ns - {_SKEW_1}",  # noqa: S608 - a constant
    f"UPDATE replay_horizon SET forgotten_ns = forgotten_ns - {_SKEW_1}",  # noqa: S608
    "DROP INDEX replay_until",
    "CREATE INDEX replay_t ON replay (t_ns)",
    "ALTER TABLE replay_horizon ADD COLUMN tickets_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE single_use ADD COLUMN until_ns INTEGER NOT NULL DEFAULT 9223372036854775807",
    "CREATE INDEX single_use_until ON single_use (until_ns)",
)
"""The statements that turn the tables of version 1 into those of `SCHEMA`."""

_PATIENCE = 60 * _SECOND
"""How long entries may stay that can be forgotten: forgetting needs a write."""

_AT_ONCE = 10_000
"""How many entries are forgotten at a time, so that no message waits long."""

NO_END = (1 << 63) - 1
"""The end of a ticket without TRe: the latest time that the database can hold."""


class Window(Protocol):
    """The clock, and how far those of senders may be from it; an `Environment` is one."""

    @property
    def clock(self) -> Callable[[], int]:
        """Gives the present time in Unix nanoseconds."""

    @property
    def skew(self) -> int:
        """How many seconds a timestamp may be off."""


class Initial(Protocol):
    """An initial message, verified, with a fresh timestamp; an `Incoming` is one."""

    @property
    def data_type(self) -> DataType:
        """Its data type, for errors."""

    @property
    def t(self) -> Timestamp:
        """Its timestamp."""

    @property
    def proof(self) -> bytes:
        """What only the sender can make, and makes once: the MAC, or a digest of SIGN."""


class Terms(Protocol):
    """What a ticket says of its use; a `TicketPolicy` is one."""

    @property
    def flags(self) -> TicketFlag:
        """Its flags, of which J allows any number of uses."""

    @property
    def valid_to(self) -> Timestamp | None:
        """Its end, TRe, if it has one."""


def remember(db: Db, window: Window, message: Initial, sender: Identity, key: bytes) -> None:
    """Refuse an initial message seen before, else record it; within a transaction.

    The message has been verified with `key`, and its timestamp is fresh. Raises Refused (Auth
    failure) for a replay, (Invalid TS) for a COUNTER that is not above the last one of this
    sender and key, and for a timestamp from the time whose entries have been forgotten: old
    messages are not accepted again if the clock jumps back or more skew is allowed.
    """
    if message.t.counter is not None:
        _count(db, sender, key, message.t.counter)
        return
    sent = message.t.unix_ns or 0
    oldest = window.clock() - window.skew * _SECOND
    row = (sender.data, message.proof, sent)
    added = db.execute("INSERT INTO replay VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
    if not added.rowcount:
        raise _replayed(message)
    # Time has passed since the message was found fresh, and its entry may have been forgotten:
    # a message too old to be remembered must not be accepted.
    horizon = db.execute("SELECT forgotten_ns FROM replay_horizon").fetchone()[0]
    _check_remembered(sent, oldest, horizon)


def check_new(db: Db, window: Window, message: Initial, sender: Identity, key: bytes) -> None:
    """Raise Refused as `remember` does, without writing anything.

    It saves a write for captured messages; `remember` decides, as two may come at once.
    """
    if message.t.counter is not None:
        query = "SELECT 1 FROM counters WHERE scope = ? AND last >= ?"
        if db.execute(query, (_scope(sender, key), message.t.counter)).fetchone() is not None:
            raise _not_above(sender, message.t.counter)
        return
    query = (
        "SELECT forgotten_ns, EXISTS (SELECT 1 FROM replay WHERE sender = ? AND mac = ?)"
        " FROM replay_horizon"
    )
    horizon, seen = db.execute(query, (sender.data, message.proof)).fetchone()
    oldest = window.clock() - window.skew * _SECOND
    _check_remembered(message.t.unix_ns or 0, oldest, horizon)
    if seen:
        raise _replayed(message)


def _check_remembered(sent_ns: int, oldest_ns: int, horizon: int) -> None:
    if sent_ns < oldest_ns or sent_ns <= horizon:
        raise Refused(
            "its timestamp is older than what is remembered of past messages; check the clock",
            ErrorNo.INVALID_TS,
        )


def refuse_seen(db: Db, message: Initial, sender: Identity) -> None:
    """Raise Refused (Auth failure) for a message seen before, without writing anything."""
    found = db.execute(
        "SELECT 1 FROM replay WHERE sender = ? AND mac = ?", (sender.data, message.proof)
    )
    if found.fetchone() is not None:
        raise _replayed(message)


def _replayed(message: Initial) -> Refused:
    return Refused(
        f"this {message.data_type.label} was seen before (replay); send a new one",
        ErrorNo.AUTH_FAILURE,
    )


def _count(db: Db, sender: Identity, key: bytes, counter: int) -> None:
    updated = db.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (scope)"
        " DO UPDATE SET last = excluded.last WHERE excluded.last > counters.last",
        (_scope(sender, key), counter),
    )
    if not updated.rowcount:
        raise _not_above(sender, counter)


def _scope(sender: Identity, key: bytes) -> bytes:
    return hashlib.sha256(b"mikeytool counter" + key + sender.data).digest()


def _not_above(sender: Identity, counter: int) -> Refused:
    return Refused(
        f"its COUNTER {counter} is not above the last one of {sender}", ErrorNo.INVALID_TS
    )


def forget(db: Db, window: Window) -> bool:
    """Forget messages too old to be accepted and tickets that have expired.

    Moves the horizon accordingly; within a transaction. Returns False if more is left.
    """
    now = window.clock()
    messages = _forget(db, "replay", "t_ns", "forgotten_ns", now - window.skew * _SECOND)
    tickets = _forget(db, "single_use", "until_ns", "tickets_ns", now)
    return max(messages, tickets) < _AT_ONCE


def overdue(db: Db, window: Window) -> bool:
    """Whether there is something that could have been forgotten a minute ago."""
    now = window.clock() - _PATIENCE
    query = (
        "SELECT EXISTS (SELECT 1 FROM replay WHERE t_ns < ?)"
        " OR EXISTS (SELECT 1 FROM single_use WHERE until_ns < ?)"
    )
    return bool(db.execute(query, (now - window.skew * _SECOND, now)).fetchone()[0])


def _forget(db: Db, table: str, column: str, horizon: str, before_ns: int) -> int:
    """Forget the oldest entries from before a time; returns how many."""
    oldest = f"SELECT {column} FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT ?"  # noqa: S608
    query = f"SELECT max({column}) FROM ({oldest}) AS old"  # noqa: S608 - names from here
    gone = db.execute(query, (before_ns, _AT_ONCE)).fetchone()[0]
    if gone is None:
        return 0
    # The horizon comes first: another process that forgets at the same time waits here.
    raised = f"UPDATE replay_horizon SET {horizon} = ? WHERE {horizon} < ?"  # noqa: S608
    db.execute(raised, (gone, gone))
    return db.execute(f"DELETE FROM {table} WHERE {column} <= ?", (gone,)).rowcount  # noqa: S608


def use_once(
    db: Db, window: Window, ticket: TICKET, terms: Terms, by: bytes, transfer: bytes
) -> None:
    """Refuse a ticket without the J flag that was used for another transfer (RFC 6043 5.3).

    `by` is its user, empty where that makes no difference; `transfer` distinguishes one
    TRANSFER_INIT from another. Within a transaction; the ticket, which is valid now, is
    remembered until it expires. Raises Refused (Invalid ticket).
    """
    if TicketFlag.J in terms.flags:
        return
    until = NO_END
    if terms.valid_to is not None and terms.valid_to.unix_ns is not None:
        until = terms.valid_to.unix_ns
    digest = hashlib.sha256(ticket.ticket_data + b"\0" + by).digest()
    added = db.execute(
        "INSERT INTO single_use VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (digest, transfer, until)
    )
    horizon = db.execute("SELECT tickets_ns FROM replay_horizon").fetchone()[0]
    if until < window.clock() or until <= horizon:
        raise Refused("this ticket has no J flag, and has expired before", ErrorNo.INVALID_TICKET)
    if not added.rowcount:
        query = "SELECT transfer FROM single_use WHERE ticket = ?"
        first = db.execute(query, (digest,)).fetchone()
        if first is None or first[0] != transfer:
            raise Refused("this ticket was used before and has no J flag", ErrorNo.INVALID_TICKET)
