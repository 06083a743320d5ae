"""The KMS store: users, keys, policy, replay cache and log in one database.

To answer messages, a KMS needs only a small part of it: users and peers (`user`, `user_of_key`,
`peer`), keys (`psk`, `tpk`, `key_pairs`, `anchors`), permissions (`policy`, `rules`, `act_as`,
`groups_of`), and one transaction for each message (`exchange`). The rest is for operators.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from mikeytool.exchange.environment import NS, Environment
from mikeytool.exchange.profile import PROFILE_256, Profile
from mikeytool.kms.store import log_entries
from mikeytool.kms.store.batches import Batch
from mikeytool.kms.store.exchanges import Exchange, forget_requested, requested_overdue
from mikeytool.kms.store.kms_keys import KmsKeys, check_tpk
from mikeytool.kms.store.memory import kept
from mikeytool.kms.store.names import check_identity
from mikeytool.kms.store.peers import Peers
from mikeytool.kms.store.records import LogEntry, Tpk, User
from mikeytool.kms.store.seal import BESIDE, Seal, Sealer, key_path, write_seal
from mikeytool.kms.store.seal_context import tpk_context
from mikeytool.kms.store.sealed import renumber
from mikeytool.kms.store.store_file import StoreFile
from mikeytool.kms.store.users import Users
from mikeytool.storage import replay
from mikeytool.storage.private_files import check_folder, new_file
from mikeytool.storage.sql import Db, Where, is_url
from mikeytool.storage.sqlite import remove_working_files
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate

    from mikeytool.exchange.incoming import Incoming

    KeyPair = tuple[RSAPrivateKey, Certificate]

Fill = Callable[[Db, Sealer], None]
"""Inserts the first rows of a new store."""

_RESTORED = "restored_ns"
"""The name of a setting that operators do not change."""

_SEARCH_EVERY = 10 * NS
"""Nanoseconds between two searches for entries that can be forgotten."""

__all__ = ["Exchange", "LogEntry", "Store", "Tpk", "User"]


class Store(Users, KmsKeys, Peers):
    """A KMS store: the path of its file, or the URL of its PostgreSQL database.

    Its methods raise StateError for all failures of the database. The sealing key is needed only
    to open or add secrets. Users, policy and log can be read without it. Use the store in a
    `with` statement, or close it.
    """

    _searched_ns = 0
    """When `forget` last searched."""

    @cached_property
    def _repetitions(self) -> log_entries.Repetitions:
        return log_entries.Repetitions()

    @classmethod
    def init(
        cls,
        where: Where,
        identity: Identity,
        profile: Profile,
        tpk: Tpk,
        *,
        how: str = BESIDE,
        key_pair: KeyPair | None = None,
        force: bool = False,
    ) -> Self:
        """Create and open the store of a KMS with one ticket protection key.

        `profile` is the strongest profile that the KMS serves, and `tpk` must be long enough for
        it (RFC 6043 12.1). `how` says what seals the store: `beside`, `file:PATH`, `env:NAME` or
        `passphrase`. With `force`, an existing store and its key are replaced once the new store
        is complete. An error before that leaves them unchanged. Raises UsageError for unsuitable
        keys, and StateError for all failures of files and databases.
        """
        check_identity(identity)
        check_tpk(tpk, profile)
        if key_pair is not None:
            from mikeytool.kms.store.key_pairs import check_key_pair

            check_key_pair(*key_pair, identity)
        cls.make(where, how, _first_rows(identity, profile, tpk, key_pair), force=force)
        return cls(where)

    @classmethod
    def in_memory(cls, identity: Identity, profile: Profile = PROFILE_256) -> Self:
        """Create the store of a KMS in memory, with a random ticket protection key.

        Its contents are lost when it is closed. Only the thread that creates it can use it.
        """
        tpk = Tpk(Identity.key_name("tpk-1"), os.urandom(profile.key_length))
        seal, sealer = Seal.in_memory()
        fill = partial(_filled, seal, sealer, _first_rows(identity, profile, tpk, None))
        made = cls.__new__(cls)
        made._clock = time.time_ns
        made._backend = StoreFile.in_memory(fill)
        made.sealer = sealer
        return made

    @classmethod
    def make(
        cls,
        where: Where,
        how: str,
        fill: Fill,
        *,
        force: bool = False,
        sealer: Sealer | None = None,
    ) -> None:
        """Create a store with the rows that `fill` inserts, completely or not at all.

        `how` seals the data key of `sealer`, or a new one. Raises StateError if a store exists
        already and `force` is not set, and UsageError if `how` cannot seal the store.
        """
        if is_url(where):
            from mikeytool.kms.store.store_server import StoreServer
            from mikeytool.storage.postgres import check_url

            check_url(str(where))
            seal, sealer = Seal.make(how, where, sealer=sealer)
            StoreServer.create(str(where), partial(_filled, seal, sealer, fill), force=force)
        else:
            cls._make_file(Path(where), how, fill, force, sealer)

    @classmethod
    def _make_file(
        cls, path: Path, how: str, fill: Fill, force: bool, sealer: Sealer | None
    ) -> None:
        if path.exists() and not force:
            raise StateError(f"{path}: it exists already; choose another name or add --force")
        check_folder(path)
        replaced, had_key = cls._replaced(path, how) if force else (None, False)
        made = path if replaced is None else _beside(replaced)
        seal, sealer = Seal.make(how, path, key=key_path(made), sealer=sealer)
        try:
            StoreFile.create(made, partial(_filled, seal, sealer, fill)).close()
            if replaced is not None:
                _put_in_place(made, replaced)
                if had_key and seal.how not in (BESIDE, f"file:{key_path(replaced)}"):
                    key_path(replaced).unlink(missing_ok=True)
        except BaseException:
            if how == BESIDE:
                key_path(made).unlink(missing_ok=True)  # it was created just now
            raise

    @classmethod
    def _replaced(cls, path: Path, how: str) -> tuple[Path | None, bool]:
        """The file that a new store replaces, and whether STORE.key is its key.

        The file is None if there is neither a store nor a leftover key. Raises StateError if
        the file is not a store, or if there is a STORE.key that is not its key.
        """
        if not path.exists():
            left = key_path(path).exists()
            return Path(os.path.realpath(path)) if left else None, left
        with cls(path) as store:
            has_key = store.sealed_how == BESIDE
        if how == BESIDE and not has_key and key_path(path).exists():
            raise StateError(f"{key_path(path)}: it exists already; move it away")
        return Path(os.path.realpath(path)), has_key

    @property
    def sealed_how(self) -> str:
        """What seals the store: `beside`, `file:PATH`, `env:NAME` or `passphrase`."""
        with self._errors():
            row = self._db.execute("SELECT how FROM seal").fetchone()
        return BESIDE if row is None else str(row[0])

    @contextmanager
    def exchange(self) -> Iterator[Exchange]:
        """The transaction of a message. Afterwards, either all of it is on disk or none of it."""
        exchange: Exchange | None = None
        try:
            with self._backend.exchange() as db:
                exchange = Exchange(db, self._backend, self.known)
                yield exchange
        finally:
            if exchange is not None:
                exchange.ended()

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """The transaction of several messages. Raises Divisible if one of them may be at fault."""
        batch: Batch | None = None
        try:
            with self._backend.batch() as db:
                batch = Batch(db, self._backend, self.known)
                yield batch
        finally:
            if batch is not None:
                batch.ended()

    def forget(self, env: Environment) -> None:
        """Forget old messages and expired tickets as the policy says, if there are any.

        This is not part of an exchange, so it does not make exchanges wait for each other. It
        searches only every few seconds.
        """
        now = env.clock()
        if abs(now - self._searched_ns) < _SEARCH_EVERY:
            return
        self._searched_ns = now
        if self.known is not None and not self.is_known():
            self.renewed()
        env = replace(env, skew=self.policy().max_skew)
        # If the store fails now, the exchange that follows will raise it.
        with suppress(StateError), self._errors():
            due = (
                replay.overdue(self._db, env)
                or requested_overdue(self._db, now)
                or self._retiring(self._db, now)
                or log_entries.is_overdue(self._db, self._log_horizon(now))
            )
            if due and not self._forgotten(env):
                self._searched_ns = 0

    def _forgotten(self, env: Environment) -> bool:
        """Forget some entries, and return whether none is left."""
        with self._backend.spare() as db:
            if db is None:
                return True  # an operator or another node is writing
            self._retire_tpks(db, env.clock())
            done = (
                forget_requested(db, env.clock()),
                log_entries.prune(db, self._log_horizon(env.clock())),
                replay.forget(db, env),
            )
            return all(done)

    def _log_horizon(self, now_ns: int) -> int:
        return now_ns - self.policy().keep_log * NS

    def prune_log(self, before_ns: int) -> None:
        """Remove the log entries before a time, in Unix nanoseconds."""
        done = False
        while not done:
            with self.transaction() as db:
                done = log_entries.prune(db, before_ns)
                if done:
                    at = Timestamp.at(before_ns, TsType.NTP_UTC_32).utc
                    self._note(db, f"log prune before {at}")

    def log_refused(self, entry: LogEntry) -> None:
        """Log a refusal in its own transaction. Frequent refusals cost only a few writes."""
        due = self._repetitions.due(entry)
        if due is not None:
            # The refusal is valid even if the store cannot be written at the moment.
            with suppress(StateError), self.exchange() as exchange:
                exchange.log(due)

    def stream(self, db: Db, query: str) -> tuple[list[str], Iterator[Sequence[Any]]]:
        """Return a query's column names and its rows. Only a few rows are in memory at a time."""
        return self._backend.stream(db, query)

    def faults(self, db: Db) -> Iterator[str]:
        """Descriptions of what is wrong with the database itself."""
        return self._backend.faults(db)

    def private_files(self) -> list[Path]:
        """The files that only their owner may read."""
        path = self._backend.path
        if path is None:
            return []
        return [path, key_path(path)] if self.sealed_how == BESIDE else [path]

    def check_new(self, env: Environment, message: Incoming, sender: Identity, key: bytes) -> None:
        """Refuse the same messages as `Exchange.enter`, but write nothing.

        See `replay.check_new`. A database on a server need not be asked, except about COUNTERs:
        it writes nothing for a message that it has seen.
        """
        if not self._backend.one_writer and message.t.counter is None:
            return
        with self._errors():
            replay.check_new(self._db, env, message, sender, key)

    def log(self, since_ns: int = 0) -> Iterator[LogEntry]:
        """The log entries since a time in Unix nanoseconds, the oldest first."""
        with self._errors():
            rows = self._db.execute(
                "SELECT at_ns, exchange, who, about, outcome, reason, count FROM log"
                " WHERE at_ns >= ? ORDER BY number",
                (since_ns,),
            )
            for row in rows:
                yield LogEntry(*row)

    def count_log(self) -> int:
        """The number of entries in the log."""
        with self._errors():
            count: int = self._db.execute("SELECT count(*) FROM log").fetchone()[0]
        return count

    def backup(self, path: Path, *, with_key: bool, force: bool) -> None:
        """Copy a snapshot of the store to a file with mode 0600.

        `with_key` also copies STORE.key, to a file next to the copy. The copy does not know what
        was seen after the snapshot. A KMS that serves from it would accept replays while their
        timestamps are fresh, and used single-use tickets until they expire.

        Raises StateError if a file exists and `force` is not set, if the target is the store or
        its key, or if the target exists and is not a KMS store. Raises UsageError if the store
        has no STORE.key.
        """
        if with_key and self.sealed_how != BESIDE:
            raise UsageError(f"--with-key: this store is sealed with {self.sealed_how}")
        for target in (key_path(path), path) if with_key else (path,):
            if target.exists() and not force:
                raise StateError(f"{target}: it exists already; add --force")
            for own, what in (
                (self.path, "the store itself"),
                (key_path(self.path), "its sealing key"),
            ):
                if target.exists() and own.exists() and target.samefile(own):
                    raise StateError(f"{target}: this is {what}")
        if path.exists():
            StoreFile.check_kind(path)
        own_key = _copied_key(key_path(self.path), key_path(path))
        with own_key if with_key else nullcontext():
            self._file.copy(path)

    @classmethod
    def restore(
        cls, backup: Path, path: Path, clock: Callable[[], int] = time.time_ns, *, force: bool
    ) -> None:
        """Make a store from a copy that `backup` made.

        Its key is BACKUP.key if that exists, else the existing STORE.key. The copy does not know
        what was seen after it was made. The new store therefore refuses all messages, and all
        single-use tickets, that were made before the restore. Raises StateError if a store exists
        and `force` is not set, if the copy is not a backup, or if the key does not open it. In
        all these cases existing files stay unchanged.
        """
        if path.exists() and not force:
            raise StateError(f"{path}: it exists already; add --force")
        with cls(backup) as source:
            if path.exists() and path.samefile(backup):
                raise StateError(f"{path}: this is the copy itself")
            made = _beside(Path(os.path.realpath(path)))
            keys = [key_path(backup), key_path(path)] if source.sealed_how == BESIDE else []
            try:
                source._file.copy(made)
                for key in filter(Path.exists, keys[:1] if keys and keys[0].exists() else keys):
                    with _copied_key(key, key_path(made)):
                        pass  # it is in its place before the store is opened
                with cls(made, clock, operated=True) as copy:
                    try:
                        copy.sealer  # noqa: B018 - this opens the data key
                    except StateError as error:
                        raise StateError(str(error).replace(str(made), str(path))) from None
                    copy._set_back(backup)
                _put_in_place(made, Path(os.path.realpath(path)))
            finally:
                for left in (made, key_path(made)):
                    left.unlink(missing_ok=True)
                remove_working_files(made)

    def _set_back(self, backup: Path) -> None:
        """Make the store refuse messages that may have been answered after the backup."""
        with self.transaction() as db:
            now = self._clock()
            horizon = "UPDATE replay_horizon SET forgotten_ns = ? WHERE forgotten_ns < ?"
            db.execute(horizon, (now, now))
            db.execute("DELETE FROM replay WHERE t_ns <= ?", (now,))
            db.execute("UPDATE tpks SET until_ns = NULL")  # tickets may have been made since
            db.execute(
                "INSERT INTO settings VALUES (?, ?)"
                " ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (_RESTORED, str(now)),
            )
            self._note(db, f"restore {backup}")

    @kept()
    def restored_ns(self) -> int:
        """The time when the store was restored from a copy, in Unix nanoseconds, or 0 for never."""
        with self._errors():
            query = "SELECT value FROM settings WHERE name = ?"
            row = self._db.execute(query, (_RESTORED,)).fetchone()
        return 0 if row is None else int(row[0])

    def check_schema(self) -> None:
        """Raise StateError if the tables do not belong to a store."""
        self._backend.check_schema()


