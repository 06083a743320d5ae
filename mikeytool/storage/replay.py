"""The replay cache (RFC 3830 5.4, RFC 6043 12.4, interpretations 22, 30 and 31).

It lives in tables of the database it is used with, so that its entry is on disk together
with whatever the message led to. It stays small: a message is kept for as long as its
timestamp would be accepted, a ticket for single use until it expires, and both then until
`forget` is called. What was forgotten is not let in again when the clock jumps back, because
the latest time that was forgotten, the horizon, is kept.

Several may use one database at once, each seeing what others have committed: the unique index
decides who was first, and the horizon is looked at after it, so that no entry is forgotten
unseen between the two.
"""

from __future__ import annotations

import hashlib

from mikeytool.exchange.environment import DEFAULT_SKEW, NS, Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.storage.sql import Db
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import SIGN, TICKET
from mikeytool.wire.registry import ErrorNo, TicketFlag

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

FROM_VERSION_1 = (
    # Entries had the moment until which they count, under the skew of that version.
    "ALTER TABLE replay RENAME COLUMN until_ns TO t_ns",
    f"UPDATE replay SET t_ns = t_ns - {DEFAULT_SKEW * NS}",  # noqa: S608 - a constant
    f"UPDATE replay_horizon SET forgotten_ns = forgotten_ns - {DEFAULT_SKEW * NS}",  # noqa: S608
    "DROP INDEX replay_until",
    "CREATE INDEX replay_t ON replay (t_ns)",
    "ALTER TABLE replay_horizon ADD COLUMN tickets_ns INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE single_use ADD COLUMN until_ns INTEGER NOT NULL DEFAULT 9223372036854775807",
    "CREATE INDEX single_use_until ON single_use (until_ns)",
)
"""What brings the tables of version 1 to those of `SCHEMA`."""

_PATIENCE = 60 * NS
"""How long what can be forgotten may be left: forgetting takes a write."""

_AT_ONCE = 10_000
"""How many entries are forgotten at a time, so that no message waits for long."""

NO_END = (1 << 63) - 1
"""The end of a ticket without TRe, as far as the database can count."""


def remember(db: Db, env: Environment, message: Incoming, sender: Identity, key: bytes) -> None:
    """Refuse an initial message seen before, else write it down; within a transaction.

    The message has been verified with `key` and is fresh. Raises Refused (Auth failure) for
    a replay, (Invalid TS) for a COUNTER that is not above the last one of this sender and
    key, and for a timestamp from the time whose entries are forgotten already: that a
    clock jumps back, or more skew is allowed, does not let old messages in again.
    """
    if message.t.counter is not None:
        _count(db, sender, key, message.t.counter)
        return
    sent = message.t.unix_ns or 0
    oldest = env.clock() - env.skew * NS
    row = (sender.data, _proof(message), sent)
    added = db.execute("INSERT INTO replay VALUES (?, ?, ?) ON CONFLICT DO NOTHING", row)
    if not added.rowcount:
        raise _replayed(message)
    # The clock has gone on since the message was found fresh, and its entry may have been
    # forgotten: what is not to be remembered any more is not taken either.
    horizon = db.execute("SELECT forgotten_ns FROM replay_horizon").fetchone()[0]
    _check_remembered(sent, oldest, horizon)


