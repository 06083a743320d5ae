"""A worker under too many requests: counted, who is served before whom. No time is measured."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mikeytool.kms.http.app import AT_ONCE, MAX_OF_SOURCE, application
from mikeytool.kms.http.connection_limits import READ, Connections
from mikeytool.kms.http.metrics import Metrics
from mikeytool.kms.http.pool import MAX_WAITING, StorePool
from mikeytool.kms.http.shares import Proxies, Shares, source_of
from mikeytool.kms.http.worker import Worker
from mikeytool.kms.store.store import Store

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
HERE, ELSEWHERE = "127.0.0.1", "127.0.0.2"


class Lab:
    """A worker in this process, with clients, and the clients' addresses as they were served."""

    def __init__(self, stack: ExitStack) -> None:
        self.served: list[str] = []
        self._stack = stack
        alive, held = os.pipe()
        stack.callback(os.close, alive)
        stack.callback(os.close, held)
        self.worker = Worker(StorePool(no_store, 1), None, (), alive, lambda: None, Metrics())
        self.worker.config.load()
        app = self.worker.config.loaded_app

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            await app(scope, receive, send)
            self.served.append(scope["client"][0])

        self.worker.config.loaded_app = noted
        self.listening = stack.enter_context(socket.socket(proto=socket.IPPROTO_TCP))
        self.listening.bind((HERE, 0))
        self.listening.listen(1024)

    def client(self, sent: bytes, source: str = HERE) -> socket.socket:
        """A client that has sent something, which it does before it is accepted."""
        made = socket.create_connection(self.listening.getsockname(), 10, (source, 0))
        self._stack.enter_context(made)
        made.sendall(sent)
        made.setblocking(False)
        return made

    async def until_served(self, client: socket.socket) -> int:
        """How many others are served until a client is."""
        before = len(self.served)
        assert (await asyncio.get_running_loop().sock_recv(client, 15)) == b"HTTP/1.1 200 OK"
        return len(self.served) - before


def no_store() -> Store:
    raise AssertionError("no store is needed")


def in_lab(what: Callable[[Lab], Awaitable[None]]) -> None:
    async def main() -> None:
        with ExitStack() as stack:
            lab = Lab(stack)
            stack.callback(asyncio.get_running_loop().remove_reader, lab.worker._parent)
            await lab.worker.startup([lab.listening])
            try:
                await what(lab)
            finally:
                for server in lab.worker.servers:
                    server.close()
                for connection in list(lab.worker.server_state.connections):
                    connection.transport.abort()
                lab.worker._pool.close()
                while lab.worker.server_state.connections:
                    await asyncio.sleep(0)

    asyncio.run(main())


@pytest.mark.parametrize("source", [HERE, ELSEWHERE])
def test_a_new_client_behind_many_that_pipeline(source: str) -> None:
    """They wait to be accepted before it, and have 60,000 requests; it is served after each of
    them had a few.
    """
    many, each = 300, 200

    async def attacked(lab: Lab) -> None:
        for _ in range(many):
            lab.client(GET * each)
        assert await lab.until_served(lab.client(GET, source)) <= many * 3

    in_lab(attacked)


def test_another_source_does_not_wait_for_all_connections_of_one() -> None:
    """A request of it is next but for a few, however many there are."""

    async def attacked(lab: Lab) -> None:
        for _ in range(300):
            lab.client(GET * 200)
        while len(lab.served) < 1000:
            await asyncio.sleep(0)
        for _ in range(3):
            assert await lab.until_served(lab.client(GET, ELSEWHERE)) <= 8 * AT_ONCE

    in_lab(attacked)


def test_connections_of_one_source_have_a_turn_each() -> None:
    async def attacked(lab: Lab) -> None:
        clients = [lab.client(GET * 50) for _ in range(40)]
        while len(lab.served) < 40 * 25:
            await asyncio.sleep(0)
        answers = [client.recv(100_000).count(b"HTTP/1.1 200 OK") for client in clients]
        assert max(answers) - min(answers) <= 4

    in_lab(attacked)


