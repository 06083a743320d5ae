"""The KMS over HTTP: a real server, asked by http.client and by curl."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mikeytool.exchange.request import accept_request_resp, read_request_init
from mikeytool.kms.http_message import MAX_BODY, PATH, read_body
from mikeytool.kms.sender_limits import MAX_FAILURES
from mikeytool.wire.errors import WireError
from mikeytool.wire.message import Message
from mikeytool.wire.registry import DataType
from tests.kms.serving import MIKEY, REAL, Reply, Server, asked, serving
from tests.peers.programs import need
from tests.world import ALICE, BOB, EVE, World, psk_of


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Server]]:
    with (
        closing(World(tmp_path_factory.mktemp("kms"))) as world,
        serving(world.folder, str(world.where)) as server,
    ):
        yield world, server


@pytest.fixture
def world(everything: tuple[World, Server]) -> World:
    return everything[0]


@pytest.fixture
def server(everything: tuple[World, Server]) -> Server:
    return everything[1]


def problem(reply: Reply, status: int) -> str:
    """What a problem says, which is one all over."""
    assert reply.status == status
    assert reply.headers["content-type"] == "application/problem+json"
    assert reply.headers["cache-control"] == "no-store"
    content = json.loads(reply.body)
    assert (content["type"], content["status"]) == ("about:blank", status)
    assert content["title"]
    detail: str = content["detail"]
    return detail


def counted(server: Server) -> dict[tuple[str, str], float]:
    """Exchange and outcome of what was counted."""
    return {
        (sample.labels["exchange"], sample.labels["outcome"]): sample.value
        for family in text_string_to_metric_families(server.metrics())
        for sample in family.samples
        if sample.name == "mikeytool_kms_exchanges_total"
    }


def test_a_request_is_answered_as_it_comes(world: World, server: Server) -> None:
    one, other, third = asked(world, 3)
    reply = server.send(one)
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/mikey"
    assert reply.headers["cache-control"] == "no-store"
    accept_request_resp(
        REAL, read_request_init(one), psk_of(ALICE), base64.b64decode(reply.body, validate=True)
    )
    plain = server.ask("POST", PATH, other, {"Content-Type": "Application/MIKEY; x=y"})
    accept_request_resp(REAL, read_request_init(other), psk_of(ALICE), plain.body)
    lines = base64.encodebytes(third).replace(b"+", b"-").replace(b"/", b"_").replace(b"=", b"")
    wrapped = server.ask("POST", PATH, b" \r\n" + lines, MIKEY)
    accept_request_resp(
        REAL, read_request_init(third), psk_of(ALICE), base64.b64decode(wrapped.body)
    )


def test_a_replay_gets_an_error_message(world: World, server: Server) -> None:
    (init,) = asked(world, 1)
    assert Message.read(read_body(server.send(init).body)[0]).header.data_type == (
        DataType.REQUEST_RESP
    )
    again = server.send(init)
    assert again.status == 200
    assert Message.read(read_body(again.body)[0]).header.data_type == DataType.ERROR


def test_who_is_not_known_learns_nothing(world: World, server: Server) -> None:
    """Neither whether there is such a user nor what was wrong with the key."""
    (init,) = asked(world, 1)
    forged = init[:-1] + bytes([init[-1] ^ 1])
    stranger = init.replace(ALICE.data, b"sip:alicx@example.com")
    assert stranger != init
    replies = [server.send(forged), server.send(stranger)]
    assert len({problem(reply, 403) for reply in replies}) == 1
    assert replies[0].body == replies[1].body
    assert "alic" not in server.log.read_text()


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "status", "words"),
    [
        ("GET", PATH, None, {}, 405, "POSTed"),
        ("POST", "/", b"x", {}, 404, PATH),
        ("POST", "/healthz", b"x", {}, 405, ""),
        ("POST", PATH, b"AAAA", {}, 415, "application/mikey"),
        ("POST", PATH, b"AAAA", {"Content-Type": "text/plain"}, 415, "application/mikey"),
        ("POST", PATH, b"", MIKEY, 400, "empty"),
        ("POST", PATH, b"A", MIKEY, 400, "base64"),
        ("POST", PATH, b"AQsA", MIKEY, 400, "HDR"),
        ("POST", PATH, b"\1\x0b\0", MIKEY, 400, "HDR"),
        ("POST", PATH, b"\xff" * 40, MIKEY, 400, ""),
        ("POST", PATH, b"\1" * (MAX_BODY + 1), MIKEY, 413, str(MAX_BODY)),
        ("GET", "/groups", None, {}, 401, ""),
    ],
)
def test_what_is_no_message(
    server: Server,
    method: str,
    path: str,
    body: bytes | None,
    headers: dict[str, str],
    status: int,
    words: str,
) -> None:
    reply = server.ask(method, path, body, headers)
    assert words in problem(reply, status)
    assert ("allow" in reply.headers) == (status == 405)
    assert ("www-authenticate" in reply.headers) == (status == 401)


def test_what_is_no_http(server: Server) -> None:
    with server.socket() as sock:
        sock.sendall(b"\x16\x03\x01 what is this?\r\n\r\n")
        reply = sock.makefile("rb").read()
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body)["status"] == 400


@pytest.mark.parametrize("host", ["[", "[::1", "]", "a]b", "x:y", "//", "?#", "@", "%00", "\xff"])
@pytest.mark.parametrize(
    "path", ["/groups?member=a", "/groups", "/healthz", PATH, "/[", "//[", "*"]
)
def test_no_host_and_no_path_is_a_fault(server: Server, host: str, path: str) -> None:
    with server.socket() as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode("latin-1"))
        status = int(sock.recv(12).split()[1])
    assert status in (200, 400, 401, 404, 405)
    assert "bug" not in server.log.read_text()
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_head_of_many_lines_is_not_taken_apart(server: Server, end: bytes) -> None:
    """Behind another request as well, and before it is complete."""
    start = b"GET /healthz HTTP/1.1" + end + b"Host: x" + end
    with server.socket() as sock:
        sock.sendall(start + (b"a:" + end) * 90 + end)
        assert sock.recv(12) == b"HTTP/1.1 200"
    for first, rest in ((b"", end), (b"", b""), (start + end, end)):
        with server.socket() as sock:
            sock.sendall(first + start + (b"a:" + end) * 3000 + rest)
            answers = sock.makefile("rb").read()
            assert answers.count(b"HTTP/1.1 200") == bool(first)
            assert answers.count(b"HTTP/1.1 431") == 1


def test_a_body_that_is_longer_than_it_may_be_is_not_read(server: Server) -> None:
    """It says so itself; what comes in chunks does not, and is not taken at all."""
    with server.socket() as sock:
        head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/mikey\r\n"
        sock.sendall(f"{head}Content-Length: 1000000000\r\n\r\n".encode())
        assert b" 413 " in sock.makefile("rb").read()
    with server.socket() as sock:
        both = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(f"{head}{both}0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = sock.makefile("rb").read()
        assert answer.count(b"HTTP/1.1 ") == 1
        assert b" 411 " in answer


def test_requests_one_behind_the_other(world: World, server: Server) -> None:
    inits = asked(world, 3)
    with server.socket() as sock:
        for init in inits:
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Type: application/mikey\r\n"
            sock.sendall(f"{head}Content-Length: {len(init)}\r\n\r\n".encode() + init)
        reply = b""
        while reply.count(b"HTTP/1.1 200 OK") < 3:
            received = sock.recv(65536)
            assert received
            reply += received


def test_what_curl_says(world: World, server: Server) -> None:
    need("curl")
    (init,) = asked(world, 1)
    (world.folder / "init").write_bytes(base64.b64encode(init))

    def curl(*options: str) -> str:
        ran = subprocess.run(
            ["curl", "-s", "-w", "%{stderr}%{http_code} %{content_type}", *options],
            capture_output=True,
            cwd=world.folder,
            check=True,
        )
        return ran.stderr.decode()

    post = ("-H", "Content-Type: application/mikey", "--data-binary", "@init")
    assert curl(*post, server.url + PATH) == "200 application/mikey"
    assert curl(*post, server.url + "/x") == "404 application/problem+json"
    assert curl("-T", "init", server.url + PATH) == "405 application/problem+json"
    assert curl(*post, "-H", "Transfer-Encoding: chunked", server.url + PATH).startswith("411 ")
    assert curl(*post, "-H", "Upgrade: h2c", server.url + PATH).startswith("200 ")
    assert curl(*post, server.url + PATH + "/") == "404 application/problem+json"
    (world.folder / "init").write_bytes(b"A" * 3_000_000)
    assert curl(*post, server.url + PATH) == "413 application/problem+json"
    assert curl(f"{server.url}/healthz").startswith("200 ")
    assert curl(f"{server.url}/metrics").startswith("200 text/plain")


def test_what_is_counted(world: World, server: Server) -> None:
    before = counted(server)
    good, bad = asked(world, 2)
    for message in (good, good, bad[:-1] + bytes([bad[-1] ^ 1]), b"\1"):
        server.send(message)
    more = {key: value - before.get(key, 0) for key, value in counted(server).items()}
    assert {key: value for key, value in more.items() if value} == {
        ("request", "answered"): 1,
        ("request", "refused"): 1,
        ("request", "unauthenticated"): 1,
        ("other", "unreadable"): 1,
    }
    families = {one.name: one for one in text_string_to_metric_families(server.metrics())}
    assert families["mikeytool_kms_exchange_seconds"].type == "histogram"
    assert families["mikeytool_kms_connections"].samples[0].value >= 1


def test_ready_as_long_as_the_store_can_be_read(tmp_path: Path) -> None:
    with closing(World(tmp_path)) as world, serving(tmp_path, str(world.where)) as server:
        assert server.ask("GET", "/healthz").status == 200
        assert server.ask("GET", "/readyz").status == 200
        with world.store.transaction() as db:
            db.execute("UPDATE tpks SET tpk = x'00'")
        reply = server.ask("GET", "/readyz")
        assert problem(reply, 503) == "the store cannot be used"
        assert reply.headers["retry-after"] == "1"
        assert server.ask("GET", "/healthz").status == 200
        (init,) = asked(world, 1)
        assert "tpk" not in problem(server.send(init), 500)
        assert "does not open" in server.log.read_text()
        assert "Traceback" not in server.log.read_text()


FORWARDED = {**MIKEY, "X-Forwarded-For": "192.0.2.7"}


def test_what_a_proxy_says_of_its_clients_is_believed(tmp_path: Path) -> None:
    with (
        closing(World(tmp_path)) as world,
        serving(tmp_path, str(world.where), "--proxy", "127.0.0.1") as server,
    ):
        for _ in range(MAX_FAILURES * 2):
            server.ask("POST", PATH, b"\1", FORWARDED)
        (init,) = asked(world, 1)
        assert server.ask("POST", PATH, init, FORWARDED).status == 429
        other = {**MIKEY, "X-Forwarded-For": "192.0.2.7, 192.0.2.8"}
        assert server.ask("POST", PATH, init, other).status == 200
        assert server.ask("GET", "/healthz", None, FORWARDED).status == 429
        assert server.ask("GET", "/healthz").status == 200  # of the proxy itself


def test_a_source_that_fails_too_often_is_turned_away(tmp_path: Path) -> None:
    with closing(World(tmp_path)) as world, serving(tmp_path, str(world.where)) as server:
        if time.time() % 60 > 50:
            time.sleep(60 - time.time() % 60)  # counts are of a minute
        statuses = [server.send(b"\1").status for _ in range(MAX_FAILURES * 2 + 1)]
        assert statuses[0] == 400
        assert statuses[-1] == 429
        (init,) = asked(world, 1)
        reply = server.send(init)
        assert "try again" in problem(reply, 429)
        assert reply.headers["retry-after"] == "60"
        for path in ("/", "/healthz", "/readyz", "/metrics", "/groups?member=a", PATH):
            for method in ("GET", "POST"):
                assert server.ask(method, path).status == 429
        assert server.ask("POST", PATH, init, FORWARDED).status == 429


def test_who_is_shut_out_is_told_so(world: World, server: Server) -> None:
    world.store.enable(EVE, False)
    (init,) = asked(world, 1, [EVE])
    reply = server.send(init)
    assert reply.status == 200
    assert Message.read(read_body(reply.body)[0]).header.data_type == DataType.ERROR
    (init,) = asked(world, 1, [BOB])
    assert server.send(init).status == 200


@pytest.mark.parametrize("body", [b"", b"   ", b"=", b"A", b"AA=A", b"abcde"])
def test_bodies_that_hold_nothing(body: bytes) -> None:
    with pytest.raises(WireError):
        read_body(body)
