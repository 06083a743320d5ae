"""A state file as the first version of the schema had it, with keys in members' sessions."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.conference.room import Room

SCHEMA = """
CREATE TABLE replay (
    sender BLOB NOT NULL, mac BLOB NOT NULL, t_ns INTEGER NOT NULL,
    PRIMARY KEY (sender, mac)) WITHOUT ROWID;
CREATE INDEX replay_t ON replay (t_ns);
CREATE TABLE replay_horizon (
    forgotten_ns INTEGER NOT NULL, tickets_ns INTEGER NOT NULL DEFAULT 0);
CREATE TABLE single_use (
    ticket BLOB PRIMARY KEY, transfer BLOB NOT NULL,
    until_ns INTEGER NOT NULL DEFAULT 9223372036854775807) WITHOUT ROWID;
CREATE INDEX single_use_until ON single_use (until_ns);
CREATE TABLE counters (scope BLOB PRIMARY KEY, last INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE system (
    identity BLOB NOT NULL, id_type INTEGER NOT NULL, psk BLOB NOT NULL, kms TEXT NOT NULL,
    kms_id BLOB NOT NULL, kms_id_type INTEGER NOT NULL, may_create TEXT NOT NULL);
CREATE TABLE conferences (
    number INTEGER PRIMARY KEY, focus BLOB NOT NULL UNIQUE, focus_type INTEGER NOT NULL,
    creator BLOB NOT NULL, creator_type INTEGER NOT NULL, purposes TEXT NOT NULL,
    generation INTEGER NOT NULL DEFAULT 0);
CREATE TABLE tickets (
    ticket BLOB PRIMARY KEY, resolved TEXT NOT NULL, until_ns INTEGER) WITHOUT ROWID;
CREATE INDEX tickets_until ON tickets (until_ns);
CREATE TABLE allowed (
    conference INTEGER NOT NULL REFERENCES conferences, identity BLOB NOT NULL,
    id_type INTEGER NOT NULL, denied INTEGER NOT NULL, PRIMARY KEY (conference, identity));
CREATE TABLE members (
    number INTEGER PRIMARY KEY, conference INTEGER NOT NULL REFERENCES conferences,
    identity BLOB NOT NULL, id_type INTEGER NOT NULL, state TEXT NOT NULL,
    csb_id INTEGER NOT NULL, generation INTEGER NOT NULL, deadline_ns INTEGER,
    session TEXT, UNIQUE (conference, identity));
CREATE INDEX members_csb ON members (csb_id);
CREATE INDEX members_deadline ON members (conference, deadline_ns) WHERE deadline_ns NOT NULL;
CREATE TABLE calls (
    member INTEGER PRIMARY KEY REFERENCES members, init BLOB NOT NULL, ticket TEXT NOT NULL);
CREATE TABLE updates (
    number INTEGER PRIMARY KEY, member INTEGER NOT NULL REFERENCES members,
    generation INTEGER NOT NULL, message BLOB NOT NULL);
CREATE INDEX updates_member ON updates (member);
CREATE TABLE ssrcs (
    conference INTEGER NOT NULL REFERENCES conferences, ssrc INTEGER NOT NULL,
    member INTEGER, purpose TEXT, generation INTEGER, PRIMARY KEY (conference, ssrc)
    ) WITHOUT ROWID;
CREATE INDEX ssrcs_member ON ssrcs (member);
CREATE TABLE group_keys (
    conference INTEGER NOT NULL REFERENCES conferences, generation INTEGER NOT NULL,
    purpose TEXT NOT NULL, spi BLOB NOT NULL, tek BLOB NOT NULL, salt BLOB NOT NULL,
    due_ns INTEGER, until_ns INTEGER, PRIMARY KEY (conference, generation, purpose),
    UNIQUE (conference, spi));
"""
TABLES = [
    "replay", "replay_horizon", "single_use", "counters", "system", "conferences", "tickets",
    "allowed", "members", "calls", "updates", "ssrcs", "group_keys",
]  # fmt: skip
GONE = {"type": "TEK+SALT", "key": "ab" * 16, "salt": "cd" * 14, "spi": "01020304"}
"""A group key that expired so long ago that its row is gone."""
OWN = {"type": "TGK", "key": "ef" * 16, "salt": None, "spi": "05060708"}
"""A key of the member's own ticket."""
ERASED = b"the TEK of a row that was erased"


def old_state(path: Path, room: Room, teks: list[dict[str, Any]]) -> None:
    """What a room's file would be in version 1; `teks` are its group keys that expired."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA secure_delete=OFF")
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(
            f"BEGIN; PRAGMA application_id={0x6D6B6366}; PRAGMA user_version=1; {SCHEMA} COMMIT;"
        )
        for table in TABLES:
            known = ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({table})"))
            for row in room.state.db.execute(f"SELECT {known} FROM {table}").fetchall():
                db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        live = {
            spi.hex(): {"type": "TEK+SALT", "key": tek.hex(), "salt": salt.hex(), "spi": spi.hex()}
            for spi, tek, salt in db.execute("SELECT spi, tek, salt FROM group_keys")
            if tek
        }
        for number, text in db.execute(
            "SELECT number, session FROM members WHERE session NOT NULL"
        ).fetchall():
            session = json.loads(text)
            session["keys"] = [
                *(live[spi] for spi in session["keys"] if spi in live),
                *teks,
                GONE,
                OWN,
            ]
            db.execute(
                "UPDATE members SET session = ? WHERE number = ?", (json.dumps(session), number)
            )
        # As they come and go, pages of the file are left with what was in them.
        db.execute("INSERT INTO calls VALUES (99, ?, ?)", (ERASED * 300, ERASED.decode() * 300))
        db.execute("DELETE FROM calls WHERE member = 99")
    path.chmod(0o600)
