"""Which keys the packets of a flow may belong to.

`KeyIndex` finds them by the ends of the flow, without going through all of them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple

from mikeytool.capture.endpoints import destination_of, source_of, without_channel
from mikeytool.media.dialogs import FOREVER
from mikeytool.media.signalled_keys import SignalledKey

MAX_CANDIDATES = 32
"""Contexts that are tried on the packets of a flow for its ends."""
_BEHIND, _AHEAD = 64, 16
"""Of those that share an end, so many that began before and after a position are looked at."""


class _Fit(NamedTuple):
    """A key that may be that of a flow; `ends` says how well its ends fit, 0 best.

    `is_vague` says that they hardly tell anything.
    """

    is_vague: bool
    ends: int
    key: SignalledKey


class _Shared:
    """Contexts that share an end, in order of the frames from which on they count."""

    __slots__ = ("_begins", "_keys")

    def __init__(self) -> None:
        self._keys: list[SignalledKey] = []
        self._begins: list[int] | None = None

    def add(self, key: SignalledKey) -> None:
        """Take a key."""
        self._keys.append(key)
        self._begins = None

    def near(self, position: int) -> list[SignalledKey]:
        """Those that began around a position."""
        if len(self._keys) <= _AHEAD:
            return self._keys
        if self._begins is None:
            self._keys.sort(key=_begins)
            self._begins = list(map(_begins, self._keys))
        at = bisect_right(self._begins, position)
        return self._keys[max(at - _BEHIND, 0) : at + _AHEAD]


class KeyIndex:
    """The keys of a capture, by their ends."""

    def __init__(self, keys: Iterable[SignalledKey]) -> None:
        self._to: dict[bytes, _Shared] = {}
        self._from: dict[bytes, _Shared] = {}
        self._all = _Shared()
        for key in keys:
            if not key.declined:
                self._add(key)

    def candidates(self, flow: bytes, ssrc: bytes, position: int) -> list[SignalledKey]:
        """The keys whose ends fit a flow, the likeliest at a position first.

        `flow` is as in `frames.Datagram`. In order: both ends fit, one does, the signalling
        names the SSRC, or the port is all that is known of an end; within each: in use, next
        to come, replaced or ended, only offered.
        """
        source, destination = source_of(flow), destination_of(flow)
        there = _found(self._to, destination, position)
        here = _found(self._from, source, position)
        fits = [_Fit(False, 0 if key in here else 1, key) for key in there]
        fits += [_Fit(False, 1, key) for key in here if key not in there]
        plain = without_channel(flow)
        source, destination = source_of(plain), destination_of(plain)
        vague = (
            (self._to, _name(ssrc)),
            (self._to, destination[-2:]),
            (self._from, source[-2:]),
            (self._to, destination[:-2]),
            (self._from, source[:-2]),
        )
        for ends, (index, end) in enumerate(vague):
            fits += [_Fit(True, ends, key) for key in _found(index, end, position)]
        return _ordered(fits, position)[:MAX_CANDIDATES]

    def strangers(self, flow: bytes, position: int) -> Iterator[SignalledKey]:
        """Contexts whose ends do not fit a flow, which may come from behind a NAT.

        Those first that share a port, then an address, then any that count at the position.
        """
        source, destination = source_of(flow), destination_of(flow)
        seen: set[int] = set()
        for index, end in (
            (self._to, _like(destination[-2:])),
            (self._from, _like(source[-2:])),
            (self._to, _at(destination[:-2])),
            (self._from, _at(source[:-2])),
        ):
            yield from self._new(_found(index, end, position), seen, position)
        yield from self._new(self._all.near(position), seen, position)

    def _new(
        self, found: Iterable[SignalledKey], seen: set[int], position: int
    ) -> Iterator[SignalledKey]:
        fits = [_Fit(True, 0, key) for key in found if id(key) not in seen]
        for key in _ordered(fits, position):
            seen.add(id(key))
            yield key

    def _add(self, key: SignalledKey) -> None:
        self._all.add(key)
        to, from_ = key.destinations, key.sources
        if key.both_ways:
            to = from_ = (*to, *from_)
        for index, ends in ((self._to, to), (self._from, from_)):
            places = set(ends)
            for end in ends:
                if len(end) in (6, 18):  # for packets from behind a NAT
                    places.update((_like(end[-2:]), _at(end[:-2])))
            for place in places:
                index.setdefault(place, _Shared()).add(key)
        for ssrc in key.ssrcs:
            self._to.setdefault(_name(ssrc.to_bytes(4)), _Shared()).add(key)


def _found(index: dict[bytes, _Shared], end: bytes, position: int) -> list[SignalledKey]:
    shared = index.get(end)
    return shared.near(position) if shared is not None else []


def _ordered(fits: list[_Fit], position: int) -> list[SignalledKey]:
    """The keys, the likeliest at a position first, each once.

    In use are those that were taken last, of those whose ends fit as well; others that
    were taken before them are replaced, also if they are of another call. Those that are
    taken first behind the position are next.
    """
    around: dict[tuple[bool, int], tuple[SignalledKey | None, int]] = {}
    for is_vague, ends, key in fits:
        newest, soonest = around.get((is_vague, ends), (None, FOREVER))
        if key.taken > position:
            soonest = min(soonest, key.taken)
        elif key.taken and position < key.ended and (newest is None or key.taken > newest.taken):
            newest = key
        around[is_vague, ends] = newest, soonest
    ranked = sorted(fits, key=lambda fit: (fit.is_vague, *_rank(fit, position, *around[fit[:2]])))
    return list(dict.fromkeys(fit.key for fit in ranked))


class _Class(IntEnum):
    """How a key stands to the packets at a position, the likeliest first.

    What was offered with the keys in use or after them, and of which no answer was captured,
    may have replaced them: it comes before what they have replaced.
    """

    IN_USE = 0
    NEXT = 1
    LATEST_OFFER = 2
    REPLACED = 3
    ELSE = 4


def _rank(
    fit: _Fit, position: int, newest: SignalledKey | None, soonest: int
) -> tuple[_Class, int, int, int]:
    """How likely a key is, the least first.

    `newest` is the key in use, `soonest` the position of the next answer.
    """
    _, ends, key = fit
    taken, line = key.taken, key.line
    if not taken:
        is_latest = (0 if newest is None else newest.at) <= key.at <= position
        kind = _Class.LATEST_OFFER if is_latest else _Class.ELSE
        return kind, abs(position - key.at), ends, line
    if taken > position:
        return _Class.NEXT if taken == soonest else _Class.ELSE, ends, taken - position, line
    if newest is not None and taken == newest.taken and position < key.ended:
        return _Class.IN_USE, ends, 0, line
    return _Class.REPLACED, ends, position - taken, line


def _begins(key: SignalledKey) -> int:
    return key.begins


def _like(port: bytes) -> bytes:
    """The key of a port of a known end, whatever the address."""
    return b":" + port


def _at(address: bytes) -> bytes:
    """The key of the address of a known end, whatever the port."""
    return b"@" + address


def _name(ssrc: bytes) -> bytes:
    """The key of an SSRC."""
    return b"ssrc:" + ssrc
