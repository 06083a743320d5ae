"""Make text from outside unable to control a terminal."""

from __future__ import annotations

import re

_KEY = re.compile(
    r"(-----BEGIN [A-Z ]*PRIVATE KEY).*|\b([0-9A-Fa-f]{4})[0-9A-Fa-f]{28,}", re.DOTALL
)
"""A private key, and hex of as many octets as the shortest key has."""


def printable(text: str, *, keep: str = "") -> str:
    """Escape every non-printable character, except those to keep."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )


def number_of(number: int, what: str) -> str:
    """A number of things: `1 octet`, `2 octets`."""
    return f"{number} {what}{'s' * (number != 1)}"


def standing(octets: int) -> str:
    """A number of octets with a verb: `1 octet stands`, `2 octets stand`."""
    return f"{number_of(octets, 'octet')} stand{'s' * (octets == 1)}"


def without_keys(text: str) -> str:
    """Cut short what may be a key in an error: it was given where something else is expected."""
    return _KEY.sub(lambda match: f"{match[1] or match[2]}…", text)
