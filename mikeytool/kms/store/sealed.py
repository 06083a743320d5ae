"""The base of a KMS store: its database, the identity of the KMS, and its sealed secrets."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Self

from mikeytool.exchange.profile import PROFILE_256, PROFILES, Profile
from mikeytool.kms.store import log_entries
from mikeytool.kms.store.memory import Known, Memory
from mikeytool.kms.store.records import LogEntry
from mikeytool.kms.store.seal import Seal, SealContext, Sealer
from mikeytool.kms.store.store_file import StoreFile
from mikeytool.storage.sql import Backend, Db, Errors, Where, is_url
from mikeytool.wire.errors import MikeyError, StateError, UsageError
from mikeytool.wire.identity import Identity


class SealedDatabase:
    """A store in an SQLite file, or in a PostgreSQL database by its URL."""

    named = True
    """Whether the operator named this store. MIKEYTOOL_SEAL applies only to that store."""

    _operated = False

    known: Known | None = None
    """What is kept in memory, while messages are answered; see `answering`."""

    def __init__(
        self,
        where: Where,
        clock: Callable[[], int] = time.time_ns,
        *,
        operated: bool = False,
    ) -> None:
        self._clock, self._operated = clock, operated
        self._backend: Backend
        if is_url(where):
            from mikeytool.kms.store.store_server import StoreServer

            self._backend = StoreServer(str(where))
        else:
            self._backend = StoreFile(Path(where))

    @property
    def where(self) -> str:
        """Its name in error messages: the path or the URL."""
        return self._backend.where

    @property
    def path(self) -> Path:
        """Its file. Raises UsageError for a store on a server."""
        return self._file.path

    @property
    def _file(self) -> StoreFile:
        if not isinstance(self._backend, StoreFile):
            raise UsageError(
                f"{self.where}: this store is no file; copy it with kms copy, or with pg_dump"
            )
        return self._backend

    def _note(self, db: Db, change: str) -> None:
        """Log a change within its transaction, if an operator makes it."""
        if self._operated:
            log_entries.add(
                db, LogEntry(self._clock(), "change", log_entries.OPERATOR, change, "done", "")
            )

    @contextmanager
    def transaction(self) -> Iterator[Db]:
        """A transaction for a change. Afterwards, either all of it is on disk or none of it.

        It gives the store another number, so that nothing from before the change is used.
        """
        with self._backend.transaction() as db:
            renumber(db)
            yield db

    @cached_property
    def memory(self) -> Memory:
        """What is kept in memory between messages. Connections to one store may share it."""
        return Memory()

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Keep what is read in memory, and use what is kept there.

        It may be from before a change: the transaction of a message finds that out.
        """
        self.known = self.memory.known or self.renewed()
        try:
            yield
        finally:
            self.known = None

    def renewed(self) -> Known:
        """Start with an empty memory, as the store is now."""
        with self._errors():
            number = self._db.execute(NUMBER).fetchone()[0]
        self.known = self.memory.known = Known(number)
        return self.known

    def is_known(self) -> bool:
        """Whether what is kept in memory is still right."""
        with self._errors():
            number = self._db.execute(NUMBER).fetchone()[0]
        return self.known is not None and self.known.number == number

    def snapshot(self) -> AbstractContextManager[Db]:
        """A read-only view of the store at one moment. Others may continue writing."""
        return self._backend.snapshot()

    def close(self) -> None:
        """Close it."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        """Close it. An error that is not ours may come from damage, such as a lost value."""
        try:
            if isinstance(error, Exception) and not isinstance(error, MikeyError):
                self._check_whole(error)
        finally:
            self.close()

    def _check_whole(self, error: Exception) -> None:
        with self.snapshot() as db:
            fault = next(iter(self._backend.faults(db)), None)
        if fault is not None:
            text = fault.partition("\n")[0]
            raise StateError(f"{self.where}: it is damaged; restore a backup: {text}") from error

    @property
    def _db(self) -> Db:
        return self._backend.db

    def _errors(self) -> Errors:
        return self._backend.errors()

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
            raise StateError(f"{self.where}: its creation was cut short; create it anew")
        return row

    @cached_property
    def sealer(self) -> Sealer:
        """Seals and opens secrets. Raises StateError without the right sealing key."""
        with self._errors():
            row = self._db.execute("SELECT how, salt, n, r, p, data_key FROM seal").fetchone()
        if row is None:
            raise StateError(f"{self.where}: it says nothing of its sealing key; restore a backup")
        how, salt, n, r, p, data_key = row
        return Seal(how, salt, None if n is None else (n, r, p), data_key).open(
            self._backend.path or self.where, named=self.named
        )

    def _opened(self, sealed: bytes, what: str, context: SealContext) -> bytes:
        """Open a secret. If this fails, raises StateError with `what` as its name."""
        try:
            return self.sealer.open(sealed, *context)
        except ValueError:
            raise StateError(
                f"{self.where}: {what} does not open: its row was changed or swapped with another;"
                " restore a backup"
            ) from None


NUMBER = "SELECT number FROM changes"
"""Queries the number of a store."""


def renumber(db: Db) -> None:
    """Give a store another number, within a transaction."""
    db.execute("UPDATE changes SET number = ?", (int.from_bytes(os.urandom(8)) >> 1,))


BeforeCommit = Callable[[], None]
"""Called before a change is committed. If it raises, the store does not change."""


def nothing() -> None:
    """Do nothing before a commit."""
