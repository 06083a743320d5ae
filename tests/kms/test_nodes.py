"""Several servers on one database are one KMS, also while they and the database crash."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from mikeytool.kms.remote.connection import Tls
from mikeytool.kms.remote.http_client import KmsClient
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import Unreachable
from mikeytool.wire.generate_parser import parser
from mikeytool.wire.header import HDR
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import V
from mikeytool.wire.registry import DataType
from tests.kms.serving import Server, asked, serving
from tests.postgres import Server as Database
from tests.postgres import server
from tests.series import Series
from tests.world import USERS, World

EXCHANGES = 10_000
ANSWERED, REFUSED, NO_ANSWER = "answered", "refused", "no answer"


class Node:
    """A server of two workers, which is started again at its address, as systemd does."""

    def __init__(self, folder: Path, where: str) -> None:
        self._folder, self._where, self._port = folder, where, 0
        self.start()

    def start(self) -> None:
        self._stack = ExitStack()
        self.server: Server = self._stack.enter_context(
            serving(self._folder, self._where, "--workers", "2", port=self._port)
        )
        self._port = self.server.port

    def kill(self) -> None:
        """Kill the server with all of its processes, as a machine that fails does."""
        workers = self.server.workers()
        self.server.process.kill()
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        self._stack.close()

    def kill_a_worker(self) -> None:
        os.kill(self.server.workers()[0], signal.SIGKILL)

    def ask(self, message: bytes) -> str:
        """What the node says to a message, as a client hears it."""
        try:
            answer = KmsClient(self.server.url, Tls()).ask(message, time.monotonic() + 10)
        except Unreachable:
            return NO_ANSWER
        header, _ = parser(HDR)(answer, 0, len(answer), None)
        return ANSWERED if header.data_type == DataType.REQUEST_RESP else REFUSED

    def close(self) -> None:
        self._stack.close()


class Lab:
    """A database, and two nodes on it, which get every message both at once."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.database = database
        self.world = World(folder, where=database.new())
        self.world.store.set_policy(rate=0)
        self.nodes = [Node(folder, str(self.world.where)) for _ in range(2)]
        self.said: list[tuple[bytes, list[str]]] = []
        self._pool, self._beside = ThreadPoolExecutor(16), ThreadPoolExecutor(16)

    def exchange(self, count: int) -> None:
        """Send so many new messages, each to both nodes at the same time."""
        for first in range(0, count, 250):
            messages = asked(self.world, min(250, count - first), USERS)
            self.said += [(one, said) for one, said in self._pool.map(self._both, messages)]

    def _both(self, message: bytes) -> tuple[bytes, list[str]]:
        other = self._beside.submit(self.nodes[1].ask, message)
        return message, [self.nodes[0].ask(message), other.result()]

    def answered(self) -> list[bytes]:
        return [message for message, said in self.said if ANSWERED in said]

    def close(self) -> None:
        self._pool.shutdown()
        self._beside.shutdown()
        for node in self.nodes:
            node.close()
        self.world.store.close()


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with (
        server("fsync=off", "max_connections=200") as database,
        closing(Lab(tmp_path, database)) as made,
    ):
        yield made


def proof(message: bytes) -> bytes:
    """The MAC that the replay cache knows a message by."""
    found = Message.parse(message).find(V)
    assert found is not None
    return found.ver_data


def check_written(lab: Lab) -> None:
    """What was answered is on disk, once; and the store is whole."""
    with closing(Store(lab.world.where)) as store, store.snapshot() as db:
        seen = Counter(bytes(mac) for (mac,) in db.execute("SELECT mac FROM replay"))
        logged = sum(entry.outcome == "answered" for entry in store.log())
    answered = lab.answered()
    assert all(seen[proof(message)] == 1 for message in answered)
    # An answer may have been lost on its way, or with the node that had it.
    assert len(answered) <= logged <= sum(seen.values())


def test_every_message_is_answered_by_one_of_two_nodes(lab: Lab, series: Series) -> None:
    exchanges = series.length(EXCHANGES, 400)
    lab.exchange(exchanges)
    assert Counter(tuple(sorted(said)) for _, said in lab.said) == {(ANSWERED, REFUSED): exchanges}
    check_written(lab)


def test_nodes_and_database_crash_under_load(lab: Lab, series: Series) -> None:
    """No message is answered twice, what was answered is not lost, and clients who ask anew
    are answered without anybody's help.
    """
    steps: list[Callable[[], None]] = [
        lab.nodes[0].kill_a_worker,
        lab.nodes[1].kill,
        lab.nodes[1].start,
        lambda: lab.database.stop(signal.SIGQUIT),  # as when it crashes
        lab.database.start,
        lab.nodes[0].kill_a_worker,
        lambda: lab.database.stop(signal.SIGINT),  # as when it is restarted
        lab.database.start,
        lab.nodes[0].kill,
        lab.nodes[0].start,
    ]
    done, chance = threading.Event(), series.chance()

    def trouble() -> None:
        for step in steps:
            time.sleep(chance.uniform(0.3, 0.9))
            step()
        done.set()

    maker = threading.Thread(target=trouble)
    maker.start()
    while not done.is_set():
        lab.exchange(50)
    maker.join()
    assert not [said for _, said in lab.said if said.count(ANSWERED) > 1]
    counts = Counter(one for _, said in lab.said for one in said)
    assert min(counts[ANSWERED], counts[NO_ANSWER]) > 0
    check_written(lab)
    # Nobody repairs anything: what comes now is answered, and what was answered is not again.
    before = lab.answered()
    lab.said = []
    lab.exchange(100)
    assert Counter(tuple(sorted(said)) for _, said in lab.said) == {(ANSWERED, REFUSED): 100}
    again = [lab.nodes[at % 2].ask(one) for at, one in enumerate(before[-200:])]
    assert set(again) == {REFUSED}
