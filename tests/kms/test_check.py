"""`kms check` finds what is wrong with a store."""

from __future__ import annotations

import pytest

from mikeytool.kms.check import check
from mikeytool.kms.seal import key_path
from mikeytool.kms.store import Store
from mikeytool.wire.errors import StateError
from tests.world import World


def faults(world: World) -> dict[str, tuple[str, ...]]:
    return {one.name: one.faults for one in check(world.store) if one.faults}


def test_a_store_in_use_is_whole(world: World) -> None:
    world.resolved(world.call(world.held("DEFGHINO")))
    assert faults(world) == {}
    assert len(check(world.store)) == 7


@pytest.mark.parametrize(
    ("statement", "name"),
    [
        ("UPDATE users SET psk = NULL WHERE id = CAST('sip:bob@example.com' AS BLOB)", "users"),
        ("UPDATE users SET cert = x'3000' WHERE enabled", "users"),
        ("UPDATE tpks SET current = 0", "keys"),
        ("INSERT INTO act_as VALUES (CAST('sip:x' AS BLOB), 'y')", "references"),
        ("INSERT INTO replay VALUES (x'00', x'00', -1)", "replay cache"),
        ("INSERT INTO single_use VALUES (x'00', x'00', -1)", "replay cache"),
        ("INSERT INTO settings VALUES ('max_skew', '-1')", "policy"),
        ("INSERT INTO settings VALUES ('rate', 'no JSON')", "policy"),
        ("INSERT INTO kms VALUES (x'00', 1, 256)", "file"),
        ("DROP TABLE rules", "policy"),
    ],
)
def test_what_somebody_changed(world: World, statement: str, name: str) -> None:
    with world.store.transaction() as db:
        db.execute(statement)
    assert list(faults(world)) == [name]


def test_a_key_that_others_can_read(world: World) -> None:
    key_path(world.store.path).chmod(0o644)
    assert "0600" in faults(world)["sealing key"][0]


def test_a_damaged_file(world: World) -> None:
    """Octets in the middle of it, as a bad disk leaves them."""
    for _ in range(40):
        world.handled(world.asked(world.policy()))
    with world.store.transaction() as db:
        page = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'log'").fetchone()[0]
    world.store.close()
    with world.store.path.open("r+b") as out:
        out.seek(4096 * (page - 1) + 8)
        out.write(b"\xff" * 600)
    world.store = Store(world.store.path)
    assert "file" in faults(world)


def test_without_the_sealing_key_nothing_can_be_said(world: World) -> None:
    world.store.close()
    key_path(world.store.path).unlink()
    with pytest.raises(StateError, match="sealing key"):
        check(Store(world.store.path))
