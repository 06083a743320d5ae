"""Clients that want others not to be served: they get nothing out of it."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.kms.http import connection_limits
from mikeytool.kms.http_message import PATH
from tests.kms.certificates import Authority
from tests.kms.serving import Server, asked, serving
from tests.peers.programs import need
from tests.world import World

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/mikey\r\n".encode()


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Server]]:
    """A server that has room for a few connections only."""
    with (
        closing(World(tmp_path_factory.mktemp("kms"))) as world,
        serving(world.folder, str(world.where), files=192) as server,
    ):
        yield world, server


@pytest.fixture
def held() -> Iterator[list[socket.socket]]:
    """Connections that are closed after the test."""
    sockets: list[socket.socket] = []
    yield sockets
    for sock in sockets:
        sock.close()


def half_open(server: Server, held: list[socket.socket]) -> None:
    """Connections on which nothing is said."""
    for _ in range(10):
        held.append(server.socket())


def slow_loris(server: Server, held: list[socket.socket]) -> None:
    """Heads that go on and on, a line at a time."""
    for _ in range(10):
        held.append(server.socket())
        held[-1].sendall(HEAD)
    for sock in held[-60:]:
        with contextlib.suppress(OSError):
            sock.sendall(b"X-a: b\r\n")


def slow_bodies(server: Server, held: list[socket.socket]) -> None:
    """Bodies that never end."""
    for _ in range(10):
        held.append(server.socket())
        held[-1].sendall(HEAD + b"Content-Length: 1000\r\n\r\nAQsA")


def big_bodies(server: Server, held: list[socket.socket]) -> None:
    """A gigabyte, in chunks or not, as far as it is taken."""
    for header in (b"Content-Length: 1000000000", b"Transfer-Encoding: chunked"):
        held.append(server.socket())
        with contextlib.suppress(OSError):
            held[-1].sendall(HEAD + header + b"\r\n\r\n")
            for _ in range(50):
                held[-1].sendall(b"8000\r\n" + b"A" * 0x8000 + b"\r\n")


def tiny_chunks(server: Server, held: list[socket.socket]) -> None:
    """Bodies of an octet a chunk, which take far longer to read than to send."""
    for method in (b"GET", b"POST"):
        held.append(server.socket())
        with contextlib.suppress(OSError):
            held[-1].sendall(HEAD.replace(b"POST", method) + b"Transfer-Encoding: chunked\r\n\r\n")
            held[-1].sendall(b"1\r\nA\r\n" * 40_000)


def garbage(server: Server, held: list[socket.socket]) -> None:
    """What is no HTTP, and what is no MIKEY."""
    held.append(server.socket())
    held[-1].sendall(bytes(range(256)) * 64)
    held.append(server.socket())
    held[-1].sendall(b"GET /" + b"x" * 60_000)


def never_reading(server: Server, held: list[socket.socket]) -> None:
    """Requests one behind the other, whose answers are not taken."""
    if len(held) > 8:
        return
    sock = socket.socket()
    held.append(sock)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.connect(("127.0.0.1", server.port))
    sock.settimeout(0.05)
    with contextlib.suppress(OSError):
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 500)


Attack = Callable[[Server, list[socket.socket]], None]


@pytest.mark.parametrize(
    "attack", [half_open, slow_loris, slow_bodies, big_bodies, tiny_chunks, garbage, never_reading]
)
def test_others_are_served_meanwhile(
    everything: tuple[World, Server], held: list[socket.socket], attack: Attack
) -> None:
    """Each message on a connection of its own, none of which waits for the attack to end."""
    world, server = everything
    stop = threading.Event()

    def go_on() -> None:
        while not stop.wait(0.02):
            with contextlib.suppress(OSError):
                attack(server, held)
            while len(held) > 300:
                held.pop(0).close()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        time.sleep(0.3)
        for message in asked(world, 15):
            assert server.send(message).status == 200
        assert thread.is_alive()
    finally:
        stop.set()
        thread.join()


def test_the_longest_waiting_goes_when_there_are_too_many(
    everything: tuple[World, Server], held: list[socket.socket]
) -> None:
    world, server = everything
    held += [server.socket() for _ in range(100)]
    (init,) = asked(world, 1)
    assert server.send(init).status == 200
    assert held[0].recv(1) == b""
    held[-1].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert held[-1].recv(15) == b"HTTP/1.1 200 OK"
    assert 'cut_off_total{why="crowded"}' in server.metrics()


def test_what_is_never_finished_is_closed(tmp_path: Path, held: list[socket.socket]) -> None:
    """After ten seconds, here one, however much came meanwhile; with a word if there was any."""
    assert connection_limits.REQUEST_SECONDS == 10
    with (
        closing(World(tmp_path)) as world,
        serving(tmp_path, str(world.where), limits={"REQUEST_SECONDS": 1}) as server,
    ):
        silent, head, body = server.socket(), server.socket(), server.socket()
        held += [silent, head, body]
        head.sendall(HEAD)
        body.sendall(HEAD + b"Content-Length: 1000\r\n\r\n")
        for _ in range(8):
            time.sleep(0.1)
            with contextlib.suppress(OSError):  # closed already, on a machine that stood still
                head.sendall(b"X-a: b\r\n")
                body.sendall(b"AAAA")
        assert b" 408 " in head.recv(1000)
        assert b" 408 " in body.recv(1000)
        assert silent.recv(13) in (b"", b"HTTP/1.1 408 ")


def test_tls_handshakes_that_never_end(tmp_path: Path, held: list[socket.socket]) -> None:
    need("openssl")
    authority = Authority(tmp_path, "ca")
    authority.issue("kms")
    options = ("--tls-cert", "kms.pem", "--tls-key", "kms.key")
    with (
        closing(World(tmp_path)) as world,
        serving(
            tmp_path, str(world.where), *options, files=192, limits={"HANDSHAKE_SECONDS": 1}
        ) as server,
    ):
        held += [server.socket() for _ in range(100)]
        for sock in held[::2]:
            sock.sendall(b"\x16\x03\x01\x02\x00\x01")
        for sock in held[1::2]:
            with contextlib.suppress(OSError):
                sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
        ran = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile", "ca.pem",
             "-verify_return_error", "-quiet", "-tls1_2"],
            input=b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
            capture_output=True, cwd=tmp_path, timeout=30,
        )  # fmt: skip
        assert b"HTTP/1.1 200 OK" in ran.stdout, ran.stderr
        assert held[-2].recv(1) == b""  # it was given up
        context = ssl.create_default_context(cafile=str(authority.path))
        with (
            socket.create_connection(("127.0.0.1", server.port), 10) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert tls.recv(15) == b"HTTP/1.1 200 OK"


def test_old_tls_is_refused(tmp_path: Path) -> None:
    need("openssl")
    Authority(tmp_path, "ca").issue("kms")
    options = ("--tls-cert", "kms.pem", "--tls-key", "kms.key")
    with closing(World(tmp_path)) as world, serving(tmp_path, str(world.where), *options) as server:
        for version, good in (("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
            ran = subprocess.run(
                ["openssl", "s_client", "-connect", f"127.0.0.1:{server.port}", version,
                 "-cipher", "DEFAULT@SECLEVEL=0"],
                stdin=subprocess.DEVNULL, capture_output=True, timeout=30,
            )  # fmt: skip
            assert (ran.returncode == 0) == good, version
