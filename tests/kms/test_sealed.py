"""The file of a store: what version 1 had in the clear is sealed, and nothing is lost."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.exchange.profile import PROFILE_256
from mikeytool.kms.store import seal
from mikeytool.kms.store.check import check
from mikeytool.kms.store.schema import VERSION
from mikeytool.kms.store.seal import key_path
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.wire.errors import StateError
from mikeytool.wire.identity import Identity
from tests.kms.version_1 import BOBS_TPK, TPK, old_store
from tests.world import ALICE, BOB, CAROL, EVE, KMS, START, USERS, World, psk_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    old_store(tmp_path / "kms.db")
    return tmp_path / "kms.db"


def version(path: Path) -> int:
    with closing(sqlite3.connect(path)) as db:
        found: int = db.execute("PRAGMA user_version").fetchone()[0]
    return found


def octets(folder: Path) -> bytes:
    """Everything in the files of a store."""
    return b"".join(one.read_bytes() for one in folder.iterdir() if one.is_file())


def test_a_store_of_version_1_is_migrated(path: Path) -> None:
    with closing(Store(path)) as store:
        assert (store.identity, store.profile) == (KMS, PROFILE_256)
        users = {user.identity: user for user in store.users()}
        assert {who: store.psk(user) for who, user in users.items()} == {
            who: psk_of(who) for who in (ALICE, BOB, CAROL)
        }
        assert users[ALICE].psk_id == Identity.key_name("a")
        assert [who for who, user in users.items() if not user.enabled] == [CAROL]
        assert store.act_as(ALICE) == ["sip:*@conf.example.com"]
        assert store.groups_of(BOB) == [Identity.from_text("sip:team@example.com")]
        own, shared = store.tpk(), store.shared_tpk(BOB)
        assert own == Tpk(Identity.key_name("tpk-1"), TPK)
        assert shared == Tpk(Identity.key_name("tpk-2"), BOBS_TPK, BOB)
        assert [entry.at_ns for entry in store.log()] == [START]
        assert not [one for one in check(store) if one.faults]
    assert version(path) == VERSION


def test_nothing_of_it_stays_in_the_clear(path: Path) -> None:
    assert TPK in octets(path.parent)
    Store(path).close()
    left = octets(path.parent)
    for secret in (TPK, BOBS_TPK, *map(psk_of, (ALICE, BOB, CAROL))):
        assert secret not in left


def test_the_tables_are_those_of_a_new_store(path: Path, tmp_path: Path) -> None:
    Store(path).close()
    (tmp_path / "new").mkdir()
    with closing(World(tmp_path / "new")) as new:
        assert columns(path) == columns(new.store.path)


def columns(path: Path) -> dict[str, list[tuple[object, ...]]]:
    with closing(sqlite3.connect(path)) as db:
        names = db.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        return {
            name: db.execute(f"SELECT * FROM pragma_table_xinfo('{name}')").fetchall()
            or db.execute(f"SELECT * FROM pragma_index_info('{name}')").fetchall()
            for (name,) in names.fetchall()
        }


def test_a_message_answered_before_is_not_answered_after(path: Path) -> None:
    """Replay entries have other times now; they mean the same."""
    with closing(Store(path)) as store, store.transaction() as db:
        assert db.execute("SELECT mac, t_ns FROM replay").fetchall() == [("mac", START)]


def test_what_fails_on_the_way_leaves_the_old_store(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    before = columns(path)
    with monkeypatch.context() as patch:
        patch.setattr(seal.Sealer, "seal", breaks)
        with pytest.raises(ZeroDivisionError):
            Store(path)
    assert version(path) == 1
    assert columns(path) == before
    with closing(Store(path)) as store:  # the key that was left is taken
        assert store.tpk() == Tpk(Identity.key_name("tpk-1"), TPK)


def test_many_migrate_it_at_once(path: Path) -> None:
    code = f"from pathlib import Path; from mikeytool.kms.store.store import Store; \
print(Store(Path({str(path)!r})).tpk().key.hex())"
    running = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)
    ]
    assert {one.communicate()[0].decode().strip() for one in running} == {TPK.hex()}


def test_a_store_of_a_later_version_is_refused(file_world: World) -> None:
    file_world.store.close()
    with closing(sqlite3.connect(file_world.store.path)) as db:
        db.execute(f"PRAGMA user_version={VERSION + 1}")
    with pytest.raises(StateError, match="another version"):
        Store(file_world.store.path)


def test_no_secret_stands_in_the_file(file_world: World) -> None:
    file_world.handled(file_world.asked(file_world.policy()))
    store = b"".join(
        one.read_bytes()
        for one in file_world.folder.iterdir()
        if one != key_path(file_world.store.path)
    )
    for secret in (b"t" * 32, *map(psk_of, USERS)):
        assert secret not in store


SWAPS: list[tuple[str, *tuple[bytes, ...]]] = [
    (
        "UPDATE users SET psk = (SELECT psk FROM users WHERE id = ?) WHERE id = ?",
        EVE.data,
        ALICE.data,
    ),
    ("UPDATE tpks SET shared_with = NULL WHERE shared_with = ?", BOB.data),
    ("UPDATE tpks SET name = ? WHERE shared_with = ?", b"other", BOB.data),
    ("UPDATE tpks SET tpk = (SELECT psk FROM users WHERE id = ?)", EVE.data),
    ("UPDATE users SET psk = ? WHERE id = ?", bytes(60), ALICE.data),
    ("UPDATE users SET psk = ? WHERE id = ?", b"\0", ALICE.data),
    ("UPDATE peers SET id = ?", b"sip:other"),
    ("UPDATE peers SET id = 'sip:text'",),
]


@pytest.mark.parametrize("swap", SWAPS)
def test_values_that_were_swapped_do_not_open(
    world: World, swap: tuple[str, *tuple[bytes, ...]]
) -> None:
    """They are bound to table, row and column, and to whose they are."""
    from mikeytool.kms.store.records import Peer

    world.store.add_tpk(Tpk(Identity.key_name("bobs"), b"b" * 32, BOB))
    world.store.add_peer(
        Peer(Identity.from_text("sip:kms.example.org"), "x", b"p" * 32, ("sip:*@x",))
    )
    assert not [one for one in check(world.store) if one.faults]
    with world.store.transaction() as db:
        db.execute(swap[0], swap[1:])
    faults = [fault for one in check(world.store) for fault in one.faults]
    assert faults


def test_a_swapped_key_answers_nothing(world: World) -> None:
    with world.store.transaction() as db:
        db.execute(SWAPS[0][0], SWAPS[0][1:])
    with pytest.raises(StateError, match=r"alice@example\.com does not open"):
        world.handled(world.asked(world.policy()))
