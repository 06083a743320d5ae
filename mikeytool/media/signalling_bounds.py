"""How much of a capture's signalling is kept, and what to tell when a bound is met.

A capture may come from anybody. The bounds count estimated memory, not messages: one message may
have a thousand keys.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from mikeytool.capture.sdp import MAX_CANDIDATES, Section

MAX_SIGNALLING = 64 << 20
"""The most memory in octets for messages of calls, with their descriptions."""
MAX_KEYS_KEPT = 32 << 20
"""The most memory in octets for the keys in them."""
MAX_MIKEY = 8 << 20
"""The most octets of MIKEY messages that are kept to open others."""
MAX_MEDIA = 64
"""The most media lines read from one description."""
MAX_KEYS = 16
"""The most keys of one kind read from one part of a description."""

# Measured; of what is not counted by its length.
_SECTION = 1000
_STRING = 80

_MOST_BOUNDS = 16
_OTHERS = "other bounds were met"


class Bounds:
    """Counts what is left out by each bound that was met."""

    def __init__(self) -> None:
        self._left_out: Counter[str] = Counter()

    def leave_out(self, bound: str, count: int = 1) -> None:
        """Count what is left out; `bound` says which bound was met, with its number.

        A count of 0 leaves the text as it is.
        """
        known = bound in self._left_out or len(self._left_out) < _MOST_BOUNDS
        self._left_out[bound if known else _OTHERS] += count

    def notes(self) -> list[str]:
        """A line for each bound that was met."""
        found = self._left_out.items()
        return [f"{bound}: {count} left out" if count else bound for bound, count in found]


class Room:
    """Memory for one kind of content. Once something does not fit, nothing more is taken.

    What comes first is thus kept whole, and what comes later is left out.
    """

    def __init__(self, octets: int, what: str, bounds: Bounds) -> None:
        self._left = octets
        self._bound = f"{what} take more than {octets >> 20} MB of memory"
        self._bounds = bounds

    def takes(self, octets: int) -> bool:
        """Whether there is room for as many octets, which are then in use."""
        if octets > self._left:
            self._left = -1
            self._bounds.leave_out(self._bound)
            return False
        self._left -= octets
        return True


def size_of(sections: Iterable[Section], texts: Iterable[str | bytes] = ()) -> int:
    """The memory that sections and texts take, in octets."""
    octets = sum(_STRING + len(text) for text in texts)
    for section in sections:
        octets += _SECTION + len(section.mid) + len(section.control)
        octets += sum(_STRING + len(text) for text in section.cryptos)
        octets += sum(3 * _STRING + len(spec.data) + len(spec.uri) for spec in section.specs)
        octets += _STRING * (len(section.candidates) + len(section.ssrcs) + len(section.codecs))
        octets += sum(_STRING + len(name) for group in section.bundles for name in group)
    return octets


def bounded(sections: Sequence[Section], bounds: Bounds) -> list[Section]:
    """The sections of a description without what is beyond the bounds, which is told."""
    found = [*sections[: MAX_MEDIA + 1]]
    if len(sections) > len(found):
        beyond = len(sections) - len(found)
        bounds.leave_out(f"a description has more than {MAX_MEDIA} media", beyond)
    for section in found:
        for keys in (section.cryptos, section.specs):
            if len(keys) > MAX_KEYS:
                text = f"a part of a description has more than {MAX_KEYS} keys of one kind"
                bounds.leave_out(text, len(keys) - MAX_KEYS)
                del keys[MAX_KEYS:]
        for several, what in ((section.candidates, "candidates"), (section.ssrcs, "SSRCs")):
            if len(several) > MAX_CANDIDATES:
                bounds.leave_out(f"a medium has more than {MAX_CANDIDATES} {what}")
                del several[MAX_CANDIDATES:]
    return found
