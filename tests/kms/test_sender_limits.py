"""Limits: for who is known, and for who is not (RFC 6043 12.3)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mikeytool.exchange.environment import NS, Environment
from mikeytool.kms.sender_limits import Failures
from mikeytool.kms.service import handle
from mikeytool.kms.store.exchanges import Exchange
from mikeytool.kms.store.records import LogEntry
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo
from tests.world import ALICE, BOB, START, Counting, World

MINUTE = 60 * NS


def octets(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.iterdir()) if "shm" not in path.name]


def test_a_flood_of_forged_messages_costs_few_writes(
    file_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 in the name of a user, the log has the 1st, 2nd, 4th, 8th and 16th."""
    world, written = file_world, 0
    world.handled(world.asked(world.policy()))
    forged = [bytearray(world.asked(world.policy())) for _ in range(20)]
    log = Exchange.log

    def counted(exchange: Exchange, entry: LogEntry) -> None:
        nonlocal written
        written += 1
        log(exchange, entry)

    monkeypatch.setattr(Exchange, "log", counted)
    for message in forged:
        message[-1] ^= 1
        same = octets(world.folder)
        count = written
        handled = handle(world.store, world.env, bytes(message))
        assert handled.refusal is not None
        assert handled.answer is None
        assert (octets(world.folder) == same) == (written == count)
    assert written == 5
    assert [one.outcome for one in world.store.log()] == ["answered", "refused"]


def test_a_source_that_fails_too_often_is_turned_away_for_the_minute() -> None:
    """Other sources are not; `test_http` has it of forged and of unreadable messages."""
    failures, now = Failures(most=3), START // MINUTE * MINUTE
    for _ in range(3):
        failures.check("eve's", now)
        failures.failed("eve's", now)
    with pytest.raises(Refused, match=r"3 messages from eve's .* try again") as refused:
        failures.check("eve's", now + MINUTE - 1)
    assert refused.value.error_no == ErrorNo.AUTH_FAILURE
    failures.check("alice's", now)
    failures.check("eve's", now + MINUTE)


def test_sources_are_forgotten_when_there_are_many() -> None:
    failures = Failures(most=1)
    for number in range(10_001):
        failures.failed(f"source {number}", START)
    failures.check("source 0", START)
    with pytest.raises(Refused):
        failures.check("source 10000", START)


def test_who_asks_too_often_is_refused_for_the_minute(world: World) -> None:
    world.store.set_policy(rate=3)
    world.clock.now = START // MINUTE * MINUTE
    inits = [world.asked(world.policy()) for _ in range(7)]
    refusals = [handle(world.store, world.env, init).refusal for init in inits]
    assert [refusal is None for refusal in refusals] == [True] * 3 + [False] * 4
    assert {refusal.error_no for refusal in refusals if refusal} == {ErrorNo.UNSPECIFIED}
    # The first one that is too much is logged, and nothing is written of the others.
    assert [entry.outcome for entry in world.store.log()] == ["answered"] * 3 + ["refused"]
    world.handled(world.asked(world.policy(initiator=BOB), by=BOB))
    world.clock.now += MINUTE
    world.handled(inits[5])
    with pytest.raises(Refused, match="replay"):
        world.handled(inits[3])


def test_without_a_limit(world: World) -> None:
    world.store.set_policy(rate=0)
    for _ in range(5):
        world.handled(world.asked(world.policy()))
    with world.store.transaction() as db:
        assert db.execute("SELECT count(*) FROM rates").fetchone()[0] == 0
    assert world.store.user(ALICE) is not None


def test_what_was_captured_costs_no_share(file_world: World) -> None:
    """Nobody is locked out with old messages, and they leave nothing but a line in the log."""
    file_world.store.set_policy(rate=3)
    file_world.clock.now = START // MINUTE * MINUTE
    seen = file_world.asked(file_world.policy())
    file_world.handled(seen)
    counted = file_world.asked(
        file_world.policy(), env=Counting(file_world.clock, os.urandom, counter=7)
    )
    file_world.handled(counted)
    stale = Environment(lambda: file_world.clock.now - 301 * NS, os.urandom)
    for message, number in (
        (seen, ErrorNo.AUTH_FAILURE),
        (counted, ErrorNo.INVALID_TS),
        (file_world.asked(file_world.policy(), env=stale), ErrorNo.INVALID_TS),
    ):
        for _ in range(5):
            refusal = handle(file_world.store, file_world.env, message).refusal
            assert refusal is not None
            assert refusal.error_no == number
    refused = [entry for entry in file_world.store.log() if entry.outcome == "refused"]
    assert len(refused) == 3
    file_world.handled(file_world.asked(file_world.policy()))


def test_a_replay_that_comes_at_the_same_time_is_not_written_down(
    file_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both were new when they were looked at without the lock."""
    init = file_world.asked(file_world.policy())
    file_world.handled(init)
    monkeypatch.setattr(type(file_world.store), "check_new", lambda *_: None)
    with pytest.raises(Refused, match="replay"):
        file_world.handled(init)
    with file_world.store.transaction() as db:
        assert db.execute("SELECT count FROM rates").fetchall() == [(1,)]


def test_what_was_captured_does_not_wait_for_the_file(
    file_world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = file_world
    init = world.asked(world.policy())
    world.handled(init)
    for _ in range(2):
        with pytest.raises(Refused, match="replay"):
            world.handled(init)
    monkeypatch.setattr(world.store, "exchange", None)  # the third time none is begun
    with pytest.raises(Refused, match="replay"):
        world.handled(init)
