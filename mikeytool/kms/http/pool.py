"""Threads that work on a store, each with its own connection to it.

What a KMS does with a message waits for disks and other KMSs; a server must not. What would
have to wait behind too much is turned away at once, while it is known not to be done.

Who has a turn takes one piece of work after the other, so that under load no thread has to
be woken, and works with the connection that has in memory what it needs.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from mikeytool.kms.store.slots import MAX_ASKING, having
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import StateError, Unavailable

T = TypeVar("T")

MAX_WAITING = 64
"""How much may wait for its turn."""

MAX_AGE = 3.0
"""Seconds after which what waits is not done any more: its client may be gone."""

_Job = tuple[Callable[[Store], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop, float]


class StorePool:
    """Does things with a store, which `connect` opens, in threads, `at_once` of them.

    Writers of an SQLite file wait for each other, and badly if they are of one process; so
    for that one at once is best. A database server is waited for, by several at once.
    """

    def __init__(self, connect: Callable[[], Store], at_once: int) -> None:
        self._connect = connect
        self._threads = at_once + MAX_ASKING
        self._most, self._count = self._threads + MAX_WAITING, 0
        self._turns = threading.Semaphore(at_once)
        # An event among the work asks for a turn; None for the end.
        self._work: SimpleQueue[_Job | threading.Event | None] = SimpleQueue()
        for _ in range(self._threads):
            threading.Thread(target=self._serve, daemon=True).start()

    async def run(self, work: Callable[[Store], T]) -> T:
        """What `work` returns and raises, with the store of some thread.

        Raises Unavailable, and does nothing, when too much waits already. A store that
        raised StateError is opened anew for the next one.
        """
        if self._count >= self._most:
            raise Unavailable("too many messages wait to be answered")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._count += 1
        self._work.put((work, answer, loop, time.monotonic()))
        return await answer

    def close(self) -> None:
        """Begin nothing after what was asked for until now."""
        for _ in range(self._threads):
            self._work.put(None)

    # --- for `turns.asking` -----------------------------------------------------------------

    def give_up(self) -> None:
        """Let another thread have the turn of this one."""
        self._turns.release()

    def take_back(self) -> None:
        """Wait for the turn of another thread."""
        turn = threading.Event()
        self._work.put(turn)
        turn.wait()

    # --- in the threads ---------------------------------------------------------------------

    def _serve(self) -> None:
        store: Store | None = None
        while True:
            self._turns.acquire()
            while isinstance(job := self._work.get(), tuple):
                store = self._done(store, *job)
            if job is None:
                break
            job.set()
        if store is not None:
            store.close()
        self._turns.release()

    def _done(
        self,
        store: Store | None,
        work: Callable[[Store], T],
        answer: asyncio.Future[T],
        loop: asyncio.AbstractEventLoop,
        since: float,
    ) -> Store | None:
        """Do a piece of work; gives the store for the next one."""
        result, error = None, None
        try:
            if time.monotonic() - since > MAX_AGE:
                raise Unavailable("messages wait too long to be answered")
            store = store or self._connect()
            with having(self):
                result = work(store)
        except Exception as raised:
            error = raised
            if isinstance(error, StateError) and store is not None:
                with suppress(StateError):
                    store.close()
                store = None
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(self._tell, answer, result, error)
        return store

    def _tell(self, answer: asyncio.Future[Any], result: object, error: Exception | None) -> None:
        self._count -= 1
        if answer.done():
            return  # given up by who waited for it
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)
