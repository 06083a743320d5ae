"""The KMS over HTTP: what each path does with a request.

An Error message is an answer like any other. What is no message, or is from nobody whom the
KMS knows, gets a problem (RFC 9457) that says no more than the sender knows already: neither
whether there is such a user nor what was wrong with the key.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mikeytool.exchange.environment import Environment
from mikeytool.kms.http import metrics
from mikeytool.kms.http.connection_limits import problem
from mikeytool.kms.http.metrics import Metrics
from mikeytool.kms.http.pool import StorePool
from mikeytool.kms.remote import groups as groups_http
from mikeytool.kms.remote.http_message import MEDIA_TYPE, PATH, is_mikey, read_body, write_body
from mikeytool.kms.sender_limits import Failures
from mikeytool.kms.service import handle
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError, Unavailable, Unreachable, WireError
from mikeytool.wire.registry import DataType

FORWARD_SECONDS = 8.0
"""For asking other KMSs: less than our own clients wait."""

READY_SECONDS = 2.0
"""Until a store that does not answer counts as away."""

_EXCHANGES: dict[int, str] = {
    DataType.REQUEST_INIT_PSK: "request",
    DataType.REQUEST_INIT_PK: "request",
    DataType.RESOLVE_INIT_PSK: "resolve",
    DataType.RESOLVE_INIT_PK: "resolve",
}
_UNKNOWN = "the KMS does not know who sent this, or not by this key"

T = TypeVar("T")

log = logging.getLogger(__name__)


class Problem(Exception):
    """Why there is no answer, and what that counts as."""

    def __init__(self, status: HTTPStatus, detail: str, outcome: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail, self.outcome, self.headers = status, detail, outcome, headers

    def response(self) -> Response:
        """The answer to whoever asked."""
        return problem_response(self.status, self.detail, self.headers)


def problem_response(status: HTTPStatus, detail: str, more: dict[str, str]) -> Response:
    """A problem; the connection is closed, as the request may not have been read."""
    headers, body = problem(status, detail)
    texts = {name.decode(): value.decode() for name, value in headers}
    extra = {name.replace("_", "-"): value for name, value in more.items()}
    return Response(body, status, {**texts, **extra})


def application(pool: StorePool, counts: Metrics) -> Starlette:
    """The whole of it, over a store."""
    desk = _Desk(pool, counts)
    app = Starlette(
        routes=[
            Route(PATH, desk.keymanagement, methods=["POST"]),
            Route(groups_http.PATH, desk.groups, methods=["GET"]),
            Route("/healthz", _healthz, methods=["GET"]),
            Route("/readyz", desk.readyz, methods=["GET"]),
            Route("/metrics", _Exposition().answer, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _not_here},
    )
    app.router.redirect_slashes = False  # to an address that the request itself names
    return app


async def _not_here(_request: Request, error: Exception) -> Response:
    """404 and 405, which starlette finds."""
    assert isinstance(error, HTTPException)  # noqa: S101 - it is registered for that
    return problem_response(
        HTTPStatus(error.status_code),
        f"messages are POSTed to {PATH}",
        dict(error.headers or {}),
    )


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("")


class _Exposition:
    """/metrics: put together once a second at most, for it costs more than it is asked for."""

    _making: asyncio.Future[bytes] | None = None
    _begun = 0.0

    async def answer(self, _request: Request) -> Response:
        if self._making is None or time.monotonic() - self._begun >= 1:
            self._begun = time.monotonic()
            self._making = asyncio.ensure_future(asyncio.to_thread(metrics.exposition))
        headers = {"content-type": metrics.CONTENT_TYPE, "cache-control": "no-store"}
        return Response(await asyncio.shield(self._making), headers=headers)


class _Seen:
    """What is known of a request so far, to be counted."""

    exchange = "other"
    outcome = "error"


class _Desk:
    """What a worker answers with its store."""

    def __init__(self, pool: StorePool, counts: Metrics) -> None:
        self._pool, self._counts = pool, counts
        self._env = Environment(clock=time.time_ns, random=os.urandom)
        self._failures = Failures()

    async def keymanagement(self, request: Request) -> Response:
        """A message in, the answer out."""
        return await self._counted(request, self._message)

    async def groups(self, request: Request) -> Response:
        """A question about groups; see `groups_http`."""
        return await self._counted(request, self._groups)

    async def readyz(self, request: Request) -> Response:
        """Whether the store can be read and its keys be opened."""

        def look(store: Store) -> None:
            store.policy()
            store.tpk()

        try:
            await asyncio.wait_for(self._pool.run(look), READY_SECONDS)
        except (StateError, TimeoutError) as error:
            log.error("not ready: %s", str(error) or "the store does not answer")
            return problem_response(
                HTTPStatus.SERVICE_UNAVAILABLE, "the store cannot be used", {"Retry-After": "1"}
            )
        return PlainTextResponse("")

    async def _counted(
        self, request: Request, what: Callable[[Request, str, _Seen], Awaitable[Response]]
    ) -> Response:
        """Do it for a source that has not failed too often, and count what comes of it."""
        started, seen = time.perf_counter(), _Seen()
        source = _source(request)
        try:
            self._check_source(source)
            return await what(request, source, seen)
        except Problem as found:
            seen.outcome = found.outcome
            return found.response()
        except ClientDisconnect:
            seen.outcome = "gone"
            return Response(status_code=HTTPStatus.REQUEST_TIMEOUT)  # nobody gets it
        except Exception as error:
            # A traceback only for who asks for it: this is said of every such request.
            log.error("this is a bug, %s", type(error).__name__, exc_info=error)
            return problem_response(HTTPStatus.INTERNAL_SERVER_ERROR, "the KMS has failed", {})
        finally:
            self._counts.count(seen.exchange, seen.outcome, time.perf_counter() - started)

    def _check_source(self, source: str) -> None:
        try:
            self._failures.check(source, self._env.clock())
        except Refused as error:
            raise Problem(
                HTTPStatus.TOO_MANY_REQUESTS, str(error), "limited", Retry_After="60"
            ) from None

    def _unauthenticated(self, source: str) -> Problem:
        self._failures.failed(source, self._env.clock())
        return Problem(HTTPStatus.FORBIDDEN, _UNKNOWN, "unauthenticated")

    def _unreadable(self, source: str, error: WireError) -> Problem:
        self._failures.failed(source, self._env.clock())
        return Problem(HTTPStatus.BAD_REQUEST, str(error), "unreadable")

    async def _message(self, request: Request, source: str, seen: _Seen) -> Response:
        if not is_mikey(request.headers.get("content-type")):
            raise Problem(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                f"Content-Type: {MEDIA_TYPE} is expected",
                "unreadable",
            )
        body = await request.body()  # of MAX_BODY octets at most, see http_limits
        env = self._env
        try:
            message, text = read_body(body)
            seen.exchange = _EXCHANGES.get(message[1], "other") if len(message) > 1 else "other"
            deadline = time.monotonic() + FORWARD_SECONDS
            handled = await self._run(lambda store: handle(store, env, message, deadline=deadline))
        except WireError as error:
            raise self._unreadable(source, error) from None
        if handled.answer is None:
            raise self._unauthenticated(source)
        seen.outcome = "answered"
        if handled.refusal is not None:
            unreachable = isinstance(handled.refusal, Unreachable)
            seen.outcome = "unreachable" if unreachable else "refused"
        headers = {"content-type": MEDIA_TYPE, "cache-control": "no-store"}
        return Response(write_body(handled.answer, text=text), headers=headers)

    async def _groups(self, request: Request, source: str, seen: _Seen) -> Response:
        seen.exchange = "groups"
        header = request.headers.get("authorization")
        asked = f"{groups_http.PATH}?{request.url.query}"
        now = self._env.clock()
        try:
            body, mac = await self._run(lambda store: groups_http.answer(store, header, asked, now))
        except WireError as error:
            raise Problem(HTTPStatus.BAD_REQUEST, str(error), "unreadable") from None
        except groups_http.Forbidden as refusal:
            raise Problem(HTTPStatus.FORBIDDEN, str(refusal), "refused") from None
        except Refused:
            failed = self._unauthenticated(source)
            failed.status = HTTPStatus.UNAUTHORIZED
            failed.headers = {"WWW-Authenticate": groups_http.SCHEME}
            raise failed from None
        seen.outcome = "answered"
        headers = {
            "content-type": "application/json",
            "cache-control": "no-store",
            groups_http.ANSWER_HEADER: mac,
        }
        return Response(body, headers=headers)

    async def _run(self, work: Callable[[Store], T]) -> T:
        """In the pool; a store that fails is a Problem."""
        try:
            return await self._pool.run(work)
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


def _source(request: Request) -> str:
    """Where a request is from: an address, or for IPv6 the network that one customer has."""
    host = request.client.host if request.client is not None else ""
    if ":" not in host:
        return host
    try:
        return str(ipaddress.IPv6Network((host.partition("%")[0], 64), strict=False))
    except ValueError:
        return host
