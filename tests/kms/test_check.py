"""`kms check` finds what is wrong with a store."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.kms.store.check import check
from mikeytool.kms.store.seal import key_path
from mikeytool.kms.store.store import Store
from mikeytool.wire.errors import StateError
from tests.world import BOB, World


def faults(world: World) -> dict[str, tuple[str, ...]]:
    return {one.name: one.faults for one in check(world.store) if one.faults}


def test_a_store_in_use_is_whole(world: World) -> None:
    world.resolved(world.call(world.held("DEFGHINO")))
    assert faults(world) == {}
    assert len(check(world.store)) == 7


@pytest.mark.parametrize(
    ("statement", "values", "name"),
    [
        ("UPDATE users SET psk = NULL WHERE id = ?", [BOB.data], "users"),
        ("UPDATE users SET cert = ? WHERE enabled = 1", [b"\x30\0"], "users"),
        ("UPDATE tpks SET current = 0", [], "keys"),
        ("INSERT INTO replay VALUES (?, ?, -1)", [b"\0", b"\0"], "replay cache"),
        ("INSERT INTO single_use VALUES (?, ?, -1)", [b"\0", b"\0"], "replay cache"),
        ("INSERT INTO settings VALUES ('max_skew', '-1')", [], "policy"),
        ("INSERT INTO settings VALUES ('rate', 'no JSON')", [], "policy"),
        ("INSERT INTO kms VALUES (?, 1, 256)", [b"\0"], "file"),
    ],
)
def test_what_somebody_changed(
    world: World, statement: str, values: list[bytes], name: str
) -> None:
    with world.store.transaction() as db:
        db.execute(statement, values)
    assert list(faults(world)) == [name]


@pytest.mark.parametrize(
    "statement",
    [
        "DROP INDEX log_refused",
        "DROP INDEX tpks_current",
        "CREATE INDEX another ON log (outcome)",
        "ALTER TABLE users ADD COLUMN another TEXT",
        "ALTER TABLE rates DROP COLUMN count",
        "ALTER TABLE single_use RENAME TO another",
    ],
)
def test_tables_that_are_not_those_of_a_new_store(world: World, statement: str) -> None:
    world.store.check_schema()
    with world.store.transaction() as db:
        db.execute(statement)
    with pytest.raises(StateError, match="its tables are damaged; restore a backup"):
        check(world.store)


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER TABLE users ALTER COLUMN enabled DROP NOT NULL",
        "ALTER TABLE log ALTER COLUMN count SET DEFAULT 2",
        "ALTER TABLE users ALTER COLUMN id_type TYPE INTEGER",
        "ALTER TABLE peers DROP CONSTRAINT peers_pkey",
        "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
        "CREATE RULE none AS ON INSERT TO replay DO INSTEAD NOTHING",
    ],
)
def test_tables_on_a_server_that_are_damaged(postgres_world: World, statement: str) -> None:
    with postgres_world.store.transaction() as db:
        db.execute(statement)
    with pytest.raises(StateError, match="its tables are damaged"):
        check(postgres_world.store)


def test_who_acts_without_being_a_user(file_world: World) -> None:
    """A database server does not let that happen."""
    with file_world.store.transaction() as db:
        db.execute("INSERT INTO act_as VALUES (?, 'y')", (b"sip:x",))
    assert list(faults(file_world)) == ["references"]


def test_a_key_that_others_can_read(file_world: World) -> None:
    key_path(file_world.store.path).chmod(0o644)
    assert "0600" in faults(file_world)["sealing key"][0]


def test_a_damaged_file(file_world: World) -> None:
    """Octets in the middle of it, as a bad disk leaves them."""
    for _ in range(40):
        file_world.handled(file_world.asked(file_world.policy()))
    with file_world.store.transaction() as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'log'").fetchone()[0]
    file_world.store.close()
    with file_world.store.path.open("r+b") as out:
        out.seek(4096 * (page - 1) + 8)
        out.write(b"\xff" * 600)
    file_world.store = Store(file_world.where)
    assert "file" in faults(file_world)


def test_without_the_sealing_key_nothing_can_be_said(world: World) -> None:
    world.store.close()
    (key_path(world.where) if isinstance(world.where, Path) else world.folder / "seal.key").unlink()
    with closing(Store(world.where)) as again, pytest.raises(StateError, match="sealing key"):
        check(again)