@contextmanager
def _copied_key(key: Path, target: Path) -> Iterator[None]:
    """Copy a sealing key. It gets its name after the block, if that succeeds."""
    try:
        octets = key.read_bytes()
    except OSError as error:
        raise StateError(f"{key}: {error.strerror}") from None
    with new_file(target, replace=True) as made:
        made.write_bytes(octets)
        yield


def _first_rows(identity: Identity, profile: Profile, tpk: Tpk, key_pair: KeyPair | None) -> Fill:
    """The first rows of a new store: the KMS and its keys."""

    def fill(db: Db, sealer: Sealer) -> None:
        row = (identity.data, int(identity.id_type), profile.bits)
        db.execute("INSERT INTO kms VALUES (?, ?, ?)", row)
        sealed = sealer.seal(tpk.key, *tpk_context(tpk.name.data, None))
        db.execute("INSERT INTO tpks VALUES (?, ?, NULL, 1, 0)", (tpk.name.data, sealed))
        if key_pair is not None:
            from mikeytool.kms.store.key_pairs import insert_key_pair

            insert_key_pair(db, sealer, *key_pair)

    return fill


def _filled(seal: Seal, sealer: Sealer, fill: Fill, db: Db) -> None:
    write_seal(db, seal)
    fill(db, sealer)
    renumber(db)


def _beside(path: Path) -> Path:
    """An unused name in the same folder."""
    return path.with_name(f".{path.name}.{os.urandom(8).hex()}")


def _put_in_place(made: Path, path: Path) -> None:
    """Replace a store and its STORE.key with new ones."""
    try:
        remove_working_files(path)  # they belong to the old file
        if key_path(made).exists():
            key_path(made).replace(key_path(path))
        made.replace(path)
    except OSError as error:
        made.unlink(missing_ok=True)
        raise StateError(f"{path}: {error.strerror}") from None
