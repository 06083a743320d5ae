"""Checks of the KMS's room that its other tests do not see."""

from __future__ import annotations

import asyncio
import resource
import socket
import ssl
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.request import accept_request_resp, request_init
from mikeytool.exchange.ticket_policy import wanted_key
from mikeytool.kms.grant import repaired
from mikeytool.kms.http import pool, server, worker
from mikeytool.kms.http.listen import ServerTls
from mikeytool.kms.http.pool import StorePool
from mikeytool.kms.remote.connection import tls_failed
from mikeytool.kms.remote.http_client import KmsClient
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Refused, StateError, Unavailable, Unreachable
from mikeytool.wire.identity import Identity
from mikeytool.wire.payloads import KeyData
from mikeytool.wire.registry import KeyType, TicketFlag
from tests.kms.certificates import Authority
from tests.world import ALICE, KMS, World, psk_of

F = TicketFlag
DESK = Identity.from_text("sip:desk@example.com")
TGK, TEK = wanted_key(KeyType.TGK, 16, 0), wanted_key(KeyType.TEK, 16, 0)


@pytest.mark.parametrize(
    ("flags", "keys", "gets_f"),
    [("G", (), True), ("H", (), False), ("HM", (), True), ("HI", (TGK,), True),
     ("HI", (TEK,), False), ("HI", (), False), ("H", (TGK,), False)],
)  # fmt: skip
def test_flags_that_need_an_answer_set_f(
    flags: str, keys: tuple[KeyData, ...], gets_f: bool
) -> None:
    """RFC 6043 6.10: with G or M, or a TGK that is forked, the responder must answer."""
    assert (F.F in repaired(F.from_letters(flags), keys)) == gets_f


def test_a_ticket_in_the_name_of_a_disabled_user(world: World) -> None:
    """Requested by someone else, who may act as them and is not disabled."""
    world.store.add_user(DESK, psk_of(DESK), Identity.key_name("d"), [str(ALICE)])
    init = request_init(
        world.env, PROFILE_128, world.policy(), initiator=ALICE, kms=KMS, psk=psk_of(DESK),
        psk_id=Identity.key_name("d"),
    )  # fmt: skip
    held = accept_request_resp(world.env, init, psk_of(DESK), world.handled(init.raw)).held
    call = world.call(held)
    world.resolved(call)
    world.store.enable(ALICE, False)
    with pytest.raises(Refused, match=f"the initiator {ALICE} is disabled"):
        world.resolved(call)


@pytest.mark.parametrize(
    ("damage", "words"),
    [("DELETE FROM kms", "its creation was cut short"),
     ("DELETE FROM seal", "nothing of its sealing key")],
)  # fmt: skip
def test_a_store_that_lost_a_row(file_world: World, damage: str, words: str) -> None:
    with file_world.store.transaction() as db:
        db.execute(damage)
    with closing(Store(file_world.where)) as store, pytest.raises(StateError, match=words):
        store.psk(store.users()[0]), store.identity


def test_messages_that_waited_too_long_are_not_begun(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[Store] = []

    async def main() -> None:
        stores = StorePool(lambda: Store(world.where), 1)
        try:
            monkeypatch.setattr(pool, "MAX_AGE", -1.0)
            with pytest.raises(Unavailable, match="wait too long"):
                await stores.run(done.append)
        finally:
            stores.close()

    asyncio.run(main())
    assert done == []


def test_files_for_tls_that_cannot_be_used(tmp_path: Path) -> None:
    Authority(tmp_path, "CA").issue("server")
    cert, key, ca = tmp_path / "server.pem", tmp_path / "server.key", tmp_path / "CA.pem"
    assert ServerTls(cert, key, None, bytes).context.verify_mode == ssl.CERT_NONE
    assert ServerTls(cert, key, ca, bytes).context.verify_mode == ssl.CERT_REQUIRED
    for missing in range(3):
        files = [cert, key, ca]
        files[missing] = tmp_path / "nothing"
        with pytest.raises(StateError, match="nothing: No such file"):
            ServerTls(files[0], files[1], files[2], bytes)
    with pytest.raises(StateError, match=r"server\.key: there is no certificate"):
        ServerTls(cert, key, key, bytes)


def test_why_tls_fails() -> None:
    address = KmsClient("https://localhost:1").address
    error = ssl.SSLError(1, "x")
    error.reason = ""
    assert "no reason given" in str(tls_failed(address, error))
    error.reason = "WRONG_VERSION_NUMBER"
    assert "wrong version number" in str(tls_failed(address, error))


def test_https_to_a_port_that_speaks_http() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"HTTP/1.1 400 Bad Request\\r\\n\\r\\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(Unreachable, match=r"TLS fails .*check that the port is one for https"):
            KmsClient(f"https://127.0.0.1:{listening.getsockname()[1]}").ask(
                b"x", time.monotonic() + 20
            )
        thread.join()


@pytest.mark.parametrize(("files", "good"), [(63, False), (64, True), (200, True)])
def test_how_many_files_a_worker_needs(
    monkeypatch: pytest.MonkeyPatch, files: int, good: bool
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    if good:
        assert worker._most_connections() == max(16, files - 128)
    else:
        with pytest.raises(StateError, match="only 63 files"):
            worker._most_connections()


def test_a_worker_that_does_not_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Process:
        def __init__(self, hangs: bool) -> None:
            self.alive = hangs
            self.calls: list[str] = []

        def __getattr__(self, name: str) -> Any:
            return lambda *_: self.calls.append(name)

        def is_alive(self) -> bool:
            return self.alive

    class Listening:
        def close(self) -> None:
            pass

    workers: Any = server._Workers.__new__(server._Workers)
    processes = [Process(True), Process(False)]
    workers._settings = type("Settings", (), {"listening": Listening()})
    workers._running = [server._WorkerProcess(one, None, 0.0) for one in processes]  # type: ignore[arg-type]
    workers.end()
    assert processes[0].calls == ["terminate", "join", "kill", "join"]
    assert processes[1].calls == ["terminate", "join"]
