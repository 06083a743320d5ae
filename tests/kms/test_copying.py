"""A store that moves keeps everything: keys, users, what was seen, the log and its order."""

from __future__ import annotations

import stat
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.kms.kms_policy import Rule
from mikeytool.kms.service import handle
from mikeytool.kms.store.check import check
from mikeytool.kms.store.copying import copy
from mikeytool.kms.store.schema import TABLES
from mikeytool.kms.store.seal import BESIDE, key_path
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity
from tests.crypto.test_certificates import URI, certificate, private_key
from tests.postgres import Server
from tests.world import ALICE, BOB, CAROL, KMS, Counting, World


@pytest.fixture
def used(world: World) -> World:
    """A store with something in every table."""
    store = world.store
    store.add_tpk(Tpk(Identity.key_name("bobs"), b"b" * 32, BOB))
    store.add_user(Identity.from_text("sip:f@example.com"), b"f" * 16, act_as=["sip:*@conf"])
    store.add_members(Identity.from_text("sip:team@example.com"), [ALICE, CAROL])
    store.add_key(private_key("kms"), certificate("kms", names=[URI(str(KMS))]))
    store.add_anchor(certificate("ca", ca=True))
    from mikeytool.kms.store.records import Peer

    store.add_peer(Peer(Identity.from_text("sip:kms.example.org"), "x", b"p" * 32, ("sip:*@x",)))
    store.set_policy(max_skew=200)
    for number in (2, 1, 3):
        store.add_rule(Rule(True, "*", f"sip:{number}@*"))
    store.remove_rule("*", "sip:2@*")
    store.add_rule(Rule(True, "*", "*"))
    world.resolved(world.call(world.held("DEFGHINO")))
    env = Counting(world.clock, world.env.random, counter=5)
    world.handled(world.asked(world.policy(), env=env))
    return world


def rows(store: Store) -> dict[str, list[object]]:
    """What is in a store; of the rows that are numbered without their numbers."""
    found: dict[str, list[object]] = {}
    with store.snapshot() as db:
        for table, order in TABLES.items():
            content = db.execute(f"SELECT * FROM {table} ORDER BY {order}").fetchall()
            found[table] = [row[order in ("number", "position") :] for row in content]
            assert content, table
    del found["seal"]
    return found


@pytest.fixture(params=["sqlite", "postgres"])
def target_place(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], tuple[Where, str]]:
    """Places for a copy, each with what seals it."""

    def new() -> tuple[Where, str]:
        if request.param == "sqlite":
            return tmp_path / "copy.db", BESIDE
        server: Server = request.getfixturevalue("postgres")
        (tmp_path / "other.key").write_text("o" * 32)
        return server.new(), f"file:{tmp_path / 'other.key'}"

    return new


def test_a_copy_has_everything(used: World, target_place: Callable[[], tuple[Where, str]]) -> None:
    seen = used.asked(used.policy())
    used.handled(seen)
    target, how = target_place()
    told: list[tuple[int, int]] = []
    total = copy(used.store, target, how, lambda *numbers: told.append(numbers))
    assert told[-1] == (total, total)
    with closing(Store(target)) as made:
        assert rows(made) == rows(used.store)
        assert not [one for one in check(made) if one.faults]
        assert made.tpk() == used.store.tpk()
        assert list(made.log()) == list(used.store.log())
        assert made.rules() == used.store.rules()
        assert "replay" in str(handle(made, used.env, seen).refusal)
        assert handle(made, used.env, used.asked(used.policy())).refusal is None
        made.add_rule(Rule(False, "*", "sip:new@*"))
        assert made.rules().rules[-1].responder == "sip:new@*"
        with pytest.raises(StateError, match="already"):
            copy(used.store, target, how, lambda *_: None)
    if isinstance(target, Path):
        assert stat.S_IMODE(target.stat().st_mode) == 0o600
        assert key_path(target).read_bytes() != b"s" * 32


@pytest.mark.parametrize("why", [StateError, KeyboardInterrupt])
def test_a_copy_that_fails_leaves_nothing(
    used: World, target_place: Callable[[], tuple[Where, str]], why: type[BaseException]
) -> None:
    target, how = target_place()

    def stops(done: int, _total: int) -> None:
        if done > 5:
            raise why("it stops here")

    with pytest.raises(why, match="it stops here"):
        copy(used.store, target, how, stops)
    if isinstance(target, Path):
        assert not target.exists()
        assert not key_path(target).exists()
    copy(used.store, target, how, lambda *_: None)


def test_what_cannot_seal_a_copy(used: World, postgres: Server) -> None:
    with pytest.raises(UsageError, match="--seal"):
        copy(used.store, postgres.new(), BESIDE, lambda *_: None)
    with pytest.raises(StateError, match="NOPE"):
        copy(used.store, used.folder / "copy.db", "env:NOPE", lambda *_: None)


def test_many_rows(world: World, target_place: Callable[[], tuple[Where, str]]) -> None:
    with world.store.transaction() as db:
        many = [(bytes([n >> 8, n & 255]), b"m", world.clock.now + n) for n in range(2500)]
        db.executemany("INSERT INTO replay VALUES (?, ?, ?)", many)
    target, how = target_place()
    copy(world.store, target, how, lambda *_: None)
    with closing(Store(target)) as made, made.snapshot() as db:
        found = db.execute("SELECT * FROM replay ORDER BY sender").fetchall()
        assert [tuple(row) for row in found] == many
