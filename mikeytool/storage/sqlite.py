"""An SQLite file for state that must survive a crash: opening, creating, transactions."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, ClassVar, Self

from mikeytool.storage.private_files import new_file
from mikeytool.storage.sql import Db, Errors, Statement
from mikeytool.wire.errors import StateError, Unavailable

_PAUSE = 0.001
"""Seconds between two attempts to begin a write transaction."""

_HEADER = 100
"""Octets at the beginning of an SQLite file."""

Fill = Callable[[sqlite3.Connection], object]
"""Inserts the first rows of a new database."""


def remove_working_files(path: Path) -> None:
    """Remove the files that SQLite keeps beside a database while it is in use."""
    for suffix in ("-journal", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _nothing(_db: sqlite3.Connection) -> None:
    """Insert no rows."""


class SqliteDatabase:
    """An SQLite file with mode 0600. A subclass defines `kind`, `name`, `schema` and queries.

    `kind` is the `application_id` in the file. It keeps the file of another program from being
    mistaken for one of ours. `version` is the version of the schema, stored as `user_version`.
    `migrations` maps each version to the statements that upgrade a file to the next version.

    Opening raises StateError if the file is missing, has another kind, or has a version that
    cannot be migrated.
    """

    kind: int
    version: int = 1
    migrations: ClassVar[Mapping[int, Sequence[str]]] = {}
    schema: str
    name: str
    one_writer = True
    patience = 10.0
    """Seconds to wait for another process that holds the file."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise StateError(f"{path}: there is no such {self.name}")
        self._connect(path)
        try:
            with self.errors():
                # With FULL, an entry is on disk once it is committed.
                self.db.execute("PRAGMA synchronous=FULL")
                if self._pragma("application_id") != self.kind:
                    raise StateError(f"{path}: this file is no {self.name}")
                self._migrate(self._pragma("user_version"))
        except BaseException:
            self.db.close()
            raise

    def _connect(self, path: Path) -> None:
        self.path, self._errors = path, Errors(self._translated)
        with self.errors():
            self.db = sqlite3.connect(path, timeout=self.patience, isolation_level=None)

    def _migrate(self, found: int) -> None:
        """Upgrade a file from an older version to this one, in one transaction."""
        if found == self.version:
            return
        if found not in self.migrations:
            raise StateError(
                f"{self.path}: it was written by another version of mikeytool (its format is"
                f" {found}, this one's {self.version}); use that one"
            )
        with self.transaction() as db:
            # Another process may have migrated the file in the meantime.
            for version in range(self._pragma("user_version"), self.version):
                for statement in self.migrations[version]:
                    db.execute(statement)
                self._migrated(db, version)
            db.execute(f"PRAGMA user_version={self.version}")

    def _migrated(self, db: sqlite3.Connection, version: int) -> None:
        """Do the work of a migration from `version` that its statements cannot do."""

    @classmethod
    def create(cls, path: Path, fill: Fill = _nothing) -> Self:
        """Create the file with the rows that `fill` inserts, and open it.

        The file appears at `path` only when it is complete. Raises StateError if `path` already
        exists.
        """
        try:
            with new_file(path) as made:
                try:
                    with closing(sqlite3.connect(made, isolation_level=None)) as db:
                        cls._fill(db, fill)
                        db.execute("PRAGMA journal_mode=WAL")  # lets others read during a write
                finally:
                    remove_working_files(made)
        except sqlite3.Error as error:
            raise StateError(f"{path}: {error}") from None
        return cls(path)

    @classmethod
    def in_memory(cls, fill: Fill = _nothing) -> Self:
        """Create a database without a file. Its contents are lost when it is closed.

        Only the thread that creates the database can use it.
        """
        made = cls.__new__(cls)
        made._connect(Path(":memory:"))
        try:
            with made.errors():
                cls._fill(made.db, fill)
        except BaseException:
            made.close()
            raise
        return made

    @classmethod
    def _fill(cls, db: sqlite3.Connection, fill: Fill) -> None:
        db.executescript(
            f"BEGIN; PRAGMA application_id={cls.kind};"
            f" PRAGMA user_version={cls.version}; {cls.schema}"
        )
        fill(db)
        db.execute("COMMIT")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that may write. Afterwards, either all of it is on disk or none of it.

        Raises Unavailable if another process locks the file for too long.
        """
        with self.errors():
            self._begin()
            try:
                yield self.db
                self._commit()
            finally:
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")

    def _commit(self) -> None:
        self.db.execute("COMMIT")

    exchange = batch = spare = transaction

    def _begin(self) -> None:
        """Begin a write transaction as soon as no other one is open.

        SQLite's own busy handler soon retries only every tenth of a second. A process that
        retries more often is then always served first, and others wait for seconds.
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

    def with_rows(self, query: str, rows: Sequence[Sequence[Any]]) -> Statement:
        """Return a statement in which `{rows}` stands for rows."""
        marks = f"({', '.join('?' * len(rows[0]))})"
        values = [value for row in rows for value in row]
        return query.format(rows=f"VALUES {', '.join([marks] * len(rows))}"), values

    def first_values(self, statements: Sequence[Statement]) -> Callable[[], Sequence[Any]]:
        """Execute statements, and return a function that returns the first value of each."""
        rows = [self.db.execute(query, values).fetchone() for query, values in statements]
        found = [None if row is None else row[0] for row in rows]
        return lambda: found

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """A read-only view of the file at one moment. Others may continue writing."""
        with self.errors():
            self.db.execute("BEGIN")
            try:
                yield self.db
            finally:
                self.db.execute("ROLLBACK")

    @classmethod
    def check_kind(cls, path: Path) -> None:
        """Raise StateError if the file is of another kind. The file is not changed."""
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
        """Its name in error messages, which is the path."""
        return str(self.path)

    def stream(self, db: Db, query: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """Return a query's column names and its rows. Only a few rows are in memory at a time."""
        cursor = db.execute(query)
        assert isinstance(cursor, sqlite3.Cursor)  # noqa: S101 - it comes from this file
        return [column[0] for column in cursor.description], cursor

    def faults(self, db: Db) -> Iterator[str]:
        """Descriptions of what SQLite finds wrong with its file."""
        return (line for (line,) in db.execute("PRAGMA integrity_check") if line != "ok")

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _pragma(self, name: str) -> int:
        value: int = self.db.execute(f"PRAGMA {name}").fetchone()[0]
        return value

    def errors(self) -> Errors:
        """A context that turns SQLite's exceptions into StateError."""
        return self._errors

    def _translated(self, error: BaseException) -> StateError | None:
        if isinstance(error, UnicodeDecodeError):  # sqlite3 failed to decode its own message
            return StateError(f"{self.path}: it is damaged; restore a backup")
        if not isinstance(error, sqlite3.Error):
            return None
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_NOTADB:
            return StateError(f"{self.path}: this file is no {self.name}")
        line, _, _ = str(error).partition("\n")  # some texts quote the lines of a damaged schema
        return StateError(f"{self.path}: {line}")
