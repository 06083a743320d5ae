"""Files to read, such as keys and certificates that users give."""

from __future__ import annotations

from pathlib import Path

from mikeytool.wire.errors import StateError


def read_octets(path: str | Path, what: str = "") -> bytes:
    """Return the octets of a file; raises StateError, which says `what` named it."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        named = f"{what}: " if what else ""
        raise StateError(f"{named}{path}: {error.strerror}") from None
