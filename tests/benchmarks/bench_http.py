"""Exchanges a second over HTTP, against the same server that answers an empty 200.

The requests are made beforehand, of many users; the client is the same for both, and a
process of its own. The two take turns; the ratio is the median of the rounds.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from statistics import median, quantiles

from mikeytool.kms.store.records import NewUser
from mikeytool.storage.sql import Where
from mikeytool.wire.identity import Identity
from tests.kms.serving import Server, asked, serving
from tests.postgres import server
from tests.support import TESTS
from tests.world import World, psk_of

USERS, EACH, ROUNDS, CONNECTIONS = 1000, 1200, 5, 16
PEOPLE = [Identity.from_text(f"sip:{number:04}@example.com") for number in range(USERS)]

EMPTY = b"GET /healthz HTTP/1.1\r\nHost: kms\r\n\r\n"


def main() -> None:
    """Print the comparisons, on SQLite and on PostgreSQL as it is installed."""
    with tempfile.TemporaryDirectory() as folder:
        compare_all("SQLite", filled(Path(folder)))
    with server() as database, tempfile.TemporaryDirectory() as folder:
        compare_all("PostgreSQL", filled(Path(folder), database.new()))


def compare_all(name: str, world: World) -> None:
    """Compare with more and more workers."""
    for workers in (1, 2, 4):
        compare(name, str(world.where), world, workers)


def filled(folder: Path, where: Where = "") -> World:
    """A world whose KMS has many users, who may ask as often as they like."""
    world = World(folder, where=where)
    world.store.add_users(NewUser(one, psk_of(one)) for one in PEOPLE)
    world.store.set_policy(rate=0)
    return world


def compare(name: str, where: str, world: World, workers: int) -> None:
    """Compare exchanges with a store, which has the users of a world, with empty answers."""
    ours, theirs = [], []
    with serving(world.folder, where, "--workers", str(workers)) as running:
        load(running, [EMPTY] * EACH)
        for _ in range(ROUNDS):
            ours.append(load(running, [posted(one) for one in asked(world, EACH, PEOPLE)]))
            theirs.append(load(running, [EMPTY] * EACH))
    rate = EACH / median(seconds for seconds, _ in ours)
    empty = EACH / median(seconds for seconds, _ in theirs)
    ratio = median(their / our for (our, _), (their, _) in zip(ours, theirs, strict=True))
    cut = quantiles((one for _, each in ours for one in each), n=100)
    print(
        f"{name}, {workers} workers: {rate:,.0f} exchanges/s, p50 {cut[49] * 1000:.1f} ms, p99"
        f" {cut[98] * 1000:.1f} ms; empty 200 {empty:,.0f}/s; ratio {ratio:.2f} (aim: 0.4)",
        flush=True,
    )


def posted(message: bytes) -> bytes:
    """A message as the request that it goes in."""
    body = base64.b64encode(message)
    head = "POST /keymanagement HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def load(server: Server, requests: Sequence[bytes]) -> tuple[float, list[float]]:
    """How long a client takes for requests, and for each, in seconds."""
    command = [sys.executable, "-m", "tests.benchmarks.http_load", str(server.port)]
    ran = subprocess.run(
        [*command, str(CONNECTIONS)],
        cwd=TESTS.parent,
        input="\n".join(one.hex() for one in requests),
        capture_output=True,
        check=True,
        text=True,
    )
    found = json.loads(ran.stdout)
    assert found["statuses"] == [200], found["statuses"]
    return found["seconds"], found["each"]


if __name__ == "__main__":
    main()
