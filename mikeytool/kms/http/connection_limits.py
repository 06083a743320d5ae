"""Limits on what a connection may cost: uvicorn's HTTP/1.1, with a timer on every wait.

A client may fail to finish a TLS handshake, or the head or body of a request. Such a client holds
only a connection, and only for a short time. If there are too many connections, one of them is
cut off. It belongs to the source with the most connections, and is the one that has waited
longest for its client, because honest clients send a request at once. Every state of a connection
has a timer that ends it, even while it is being closed.

A connection handles one request at a time. Later requests from its client are not parsed until
that request is answered, and at most one READ of them is read.
"""

from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Protocol, cast

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from mikeytool.kms.http.metrics import Metrics
from mikeytool.kms.http.shares import Proxies, source_of
from mikeytool.kms.http_message import MAX_BODY

HANDSHAKE_SECONDS = 5.0
REQUEST_SECONDS = 10.0
"""For a whole request with its body, from its first octet or the start of the connection."""

ANSWER_SECONDS = 30.0
"""Until an answer is sent. A client must not leave it in our buffers."""

IDLE_SECONDS = 75
"""Between requests. This is longer than proxies keep connections, so that they close first."""

LINGER_SECONDS = 2.0
"""For sending the remaining data when a connection is closed."""

MAX_HEAD = 16_384
"""In octets: the maximum length of a request before its body."""

MAX_LINES = 100
"""In a head. Short lines take far longer to read than to send."""

READ = 65_536
"""In octets: how much is read from a connection at a time, without TLS."""

_INCOMPLETE = (h11.IDLE, h11.SEND_BODY, h11.ERROR)
"""States of a client whose request is incomplete."""


class _Connection(Protocol):
    """A connection that can be cut off to make room."""

    def cut_off(self) -> None:
        """Close it at once."""


class Connections:
    """All connections of a worker. For each source, also those that wait for it, longest first.

    A proxy has connections for many clients, so each of them is a separate source.
    """

    def __init__(self, most: int, metrics: Metrics, proxies: Proxies) -> None:
        self._most, self._proxies, self.metrics = most, proxies, metrics
        self._sources: dict[_Connection, str] = {}
        self._waiting: dict[str, dict[_Connection, None]] = {}

    def add(self, connection: _Connection, transport: asyncio.BaseTransport) -> None:
        """Add a connection, which waits for its client. Cut one off if there are too many."""
        host, port = (transport.get_extra_info("peername") or ("", 0))[:2]
        proxied = host in self._proxies
        self._sources[connection] = f"{host} {port}" if proxied else source_of(host)
        self.metrics.connections(len(self._sources))
        self.waiting(connection)
        if len(self._sources) > self._most:
            self.metrics.cut_off("crowded")
            most = max(self._waiting.values(), key=len)
            longest = next(iter(most))
            self.busy(longest)
            longest.cut_off()

    def busy(self, connection: _Connection) -> None:
        """Record that a connection no longer waits for its client."""
        source = self._sources[connection]
        waiting = self._waiting.get(source, {})
        waiting.pop(connection, None)
        if not waiting:
            self._waiting.pop(source, None)

    def waiting(self, connection: _Connection) -> None:
        """Record that a connection waits for its client again."""
        self._waiting.setdefault(self._sources[connection], {})[connection] = None

    def remove(self, connection: _Connection) -> None:
        """Remove a connection that is closed."""
        self.busy(connection)
        del self._sources[connection]
        self.metrics.connections(len(self._sources))


