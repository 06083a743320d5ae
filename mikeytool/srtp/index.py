"""Packet indices: estimates the part that is not sent, and rejects repetitions.

The index of an RTP packet is ROC * 2^16 + SEQ, 48 bits, of which a packet carries only SEQ (RFC
3711 3.3.1). An SRTCP packet carries its whole 31-bit index (RFC 3711 3.4).
"""

from __future__ import annotations

from array import array
from enum import Enum
from typing import NamedTuple

from mikeytool.wire.errors import Refused, UsageError

RTP_INDICES = 1 << 48
RTCP_INDICES = 1 << 31
WINDOW = 64
# Half the range of SEQ: the index of a packet further behind cannot be determined.
WIDEST_WINDOW = 1 << 15
REMEMBERED = 1 << 10
"""How many packets of a stream are compared with copies, if there are not too many streams."""


class Highest(NamedTuple):
    """The highest indices used for an SSRC; -1 if there was no packet."""

    rtp: int = -1
    rtcp: int = -1


class Replayed(Refused):
    """The packet is authentic, but was received before or is too old to tell (RFC 3711 3.3.2)."""


class TooLate(Replayed):
    """The packet is so far behind the newest that it may have been received before."""


class Duplicate(Replayed):
    """The packet is an exact copy of an earlier one.

    `clear` is the decrypted packet, `behind` is how many indices it lies behind the newest.
    """

    clear: bytes = b""
    behind: int = 0


class Unverified(Refused):
    """The packet's tag verifies under no key, or no key has its MKI."""


class Excluded(Refused):
    """The packet is authentic, but its SSRC is not admitted under the key."""


class Clash(Refused):
    """Two different packets have the same SSRC, index and key, and so the same key stream."""


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
    """Raise UsageError if a replay window of `size` packets is too small."""
    if size < WINDOW:
        raise UsageError(f"a replay window of {size} packets; choose {WINDOW} or more")


def check_roc(ssrc: int, roc: int) -> None:
    """Raise UsageError unless `roc` is a rollover counter, which has 32 bits."""
    if not 0 <= roc < 1 << 32:
        raise UsageError(f"SSRC 0x{ssrc:08x} has ROC {roc}; give 0 to 2^32 - 1")


class ReplayWindow:
    """Tracks which of the newest `size` indices of a stream were received (RFC 3711 3.3.2).

    A packet more than half the range of SEQ behind looks like one that far ahead. A wider window is
    therefore limited to half the range.

    `next` is the index after the highest one received. The window remembers missing indices instead
    of received ones, so that a packet in order costs only `next += 1`. Those before the first are
    missing too, and take memory when one of them has come.
    """

    __slots__ = ("_first", "_missing", "_size", "next")

    def __init__(self, size: int, first: int) -> None:
        """Begin with the packet of index `first` as the only one received."""
        self.next = first + 1
        self._size = min(size, WIDEST_WINDOW)
        self._first = first
        self._missing: set[int] = set()

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
            raise TooLate(
                f"packet index {index} lies {behind} behind the newest, more than the "
                f"replay window of {self._size} remembers; a wider window would take it"
            )
        if index < self._first:  # late, not replayed
            self._missing.update(range(max(0, self._first - self._size + 1), self._first))
            self._first = 0
        if index not in self._missing:
            raise Replayed(f"packet index {index} was received before; drop the copy")
        self._missing.remove(index)


class Known(Enum):
    """Which packet used an index before: none, the same one, another one, or unknown by now."""

    NEW = "new"
    SAME = "same"
    OTHER = "other"
    FORGOTTEN = "forgotten"


class Packets:
    """Tracks the packets with the newest indices of one SSRC under one key, at any destination.

    It keeps the `hash()` of each packet, or of the tag at its end; the hash is keyed with a secret
    of the process (PEP 456). `next` is the index after the highest one. A packet in order is
    recorded with `packets.hashes[index & packets.mask] = hash(packet); packets.next += 1`, any
    other with `note`. `source` is where the last packet came from.
    """

    __slots__ = ("hashes", "mask", "next", "source")

    def __init__(self, remembered: int, first: int, source: str) -> None:
        """Begin without packets; `first` is the index that comes next.

        The newest `remembered` are kept, or more, up to a power of two.
        """
        size = 1 << (min(remembered, WIDEST_WINDOW) - 1).bit_length()
        self.hashes = array("q", bytes(8 * size))
        self.mask = size - 1
        self.next = first
        self.source = source

    def known(self, index: int, packet: int) -> Known:
        """Say whether the index of an authentic packet with this hash was used before."""
        if index >= self.next:
            return Known.NEW
        if index < self.next - len(self.hashes):
            return Known.FORGOTTEN
        before = self.hashes[index & self.mask]
        if not before:
            return Known.NEW
        return Known.SAME if before == packet else Known.OTHER

    def note(self, index: int, packet: int, source: str) -> None:
        """Record a packet by its hash, unless it is too far behind."""
        size = len(self.hashes)
        if index >= self.next:
            if index - self.next >= size:
                self.hashes = array("q", bytes(8 * size))
            else:
                for skipped in range(self.next, index):
                    self.hashes[skipped & self.mask] = 0
            self.next = index + 1
        if index >= self.next - size:
            self.hashes[index & self.mask] = packet
            self.source = source
