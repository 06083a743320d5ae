"""What a connection may cost: uvicorn's HTTP/1.1, with a limit on everything that can wait.

A client that never finishes a request, in its head, its body or the TLS handshake before it,
holds a connection and nothing else, and not for long. When there are too many connections,
the one goes that has been waiting longest: those that ask something do so at once, and stay.
Behind every state of a connection is a timer that ends it, also while it is being closed.
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
from mikeytool.kms.remote.http_message import MAX_BODY

HANDSHAKE_SECONDS = 5.0
REQUEST_SECONDS = 10.0
"""For a whole request, head and body, from its first octet; the first one from the connection."""

ANSWER_SECONDS = 30.0
"""Until an answer is out: no client may leave it in our buffers."""

IDLE_SECONDS = 75
"""Between requests; longer than proxies keep connections, so that they are not cut off first."""

LINGER_SECONDS = 2.0
"""For what is still to be sent when a connection is closed."""

MAX_HEAD = 16_384
"""Octets of a request before its body."""

_NOT_WHOLE = (h11.IDLE, h11.SEND_BODY, h11.ERROR)
"""States of a client whose request has not come to its end."""


class _Guest(Protocol):
    """A connection, as those that have to make room see it."""

    def turn_out(self) -> None:
        """Cut it off."""


class Connections:
    """All connections of a worker, and those that wait for the client, longest first."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most, self._count, self.metrics = most, 0, metrics
        self._waiting: dict[_Guest, None] = {}

    def enter(self, guest: _Guest) -> None:
        """One more, which waits; somebody has to go if there are too many then."""
        self._count += 1
        self.metrics.connections.set(self._count)
        self._waiting[guest] = None
        if self._count > self._most:
            self.metrics.cut_off.labels("crowded").inc()
            longest = next(iter(self._waiting))
            del self._waiting[longest]
            longest.turn_out()

    def asks(self, guest: _Guest) -> None:
        """It does not wait for the client any more."""
        self._waiting.pop(guest, None)

    def waits(self, guest: _Guest) -> None:
        """It waits for the client again."""
        self._waiting[guest] = None

    def leave(self, guest: _Guest) -> None:
        """It is gone."""
        self._waiting.pop(guest, None)
        self._count -= 1
        self.metrics.connections.set(self._count)


class Door(asyncio.Protocol):
    """A connection until its TLS handshake is done: it counts, and goes, as any other.

    (asyncio's own servers tell nobody of a connection before.)
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
        """Begin the handshake; nothing is read before."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a TCP server
        self._transport = transport
        transport.pause_reading()
        self._connections.enter(self)
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
            self._connections.metrics.cut_off.labels("handshake").inc()
            self._transport.abort()
        finally:
            self._connections.leave(self)
        if transport is not None and not transport.is_closing():
            protocol.connection_made(transport)

    def turn_out(self) -> None:
        """Cut it off."""
        self._transport.abort()


class _Framing(h11.Connection):
    """Reads requests, and refuses at its head one whose body would cost too much to read.

    Chunks may be of an octet each, which takes seconds of work for what one client sends in
    a second. `refusal` is what is wrong with the request that was refused.
    """

    refusal: tuple[HTTPStatus, str] | None = None

    def next_event(self) -> Any:
        """The next event; raises h11.RemoteProtocolError."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = dict(event.headers)
            if b"transfer-encoding" in names:
                self.refusal = HTTPStatus.LENGTH_REQUIRED, "Content-Length is needed, no chunks"
            elif int(names.get(b"content-length", b"0")) > MAX_BODY:
                text = f"a body has {MAX_BODY} octets at most"
                self.refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, text
        if self.refusal is not None:
            raise h11.RemoteProtocolError(self.refusal[1])
        return event


class LimitedProtocol(H11Protocol):
    """HTTP/1.1 on one connection, with a timer behind everything."""

    def __init__(self, connections: Connections, **uvicorns: Any) -> None:
        super().__init__(**uvicorns)
        self.conn = _Framing(h11.SERVER, self.config.h11_max_incomplete_event_size or MAX_HEAD)
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._between = False
        self._early: list[bytes] = []

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take a connection, with what came before."""
        super().connection_made(cast(asyncio.Transport, _Gathering(transport, self.loop)))
        self._connections.enter(self)
        self._limit(REQUEST_SECONDS, self._too_slow)
        early, self._early = self._early, []
        for data in early:
            self.data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it; TLS may lose a connection that was never handed over."""
        if self.transport is None:
            return
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)
        self._connections.leave(self)

    def data_received(self, data: bytes) -> None:
        """Read on; the time for a request begins with its first octet."""
        if self.transport is None:  # right behind a handshake
            self._early.append(data)
            return
        if self._between:
            self._between = False
            self._limit(REQUEST_SECONDS, self._too_slow)
        super().data_received(data)

    def handle_events(self) -> None:
        """Read on; a request that is whole is ours to answer.

        One that came before the last was answered stays among those that wait: whoever sends
        them in heaps may be the first that has to make room.
        """
        super().handle_events()
        answering = self.cycle is not None and not self.cycle.response_complete
        if answering and self.conn.their_state not in _NOT_WHOLE:
            if not self._between:
                self._connections.asks(self)
            self._limit(ANSWER_SECONDS, self.turn_out)

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        self._between = True
        self._connections.waits(self)
        closing = self.transport.is_closing()
        self._limit(LINGER_SECONDS if closing else IDLE_SECONDS + LINGER_SECONDS, self.turn_out)
        super().on_response_complete()

    def pause_writing(self) -> None:
        """Wait for a client that does not take its answer."""
        self._connections.waits(self)
        super().pause_writing()

    def resume_writing(self) -> None:
        """Go on: it does."""
        self._connections.asks(self)
        super().resume_writing()

    def shutdown(self) -> None:
        """Answer what is asked, and close; see Server.shutdown of uvicorn."""
        try:
            super().shutdown()
        except h11.LocalProtocolError:
            self.turn_out()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP, or too much of it."""
        assert isinstance(self.conn, _Framing)  # noqa: S101 - see __init__
        self._refuse(*(self.conn.refusal or (HTTPStatus.BAD_REQUEST, "this is no HTTP/1.1")))

    def turn_out(self) -> None:
        """Cut it off."""
        self.transport.abort()

    def _too_slow(self) -> None:
        self._connections.metrics.cut_off.labels("slow").inc()
        self._refuse(
            HTTPStatus.REQUEST_TIMEOUT, f"a request takes {REQUEST_SECONDS:.0f} seconds at most"
        )

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        """Send a problem if that is still possible, and close."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.turn_out()
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
        self._limit(LINGER_SECONDS, self.turn_out)
        self.transport.close()

    def _limit(self, seconds: float, then: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_later(seconds, then)


class _Gathering:
    """A transport that sends what is written in one go of the event loop as one.

    uvicorn writes head and body of an answer apart, which is two system calls, two packets
    and two records of TLS.
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
    """Headers and body of a refusal (RFC 9457), after which the connection is closed."""
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
