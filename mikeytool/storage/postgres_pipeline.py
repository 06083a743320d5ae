"""The statements of one transaction in as few packets as there are round trips.

The pipeline of psycopg sends a packet for each statement, and makes an object of some 20 fields
for each. That takes as long as all that a KMS computes for a message. This one is on psycopg's
module for libpq, `psycopg.pq`. A statement waits until a result is read or the transaction ends.
Every statement is prepared, once for each connection.
"""

from __future__ import annotations

import select
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import psycopg
    from psycopg.pq.abc import PGresult

_TEXT, _BINARY = 0, 1
_INTEGERS = frozenset((20, 21, 23))
_ELEMENTS: dict[type, int] = {bytes: 17, int: 20, str: 25}
"""The numbers of the types of elements of arrays."""
_ARRAY = struct.Struct("!iiIii")
"""The dimensions, whether there are NULLs, the type, the length and the first index."""
_LENGTH = struct.Struct("!i")
_READ: dict[int, Callable[[bytes], object]] = {
    16: lambda octets: octets == b"\x01",
    17: bytes,
    25: lambda octets: str(octets, "utf-8"),
    **dict.fromkeys(_INTEGERS, lambda octets: int.from_bytes(octets, signed=True)),
}
"""Reads a value in its binary form, by the number of its type: truth, octets, text, integers."""


class Prepared:
    """The statements that a connection has prepared, by their text."""

    def __init__(self) -> None:
        self._count = 0
        self.names: dict[str, bytes] = {}

    def new(self, query: str) -> bytes:
        """Return a name that was never used."""
        self._count += 1
        name = self.names[query] = f"mikeytool_{self._count}".encode()
        return name


class Pending:
    """The result of a statement, which is sent and read when a value is needed."""

    def __init__(self, receive: Callable[[], None]) -> None:
        self._receive = receive
        self._rows: Iterator[Sequence[Any]] | None = None
        self._count = 0

    def take(self, result: PGresult) -> None:
        """Take what the server has answered."""
        kinds = [_READ[result.ftype(column)] for column in range(result.nfields)]
        self._count = result.command_tuples or 0
        rows = []
        for row in range(result.ntuples):
            values = (result.get_value(row, column) for column in range(len(kinds)))
            rows.append(
                tuple(
                    None if value is None else read(value)
                    for read, value in zip(kinds, values, strict=True)
                )
            )
        self._rows = iter(rows)

    def __iter__(self) -> Iterator[Sequence[Any]]:
        """The rows that are left."""
        if self._rows is None:
            self._receive()
        assert self._rows is not None  # noqa: S101 - it was received, or an error was raised
        return self._rows

    @property
    def rowcount(self) -> int:
        """The number of rows that were found or changed."""
        iter(self)
        return self._count

    def fetchone(self) -> Sequence[Any] | None:
        """The next row, or None."""
        return next(iter(self), None)

    def fetchall(self) -> list[Sequence[Any]]:
        """All rows that are left."""
        return list(self)


