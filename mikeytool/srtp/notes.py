"""Notes of senders and receivers: useful information that is not an error."""

from __future__ import annotations


class Notes:
    """Texts about streams, each kept once, and no more than a thousand."""

    _MOST = 1000

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._new: list[str] = []

    def add(self, text: str) -> None:
        """Add a note, unless it was added before."""
        if text not in self._said and len(self._said) < self._MOST:
            self._said.add(text)
            self._new.append(text)

    def take(self) -> list[str]:
        """The notes added since the last call."""
        new, self._new = self._new, []
        return new
