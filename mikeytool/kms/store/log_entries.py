"""The log of a store: users' requests, all their refusals, and operators' changes.

The size of the log is limited. Long texts are cut. Repeated refusals of one identity within a
minute are counted. Entries are kept only as long as the policy says.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from mikeytool.exchange.environment import NS
from mikeytool.kms.store.records import LogEntry
from mikeytool.storage.sql import Db, Statement

MAX_TEXT = 1024
"""In octets. A longer text in an entry is cut, and its end shows this."""

MAX_REFUSALS = 10
"""How many different refusals of one identity are logged in a minute."""

OPERATOR = "operator"
"""The name of the person who changes a store with commands."""

_CUT = " [...]"
_AT_ONCE = 1000
"""How many entries are removed at a time. The limit keeps messages from waiting long."""

_ADD = (
    "INSERT INTO log (at_ns, exchange, who, about, outcome, reason, count)"
    " VALUES (?, ?, ?, ?, ?, ?, ?)"
)
_MINUTE = 60 * NS
_MAX_COUNTED = 1000
"""How many refusals, different in identity or reason, are counted one by one in a minute."""
_FURTHER = "various", "further refusals in this minute"


def add(db: Db, entry: LogEntry) -> None:
    """Add an entry. A refusal that is already logged in this minute is only counted."""
    who, about, reason = map(_cut, (entry.user, entry.about, entry.reason))
    exchange = entry.exchange
    if entry.outcome == "refused":
        start = entry.at_ns // _MINUTE * _MINUTE
        found = db.execute(
            "SELECT number, exchange, about, reason FROM log WHERE who = ? AND outcome = 'refused'"
            " AND at_ns >= ? AND at_ns < ? ORDER BY number LIMIT ?",
            (who, start, start + _MINUTE, MAX_REFUSALS),
        ).fetchall()
        numbers = {tuple(texts): number for number, *texts in found}
        if len(found) >= MAX_REFUSALS - 1 and (exchange, about, reason) not in numbers:
            about, reason = _FURTHER
            exchange = found[-1][1] if len(found) == MAX_REFUSALS else exchange
        if (exchange, about, reason) in numbers:
            query = "UPDATE log SET count = count + ? WHERE number = ?"
            db.execute(query, (entry.count, numbers[exchange, about, reason]))
            return
    db.execute(_ADD, (entry.at_ns, exchange, who, about, entry.outcome, reason, entry.count))


def adding(entry: LogEntry) -> Statement:
    """The statement that adds an entry that is no refusal."""
    who, about, reason = map(_cut, (entry.user, entry.about, entry.reason))
    return _ADD, (entry.at_ns, entry.exchange, who, about, entry.outcome, reason, entry.count)


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
