"""The common interface to databases, so that SQLite and PostgreSQL look the same to callers.

Queries use the part of the SQLite dialect that means the same in PostgreSQL. They use `?` for
values and `IS NULL` for NULLs. To detect a row that already exists, they use `ON CONFLICT` and
`rowcount` instead of an exception.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from mikeytool.wire.errors import StateError

Where = Path | str
"""A database: the path of its SQLite file, or the URL of a PostgreSQL database."""


_SCHEMES = ("postgresql://", "postgres://")

Statement = tuple[str, Sequence[Any]]
"""A query and its values."""


class Divisible(StateError):
    """A transaction of several messages failed, perhaps because of one of them.

    Nothing was written. Each message may have a transaction of its own.
    """


def is_url(where: Where) -> bool:
    """Whether `where` is the URL of a PostgreSQL database."""
    return isinstance(where, str) and where.startswith(_SCHEMES)


class Rows(Protocol):
    """The result of a statement."""

    @property
    def rowcount(self) -> int:
        """The number of changed rows."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All remaining rows."""

    def __iter__(self) -> Iterator[Any]: ...


class Db(Protocol):
    """Executes statements, either in a transaction or individually."""

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Rows:
        """Execute one statement."""

    def executemany(self, query: str, values: Sequence[Sequence[Any]], /) -> object:
        """Execute one statement for each row of values."""


class Errors:
    """A context that uses `translated` to turn a database's exceptions into StateError.

    It is entered several times for every message, and an object costs less than a generator.
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
    """An open database. All its failures raise StateError."""

    one_writer: bool
    """Whether a transaction that writes has to wait for every other one."""

    @property
    def where(self) -> str:
        """Its name in error messages: the path, or the URL without secrets."""

    @property
    def path(self) -> Path | None:
        """Its file, or None for a database on a server."""

    @property
    def db(self) -> Db:
        """Executes statements outside transactions. Within one, use what the transaction yields."""

    def errors(self) -> Errors:
        """A context that turns the exceptions of statements into StateError."""

    def transaction(self) -> AbstractContextManager[Db]:
        """A transaction that may write. Only one of them runs at a time."""

    def spare(self) -> AbstractContextManager[Db | None]:
        """A transaction for work that can wait, or None if another one is running."""

    def exchange(self) -> AbstractContextManager[Db]:
        """A transaction for one message. With PostgreSQL, others run in parallel."""

    def batch(self) -> AbstractContextManager[Db]:
        """A transaction for several messages. Raises Divisible if one of them may be at fault."""

    def with_rows(self, query: str, rows: Sequence[Sequence[Any]]) -> Statement:
        """Return a statement in which `{rows}` stands for rows of octets, integers and texts."""

    def first_values(self, statements: Sequence[Statement]) -> Callable[[], Sequence[Any]]:
        """Execute statements within a transaction, and return a function that reads the results.

        The result of each is the first value of its first row, or None. A server gets one
        statement for all of them. None of them may depend on what another one of them writes.
        """

    def snapshot(self) -> AbstractContextManager[Db]:
        """A read-only view of the database at one moment."""

    def stream(self, db: Db, query: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """Return a query's column names and its rows. Only a few rows are in memory at a time."""

    def check_schema(self) -> None:
        """Raise StateError if the tables differ from those of a new database."""

    def faults(self, db: Db) -> Iterator[str]:
        """Descriptions of what is wrong with the database itself."""

    def close(self) -> None:
        """Close it."""
