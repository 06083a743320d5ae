"""What secrets in a store are bound to: a secret opens only in its own table, row and column."""

from __future__ import annotations

from mikeytool.kms.store.seal import SealContext


def psk_context(user: bytes) -> SealContext:
    """Of the pre-shared key of a user."""
    return "users", user, "psk"


def tpk_context(name: bytes, party: bytes | None) -> SealContext:
    """Of a ticket protection key, bound to the party that shares it, too."""
    return "tpks", name, "tpk", "own" if party is None else "shared", party or b""


def private_key_context(fingerprint: bytes) -> SealContext:
    """Of the private key for a certificate of the KMS."""
    return "kms_keys", fingerprint, "private_key"


def peer_context(peer: bytes) -> SealContext:
    """Of the key shared with another KMS."""
    return "peers", peer, "psk"
