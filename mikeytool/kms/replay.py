"""The replay cache (RFC 3830 5.4, RFC 6043 12.4, interpretations 30 and 31).

It lives in tables of the database it is used with, so that its entry is on disk together
with whatever the message led to.
"""

from __future__ import annotations

import hashlib
import sqlite3

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.policy import TicketPolicy
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import ErrorNo, TicketFlag

SCHEMA = """
CREATE TABLE replay (
    sender BLOB NOT NULL, mac BLOB NOT NULL, until_ns INTEGER NOT NULL,
    PRIMARY KEY (sender, mac)) WITHOUT ROWID;
CREATE INDEX replay_until ON replay (until_ns);
CREATE TABLE replay_horizon (forgotten_ns INTEGER NOT NULL);
INSERT INTO replay_horizon VALUES (0);
CREATE TABLE single_use (ticket BLOB PRIMARY KEY, transfer BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (scope BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
"""


def remember(
    db: sqlite3.Connection, env: Environment, message: Incoming, sender: Identity, key: bytes
) -> None:
    """Refuse an initial message seen before, else write it down; within a transaction.

    The message has been verified with `key` and is fresh. Raises Refused (Auth failure) for
    a replay, (Invalid TS) for a COUNTER that is not above the last one of this sender and
    key, and for a timestamp from the time whose entries are forgotten already: that a
    clock jumps back does not let old messages in again.
    """
    if message.t.counter is not None:
        _count(db, sender, key, message.t.counter)
        return
    now = env.clock()
    until = (message.t.unix_ns or 0) + env.skew * NS
    horizon = db.execute("SELECT forgotten_ns FROM replay_horizon").fetchone()[0]
    # The clock has gone on since the message was found fresh, and entries that are too old
    # may be forgotten below: what is not to be remembered any more is not taken either.
    if until < now or until <= horizon:
        raise Refused(
            "its timestamp is older than what is remembered of past messages; check the clock",
            ErrorNo.INVALID_TS,
        )
    if seen(db, message, sender):
        raise _replayed(message)
    db.execute("INSERT INTO replay VALUES (?, ?, ?)", (sender.data, message.v.ver_data, until))
    _forget(db, now)


def seen(db: sqlite3.Connection, message: Incoming, sender: Identity) -> bool:
    """Whether a message with this sender and MAC is remembered."""
    return (
        db.execute(
            "SELECT 1 FROM replay WHERE sender = ? AND mac = ?",
            (sender.data, message.v.ver_data),
        ).fetchone()
        is not None
    )


def refuse_seen(db: sqlite3.Connection, message: Incoming, sender: Identity) -> None:
    """Raise Refused for a message seen before, without writing anything."""
    if seen(db, message, sender):
        raise _replayed(message)


def _replayed(message: Incoming) -> Refused:
    return Refused(
        f"this {message.data_type.label} was seen before (replay); it takes a new one",
        ErrorNo.AUTH_FAILURE,
    )


def _count(db: sqlite3.Connection, sender: Identity, key: bytes, counter: int) -> None:
    scope = hashlib.sha256(b"mikeytool counter" + key + sender.data).digest()
    updated = db.execute(
        "INSERT INTO counters VALUES (?, ?) ON CONFLICT (scope)"
        " DO UPDATE SET last = excluded.last WHERE excluded.last > last",
        (scope, counter),
    )
    if not updated.rowcount:
        raise Refused(
            f"its COUNTER {counter} is not above the last one of {sender}", ErrorNo.INVALID_TS
        )


def _forget(db: sqlite3.Connection, now_ns: int) -> None:
    """Forget what is too old to be accepted, and remember how far back that went."""
    db.execute(
        "UPDATE replay_horizon SET forgotten_ns = max(forgotten_ns,"
        " (SELECT ifnull(max(until_ns), 0) FROM replay WHERE until_ns < ?))",
        (now_ns,),
    )
    db.execute("DELETE FROM replay WHERE until_ns < ?", (now_ns,))


def use_once(
    db: sqlite3.Connection, ticket: TICKET, policy: TicketPolicy, by: bytes, transfer: bytes
) -> None:
    """Refuse a ticket without the J flag that was used for another transfer (5.3).

    `by` is who uses it, empty where that makes no difference; `transfer` tells one
    TRANSFER_INIT from another. Within a transaction; the ticket is remembered.
    """
    if TicketFlag.J in policy.flags:
        return
    digest = hashlib.sha256(ticket.ticket_data + b"\0" + by).digest()
    row = db.execute("SELECT transfer FROM single_use WHERE ticket = ?", (digest,)).fetchone()
    if row is None:
        db.execute("INSERT INTO single_use VALUES (?, ?)", (digest, transfer))
    elif row[0] != transfer:
        raise Refused("this ticket was used before and has no J flag", ErrorNo.INVALID_TICKET)
