"""Store files with any octets changed: an error of one line, or what a store may say, no more."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.kms.service import handle
from mikeytool.kms.store.check import check
from mikeytool.kms.store.store import Store
from mikeytool.storage.sqlite import remove_working_files
from mikeytool.wire.errors import MikeyError, StateError
from tests.series import Series
from tests.world import World


def mutated(whole: bytes, chance: random.Random) -> bytes:
    """The file with some bits flipped, with zeros in it, or cut.

    Rows that are gone without a trace are another matter: a store does not notice that.
    """
    octets = bytearray(whole)
    match chance.randrange(6):
        case 0:
            return bytes(octets[: chance.randrange(len(octets))])
        case 1:
            at = chance.randrange(len(octets))
            octets[at : at + 512] = bytes(len(octets[at : at + 512]))
        case _:
            for _ in range(chance.choice([1, 1, 1, 2, 8])):
                octets[chance.randrange(len(octets))] ^= 1 << chance.randrange(8)
    return bytes(octets)


def used(path: Path, world: World, answered: list[bytes]) -> bool:
    """Do with a store what commands do; whether a store without faults gave answers twice."""
    with Store(path, world.clock) as store:
        is_whole = not any(one.faults for one in check(store))
        list(store.log())
        store.users()
        handle(store, world.env, world.asked(world.policy()))
        return is_whole and all(handle(store, world.env, raw).refusal is None for raw in answered)


def test_mutated_stores(file_world: World, series: Series) -> None:
    world = file_world
    answered = [world.asked(world.policy()) for _ in range(3)]
    for raw in answered:
        world.handled(raw)
    with world.store.transaction() as db:
        db.execute("UPDATE rates SET count = 0")
    world.store._backend.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    whole, key = world.store.path.read_bytes(), Path(f"{world.store.path}.key").read_bytes()
    path, chance = world.folder / "mutated.db", series.chance()
    Path(f"{path}.key").write_bytes(key)
    Path(f"{path}.key").chmod(0o600)
    for number in range(series.length(1000, 60)):
        remove_working_files(path)
        path.write_bytes(mutated(whole, chance))
        path.chmod(0o600)
        twice, text = False, ""
        try:
            twice = used(path, world, answered)
        except MikeyError as error:
            text = str(error)
        except Exception as error:
            pytest.fail(f"mutated store {number}: {error!r}")
        assert not twice
        assert "\n" not in text


def test_a_value_that_was_lost(file_world: World) -> None:
    """The error names the place; without a fault in the file, a bug stays one."""
    with pytest.raises(ZeroDivisionError), Store(file_world.store.path):
        raise ZeroDivisionError
    strict, loose = "how TEXT NOT NULL", "how TEXT"
    for old, new in ((strict, loose), (loose, strict)):
        with closing(sqlite3.connect(file_world.store.path)) as db:
            if old == loose:
                db.execute("UPDATE seal SET how = NULL")
            db.execute("PRAGMA writable_schema = ON")
            text = "UPDATE sqlite_master SET sql = replace(sql, ?, ?) WHERE name = 'seal'"
            db.execute(text, (old, new))
            db.commit()
    with (
        pytest.raises(StateError, match=r"damaged; restore a backup: .*NULL"),
        Store(file_world.store.path) as store,
    ):
        store.sealer  # noqa: B018
