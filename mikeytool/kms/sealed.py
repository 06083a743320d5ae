"""The file of a KMS store: its tables, its versions, and the secrets that are sealed in it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cached_property
from typing import ClassVar

from mikeytool.exchange.profile import PROFILE_256, PROFILES, Profile
from mikeytool.kms import replay
from mikeytool.kms.database import Database
from mikeytool.kms.seal import BESIDE, Seal, Sealer
from mikeytool.wire.errors import StateError
from mikeytool.wire.identity import Identity

_USERS = """
CREATE TABLE users (
    id BLOB PRIMARY KEY, id_type INTEGER NOT NULL, psk BLOB, psk_id BLOB UNIQUE, cert BLOB,
    enabled INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID"""
_TPKS = """
CREATE TABLE tpks (
    name BLOB PRIMARY KEY, tpk BLOB NOT NULL, shared_with BLOB,
    current INTEGER NOT NULL) WITHOUT ROWID"""
_TPKS_CURRENT = "CREATE INDEX tpks_current ON tpks (shared_with) WHERE current"
_SINCE_VERSION_2 = (
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
    """CREATE TABLE requested (
    ticket BLOB PRIMARY KEY, user BLOB NOT NULL, until_ns INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX requested_until ON requested (until_ns)",
)
_SCHEMA = (
    "CREATE TABLE kms (id BLOB NOT NULL, id_type INTEGER NOT NULL, profile INTEGER NOT NULL)",
    _USERS,
    """CREATE TABLE act_as (
    user BLOB NOT NULL REFERENCES users ON DELETE CASCADE, pattern TEXT NOT NULL,
    PRIMARY KEY (user, pattern)) WITHOUT ROWID""",
    """CREATE TABLE members (
    member BLOB NOT NULL, grp BLOB NOT NULL, grp_type INTEGER NOT NULL,
    PRIMARY KEY (member, grp)) WITHOUT ROWID""",
    _TPKS,
    _TPKS_CURRENT,
    """CREATE TABLE log (
    at_ns INTEGER NOT NULL, exchange TEXT NOT NULL, user TEXT NOT NULL,
    about TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL)""",
    *_SINCE_VERSION_2,
)


class SealedDatabase(Database):
    """The SQLite file of a store. Version 1 had its keys in the clear."""

    kind = 0x6D6B6D73  # "mkms"
    name = "KMS store"
    version = 2
    schema = ";".join(_SCHEMA) + ";" + replay.SCHEMA
    named = True
    """Whether this is the store that the operator named, for which MIKEYTOOL_SEAL counts."""
    migrations: ClassVar = {1: (*replay.FROM_VERSION_1, *_SINCE_VERSION_2)}

    def _migrated(self, db: sqlite3.Connection, version: int) -> None:
        """Seal what version 1 had in the clear, and leave nothing of it in the file."""
        users = db.execute("SELECT id, id_type, psk, psk_id, enabled FROM users").fetchall()
        tpks = db.execute("SELECT name, tpk, shared_with, current FROM tpks").fetchall()
        for statement in ("DROP TABLE users", "DROP TABLE tpks", _USERS, _TPKS, _TPKS_CURRENT):
            db.execute(statement)
        # A key file may be left from a migration that was cut short.
        seal, sealer = Seal.make(BESIDE, self.path, adopt=True)
        write_seal(db, seal)
        for user, id_type, psk, psk_id, enabled in users:
            sealed = sealer.seal(psk, *psk_place(user))
            row = (user, id_type, sealed, psk_id, None, enabled)
            db.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)", row)
        for name, key, party, current in tpks:
            sealed = sealer.seal(key, *tpk_place(name, party))
            db.execute("INSERT INTO tpks VALUES (?, ?, ?, ?)", (name, sealed, party, current))

    def _migrate(self, found: int) -> None:
        if found == self.version:
            return
        self._db.execute("PRAGMA secure_delete=ON")  # pages that are given up are overwritten
        super()._migrate(found)
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @cached_property
    def identity(self) -> Identity:
        """The identity of the KMS."""
        data, id_type, _ = self._kms
        return Identity(data, id_type)

    @cached_property
    def profile(self) -> Profile:
        """The strongest profile that the KMS serves."""
        return PROFILES.get(self._kms[2], PROFILE_256)

    @cached_property
    def _kms(self) -> tuple[bytes, int, int]:
        with self._errors():
            row: tuple[bytes, int, int] | None = self._db.execute(
                "SELECT id, id_type, profile FROM kms"
            ).fetchone()
        if row is None:
            raise StateError(f"{self.path}: its making was cut short; make it anew")
        return row

    @cached_property
    def sealer(self) -> Sealer:
        """What seals and opens secrets; raises StateError without the right sealing key."""
        with self._errors():
            row = self._db.execute("SELECT how, salt, n, r, p, data_key FROM seal").fetchone()
        if row is None:
            raise StateError(f"{self.path}: it says nothing of its sealing key; restore a backup")
        how, salt, n, r, p, data_key = row
        return Seal(how, salt, None if n is None else (n, r, p), data_key).open(
            self.path, named=self.named
        )

    def _opened(self, sealed: bytes, what: str, place: tuple[str | bytes, ...]) -> bytes:
        try:
            return self.sealer.open(sealed, *place)
        except ValueError:
            raise StateError(
                f"{self.path}: {what} does not open: its row was changed or is that of another;"
                " restore a backup"
            ) from None


def write_seal(db: sqlite3.Connection, seal: Seal) -> None:
    """Write down how a store is sealed, within a transaction."""
    cost = seal.cost or (None, None, None)
    db.execute(
        "INSERT INTO seal VALUES (?, ?, ?, ?, ?, ?)", (seal.how, seal.salt, *cost, seal.data_key)
    )


def psk_place(user: bytes) -> tuple[str | bytes, ...]:
    """Where the pre-shared key of a user stands."""
    return "users", user, "psk"


def tpk_place(name: bytes, party: bytes | None) -> tuple[str | bytes, ...]:
    """Where a ticket protection key stands; whose it is cannot be changed either."""
    return "tpks", name, "tpk", "own" if party is None else "shared", party or b""


def private_key_place(fingerprint: bytes) -> tuple[str | bytes, ...]:
    """Where the private key for a certificate of the KMS stands."""
    return "kms_keys", fingerprint, "private_key"


def peer_place(peer: bytes) -> tuple[str | bytes, ...]:
    """Where the key shared with another KMS stands."""
    return "peers", peer, "psk"


def nothing() -> None:
    """What is done before a commit when nothing is to be done."""


BeforeCommit = Callable[[], None]
