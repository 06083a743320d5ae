"""A KMS server of several workers, which share a socket: start, replace, end.

Workers are forked: what the parent has once, the opened seal of the store and the private
key for TLS, they have too, without being asked for a passphrase again. The parent has no
threads and no connection to the store when it forks. It takes signals by waiting for them,
so that none comes at a bad moment; workers begin with them blocked.
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
from contextlib import closing, contextmanager
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
"""Before a worker is started anew that has not come up."""

_AT_ONCE_FILE = 1
_AT_ONCE_SERVER = 8
"""How many threads of a worker use the store at once; see `StorePool`."""

_FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Where prometheus_client keeps what workers count; it looks for it when it is imported."""

log = logging.getLogger(__name__)

_fork = multiprocessing.get_context("fork")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is served, on a socket that is bound, behind which proxies, by how many workers."""

    where: Where
    listening: socket.socket
    tls: ssl.SSLContext | None
    proxies: tuple[str, ...]
    workers: int
    debug: bool


def _open(where: Where) -> Store:
    """The store that is served; every thread of every worker opens it so."""
    return Store(where)


def serve(settings: Settings, announce: Callable[[Identity], None]) -> int:
    """Serve until SIGTERM, SIGINT or SIGHUP; gives the signal.

    `announce` is called with the identity of the KMS once all workers take connections.
    Raises StateError when the store, its seal or a worker does not open.
    """
    with closing(_open(settings.where)) as store:
        identity, sealer = store.identity, store.sealer
        store.policy()
    with _counters():
        from mikeytool.kms.http.worker import log_to_stderr  # here, so that workers have it

        log_to_stderr(debug=settings.debug)
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        team = _Team(settings, sealer)
        try:
            team.start()
            announce(identity)
            return team.watch()
        finally:
            team.end()


@contextmanager
def _counters() -> Iterator[None]:
    """A folder for what workers count, while they do."""
    folder = tempfile.mkdtemp(prefix="mikeytool-")
    os.environ[_FOLDER_VARIABLE] = folder
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Team:
    """The workers."""

    def __init__(self, settings: Settings, sealer: Sealer) -> None:
        self._settings, self._sealer = settings, sealer
        self._alive, self._held = os.pipe()  # what the parent holds breaks when it is gone
        self._running: list[_Member] = []

    def start(self) -> None:
        """Start all; raises StateError when one does not come up."""
        self._running = [self._member() for _ in range(self._settings.workers)]
        for member in self._running:
            fault = member.fault(_START_SECONDS)
            if fault is not None:
                raise StateError(fault)

    def watch(self) -> int:
        """Replace workers that end, until a signal says to end; gives that signal."""
        while True:
            found = signal.sigtimedwait(_SIGNALS, _AGAIN_SECONDS)
            if found is not None and found.si_signo != signal.SIGCHLD:
                return found.si_signo
            self._replace()

    def _replace(self) -> None:
        from mikeytool.kms.http.metrics import forget

        for at, member in enumerate(self._running):
            if member.process.is_alive():
                continue
            if time.monotonic() < member.started + _AGAIN_SECONDS:
                continue  # it did not live long; not at once again
            pid, code = member.process.pid, member.process.exitcode
            why = member.fault(0) or f"ended with {code}"
            log.error("worker %s: %s; another is started", pid, why)
            forget(pid or 0)
            try:
                self._running[at] = self._member()
            except OSError as error:
                log.error("no worker can be started: %s; it is tried again", error.strerror)

    def end(self) -> None:
        """End all: in peace, and by force who takes too long."""
        from mikeytool.kms.http.worker import GRACE_SECONDS

        self._settings.listening.close()
        for member in self._running:
            member.process.terminate()
        until = time.monotonic() + GRACE_SECONDS + 2
        for member in self._running:
            member.process.join(max(0, until - time.monotonic()))
            if member.process.is_alive():
                member.process.kill()
                member.process.join()

    def _member(self) -> _Member:
        # Whoever tidies temporary folders may have taken it.
        Path(os.environ[_FOLDER_VARIABLE]).mkdir(mode=0o700, exist_ok=True)
        told, tell = _fork.Pipe(duplex=False)
        arguments = (self._settings, self._sealer, (self._alive, self._held), tell)
        process = _fork.Process(target=_work, args=arguments, daemon=True)
        process.start()
        tell.close()
        return _Member(process, told, time.monotonic())


@dataclass(frozen=True, slots=True)
class _Member:
    """A worker, as its parent sees it; it tells once whether it has come up."""

    process: ForkProcess
    told: Connection
    started: float

    def fault(self, seconds: float) -> str | None:
        """Why it did not come up, waiting so long for it; None when it did."""
        try:
            if self.told.poll(seconds):
                fault: str | None = self.told.recv()
                return fault
        except (EOFError, OSError):
            pass
        return None if seconds == 0 else "a worker did not start"


def _work(settings: Settings, sealer: Sealer, pipe: tuple[int, int], tell: Connection) -> None:
    """What a worker does."""
    os.close(pipe[1])
    try:
        from mikeytool.kms.http.worker import Worker

        def connect() -> Store:
            store = _open(settings.where)
            store.sealer = sealer
            return store

        connect().close()
        at_once = _AT_ONCE_SERVER if is_url(settings.where) else _AT_ONCE_FILE
        worker = Worker(
            connect, at_once, settings.tls, settings.proxies, pipe[0], lambda: tell.send(None)
        )
        worker.run(sockets=[settings.listening])
    except Exception as error:
        bug = not isinstance(error, MikeyError)
        tell.send(f"this is a bug, {type(error).__name__}" if bug else str(error))
        if bug and settings.debug:
            raise
        sys.exit(1)
