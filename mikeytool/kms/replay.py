"""The replay cache (RFC 3830 5.4, RFC 6043 12.4, interpretations 30 and 31).

It lives in tables of the database it is used with, so that its entry is on disk together
with whatever the message led to.
"""

from __future__ import annotations

import hashlib
import sqlite3

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.incoming import Incoming
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import ErrorNo

SCHEMA = """
CREATE TABLE replay (
    sender BLOB NOT NULL, mac BLOB NOT NULL, until_ns INTEGER NOT NULL,
    PRIMARY KEY (sender, mac)) WITHOUT ROWID;
CREATE INDEX replay_until ON replay (until_ns);
CREATE TABLE replay_horizon (forgotten_ns INTEGER NOT NULL);
INSERT INTO replay_horizon VALUES (0);
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
    until = (message.t.unix_ns or 0) + env.skew * NS
    horizon = db.execute("SELECT forgotten_ns FROM replay_horizon").fetchone()[0]
    if until <= horizon:
        raise Refused(
            "its timestamp is older than what is remembered of past messages; check the clock",
            ErrorNo.INVALID_TS,
        )
    _forget(db, env.clock())
    try:
        db.execute("INSERT INTO replay VALUES (?, ?, ?)", (sender.data, message.v.ver_data, until))
    except sqlite3.IntegrityError:
        raise Refused(
            f"this {message.data_type.label} was seen before (replay); it takes a new one",
            ErrorNo.AUTH_FAILURE,
        ) from None


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
    gone = db.execute("DELETE FROM replay WHERE until_ns < ?", (now_ns,)).rowcount
    if gone:
        db.execute("UPDATE replay_horizon SET forgotten_ns = max(forgotten_ns, ?)", (now_ns - 1,))
