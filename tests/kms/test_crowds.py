"""Thousands of connections that say nothing, or half of something, and one that wants an answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.kms.serving import Server, asked, serving
from tests.kms.test_http_hostile import HEAD
from tests.series import Series
from tests.world import World

MOST = 400 << 20
"""Octets of memory of a worker; a connection takes up to 90 kB."""


@pytest.fixture(scope="module")
def serves(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Server]]:
    with (
        closing(World(tmp_path_factory.mktemp("kms"))) as world,
        serving(world.folder, str(world.where)) as server,
    ):
        yield world, server


def memory(server: Server) -> int:
    """The most memory that a worker took."""
    status = [Path(f"/proc/{pid}/status").read_text() for pid in server.workers()]
    lines = [line for text in status for line in text.splitlines() if line.startswith("VmHWM")]
    return max(int(line.split()[1]) << 10 for line in lines)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (2000, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        (5000, b""),
        (1500, HEAD + b"Content-Length: 60000\r\n\r\n" + b"A" * 30_000),
    ],
    ids=["idle", "half-open", "half a body"],
)
def test_crowds(serves: tuple[World, Server], series: Series, count: int, said: bytes) -> None:
    """The last one is answered, and a worker neither grows nor fails."""
    world, server = serves
    held: list[socket.socket] = []
    try:
        for number in range(series.length(count, count // 20)):
            with suppress(OSError):
                held.append(server.socket())
                held[-1].settimeout(10)
                held[-1].sendall(said)
                if said.startswith(b"GET"):
                    assert held[-1].recv(1000).startswith(b"HTTP/1.1 200")
            if number % 100 == 0:
                (message,) = asked(world, 1)
                assert server.send(message).status == 200
                assert b"replay" not in server.send(message).body
        (message,) = asked(world, 1)
        assert server.send(message).status == 200
    finally:
        for sock in held:
            sock.close()
    assert memory(server) < MOST
    assert len(server.workers()) >= 1
    assert "Traceback" not in server.log.read_text()
    assert "bug" not in server.log.read_text()
