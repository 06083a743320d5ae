"""A KMS store in one SQLite file, and what became of its earlier versions."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path
from typing import ClassVar

from mikeytool.kms.store.schema import (
    FROM_VERSION_2,
    SCHEMA,
    SINCE_VERSION_2,
    TPKS,
    TPKS_CURRENT,
    USERS,
    VERSION,
)
from mikeytool.kms.store.seal import BESIDE, Seal
from mikeytool.kms.store.seal_context import psk_place, tpk_place, write_seal
from mikeytool.storage import replay
from mikeytool.storage.sqlite import Database
from mikeytool.wire.errors import StateError


class StoreFile(Database):
    """The SQLite file of a store. Version 1 had its keys in the clear."""

    kind = 0x6D6B6D73  # "mkms"
    name = "KMS store"
    version = VERSION
    patience = 5.0  # clients of a server wait for 10
    schema = ";".join(SCHEMA) + ";"
    migrations: ClassVar = {
        1: (*replay.FROM_VERSION_1, *SINCE_VERSION_2),
        2: FROM_VERSION_2,
    }

    def _migrated(self, db: sqlite3.Connection, version: int) -> None:
        """Seal what version 1 had in the clear, and leave nothing of it in the file."""
        if version > 1:
            return
        users = db.execute("SELECT id, id_type, psk, psk_id, enabled FROM users").fetchall()
        tpks = db.execute("SELECT name, tpk, shared_with, current FROM tpks").fetchall()
        for statement in ("DROP TABLE users", "DROP TABLE tpks", USERS, TPKS, TPKS_CURRENT):
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
        self.db.execute("PRAGMA secure_delete=ON")  # pages that are given up are overwritten
        super()._migrate(found)
        self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def copy(self, target: Path) -> None:
        """Copy it, as it is at one moment, into a file of mode 0600; raises StateError."""
        try:
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        except OSError as error:
            raise StateError(f"{target}: {error.strerror}") from None
        try:
            with self.errors(), closing(sqlite3.connect(name)) as copy:
                self.db.backup(copy)
            os.fsync(handle)
            for suffix in ("-wal", "-shm"):  # of a store that is overwritten
                Path(f"{target}{suffix}").unlink(missing_ok=True)
            Path(name).replace(target)
        except OSError as error:
            raise StateError(f"{target}: {error.strerror}") from None
        finally:
            os.close(handle)
            for suffix in ("", "-wal", "-shm"):
                Path(f"{name}{suffix}").unlink(missing_ok=True)
