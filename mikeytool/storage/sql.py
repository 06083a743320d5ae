"""What a store asks of a database, so that SQLite and PostgreSQL are the same to it.

Queries are SQLite's where PostgreSQL reads them the same way: `?` for values, no exceptions
for rows that are there already but `ON CONFLICT` and `rowcount`. `NULL`s are asked for as such.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from mikeytool.wire.errors import StateError

Where = Path | str
"""A store: the path of its file, or the URL of a PostgreSQL database."""


class Rows(Protocol):
    """What came of a statement."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""

    def fetchone(self) -> Any:
        """The next row, or None."""

    def fetchall(self) -> list[Any]:
        """All rows that are left."""

    def __iter__(self) -> Iterator[Any]: ...


class Db(Protocol):
    """Takes statements, within a transaction or each on its own."""

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Rows:
        """Do one statement."""

    def executemany(self, query: str, values: Sequence[Sequence[Any]], /) -> object:
        """Do one statement for each of some rows of values."""


class Errors:
    """Turns what a database raises into a StateError; `translated` knows which.

    It is entered several times for every message, so it is one object and no generator.
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
    """A database that is open. Whatever goes wrong with it is a StateError."""

    @property
    def where(self) -> str:
        """What errors call it: its path, or its URL without anything secret."""

    @property
    def path(self) -> Path | None:
        """Its file, None for a server's."""

    @property
    def db(self) -> Db:
        """For statements outside of transactions; within one, the same as it yields."""

    def errors(self) -> Errors:
        """Turns what statements raise into StateError."""

    def transaction(self) -> AbstractContextManager[Db]:
        """One that may write, with no other of its kind beside it."""

    def spare(self) -> AbstractContextManager[Db | None]:
        """The same for what can wait: None when others are at it."""

    def exchange(self) -> AbstractContextManager[Db]:
        """One for a message; with PostgreSQL others go on beside it."""

    def snapshot(self) -> AbstractContextManager[Db]:
        """What the database holds at one moment."""

    def stream(self, db: Db, query: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """The names of the columns of a query, and its rows, of which few are in memory."""

    def faults(self, db: Db) -> Iterator[str]:
        """What is wrong with the database itself."""

    def close(self) -> None:
        """Close it."""
