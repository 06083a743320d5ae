"""The KMS store: users, ticket protection keys, replay cache and log in one SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from mikeytool.exchange.profile import PROFILE_256, PROFILES, Profile
from mikeytool.kms import replay
from mikeytool.kms.database import Database
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import IdType

MIN_PSK = 16
"""In octets: keys have 128 bits or more (RFC 6043 12.1)."""


@dataclass(frozen=True, slots=True)
class User:
    """Someone who may ask the KMS; `psk_id` names the key in IDRpsk, if it has a name."""

    identity: Identity
    psk: bytes = field(repr=False)
    psk_id: Identity | None
    enabled: bool


@dataclass(frozen=True, slots=True)
class Tpk:
    """A ticket protection key and the name under which tickets refer to it.

    `shared_with` is the one user who has it too; the KMS's own keys are shared with nobody.
    """

    name: Identity
    key: bytes = field(repr=False)
    shared_with: Identity | None = None
    current: bool = True


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What someone asked for and what came of it. Times are Unix nanoseconds."""

    at_ns: int
    exchange: str
    user: str
    about: str
    outcome: str
    reason: str


def _check_psk(psk: bytes) -> None:
    if len(psk) < MIN_PSK:
        raise UsageError(
            f"the pre-shared key has {len(psk)} octets, it takes {MIN_PSK} or more (RFC 6043 12.1)"
        )


