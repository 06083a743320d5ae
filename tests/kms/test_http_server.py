"""Workers of one server: nothing is answered twice, the dead are replaced, the end is in peace."""

from __future__ import annotations

import base64
import os
import signal
import ssl
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
from tests.kms.certificates import Authority
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
        until(lambda: not any(is_there(pid) for pid in workers))


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


def test_nothing_is_left_in_the_temporary_folder(file_world: World) -> None:
    """Whatever the end is: of the parent alone, or of all processes at once."""
    folder = file_world.folder / "tmp"
    folder.mkdir()
    options = (str(file_world.where), "--workers", "2")
    for too in (False, True):
        with serving(file_world.folder, *options, TMPDIR=str(folder)) as server:
            assert server.ask("GET", "/metrics").status == 200
            workers = server.workers()
            server.process.kill()
            for pid in workers if too else []:
                os.kill(pid, signal.SIGKILL)
            server.process.wait(30)
            until(lambda pids=workers: not any(is_there(pid) for pid in pids))  # type: ignore[misc]
        assert not list(folder.iterdir())


def test_counters_are_those_of_all_workers(file_world: World) -> None:
    """Also of those that have been replaced."""
    with serving(file_world.folder, str(file_world.where), "--workers", "3") as server:
        for number in range(12):
            assert server.send(b"\1").status == 400
            if number == 6:
                killed = server.workers()[0]
                os.kill(killed, signal.SIGKILL)
                until(lambda gone=killed: len({*server.workers(), gone}) == 4)  # type: ignore[misc]
        unreadable = 'mikeytool_kms_exchanges_total{exchange="other",outcome="unreadable"} 12.0'
        assert unreadable in server.metrics().splitlines()


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").exists()


def test_a_server_that_is_stopped_goes_on_when_it_is_continued(file_world: World) -> None:
    """Parent and workers: no call that this interrupts is taken for a signal to end."""
    with serving(file_world.folder, str(file_world.where), "--workers", "2") as server:
        workers = server.workers()
        for pid in [server.process.pid, *workers] * 5:
            os.kill(pid, signal.SIGSTOP)
            until(lambda pid=pid: state(pid) == "T")  # type: ignore[misc]
            os.kill(pid, signal.SIGCONT)
            until(lambda pid=pid: state(pid) != "T")  # type: ignore[misc]
        assert server.process.poll() is None
        os.kill(workers[0], signal.SIGKILL)
        until(lambda: len(server.workers()) == 2 and workers[0] not in server.workers())
        assert kind(server, asked(file_world, 1)[0]) == ANSWER
        assert server.end() == 0


def state(pid: int) -> str:
    """The state of a process, T when it is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def certificate(server: Server) -> bytes:
    """The certificate that a server shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with server.socket() as sock, context.wrap_socket(sock) as tls:
        return tls.getpeercert(binary_form=True) or b""


def issued(folder: Path, authority: Authority, passphrase: bytes) -> bytes:
    authority.issue("kms", passphrase)
    return ssl.PEM_cert_to_DER_cert((folder / "kms.pem").read_text())


def is_kept(server: Server) -> int:
    """How often it said that it keeps the certificate that it has."""
    return server.log.read_text().count("is kept")


def test_hangup_reads_the_certificate_again(file_world: World) -> None:
    """Without asking for the passphrase; what is no certificate changes nothing."""
    folder = file_world.folder
    authority = Authority(folder, "ca")
    first = issued(folder, authority, b"secret")
    options = ("--tls-cert", "kms.pem", "--tls-key", "kms.key", "--workers", "2")
    with serving(
        folder, str(file_world.where), *options, MIKEYTOOL_KEY_PASSPHRASE="secret"
    ) as server:
        workers = server.workers()
        assert {certificate(server) for _ in range(8)} == {first}
        second = issued(folder, authority, b"secret")
        assert {certificate(server) for _ in range(8)} == {first}
        server.process.send_signal(signal.SIGHUP)
        until(lambda: {certificate(server) for _ in range(8)} == {second})
        good = (folder / "kms.pem").read_bytes()
        issued(folder, authority, b"another")
        other = (folder / "kms.pem").read_bytes()
        for spoilt in (b"", good[:300], good, other):
            (folder / "kms.pem").write_bytes(spoilt)
            time.sleep(1.1)  # the same line is logged once a second
            before = is_kept(server)
            server.process.send_signal(signal.SIGHUP)
            until(lambda before=before: is_kept(server) > before)  # type: ignore[misc]
        assert {certificate(server) for _ in range(8)} == {second}
        assert server.workers() == workers
        os.kill(workers[0], signal.SIGKILL)  # the one in its place has what the parent has
        until(lambda: len(server.workers()) == 2 and workers[0] not in server.workers())
        assert {certificate(server) for _ in range(8)} == {second}
        assert "Traceback" not in server.log.read_text()
        assert server.end() == 0


def test_hangup_does_not_end_a_server_without_tls(file_world: World) -> None:
    with serving(file_world.folder, str(file_world.where)) as server:
        for pid in (server.process.pid, server.workers()[0]):
            os.kill(pid, signal.SIGHUP)
        assert kind(server, asked(file_world, 1)[0]) == ANSWER
        assert server.end() == 0