class Pipeline:
    """A transaction on a connection that does nothing else meanwhile.

    `library` is psycopg. Raises its errors. After an error, statements fail until `close`.
    """

    def __init__(
        self, library: Any, connection: psycopg.Connection[Any], prepared: Prepared, begin: str
    ) -> None:
        self._library, self._connection = library, connection.pgconn
        self._status = library.pq.ExecStatus
        self._prepared, self._added = prepared, list[str]()
        self._waiting: list[Pending | None] = []
        """What waits for a result; None for a statement that is being prepared."""
        self._is_ending = False
        self._poll = select.poll()
        self._connection.enter_pipeline_mode()
        self.execute(begin)

    def execute(self, query: str, values: Sequence[Any] = (), /) -> Pending:
        """Execute a statement, which has a `?` for each value."""
        octets = [self._octets(value) for value in values]
        name = self._prepared.names.get(query)
        if name is None:
            name = self._prepared.new(query)
            self._added.append(query)
            self._connection.send_prepare(name, _numbered(query))
            self._waiting.append(None)
        forms = [_BINARY if isinstance(value, (bytes, list)) else _TEXT for value in values]
        self._connection.send_query_prepared(name, octets, forms, _BINARY)
        pending = Pending(self._receive)
        self._waiting.append(pending)
        return pending

    def _octets(self, value: object) -> bytes | None:
        if value is None or isinstance(value, bytes):
            return value
        if isinstance(value, list):
            return self._array(value)
        return self._text(str(value))

    def _text(self, text: str) -> bytes:
        octets = text.encode()
        if b"\0" in octets:
            raise self._library.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
        return octets

    def _array(self, values: list[Any]) -> bytes:
        """An array of octets, integers or texts in its binary form."""
        parts = [_ARRAY.pack(1, 0, _ELEMENTS[type(values[0])], len(values), 1)]
        for value in values:
            if isinstance(value, int):
                octets = value.to_bytes(8, signed=True)
            else:
                octets = value if isinstance(value, bytes) else self._text(value)
            parts += (_LENGTH.pack(len(octets)), octets)
        return b"".join(parts)

    def commit(self) -> str:
        """Commit, and return what the server did: COMMIT, or ROLLBACK after an error."""
        self.execute("COMMIT")
        self._synchronize()
        done = b""
        while self._waiting:
            done = self._received().command_status or b""
        self._synchronized()
        return done.decode()

    def close(self) -> None:
        """End the pipeline. A transaction that is not committed stays open, or is aborted."""
        if not self._is_on():
            return
        for query in self._added:  # perhaps they were not prepared
            self._prepared.names.pop(query, None)
        with suppress(self._library.Error):  # the connection is lost
            if not self._is_ending:
                self._synchronize()
            self._synchronized()
        if self._is_on():
            self._connection.finish()

    def _is_on(self) -> bool:
        return bool(self._connection.pipeline_status != self._library.pq.PipelineStatus.OFF)

    def _synchronize(self) -> None:
        """Ask the server to end the pipeline, and send everything that waits."""
        self._is_ending = True
        self._connection.pipeline_sync()
        self._flush()

    def _receive(self) -> None:
        """Send all statements that wait, and read their results."""
        self._connection.send_flush_request()
        self._flush()
        while self._waiting:
            self._received()

    def _received(self) -> PGresult:
        """Read the result of the statement that has waited longest."""
        result = self._next()
        if result is None or result.status not in (self._status.COMMAND_OK, self._status.TUPLES_OK):
            raise self._error(result)
        self._next()  # None, at the end of a statement
        pending = self._waiting.pop(0)
        if pending is not None:
            try:
                pending.take(result)
            except KeyError as error:
                text = f"a column has the type {error}, which no column of ours has"
                raise self._library.DataError(text) from None
        return result

    def _error(self, result: PGresult | None) -> Exception:
        library = self._library
        if result is None:
            return library.OperationalError("the connection is lost")  # type: ignore[no-any-return]
        state = result.error_field(library.pq.DiagnosticField.SQLSTATE)
        text = library.pq.error_message(result, "utf-8")
        kind = library.OperationalError
        if state is not None:
            kind = library.DatabaseError
            with suppress(KeyError):
                kind = library.errors.lookup(state.decode())
        return kind(text)  # type: ignore[no-any-return]

    def _synchronized(self) -> None:
        """Read until the server has ended the pipeline, and end it here."""
        while (result := self._next()) is None or result.status != self._status.PIPELINE_SYNC:
            if self._connection.status != self._library.pq.ConnStatus.OK:
                raise self._error(result)
        self._waiting.clear()
        self._connection.exit_pipeline_mode()

    def _next(self) -> PGresult | None:
        while self._connection.is_busy():
            self._wait(select.POLLIN)
            self._connection.consume_input()
        return self._connection.get_result()

    def _flush(self) -> None:
        while self._connection.flush():
            if self._wait(select.POLLIN | select.POLLOUT) & select.POLLIN:
                self._connection.consume_input()

    def _wait(self, for_what: int) -> int:
        self._poll.register(self._connection.socket, for_what)
        [(_, ready)] = self._poll.poll()
        return ready


def _numbered(query: str) -> bytes:
    """A query with the marks for values that libpq wants: $1, $2, and so on."""
    first, *others = query.split("?")
    return (first + "".join(f"${at}{text}" for at, text in enumerate(others, 1))).encode()
