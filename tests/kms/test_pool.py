"""The threads of a worker: who waits, who is turned away, and what becomes of a failed store."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from mikeytool.kms.http.app import application
from mikeytool.kms.http.metrics import Metrics
from mikeytool.kms.http.pool import MAX_WAITING, StorePool
from mikeytool.kms.store.slots import MAX_PEER_REQUESTS, peer_request
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import StateError, Unavailable, Unreachable
from tests.world import World

Run = Callable[[StorePool], Awaitable[Any]]


def pooled(world: World, what: Run, at_once: int = 1) -> Any:
    """Do something with a pool on the store of a world."""

    async def main() -> Any:
        pool = StorePool(lambda: Store(world.where), at_once)
        try:
            return await what(pool)
        finally:
            pool.close()

    return asyncio.run(main())


def test_one_at_a_time_with_the_same_store(world: World) -> None:
    at_work: list[int] = []
    most: list[int] = []

    def work(store: Store) -> int:
        at_work.append(1)
        most.append(len(at_work))
        time.sleep(0.01)
        at_work.pop()
        return id(store)

    async def many(pool: StorePool) -> list[int]:
        return await asyncio.gather(*(pool.run(work) for _ in range(10)))

    assert len(set(pooled(world, many))) == 1
    assert set(most) == {1}
    most.clear()
    assert len(set(pooled(world, many, at_once=3))) == 3
    assert max(most) > 1


def test_too_much_is_turned_away_before_it_is_begun(world: World) -> None:
    go = threading.Event()

    async def many(pool: StorePool) -> list[Any]:
        tasks = [asyncio.ensure_future(pool.run(lambda _: go.wait(30))) for _ in range(200)]
        await asyncio.sleep(0.05)
        go.set()
        found = await asyncio.gather(*tasks, return_exceptions=True)
        assert await pool.run(lambda _: "again") == "again"
        return found

    found = pooled(world, many)
    turned_away = [one for one in found if isinstance(one, Unavailable)]
    assert len(found) - len(turned_away) == 1 + MAX_PEER_REQUESTS + MAX_WAITING


def test_a_request_to_another_kms_leaves_the_slot(world: World) -> None:
    """And no more may do so than leave threads for the rest."""
    go = threading.Event()

    def ask(_store: Store) -> str:
        with peer_request():
            go.wait(30)
        return "asked"

    async def many(pool: StorePool) -> list[Any]:
        slow = [asyncio.ensure_future(pool.run(ask)) for _ in range(MAX_PEER_REQUESTS + 3)]
        quick = [await pool.run(lambda _: "quick") for _ in range(3)]
        assert quick == ["quick"] * 3
        go.set()
        return await asyncio.gather(*slow, return_exceptions=True)

    found = pooled(world, many)
    assert found.count("asked") == MAX_PEER_REQUESTS
    assert sum(isinstance(one, Unreachable) for one in found) == 3
    with peer_request():  # all of them have come back
        pass


def test_a_store_that_failed_is_opened_anew(world: World) -> None:
    stores: list[Store] = []

    def fail(store: Store) -> None:
        stores.append(store)
        raise StateError("it broke")

    async def thrice(pool: StorePool) -> None:
        for _ in range(2):
            with pytest.raises(StateError):
                await pool.run(fail)
        assert await pool.run(lambda store: store.identity) == world.store.identity

    pooled(world, thrice)
    assert stores[0] is not stores[1]


def test_one_that_is_given_up_leaves_its_place(world: World) -> None:
    go = threading.Event()

    async def cancelled(pool: StorePool) -> str:
        first = asyncio.ensure_future(pool.run(lambda _: go.wait(30)))
        waiting = asyncio.ensure_future(pool.run(lambda _: "never"))
        await asyncio.sleep(0.05)
        waiting.cancel()
        first.cancel()
        go.set()
        return await pool.run(lambda _: "next")

    assert pooled(world, cancelled) == "next"


async def requested(app: Any, path: str, body: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """What an application answers to a message, without a server."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/mikey")], "client": ("2001:db8::1", 1),
        "http_version": "1.1", "scheme": "http", "server": ("x", 1),
    }  # fmt: skip
    await app(scope, receive, send)
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"]


@pytest.mark.parametrize(
    ("error", "status", "again", "words"),
    [
        (Unavailable("the database is away"), 503, b"1", b"send it again"),
        (StateError("it is broken, at /secret/place"), 500, None, b"the store of the KMS has"),
        (ZeroDivisionError("/secret"), 500, None, b"the KMS has failed"),
    ],
)
def test_what_a_client_is_told_of_a_store_that_fails(
    world: World, error: Exception, status: int, again: bytes | None, words: bytes
) -> None:
    """The same may be sent again only if it is known that nothing was done."""

    async def ask(pool: StorePool) -> tuple[int, dict[bytes, bytes], bytes]:
        async def fail(*_: object) -> Any:
            raise error

        pool.run_together = fail  # type: ignore[method-assign, assignment]
        return await requested(application(pool, Metrics()), "/keymanagement", b"AQsA")

    got, headers, body = pooled(world, ask)
    assert got == status
    assert words in body
    assert b"secret" not in body
    assert headers.get(b"retry-after") == again
    assert headers[b"content-type"] == b"application/problem+json"
