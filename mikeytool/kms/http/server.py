"""A KMS server of several workers that share a socket: starting, replacing and ending them.

Workers are forked, so that they have what the parent has opened, the seal of the store and the
private key for TLS, without asking for a passphrase again. The parent has no threads and no
connection to the store when it forks. It waits for signals, so that none interrupts it; workers
begin with signals blocked.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from pathlib import Path

from mikeytool.kms.store.seal import Sealer
from mikeytool.kms.store.store import Store
from mikeytool.storage.postgres import is_url
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import MikeyError, StateError
from mikeytool.wire.identity import Identity

_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}
_START_SECONDS = 30.0
_AGAIN_SECONDS = 1.0
"""Before a worker that did not start is started again."""

_AT_ONCE_FILE = 1
_AT_ONCE_SERVER = 8
"""The number of slots in which threads of a worker use the store; see `StorePool`."""

_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""The variable that prometheus_client reads when it is imported; see `metrics`."""

log = logging.getLogger(__name__)

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Settings:
    """The store to serve, a bound socket, the addresses of proxies, the number of workers."""

    where: Where
    listening: socket.socket
    tls: ssl.SSLContext | None
    proxies: tuple[str, ...]
    workers: int
    debug: bool


def serve(settings: Settings, announce: Callable[[Identity], None]) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; returns the signal.

    `announce` is called with the identity of the KMS once all workers accept connections.
    Raises StateError if the store or its seal does not open, or a worker does not start.
    """
    with Store(settings.where) as store:
        identity, sealer = store.identity, store.sealer
        store.policy()
    with _metrics_folder():
        # Imported here, so that the workers have it.
        from mikeytool.kms.http.worker import log_to_stderr

        log_to_stderr(debug=settings.debug)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        workers = _Workers(settings, sealer)
        try:
            workers.start()
            announce(identity)
            return workers.watch()
        finally:
            workers.end()


@contextmanager
def _metrics_folder() -> Iterator[None]:
    """A temporary folder for the metrics that the workers share."""
    folder = tempfile.mkdtemp(prefix="mikeytool-")
    os.environ[_FOLDER_VARIABLE] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Workers:
    """The worker processes."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings, self._sealer = settings, sealer
        self._alive, self._held = os.pipe()  # it breaks when the parent ends
        self._running: list[_WorkerProcess] = []

    def start(self) -> None:
        """Start all workers; raises StateError if one does not start."""
        self._running = [self._started() for _ in range(self._settings.workers)]
        for worker in self._running:
            fault = worker.fault(_START_SECONDS)
            if fault is not None:
                raise StateError(fault)

    def watch(self) -> int:
        """Replace workers that end, until a signal ends the server; returns that signal."""
        while True:
            found = signal.sigtimedwait(_SIGNALS, _AGAIN_SECONDS)
            if found is not None and found.si_signo != signal.SIGCHLD:
                return found.si_signo
            self._replace()

    def _replace(self) -> None:
        from mikeytool.kms.http.metrics import forget

        for at, worker in enumerate(self._running):
            if worker.process.is_alive():
                continue
            if time.monotonic() < worker.started + _AGAIN_SECONDS:
                continue  # it ended soon: wait before the next attempt
            pid, code = worker.process.pid, worker.process.exitcode
            why = worker.fault(0) or f"ended with {code}"
            log.error("worker %s: %s; starting another", pid, why)
            forget(pid or 0)
            try:
                self._running[at] = self._started()
            except OSError as error:
                log.error("no worker can be started: %s; trying again", error.strerror)

    def end(self) -> None:
        """End all workers: they finish their requests, or are killed if that takes too long."""
        from mikeytool.kms.http.worker import GRACE_SECONDS

        self._settings.listening.close()
        for worker in self._running:
            worker.process.terminate()
        until = time.monotonic() + GRACE_SECONDS + 2
        for worker in self._running:
            worker.process.join(max(0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _started(self) -> _WorkerProcess:
        # Something that cleans up temporary folders may have removed it.
        Path(os.environ[_FOLDER_VARIABLE]).mkdir(mode=0o700, exist_ok=True)
        receiver, sender = _fork.Pipe(duplex=False)
        arguments = (self._settings, self._sealer, (self._alive, self._held), sender)
        process = _fork.Process(target=_run_worker, args=arguments, daemon=True)
        process.start()
        sender.close()
        return _WorkerProcess(process, receiver, time.monotonic())


@dataclass(frozen=True, slots=True)
class _WorkerProcess:
    """A worker as its parent sees it; the worker reports once whether it has started."""

    process: ForkProcess
    receiver: Connection
    started: float

    def fault(self, seconds: float) -> str | None:
        """Why it did not start, after waiting for `seconds`; None if it did."""
        try:
            if self.receiver.poll(seconds):
                fault: str | None = self.receiver.recv()
                return fault
        except (EOFError, OSError):
            pass
        return None if seconds == 0 else "a worker did not start"


def _run_worker(
    settings: Settings, sealer: Sealer, pipe: tuple[int, int], sender: Connection
) -> None:
    """Run a worker in the process that was forked for it."""
    os.close(pipe[1])
    try:
        from mikeytool.kms.http.worker import Worker

        def connect() -> Store:
            store = Store(settings.where)
            store.sealer = sealer
            return store

        connect().close()
        at_once = _AT_ONCE_SERVER if is_url(settings.where) else _AT_ONCE_FILE
        worker = Worker(
            connect, at_once, settings.tls, settings.proxies, pipe[0], lambda: sender.send(None)
        )
        worker.run(sockets=[settings.listening])
    except Exception as error:
        bug = not isinstance(error, MikeyError)
        sender.send(f"this is a bug, {type(error).__name__}" if bug else str(error))
        if bug and settings.debug:
            raise
        sys.exit(1)
