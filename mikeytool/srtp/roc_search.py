"""Searches for the rollover counter of a packet that does not verify with the likely one.

The index of an RTP packet has 48 bits, of which the packet carries 16. After a long gap, or if a
capture begins in the middle of a call, the rest can only be found by trying. Each attempt costs
some microseconds and gives a forged tag another chance, so the number of attempts is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FAR, NEAR = 256, 2
"""How far the ROC may be off at the first packet of a stream, and later; always tried."""
SHORTEST_TAG = 4
"""The shortest tag, in octets, that allows a search; a wide search needs `LONG_TAG` octets."""
LONG_TAG = 8
MOST_SSRCS = 4096
WHOLE_CAPTURE = 1 << 20
# The first failing packets of an SSRC are tried that far. Later ones are tried with ROCs one away,
# every second one with ROCs two away, every fourth four away, and so on. A stream that follows
# packets of an unknown key is still found, and each of those packets costs some ten attempts.
_FULL_SEARCHES = 4
# Attempts for an SSRC beyond that. One packet gets half of the attempts left, both for its SSRC and
# in total, so that a few broken packets do not use up what a later gap needs.
_STREAM_ATTEMPTS = 1 << 18
_LAST_ROC = (1 << 32) - 1


@dataclass
class SearchBudget:
    """The number of attempts far from the likely ROC, shared by all streams of a run.

    The default suits a live call, where forged packets must not cost much time; use `WHOLE_CAPTURE`
    for a whole capture.
    """

    left: int = 1 << 13


class RocSearch:
    """Chooses the ROCs to try for packets that do not verify, per SSRC."""

    def __init__(self, tag_length: int, budget: SearchBudget | None = None) -> None:
        """Begin for a suite with tags of `tag_length` octets."""
        self._tag_length = tag_length
        self._budget = budget or SearchBudget()
        self._failed: dict[int, int] = {}  # packets of an SSRC that did not verify
        self._left: dict[int, int] = {}

    def found(self, ssrc: int) -> None:
        """Start again for an SSRC after one of its packets has verified."""
        self._failed.pop(ssrc, None)
        self._budget.left += _STREAM_ATTEMPTS - self._left.pop(ssrc, _STREAM_ATTEMPTS)

    def count(self, ssrc: int, most: int) -> int:
        """Count a packet that does not verify; returns how far around its ROC to search."""
        if self._tag_length < SHORTEST_TAG:
            return 0
        failed = self._failed.get(ssrc, 0) + 1
        if failed == 1 and len(self._failed) >= MOST_SSRCS:
            return min(most, NEAR)
        self._failed[ssrc] = failed
        return most if failed <= _FULL_SEARCHES else min(most, failed & -failed)

    def is_early(self, ssrc: int) -> bool:
        """Whether rarely made attempts are due for the packet counted last."""
        failed = self._failed.get(ssrc, 0)
        return failed <= _FULL_SEARCHES or not failed & (failed - 1)

    def far(self, ssrc: int, roc: int, reach: int, cost: int, *, backward: bool) -> Iterator[int]:
        """The ROCs beyond `reach` around `roc`, the nearest first, while attempts are left.

        Each ROC costs `cost` attempts. With `backward`, ROCs before `roc` are included.
        """
        if self._tag_length < LONG_TAG or ssrc not in self._failed:
            return
        left = self._left.setdefault(ssrc, _STREAM_ATTEMPTS)
        most = min(left, self._budget.left) // 2
        distance = reach
        while most >= cost and (roc + distance < _LAST_ROC or (backward and distance < roc)):
            distance += 1
            for other in (roc + distance, roc - distance) if backward else (roc + distance,):
                if 0 <= other <= _LAST_ROC:
                    most -= cost
                    self._left[ssrc] -= cost
                    self._budget.left -= cost
                    yield other


def around(roc: int, reach: int) -> Iterator[int]:
    """The ROCs up to `reach` away from `roc`, the nearest first."""
    for distance in range(1, reach + 1):
        for other in (roc + distance, roc - distance):
            if 0 <= other <= _LAST_ROC:
                yield other
