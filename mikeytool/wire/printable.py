"""Make text from outside unable to control a terminal."""

from __future__ import annotations


def printable(text: str, *, keep: str = "") -> str:
    """Escape every non-printable character, except those to keep."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )
