"""The replay cache: no message is accepted twice, whatever the clock does meanwhile
(RFC 3830 5.4, interpretations 30 and 31).
"""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing

import pytest

from mikeytool.exchange.environment import DEFAULT_SKEW, NS, Environment
from mikeytool.exchange.request import read_request_init
from mikeytool.kms.service import handle
from mikeytool.kms.store.store import Store
from mikeytool.storage import replay
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import ErrorNo, TsType
from mikeytool.wire.timestamp import Timestamp
from tests.world import ALICE, BOB, YEAR, Counting, World, psk_of

SKEW = DEFAULT_SKEW * NS


class Ticking:
    """A clock that goes on by the same step at every look."""

    def __init__(self, now: int, step: int) -> None:
        self.now, self.step = now - step, step

    def __call__(self) -> int:
        self.now += self.step
        return self.now


def ticking(now: int, step: int) -> Environment:
    return Environment(clock=Ticking(now, step), random=os.urandom)


def sent_at(raw: bytes) -> int:
    sent = read_request_init(raw).incoming.t.unix_ns
    assert sent is not None
    return sent


@pytest.mark.parametrize("looks", range(7))
def test_a_window_that_ends_while_a_message_is_handled(world: World, looks: int) -> None:
    """Interpretation 30: what is forgotten is not accepted any more, in whatever order the
    KMS looks at the clock. The window ends after so many looks.
    """
    step = 1_000_000
    init = world.asked(world.policy())
    world.handled(init)
    env = ticking(sent_at(init) + SKEW - looks * step + step // 2, step)
    for _ in range(3):
        assert handle(world.store, env, init).refusal is not None


@pytest.mark.parametrize("looks", range(7))
def test_a_message_that_comes_first_when_its_window_ends(world: World, looks: int) -> None:
    """Interpretation 30: it is accepted once or not at all."""
    step = 1_000_000
    init = world.asked(world.policy())
    outcomes = []
    for _ in range(4):
        env = ticking(sent_at(init) + SKEW - looks * step + step // 2, step)
        outcomes.append(handle(world.store, env, init).refusal is None)
    assert sum(outcomes) <= 1


def test_a_clock_that_was_a_year_ahead_and_came_back(world: World) -> None:
    """Interpretation 30: whoever asks at the right time is answered, nobody twice."""
    before = world.asked(world.policy())
    world.handled(before)
    there = world.clock.now
    world.clock.now += YEAR
    ahead = world.asked(world.policy())
    world.handled(ahead)
    for later in (1, 60, 86400, YEAR // NS - 3600):
        world.clock.now = there + later * NS
        init = world.asked(world.policy())
        world.handled(init)
        with pytest.raises(Refused, match="replay"):
            world.handled(init)
        with pytest.raises(Refused):
            world.handled(before)
    world.clock.now = there + YEAR + 60 * NS
    with pytest.raises(Refused, match="replay"):
        world.handled(ahead)


@pytest.mark.parametrize("seed", range(4))
def test_no_message_is_accepted_twice_whatever_the_clock_does(world: World, seed: int) -> None:
    """Interpretation 30: the clock jumps to and fro, every message is sent again and again."""
    chance = random.Random(seed)
    accepted: set[bytes] = set()
    sent: list[bytes] = []
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(";".join(replay.SCHEMA))
        for _ in range(150):
            world.clock.now += round(chance.triangular(-3 * SKEW, 3 * SKEW, SKEW // 2))
            sent.append(world.asked(world.policy()))
            for raw in (sent[-1], *chance.sample(sent, min(len(sent), 6))):
                if taken(db, world.env, raw):
                    assert raw not in accepted, "accepted twice"
                    accepted.add(raw)
    assert len(accepted) > 10


def taken(db: sqlite3.Connection, env: Environment, raw: bytes) -> bool:
    """Whether a message is found fresh, and new, as the KMS and the responder do."""
    incoming = read_request_init(raw).incoming
    try:
        env.check_fresh(incoming.t)
        replay.remember(db, env, incoming, ALICE, psk_of(ALICE))
    except Refused:
        return False
    return True


def test_what_was_refused_is_refused_again_as_a_replay(world: World) -> None:
    """RFC 3830 5.4: a refusal may have passing reasons; its message must not come back."""
    init = world.asked(world.policy())
    with world.store.transaction() as db:
        db.execute("UPDATE users SET enabled = 0 WHERE id = ?", (ALICE.data,))
    with pytest.raises(Refused, match="disabled"):
        world.handled(init)
    with world.store.transaction() as db:
        db.execute("UPDATE users SET enabled = 1 WHERE id = ?", (ALICE.data,))
    with pytest.raises(Refused, match="replay") as caught:
        world.handled(init)
    assert caught.value.error_no == ErrorNo.AUTH_FAILURE


def counting(world: World, counter: int) -> Counting:
    return Counting(world.clock, os.urandom, counter=counter)


def test_counters_grow_and_are_kept_on_disk(world: World) -> None:
    """Interpretation 31."""

    def ask(counter: int, store: Store) -> Refused | None:
        init = world.asked(world.policy(), env=counting(world, counter))
        return handle(store, world.env, init).refusal

    assert ask(7, world.store) is None
    world.clock.now += YEAR
    with closing(Store(world.where)) as opened_again:
        for old in (0, 6, 7):
            refusal = ask(old, opened_again)
            assert refusal is not None
            assert refusal.error_no == ErrorNo.INVALID_TS
        assert ask(8, opened_again) is None
        assert ask(0xFFFFFFFF, opened_again) is None
    assert ask(9, world.store) is not None


def test_counters_of_two_senders_have_nothing_to_do_with_each_other(world: World) -> None:
    """Interpretation 31: the last of that sender and key."""
    high = world.asked(world.policy(), env=counting(world, 1000))
    world.handled(high)
    low = world.asked(world.policy(initiator=BOB), by=BOB, env=counting(world, 1))
    world.handled(low)
    with pytest.raises(Refused):
        world.handled(low)


def test_a_counter_of_a_refused_message_is_used_up(world: World) -> None:
    """Interpretation 31."""
    refused = world.asked(world.policy(responders=()), env=counting(world, 5))
    with pytest.raises(Refused, match="no responder"):
        world.handled(refused)
    with pytest.raises(Refused) as caught:
        world.handled(world.asked(world.policy(), env=counting(world, 5)))
    assert caught.value.error_no == ErrorNo.INVALID_TS


@pytest.mark.parametrize("ts_type", [TsType.NTP_UTC, TsType.NTP, TsType.NTP_UTC_32])
def test_every_kind_of_time_is_held_against_the_clock(world: World, ts_type: TsType) -> None:
    """Interpretation 30."""
    for off, good in ((-302, False), (-298, True), (298, True), (302, False)):
        at = world.clock.now + off * NS

        class Elsewhere(Environment):
            def timestamp(self, like: Timestamp | None = None, at: int = at) -> Timestamp:
                return Timestamp.at(at, ts_type)

        init = world.asked(world.policy(), env=Elsewhere(world.clock, os.urandom))
        refusal = handle(world.store, world.env, init).refusal
        assert (refusal is None) == good
        assert refusal is None or refusal.error_no == ErrorNo.INVALID_TS


def test_the_cache_stays_small(world: World) -> None:
    """Interpretation 30: for as long as its timestamp would be accepted, and a minute."""
    for _ in range(60):
        world.handled(world.asked(world.policy()))
        world.clock.now += SKEW // 10
    with world.store.transaction() as db:
        assert db.execute("SELECT count(*) FROM replay").fetchone()[0] <= 13


def test_what_would_not_be_remembered_is_found_without_a_write(world: World) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(";".join(replay.SCHEMA))
        for env in (world.env, counting(world, 7)):
            incoming = read_request_init(world.asked(world.policy(), env=env)).incoming
            replay.check_new(db, world.env, incoming, ALICE, psk_of(ALICE))
            replay.remember(db, world.env, incoming, ALICE, psk_of(ALICE))
            changes = db.total_changes
            with pytest.raises(Refused):
                replay.check_new(db, world.env, incoming, ALICE, psk_of(ALICE))
            assert db.total_changes == changes
        late = read_request_init(world.asked(world.policy())).incoming
        db.execute("UPDATE replay_horizon SET forgotten_ns = ?", (world.clock.now,))
        with pytest.raises(Refused, match="older than what is remembered"):
            replay.check_new(db, world.env, late, ALICE, psk_of(ALICE))
