"""The transaction of several messages that wait at the same time.

Their rows are written by a few statements, which take two round trips to a database server. Other
nodes may write rows of the same senders, tickets and keys meanwhile. All transactions take what
they need to lock in one order: replay entries, counts, tickets, keys, counts of refusals, and
within each of these the order of an index. So they wait for one another, but never in a circle.

Nothing of a single message can be undone. If the store refuses one of them, the transaction has
to be rolled back, and that message needs a transaction of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from mikeytool.exchange.environment import Environment
from mikeytool.kms.store import log_entries
from mikeytool.kms.store.exchanges import (
    COUNT,
    MINUTE,
    Entry,
    Exchange,
    StoreChanged,
    digest_of,
    extending,
)
from mikeytool.kms.store.memory import Known
from mikeytool.kms.store.records import LogEntry, Tpk
from mikeytool.kms.store.sealed import NUMBER
from mikeytool.storage import replay
from mikeytool.storage.sql import Backend, Db, Rows
from mikeytool.wire.identity import Identity

if TYPE_CHECKING:
    from mikeytool.exchange.ticket_policy import TicketPolicy
    from mikeytool.wire.payloads import TICKET


_REQUESTERS = (
    # A join might be planned once while the table is short, and then read the whole table.
    "WITH given (ticket) AS ({rows}) SELECT ticket,"
    " (SELECT who FROM requested WHERE requested.ticket = given.ticket) FROM given"
)


class Part(Exchange):
    """The part of one message, which keeps until `Batch.write` what there is to write.

    `is_accepted` says whether the message is new. `count` is the number of messages of its sender
    in this minute.
    """

    def __init__(self, batch: Batch, requester: Identity | None) -> None:
        super().__init__(batch.db, batch.backend, batch.known)
        self._requester = requester
        self.is_accepted = False
        self.count = 0
        self.use: replay.Use | None = None
        self.ends: dict[bytes, int] = {}
        """New ends of ticket protection keys, by the names of the keys."""
        self.entries: list[LogEntry] = []

    def enter(self, env: Environment, entry: Entry) -> int:
        """Return the number of messages in this minute. All have entered together."""
        return self.count

    @property
    def noted(self) -> Sequence[tuple[bytes, bytes, int]]:
        """The rows that say who requested tickets."""
        return self._noted

    def _extend(self, tpk: Tpk, until_ns: int) -> None:
        self.ends[tpk.name.data] = until_ns

    def use_once(
        self, env: Environment, ticket: TICKET, policy: TicketPolicy, by: bytes, transfer: bytes
    ) -> None:
        """Keep the use of a ticket without the J flag. `Batch.write` finds out if it is new."""
        self.use = replay.Use.of(ticket, policy, by, transfer)

    def log(self, entry: LogEntry) -> None:
        """Keep an entry for the log."""
        self.entries.append(entry)


class Batch:
    """Records the facts about several messages, in one transaction."""

    def __init__(self, db: Db, backend: Backend, known: Known | None) -> None:
        self.db, self.backend, self.known = db, backend, known
        self._unchecked = known is not None
        self._parts: list[Part] = []

    def renewed(self, known: Known) -> None:
        """Take what is kept in memory for right: it was read in this transaction."""
        self.known, self._unchecked = known, False

    def enter(self, env: Environment, entries: Sequence[Entry]) -> list[Part]:
        """Record messages without COUNTERs, and return the part of each.

        Raises StoreChanged if what is kept in memory is old.
        """
        accepted = replay.remember_all(
            self.db, self.backend, env, [(one.message, one.sender) for one in entries]
        )
        sent = Counter(one.counted.data for one in entries if one.counted is not None)
        counted = self._counted(env, sent)
        requesters = self._requesters([one.ticket for one in entries if one.ticket is not None])
        found = self.db.execute(NUMBER).fetchone()[0]  # all of them are sent now
        if self._unchecked and self.known is not None and found != self.known.number:
            raise StoreChanged
        asked_by = {ticket: Identity(who) for ticket, who in requesters if who is not None}
        counts = {sender: count - sent[sender] for count, sender in counted}
        for entry, is_accepted in zip(entries, accepted(), strict=True):
            ticket = b"" if entry.ticket is None else digest_of(entry.ticket)
            part = Part(self, asked_by.get(ticket))
            part.is_accepted = is_accepted
            if entry.counted is not None:
                counts[entry.counted.data] += 1
                part.count = counts[entry.counted.data]
            self._parts.append(part)
        return self._parts

    def _counted(self, env: Environment, sent: Counter[bytes]) -> Iterable[tuple[int, bytes]]:
        """Count the messages of senders. Returns the counts and the senders."""
        if not sent:
            return ()
        minute = env.clock() // MINUTE
        rows = [(sender, minute, count) for sender, count in sorted(sent.items())]
        return self._execute(f"{COUNT}, sender", rows)

    def _requesters(self, tickets: Sequence[TICKET]) -> Iterable[tuple[bytes, bytes | None]]:
        """Return the digests of tickets, and who requested them, or None if that is unknown."""
        if not tickets:
            return ()
        return self._execute(_REQUESTERS, [(digest_of(ticket),) for ticket in tickets])

    def _execute(self, query: str, rows: Sequence[Sequence[Any]]) -> Rows:
        return self.db.execute(*self.backend.with_rows(query, rows))

    def write(self, env: Environment) -> None:
        """Write what the parts keep.

        Parts whose tickets were used before are no longer accepted.
        """
        self._use(env, [part for part in self._parts if part.use is not None])
        ends: dict[bytes, int] = {}
        for part in self._parts:
            for name, until_ns in part.ends.items():
                ends[name] = max(until_ns, ends.get(name, 0))
        for name, until_ns in sorted(ends.items()):
            self.db.execute(*extending(name, until_ns))
        noted = [row for part in self._parts for row in part.noted]
        if noted:
            self._execute("INSERT INTO requested {rows}", noted)
        entries = [entry for part in self._parts for entry in part.entries]
        log_entries.add_all(self.db, self.backend, entries)

    def _use(self, env: Environment, parts: Sequence[Part]) -> None:
        uses = [part.use for part in parts if part.use is not None]
        if uses:
            accepted = replay.use_all(self.db, self.backend, env, uses)
            for part, is_accepted in zip(parts, accepted, strict=True):
                part.is_accepted = is_accepted

    def ended(self) -> None:
        """Forget the keys whose rows have changed. Call this after the transaction."""
        for part in self._parts:
            part.ended()
