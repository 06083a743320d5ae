"""Files to read, such as keys and certificates that users give."""

from __future__ import annotations

from pathlib import Path

from mikeytool.wire.errors import StateError

MOST_OCTETS = 1 << 28
"""The most octets of a file that is read at once, unless its kind has fewer."""


def read_octets(path: str | Path, what: str = "", most: int = MOST_OCTETS) -> bytes:
    """Return the octets of a file, at `most` so many.

    Raises StateError, which says `what` named the file, also for one that is longer.
    """
    named = f"{what}: " if what else ""
    try:
        with Path(path).open("rb") as file:
            octets = file.read(most + 1)
    except OSError as error:
        raise StateError(f"{named}{path}: {error.strerror}") from None
    if len(octets) > most:
        raise StateError(f"{named}{path}: this is too long, more than {most} octets")
    return octets
