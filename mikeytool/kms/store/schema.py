"""The tables of a KMS store, in the SQLite dialect. `storage.postgres` translates them."""

from __future__ import annotations

from mikeytool.storage import replay

NAME = "KMS store"
KIND = 0x6D6B6D73
"""The mark of a store's file, and of its lock on a server: "mkms"."""

VERSION = 5

USERS = """CREATE TABLE users (
    id BLOB PRIMARY KEY, id_type INTEGER NOT NULL, psk BLOB, psk_id BLOB UNIQUE, cert BLOB,
    enabled INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID"""
TPKS = """CREATE TABLE tpks (
    name BLOB PRIMARY KEY, tpk BLOB NOT NULL, shared_with BLOB,
    current INTEGER NOT NULL) WITHOUT ROWID"""
TPKS_CURRENT = "CREATE INDEX tpks_current ON tpks (shared_with) WHERE current = 1"
_ACT_AS = """CREATE TABLE act_as (
    who BLOB NOT NULL REFERENCES users ON DELETE CASCADE, pattern TEXT NOT NULL,
    PRIMARY KEY (who, pattern)) WITHOUT ROWID"""
_LOG = """CREATE TABLE log (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at_ns INTEGER NOT NULL, exchange TEXT NOT NULL,
    who TEXT NOT NULL, about TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL)"""
_LOG_AT = "CREATE INDEX log_at ON log (at_ns)"
_REQUESTED = """CREATE TABLE requested (
    ticket BLOB PRIMARY KEY, who BLOB NOT NULL, until_ns INTEGER NOT NULL) WITHOUT ROWID"""
_REQUESTED_UNTIL = "CREATE INDEX requested_until ON requested (until_ns)"

SINCE_VERSION_2 = (
    "CREATE INDEX members_grp ON members (grp)",
    """CREATE TABLE seal (
    how TEXT NOT NULL, salt BLOB NOT NULL, n INTEGER, r INTEGER, p INTEGER,
    data_key BLOB NOT NULL)""",
    """CREATE TABLE kms_keys (
    fingerprint BLOB PRIMARY KEY, private_key BLOB NOT NULL, cert BLOB NOT NULL,
    position INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE anchors (fingerprint BLOB PRIMARY KEY, cert BLOB NOT NULL) WITHOUT ROWID",
    """CREATE TABLE peers (
    id BLOB PRIMARY KEY, id_type INTEGER NOT NULL, place TEXT NOT NULL,
    psk BLOB NOT NULL) WITHOUT ROWID""",
    "CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE rules (
    position INTEGER PRIMARY KEY AUTOINCREMENT, allowed INTEGER NOT NULL,
    sender TEXT NOT NULL, responder TEXT NOT NULL, UNIQUE (sender, responder))""",
    """CREATE TABLE rates (
    sender BLOB PRIMARY KEY, minute INTEGER NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID""",
    _REQUESTED,
    _REQUESTED_UNTIL,
)
"""The tables that version 1 did not have."""

FROM_VERSION_2 = (
    # `user` is a reserved word in PostgreSQL, and only SQLite kept the log in order.
    "ALTER TABLE act_as RENAME COLUMN user TO who",
    "ALTER TABLE requested RENAME TO requested_2",
    _REQUESTED,
    "INSERT INTO requested SELECT * FROM requested_2",
    "DROP TABLE requested_2",
    _REQUESTED_UNTIL,
    "ALTER TABLE log RENAME TO log_2",
    _LOG,
    "INSERT INTO log (at_ns, exchange, who, about, outcome, reason)"
    " SELECT * FROM log_2 ORDER BY rowid",
    "DROP TABLE log_2",
    _LOG_AT,
    "DROP INDEX tpks_current",
    TPKS_CURRENT,
)

FROM_VERSION_3 = (
    # Only the operator knows which identities an earlier peer speaks for.
    """CREATE TABLE speaks_for (
    peer BLOB NOT NULL, pattern TEXT NOT NULL,
    PRIMARY KEY (peer, pattern)) WITHOUT ROWID""",
    "ALTER TABLE tpks ADD COLUMN until_ns INTEGER",
    "DELETE FROM tpks WHERE shared_with IS NOT NULL AND shared_with NOT IN (SELECT id FROM users)",
    "ALTER TABLE log ADD COLUMN count INTEGER NOT NULL DEFAULT 1",
    *(
        f"UPDATE log SET {text} = substr({text}, 1, 250) WHERE length({text}) > 250"  # noqa: S608
        for text in ("who", "about", "reason")
    ),
    "CREATE INDEX log_refused ON log (who, at_ns) WHERE outcome = 'refused'",
)

FROM_VERSION_4 = (
    # A random number, another one after each change by an operator; see `memory`.
    "CREATE TABLE changes (number INTEGER NOT NULL)",
    "INSERT INTO changes VALUES (0)",
)

SCHEMA = (
    "CREATE TABLE kms (id BLOB NOT NULL, id_type INTEGER NOT NULL, profile INTEGER NOT NULL)",
    USERS,
    _ACT_AS,
    """CREATE TABLE members (
    member BLOB NOT NULL, grp BLOB NOT NULL, grp_type INTEGER NOT NULL,
    PRIMARY KEY (member, grp)) WITHOUT ROWID""",
    TPKS,
    TPKS_CURRENT,
    _LOG,
    _LOG_AT,
    *SINCE_VERSION_2,
    *FROM_VERSION_3,
    *FROM_VERSION_4,
    *replay.SCHEMA,
)

TABLES = {
    "kms": "id",
    "seal": "how",
    "settings": "name",
    "users": "id",
    "act_as": "who, pattern",
    "members": "grp, member",
    "tpks": "name",
    "kms_keys": "position",
    "anchors": "fingerprint",
    "peers": "id",
    "speaks_for": "peer, pattern",
    "rules": "position",
    "rates": "sender",
    "changes": "number",
    "requested": "ticket",
    "replay": "sender, mac",
    "replay_horizon": "forgotten_ns",
    "single_use": "ticket",
    "counters": "scope",
    "log": "number",
}
"""Every table and the order of its rows. A table comes before those that refer to it."""
