"""A real server, as the command line starts it, and what tests send it."""

from __future__ import annotations

import base64
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import NamedTuple

from mikeytool.exchange.environment import Environment
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.request import request_init
from mikeytool.kms.http_message import MEDIA_TYPE, PATH
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp
from tests.world import ALICE, KMS, World, psk_of

REAL = Environment(clock=time.time_ns, random=os.urandom)
"""The clock that servers have."""

MIKEYTOOL = str(Path(sys.executable).with_name("mikeytool"))
MIKEY = {"Content-Type": MEDIA_TYPE}


class Reply(NamedTuple):
    """What a server answers."""

    status: int
    headers: dict[str, str]
    body: bytes


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self.process, self.url, self.log = process, url, log
        self.port = int(url.rpartition(":")[2])

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Reply:
        """One request on a connection of its own, without TLS."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            names = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, names, answer.read())
        finally:
            connection.close()

    def send(self, message: bytes) -> Reply:
        """A message, in base64."""
        return self.ask("POST", PATH, base64.b64encode(message), MIKEY)

    def socket(self) -> socket.socket:
        """A connection to send what one likes on."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def workers(self) -> list[int]:
        """The processes of the workers."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in found.split()]

    def metrics(self) -> str:
        """What /metrics says, which is renewed every second."""
        time.sleep(1.1)
        return self.ask("GET", "/metrics").body.decode()

    def end(self, by: signal.Signals = signal.SIGTERM) -> int:
        """End it; gives the exit code."""
        self.process.send_signal(by)
        return self.process.wait(30)


@contextmanager
def serving(
    folder: Path,
    store: str,
    *options: str,
    files: int = 0,
    port: int = 0,
    limits: Mapping[str, float] | None = None,
    **variables: str,
) -> Iterator[Server]:
    """A server of a store, on a free port unless one is given; `files` is how many it may
    have open, and `limits` are other limits of its connections.
    """
    log = folder / f"server-{os.urandom(4).hex()}.log"
    limit = ["/bin/sh", "-c", f'ulimit -n {files}; exec "$@"', "sh"] if files else []
    inherited = {name: value for name, value in os.environ.items() if name[:10] != "MIKEYTOOL_"}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                *limit,
                *_program(limits or {}),
                "kms",
                "serve",
                store,
                f"--listen=127.0.0.1:{port}",
                *options,
            ],
            stdin=subprocess.DEVNULL,
            stderr=out,
            cwd=folder,
            env={**inherited, **variables},
        )
    try:
        yield Server(process, _listens(process, log), log)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)


def _program(limits: Mapping[str, float]) -> list[str]:
    if not limits:
        return [MIKEYTOOL]
    changes = "".join(f"limits.{name} = {value};" for name, value in limits.items())
    code = f"from mikeytool.kms.http import connection_limits as limits; {changes}"
    return [sys.executable, "-c", f"{code} from mikeytool.cli.main import main; main()"]


def _listens(process: subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        found = re.search(r"listens on (\S+),", log.read_text())
        if found is not None:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"the server does not come up: {log.read_text()}")


def asked(world: World, count: int, by: Sequence[Identity] = (ALICE,)) -> list[bytes]:
    """REQUEST_INITs of the present."""
    now = time.time_ns()
    made = []
    for number in range(count):
        who = by[number % len(by)]
        policy = world.policy(
            initiator=who,
            valid_from=Timestamp.at(now, TsType.NTP_UTC_32),
            valid_to=Timestamp.at(now + 3600 * 10**9, TsType.NTP_UTC_32),
        )
        made.append(
            request_init(
                REAL,
                profile_of(policy.prf),
                policy,
                initiator=who,
                kms=KMS,
                psk=psk_of(who),
            ).raw
        )
    return made
