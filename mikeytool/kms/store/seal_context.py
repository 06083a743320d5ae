"""Where secrets stand in a store; each is sealed for its place and opens nowhere else."""

from __future__ import annotations

from mikeytool.kms.store.seal import Seal
from mikeytool.storage.sql import Db


def write_seal(db: Db, seal: Seal) -> None:
    """Write down how a store is sealed, within a transaction."""
    cost = seal.cost or (None, None, None)
    db.execute(
        "INSERT INTO seal VALUES (?, ?, ?, ?, ?, ?)", (seal.how, seal.salt, *cost, seal.data_key)
    )


def psk_place(user: bytes) -> tuple[str | bytes, ...]:
    """Where the pre-shared key of a user stands."""
    return "users", user, "psk"


def tpk_place(name: bytes, party: bytes | None) -> tuple[str | bytes, ...]:
    """Where a ticket protection key stands; whose it is cannot be changed either."""
    return "tpks", name, "tpk", "own" if party is None else "shared", party or b""


def private_key_place(fingerprint: bytes) -> tuple[str | bytes, ...]:
    """Where the private key for a certificate of the KMS stands."""
    return "kms_keys", fingerprint, "private_key"


def peer_place(peer: bytes) -> tuple[str | bytes, ...]:
    """Where the key shared with another KMS stands."""
    return "peers", peer, "psk"
