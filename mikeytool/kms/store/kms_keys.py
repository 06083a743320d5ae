"""The KMS's own keys for tickets and envelopes, and the certificates that it trusts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from mikeytool.exchange.environment import NS
from mikeytool.exchange.profile import Profile
from mikeytool.kms.store.memory import kept
from mikeytool.kms.store.names import check_identity
from mikeytool.kms.store.records import MIN_PSK, Tpk
from mikeytool.kms.store.seal_context import private_key_context, tpk_context
from mikeytool.kms.store.sealed import BeforeCommit, nothing
from mikeytool.kms.store.stored_policy import StoredPolicy
from mikeytool.storage.sql import Db
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import IdType

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.x509 import Certificate

    from mikeytool.exchange.public_key import KmsKey


def _is_current(tpk: Tpk) -> bool:
    return tpk.current


class KmsKeys(StoredPolicy):
    """Ticket protection keys, key pairs and trust anchors."""

    # --- ticket protection keys -----------------------------------------------------------
    # Only current keys are kept in memory: messages may still change when others retire.

    @kept(when=_is_current)
    def tpk(self, name: Identity | None = None) -> Tpk | None:
        """The ticket protection key with this name; without a name, the KMS's own current key."""
        if name is None:
            return next(self._tpks("WHERE current = 1 AND shared_with IS NULL", ()), None)
        return next(self._tpks("WHERE name = ?", (name.data,)), None)

    @kept(when=_is_current)
    def shared_tpk(self, party: Identity) -> Tpk | None:
        """The current key that is shared with a user."""
        return next(self._tpks("WHERE current = 1 AND shared_with = ?", (party.data,)), None)

    def tpks(self) -> list[Tpk]:
        """All ticket protection keys, ordered by name."""
        return list(self._tpks("ORDER BY name", ()))

    def _tpks(self, where: str, values: tuple[bytes, ...]) -> Iterator[Tpk]:
        query = f"SELECT name, tpk, shared_with, current, until_ns FROM tpks {where}"  # noqa: S608
        with self._errors():
            rows = self._db.execute(query, values).fetchall()
        for data, sealed, party, current, until_ns in rows:
            name = Identity(data, IdType.BYTE_STRING)
            key = self._opened(sealed, f"the key {name}", tpk_context(data, party))
            shared_with = None if party is None else Identity(party)
            yield Tpk(name, key, shared_with, bool(current), until_ns)

    def fresh_tpk_name(self) -> Identity:
        """A name for a new key that no key has: tpk-1, tpk-2, …"""
        taken = {tpk.name.data for tpk in self.tpks()}
        names = (Identity.key_name(f"tpk-{number}") for number in range(1, len(taken) + 2))
        return next(name for name in names if name.data not in taken)

    def add_tpk(self, tpk: Tpk, before_commit: BeforeCommit = nothing) -> None:
        """Add a ticket protection key, which becomes the current one for its party.

        Earlier keys retire when the last ticket made with them has ended. A user who shares a key
        may have made tickets that the KMS does not know. Such tickets are valid at most as long
        as the policy allows now. Raises UsageError if a shared key is shorter than 16 octets, or
        an own key is shorter than the KMS's profile needs. Raises StateError if the name is taken
        or the party is not a user. If `before_commit` raises, the store does not change.
        """
        check_tpk(tpk, self.profile)
        party = None if tpk.shared_with is None else tpk.shared_with.data
        sealed = self.sealer.seal(tpk.key, *tpk_context(tpk.name.data, party))
        with self.transaction() as db:
            longest = self._clock() + self.policy().max_validity * NS
            rotate = "UPDATE tpks SET current = 0, until_ns ="
            if party is None:
                rotate += " coalesce(until_ns, ?) WHERE current = 1 AND shared_with IS NULL"
                db.execute(rotate, (longest,))
            else:
                if not db.execute("SELECT 1 FROM users WHERE id = ?", (party,)).fetchone():
                    raise StateError(
                        f"{self.where}: there is no user {tpk.shared_with}; see kms user list"
                    )
                rotate += " CASE WHEN until_ns > ? THEN until_ns ELSE ? END"
                rotate += " WHERE current = 1 AND shared_with = ?"
                db.execute(rotate, (longest, longest, party))
            added = db.execute(
                "INSERT INTO tpks VALUES (?, ?, ?, 1, 0) ON CONFLICT DO NOTHING",
                (tpk.name.data, sealed, party),
            )
            if not added.rowcount:
                raise StateError(f"{self.where}: there is already a key named {tpk.name}")
            shared = "" if party is None else f" shared with {tpk.shared_with}"
            self._note(db, f"tpk add {tpk.name}{shared}")
            before_commit()

    def remove_tpk(self, name: Identity) -> None:
        """Remove a ticket protection key at once. Its tickets are no longer resolved.

        Raises StateError if no key has that name, or if it is the KMS's own current key.
        """
        with self.transaction() as db:
            gone = db.execute(
                "DELETE FROM tpks WHERE name = ? AND (current = 0 OR shared_with IS NOT NULL)",
                (name.data,),
            )
            if not gone.rowcount and self.tpk(name) is not None:
                raise StateError(
                    f"{self.where}: {name} is the key for new tickets; kms tpk rotate makes another"
                )
            if not gone.rowcount:
                raise StateError(f"{self.where}: there is no key {name}; see kms tpk list")
            self._note(db, f"tpk remove {name}")

    def _retire_tpks(self, db: Db, now_ns: int) -> None:
        """Remove the keys whose last ticket has ended."""
        longest = now_ns + self.policy().max_validity * NS
        unknown = "UPDATE tpks SET until_ns = ? WHERE current = 0 AND until_ns IS NULL"
        db.execute(unknown, (longest,))
        db.execute("DELETE FROM tpks WHERE current = 0 AND until_ns < ?", (now_ns,))

    def _retiring(self, db: Db, now_ns: int) -> bool:
        """Whether there is something to do for `_retire_tpks`."""
        query = (
            "SELECT EXISTS (SELECT 1 FROM tpks WHERE current = 0"
            " AND (until_ns IS NULL OR until_ns < ?))"
        )
        return bool(db.execute(query, (now_ns,)).fetchone()[0])

    # --- key pairs ------------------------------------------------------------------------

    def add_key(self, private_key: RSAPrivateKey, certificate: Certificate) -> None:
        """Add a key pair of the KMS. All are tried for messages without CHASH.

        Raises UsageError if the certificate belongs to another key or another KMS, Refused if the
        key is weak, and StateError if the key pair exists already.
        """
        from mikeytool.kms.store.key_pairs import check_key_pair, insert_key_pair, name_of

        check_key_pair(private_key, certificate, self.identity)
        with self.transaction() as db:
            if not insert_key_pair(db, self.sealer, private_key, certificate):
                raise StateError(f"{self.where}: this certificate exists already")
            self._note(db, f"key add {name_of(certificate)}")

    def remove_key(self, fingerprint: bytes) -> None:
        """Remove the key pair whose certificate has this SHA-256. Raises StateError if unknown."""
        self._remove_certificate("DELETE FROM kms_keys WHERE fingerprint = ?", fingerprint)

    def certificates(self) -> list[Certificate]:
        """The certificates of the KMS, in the order in which they were added."""
        return self._certificates("SELECT cert FROM kms_keys ORDER BY position")

    @kept()
    def key_pairs(self) -> list[KmsKey]:
        """The key pairs of the KMS, in the order in which they were added."""
        with self._errors():
            rows = self._db.execute(
                "SELECT fingerprint, private_key, cert FROM kms_keys ORDER BY position"
            ).fetchall()
        return [self._key_pair(*row) for row in rows]

    def _key_pair(self, fingerprint: bytes, sealed: bytes, cert: bytes) -> KmsKey:
        from mikeytool.kms.store.key_pairs import read_key_pair

        what = "the private key of a certificate"
        der = self._opened(sealed, what, private_key_context(fingerprint))
        return read_key_pair(der, cert)

    # --- trust anchors --------------------------------------------------------------------

    def add_anchor(self, certificate: Certificate) -> None:
        """Trust the certificates that a CA issues.

        Raises StateError if the CA is trusted already, and Refused if the certificate does not
        belong to a CA or has a weak key.
        """
        from mikeytool.kms.store.key_pairs import anchor_row, name_of

        row = anchor_row(certificate)
        with self.transaction() as db:
            added = db.execute("INSERT INTO anchors VALUES (?, ?) ON CONFLICT DO NOTHING", row)
            if not added.rowcount:
                raise StateError(f"{self.where}: this certificate exists already")
            self._note(db, f"trust add {name_of(certificate)}")

    def remove_anchor(self, fingerprint: bytes) -> None:
        """Stop trusting the CA whose certificate has this SHA-256. Raises StateError if unknown."""
        self._remove_certificate("DELETE FROM anchors WHERE fingerprint = ?", fingerprint)

    @kept()
    def anchors(self) -> list[Certificate]:
        """The certificates of the CAs that are trusted to certify users."""
        return self._certificates("SELECT cert FROM anchors ORDER BY fingerprint")

    def _certificates(self, query: str) -> list[Certificate]:
        with self._errors():
            rows = self._db.execute(query).fetchall()
        if not rows:
            return []
        from cryptography.x509 import load_der_x509_certificate

        return [load_der_x509_certificate(row[0]) for row in rows]

    def _remove_certificate(self, query: str, fingerprint: bytes) -> None:
        with self.transaction() as db:
            if not db.execute(query, (fingerprint,)).rowcount:
                raise StateError(f"{self.where}: this certificate is not there")
            what = "key" if "kms_keys" in query else "trust"
            self._note(db, f"{what} remove sha256:{fingerprint.hex()}")


def check_tpk(tpk: Tpk, profile: Profile) -> None:
    """Raise UsageError for a ticket protection key that is too short or has no proper name
    (RFC 6043 12.1).
    """
    check_identity(tpk.name)
    least = MIN_PSK if tpk.shared_with is not None else profile.key_length
    if len(tpk.key) < least:
        raise UsageError(
            f"the ticket protection key has {number_of(len(tpk.key), 'octet')}; at least "
            f"{least} are needed"
        )
