"""Text from outside, made so that it cannot control a terminal."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """Escape every character that is not printable, but those to keep."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )
