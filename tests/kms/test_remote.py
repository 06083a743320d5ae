"""Asking a KMS by URL: what is tried again and what never, and what is said when it fails."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from mikeytool.kms.http_message import MAX_BODY
from mikeytool.kms.remote.connection import Address, Tls, connected
from mikeytool.kms.remote.http_client import KmsClient
from mikeytool.wire.errors import Refused, StateError, Unreachable, UsageError
from tests.kms.certificates import Authority
from tests.world import World

MESSAGE = b"\1 a message"
ANSWER = b"\1 an answer"
Serve = Callable[..., "Listener"]


def reply(status: str = "200 OK", body: bytes = b"", headers: str = "") -> bytes:
    """An answer of a server."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/mikey\r\n{headers}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


BODY = base64.b64encode(MESSAGE)
GOOD = reply(body=base64.b64encode(ANSWER))


class Listener:
    """A server that gives each connection the next of its answers, a list drop by drop."""

    def __init__(self, answers: list[bytes | list[bytes]]) -> None:
        self.received: list[bytes] = []
        self.drops = 0
        self._answers = answers
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for answer in self._answers:
            try:
                sock, _ = self.socket.accept()
            except OSError:
                return
            with sock, contextlib.suppress(OSError):
                sock.settimeout(10)
                received = sock.recv(65536)
                while not received.endswith(BODY):
                    received += sock.recv(65536) or BODY
                self.received.append(received)
                for drop in [answer] if isinstance(answer, bytes) else answer:
                    sock.sendall(drop)
                    self.drops += 1
                    if isinstance(answer, list):
                        time.sleep(0.1)

    def end(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join()


@pytest.fixture
def serve() -> Iterator[Serve]:
    made: list[Listener] = []

    def start(*answers: bytes | list[bytes]) -> Listener:
        made.append(Listener(list(answers)))
        return made[-1]

    yield start
    for one in made:
        one.end()


def ask(url: str, seconds: float = 5) -> bytes:
    return KmsClient(url).ask(MESSAGE, time.monotonic() + seconds)


def test_what_is_sent(serve: Serve) -> None:
    for suffix, path in (
        ("", "/keymanagement"),
        ("/", "/keymanagement"),
        ("/keymanagement", "/keymanagement"),
        ("/a/b/", "/a/b/keymanagement"),
        ("/a/keymanagement", "/a/keymanagement"),
        ("/a?requesttype=ticketrequest", "/a/keymanagement?requesttype=ticketrequest"),
    ):
        server = serve(GOOD)
        assert ask(server.url + suffix) == ANSWER
        head, _, body = server.received[0].partition(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        assert lines[0] == f"POST {path} HTTP/1.1".encode()
        assert b"Content-Type: application/mikey" in lines
        assert f"Host: {server.url[7:]}".encode() in lines
        assert base64.b64decode(body, validate=True) == MESSAGE


def test_binary_answers_are_taken(serve: Serve) -> None:
    assert ask(serve(reply(body=ANSWER)).url) == ANSWER


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (reply("403 Forbidden"), Refused, "--psk"),
        (reply("429 Too Many Requests"), Refused, "minute"),
        (reply("413 Content Too Large"), Refused, "too long"),
        (reply("400 Bad Request"), Unreachable, "no KMS at this address"),
        (reply("404 Not Found"), Unreachable, "no KMS at this address"),
        (reply("415 Unsupported"), Unreachable, "no KMS at this address"),
        (reply("204 No Content"), Unreachable, "no KMS at this address"),
        (reply("302 Found", headers="Location: http://127.0.0.1/\r\n"), Unreachable, "followed"),
        (reply("500 Internal Server Error"), Unreachable, "has failed .HTTP 500"),
        (reply("503 Service Unavailable"), Unreachable, "has failed .HTTP 503"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>", Unreachable, "no KMS"),
        (reply(body=b"A"), Unreachable, "no message"),
        (reply(body=b""), Unreachable, "no message"),
        (reply(body=b"A" * (MAX_BODY + 1)), Unreachable, str(MAX_BODY)),
        (b"", Unreachable, "was closed.*should be https"),
        (b"SSH-2.0-x\r\n", Unreachable, "was closed"),
        (GOOD[:-3], Unreachable, "was closed"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n", Unreachable, "was closed"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nAAAA", Unreachable, "closed"),
    ],
)
def test_what_is_no_answer_is_asked_for_once(
    serve: Serve, answer: bytes, kind: type[Exception], words: str
) -> None:
    """A second try might be a replay."""
    server = serve(answer, GOOD)
    with pytest.raises(kind, match=words) as caught:
        ask(server.url)
    assert server.url in str(caught.value)
    assert len(server.received) == 1


def test_what_was_not_done_is_tried_again(serve: Serve) -> None:
    busy = reply("503 Service Unavailable", headers="Retry-After: 0\r\n")
    server = serve(busy, busy, GOOD)
    assert ask(server.url) == ANSWER
    assert len(set(server.received)) == 1


def test_not_beyond_the_deadline(serve: Serve) -> None:
    server = serve(reply("503 Service Unavailable", headers="Retry-After: 60\r\n"), GOOD)
    with pytest.raises(Unreachable, match="busy"):
        ask(server.url)
    assert len(server.received) == 1


@pytest.mark.parametrize(
    "drip", [[b"HTTP/1.1 200 OK\r\n"] + [b"X: y\r\n"] * 600, [GOOD[:40]] * 600]
)
def test_a_server_that_drips_is_left(serve: Serve, drip: list[bytes]) -> None:
    server = serve(drip)
    with pytest.raises(Unreachable, match="no answer in time"):
        ask(server.url, 0.7)
    server.end()
    assert 0 < server.drops < len(drip)


def test_a_server_that_is_silent_is_left() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(Unreachable, match="no answer in time"):
            ask(f"http://127.0.0.1:{silent.getsockname()[1]}", 0.5)
        with pytest.raises(Unreachable, match="the TLS handshake took too long"):
            ask(f"https://127.0.0.1:{silent.getsockname()[1]}", 0.5)


@pytest.mark.parametrize(
    "url",
    [
        "http://kms.example.com", "http://10.0.0.1", "http://[2001:db8::1]", "ftp://x", "https://",
        "https://a:b@x", "https://a@x", "https://x?a=b#c", "https://x?a= b", "https://x/#a", "https://x:0x",
        "https://x:99999", "https://[::1", "https://x y", "https://\u0444.example",
        "https://x/\u0444", "https://a..b", "https://h;x", "https://h\\.x/", "https://ex%61mple.com",
    ],
)  # fmt: skip
def test_urls_that_are_none(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        Address.of(url)
    assert "a:b" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://x", "/keymanagement"),
        ("https://x/?", "/keymanagement"),
        ("https://x/keymanagement", "/keymanagement"),
        ("https://x/a/keymanagement/", "/a/keymanagement"),
        ("https://x?requesttype=ticketrequest", "/keymanagement?requesttype=ticketrequest"),
        ("https://x/a/?b=c&d=%20", "/a/keymanagement?b=c&d=%20"),
        ("https://x:1/keymanagement?a=/keymanagement", "/keymanagement?a=/keymanagement"),
        ("https://x/keymanagement?a?b", "/keymanagement?a?b"),
    ],
)
def test_a_query_stays_as_it_is(url: str, target: str) -> None:
    """3GPP TS 33.328 names the exchange there, in `requesttype`."""
    assert Address.of(url).target == target


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "[::1]", "localhost"])
def test_plain_http_is_for_this_machine(host: str) -> None:
    assert Address.of(f"http://{host}").port == 80
    assert Address.of(f"https://{host}:1").port == 1


