"""The maximum length of an identity in a protocol role; reading alone has no limit."""

from __future__ import annotations

from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import MAX_IDENTITY, Identity
from mikeytool.wire.payloads import ID, IDR
from mikeytool.wire.registry import ErrorNo


def identity_of(payload: ID | IDR) -> Identity:
    """Return the identity in a payload; raises Refused (Invalid ID) above 1,024 octets."""
    return checked(Identity.of(payload))


def checked(identity: Identity) -> Identity:
    """Return an identity unchanged; raises Refused (Invalid ID) above 1,024 octets."""
    length = len(identity.data)
    if length > MAX_IDENTITY:
        raise Refused(
            f"an identity of {length} octets is not supported; it has at most {MAX_IDENTITY}",
            ErrorNo.INVALID_ID,
        )
    return identity
