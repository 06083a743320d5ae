"""Patterns of identities, in which `*` stands for any number of octets."""

from __future__ import annotations

from functools import lru_cache

from mikeytool.wire.identity import Identity

Ends = tuple[bytes, bytes | None]
"""How all identities begin and end that match a pattern; one without `*` is whole, and has None."""


class Pattern:
    """A pattern, ready to be compared with many identities.

    All octets except `*` (0x2a) stand for themselves. A comparison takes time proportional to
    the lengths of the identity and the pattern, whatever they contain: it looks for each piece
    between two stars once, from the left. This is enough because a star matches anything.
    """

    __slots__ = ("_first", "_last", "_least", "_middle", "_whole")

    def __init__(self, text: str) -> None:
        first, *rest = text.encode("utf-8", "surrogateescape").split(b"*")
        self._whole = None if rest else first
        self._first = first
        self._last = rest[-1] if rest else b""
        self._middle = tuple(piece for piece in rest[:-1] if piece)
        self._least = len(first) + len(self._last)

    @property
    def ends(self) -> Ends:
        """What comes before the first `*` and after the last."""
        return self._first, None if self._whole is not None else self._last

    def matches(self, octets: bytes) -> bool:
        """Whether the octets of an identity match the pattern."""
        if self._whole is not None:
            return octets == self._whole
        if len(octets) < self._least or not octets.startswith(self._first):
            return False
        if not octets.endswith(self._last):
            return False
        at, end = len(self._first), len(octets) - len(self._last)
        for piece in self._middle:
            at = octets.find(piece, at, end)
            if at < 0:
                return False
            at += len(piece)
        return True


pattern = lru_cache(1 << 14)(Pattern)
"""The pattern of a text, which is cached because every message needs the same ones."""


def matches(identity: Identity | None, text: str) -> bool:
    """Whether an identity matches a pattern; None matches `*` only."""
    return pattern(text).matches(b"" if identity is None else identity.data)
