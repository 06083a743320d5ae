"""The other KMSs that a KMS knows (RFC 6043 10, interpretation 38)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mikeytool.kms.store.memory import kept
from mikeytool.kms.store.names import check_identity, check_patterns
from mikeytool.kms.store.records import Peer, check_psk
from mikeytool.kms.store.seal_context import peer_context
from mikeytool.kms.store.sealed import SealedDatabase
from mikeytool.storage.sql import Db
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity


class Peers(SealedDatabase):
    """Other KMSs. Messages name them by their identity in IDRpsk."""

    def add_peer(self, peer: Peer) -> None:
        """Add another KMS.

        Raises UsageError for a key shorter than 16 octets, for missing patterns, and for invalid
        names. Raises StateError if the KMS exists already or is this KMS itself, or if a group, a
        user or a user's key has its name.
        """
        check_psk(peer.psk)
        check_identity(peer.identity)
        if peer.identity == self.identity:
            raise UsageError(
                f"{peer.identity}: this is the KMS of {self.where} itself, not another one"
            )
        data = peer.identity.data
        sealed = self.sealer.seal(peer.psk, *peer_context(data))
        with self.transaction() as db:
            known = "SELECT 1 FROM users WHERE psk_id = ? OR id = ?"
            if db.execute(known, (data, data)).fetchone():
                raise StateError(f"{self.where}: a user, or a user's key, is named {peer.identity}")
            if db.execute("SELECT 1 FROM members WHERE grp = ?", (data,)).fetchone():
                raise StateError(f"{self.where}: a group is named {peer.identity}")
            added = db.execute(
                "INSERT INTO peers VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (data, int(peer.identity.id_type), peer.location, sealed),
            )
            if not added.rowcount:
                raise StateError(f"{self.where}: the KMS {peer.identity} exists already")
            self._speaks_for(db, data, peer.patterns)
            self._note(db, f"peer add {peer.identity} for {', '.join(peer.patterns)}")

    def set_patterns(self, identity: Identity, patterns: Sequence[str]) -> None:
        """Replace the patterns of the identities that another KMS speaks for.

        Raises UsageError if there are no patterns, and StateError if no KMS has that identity.
        """
        with self.transaction() as db:
            if not db.execute("SELECT 1 FROM peers WHERE id = ?", (identity.data,)).fetchone():
                raise self._no_peer(identity)
            db.execute("DELETE FROM speaks_for WHERE peer = ?", (identity.data,))
            self._speaks_for(db, identity.data, patterns)
            self._note(db, f"peer set {identity} for {', '.join(patterns)}")

    def _speaks_for(self, db: Db, peer: bytes, patterns: Sequence[str]) -> None:
        if not patterns:
            raise UsageError("say with --for which identities the other KMS speaks for")
        check_patterns(patterns)
        rows = [(peer, pattern) for pattern in dict.fromkeys(patterns)]
        db.executemany("INSERT INTO speaks_for VALUES (?, ?)", rows)

    def _no_peer(self, identity: Identity) -> StateError:
        return StateError(f"{self.where}: there is no KMS {identity}; see kms peer list")

    def remove_peer(self, identity: Identity) -> None:
        """Remove another KMS. Raises StateError if no KMS has that identity."""
        with self.transaction() as db:
            db.execute("DELETE FROM speaks_for WHERE peer = ?", (identity.data,))
            if not db.execute("DELETE FROM peers WHERE id = ?", (identity.data,)).rowcount:
                raise self._no_peer(identity)
            self._note(db, f"peer remove {identity}")

    @kept()
    def peers(self) -> list[Peer]:
        """All other KMSs, ordered by identity."""
        return list(self._peers("ORDER BY id", ()))

    @kept()
    def peer(self, identity: Identity) -> Peer | None:
        """The other KMS with an identity, or None."""
        if identity not in self._peer_names():
            return None  # as for nearly all messages
        return next(self._peers("WHERE id = ?", (identity.data,)), None)

    @kept()
    def _peer_names(self) -> set[Identity]:
        with self._errors():
            return {Identity(row[0]) for row in self._db.execute("SELECT id FROM peers")}

    def _peers(self, where: str, values: tuple[bytes, ...]) -> Iterator[Peer]:
        query = f"SELECT id, id_type, place, psk FROM peers {where}"  # noqa: S608
        with self._errors():
            rows = self._db.execute(query, values).fetchall()
        for data, id_type, location, sealed in rows:
            identity = Identity(data, id_type)
            psk = self._opened(sealed, f"the key shared with {identity}", peer_context(data))
            yield Peer(identity, location, psk, self._patterns(data))

    def _patterns(self, peer: bytes) -> tuple[str, ...]:
        query = "SELECT pattern FROM speaks_for WHERE peer = ? ORDER BY pattern"
        with self._errors():
            return tuple(row[0] for row in self._db.execute(query, (peer,)).fetchall())
