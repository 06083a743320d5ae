"""Packet indices: guessing the part that is not sent, and refusing what came before.

The index of an RTP packet is ROC * 2^16 + SEQ, 48 bits, of which a packet carries SEQ only
(RFC 3711 3.3.1). An SRTCP packet carries its 31-bit index whole (RFC 3711 3.4).
"""

from __future__ import annotations

from mikeytool.wire.errors import Refused, UsageError

RTP_INDICES = 1 << 48
RTCP_INDICES = 1 << 31
WINDOW = 64
# Half the range of SEQ: the index of a packet further behind cannot be told any more.
WIDEST_WINDOW = 1 << 15


class Replayed(Refused):
    """Authentic, but received before or too old to know (RFC 3711 3.3.2)."""


def estimate(highest: int, sequence: int) -> int:
    """Return the index nearest to `highest` whose low 16 bits are `sequence`.

    This is the choice of RFC 3711 appendix A, except that ROC does not wrap: the result
    is negative before ROC 0, and 2^48 or more after the last ROC, for the caller to judge.
    """
    roc, last = highest >> 16, highest & 0xFFFF
    if sequence - last > 0x8000:
        roc -= 1
    elif last - sequence > 0x8000:
        roc += 1
    return roc << 16 | sequence


def check_window(size: int) -> None:
    """Raise UsageError unless `size` is a number of packets that a replay window can have."""
    if not WINDOW <= size <= WIDEST_WINDOW:
        raise UsageError(f"a replay window of {size} packets; choose {WINDOW} to {WIDEST_WINDOW}")


class ReplayWindow:
    """Which of the newest `size` indices of one SSRC were received (RFC 3711 3.3.2).

    `next` is the index after the highest one received. Indices that were passed over are
    remembered, not those that came: then a packet in order costs no more than `next += 1`.
    """

    __slots__ = ("_missing", "_size", "next")

    def __init__(self, size: int, first: int) -> None:
        """Begin with the packet of index `first` as the only one received."""
        self.next = first + 1
        self._size = size
        # Packets from before the first are late, not replayed.
        self._missing = set(range(max(0, first - size + 1), first))

    def accept(self, index: int) -> None:
        """Record the index of an authentic packet.

        Raises Replayed if it was recorded before or lies behind the window.
        """
        if index >= self.next:
            oldest = index - self._size + 1
            self._missing.update(range(max(self.next, oldest), index))
            self.next = index + 1
            if len(self._missing) > 2 * self._size:
                self._missing = {each for each in self._missing if each >= oldest}
            return
        behind = self.next - 1 - index
        if behind >= self._size:
            raise Replayed(
                f"packet index {index} lies {behind} behind the newest, more than the "
                f"replay window of {self._size} remembers; a wider window would take it"
            )
        if index not in self._missing:
            raise Replayed(f"packet index {index} was received before; drop the copy")
        self._missing.remove(index)
