"""The KMS over HTTP: what each path does with a request.

An Error message is an ordinary answer. A request gets a problem (RFC 9457) if it is not a message
or if its sender is not authenticated. The problem does not reveal whether the user exists or what
was wrong with the key.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mikeytool.exchange.environment import Environment
from mikeytool.kms import group_queries
from mikeytool.kms.http.connection_limits import problem
from mikeytool.kms.http.metrics import CONTENT_TYPE, Metrics
from mikeytool.kms.http.pool import MAX_AGE, MAX_WAITING, StorePool
from mikeytool.kms.http.shares import Shares, source_of
from mikeytool.kms.http_message import MEDIA_TYPE, PATH, is_mikey, read_body, write_body
from mikeytool.kms.received import SEEN, ReceivedMessage, exchange_of
from mikeytool.kms.sender_limits import Failures
from mikeytool.kms.service import finish, handle_together
from mikeytool.kms.store.records import Handled
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError, Unavailable, Unreachable, WireError

FORWARD_SECONDS = 8.0
"""For requests to other KMSs: less than our own clients wait."""

READY_SECONDS = 2.0
"""The time after which a store that does not answer counts as unavailable."""

AT_ONCE = 16
"""How many requests are begun in one pass of the event loop."""

MAX_OF_SOURCE = 16
"""How many requests of one source may wait for the store, where all are served in turn."""

_SOURCE = "mikeytool.source"
_UNKNOWN = "the KMS does not know who sent this, or not by this key"

T = TypeVar("T")

log = logging.getLogger(__name__)


class Problem(Exception):
    """Why there is no answer, and the outcome that the metrics count."""

    def __init__(self, status: HTTPStatus, detail: str, outcome: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.outcome, self.headers = status, detail, outcome, headers

    def response(self) -> Response:
        """The response to the client."""
        return problem_response(self.status, self.detail, self.headers)


def problem_response(status: HTTPStatus, detail: str, headers: dict[str, str]) -> Response:
    """Return a problem that closes the connection, as the request may still be unread."""
    fixed, body = problem(status, detail)
    texts = {name.decode(): value.decode() for name, value in fixed}
    more = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(body, status, {**texts, **more})


def application(pool: StorePool, counts: Metrics) -> ASGIApp:
    """The application of a worker, over a pool of stores."""
    failures = Failures()
    handlers = _Handlers(pool, counts, failures)
    app = Starlette(
        routes=[
            Route(PATH, handlers.keymanagement, methods=["POST"]),
            Route(group_queries.PATH, handlers.groups, methods=["GET"]),
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/readyz", handlers.readyz, methods=["GET"]),
            Route("/metrics", _Exposition(counts).answer, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _not_found},
    )
    app.router.redirect_slashes = False  # which would go to an address that the request names
    return _Entrance(app, counts, failures)


class _Entrance:
    """The entrance for all requests. It finds the source of a request and makes it wait its turn.

    It turns away a source with too many failures.
    """

    def __init__(self, app: ASGIApp, counts: Metrics, failures: Failures) -> None:
        self._app, self._counts, self._failures = app, counts, failures
        self._turns = Shares(AT_ONCE, AT_ONCE)
        self._begun: list[str] = []
        """The sources of the requests that were begun in this pass of the event loop."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        source = source_of((scope.get("client") or ("",))[0])
        scope[_SOURCE] = source
        await self._turns.enter(source)
        if not self._begun:
            asyncio.get_running_loop().call_soon(self._next_pass)
        self._begun.append(source)
        app = self._app
        try:
            self._failures.check(source, time.time_ns())
        except Refused as error:
            self._counts.count("other", "limited", 0)
            again = {"Retry-After": "60"}
            app = problem_response(HTTPStatus.TOO_MANY_REQUESTS, str(error), again)
        await app(scope, receive, send)

    def _next_pass(self) -> None:
        begun, self._begun = self._begun, []
        for source in begun:
            self._turns.leave(source)


