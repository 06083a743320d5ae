"""Workers of one server: nothing is answered twice, the dead are replaced, the end is in peace."""

from __future__ import annotations

import base64
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPException
from pathlib import Path

import pytest

from mikeytool.kms.http_message import PATH, read_body
from mikeytool.kms.store.store import Store
from mikeytool.wire.message import Message
from mikeytool.wire.registry import DataType
from tests.cli.shell import Shell
from tests.kms.serving import Server, asked, serving
from tests.world import World

ANSWER = DataType.REQUEST_RESP


def kind(server: Server, message: bytes) -> int | None:
    """The data type of what a message gets; None when the connection breaks off."""
    try:
        reply = server.send(message)
    except (OSError, HTTPException):
        return None
    assert reply.status == 200, reply
    data_type: int = Message.read(read_body(reply.body)[0]).header.data_type
    return data_type


def until(what: Callable[[], bool]) -> None:
    """Wait for something that comes to be."""
    end = time.monotonic() + 30
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_of_two_copies_one_is_answered(world: World) -> None:
    """Sent at the same time, so that both workers have some."""
    inits = asked(world, 60)
    with (
        serving(world.folder, str(world.where), "--workers", "2") as server,
        ThreadPoolExecutor(6) as pool,
    ):
        assert len(server.workers()) == 2
        kinds = list(pool.map(lambda init: kind(server, init), [i for i in inits for _ in "ab"]))
    pairs = [sorted(pair) for pair in zip(kinds[::2], kinds[1::2], strict=True)]  # type: ignore[type-var]
    assert pairs == [[DataType.ERROR, ANSWER]] * len(inits)


def test_a_killed_worker_is_replaced(world: World) -> None:
    """Under load: what got an answer gets no other, and clients go on."""
    inits = asked(world, 120)
    with (
        serving(world.folder, str(world.where), "--workers", "2") as server,
        ThreadPoolExecutor(4) as pool,
    ):
        before = server.workers()
        first = pool.map(lambda init: kind(server, init), inits)
        time.sleep(0.2)
        os.kill(before[0], signal.SIGKILL)
        kinds = list(first)
        again = [kind(server, init) for init in inits]
        until(lambda: len(server.workers()) == 2 and before[0] not in server.workers())
        assert f"worker {before[0]}: ended with -9" in server.log.read_text()
        assert kind(server, asked(world, 1)[0]) == ANSWER
        connections = [one for one in server.metrics().splitlines() if "connections " in one][-1]
        assert float(connections.split()[1]) <= 2  # those of the dead are not counted
    assert kinds.count(ANSWER) > 100
    for one, other in zip(kinds, again, strict=True):
        assert [one, other].count(ANSWER) <= 1
        assert one == ANSWER or one is None
    with closing(Store(world.where)) as store:
        logged = sum(entry.outcome == "answered" for entry in store.log())
    assert logged >= kinds.count(ANSWER) + again.count(ANSWER)


def half_sent(server: Server, message: bytes) -> Callable[[], bytes]:
    """A request of which the end is sent, and the answer read, when it is called."""
    sock = server.socket()
    body = base64.b64encode(message)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/mikey\r\n"
    sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[:10])

    def finish() -> bytes:
        with sock:
            sock.sendall(body[10:])
            return sock.makefile("rb").read()

    return finish


def is_refused(server: Server) -> bool:
    try:
        server.socket().close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("by", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["term", "int"]
)
def test_what_is_in_flight_is_answered(world: World, by: signal.Signals, code: int) -> None:
    """And nothing new is taken meanwhile."""
    (init,) = asked(world, 1)
    with serving(world.folder, str(world.where), "--workers", "2") as server:
        finish, idle = half_sent(server, init), server.socket()
        server.ask("GET", "/healthz")  # both connections are taken by now
        time.sleep(0.3)
        server.process.send_signal(by)
        with idle:
            assert idle.recv(1) == b""
        until(lambda: is_refused(server))
        assert finish().startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(30) == code
        assert "mikeytool: " not in server.log.read_text()


def test_workers_end_with_their_parent(world: World) -> None:
    options = ("--workers", "2")
    with serving(world.folder, str(world.where), *options, TMPDIR=str(world.folder)) as server:
        workers = server.workers()
        server.process.kill()
        server.process.wait(30)
        until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in workers))


def test_a_passphrase_is_taken_once(shell: Shell) -> None:
    """Workers have what it opens from their parent: also those that are started later."""
    shell.ok(
        "mikeytool kms init -q kms.db --id sip:kms.example.com --seal passphrase",
        MIKEYTOOL_SEAL_PASSPHRASE="long enough",
    )
    with serving(
        shell.folder, "kms.db", "--workers", "2", MIKEYTOOL_SEAL_PASSPHRASE="long enough"
    ) as server:
        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and killed not in server.workers())
        for _ in range(8):
            assert server.ask("GET", "/readyz").status == 200
    ran = shell.fails(
        "mikeytool kms serve kms.db --listen 127.0.0.1:0", 4, "not what the store is sealed with",
        MIKEYTOOL_SEAL_PASSPHRASE="another one",
    )  # fmt: skip
    assert len(ran.err.splitlines()) == 1


def test_counters_are_gone_afterwards(world: World) -> None:
    folder = world.folder / "tmp"
    folder.mkdir()
    with serving(world.folder, str(world.where), TMPDIR=str(folder)) as server:
        assert len(list(folder.iterdir())) == 1
        assert server.end() == 0
    assert not list(folder.iterdir())
