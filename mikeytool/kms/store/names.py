"""The names that a KMS accepts for users, groups and other KMSs, and in patterns."""

from __future__ import annotations

from collections.abc import Sequence

from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import MAX_IDENTITY, Identity
from mikeytool.wire.registry import IdType


def check_identity(identity: Identity) -> None:
    """Raise UsageError if an identity is empty or too long, or is neither a URI nor a NAI.

    URIs and NAIs have no spaces or control characters. The name of a key may have any octets.
    """
    _check(identity.data, text=identity.id_type != IdType.BYTE_STRING)


def check_patterns(patterns: Sequence[str]) -> None:
    """Raise UsageError for a pattern that no user's identity can match."""
    for pattern in patterns:
        _check(pattern.encode("utf-8", "surrogateescape"), text=True)


def _check(octets: bytes, *, text: bool) -> None:
    shown = octets[:40].decode("utf-8", "replace")
    if not octets:
        raise UsageError("an identity is empty")
    if len(octets) > MAX_IDENTITY:
        raise UsageError(
            f"{shown!a}... has {len(octets)} octets; an identity has at most {MAX_IDENTITY}"
        )
    if text and not _is_name(octets):
        raise UsageError(f"{shown!a}: an identity has no spaces and no control characters")


def _is_name(octets: bytes) -> bool:
    try:
        name = octets.decode()
    except UnicodeDecodeError:
        return False
    return name.isprintable() and " " not in name
