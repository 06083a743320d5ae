"""Messages that share a transaction: each gets what it would get alone, and no answer leaves
before the transaction is on disk.
"""

from __future__ import annotations

import base64
import os
import signal
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.received import ReceivedMessage
from mikeytool.kms.service import finish, handle, handle_together
from mikeytool.kms.store.batches import Batch
from mikeytool.kms.store.exchanges import Exchange
from mikeytool.kms.store.store import Store
from mikeytool.storage.sqlite import SqliteDatabase
from mikeytool.wire.errors import Refused, StateError, WireError
from mikeytool.wire.registry import DataType
from tests.kms.crashing import child, read_all
from tests.kms.serving import Server, asked, serving
from tests.series import Series
from tests.world import ALICE, BOB, CAROL, EVE, USERS, World, psk_of


def outcomes(store: Store, world: World, messages: Sequence[bytes]) -> list[str]:
    """What becomes of each of some messages that are handled together."""
    return [outcome(one, store) for one in handle_together(store, world.env, messages)]


def outcome(message: ReceivedMessage, store: Store) -> str:
    try:
        refusal = finish(message, store).refusal
    except Exception as error:
        return type(error).__name__
    return "answered" if refusal is None else str(refusal)


def written(world: World) -> tuple[int, int]:
    """How many messages are in the replay cache, and in the log as answered."""
    with world.store.snapshot() as db:
        seen: int = db.execute("SELECT count(*) FROM replay").fetchone()[0]
    return seen, sum(one.outcome == "answered" for one in world.store.log())


def fresh(world: World, count: int) -> list[bytes]:
    return [world.asked(world.policy()) for _ in range(count)]


def test_each_gets_what_it_would_get_alone(world: World) -> None:
    world.store.add_rule(Rule(True, "*", "*"))
    world.store.add_rule(Rule(False, "sip:carol@*", "*"))
    seen = world.asked(world.policy())
    world.handled(seen)
    twice = world.asked(world.policy())
    old = world.asked(world.policy())
    world.clock.now += 400 * 10**9
    forged = bytearray(world.asked(world.policy()))
    forged[-1] ^= 1
    messages = [
        *fresh(world, 3),
        seen,
        twice,
        twice,
        old,
        bytes(forged),
        world.asked(world.policy(initiator=CAROL), by=CAROL),
        b"\x01",
        *fresh(world, 2),
    ]
    found = outcomes(world.store, world, messages)
    good = [at for at, one in enumerate(found) if one == "answered"]
    assert good == [0, 1, 2, 10, 11]
    assert "behind this clock" in found[3] or "older" in found[3]
    assert "MAC" in found[7]
    assert "denies" in found[8]
    assert found[9] == WireError.__name__
    # One by one, nothing of it is answered again.
    for message in messages[:-3]:
        with pytest.raises((Refused, WireError)):
            world.handled(message)


def test_the_same_message_twice_at_once(world: World) -> None:
    message = world.asked(world.policy())
    found = outcomes(world.store, world, [message, *fresh(world, 2), message])
    assert found[:3] == ["answered"] * 3
    assert "replay" in found[3]
    assert written(world) == (3, 3)


def test_the_rate_counts_each_of_them(world: World) -> None:
    world.store.set_policy(rate=3)
    world.clock.now = world.clock.now // (60 * 10**9) * (60 * 10**9)
    found = outcomes(world.store, world, fresh(world, 6))
    assert found[:3] == ["answered"] * 3
    assert all("more than 3" in one for one in found[3:])
    # The first above the rate is recorded, the others leave nothing but lines in the log.
    assert written(world) == (4, 3)


@pytest.mark.parametrize("error", [ZeroDivisionError("a bug"), StateError("its key is damaged")])
def test_one_that_fails_takes_nothing_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Also after it has written something."""
    messages = fresh(world, 5)
    decide = ReceivedMessage.decide

    def fails(message: ReceivedMessage, exchange: Exchange) -> None:
        decide(message, exchange)
        if message._data == messages[2]:
            raise error

    monkeypatch.setattr(ReceivedMessage, "decide", fails)
    found = outcomes(world.store, world, messages)
    monkeypatch.undo()
    assert found == ["answered", "answered", type(error).__name__, "answered", "answered"]
    assert written(world) == (4, 4)
    # Nothing is left of it: it may come again.
    assert handle(world.store, world.env, messages[2]).refusal is None


def test_a_key_that_does_not_open_is_the_fault_of_one(file_world: World) -> None:
    world = file_world
    with world.store.transaction() as db:
        db.execute("UPDATE users SET psk = ? WHERE id = ?", (b"x" * 60, EVE.data))
    eve = world.asked(world.policy(initiator=EVE), by=EVE)
    found = outcomes(world.store, world, [*fresh(world, 1), eve, *fresh(world, 1)])
    assert found == ["answered", "StateError", "answered"]


def test_a_transaction_that_fails_answers_nobody(
    file_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the disk is full, SQLite may have undone all of it already."""
    world, messages = file_world, fresh(file_world, 4)
    write = Batch.write

    def full(batch: Batch, *what: Any) -> None:
        write(batch, *what)
        batch.db.execute("ROLLBACK")
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Batch, "write", full)
    with pytest.raises(StateError):
        handle_together(world.store, world.env, messages)
    monkeypatch.undo()
    assert written(world) == (0, 0)
    assert outcomes(world.store, world, messages) == ["answered"] * 4