def test_what_a_connection_may_have_outstanding() -> None:
    """One request in work; of what is behind it no more is read than fits a buffer."""

    async def attacked(lab: Lab) -> None:
        begun, go = [], asyncio.Event()

        async def slow(scope: Any, _receive: Any, send: Any) -> None:
            begun.append(scope["path"])
            await go.wait()

        lab.worker.config.loaded_app = slow
        client = lab.client(GET)
        loop = asyncio.get_running_loop()
        sending = asyncio.ensure_future(loop.sock_sendall(client, GET * 200_000))
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(begun) == 1
        assert not sending.done()
        (protocol,) = lab.worker.server_state.connections
        assert len(protocol.conn.trailing_data[0]) <= READ + len(GET)  # type: ignore[union-attr]
        sending.cancel()
        go.set()

    in_lab(attacked)


# --- the store --------------------------------------------------------------------------------


class Posts:
    """An application whose store does nothing until it may, and the sources of its jobs."""

    def __init__(self) -> None:
        self.at_work: list[asyncio.Future[Any]] = []
        self.pool = StorePool(no_store, 1)
        self.pool.close()
        self.pool.run = self._run  # type: ignore[method-assign, assignment]
        self.pool.run_together = self._run  # type: ignore[method-assign, assignment]
        self._app = application(self.pool, Metrics())
        self.tasks: list[asyncio.Task[int]] = []

    async def _run(self, *_: object) -> None:
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.at_work.append(future)
        await future

    def post(self, host: str) -> None:
        self.tasks.append(asyncio.ensure_future(self.asked(host, "POST", "/keymanagement")))

    async def asked(self, host: str, method: str, path: str) -> int:
        """The status that a client at an address gets."""
        statuses: list[int] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": b"AQsA"}

        async def send(message: Any) -> None:
            statuses.append(message.get("status", 0))

        scope = {
            "type": "http", "method": method, "path": path, "query_string": b"",
            "root_path": "", "headers": [(b"content-type", b"application/mikey")],
            "client": (host, 1), "http_version": "1.1", "scheme": "http", "server": ("x", 1),
        }  # fmt: skip
        await self._app(scope, receive, send)
        return statuses[0]

    async def settle(self) -> int:
        """How many have come to the store."""
        for _ in range(500):
            await asyncio.sleep(0)
        return len(self.at_work)

    async def end(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


def test_a_source_does_not_fill_the_store() -> None:
    """What it sends beyond its share waits; others go ahead."""

    async def main() -> None:
        posts = Posts()
        for _ in range(300):
            posts.post("192.0.2.1")
        assert await posts.settle() == MAX_OF_SOURCE
        for number in range(3):
            posts.post(f"192.0.2.{number + 2}")
        assert await posts.settle() == MAX_OF_SOURCE + 3
        posts.at_work[0].set_exception(ZeroDivisionError())  # which leaves, too
        assert await posts.settle() == MAX_OF_SOURCE + 4
        await posts.end()

    asyncio.run(main())


def test_those_behind_a_proxy_are_sources_of_their_own() -> None:
    """Of 127.0.0.1, which is a proxy, by what it forwards."""

    async def main() -> None:
        posts = Posts()
        app: Any = posts._app

        async def forwarded(scope: Any, receive: Any, send: Any) -> None:
            headers = [*scope["headers"], (b"x-forwarded-for", scope["client"][0].encode())]
            proxied: Any = {**scope, "client": (HERE, 1), "headers": headers}
            await ProxyHeadersMiddleware(app, HERE)(proxied, receive, send)

        posts._app = forwarded
        for _ in range(100):
            posts.post("192.0.2.1")
        for number in range(40):
            posts.post(f"192.0.2.{number + 2}")
        assert await posts.settle() == MAX_OF_SOURCE + 40
        await posts.end()

    asyncio.run(main())


def test_who_waits_too_long_for_the_store_may_try_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mikeytool.kms.http.app.MAX_AGE", 0)

    async def main() -> None:
        posts = Posts()
        for _ in range(MAX_OF_SOURCE + 1):
            posts.post("192.0.2.1")
        await posts.settle()
        assert posts.tasks[-1].done()
        assert posts.tasks[-1].result() == 503
        assert not any(task.done() for task in posts.tasks[:-1])
        await posts.end()

    asyncio.run(main())


def test_no_path_takes_the_host_for_a_part_of_a_url(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which raises ValueError with Starlette 0.46 for a Host of `[`."""

    def url(_: HTTPConnection) -> None:
        raise ValueError("Invalid IPv6 URL")

    monkeypatch.setattr(HTTPConnection, "url", property(url))

    async def main() -> None:
        posts = Posts()

        async def answered(_: object) -> tuple[bytes, str]:
            return b"{}", ""

        posts.pool.run = answered  # type: ignore[method-assign, assignment]
        for path in ("/groups", "/healthz", "/readyz", "/metrics", "/"):
            assert await posts.asked("192.0.2.1", "GET", path) == (404 if path == "/" else 200)

    asyncio.run(main())


def test_the_store_has_room_for_several_sources() -> None:
    assert MAX_WAITING >= 4 * MAX_OF_SOURCE


# --- shares -----------------------------------------------------------------------------------


def entered(shares: Shares, sources: str) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Sources that enter, in this order, and those that have come in."""
    inside: list[str] = []

    async def enter(source: str) -> None:
        await shares.enter(source)
        inside.append(source)

    return inside, [asyncio.ensure_future(enter(source)) for source in sources]


async def passes() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_sources_take_turns() -> None:
    async def main() -> None:
        shares = Shares(2, 2)
        inside, _ = entered(shares, "aaaaaabbc")
        await passes()
        for _ in range(7):
            shares.leave(inside[0])
            inside[:] = inside[1:] if len(inside) > 1 else inside
            await passes()
            order.append(inside[-1])
        assert order == list("abcabaa"), order

    order: list[str] = []
    asyncio.run(main())


def test_no_source_has_more_than_its_share() -> None:
    async def main() -> None:
        shares = Shares(4, 2)
        inside, _ = entered(shares, "aaaabcd")
        await passes()
        assert inside == list("aabc")
        shares.leave("b")
        await passes()
        assert inside == list("aabcd")  # before the others of a, who has its share
        shares.leave("c")
        await passes()
        assert inside == list("aabcd")
        shares.leave("a")
        await passes()
        assert inside == list("aabcda")

    asyncio.run(main())


def test_who_gives_up_leaves_no_trace() -> None:
    """Waiting, or in the moment when its turn comes."""

    async def main() -> None:
        shares = Shares(1, 1)
        inside, tasks = entered(shares, "abbcd")
        await passes()
        tasks[1].cancel()
        await passes()
        tasks[2].cancel()  # just before its turn comes
        shares.leave("a")
        tasks[3].cancel()  # just after
        await passes()
        assert inside == ["a", "d"]
        shares.leave("d")
        assert not shares._waiting
        assert not shares._held
        await shares.enter("d", 0)
        with pytest.raises(TimeoutError):
            await shares.enter("e", 0)
        shares.leave("d")
        await shares.enter("f")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1:2::3", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("unknown", ""),
        ("x" * 16_000, ""),
    ],
)
def test_sources(host: str, source: str) -> None:
    assert source_of(host) == source


