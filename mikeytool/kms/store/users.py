"""The users of a store, the identities that they may act as, and groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from mikeytool.kms.store.memory import kept
from mikeytool.kms.store.names import check_identity, check_patterns
from mikeytool.kms.store.records import NewUser, User, check_psk
from mikeytool.kms.store.seal_context import psk_context
from mikeytool.kms.store.sealed import BeforeCommit, SealedDatabase, nothing
from mikeytool.storage.sql import Db
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity


class Users(SealedDatabase):
    """The users that the KMS serves, and groups."""

    def add_user(
        self,
        identity: Identity,
        psk: bytes | None = None,
        psk_id: Identity | None = None,
        act_as: Sequence[str] = (),
        certificate: bytes | None = None,
        before_commit: BeforeCommit = nothing,
    ) -> None:
        """Add a user, who may act as any identity that matches a pattern in `act_as`.

        `psk_id` names the key, and `certificate` is DER. Raises the same errors as `add_users`.
        If `before_commit` raises, the store does not change.
        """
        new = NewUser(identity, psk, psk_id, tuple(act_as), certificate)
        self.add_users([new], before_commit)

    def add_users(self, users: Iterable[NewUser], before_commit: BeforeCommit = nothing) -> None:
        """Add either all of the users or none.

        Raises UsageError for a key shorter than 16 octets, for a user with neither a key nor a
        certificate, and for invalid names. Raises StateError if the name of a user or key exists
        already, or belongs to a group or a KMS.
        """
        with self.transaction() as db:
            for user in users:
                self._insert(db, user)
            before_commit()

    def _insert(self, db: Db, user: NewUser) -> None:
        if user.psk is None and user.certificate is None:
            raise UsageError(f"{user.identity} has neither a key nor a certificate")
        check_identity(user.identity)
        check_patterns(user.act_as)
        data, sealed = user.identity.data, None
        if user.psk is not None:
            check_psk(user.psk)
            sealed = self.sealer.seal(user.psk, *psk_context(data))
        if user.psk_id is not None:
            check_identity(user.psk_id)
        name = None if user.psk_id is None else user.psk_id.data
        for taken in (name, data):
            # A message identifies a key by its own name or by its user's name.
            if taken is not None:
                self._check_no_kms(db, Identity(taken))
        if self.is_group(user.identity):
            raise StateError(f"{self.where}: a group has the name {user.identity}")
        # So the name of one user's key must not be another user's name.
        if name not in (None, data) and self.user(Identity(name or b"")) is not None:
            raise StateError(f"{self.where}: the key name {user.psk_id} is that of another user")
        other = self.user_of_key(user.identity)
        if other is not None and other.identity != user.identity:
            raise StateError(f"{self.where}: {user.identity} names a key of {other.identity}")
        inserted = db.execute(
            "INSERT INTO users VALUES (?, ?, ?, ?, ?, 1) ON CONFLICT DO NOTHING",
            (data, int(user.identity.id_type), sealed, name, user.certificate),
        )
        if not inserted.rowcount:
            there = self.user(user.identity) is not None
            what = f"the user {user.identity}" if there else f"the key name {user.psk_id}"
            raise StateError(f"{self.where}: {what} exists already")
        db.executemany(
            "INSERT INTO act_as VALUES (?, ?) ON CONFLICT DO NOTHING",
            [(data, pattern) for pattern in user.act_as],
        )
        act_as = f" acting as {', '.join(user.act_as)}" if user.act_as else ""
        self._note(db, f"user add {user.identity}{act_as}")

    @kept()
    def act_as(self, identity: Identity | None = None) -> list[str]:
        """The patterns of identities that a user may act as, or those of all users."""
        values: tuple[bytes, ...] = () if identity is None else (identity.data,)
        where = "WHERE who = ?" if values else ""
        query = f"SELECT DISTINCT pattern FROM act_as {where} ORDER BY pattern"  # noqa: S608
        with self._errors():
            return [row[0] for row in self._db.execute(query, values)]

    def enable(self, identity: Identity, enabled: bool) -> None:
        """Enable or disable a user. Raises StateError if the user does not exist."""
        query = "UPDATE users SET enabled = ? WHERE id = ?"
        self._change_user(query, int(enabled), identity, "enable" if enabled else "disable")

    def rekey(self, identity: Identity, psk: bytes, before_commit: BeforeCommit = nothing) -> None:
        """Give a user another key.

        Raises UsageError for a key shorter than 16 octets, and StateError for an unknown user.
        """
        check_psk(psk)
        sealed = self.sealer.seal(psk, *psk_context(identity.data))
        query = "UPDATE users SET psk = ? WHERE id = ?"
        self._change_user(query, sealed, identity, "rekey", before_commit)

    def remove_user(self, identity: Identity) -> None:
        """Remove a user with their act-as patterns and group memberships.

        Keys shared with the user are removed too, because they must not open tickets of a later
        user with the same name. Raises StateError if the user does not exist.
        """
        with self.transaction() as db:
            db.execute("DELETE FROM tpks WHERE shared_with = ?", (identity.data,))
            db.execute("DELETE FROM members WHERE member = ?", (identity.data,))
            db.execute("DELETE FROM act_as WHERE who = ?", (identity.data,))
            gone = db.execute("DELETE FROM users WHERE id = ?", (identity.data,))
            self._check_found(gone.rowcount, identity)
            self._note(db, f"user remove {identity}")

    def _change_user(
        self,
        query: str,
        value: bytes | int,
        identity: Identity,
        what: str,
        before_commit: BeforeCommit = nothing,
    ) -> None:
        with self.transaction() as db:
            changed = db.execute(query, (value, identity.data))
            self._check_found(changed.rowcount, identity)
            self._note(db, f"user {what} {identity}")
            before_commit()

    def _check_found(self, count: int, identity: Identity) -> None:
        if not count:
            raise StateError(f"{self.where}: there is no user {identity}; see kms user list")

    def users(self) -> list[User]:
        """All users, ordered by identity."""
        return list(self._users("ORDER BY id", ()))

    @kept()
    def user(self, identity: Identity) -> User | None:
        """The user with an identity, or None."""
        return next(self._users("WHERE id = ?", (identity.data,)), None)

    def user_of_key(self, psk_id: Identity) -> User | None:
        """The user whose key has the name `psk_id`, or None."""
        return next(self._users("WHERE psk_id = ?", (psk_id.data,)), None)

    @kept()
    def owner(self, name: Identity) -> User | None:
        """The user whose key has a name, or whose own identity this is; None if there is none.

        The name of a key is never that of another user.
        """
        found = list(self._users("WHERE psk_id = ? OR id = ?", (name.data, name.data)))
        return max(found, key=lambda user: user.psk_id == name, default=None)

    def count_users(self) -> int:
        """The number of users."""
        with self._errors():
            count: int = self._db.execute("SELECT count(*) FROM users").fetchone()[0]
        return count

    @kept()
    def psk(self, user: User) -> bytes:
        """The pre-shared key of a user.

        Raises StateError if the key does not open, and UsageError if the user has none.
        """
        if user.sealed_psk is None:
            raise UsageError(f"the user {user.identity} has no pre-shared key")
        what = f"the key of {user.identity}"
        return self._opened(user.sealed_psk, what, psk_context(user.identity.data))

    def _users(self, where: str, values: tuple[bytes, ...]) -> Iterator[User]:
        query = f"SELECT id, id_type, psk_id, enabled, psk, cert FROM users {where}"  # noqa: S608
        with self._errors():
            rows = self._db.execute(query, values).fetchall()
        for data, id_type, psk_id, enabled, psk, cert in rows:
            name = None if psk_id is None else Identity(psk_id)
            yield User(Identity(data, id_type), name, bool(enabled), psk, cert)

    def add_members(self, group: Identity, members: Sequence[Identity]) -> None:
        """Add members to a group. A ticket for the group admits them.

        Raises UsageError for invalid names, and StateError if the group has the name of a user or
        a KMS.
        """
        for name in (group, *members):
            check_identity(name)
        with self.transaction() as db:
            self._check_no_kms(db, group)
            if self.user(group) is not None:
                raise StateError(f"{self.where}: a user has the name {group}")
            db.executemany(
                "INSERT INTO members VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(member.data, group.data, int(group.id_type)) for member in members],
            )
            self._note(db, f"group add {group}: {', '.join(map(str, members))}")

    def _check_no_kms(self, db: Db, name: Identity) -> None:
        """Refuse the name of this KMS or of another one."""
        if name == self.identity:
            raise StateError(f"{self.where}: the KMS itself has the name {name}")
        if db.execute("SELECT 1 FROM peers WHERE id = ?", (name.data,)).fetchone():
            raise StateError(f"{self.where}: another KMS has the name {name}")

    def remove_members(self, group: Identity, members: Sequence[Identity]) -> None:
        """Remove all of the members from a group, or none.

        Raises StateError if one of them is not in the group.
        """
        query = "DELETE FROM members WHERE member = ? AND grp = ?"
        with self.transaction() as db:
            for member in members:
                if not db.execute(query, (member.data, group.data)).rowcount:
                    raise StateError(
                        f"{self.where}: {member} is not in {group}; see kms group list"
                    )
            self._note(db, f"group remove {group}: {', '.join(map(str, members))}")

    @kept()
    def groups_of(self, member: Identity) -> list[Identity]:
        """The groups that an identity is a member of."""
        with self._errors():
            rows = self._db.execute(
                "SELECT grp, grp_type FROM members WHERE member = ?", (member.data,)
            )
            return [Identity(data, id_type) for data, id_type in rows]

    def is_group(self, identity: Identity) -> bool:
        """Whether this identity is a group that has members."""
        with self._errors():
            row = self._db.execute("SELECT 1 FROM members WHERE grp = ?", (identity.data,))
            return row.fetchone() is not None

    def groups(self) -> dict[Identity, list[Identity]]:
        """Every group with its members."""
        found: dict[Identity, list[Identity]] = {}
        with self._errors():
            rows = self._db.execute("SELECT grp, grp_type, member FROM members ORDER BY 1, 3")
            for group, id_type, member in rows:
                found.setdefault(Identity(group, id_type), []).append(Identity(member))
        return found
