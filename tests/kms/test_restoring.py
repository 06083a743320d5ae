"""A store that is made of a copy answers nothing a second time; a damaged one says so."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing

import pytest

from mikeytool.kms.store.check import check
from mikeytool.kms.store.seal import key_path
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.errors import MikeyError, Refused, StateError
from mikeytool.wire.identity import Identity
from tests.world import ALICE, BOB, KMS, World


@pytest.fixture
def world(file_world: World) -> World:
    """A KMS on a file."""
    return file_world


def restored(world: World) -> None:
    """Copy the store, let something happen, and go back to the copy."""
    world.store.close()
    path, copy = world.store.path, world.folder / "copy.db"
    Store.restore(copy, path, world.clock, force=True)
    world.store = Store(path, world.clock)


def test_nothing_is_answered_twice(world: World) -> None:
    once = world.call(world.held("DEFGHINO"))  # a ticket without J is for single use
    many = world.call(world.held())
    world.store.backup(world.folder / "copy.db", with_key=True, force=False)
    late = world.asked(world.policy())
    world.handled(late)
    world.resolved(once)
    restored(world)
    with pytest.raises(Refused, match="remembered"):
        world.handled(late)
    with pytest.raises(Refused, match="restored since"):
        world.resolved(once)
    world.resolved(many)
    world.resolved(world.call(world.held("DEFGHINO")))
    assert not [one for one in check(world.store) if one.faults]
    assert [one.about for one in world.store.log() if one.user == "operator"] == [
        f"restore {world.folder / 'copy.db'}"
    ]


def test_keys_that_were_rotated_out_wait_again(world: World) -> None:
    """Tickets may have been made with them after the copy."""
    world.store.backup(world.folder / "copy.db", with_key=True, force=False)
    call = world.call(world.held())
    restored(world)
    world.store.add_tpk(replace_tpk())
    world.resolved(call)


def replace_tpk() -> Tpk:
    return Tpk(Identity.key_name("tpk-2"), b"n" * 32)


def test_the_key_beside_the_store_is_taken(world: World) -> None:
    copy = world.folder / "copy.db"
    world.store.backup(copy, with_key=False, force=False)
    world.store.remove_user(BOB)
    restored(world)
    assert world.store.user(BOB) is not None
    assert world.store.psk(world.store.users()[0])
    assert sorted(one.name for one in world.folder.iterdir() if one.name.startswith(".")) == []


def test_what_is_there_stays_if_it_fails(world: World) -> None:
    path, copy = world.store.path, world.folder / "copy.db"
    world.store.backup(copy, with_key=True, force=False)
    with pytest.raises(StateError, match="--force"):
        Store.restore(copy, path, force=False)
    with pytest.raises(StateError, match="itself"):
        Store.restore(path, path, force=True)
    key_path(copy).write_text("0" * 64)
    before = path.read_bytes(), key_path(path).read_bytes()
    with pytest.raises(StateError):
        Store.restore(copy, path, force=True)
    (world.folder / "text").write_text("no store")
    with pytest.raises(StateError):
        Store.restore(world.folder / "text", path, force=True)
    assert (path.read_bytes(), key_path(path).read_bytes()) == before
    assert world.store.user(ALICE) is not None
    assert not [one for one in world.folder.iterdir() if one.name.startswith(".")]


def flipped(octets: bytes, at: int, bit: int) -> bytes:
    return octets[:at] + bytes([octets[at] ^ 1 << bit]) + octets[at + 1 :]


@pytest.mark.parametrize("statement", [
    "ALTER TABLE users RENAME COLUMN psk TO psj",
    "DROP INDEX replay_t",
    "ALTER TABLE rates ADD COLUMN x",
    "DROP TABLE rules",
    "CREATE TRIGGER t AFTER INSERT ON replay BEGIN DELETE FROM replay; END",
])  # fmt: skip
def test_tables_that_are_not_those_of_a_store(world: World, statement: str) -> None:
    with closing(sqlite3.connect(world.store.path)) as db:
        db.execute(statement)
    with pytest.raises(StateError, match="backup"):
        check(world.store)


def test_bits_that_flip_in_the_schema(world: World) -> None:
    """Whatever is read afterwards, the errors are ours; a changed schema is always a StateError."""
    world.store.close()
    with closing(sqlite3.connect(world.store.path)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    whole, path = world.store.path.read_bytes(), world.folder / "flipped.db"
    key_path(path).write_bytes(key_path(world.store.path).read_bytes())
    key_path(path).chmod(0o600)
    schema = [at for at in range(100, 4096) if whole[at]]
    draw = random.Random(1)
    refused = 0
    for at in draw.sample(schema, 150):
        path.write_bytes(flipped(whole, at, draw.randrange(8)))
        path.chmod(0o600)
        try:
            with closing(Store(path, world.clock)) as store:
                check(store)
                store.users()
        except StateError:
            refused += 1
        except MikeyError:
            pytest.fail("another error")
    assert refused > 100


def test_the_identity_of_the_kms_stays(world: World) -> None:
    world.store.backup(world.folder / "copy.db", with_key=True, force=False)
    Store.restore(world.folder / "copy.db", world.folder / "elsewhere.db", force=False)
    with closing(Store(world.folder / "elsewhere.db")) as store:
        assert store.identity == KMS
