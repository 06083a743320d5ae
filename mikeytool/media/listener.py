"""What a caller can follow while a capture is processed."""

from __future__ import annotations


class Listener:
    """Receives what happens during a run. This one ignores it; override the methods of interest.

    Notes and failures are also in the `Report` at the end.
    """

    def note(self, text: str) -> None:
        """Receive a note that is not an error: a ROC that was found, a key that cannot be used."""

    def failure(self, text: str) -> None:
        """Receive why a packet failed, or how many more failed after the first ten reasons."""

    def progress(self, position: int) -> None:
        """Receive how many octets of the input have been read."""
