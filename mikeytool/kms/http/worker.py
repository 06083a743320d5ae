"""One worker of a KMS server: uvicorn on a socket that its parent has opened.

The worker replaces uvicorn's handling of connections, signals and logs where a client could wait
forever, a signal could be lost, or a log entry could have more than one line.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn

from mikeytool.kms.http.app import application
from mikeytool.kms.http.connection_limits import (
    IDLE_SECONDS,
    MAX_HEAD,
    Connections,
    LimitedProtocol,
    TlsHandshake,
)
from mikeytool.kms.http.listen import ServerTls
from mikeytool.kms.http.metrics import Metrics
from mikeytool.kms.http.pool import StorePool
from mikeytool.kms.http.shares import Proxies
from mikeytool.wire.errors import StateError

GRACE_SECONDS = 10
"""For requests in flight when the server ends."""

MAX_CONNECTIONS = 4096
"""Of one worker, if the limit on open files allows it; each takes up to 90 kB."""

_OTHER_FILES = 128
"""The open files of a worker beside connections: stores, metrics, other KMSs."""

_LEAST_FILES = 64
_BACKLOG = 1024

_ACCEPTED = 8
"""Connections accepted in one pass of the event loop. The number is high enough that a queue does
not delay new connections, and low enough that workers share the connections."""

log = logging.getLogger(__name__)


class Worker(uvicorn.Server):
    """A server that ends on SIGTERM, or when the pipe `parent` is closed. SIGHUP reloads `tls`.

    `pool` runs the work on the store. `proxies` are the
    addresses whose X-Forwarded-For is trusted. `ready` is called once the worker accepts
    connections. `counts` are its metrics.
    """

    def __init__(
        self,
        pool: StorePool,
        tls: ServerTls | None,
        proxies: Sequence[str],
        parent: int,
        ready: Callable[[], None],
        counts: Metrics,
    ) -> None:
        self._tls, self._parent, self._ready = tls, parent, ready
        self._pool = pool
        self._open = Connections(_most_connections(), counts, Proxies(proxies))
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
        """Accept connections, a few at a time."""
        assert sockets is not None  # noqa: S101 - see `serve`
        loop = asyncio.get_running_loop()
        loop.add_reader(self._parent, self._orphaned)
        server = await loop.create_server(self._protocol, sock=sockets[0], backlog=_ACCEPTED)
        sockets[0].listen(_BACKLOG)  # asyncio accepts as many at a time as its backlog
        self.servers = [server]
        self.started = True
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer the requests in flight."""
        await super().shutdown(sockets)
        self._pool.close()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """End on SIGTERM. Leave SIGINT to the parent, because terminals send it to all processes.

        SIGHUP comes from the parent, and may also come from a terminal.
        """
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._read_again)
        signal.signal(signal.SIGTERM, self.handle_exit)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        yield

    def _read_again(self) -> None:
        """Use the current certificate for new connections. The parent has already checked it."""
        try:
            if self._tls is not None:
                self._tls.read_again()
        except StateError as error:
            log.error("%s", error)

    def _protocol(self) -> asyncio.Protocol:
        if self._tls is None:
            return self._http()
        return TlsHandshake(self._tls.context, self._http, self._open)

    def _http(self) -> LimitedProtocol:
        return LimitedProtocol(
            self._open, config=self.config, server_state=self.server_state, app_state={}
        )

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._parent)
        self.should_exit = True


def _most_connections() -> int:
    """The number of connections that the limit on open files allows. Raises the limit if it can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + _OTHER_FILES
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < _LEAST_FILES:
        raise StateError(
            f"only {soft} files may be open; at least {_LEAST_FILES} are needed (ulimit -n)"
        )
    return max(16, min(MAX_CONNECTIONS, soft - _OTHER_FILES))


def log_to_stderr(*, debug: bool) -> None:
    """Log errors, one line each. The same line is logged at most once a second."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(debug))
    handler.addFilter(_OncePerSecond())
    logging.basicConfig(level=logging.ERROR, handlers=[handler], force=True)


class _OneLine(logging.Formatter):
    """One line without a traceback, unless `debug` is set."""

    def __init__(self, debug: bool) -> None:
        super().__init__("mikeytool: %(message)s")
        self._debug = debug

    def formatException(self, ei: object) -> str:
        return super().formatException(ei) if self._debug else ""  # type: ignore[arg-type]

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return text if self._debug else " ".join(text.split())


class _OncePerSecond(logging.Filter):
    """Drops lines that were already logged in the current second."""

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now, text = int(time.monotonic()), record.getMessage()
        if self._logged.get(text) == now:
            return False
        self._logged = {text: now} if len(self._logged) > 100 else {**self._logged, text: now}
        return True
