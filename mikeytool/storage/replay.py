"""The replay cache (RFC 3830 5.4, RFC 6043 12.4, interpretations 22, 30 and 31).

The cache is a few tables in the caller's own database, so that an entry is written to disk
together with the other effects of its message. The cache stays small. A message is kept as long
as its timestamp would be accepted, and a single-use ticket until it expires. The next call of
`forget` then removes them. The cache also keeps the latest time that was forgotten, the horizon.
A forgotten message is therefore not accepted again if the clock jumps back.

Several processes may use one database at once, and each sees what the others have committed. The
unique index decides which process was first. The horizon is read after the insert, so that an
entry forgotten before the insert is always noticed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mikeytool.storage.sql import Backend, Db, Rows, Statement
from mikeytool.wire.errors import Refused, StateError
from mikeytool.wire.registry import DataType, ErrorNo, TicketFlag

if TYPE_CHECKING:
    from mikeytool.wire.identity import Identity
    from mikeytool.wire.payloads import TICKET
    from mikeytool.wire.timestamp import Timestamp

_SECOND = 1_000_000_000
"""In nanoseconds, the unit of all times in the tables."""

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

_ADD = "INSERT INTO replay VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1"
_ADD_ALL = "INSERT INTO replay {rows} ON CONFLICT DO NOTHING RETURNING sender, mac"
_USE = "INSERT INTO single_use VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING 1"
_USE_ALL = "INSERT INTO single_use {rows} ON CONFLICT DO NOTHING"
_USED = (
    "WITH given (ticket) AS ({rows}) SELECT ticket,"
    " (SELECT transfer FROM single_use WHERE single_use.ticket = given.ticket) FROM given"
)
_COUNT = (
    "INSERT INTO counters VALUES (?, ?) ON CONFLICT (scope)"
    " DO UPDATE SET last = excluded.last WHERE excluded.last > counters.last RETURNING 1"
)

_SKEW_1 = 300 * _SECOND
"""The clock skew that version 1 allowed."""

FROM_VERSION_1 = (
    # Entries used to have their expiry time, not the time of the message.
    "ALTER TABLE replay RENAME COLUMN until_ns TO t_ns",
    f"UPDATE replay SET t_ns = t_ns - {_SKEW_1}",  # noqa: S608 - a constant
    f"UPDATE replay_horizon SET forgotten_ns = forgotten_ns - {_SKEW_1}",  # noqa: S608
    "DROP INDEX replay_until",
    "CREATE INDEX replay_t ON replay (t_ns)",
    "ALTER TABLE replay_horizon ADD COLUMN tickets_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE single_use ADD COLUMN until_ns INTEGER NOT NULL DEFAULT 9223372036854775807",
    "CREATE INDEX single_use_until ON single_use (until_ns)",
)
"""The statements that upgrade the tables from version 1 to `SCHEMA`."""

_PATIENCE = 60 * _SECOND
"""How long expired entries may stay. Forgetting is delayed because it needs a write."""

_AT_ONCE = 1000
"""How many entries are forgotten at a time. The limit keeps messages from waiting long."""

NO_END = (1 << 63) - 1
"""The end of a ticket without TRe: the latest time that the database can hold."""


class Window(Protocol):
    """The clock, and how far senders' clocks may differ from it. `Environment` implements this."""

    @property
    def clock(self) -> Callable[[], int]:
        """Returns the current time in Unix nanoseconds."""

    @property
    def skew(self) -> int:
        """How many seconds a timestamp may be off."""


class Initial(Protocol):
    """A verified initial message with a fresh timestamp. `Incoming` implements this."""

    @property
    def data_type(self) -> DataType:
        """Its data type, for error messages."""

    @property
    def t(self) -> Timestamp:
        """Its timestamp."""

    @property
    def proof(self) -> bytes:
        """The MAC, or a digest of SIGN. Only the sender can make it, and makes it only once."""


class Terms(Protocol):
    """What a ticket says about its use. `TicketPolicy` implements this."""

    @property
    def flags(self) -> TicketFlag:
        """Its flags. The J flag allows any number of uses."""

    @property
    def valid_to(self) -> Timestamp | None:
        """The end of its validity (TRe), if it has one."""


