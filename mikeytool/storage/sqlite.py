"""One SQLite file for state that must survive a crash: opening, creating, transactions."""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from mikeytool.storage.sql import Db, Errors
from mikeytool.wire.errors import StateError, Unavailable

_PAUSE = 0.001
"""Seconds between two tries to be the one who writes."""

_HEADER = 100
"""Octets at the beginning of an SQLite file."""


class Database:
    """An SQLite file of mode 0600. A subclass gives `kind`, `schema` and its queries.

    `application_id` in the file is `kind`, so that the file of another program is not
    taken for one of ours; `user_version` is the version of the schema. `migrations` has,
    by version, the statements that bring a file of it to the next one.
    """

    kind: int
    version: int = 1
    migrations: ClassVar[Mapping[int, Sequence[str]]] = {}
    schema: str
    name: str
    patience = 10.0
    """Seconds to wait for another process that holds the file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StateError(f"{path}: there is no such {self.name}")
        self.path, self._errors = path, Errors(self._translated)
        with self.errors():
            self.db = sqlite3.connect(path, timeout=self.patience, isolation_level=None)
        try:
            with self.errors():
                # FULL has an entry on disk once it is committed.
                self.db.execute("PRAGMA synchronous=FULL")
                if self._pragma("application_id") != self.kind:
                    raise StateError(f"{path}: this file is no {self.name}")
                self._migrate(self._pragma("user_version"))
        except BaseException:
            self.db.close()
            raise

    def _migrate(self, found: int) -> None:
        """Bring a file of an older version to this one, in one transaction."""
        if found == self.version:
            return
        if found not in self.migrations:
            raise StateError(
                f"{self.path}: it was written by another version of mikeytool (its format is"
                f" {found}, this one's {self.version}); use that one"
            )
        with self.transaction() as db:
            # Another process may have been faster.
            for version in range(self._pragma("user_version"), self.version):
                for statement in self.migrations[version]:
                    db.execute(statement)
                self._migrated(db, version)
            db.execute(f"PRAGMA user_version={self.version}")

    def _migrated(self, db: sqlite3.Connection, version: int) -> None:
        """What a migration from `version` takes beyond its statements."""

    @classmethod
    def create(
        cls, path: Path, fill: Callable[[sqlite3.Connection], object] = lambda _: None
    ) -> Self:
        """Make the file, put in what `fill` does, and open it.

        Raises StateError when it is there already. Whoever finds the file finds it whole.
        """
        try:
            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        os.close(handle)
        try:
            with closing(sqlite3.connect(name, isolation_level=None)) as db:
                db.executescript(
                    f"BEGIN; PRAGMA application_id={cls.kind};"
                    f" PRAGMA user_version={cls.version}; {cls.schema}"
                )
                fill(db)
                db.execute("COMMIT")
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
        """One transaction that may write: all of it is on disk afterwards, or none.

        Raises Unavailable when another process holds the file for too long.
        """
        with self.errors():
            self._begin()
            try:
                yield self.db
                self.db.execute("COMMIT")
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    exchange = spare = transaction

    def _begin(self) -> None:
        """Wait for one's turn to write.

        SQLite itself looks every tenth of a second after a while; whoever looks more often
        is served first then, and others wait for seconds.
        """
        until = time.monotonic() + self.patience
        self.db.execute("PRAGMA busy_timeout=0")
        try:
            while True:
                try:
                    self.db.execute("BEGIN IMMEDIATE")
                    break
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                        raise
                if time.monotonic() >= until:
                    raise Unavailable(f"{self.path}: another process holds it; try again")
                time.sleep(_PAUSE)
        finally:
            self.db.execute(f"PRAGMA busy_timeout={self.patience * 1000:.0f}")

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """What the file holds at one moment; others may go on writing."""
        with self.errors():
            self.db.execute("BEGIN")
            try:
                yield self.db
            finally:
                self.db.execute("ROLLBACK")

    @classmethod
    def check_kind(cls, path: Path) -> None:
        """Raise StateError for a file that is not one of ours, without changing it."""
        try:
            with path.open("rb") as found:
                header = found.read(_HEADER)
        except OSError as error:
            raise StateError(f"{path}: {error.strerror}") from None
        # SQLite keeps application_id at offset 68 of the file.
        if len(header) < _HEADER or header[68:72] != cls.kind.to_bytes(4):
            raise StateError(f"{path}: this file is no {cls.name}")

    @property
    def where(self) -> str:
        """What errors call it: its path."""
        return str(self.path)

    def stream(self, db: Db, query: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """The names of the columns of a query, and its rows, of which few are in memory."""
        cursor = db.execute(query)
        assert isinstance(cursor, sqlite3.Cursor)  # noqa: S101 - it is this file's
        return [column[0] for column in cursor.description], cursor

    def faults(self, db: Db) -> Iterator[str]:
        """What SQLite finds wrong with its file."""
        return (line for (line,) in db.execute("PRAGMA integrity_check") if line != "ok")

    def remove(self) -> None:
        """Close the file and remove it with what SQLite keeps beside it."""
        self.close()
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def _pragma(self, name: str) -> int:
        value: int = self.db.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def errors(self) -> Errors:
        """Turns what SQLite raises into StateError."""
        return self._errors

    def _translated(self, error: BaseException) -> StateError | None:
        if not isinstance(error, sqlite3.Error):
            return None
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            return StateError(f"{self.path}: this file is no {self.name}")
        return StateError(f"{self.path}: {error}")