class Store(Database):
    """A KMS store. Raises StateError for whatever goes wrong with the file."""

    kind = 0x6D6B6D73  # "mkms"
    name = "KMS store"
    schema = (
        """
        CREATE TABLE kms (id BLOB NOT NULL, id_type INTEGER NOT NULL, profile INTEGER NOT NULL);
        CREATE TABLE users (
            id BLOB PRIMARY KEY, id_type INTEGER NOT NULL, psk BLOB NOT NULL,
            psk_id BLOB UNIQUE, enabled INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
        CREATE TABLE act_as (
            user BLOB NOT NULL REFERENCES users ON DELETE CASCADE, pattern TEXT NOT NULL,
            PRIMARY KEY (user, pattern)) WITHOUT ROWID;
        CREATE TABLE members (
            member BLOB NOT NULL, grp BLOB NOT NULL, grp_type INTEGER NOT NULL,
            PRIMARY KEY (member, grp)) WITHOUT ROWID;
        CREATE TABLE tpks (
            name BLOB PRIMARY KEY, tpk BLOB NOT NULL, shared_with BLOB,
            current INTEGER NOT NULL) WITHOUT ROWID;
        CREATE TABLE log (
            at_ns INTEGER NOT NULL, exchange TEXT NOT NULL, user TEXT NOT NULL,
            about TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL);
        """
        + replay.SCHEMA
    )

    @classmethod
    def init(cls, path: Path, identity: Identity, profile: Profile, tpk: Tpk) -> Self:
        """Make the store of a KMS with one ticket protection key.

        `profile` is the strongest that it serves; its TPK must be as long (12.1).
        """
        if len(tpk.key) < profile.key_length:
            raise UsageError(
                f"the ticket protection key has {len(tpk.key)} octets, the {profile.bits}-bit"
                f" profile takes {profile.key_length} or more"
            )
        store = cls.create(path)
        with store.transaction() as db:
            db.execute(
                "INSERT INTO kms VALUES (?, ?, ?)",
                (identity.data, int(identity.id_type), profile.bits),
            )
        store.add_tpk(tpk)
        return store

    @property
    def identity(self) -> Identity:
        """The identity of the KMS."""
        data, id_type, _ = self._kms()
        return Identity(data, id_type)

    @property
    def profile(self) -> Profile:
        """The strongest profile that the KMS serves."""
        return PROFILES.get(self._kms()[2], PROFILE_256)

    def _kms(self) -> tuple[bytes, int, int]:
        with self._errors():
            row: tuple[bytes, int, int] | None = self._db.execute(
                "SELECT id, id_type, profile FROM kms"
            ).fetchone()
        if row is None:
            raise StateError(f"{self.path}: its making was cut short; make it anew")
        return row

    def add_user(
        self,
        identity: Identity,
        psk: bytes,
        psk_id: Identity | None = None,
        act_as: Sequence[str] = (),
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Add a user who may act as whoever fits a pattern of `act_as`.

        Raises UsageError for a key under 16 octets, StateError when the user is there.
        What `before_commit` raises leaves the store as it was.
        """
        _check_psk(psk)
        name = None if psk_id is None else psk_id.data
        with self.transaction() as db:
            try:
                db.execute(
                    "INSERT INTO users (id, id_type, psk, psk_id) VALUES (?, ?, ?, ?)",
                    (identity.data, int(identity.id_type), psk, name),
                )
            except sqlite3.IntegrityError:
                what = f"the user {identity}" if self.user(identity) else f"the key name {psk_id}"
                raise StateError(f"{self.path}: {what} is there already") from None
            db.executemany(
                "INSERT OR IGNORE INTO act_as VALUES (?, ?)",
                [(identity.data, pattern) for pattern in act_as],
            )
            before_commit()

    def act_as(self, identity: Identity) -> list[str]:
        """The patterns of identities that a user may act as."""
        with self._errors():
            rows = self._db.execute(
                "SELECT pattern FROM act_as WHERE user = ? ORDER BY pattern", (identity.data,)
            )
            return [row[0] for row in rows]

    def enable(self, identity: Identity, enabled: bool) -> None:
        """Enable or disable a user; raises StateError when there is none."""
        self._change_user("UPDATE users SET enabled = ? WHERE id = ?", enabled, identity)

    def rekey(
        self,
        identity: Identity,
        psk: bytes,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        """Give a user another key; raises UsageError for a short one, StateError for no user."""
        _check_psk(psk)
        self._change_user("UPDATE users SET psk = ? WHERE id = ?", psk, identity, before_commit)

    def remove_user(self, identity: Identity) -> None:
        """Remove a user with what they may act as; raises StateError when there is none."""
        with self.transaction() as db:
            db.execute("DELETE FROM act_as WHERE user = ?", (identity.data,))
            gone = db.execute("DELETE FROM users WHERE id = ?", (identity.data,))
            self._check_found(gone.rowcount, identity)

    def _change_user(
        self,
        query: str,
        value: bytes | bool,
        identity: Identity,
        before_commit: Callable[[], None] = lambda: None,
    ) -> None:
        with self.transaction() as db:
            changed = db.execute(query, (value, identity.data))
            self._check_found(changed.rowcount, identity)
            before_commit()

    def _check_found(self, count: int, identity: Identity) -> None:
        if not count:
            raise StateError(f"{self.path}: there is no user {identity}; see kms user list")

    def add_members(self, group: Identity, members: Sequence[Identity]) -> None:
        """Put members into a group: where a ticket names the group, it admits them."""
        with self.transaction() as db:
            db.executemany(
                "INSERT OR IGNORE INTO members VALUES (?, ?, ?)",
                [(member.data, group.data, int(group.id_type)) for member in members],
            )

    def remove_members(self, group: Identity, members: Sequence[Identity]) -> None:
        """Take members out of a group."""
        with self.transaction() as db:
            db.executemany(
                "DELETE FROM members WHERE member = ? AND grp = ?",
                [(member.data, group.data) for member in members],
            )

    def groups_of(self, member: Identity) -> list[Identity]:
        """The groups that someone is in."""
        with self._errors():
            rows = self._db.execute(
                "SELECT grp, grp_type FROM members WHERE member = ?", (member.data,)
            )
            return [Identity(data, id_type) for data, id_type in rows]

    def groups(self) -> dict[Identity, list[Identity]]:
        """Every group with its members."""
        found: dict[Identity, list[Identity]] = {}
        with self._errors():
            rows = self._db.execute("SELECT grp, grp_type, member FROM members ORDER BY 1, 3")
            for group, id_type, member in rows:
                found.setdefault(Identity(group, id_type), []).append(Identity(member))
        return found

    def users(self) -> list[User]:
        """Every user, in the order of their identities."""
        return list(self._users("ORDER BY id", ()))

    def user(self, identity: Identity) -> User | None:
        """The user of an identity."""
        return next(self._users("WHERE id = ?", (identity.data,)), None)

    def user_of_key(self, psk_id: Identity) -> User | None:
        """The user whose key has a name."""
        return next(self._users("WHERE psk_id = ?", (psk_id.data,)), None)

    def _users(self, where: str, values: tuple[bytes, ...]) -> Iterator[User]:
        query = f"SELECT id, id_type, psk, psk_id, enabled FROM users {where}"  # noqa: S608
        with self._errors():
            rows = self._db.execute(query, values).fetchall()
        for data, id_type, psk, psk_id, enabled in rows:
            name = None if psk_id is None else Identity(psk_id)
            yield User(Identity(data, id_type), psk, name, bool(enabled))

    def tpk(self, name: Identity | None = None) -> Tpk | None:
        """The ticket protection key of a name, or the KMS's own that is current."""
        if name is None:
            return next(self._tpks("WHERE current = 1 AND shared_with IS NULL", ()), None)
        return next(self._tpks("WHERE name = ?", (name.data,)), None)

    def shared_tpk(self, party: Identity) -> Tpk | None:
        """The current key that is shared with a party."""
        return next(self._tpks("WHERE current = 1 AND shared_with = ?", (party.data,)), None)

    def tpks(self) -> list[Tpk]:
        """Every ticket protection key, in the order of their names."""
        return list(self._tpks("ORDER BY name", ()))

    def _tpks(self, where: str, values: tuple[bytes, ...]) -> Iterator[Tpk]:
        query = f"SELECT name, tpk, shared_with, current FROM tpks {where}"  # noqa: S608
        with self._errors():
            rows = self._db.execute(query, values).fetchall()
        for name, key, party, current in rows:
            shared_with = None if party is None else Identity(party)
            yield Tpk(Identity(name, IdType.BYTE_STRING), key, shared_with, bool(current))

    def add_tpk(self, tpk: Tpk, before_commit: Callable[[], None] = lambda: None) -> None:
        """Add a key, which becomes the current one for its party.

        Those before it stay, so that their tickets can be resolved until they expire.
        Raises UsageError for a key under 16 octets or shorter than the KMS's profile,
        StateError when the name is taken; what `before_commit` raises leaves all as it was.
        """
        least = MIN_PSK if tpk.shared_with is not None else self.profile.key_length
        if len(tpk.key) < least:
            raise UsageError(
                f"the ticket protection key has {len(tpk.key)} octets, it takes {least} or more"
            )
        party = None if tpk.shared_with is None else tpk.shared_with.data
        with self.transaction() as db:
            db.execute("UPDATE tpks SET current = 0 WHERE shared_with IS ?", (party,))
            try:
                db.execute("INSERT INTO tpks VALUES (?, ?, ?, 1)", (tpk.name.data, tpk.key, party))
            except sqlite3.IntegrityError:
                raise StateError(f"{self.path}: there is a key named {tpk.name} already") from None
            before_commit()

    def write_log(self, db: sqlite3.Connection, entry: LogEntry) -> None:
        """Add to the log, within a transaction."""
        db.execute(
            "INSERT INTO log VALUES (?, ?, ?, ?, ?, ?)",
            (
                entry.at_ns,
                entry.exchange,
                entry.user,
                entry.about,
                entry.outcome,
                entry.reason,
            ),
        )

    def log(self, since_ns: int = 0) -> Iterator[LogEntry]:
        """The log from a moment on, oldest first."""
        with self._errors():
            rows = self._db.execute(
                "SELECT at_ns, exchange, user, about, outcome, reason FROM log"
                " WHERE at_ns >= ? ORDER BY rowid",
                (since_ns,),
            )
            for row in rows:
                yield LogEntry(*row)
