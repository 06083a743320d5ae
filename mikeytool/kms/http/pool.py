"""Threads that work on a store, each with its own connection to it.

Handling a message waits for disks and other KMSs, but the event loop of a server must not wait.
If too much work is waiting already, new work is refused at once, before any of it is done.

A thread that holds a slot does one job after another. Under load no thread has to be woken, and
all work uses a connection that has its data cached.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeVar

from mikeytool.kms.store.slots import MAX_PEER_REQUESTS, holding
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import StateError, Unavailable

T = TypeVar("T")

MAX_WAITING = 64
"""How many jobs may wait for a slot."""

MAX_AGE = 3.0
"""Seconds after which a waiting job is dropped, because its client may be gone."""

_Job = tuple[Callable[[Store], Any], "asyncio.Future[Any]", asyncio.AbstractEventLoop, float]


class StorePool:
    """Runs jobs in threads, on a store that `connect` opens. `at_once` is the number of slots.

    Writers of an SQLite file wait for each other, and this works worst within one process, so one
    slot is best for a file. With a database server, several threads can wait at once.
    """

    def __init__(self, connect: Callable[[], Store], at_once: int) -> None:
        self._connect = connect
        self._threads = at_once + MAX_PEER_REQUESTS
        self._most, self._count = self._threads + MAX_WAITING, 0
        self._slots = threading.Semaphore(at_once)
        # An event among the jobs asks for a slot; None ends a thread.
        self._jobs: SimpleQueue[_Job | threading.Event | None] = SimpleQueue()
        for _ in range(self._threads):
            threading.Thread(target=self._serve, daemon=True).start()

    async def run(self, work: Callable[[Store], T]) -> T:
        """Have a thread call `work` with its store, and return or raise what `work` does.

        If too many jobs are waiting already, this does nothing and raises Unavailable. If a store
        raises StateError, it is reopened for the next job.
        """
        if self._count >= self._most:
            raise Unavailable("too many messages wait to be answered")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._count += 1
        self._jobs.put((work, answer, loop, time.monotonic()))
        return await answer

    def close(self) -> None:
        """End the threads after they finish their pending jobs."""
        for _ in range(self._threads):
            self._jobs.put(None)

    # --- a slot, for `slots.peer_request` ---------------------------------------------------

    def release(self) -> None:
        """Give this thread's slot to another thread."""
        self._slots.release()

    def acquire(self) -> None:
        """Wait until another thread gives its slot to this one."""
        free = threading.Event()
        self._jobs.put(free)
        free.wait()

    # --- in the threads ---------------------------------------------------------------------

    def _serve(self) -> None:
        store: Store | None = None
        while True:
            self._slots.acquire()
            while isinstance(job := self._jobs.get(), tuple):
                store = self._done(store, *job)
            if job is None:
                break
            job.set()
        if store is not None:
            store.close()
        self._slots.release()

    def _done(
        self,
        store: Store | None,
        work: Callable[[Store], T],
        answer: asyncio.Future[T],
        loop: asyncio.AbstractEventLoop,
        since: float,
    ) -> Store | None:
        """Do a job, and return the store for the next one."""
        result, error = None, None
        try:
            if time.monotonic() - since > MAX_AGE:
                raise Unavailable("messages wait too long to be answered")
            store = store or self._connect()
            with holding(self):
                result = work(store)
        except Exception as raised:
            error = raised
            if isinstance(error, StateError) and store is not None:
                with suppress(StateError):
                    store.close()
                store = None
        with suppress(RuntimeError):  # if the loop has ended meanwhile
            loop.call_soon_threadsafe(self._answer, answer, result, error)
        return store

    def _answer(self, answer: asyncio.Future[Any], result: object, error: Exception | None) -> None:
        self._count -= 1
        if answer.done():
            return  # its caller was cancelled
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)
