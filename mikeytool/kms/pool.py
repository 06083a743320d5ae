"""Threads that work on a store, each with its own connection to it.

What a KMS does with a message waits for disks and other KMSs; a server must not. What would
have to wait behind too much is turned away at once, while it is known not to be done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from mikeytool.kms.store import Store
from mikeytool.kms.turns import MAX_ASKING, having
from mikeytool.wire.errors import StateError, Unavailable

T = TypeVar("T")

MAX_WAITING = 64
"""How much may wait for its turn."""


class StorePool:
    """Does things with a store, which `connect` opens, in threads, `at_once` of them.

    Writers of an SQLite file wait for each other, and badly if they are of one process; so
    for that one at once is best. A database server is waited for, by several at once.
    """

    def __init__(self, connect: Callable[[], Store], at_once: int) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._most, self._count = at_once + MAX_ASKING + MAX_WAITING, 0
        self._free = [_Thread(connect) for _ in range(at_once + MAX_ASKING)]
        self._all = tuple(self._free)

    async def run(self, work: Callable[[Store], T]) -> T:
        """What `work` returns and raises, with the store of some thread.

        Raises Unavailable, and does nothing, when too much waits already. A store that
        raised StateError is opened anew for the next one.
        """
        if self._count >= self._most:
            raise Unavailable("too many messages wait to be answered")
        self._count += 1
        try:
            await self._turns.acquire()
        except BaseException:
            self._count -= 1
            raise
        # The thread of last time, if it is free: its connection has in memory what it needs.
        thread, loop = self._free.pop(), asyncio.get_running_loop()
        future = thread.do(work, _Turn(self._turns, loop))
        # Until it is done, though whoever waits for it may be gone before.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done, thread))
        return await asyncio.wrap_future(future)

    def _done(self, thread: _Thread) -> None:
        self._free.append(thread)
        self._turns.release()
        self._count -= 1

    def close(self) -> None:
        """Begin nothing more."""
        for thread in self._all:
            thread.close()


class _Thread:
    """One thread, and its store once it is needed."""

    def __init__(self, connect: Callable[[], Store]) -> None:
        self._connect = connect
        self._executor = ThreadPoolExecutor(1, "store")
        self._store: Store | None = None

    def do(self, work: Callable[[Store], T], turn: _Turn) -> Future[T]:
        return self._executor.submit(self._done, work, turn)

    def _done(self, work: Callable[[Store], T], turn: _Turn) -> T:
        store = self._store = self._store or self._connect()
        try:
            with having(turn):
                return work(store)
        except StateError:
            self._store = None
            with suppress(StateError):
                store.close()
            raise

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)


class _Turn:
    """A turn of a pool, for the thread that has it."""

    def __init__(self, turns: asyncio.Semaphore, loop: asyncio.AbstractEventLoop) -> None:
        self._turns, self._loop = turns, loop

    def give_up(self) -> None:
        self._loop.call_soon_threadsafe(self._turns.release)

    def take_back(self) -> None:
        asyncio.run_coroutine_threadsafe(self._turns.acquire(), self._loop).result()
