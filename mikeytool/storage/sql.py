"""What is asked of a database, so that SQLite and PostgreSQL look the same to its users.

Queries are written for SQLite where PostgreSQL reads them the same way: `?` for values, no
exception for a row that exists already but `ON CONFLICT` and `rowcount`, `IS NULL` for NULLs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from mikeytool.wire.errors import StateError

Where = Path | str
"""A database: the path of its SQLite file, or the URL of a PostgreSQL database."""


class Rows(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of rows that were changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Db(Protocol):
    """Executes statements, in a transaction or each on its own."""

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Rows:
        """Execute one statement."""

    def executemany(self, query: str, values: Sequence[Sequence[Any]], /) -> object:
        """Execute one statement for each row of values."""


class Errors:
    """A context in which a database's exceptions become StateError, by `translated`.

    It is entered several times for every message; an object costs less than a generator.
    """

    def __init__(self, translated: Callable[[BaseException], StateError | None]) -> None:
        self._translated = translated

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        found = None if error is None else self._translated(error)
        if found is not None:
            raise found from None


class Backend(Protocol):
    """An open database. Everything that goes wrong with it is a StateError."""

    @property
    def where(self) -> str:
        """Its name in errors: the path, or the URL without anything secret."""

    @property
    def path(self) -> Path | None:
        """Its file; None for a database on a server."""

    @property
    def db(self) -> Db:
        """For statements outside of transactions; in a transaction, what that yields."""

    def errors(self) -> Errors:
        """A context in which what statements raise becomes StateError."""

    def transaction(self) -> AbstractContextManager[Db]:
        """A transaction that may write, with no other of its kind beside it."""

    def spare(self) -> AbstractContextManager[Db | None]:
        """A transaction for work that can wait: None if another one is running."""

    def exchange(self) -> AbstractContextManager[Db]:
        """A transaction for one message; with PostgreSQL, others run beside it."""

    def snapshot(self) -> AbstractContextManager[Db]:
        """What the database holds at one moment."""

    def stream(self, db: Db, query: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """The names of a query's columns, and its rows, few of them in memory at a time."""

    def faults(self, db: Db) -> Iterator[str]:
        """What is wrong with the database itself."""

    def close(self) -> None:
        """Close it."""