def test_files_for_tls(world: World) -> None:
    authority = Authority(world.folder, "ca")
    authority.issue("me", b"secret")
    empty = world.folder / "empty.pem"
    empty.touch()
    for tls, words in (
        (Tls(ca=str(empty)), "no certificate in"),
        (Tls(ca=str(world.folder / "none.pem")), "No such file"),
        (Tls(client=str(world.folder / "none.pem")), "No such file"),
        (Tls(client=str(authority.path)), "with its private key"),
    ):
        with pytest.raises(StateError, match=words):
            KmsClient("https://localhost", tls)
    both = world.folder / "both.pem"
    both.write_bytes(b"".join((world.folder / f"me.{end}").read_bytes() for end in ("pem", "key")))
    with pytest.raises(StateError, match="without a passphrase"):
        KmsClient("https://localhost", Tls(client=str(both)))


def test_a_slow_resolver_takes_no_longer_than_the_deadline(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done = threading.Event()

    def slow(*_: object, flags: int = 0, **__: object) -> None:
        if flags:
            raise socket.gaierror
        assert done.wait(60)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with pytest.raises(Unreachable, match="in time"):
        ask("https://kms.example.com", 0.5)
    done.set()  # it was not done before


def test_each_address_has_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one is a black hole: nothing is said of connections to it."""
    with socket.socket() as full, socket.create_server(("127.0.0.1", 0)) as good:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        held = [socket.socket() for _ in range(3)]
        for one in held:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", one.getsockname()) for one in (full, good)
        ]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
        made = connected(Address.of("http://localhost"), None, time.monotonic() + 4)
        assert made.getpeername() == good.getsockname()
        for one in (made, *held):
            one.close()
