"""What a caller can follow while a capture is processed."""

from __future__ import annotations


class Listener:
    """Is told how a run goes, as it goes. This one ignores everything; override what is of use.

    What `note` and `failure` are given is in the `Report` at the end as well.
    """

    def note(self, text: str) -> None:
        """Something worth knowing that is no error: a ROC that was found, a key that is no use."""

    def failure(self, text: str) -> None:
        """A packet that failed and why, or how many more did after the first ten reasons."""

    def progress(self, position: int) -> None:
        """How many octets of the input have been read."""