async def _not_found(_request: Request, error: Exception) -> Response:
    """404 and 405, which Starlette raises."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for this
    return problem_response(
        HTTPStatus(error.status_code),
        f"messages are POSTed to {PATH}",
        dict(error.headers or {}),
    )


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("")


class _Exposition:
    """/metrics: collected at most once a second, because it is expensive."""

    _made = b""
    _when = 0.0

    def __init__(self, counts: Metrics) -> None:
        self._counts = counts

    async def answer(self, _request: Request) -> Response:
        if not self._made or time.monotonic() - self._when >= 1:
            self._when, self._made = time.monotonic(), self._counts.exposition()
        return Response(
            self._made, headers={"content-type": CONTENT_TYPE, "cache-control": "no-store"}
        )


class _Counted:
    """The facts about a request for the metrics, as far as they are known."""

    exchange = "other"
    outcome = "error"


class _Handlers:
    """The handlers of requests that need the store."""

    def __init__(self, pool: StorePool, counts: Metrics, failures: Failures) -> None:
        self._pool, self._counts, self._failures = pool, counts, failures
        self._env = Environment(clock=time.time_ns, random=os.urandom)
        self._shares = Shares(MAX_WAITING, MAX_OF_SOURCE)
        self._reading: asyncio.Future[None] | None = None

    async def keymanagement(self, request: Request) -> Response:
        """Answer a message."""
        return await self._counted(request, self._message)

    async def groups(self, request: Request) -> Response:
        """Answer a query about groups; see `group_queries`."""
        return await self._counted(request, self._groups)

    async def readyz(self, request: Request) -> Response:
        """Check that the store and its keys can be read. Concurrent requests share one check."""

        def read(store: Store) -> None:
            store.policy()
            store.tpk()

        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._pool.run(read))
            # It may fail when everybody has left.
            self._reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            await asyncio.wait_for(asyncio.shield(self._reading), READY_SECONDS)
        except (StateError, TimeoutError) as error:
            log.error("not ready: %s", str(error) or "the store does not answer")
            return problem_response(
                HTTPStatus.SERVICE_UNAVAILABLE, "the store cannot be used", {"Retry-After": "1"}
            )
        return PlainTextResponse("")

    async def _counted(
        self, request: Request, handler: Callable[[Request, str, _Counted], Awaitable[Response]]
    ) -> Response:
        """Handle a request and count the outcome."""
        started, counted = time.perf_counter(), _Counted()
        source: str = request.scope[_SOURCE]
        try:
            return await handler(request, source, counted)
        except Problem as found:
            counted.outcome = found.outcome
            return found.response()
        except ClientDisconnect:
            counted.outcome = "gone"
            return Response(status_code=HTTPStatus.REQUEST_TIMEOUT)  # nobody receives it
        except Exception as error:
            # One line, unless tracebacks are wanted: it is logged for every such request.
            log.error("this is a bug, %s", type(error).__name__, exc_info=error)
            return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "the KMS has failed", {})
        finally:
            self._counts.count(counted.exchange, counted.outcome, time.perf_counter() - started)

    def _unauthenticated(self, source: str) -> Problem:
        self._failures.failed(source, self._env.clock())
        return Problem(HTTPStatus.FORBIDDEN, _UNKNOWN, "unauthenticated")

    def _unreadable(self, source: str, error: WireError) -> Problem:
        self._failures.failed(source, self._env.clock())
        return Problem(HTTPStatus.BAD_REQUEST, str(error), "unreadable")

    async def _message(self, request: Request, source: str, counted: _Counted) -> Response:
        if not is_mikey(request.headers.get("content-type")):
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Type: {MEDIA_TYPE} is expected",
                "unreadable",
            )
        body = await request.body()  # at most MAX_BODY octets, see `connection_limits`
        try:
            message, text = read_body(body)
            counted.exchange = exchange_of(message[1]) if len(message) > 1 else "other"
            handled = await self._run(source, lambda: self._handled(message))
        except WireError as error:
            raise self._unreadable(source, error) from None
        if handled.answer is None:
            raise self._unauthenticated(source)
        counted.outcome = "answered"
        if handled.refusal is not None:
            unreachable = isinstance(handled.refusal, Unreachable)
            counted.outcome = "unreachable" if unreachable else "refused"
        headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store"}
        return Response(write_body(handled.answer, text=text), headers=headers)

    async def _handled(self, message: bytes) -> Handled:
        """Handle a message together with others that wait."""
        deadline = time.monotonic() + FORWARD_SECONDS
        received = await self._pool.run_together(self._handle_together, message)
        if received.is_done:
            return received.result()
        try:
            return await self._pool.run(lambda store: finish(received, store, deadline))
        except Unavailable as error:
            if received.is_left:
                raise
            raise StateError(f"{error}; {SEEN}") from None

    def _handle_together(self, store: Store, messages: Sequence[bytes]) -> list[ReceivedMessage]:
        return handle_together(store, self._env, messages)

    async def _groups(self, request: Request, source: str, counted: _Counted) -> Response:
        counted.exchange = "groups"
        header = request.headers.get("authorization")
        # Do not use `request.url`, which treats the Host header as part of the URL.
        query = f"{group_queries.PATH}?{request.scope['query_string'].decode('latin-1')}"
        now = self._env.clock()
        try:
            body, mac = await self._run(
                source,
                lambda: self._pool.run(
                    lambda store: group_queries.answer(store, header, query, now)
                ),
            )
        except WireError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error), "unreadable") from None
        except group_queries.Forbidden as refusal:
            raise Problem(HTTPStatus.FORBIDDEN, str(refusal), "refused") from None
        except Refused:
            failed = self._unauthenticated(source)
            failed.status = HTTPStatus.UNAUTHORIZED
            failed.headers = {"WWW-Authenticate": group_queries.SCHEME}
            raise failed from None
        counted.outcome = "answered"
        headers = {
            "content-type": "application/json",
            "cache-control": "no-store",
            group_queries.ANSWER_HEADER: mac,
        }
        return Response(body, headers=headers)

    async def _run(self, source: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do work in the pool when the source may. Raises Problem if the store fails."""
        try:
            return await self._shared(source, work)
        except Unavailable as error:
            log.error("%s", error)
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "the KMS cannot answer just now; send it again",
                "unavailable",
                Retry_After="1",
            ) from None
        except StateError as error:
            log.error("%s", error)
            raise Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the store of the KMS has failed", "error"
            ) from None

    async def _shared(self, source: str, work: Callable[[], Awaitable[T]]) -> T:
        try:
            await self._shares.enter(source, MAX_AGE)
        except TimeoutError:
            raise Unavailable("messages wait too long to be answered") from None
        try:
            return await work()
        finally:
            self._shares.leave(source)
