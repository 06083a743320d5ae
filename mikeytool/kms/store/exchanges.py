"""The transaction of one message. `batches` has that of several."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from mikeytool.exchange.environment import NS, Environment
from mikeytool.kms.store import log_entries
from mikeytool.kms.store.memory import Known
from mikeytool.kms.store.records import LogEntry, Tpk
from mikeytool.kms.store.sealed import NUMBER
from mikeytool.storage import replay
from mikeytool.storage.sql import Backend, Db, Statement
from mikeytool.wire.identity import Identity

if TYPE_CHECKING:
    from mikeytool.exchange.incoming import Incoming
    from mikeytool.exchange.ticket_policy import TicketPolicy
    from mikeytool.wire.payloads import TICKET

COUNT = (
    # A row is a sender, the minute, and how many messages to add.
    # A node whose clock is behind continues to count in the minute of the other nodes.
    "INSERT INTO rates {rows} ON CONFLICT (sender) DO UPDATE SET (count, minute) ="
    " (SELECT CASE WHEN same THEN rates.count + excluded.count ELSE excluded.count END,"
    " CASE WHEN same THEN rates.minute ELSE excluded.minute END FROM"
    " (SELECT excluded.minute BETWEEN rates.minute - 10 AND rates.minute AS same) AS found)"
    " RETURNING count"
)
_COUNT_ONE = COUNT.format(rows="VALUES (?, ?, 1)")
_REQUESTER = "SELECT who FROM requested WHERE ticket = ?"
_NOTE = "INSERT INTO requested VALUES (?, ?, ?)"
MINUTE = 60 * NS
_AT_ONCE = 1000
"""How many tickets are forgotten at a time. The limit keeps messages from waiting long."""


class Entry(NamedTuple):
    """A verified message, as it enters a transaction.

    `sender` and `key` are those of its replay entry. `counted` is the user whose messages are
    counted, if any. `ticket` is one whose requester is of interest.
    """

    message: Incoming
    sender: Identity
    key: bytes
    counted: Identity | None
    ticket: TICKET | None


class StoreChanged(Exception):
    """An operator has changed the store: what is kept in memory is old."""


class Exchange:
    """Records the facts about one message, in one transaction.

    Statements whose results are not needed at once go to a database server together with later
    ones, and as few as possible: each costs it and this process as much as a few HMACs. This
    leaves two round trips for a message, and three statements.
    """

    def __init__(self, db: Db, backend: Backend, known: Known | None) -> None:
        self._db, self._backend, self._known = db, backend, known
        self._unchecked = known is not None
        self._requester: Identity | None = None
        self._extended: list[Tpk] = []
        self._noted: list[tuple[bytes, bytes, int]] = []
        """Rows that wait for the log entry."""

    def enter(self, env: Environment, entry: Entry) -> int:
        """Refuse an initial message that was seen before; otherwise record it.

        See `replay.remember`. Returns the number of messages in this minute from the user who is
        counted, or 0. Raises StoreChanged if what is kept in memory is old.
        """
        recording = replay.Recording(env, entry.message, entry.sender, entry.key)
        statements: dict[str, Statement] = {"new": recording.adding}
        if self._unchecked:
            statements["number"] = NUMBER, ()
        if entry.counted is not None:
            statements["count"] = _COUNT_ONE, (entry.counted.data, env.clock() // MINUTE)
        if entry.ticket is not None:
            statements["who"] = _REQUESTER, (digest_of(entry.ticket),)
        values = self._backend.first_values(list(statements.values()))
        horizon = self._db.execute(recording.looking)
        # All of them are sent now.
        found = dict(zip(statements, values(), strict=True))
        who = found.get("who")
        self._requester = None if who is None else Identity(who)
        if self._unchecked and self._known is not None and found["number"] != self._known.number:
            raise StoreChanged
        self._unchecked = False
        recording.check(horizon, is_new=found["new"] is not None)
        return int(found.get("count", 0))

    def renewed(self, known: Known) -> None:
        """Take what is kept in memory for right: it was read in this transaction."""
        self._known, self._unchecked = known, False

    @property
    def requester(self) -> Identity | None:
        """The user whose key was used to request the ticket, or None if unknown."""
        return self._requester

    def note(self, ticket: TICKET, policy: TicketPolicy, user: Identity) -> None:
        """Record who requested a ticket, until it expires; see `requester`.

        It is written with the log entry, without which no message is answered.
        """
        until = policy.valid_to.unix_ns if policy.valid_to is not None else None
        row = digest_of(ticket), user.data, replay.NO_END if until is None else until
        self._noted.append(row)

    def protected(self, env: Environment, tpk: Tpk, policy: TicketPolicy, longest: int) -> None:
        """Record the end of a ticket, so that its protection key does not retire earlier.

        `longest` is the longest validity of tickets, in seconds. Ends are recorded in whole
        minutes, so that a busy KMS does not write the same row again and again.
        """
        end = None if policy.valid_to is None else policy.valid_to.unix_ns
        if end is None or tpk.until_ns is None:
            end = max(end or 0, env.clock() + longest * NS)
        until = -(-end // MINUTE) * MINUTE
        if tpk.until_ns is None or tpk.until_ns < until:
            self._extended.append(tpk)
            self._extend(tpk, until)

    def _extend(self, tpk: Tpk, until_ns: int) -> None:
        self._db.execute(*extending(tpk.name.data, until_ns))

    def ended(self) -> None:
        """Forget the keys whose rows have changed. Call this after the transaction."""
        for tpk in self._extended:
            if self._known is not None:
                self._known.drop(("tpk",), ("tpk", tpk.name), ("shared_tpk", tpk.shared_with))

    def use_once(
        self, env: Environment, ticket: TICKET, policy: TicketPolicy, by: bytes, transfer: bytes
    ) -> None:
        """Refuse a ticket without the J flag that was used before; see `replay.use_once`."""
        replay.use_once(self._db, env, ticket, policy, by, transfer)

    def log(self, entry: LogEntry) -> None:
        """Add an entry to the log, or count it; see `log_entries.add`."""
        statements: list[Statement] = [(_NOTE, row) for row in self._noted]
        self._noted.clear()
        if entry.outcome != "refused":
            statements.append(log_entries.adding(entry))
        if statements:
            self._backend.first_values(statements)
        if entry.outcome == "refused":
            log_entries.add(self._db, entry)


def extending(name: bytes, until_ns: int) -> Statement:
    """The statement that lets a ticket protection key retire no earlier than a time."""
    query = "UPDATE tpks SET until_ns = ? WHERE name = ? AND (until_ns IS NULL OR until_ns < ?)"
    return query, (until_ns, name, until_ns)


def requested_overdue(db: Db, now_ns: int) -> bool:
    """Whether a ticket ended at least a minute ago, and is not forgotten."""
    query = "SELECT EXISTS (SELECT 1 FROM requested WHERE until_ns < ?)"
    return bool(db.execute(query, (now_ns - MINUTE,)).fetchone()[0])


def forget_requested(db: Db, now_ns: int) -> bool:
    """Forget who requested the tickets that ended first; return whether none is left."""
    ended = "SELECT ticket FROM requested WHERE until_ns < ? ORDER BY until_ns LIMIT ?"
    query = f"DELETE FROM requested WHERE ticket IN ({ended})"  # noqa: S608 - no values in it
    return db.execute(query, (now_ns, _AT_ONCE)).rowcount < _AT_ONCE


def digest_of(ticket: TICKET) -> bytes:
    """A digest that identifies a ticket. It covers the Ticket Data, which has a MAC."""
    return hashlib.sha256(ticket.ticket_data).digest()
