"""Searching for the rollover counter of a packet that does not verify with the likely one.

The index of an RTP packet has 48 bits, of which the packet has 16. After a long gap, and where a
capture begins in the middle of a call, only trying tells the rest; each attempt costs some
microseconds and is a chance to forge a tag, so their number is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FAR, NEAR = 256, 2
"""How far the ROC may be off at the first packet of a stream, and later: this is always tried."""
SHORTEST_TAG = 4
"""Octets of a tag that is searched for; of any number of ROCs only with `LONG_TAG` or more."""
LONG_TAG = 8
MOST_SSRCS = 4096
WHOLE_CAPTURE = 1 << 20
# The first packets of an SSRC that do not verify are tried that far. The next ones are tried with
# ROCs one away, every second of them two, every fourth four and so on: a stream that follows
# packets of an unknown key is still found, and each of those costs some ten attempts.
_FULL_SEARCHES = 4
# Attempts for an SSRC beyond that; one packet gets half of what is left, of it and of all, so
# that a few broken packets do not use up what a gap after them needs.
_STREAM_ATTEMPTS = 1 << 18
_LAST_ROC = (1 << 32) - 1


@dataclass
class SearchBudget:
    """The attempts far from the likely ROC that all streams of a run have together.

    The usual number suits a live call, where forged packets must not take long; a whole capture
    is worth `WHOLE_CAPTURE`.
    """

    left: int = 1 << 13


class RocSearch:
    """Which ROCs are tried for the packets of each SSRC that do not verify."""

    def __init__(self, tag_length: int, budget: SearchBudget | None = None) -> None:
        """Begin for a suite with tags of that many octets."""
        self._tag_length = tag_length
        self._budget = budget or SearchBudget()
        self._failed: dict[int, int] = {}  # packets of an SSRC that did not verify
        self._left: dict[int, int] = {}

    def found(self, ssrc: int) -> None:
        """Begin anew for an SSRC of which a packet has verified."""
        self._failed.pop(ssrc, None)
        self._budget.left += _STREAM_ATTEMPTS - self._left.pop(ssrc, _STREAM_ATTEMPTS)

    def count(self, ssrc: int, most: int) -> int:
        """Count a packet that does not verify, and say how far around its ROC to search."""
        if self._tag_length < SHORTEST_TAG:
            return 0
        failed = self._failed.get(ssrc, 0) + 1
        if failed == 1 and len(self._failed) >= MOST_SSRCS:
            return min(most, NEAR)
        self._failed[ssrc] = failed
        return most if failed <= _FULL_SEARCHES else min(most, failed & -failed)

    def is_early(self, ssrc: int) -> bool:
        """Whether what is tried seldom is to be tried on the packet that was counted last."""
        failed = self._failed.get(ssrc, 0)
        return failed <= _FULL_SEARCHES or not failed & (failed - 1)

    def far(self, ssrc: int, roc: int, reach: int, cost: int, *, backward: bool) -> Iterator[int]:
        """The ROCs beyond `reach` around `roc`, the nearest first, while attempts are left.

        Each is `cost` attempts. With `backward` those before it are among them.
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
    """The ROCs up to `reach` from one, the nearest first."""
    for distance in range(1, reach + 1):
        for other in (roc + distance, roc - distance):
            if 0 <= other <= _LAST_ROC:
                yield other
