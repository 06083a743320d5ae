"""One KMS of several nodes on one PostgreSQL: `python -m tests.benchmarks.many_nodes`.

Each node is a server in a network namespace of its own, which a bridge joins to the database. Its
clients are beside it, as a proxy that ends TLS would be. This needs root and `ip`. All of them
share the processors of this machine, so more nodes answer more only while there are processors
left. What to plan with is the processor time of an exchange, at the nodes and at the database.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import NamedTuple
from urllib.parse import quote

from tests.benchmarks.bench_http import CONNECTIONS, PEOPLE, filled, posted
from tests.kms.serving import MIKEYTOOL, asked
from tests.postgres import Server, server
from tests.support import TESTS
from tests.world import World

NODES = 3
EACH = 1_500
"""Exchanges with each node."""

NETWORK = "10.64.43"
BRIDGE = "mikeytool0"
PORT = 8080
_TICKS = os.sysconf("SC_CLK_TCK")


class Node(NamedTuple):
    """A running server and the namespace that it is in."""

    space: str
    process: subprocess.Popen[bytes]


def main() -> None:
    """Print throughput and processor times with one node, two, and three."""
    with ExitStack() as stack:
        stack.enter_context(bridge())
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        database = stack.enter_context(server(f"listen_addresses={NETWORK}.1"))
        with (database.folder / "data" / "pg_hba.conf").open("a") as trusted:
            trusted.write(f"host all all {NETWORK}.0/24 trust\n")
        database.process.send_signal(signal.SIGHUP)
        local = database.new()
        world = filled(folder, local)
        there = local.replace(quote(str(database.folder), safe=""), f"{NETWORK}.1")
        nodes: list[Node] = []
        for number in range(1, NODES + 1):
            nodes.append(stack.enter_context(node(number, folder, there)))
            measure(world, database, nodes)


@contextmanager
def bridge() -> Iterator[None]:
    """The network of the database."""
    ip("link", "add", BRIDGE, "type", "bridge")
    try:
        ip("addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        ip("link", "set", BRIDGE, "up")
        yield
    finally:
        ip("link", "del", BRIDGE)


@contextmanager
def node(number: int, folder: Path, store: str) -> Iterator[Node]:
    """A server of two workers in a namespace, once it listens."""
    space, cable = f"mikeytool-{number}", f"mikeytool{number}"
    ip("netns", "add", space)
    try:
        ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
        ip("link", "set", cable, "master", BRIDGE, "up")
        ip("-n", space, "addr", "add", f"{NETWORK}.{number + 1}/24", "dev", "eth0")
        for link in ("eth0", "lo"):
            ip("-n", space, "link", "set", link, "up")
        log = folder / f"{space}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                ["ip", "netns", "exec", space, MIKEYTOOL, "kms", "serve", store,
                 f"--listen=127.0.0.1:{PORT}", "--workers=2"],
                stdin=subprocess.DEVNULL, stderr=out, cwd=folder,
            )  # fmt: skip
        try:
            while not re.search("listens on", log.read_text()):
                assert process.poll() is None, log.read_text()
                time.sleep(0.05)
            yield Node(space, process)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
    finally:
        ip("netns", "del", space)


def ip(*arguments: str) -> None:
    """Run the command of iproute2."""
    subprocess.run(["ip", *arguments], check=True)


def measure(world: World, database: Server, nodes: Sequence[Node]) -> None:
    """Have all nodes answer at the same time, and print what came of it."""
    lots = [[posted(one) for one in asked(world, EACH, PEOPLE)] for _ in nodes]
    before = [cpu(one.process.pid) for one in nodes], cpu(database.process.pid)
    clients = [load(one, lot) for one, lot in zip(nodes, lots, strict=True)]
    found = [json.loads(client.communicate()[0]) for client in clients]
    after = [cpu(one.process.pid) for one in nodes], cpu(database.process.pid)
    assert all(one["statuses"] == [200] for one in found), [one["statuses"] for one in found]
    total, seconds = EACH * len(nodes), max(one["seconds"] for one in found)
    p99 = quantiles((each for one in found for each in one["each"]), n=100)[98]
    at_nodes = (sum(after[0]) - sum(before[0])) / total
    at_database = (after[1] - before[1]) / total
    print(
        f"{len(nodes)} nodes of 2 workers, {os.cpu_count()} processors for all:"
        f" {total / seconds:,.0f} exchanges/s, p99 {1e3 * p99:.0f} ms; processor time of an"
        f" exchange {1e6 * at_nodes:,.0f} us at a node, {1e6 * at_database:,.0f} us at the"
        " database",
        flush=True,
    )


def load(one: Node, requests: Sequence[bytes]) -> subprocess.Popen[str]:
    """A client that sends requests to a node."""
    client = subprocess.Popen(
        ["ip", "netns", "exec", one.space, sys.executable, "-m", "tests.benchmarks.http_load",
         str(PORT), str(CONNECTIONS)],
        cwd=TESTS.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert client.stdin is not None
    client.stdin.write("\n".join(request.hex() for request in requests))
    client.stdin.close()
    client.stdin = None
    return client


def cpu(process: int) -> float:
    """Seconds of processor time that a process and its children have used."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return (int(fields[11]) + int(fields[12])) / _TICKS + sum(map(cpu, map(int, children)))


if __name__ == "__main__":
    main()
