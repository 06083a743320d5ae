"""The contexts of secrets in a store. A secret opens only in its own table, row and column."""

from __future__ import annotations

from mikeytool.kms.store.seal import SealContext


def psk_context(user: bytes) -> SealContext:
    """The context of a user's pre-shared key."""
    return "users", user, "psk"


def tpk_context(name: bytes, party: bytes | None) -> SealContext:
    """The context of a ticket protection key. It includes the party that shares the key."""
    return "tpks", name, "tpk", "own" if party is None else "shared", party or b""


def private_key_context(fingerprint: bytes) -> SealContext:
    """The context of the private key for a certificate of the KMS."""
    return "kms_keys", fingerprint, "private_key"


def peer_context(peer: bytes) -> SealContext:
    """The context of the key shared with another KMS."""
    return "peers", peer, "psk"
