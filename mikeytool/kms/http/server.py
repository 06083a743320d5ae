"""A KMS server of several workers that share a socket: starting, replacing and ending them.

Workers are forked. They inherit the opened seal of the store and the private key for TLS, and do
not have to ask for a passphrase again. The parent has no threads and no connection to the store
when it forks. It waits for signals, so that no signal interrupts it. Workers start with signals
blocked. The processes leave no files behind, even after a crash.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess

from mikeytool.kms import signers as _signers  # noqa: F401 - workers share what is loaded now
from mikeytool.kms.http.listen import ServerTls
from mikeytool.kms.http.metrics import Metrics, Numbers, shared
from mikeytool.kms.http.pool import StorePool
from mikeytool.kms.http.shares import Proxies
from mikeytool.kms.http.worker import GRACE_SECONDS, Worker, log_to_stderr
from mikeytool.kms.store.memory import Memory
from mikeytool.kms.store.seal import Sealer
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Where, is_url
from mikeytool.wire.errors import MikeyError, StateError, UsageError
from mikeytool.wire.identity import Identity

_ENDING = {signal.SIGTERM, signal.SIGINT}
_SIGNALS = {*_ENDING, signal.SIGHUP, signal.SIGCHLD, signal.SIGALRM}
_START_SECONDS = 30.0
_AGAIN_SECONDS = 1.0
"""The wait before starting a worker again after it failed to start."""

_POOL_FILE = (1, 32)
_POOL_SERVER = (4, 16)
"""For how many threads of a worker use the store at once, and how many messages share one of
their transactions. While one thread waits for a database server, others compute.
"""

log = logging.getLogger(__name__)

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Settings:
    """The store to serve, a bound socket, the addresses of proxies, the number of workers."""

    where: Where
    listening: socket.socket
    tls: ServerTls | None
    proxies: tuple[str, ...]
    workers: int
    debug: bool


def serve(settings: Settings, announce: Callable[[Identity], None]) -> int:
    """Serve until SIGTERM or SIGINT, and return the signal. SIGHUP reloads the certificate.

    `announce` is called with the identity of the KMS once all workers accept connections.
    Raises UsageError if a proxy is not an address. Raises StateError if the store or its seal
    does not open, or if a worker does not start.
    """
    try:
        Proxies(settings.proxies)
    except ValueError as error:
        raise UsageError(f"--proxy takes an address or a network: {error}") from None
    with Store(settings.where) as store:
        identity, sealer = store.identity, store.sealer
        store.policy()
    log_to_stderr(debug=settings.debug)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    workers = _Workers(settings, sealer)
    try:
        workers.start()
        announce(identity)
        return workers.watch()
    finally:
        workers.end()


class _Workers:
    """The worker processes."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings, self._sealer = settings, sealer
        self._numbers = shared(settings.workers)
        self._alive, self._held = os.pipe()  # it breaks when the parent ends
        self._running: list[_WorkerProcess] = []

    def start(self) -> None:
        """Start all workers. Raises StateError if one does not start."""
        self._running = [self._started(at) for at in range(self._settings.workers)]
        for worker in self._running:
            fault = worker.fault(_START_SECONDS)
            if fault is not None:
                raise StateError(fault)

    def watch(self) -> int:
        """Replace workers that end, until a signal ends the server. Return that signal.

        A signal also marks the time for the next check. `sigtimedwait` cannot be used for this:
        in Python 3.11 to 3.13 it returns uninitialized memory if the process is stopped and
        continued while it waits.
        """
        signal.setitimer(signal.ITIMER_REAL, _AGAIN_SECONDS, _AGAIN_SECONDS)
        try:
            while (found := signal.sigwait(_SIGNALS)) not in _ENDING:
                if found == signal.SIGHUP:
                    self._read_again()
                self._replace()
            return found
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _read_again(self) -> None:
        """Reload the certificate. If it is good, tell the workers to reload it too."""
        if self._settings.tls is None:
            return
        try:
            self._settings.tls.read_again()
        except StateError as error:
            log.error("%s; the certificate from before is kept", error)
            return
        for worker in self._running:
            if worker.process.is_alive() and worker.process.pid is not None:
                os.kill(worker.process.pid, signal.SIGHUP)

    def _replace(self) -> None:
        for at, worker in enumerate(self._running):
            if worker.process.is_alive():
                continue
            if time.monotonic() < worker.started + _AGAIN_SECONDS:
                continue  # it ended soon: wait before the next attempt
            pid, code = worker.process.pid, worker.process.exitcode
            why = worker.fault(0) or f"ended with {code}"
            log.error("worker %s: %s; starting another", pid, why)
            try:
                self._running[at] = self._started(at)
            except OSError as error:
                log.error("no worker can be started: %s; trying again", error.strerror)

    def end(self) -> None:
        """End all workers. They finish their requests, but are killed if that takes too long."""
        self._settings.listening.close()
        for worker in self._running:
            worker.process.terminate()
        until = time.monotonic() + GRACE_SECONDS + 2
        for worker in self._running:
            worker.process.join(max(0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _started(self, at: int) -> _WorkerProcess:
        receiver, sender = _fork.Pipe(duplex=False)
        pipe = (self._alive, self._held)
        arguments = (self._settings, self._sealer, pipe, sender, self._numbers, at)
        process = _fork.Process(target=_run_worker, args=arguments, daemon=True)
        process.start()
        sender.close()
        return _WorkerProcess(process, receiver, time.monotonic())


@dataclass(frozen=True, slots=True)
class _WorkerProcess:
    """The parent's view of a worker. The worker reports once whether it has started."""

    process: ForkProcess
    receiver: Connection
    started: float

    def fault(self, seconds: float) -> str | None:
        """Wait up to `seconds`. Return why the worker did not start, or None if it did."""
        try:
            if self.receiver.poll(seconds):
                fault: str | None = self.receiver.recv()
                return fault
        except (EOFError, OSError):
            pass
        return None if seconds == 0 else "a worker did not start"


def _run_worker(
    settings: Settings,
    sealer: Sealer,
    pipe: tuple[int, int],
    sender: Connection,
    numbers: Numbers,
    at: int,
) -> None:
    """Run a worker in the process that was forked for it."""
    os.close(pipe[1])
    try:
        memory = Memory()

        def connect() -> Store:
            store = Store(settings.where)
            store.sealer, store.memory = sealer, memory
            return store

        connect().close()
        worker = Worker(
            StorePool(connect, *(_POOL_SERVER if is_url(settings.where) else _POOL_FILE)),
            settings.tls,
            settings.proxies,
            pipe[0],
            lambda: sender.send(None),
            Metrics(numbers, at),
        )
        worker.run(sockets=[settings.listening])
    except Exception as error:
        bug = not isinstance(error, MikeyError)
        sender.send(f"this is a bug, {type(error).__name__}" if bug else str(error))
        if bug and settings.debug:
            raise
        sys.exit(1)
