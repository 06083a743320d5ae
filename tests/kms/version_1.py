"""A store as the first version of the schema had it, with its keys in the clear."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.world import ALICE, BOB, CAROL, KMS, START, psk_of

REPLAY = """
CREATE TABLE replay (
    sender BLOB NOT NULL, mac BLOB NOT NULL, until_ns INTEGER NOT NULL,
    PRIMARY KEY (sender, mac)) WITHOUT ROWID;
CREATE INDEX replay_until ON replay (until_ns);
CREATE TABLE replay_horizon (forgotten_ns INTEGER NOT NULL);
INSERT INTO replay_horizon VALUES (0);
CREATE TABLE single_use (ticket BLOB PRIMARY KEY, transfer BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (scope BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
"""
SCHEMA = (
    """
CREATE TABLE kms (id BLOB NOT NULL, id_type INTEGER NOT NULL, profile INTEGER NOT NULL);
CREATE TABLE users (
    id BLOB PRIMARY KEY, id_type INTEGER NOT NULL, psk BLOB NOT NULL,
    psk_id BLOB UNIQUE, enabled INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE TABLE act_as (
    user BLOB NOT NULL REFERENCES users ON DELETE CASCADE, pattern TEXT NOT NULL,
    PRIMARY KEY (user, pattern)) WITHOUT ROWID;
CREATE TABLE members (
    member BLOB NOT NULL, grp BLOB NOT NULL, grp_type INTEGER NOT NULL,
    PRIMARY KEY (member, grp)) WITHOUT ROWID;
CREATE TABLE tpks (
    name BLOB PRIMARY KEY, tpk BLOB NOT NULL, shared_with BLOB,
    current INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE log (
    at_ns INTEGER NOT NULL, exchange TEXT NOT NULL, user TEXT NOT NULL,
    about TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL);
"""
    + REPLAY
)
TPK = b"the ticket protection key of v1!"
BOBS_TPK = b"and the one that Bob shares too!"
SKEW_NS = 300 * 10**9


def old_store(path: Path) -> None:
    """Write one, of a KMS with Alice, Bob and Carol, who is disabled."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(
            f"BEGIN; PRAGMA application_id={0x6D6B6D73}; PRAGMA user_version=1; {SCHEMA} COMMIT;"
        )
        db.execute("INSERT INTO kms VALUES (?, 1, 256)", (KMS.data,))
        for user, name, enabled in ((ALICE, b"a", 1), (BOB, None, 1), (CAROL, None, 0)):
            row = (user.data, psk_of(user), name, enabled)
            db.execute("INSERT INTO users VALUES (?, 1, ?, ?, ?)", row)
        db.execute("INSERT INTO act_as VALUES (?, 'sip:*@conf.example.com')", (ALICE.data,))
        db.execute("INSERT INTO members VALUES (?, ?, 1)", (BOB.data, b"sip:team@example.com"))
        db.execute("INSERT INTO tpks VALUES (?, ?, NULL, 1)", (b"tpk-1", TPK))
        db.execute("INSERT INTO tpks VALUES (?, ?, ?, 1)", (b"tpk-2", BOBS_TPK, BOB.data))
        db.execute("INSERT INTO replay VALUES (?, 'mac', ?)", (ALICE.data, START + SKEW_NS))
        db.execute("INSERT INTO log VALUES (?, 'request', 'a', 'b', 'answered', '')", (START,))
        # As they come and go, pages of the file are left with what was in them.
        db.execute("DELETE FROM users WHERE id = 'nobody'")
    path.chmod(0o600)