class TlsHandshake(asyncio.Protocol):
    """A connection until its TLS handshake is done.

    It is counted and cut off like any other connection. asyncio's own TLS servers do not report a
    connection before the handshake is done.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        make: Callable[[], LimitedProtocol],
        connections: Connections,
    ) -> None:
        self._context, self._make, self._connections = context, make, connections
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin the handshake. Nothing is read before it."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP server
        self._transport = transport
        transport.pause_reading()
        self._connections.add(self, transport)
        self._task = asyncio.get_running_loop().create_task(self._shake_hands())

    async def _shake_hands(self) -> None:
        protocol, transport = self._make(), None
        try:
            if not self._transport.is_closing():
                transport = await asyncio.get_running_loop().start_tls(
                    self._transport,
                    protocol,
                    self._context,
                    server_side=True,
                    ssl_handshake_timeout=HANDSHAKE_SECONDS,
                    ssl_shutdown_timeout=LINGER_SECONDS,
                )
        except OSError:
            self._connections.metrics.cut_off("handshake")
            self._transport.abort()
        finally:
            self._connections.remove(self)
        if transport is not None and not transport.is_closing():
            protocol.connection_made(transport)

    def cut_off(self) -> None:
        """Close it at once."""
        self._transport.abort()


class _Requests(h11.Connection):
    """Reads requests, and refuses those that would take far longer to read than to send.

    These are heads with many lines, and chunked bodies, because a chunk may have only one octet.
    `refusal` says what is wrong with the refused request.
    """

    refusal: tuple[HTTPStatus, str] | None = None
    _lines = 0
    """An upper bound on the number of lines in the data that has not been parsed yet."""

    def receive_data(self, data: bytes) -> None:
        """Take received data."""
        self._lines += data.count(b"\n")
        super().receive_data(data)

    def next_event(self) -> Any:
        """Return the next event. Raises h11.RemoteProtocolError."""
        if self._lines > MAX_LINES and self.their_state is h11.IDLE and self._many_lines():
            text = f"a request may have at most {MAX_LINES} header fields"
            self.refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, text
            raise h11.RemoteProtocolError(text)
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = dict(event.headers)
            if b"transfer-encoding" in names:
                self.refusal = HTTPStatus.LENGTH_REQUIRED, "Content-Length is needed, no chunks"
            elif int(names.get(b"content-length", b"0")) > MAX_BODY:
                text = f"a body may have at most {MAX_BODY} octets"
                self.refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text
        if self.refusal is not None:
            raise h11.RemoteProtocolError(self.refusal[1])
        return event

    def _many_lines(self) -> bool:
        """Whether the received part of the next head has more than MAX_LINES."""
        data = self.trailing_data[0]
        self._lines = data.count(b"\n")
        ends = [at for at in (data.find(b"\n\r\n"), data.find(b"\n\n")) if at >= 0]
        return data.count(b"\n", 0, min(ends, default=len(data))) > MAX_LINES


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 on one connection, with a timer on every wait."""

    def __init__(self, connections: Connections, **options: Any) -> None:
        super().__init__(**options)
        self.conn = _Requests(h11.SERVER, self.config.h11_max_incomplete_event_size or MAX_HEAD)
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._between = False
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take over a connection, and data that was already received."""
        if hasattr(transport, "max_size"):
            transport.max_size = READ
        super().connection_made(cast(asyncio.Transport, _GatheredWrites(transport, self.loop)))
        self._connections.add(self, transport)
        self._limit(REQUEST_SECONDS, self._too_slow)
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection. TLS may lose a connection that was never handed over."""
        if self.transport is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """Read data. The time for a request begins with its first octet."""
        if self.transport is None:  # right after a handshake
            self._early.append(data)
            return
        if self._between:
            self._between = False
            self._limit(REQUEST_SECONDS, self._too_slow)
        super().data_received(data)

    def handle_events(self) -> None:
        """Read events. Once a request is complete, it is being answered.

        If a request came before the last one was answered, its connection still counts as
        waiting. A client that sends many requests at once may therefore be cut off first.
        """
        super().handle_events()
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self.conn.their_state not in _INCOMPLETE:
            if not self._between:
                self._connections.busy(self)
            self._limit(ANSWER_SECONDS, self.cut_off)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._between = True
        self._connections.waiting(self)
        closing = self.transport.is_closing()
        self._limit(LINGER_SECONDS if closing else IDLE_SECONDS + LINGER_SECONDS, self.cut_off)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait for a client that does not read its answer."""
        self._connections.waiting(self)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Continue, because the client reads again."""
        self._connections.busy(self)
        super().resume_writing()

    def shutdown(self) -> None:
        """Answer the pending request, then close. See Server.shutdown in uvicorn."""
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.cut_off()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP or exceeds a limit."""
        assert isinstance(self.conn, _Requests)  # noqa: S101 - see __init__
        self._refuse(*(self.conn.refusal or (HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1")))

    def cut_off(self) -> None:
        """Close it at once."""
        self.transport.abort()

    def _too_slow(self) -> None:
        self._connections.metrics.cut_off("slow")
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT, f"a request may take at most {REQUEST_SECONDS:.0f} seconds"
        )

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Send a problem unless a response has begun, then close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.cut_off()
            return
        headers, body = problem(status, detail)
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        for event in (
            h11.Response(status_code=status, headers=headers, reason=status.phrase),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self._limit(LINGER_SECONDS, self.cut_off)
        self.transport.close()

    def _limit(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then)


class _GatheredWrites:
    """A transport that combines all writes in one pass of the event loop.

    uvicorn writes the head and the body of an answer separately. This would take two system
    calls, two packets and two TLS records.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._written: list[bytes] = []

    def write(self, data: bytes) -> None:
        if not self._written:
            self._loop.call_soon(self._flush)
        self._written.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        written, self._written = self._written, []
        self._transport.write(b"".join(written))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


def problem(status: HTTPStatus, detail: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """The headers and body of a refusal (RFC 9457). The connection is closed after it."""
    content = {
        "type": "about:blank",
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
    }
    body = json.dumps(content).encode()
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    return headers, body
