"""One worker of a KMS server: uvicorn on a socket that its parent has opened.

uvicorn's own ways with connections, signals and logs are replaced where they would let a
client wait for ever, a signal get lost, or more into a log than a line.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from mikeytool.kms.http.app import application
from mikeytool.kms.http.connection_limits import (
    IDLE_SECONDS,
    MAX_HEAD,
    Connections,
    Door,
    LimitedProtocol,
)
from mikeytool.kms.http.metrics import Metrics
from mikeytool.kms.http.pool import StorePool
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import StateError

GRACE_SECONDS = 10
"""For requests in flight when the server is to end."""

MAX_CONNECTIONS = 4096
"""Of one worker, where the limit on open files lets it; each may take some 90 kB."""

_OTHER_FILES = 128
"""How many open files a worker has beside connections: its stores, counters, other KMSs."""

_LEAST_FILES = 64
_BACKLOG = 1024


class Worker(uvicorn.Server):
    """A server that is ended by SIGTERM, or when `parent`, a pipe, is closed.

    `at_once` is how many threads work on the store; `proxies` are the addresses whose
    X-Forwarded-For is believed; `ready` is called when it takes connections.
    """

    def __init__(
        self,
        connect: Callable[[], Store],
        at_once: int,
        tls: ssl.SSLContext | None,
        proxies: Sequence[str],
        parent: int,
        ready: Callable[[], None],
    ) -> None:
        self._tls, self._parent, self._ready = tls, parent, ready
        self._pool, counts = StorePool(connect, at_once), Metrics()
        self._open = Connections(_most_connections(), counts)
        super().__init__(
            uvicorn.Config(
                application(self._pool, counts),
                loop="asyncio",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                timeout_keep_alive=IDLE_SECONDS,
                timeout_graceful_shutdown=GRACE_SECONDS,
                h11_max_incomplete_event_size=MAX_HEAD,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections, one at a time, so that workers share them evenly."""
        assert sockets is not None  # noqa: S101 - see `serve`
        loop = asyncio.get_running_loop()
        loop.add_reader(self._parent, self._orphaned)
        server = await loop.create_server(self._protocol, sock=sockets[0], backlog=1)
        sockets[0].listen(_BACKLOG)  # asyncio's backlog is how many it takes at a time, too
        self.servers = [server]
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer what is in flight."""
        await super().shutdown(sockets)
        self._pool.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM ends it; SIGINT and SIGHUP, which a terminal sends to all, the parent minds."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        yield

    def _protocol(self) -> asyncio.Protocol:
        return self._plain() if self._tls is None else Door(self._tls, self._plain, self._open)

    def _plain(self) -> LimitedProtocol:
        return LimitedProtocol(
            self._open, config=self.config, server_state=self.server_state, app_state={}
        )

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._parent)
        self.should_exit = True


def _most_connections() -> int:
    """How many connections the limit on open files leaves room for, once it is raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _OTHER_FILES
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < _LEAST_FILES:
        raise StateError(f"only {soft} files may be open; {_LEAST_FILES} are the least (ulimit -n)")
    return max(16, min(MAX_CONNECTIONS, soft - _OTHER_FILES))


def log_to_stderr(*, debug: bool) -> None:
    """What goes wrong, one line each; no more than one of a kind in a second."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(debug))
    handler.addFilter(_Seldom())
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)


class _OneLine(logging.Formatter):
    """A line without a traceback, unless that is asked for."""

    def __init__(self, debug: bool) -> None:
        super().__init__("mikeytool: %(message)s")
        self._debug = debug

    def formatException(self, ei: object) -> str:
        return super().formatException(ei) if self._debug else ""  # type: ignore[arg-type]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if self._debug else " ".join(text.split())


class _Seldom(logging.Filter):
    """Drops what was said within the second before."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, text = int(time.monotonic()), record.getMessage()
        if self._said.get(text) == now:
            return False
        self._said = {text: now} if len(self._said) > 100 else {**self._said, text: now}
        return True
