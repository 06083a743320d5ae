"""A KMS store in one SQLite file, and the migration of files from earlier versions."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from mikeytool.kms.store.schema import (
    FROM_VERSION_2,
    FROM_VERSION_3,
    FROM_VERSION_4,
    KIND,
    NAME,
    SCHEMA,
    SINCE_VERSION_2,
    TPKS,
    TPKS_CURRENT,
    USERS,
    VERSION,
)
from mikeytool.kms.store.seal import BESIDE, Seal, write_seal
from mikeytool.kms.store.seal_context import psk_context, tpk_context
from mikeytool.storage import replay
from mikeytool.storage.private_files import new_file
from mikeytool.storage.sqlite import SqliteDatabase, remove_working_files
from mikeytool.wire.errors import StateError


class StoreFile(SqliteDatabase):
    """The SQLite file of a store. Version 1 stored the keys in the clear."""

    kind = KIND
    name = NAME
    version = VERSION
    patience = 5.0  # clients of a server wait 10 seconds
    schema = ";".join(SCHEMA) + ";"
    migrations: ClassVar = {
        1: (*replay.FROM_VERSION_1, *SINCE_VERSION_2),
        2: FROM_VERSION_2,
        3: FROM_VERSION_3,
        4: FROM_VERSION_4,
    }

    def _migrated(self, db: sqlite3.Connection, version: int) -> None:
        """Seal the keys that version 1 stored in the clear, and leave no trace of the old ones."""
        if version > 1:
            return
        users = db.execute("SELECT id, id_type, psk, psk_id, enabled FROM users").fetchall()
        tpks = db.execute("SELECT name, tpk, shared_with, current FROM tpks").fetchall()
        for statement in ("DROP TABLE users", "DROP TABLE tpks", USERS, TPKS, TPKS_CURRENT):
            db.execute(statement)
        # An interrupted migration may have left a key file.
        seal, sealer = Seal.make(BESIDE, self.path, adopt=True)
        write_seal(db, seal)
        for user, id_type, psk, psk_id, enabled in users:
            sealed = sealer.seal(psk, *psk_context(user))
            row = (user, id_type, sealed, psk_id, None, enabled)
            db.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?, ?)", row)
        for name, key, party, current in tpks:
            sealed = sealer.seal(key, *tpk_context(name, party))
            db.execute("INSERT INTO tpks VALUES (?, ?, ?, ?)", (name, sealed, party, current))

    def _migrate(self, found: int) -> None:
        if found == self.version:
            return
        self.db.execute("PRAGMA secure_delete=ON")  # overwrites pages that are freed
        super()._migrate(found)
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def check_schema(self) -> None:
        """Raise StateError if tables or indexes differ from those of a new store."""
        with self.errors(), closing(sqlite3.connect(":memory:")) as new:
            new.executescript(self.schema)
            if _structure(self.db) != _structure(new):
                raise StateError(f"{self.path}: its tables are damaged; restore a backup")

    def copy(self, target: Path) -> None:
        """Copy a snapshot of the file to `target`, with mode 0600. Raises StateError."""
        with new_file(target, replace=True) as made:
            try:
                with self.errors(), closing(sqlite3.connect(made)) as copy:
                    try:
                        self.db.backup(copy)
                    except sqlite3.OperationalError as error:
                        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
                            raise
                        raise StateError(f"{target}: {error}") from None
            finally:
                remove_working_files(made)
            remove_working_files(target)  # of the store that is overwritten


def _structure(db: sqlite3.Connection) -> dict[str, list[tuple[object, ...]]]:
    """The columns of every table and index, and which indexes are unique or partial."""
    names = db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    return {name: _described(db, name) for (name,) in names}


def _described(db: sqlite3.Connection, name: str) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for pragma in ("table_xinfo", "index_list", "index_info"):
        query = f"SELECT * FROM pragma_{pragma}(?)"  # noqa: S608 - names from here
        found += sorted(db.execute(query, (name,)).fetchall(), key=repr)
    return found