def check_new(db: Db, env: Environment, message: Incoming, sender: Identity, key: bytes) -> None:
    """Raise Refused as `remember` does, without writing anything.

    It spares a write for what was captured; `remember` decides, for two may come at once.
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
    horizon, seen = db.execute(query, (sender.data, _proof(message))).fetchone()
    _check_remembered(message.t.unix_ns or 0, env.clock() - env.skew * NS, horizon)
    if seen:
        raise _replayed(message)


def _check_remembered(sent_ns: int, oldest_ns: int, horizon: int) -> None:
    if sent_ns < oldest_ns or sent_ns <= horizon:
        raise Refused(
            "its timestamp is older than what is remembered of past messages; check the clock",
            ErrorNo.INVALID_TS,
        )


def _proof(message: Incoming) -> bytes:
    """What nobody but the sender can make, and makes once: the MAC, or a digest of SIGN."""
    signature = message.message.find(SIGN)
    if signature is not None:
        return hashlib.sha256(signature.signature).digest()
    return message.v.ver_data


def refuse_seen(db: Db, message: Incoming, sender: Identity) -> None:
    """Raise Refused for a message seen before, without writing anything."""
    found = db.execute(
        "SELECT 1 FROM replay WHERE sender = ? AND mac = ?", (sender.data, _proof(message))
    )
    if found.fetchone() is not None:
        raise _replayed(message)


def _replayed(message: Incoming) -> Refused:
    return Refused(
        f"this {message.data_type.label} was seen before (replay); it takes a new one",
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


def forget(db: Db, env: Environment) -> bool:
    """Forget messages that are too old to be accepted and tickets that have expired, and
    remember how far back that went; within a transaction. False when more is left.
    """
    now = env.clock()
    messages = _forget(db, "replay", "t_ns", "forgotten_ns", now - env.skew * NS)
    tickets = _forget(db, "single_use", "until_ns", "tickets_ns", now)
    return max(messages, tickets) < _AT_ONCE


def overdue(db: Db, env: Environment) -> bool:
    """Whether something could have been forgotten for a while."""
    now = env.clock() - _PATIENCE
    query = (
        "SELECT EXISTS (SELECT 1 FROM replay WHERE t_ns < ?)"
        " OR EXISTS (SELECT 1 FROM single_use WHERE until_ns < ?)"
    )
    return bool(db.execute(query, (now - env.skew * NS, now)).fetchone()[0])


def _forget(db: Db, table: str, column: str, horizon: str, before_ns: int) -> int:
    """Forget what is of the time before a moment, some of it; gives how much."""
    oldest = f"SELECT {column} FROM {table} WHERE {column} < ? ORDER BY {column} LIMIT ?"  # noqa: S608
    query = f"SELECT max({column}) FROM ({oldest}) AS old"  # noqa: S608 - names from here
    gone = db.execute(query, (before_ns, _AT_ONCE)).fetchone()[0]
    if gone is None:
        return 0
    # The horizon comes first: whoever forgets at the same time waits here for the other.
    raised = f"UPDATE replay_horizon SET {horizon} = ? WHERE {horizon} < ?"  # noqa: S608
    db.execute(raised, (gone, gone))
    return db.execute(f"DELETE FROM {table} WHERE {column} <= ?", (gone,)).rowcount  # noqa: S608


def use_once(
    db: Db,
    env: Environment,
    ticket: TICKET,
    policy: TicketPolicy,
    by: bytes,
    transfer: bytes,
) -> None:
    """Refuse a ticket without the J flag that was used for another transfer (5.3).

    `by` is who uses it, empty where that makes no difference; `transfer` tells one
    TRANSFER_INIT from another. Within a transaction; the ticket, which is valid now, is
    remembered until it expires.
    """
    if TicketFlag.J in policy.flags:
        return
    until = NO_END
    if policy.valid_to is not None and policy.valid_to.unix_ns is not None:
        until = policy.valid_to.unix_ns
    digest = hashlib.sha256(ticket.ticket_data + b"\0" + by).digest()
    added = db.execute(
        "INSERT INTO single_use VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (digest, transfer, until)
    )
    horizon = db.execute("SELECT tickets_ns FROM replay_horizon").fetchone()[0]
    if until < env.clock() or until <= horizon:
        raise Refused("this ticket has no J flag, and has expired before", ErrorNo.INVALID_TICKET)
    if not added.rowcount:
        query = "SELECT transfer FROM single_use WHERE ticket = ?"
        first = db.execute(query, (digest,)).fetchone()
        if first is None or first[0] != transfer:
            raise Refused("this ticket was used before and has no J flag", ErrorNo.INVALID_TICKET)
