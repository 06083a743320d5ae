"""Threads that work on a store, each with its own connection to it.

Handling a message waits for disks and other KMSs, but the event loop of a server must not wait.
If too much work is waiting already, new work is refused at once, before any of it is done.

A thread that holds a slot does one job after another. Under load no thread has to be woken, and
all work uses a connection that has its data cached. Jobs of the same kind that wait are done
together, so that they share one transaction.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeVar

from mikeytool.kms.store.slots import MAX_PEER_REQUESTS, holding
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import StateError, Unavailable

Item = TypeVar("Item")
T = TypeVar("T")

MAX_WAITING = 64
"""How many jobs may wait for a slot."""

MAX_AGE = 3.0
"""Seconds after which a waiting job is dropped, because its client may be gone."""

Together = Callable[[Store, Sequence[Item]], Sequence[T]]
"""Work for several items, which returns a result for each."""


class _Job(NamedTuple):
    work: Together[Any, Any]
    item: Any
    result: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    since: float


_Next = _Job | threading.Event | None
"""An event asks for a slot, and None ends a thread."""


class StorePool:
    """Runs jobs in threads, on a store that `connect` opens.

    `at_once` is the number of slots, and `together` is how many jobs are done together at most.
    Writers of an SQLite file wait for each other, and this works worst within one process, so one
    slot is best for a file. With a database server, several threads can wait at once.
    """

    def __init__(self, connect: Callable[[], Store], at_once: int, together: int = 1) -> None:
        self._connect, self._together = connect, together
        self._threads = at_once + MAX_PEER_REQUESTS
        self._most, self._count = self._threads + MAX_WAITING, 0
        self._slots = threading.Semaphore(at_once)
        self._jobs: SimpleQueue[_Next] = SimpleQueue()
        for _ in range(self._threads):
            threading.Thread(target=self._serve, daemon=True).start()

    async def run(self, work: Callable[[Store], T]) -> T:
        """Have a thread call `work` with its store, and return or raise what `work` does.

        If too many jobs are waiting already, this does nothing and raises Unavailable. If a store
        raises StateError, it is reopened for the next job.
        """
        return await self.run_together(lambda store, _items: [work(store)], None)

    async def run_together(self, work: Together[Item, T], item: Item) -> T:
        """Have a thread call `work` with this item, and with others that wait for the same work.

        Returns the result for this item. Raises what `work` raises, and the errors of `run`.
        """
        if self._count >= self._most:
            raise Unavailable("too many messages wait to be answered")
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()
        self._count += 1
        self._jobs.put(_Job(work, item, result, loop, time.monotonic()))
        return await result

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
            job = self._jobs.get()
            while isinstance(job, _Job):
                jobs, after = self._with_others(job)
                store = self._done(store, jobs)
                job = after[0] if after else self._jobs.get()
            if job is None:
                break
            job.set()
        if store is not None:
            store.close()
        self._slots.release()

    def _with_others(self, first: _Job) -> tuple[list[_Job], list[_Next]]:
        """A job and those for the same work that wait behind it, then the next one, if any."""
        jobs = [first]
        with suppress(Empty):
            while len(jobs) < self._together:
                job = self._jobs.get_nowait()
                if not isinstance(job, _Job) or job.work != first.work:
                    return jobs, [job]
                jobs.append(job)
        return jobs, []

    def _done(self, store: Store | None, jobs: Sequence[_Job]) -> Store | None:
        """Do jobs together, and return the store for the next ones."""
        waited = time.monotonic() - MAX_AGE
        late = [job for job in jobs if job.since < waited]
        if late:
            self._tell(late, (), Unavailable("messages wait too long to be answered"))
        jobs = [job for job in jobs if job.since >= waited]
        if not jobs:
            return store
        results: Sequence[Any] = ()
        error: Exception | None = None
        try:
            store = store or self._connect()
            with holding(self):
                results = jobs[0].work(store, [job.item for job in jobs])
        except Exception as raised:
            error = raised
            if isinstance(error, StateError) and store is not None:
                with suppress(StateError):
                    store.close()
                store = None
        self._tell(jobs, results, error)
        return store

    def _tell(self, jobs: Sequence[_Job], results: Sequence[Any], error: Exception | None) -> None:
        """Give jobs their results, or the error. The event loop is woken once for all of them."""
        with suppress(RuntimeError):  # if the loop has ended meanwhile
            jobs[0].loop.call_soon_threadsafe(self._answer, jobs, results, error)

    def _answer(
        self, jobs: Sequence[_Job], results: Sequence[Any], error: Exception | None
    ) -> None:
        self._count -= len(jobs)
        for at, job in enumerate(jobs):
            if job.result.done():
                continue  # its caller was cancelled
            if error is not None:
                job.result.set_exception(error)
            else:
                job.result.set_result(results[at])
