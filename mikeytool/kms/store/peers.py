"""The other KMSs that a KMS knows (RFC 6043 10, interpretation 38)."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.kms.store.records import Peer, check_psk
from mikeytool.kms.store.seal_context import peer_context
from mikeytool.kms.store.sealed import SealedDatabase
from mikeytool.wire.errors import StateError
from mikeytool.wire.identity import Identity


class Peers(SealedDatabase):
    """Other KMSs, which messages name by their identity in IDRpsk."""

    def add_peer(self, peer: Peer) -> None:
        """Add another KMS.

        Raises UsageError for a key shorter than 16 octets, StateError if it exists already or
        a user or a user's key has its name.
        """
        check_psk(peer.psk)
        data = peer.identity.data
        sealed = self.sealer.seal(peer.psk, *peer_context(data))
        with self.transaction() as db:
            known = "SELECT 1 FROM users WHERE psk_id = ? OR id = ?"
            if db.execute(known, (data, data)).fetchone():
                raise StateError(f"{self.where}: a user, or a user's key, is named {peer.identity}")
            added = db.execute(
                "INSERT INTO peers VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (data, int(peer.identity.id_type), peer.location, sealed),
            )
            if not added.rowcount:
                raise StateError(f"{self.where}: the KMS {peer.identity} exists already")

    def remove_peer(self, identity: Identity) -> None:
        """Remove another KMS; raises StateError if there is none with that identity."""
        with self.transaction() as db:
            if not db.execute("DELETE FROM peers WHERE id = ?", (identity.data,)).rowcount:
                raise StateError(f"{self.where}: there is no KMS {identity}; see kms peer list")

    def peers(self) -> list[Peer]:
        """All other KMSs, ordered by identity."""
        return list(self._peers("ORDER BY id", ()))

    def peer(self, identity: Identity) -> Peer | None:
        """The other KMS with an identity, or None."""
        return next(self._peers("WHERE id = ?", (identity.data,)), None)

    def _peers(self, where: str, values: tuple[bytes, ...]) -> Iterator[Peer]:
        query = f"SELECT id, id_type, place, psk FROM peers {where}"  # noqa: S608
        with self._errors():
            rows = self._db.execute(query, values).fetchall()
        for data, id_type, location, sealed in rows:
            identity = Identity(data, id_type)
            psk = self._opened(sealed, f"the key shared with {identity}", peer_context(data))
            yield Peer(identity, location, psk)
