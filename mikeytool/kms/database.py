"""One SQLite file for state that must survive a crash: opening, creating, transactions."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Self

from mikeytool.wire.errors import StateError

_BUSY_MS = 10_000
"""How long to wait for another process that holds the file."""


class Database:
    """An SQLite file of mode 0600. A subclass gives `kind`, `schema` and its queries.

    `application_id` in the file is `kind`, so that the file of another program is not
    taken for one of ours; `user_version` is the version of the schema.
    """

    kind: int
    version: int = 1
    schema: str
    name: str

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StateError(f"{path}: there is no such {self.name}")
        self.path = path
        with self._errors():
            self._db = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None)
            kind = self._pragma("application_id")
            if kind != self.kind:
                raise StateError(f"{path}: this file is no {self.name}")
            if self._pragma("user_version") != self.version:
                raise StateError(
                    f"{path}: it was written by another version of mikeytool; use that one"
                )
            # FULL has an entry on disk once it is committed.
            self._db.execute("PRAGMA synchronous=FULL")

    @classmethod
    def create(cls, path: Path) -> Self:
        """Make the file and open it; raises StateError when it is there already."""
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        os.close(handle)
        try:
            with closing(sqlite3.connect(name, isolation_level=None)) as db:
                db.executescript(
                    f"BEGIN; PRAGMA application_id={cls.kind};"
                    f" PRAGMA user_version={cls.version}; {cls.schema} COMMIT;"
                )
                db.execute("PRAGMA journal_mode=WAL")  # lets readers in while one writes
            # A link gives the finished file its name, or fails when there is one.
            os.link(name, path)
        except FileExistsError:
            raise StateError(f"{path}: it exists already; choose another name") from None
        except (OSError, sqlite3.Error) as error:
            raise StateError(f"{path}: {error}") from None
        finally:
            for suffix in ("", "-journal", "-wal", "-shm"):
                Path(f"{name}{suffix}").unlink(missing_ok=True)
        return cls(path)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """One transaction that may write: all of it is on disk afterwards, or none."""
        with self._errors():
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def remove(self) -> None:
        """Close the file and remove it with what SQLite keeps beside it."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _pragma(self, name: str) -> int:
        value: int = self._db.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StateError(f"{self.path}: {error}") from None
