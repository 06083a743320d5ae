"""Numbers in options."""

from __future__ import annotations

from mikeytool.wire.errors import UsageError


def parse_number(text: str, what: str, bits: int) -> int:
    """A decimal or 0x number of at most `bits` bits; raises UsageError."""
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << bits:
        raise UsageError(f"{what} {text}: a number of at most {bits} bits is expected")
    return number