class Recording:
    """An initial message that is being recorded, with the statements for it.

    First comes `adding`, which returns no row for a message that is not new. Then comes
    `looking`, in a statement of its own, because it must see what others wrote before `adding`
    was done. `check` takes the results.
    """

    looking = "SELECT forgotten_ns FROM replay_horizon"

    def __init__(self, window: Window, message: Initial, sender: Identity, key: bytes) -> None:
        self._message, self._sender = message, sender
        self._counter = message.t.counter
        if self._counter is not None:
            self.adding: Statement = _COUNT, (_scope(sender, key), self._counter)
            return
        self._oldest = window.clock() - window.skew * _SECOND
        self.adding = _ADD, (sender.data, message.proof, message.t.unix_ns or 0)

    def check(self, horizon: Rows, *, is_new: bool) -> None:
        """Raise the same errors as `remember`."""
        if self._counter is None:
            # Time has passed since the check for freshness, and an earlier entry for this message
            # may have been forgotten. Refuse a message that is too old to be remembered.
            sent_ns = self._message.t.unix_ns or 0
            _check_remembered(sent_ns, self._oldest, _horizon(horizon.fetchone()))
        elif not is_new:
            raise _not_above(self._sender, self._counter)
        if not is_new:
            raise _replayed(self._message)


def remember(db: Db, window: Window, message: Initial, sender: Identity, key: bytes) -> None:
    """Refuse an initial message that was seen before; otherwise record it.

    Call this within a transaction. The message must already be verified with `key`, and its
    timestamp must be fresh. Raises Refused (Auth failure) for a replay. Raises Refused (Invalid
    TS) if a COUNTER is not above the last one of this sender and key. Raises Refused (Invalid TS)
    also if the timestamp is from a time whose entries have been forgotten, so that old messages
    are not accepted again if the clock jumps back or the allowed skew grows.
    """
    recording = Recording(window, message, sender, key)
    is_new = db.execute(*recording.adding).fetchone() is not None
    recording.check(db.execute(recording.looking), is_new=is_new)


def remember_all(
    db: Db, backend: Backend, window: Window, messages: Sequence[tuple[Initial, Identity]]
) -> Callable[[], list[bool]]:
    """Record messages of senders, none of which has a COUNTER.

    Returns a function that returns for each message whether `remember` would have accepted it. If
    one is not accepted, the caller has to roll the transaction back. The entries are inserted in
    their order in the index, so that transactions with the same messages cannot block each other.
    """
    oldest = window.clock() - window.skew * _SECOND
    keys = [(sender.data, message.proof) for message, sender in messages]
    times = [message.t.unix_ns or 0 for message, _ in messages]
    rows = sorted((*key, t_ns) for key, t_ns in dict(zip(keys, times, strict=True)).items())
    adding = db.execute(*backend.with_rows(_ADD_ALL, rows))
    looking = db.execute(Recording.looking)

    def accepted() -> list[bool]:
        new = {(sender, mac) for sender, mac in adding.fetchall()}
        horizon = _horizon(looking.fetchone())
        found = []
        for key, t_ns in zip(keys, times, strict=True):
            found.append(key in new and t_ns >= oldest and t_ns > horizon)
            new.discard(key)  # the same message again is not new
        return found

    return accepted


