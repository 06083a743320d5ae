"""Chooses the keys that the packets of a flow may belong to.

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
"""The most keys that are tried on a flow because their ends fit."""
_BEHIND, _AHEAD = 64, 16
"""How many keys with a shared end are considered before and after a position."""


class _Fit(NamedTuple):
    """A key that may belong to a flow; `ends` says how well its ends fit, 0 is best.

    `is_vague` says that the ends are weak evidence.
    """

    is_vague: bool
    ends: int
    key: SignalledKey


class _Shared:
    """Keys that share an end, ordered by the frame at which each begins."""

    __slots__ = ("_begins", "_keys")

    def __init__(self) -> None:
        self._keys: list[SignalledKey] = []
        self._begins: list[int] | None = None

    def add(self, key: SignalledKey) -> None:
        """Take a key."""
        self._keys.append(key)
        self._begins = None

    def near(self, position: int) -> list[SignalledKey]:
        """The keys that began around a position."""
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

        `flow` is as in `frames.Datagram`. The order is: both ends fit, one end fits, the signalling
        names the SSRC, only the port of an end is known. Within each group: in use, next to come,
        replaced or ended, only offered.
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
        """Keys whose ends do not fit a flow, in case the flow comes from behind a NAT.

        Keys that share a port come first, then keys that share an address, then any others that are
        valid at the position.
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

    Among keys whose ends fit equally well, those accepted last are in use. Keys accepted earlier
    count as replaced, even if they belong to another call. The first keys accepted after the
    position are next.
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
    """The state of a key relative to a position, the likeliest first.

    An offer made with the keys in use or after them, whose answer was not captured, may have
    replaced them. It ranks above the keys that they replaced.
    """

    IN_USE = 0
    NEXT = 1
    LATEST_OFFER = 2
    REPLACED = 3
    ELSE = 4


def _rank(
    fit: _Fit, position: int, newest: SignalledKey | None, soonest: int
) -> tuple[_Class, int, int, int]:
    """Sort key of a key's likelihood: the lowest value is the likeliest.

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
    """The index key for the port of a known end, at any address."""
    return b":" + port


def _at(address: bytes) -> bytes:
    """The index key for the address of a known end, at any port."""
    return b"@" + address


def _name(ssrc: bytes) -> bytes:
    """The index key for an SSRC."""
    return b"ssrc:" + ssrc
