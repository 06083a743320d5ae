"""What senders and receivers note down that is worth knowing and no error."""

from __future__ import annotations


class Notes:
    """Texts about streams, each kept once, and no more than a thousand."""

    _MOST = 1000

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._new: list[str] = []

    def add(self, text: str) -> None:
        """Note something down, unless it was before."""
        if text not in self._said and len(self._said) < self._MOST:
            self._said.add(text)
            self._new.append(text)

    def take(self) -> list[str]:
        """What was noted down since the last time."""
        new, self._new = self._new, []
        return new
