"""Fair shares of a server: under overload, sources take turns.

A source is the place where requests come from: an address, or for IPv6 the /64 network of one
customer. A source may have many connections and send many requests on each. Other sources still
wait for only a few of them.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from functools import lru_cache

_MAX_ADDRESS = 64
"""Characters in an address with a port or a zone."""


class Shares:
    """Shares for at most `at_once` requests, of which at most `of_one` come from one source.

    Further requests wait. The next request is the oldest one from the source whose turn it is.
    After its turn, a source goes behind all other waiting sources.
    """

    def __init__(self, at_once: int, of_one: int) -> None:
        self._free, self._of_one = at_once, of_one
        self._most_full = at_once // of_one
        """How many sources can have their maximum at the same time."""
        self._held: dict[str, int] = {}
        self._waiting: OrderedDict[str, OrderedDict[asyncio.Future[None], None]] = OrderedDict()

    async def enter(self, source: str, seconds: float | None = None) -> None:
        """Take a share, to be given back by `leave`. Raises TimeoutError after `seconds`."""
        # While shares are free, a source waits only if it has its maximum.
        if self._free and self._held.get(source, 0) < self._of_one:
            self._take(source)
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(source, OrderedDict())[turn] = None
        try:
            if seconds is None:
                await turn
            else:
                async with asyncio.timeout(seconds):
                    await turn
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave(source)  # its turn came at the same time
            else:
                self._forget(source, turn)
            raise

    def leave(self, source: str) -> None:
        """Give a share back to the waiting requests."""
        self._free += 1
        self._held[source] -= 1
        if not self._held[source]:
            del self._held[source]
        while self._free and self._give():
            pass

    def _take(self, source: str) -> None:
        self._free -= 1
        self._held[source] = self._held.get(source, 0) + 1

    def _give(self) -> bool:
        """Give a share to the source whose turn it is; says whether any waits that may have one."""
        for _ in range(min(len(self._waiting), self._most_full + 1)):
            source, turns = next(iter(self._waiting.items()))
            self._waiting.move_to_end(source)
            if self._held.get(source, 0) < self._of_one:
                turn = next(iter(turns))
                self._forget(source, turn)
                if not turn.done():  # it may have been cancelled just now
                    self._take(source)
                    turn.set_result(None)
                return True
        return False

    def _forget(self, source: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(source)
        if turns is not None:
            turns.pop(turn, None)
            if not turns:
                del self._waiting[source]


def source_of(host: str) -> str:
    """Return the source for an address, which may have a port.

    A proxy may forward text that is not an address. All such texts count as one source.
    """
    return _source(host) if len(host) <= _MAX_ADDRESS else ""


@lru_cache(1024)
def _source(host: str) -> str:
    try:
        end = ":" if host.count(":") == 1 else "%"
        address = ipaddress.ip_address(host.partition(end)[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False))


class Proxies:
    """The addresses of proxies, each an address, a network, or `*` for all.

    Raises ValueError for anything else.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._all = "*" in texts
        self._networks = [ipaddress.ip_network(text) for text in texts if text != "*"]

    def __contains__(self, host: str) -> bool:
        if self._all or not self._networks:
            return self._all
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            return False
        return any(address in network for network in self._networks)