def test_a_change_by_an_operator_reaches_all_of_them(world: World) -> None:
    world.held()
    with closing(Store(world.where)) as operator:
        operator.enable(ALICE, False)
    others = [world.asked(world.policy(initiator=who), by=who) for who in (BOB, CAROL)]
    found = outcomes(world.store, world, [*fresh(world, 2), *others])
    assert "disabled" in found[0]
    assert "disabled" in found[1]
    assert found[2:] == ["answered"] * 2
    with closing(Store(world.where)) as operator:
        operator.enable(ALICE, True)
        operator.rekey(BOB, b"n" * 32)
    others = [world.asked(world.policy(initiator=who), by=who) for who in (BOB, CAROL)]
    found = outcomes(world.store, world, [*fresh(world, 2), *others])
    assert [one == "answered" for one in found] == [True, True, False, True]
    assert psk_of(BOB) != b"n" * 32


# --- crashes ----------------------------------------------------------------------------------


def die(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def within_the_batch(patch: pytest.MonkeyPatch) -> None:
    write = Batch.write

    def dies(batch: Batch, *what: Any) -> None:
        write(batch, *what)
        die()

    patch.setattr(Batch, "write", dies)


def before_the_commit(patch: pytest.MonkeyPatch) -> None:
    ended = ReceivedMessage.decide
    left = [5]

    def dies(message: ReceivedMessage, exchange: Exchange) -> None:
        ended(message, exchange)
        left[0] -= 1
        if not left[0]:
            die()

    patch.setattr(ReceivedMessage, "decide", dies)


def after_the_commit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Exchange, "ended", die)


@pytest.mark.parametrize(
    ("when", "on_disk"),
    [(within_the_batch, 0), (before_the_commit, 0), (after_the_commit, 5)],
)
def test_a_process_that_is_killed(
    tmp_path: Path, when: Callable[[pytest.MonkeyPatch], None], on_disk: int
) -> None:
    """All of the transaction is there or nothing, and no message is ever answered twice."""
    with closing(World(tmp_path)) as world:
        messages = fresh(world, 5)
        world.store.close()  # it must not be used on both sides of a fork

        def work(pipe: int) -> None:
            with pytest.MonkeyPatch.context() as patch, closing(Store(world.where)) as store:
                when(patch)
                os.write(pipe, f"{outcomes(store, world, messages)}".encode())

        process, pipe = child(work)
        said = read_all(pipe)
        assert os.WTERMSIG(os.waitpid(process, 0)[1]) == signal.SIGKILL
        assert not said
        world.store = Store(world.where, clock=world.clock)
        assert written(world) == (on_disk, on_disk)
        again = outcomes(world.store, world, messages)
        assert again.count("answered") == 5 - on_disk
        assert written(world) == (5, 5)


def test_the_answers_come_after_the_commit(
    file_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit that fails leaves no answer behind."""

    def fails(_database: object) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(SqliteDatabase, "_commit", fails)
    with pytest.raises(StateError, match="disk I/O"):
        handle_together(file_world.store, file_world.env, fresh(file_world, 3))
    monkeypatch.undo()
    assert written(file_world) == (0, 0)


def test_a_server_whose_workers_are_killed_under_load(tmp_path: Path, series: Series) -> None:
    """What a client got is on disk, once; what it sends again is not answered again."""
    with (
        closing(World(tmp_path)) as world,
        serving(tmp_path, str(world.where), "--workers", "2") as server,
        ThreadPoolExecutor(16) as pool,
    ):
        world.store.set_policy(rate=0)
        chance = series.chance()
        answered: list[bytes] = []
        for _ in range(series.length(20, 4)):
            messages = asked(world, 150, USERS)
            replies = [pool.submit(replied, server, one) for one in messages]
            time.sleep(chance.uniform(0, 0.15))
            os.kill(chance.choice(server.workers()), signal.SIGKILL)
            answered += [
                one for one, reply in zip(messages, replies, strict=True) if reply.result()
            ]
            time.sleep(1.1)  # the server starts another worker
        assert answered
        with world.store.snapshot() as db:
            seen = {bytes(mac) for (mac,) in db.execute("SELECT mac FROM replay")}
        assert {one[-20:] for one in answered} <= seen
        again = answered[-100:]
        assert not any(pool.map(lambda one: replied(server, one), again))


def replied(server: Server, message: bytes) -> bool:
    """Whether a server answers with a ticket."""
    try:
        reply = server.send(message)
    except OSError:
        return False
    return reply.status == 200 and base64.b64decode(reply.body)[1] == DataType.REQUEST_RESP
