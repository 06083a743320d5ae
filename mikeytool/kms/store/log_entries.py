"""The log of a store: users' requests, all their refusals, and operators' changes.

The size of the log is limited. Long texts are cut. Repeated refusals of one identity within a
minute are counted. Entries are kept only as long as the policy says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mikeytool.exchange.environment import NS
from mikeytool.kms.store.records import LogEntry
from mikeytool.storage.sql import Backend, Db, Statement

MAX_TEXT = 1024
"""In octets. A longer text in an entry is cut, and its end shows this."""

MAX_REFUSALS = 10
"""How many different refusals of one identity are logged in a minute."""

OPERATOR = "operator"
"""The name of the person who changes a store with commands."""

_CUT = " [...]"
_AT_ONCE = 1000
"""How many entries are removed at a time. The limit keeps messages from waiting long."""

_ADD = "INSERT INTO log (at_ns, exchange, who, about, outcome, reason, count) {rows}"
_ADD_ONE = _ADD.format(rows="VALUES (?, ?, ?, ?, ?, ?, ?)")
_MINUTE = 60 * NS
_MAX_COUNTED = 1000
"""How many refusals, different in identity or reason, are counted one by one in a minute."""
_FURTHER = "various", "further refusals in this minute"


def add(db: Db, entry: LogEntry) -> None:
    """Add an entry. A refusal that is already logged in this minute is only counted."""
    for row in _counted(db, [entry]):
        db.execute(_ADD_ONE, row)


def add_all(db: Db, backend: Backend, entries: Sequence[LogEntry]) -> None:
    """Add entries as `add` does.

    Counts are written in the order of their entries in the log, so that transactions that count
    the same refusals cannot block each other.
    """
    rows = _counted(db, entries)
    if rows:
        db.execute(*backend.with_rows(_ADD, rows))


def _counted(db: Db, entries: Sequence[LogEntry]) -> list[list[Any]]:
    """Count the refusals that are logged already. Return the rows of the other entries."""
    minutes: dict[tuple[str, int], _Minute] = {}
    for entry in entries:
        key = _minute_of(entry)
        if entry.outcome == "refused" and key not in minutes:
            minutes[key] = _Minute(db, *key)
    rows: list[list[Any]] = []
    for entry in entries:
        row = list(_row(entry))
        if entry.outcome != "refused" or not minutes[_minute_of(entry)].counts(row):
            rows.append(row)
    counted = [one for minute in minutes.values() for one in minute.counted.items()]
    for number, count in sorted(counted):
        db.execute("UPDATE log SET count = count + ? WHERE number = ?", (count, number))
    return rows


class _Minute:
    """The refusals of one identity in one minute."""

    def __init__(self, db: Db, who: str, start_ns: int) -> None:
        self._rows = db.execute(
            "SELECT number, exchange, about, reason FROM log WHERE who = ? AND outcome = 'refused'"
            " AND at_ns >= ? AND at_ns < ? ORDER BY number LIMIT ?",
            (who, start_ns, start_ns + _MINUTE, MAX_REFUSALS),
        )
        self._found: list[tuple[str, str, str]] | None = None
        """The texts of each entry."""
        self._where: dict[tuple[str, str, str], int | list[Any]] = {}
        """The number of the entry with some texts, or its row, if it has none yet."""
        self.counted: Counter[int] = Counter()
        """What is to be added to the counts of entries, by their numbers."""

    def counts(self, row: list[Any]) -> bool:
        """Count a refusal, unless it needs an entry of its own. Then the row becomes that entry."""
        if self._found is None:  # now, so that the queries for all identities are sent together
            rows = self._rows.fetchall()
            self._found = [tuple(texts) for _, *texts in rows]
            self._where = {tuple(texts): number for number, *texts in rows}
        _, exchange, _, about, _, reason, count = row
        if len(self._found) >= MAX_REFUSALS - 1 and (exchange, about, reason) not in self._where:
            about, reason = _FURTHER
            exchange = self._found[-1][0] if len(self._found) == MAX_REFUSALS else exchange
        texts = exchange, about, reason
        entry = self._where.get(texts)
        if isinstance(entry, int):
            self.counted[entry] += count
        elif entry is not None:
            entry[-1] += count
        else:
            row[1], row[3], row[5] = texts
            self._found.append(texts)
            self._where[texts] = row
        return entry is not None


def adding(entry: LogEntry) -> Statement:
    """The statement that adds an entry that is no refusal."""
    return _ADD_ONE, _row(entry)


def _row(entry: LogEntry) -> tuple[Any, ...]:
    who, about, reason = map(_cut, (entry.user, entry.about, entry.reason))
    return entry.at_ns, entry.exchange, who, about, entry.outcome, reason, entry.count


def _minute_of(entry: LogEntry) -> tuple[str, int]:
    return _cut(entry.user), entry.at_ns // _MINUTE * _MINUTE


def _cut(text: str) -> str:
    octets = text.encode("utf-8", "replace")
    if len(octets) <= MAX_TEXT:
        return text
    return octets[: MAX_TEXT - len(_CUT)].decode("utf-8", "ignore") + _CUT


def prune(db: Db, before_ns: int) -> bool:
    """Remove the oldest entries before a time, and return whether none is left."""
    oldest = "SELECT number FROM log WHERE at_ns < ? ORDER BY at_ns LIMIT ?"
    query = f"DELETE FROM log WHERE number IN ({oldest})"  # noqa: S608 - no values in it
    return db.execute(query, (before_ns, _AT_ONCE)).rowcount < _AT_ONCE


def is_overdue(db: Db, before_ns: int) -> bool:
    """Whether there is an entry from before a time."""
    query = "SELECT EXISTS (SELECT 1 FROM log WHERE at_ns < ?)"
    return bool(db.execute(query, (before_ns,)).fetchone()[0])


class Repetitions:
    """Counts refusals that must cost few writes, such as refusals of replayed or forged messages.

    Anyone can replay captured messages, and name a user. For each identity and reason, the log is
    written for the first, the second, the fourth refusal in a minute, and so on. Each write
    includes all refusals since the last one. An identity has only a few reasons in a minute, and
    all identities together have a limited number: the content of messages must not decide how
    often the log is written.
    """

    def __init__(self) -> None:
        self._minute = 0
        self._counts: Counter[tuple[str, str]] = Counter()
        self._reasons: Counter[str] = Counter()

    def due(self, entry: LogEntry) -> LogEntry | None:
        """The entry to write now, for all refusals since the last one, or None."""
        minute = entry.at_ns // _MINUTE
        if minute != self._minute:
            self._minute, self._counts, self._reasons = minute, Counter(), Counter()
        key = entry.user, entry.reason
        if key not in self._counts:
            if len(self._counts) >= _MAX_COUNTED:
                key = _FURTHER
            elif self._reasons[entry.user] >= MAX_REFUSALS - 1:
                key = entry.user, _FURTHER[1]
            else:
                self._reasons[entry.user] += 1
        self._counts[key] += 1
        count = self._counts[key]
        if count & (count - 1):
            return None
        return replace(entry, user=key[0], reason=key[1], count=max(1, count // 2))