def test_proxies() -> None:
    proxies = Proxies(["192.0.2.1", "198.51.100.0/24", "2001:db8::1"])
    assert all(one in proxies for one in ("192.0.2.1", "198.51.100.7", "2001:db8::1"))
    assert not any(one in proxies for one in ("192.0.2.2", "2001:db8::2", "", "unknown"))
    assert "192.0.2.1" in Proxies(["*"])
    assert "192.0.2.1" not in Proxies([])
    with pytest.raises(ValueError, match="proxy"):
        Proxies(["proxy.example.com"])


# --- connections ------------------------------------------------------------------------------


class Connection(asyncio.Transport):
    """A connection that says whether it was cut off."""

    def __init__(self, host: str, port: int, connections: Connections) -> None:
        super().__init__({"peername": (host, port)})
        self._connections, self.name, self.is_cut = connections, f"{host} {port}", False
        connections.add(self, self)

    def cut_off(self) -> None:
        self.is_cut = True
        self._connections.remove(self)


@contextmanager
def crowd(most: int, *proxies: str) -> Iterator[Callable[[str], Connection]]:
    connections, ports = Connections(most, Metrics(), Proxies(proxies)), iter(range(1000))
    yield lambda host: Connection(host, next(ports), connections)


def test_a_source_with_many_connections_loses_one_of_its_own() -> None:
    with crowd(10) as connect:
        old = connect(ELSEWHERE)
        many = [connect(HERE) for _ in range(100)]
        assert not old.is_cut
        assert [one.is_cut for one in many] == [True] * 91 + [False] * 9


def test_connections_of_a_proxy_do_not_count_as_one_source() -> None:
    with crowd(10, HERE) as connect:
        proxied = [connect(HERE) for _ in range(7)]
        many = [connect(ELSEWHERE) for _ in range(100)]
        assert not any(one.is_cut for one in proxied)
        assert sum(not one.is_cut for one in many) == 3
