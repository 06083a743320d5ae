"""Threads that work on a store, each with its own connection to it.

What a KMS does with a message waits for disks and other KMSs; a server must not. What would
have to wait behind too much is turned away at once, while it is known not to be done.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from mikeytool.kms.forward import MAX_ASKED
from mikeytool.kms.store import Store
from mikeytool.wire.errors import StateError, Unavailable

T = TypeVar("T")

THREADS = MAX_ASKED + 4
"""More than can wait for other KMSs."""

MAX_WAITING = 64
"""How much may wait for a thread."""


class StorePool:
    """Does things with a store, which `connect` opens, in threads."""

    def __init__(self, connect: Callable[[], Store]) -> None:
        self._connect = connect
        self._threads = ThreadPoolExecutor(THREADS, "store")
        self._local = threading.local()
        self._busy = 0

    async def run(self, work: Callable[[Store], T]) -> T:
        """What `work` returns and raises, with the store of some thread.

        Raises Unavailable, and does nothing, when too much waits already. A store that
        raised StateError is opened anew for the next one.
        """
        if self._busy >= THREADS + MAX_WAITING:
            raise Unavailable("too many messages wait to be answered")
        self._busy += 1
        future = self._threads.submit(self._done, work)
        loop = asyncio.get_running_loop()
        # Counted until it is done, though whoever waits for it may be gone before.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._one_less))
        return await asyncio.wrap_future(future)

    def _one_less(self) -> None:
        self._busy -= 1

    def _done(self, work: Callable[[Store], T]) -> T:
        store: Store | None = getattr(self._local, "store", None)
        if store is None:
            store = self._local.store = self._connect()
        try:
            return work(store)
        except StateError:
            self._local.store = None
            with suppress(StateError):
                store.close()
            raise

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)