def check_new(db: Db, window: Window, message: Initial, sender: Identity, key: bytes) -> None:
    """Raise Refused in the same cases as `remember`, but write nothing.

    This saves a write for replayed messages. `remember` has the final decision, because two
    copies of a message may arrive at once.
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
    row = db.execute(query, (sender.data, message.proof)).fetchone()
    horizon, seen = _horizon(row), row[1]
    oldest = window.clock() - window.skew * _SECOND
    _check_remembered(message.t.unix_ns or 0, oldest, horizon)
    if seen:
        raise _replayed(message)


def _horizon(row: Sequence[Any] | None) -> int:
    """The horizon in the first column. Raises StateError if there is none."""
    found = None if row is None else row[0]
    if not isinstance(found, int):
        raise StateError("the replay cache has lost its horizon; restore a backup")
    return found


def _check_remembered(sent_ns: int, oldest_ns: int, horizon: int) -> None:
    if sent_ns < oldest_ns or sent_ns <= horizon:
        raise Refused(
            "its timestamp is older than what is remembered of past messages; check the clock",
            ErrorNo.INVALID_TS,
        )


def refuse_seen(db: Db, message: Initial, sender: Identity) -> None:
    """Raise Refused (Auth failure) if the message was seen before. Write nothing."""
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


def _scope(sender: Identity, key: bytes) -> bytes:
    return hashlib.sha256(b"mikeytool counter" + key + sender.data).digest()


def _not_above(sender: Identity, counter: int) -> Refused:
    return Refused(
        f"its COUNTER {counter} is not above the last one of {sender}", ErrorNo.INVALID_TS
    )


def forget(db: Db, window: Window) -> bool:
    """Forget messages that are too old to be accepted, and expired tickets.

    Also moves the horizon. Call this within a transaction. Returns False if some are left.
    """
    now = window.clock()
    messages = _forget(db, "replay", "t_ns", "forgotten_ns", now - window.skew * _SECOND)
    tickets = _forget(db, "single_use", "until_ns", "tickets_ns", now)
    return max(messages, tickets) < _AT_ONCE


def overdue(db: Db, window: Window) -> bool:
    """Whether any entry could have been forgotten at least a minute ago."""
    now = window.clock() - _PATIENCE
    query = (
        "SELECT EXISTS (SELECT 1 FROM replay WHERE t_ns < ?)"
        " OR EXISTS (SELECT 1 FROM single_use WHERE until_ns < ?)"
    )
    return bool(db.execute(query, (now - window.skew * _SECOND, now)).fetchone()[0])


def _forget(db: Db, table: str, column: str, horizon: str, before_ns: int) -> int:
    """Forget the oldest entries before a time, and return their number."""
    oldest = f"SELECT {column} FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT ?"  # noqa: S608
    query = f"SELECT max({column}) FROM ({oldest}) AS old"  # noqa: S608 - names from here
    gone = db.execute(query, (before_ns, _AT_ONCE)).fetchone()[0]
    if gone is None:
        return 0
    # Update the horizon first: another process that forgets at the same time waits here.
    raised = f"UPDATE replay_horizon SET {horizon} = ? WHERE {horizon} < ?"  # noqa: S608
    db.execute(raised, (gone, gone))
    return db.execute(f"DELETE FROM {table} WHERE {column} <= ?", (gone,)).rowcount  # noqa: S608


class Use(NamedTuple):
    """The use of a ticket without the J flag for a transfer."""

    ticket: bytes
    """A digest of the ticket and of who uses it."""
    transfer: bytes
    until_ns: int

    @classmethod
    def of(cls, ticket: TICKET, terms: Terms, by: bytes, transfer: bytes) -> Use | None:
        """The use of a ticket, or None if it has the J flag; see `use_once`."""
        if TicketFlag.J in terms.flags:
            return None
        until = NO_END
        if terms.valid_to is not None and terms.valid_to.unix_ns is not None:
            until = terms.valid_to.unix_ns
        digest = hashlib.sha256(ticket.ticket_data + b"\0" + by).digest()
        return cls(digest, transfer, until)


def use_once(
    db: Db, window: Window, ticket: TICKET, terms: Terms, by: bytes, transfer: bytes
) -> None:
    """Refuse a ticket without the J flag that was used for another transfer (RFC 6043 5.3).

    Call this within a transaction. `by` is the user of the ticket, or empty if the user does not
    matter. `transfer` distinguishes one TRANSFER_INIT from another. The ticket must be valid
    now, and is remembered until it expires. Raises Refused (Invalid ticket).
    """
    use = Use.of(ticket, terms, by, transfer)
    if use is None:
        return
    adding = db.execute(_USE, use)
    looking = db.execute("SELECT tickets_ns FROM replay_horizon")
    added, horizon = adding.fetchone() is not None, _horizon(looking.fetchone())
    if use.until_ns < window.clock() or use.until_ns <= horizon:
        raise Refused("this ticket has no J flag, and has expired before", ErrorNo.INVALID_TICKET)
    if not added:
        query = "SELECT transfer FROM single_use WHERE ticket = ?"
        first = db.execute(query, (use.ticket,)).fetchone()
        if first is None or first[0] != transfer:
            raise Refused("this ticket was used before and has no J flag", ErrorNo.INVALID_TICKET)


def use_all(db: Db, backend: Backend, window: Window, uses: Sequence[Use]) -> list[bool]:
    """Record uses of tickets. Returns for each whether `use_once` would have accepted it.

    If one is not accepted, the caller has to roll the transaction back. Entries are inserted in
    their order in the index, so that transactions with the same tickets cannot block each other.
    """
    rows = sorted({use.ticket: use for use in reversed(uses)}.values())
    db.execute(*backend.with_rows(_USE_ALL, rows))
    looking = db.execute("SELECT tickets_ns FROM replay_horizon")
    used = db.execute(*backend.with_rows(_USED, [(use.ticket,) for use in rows]))
    first, horizon, now = dict(used.fetchall()), _horizon(looking.fetchone()), window.clock()
    return [
        first.get(use.ticket) == use.transfer and use.until_ns >= now and use.until_ns > horizon
        for use in uses
    ]
