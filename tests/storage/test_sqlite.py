"""State that must survive: made once by many at a time, private, and never half there."""

from __future__ import annotations

import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Barrier
from typing import ClassVar

import pytest

from mikeytool.exchange.profile import PROFILE_256
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.storage.sqlite import SqliteDatabase
from mikeytool.wire.errors import StateError
from mikeytool.wire.identity import Identity
from tests.world import ALICE, KMS, World, psk_of


@pytest.fixture
def world(file_world: World) -> World:
    """The file is what these tests are about."""
    return file_world


class Notes(SqliteDatabase):
    kind = 0x746E6F74
    name = "notebook"
    schema = "CREATE TABLE notes (text TEXT);"


class Broken(Notes):
    schema = "CREATE TABLE notes (text TEXT); CREATE TABLE notes (text TEXT);"


class Later(Notes):
    version = 2


def test_of_many_makers_one_succeeds_and_all_can_open(tmp_path: Path) -> None:
    path, together = tmp_path / "notes", Barrier(8)

    def make(number: int) -> bool:
        together.wait()
        try:
            Notes.create(path).close()
            made = True
        except StateError:
            made = False
        with closing(Notes(path)) as notes, notes.transaction() as db:
            db.execute("INSERT INTO notes VALUES (?)", (str(number),))
        return made

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(8))) == 1
    with closing(Notes(path)) as notes, notes.transaction() as db:
        assert db.execute("SELECT count(*) FROM notes").fetchone()[0] == 8
    assert [one.name for one in tmp_path.iterdir() if one.name[:1] == "."] == []


def test_a_file_is_never_there_without_its_schema(tmp_path: Path) -> None:
    """Whoever finds the name finds the finished file."""
    with pytest.raises(StateError):
        Broken.create(tmp_path / "notes")
    assert not (tmp_path / "notes").exists()


def test_making_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    path.write_bytes(b"something else")
    with pytest.raises(StateError, match="exists already"):
        Notes.create(path)
    assert path.read_bytes() == b"something else"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StateError, match="No such file"):
        Notes.create(tmp_path / "nowhere" / "notes")


def test_files_are_private(tmp_path: Path) -> None:
    with closing(Notes.create(tmp_path / "notes")) as notes, notes.transaction() as db:
        db.execute("INSERT INTO notes VALUES ('x')")
        for path in tmp_path.iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


@pytest.mark.parametrize(
    "content",
    [b"", b"no database, but text" * 9, b"SQLite format 3\0" + bytes(84), b"SQLite format 3\0"],
)
def test_what_is_no_database_of_ours(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes"
    path.write_bytes(content)
    with pytest.raises(StateError, match="this file is no notebook"):
        Notes(path)


def test_the_file_of_another_program_or_version(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    sqlite3.connect(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE notes (text TEXT)")
    with pytest.raises(StateError, match="no notebook"):
        Notes(path)
    Notes.create(tmp_path / "ours").close()
    with pytest.raises(StateError, match="another version"):
        Later(tmp_path / "ours")
    with pytest.raises(StateError, match="no KMS store"):
        Store(tmp_path / "ours")
    with pytest.raises(StateError, match="no such"):
        Notes(tmp_path / "nothing")


class Dated(Notes):
    version = 3
    schema = "CREATE TABLE notes (text TEXT, day TEXT, hour INTEGER);"
    migrations: ClassVar = {
        1: ("ALTER TABLE notes ADD COLUMN day TEXT", "UPDATE notes SET day = 'Monday'"),
        2: ("ALTER TABLE notes ADD COLUMN hour INTEGER",),
    }


def test_older_files_are_brought_to_this_version(tmp_path: Path) -> None:
    with closing(Notes.create(tmp_path / "notes")) as notes, notes.transaction() as db:
        db.execute("INSERT INTO notes VALUES ('x')")
    for _ in range(2):
        with closing(Dated(tmp_path / "notes")) as dated, dated.transaction() as db:
            assert db.execute("SELECT * FROM notes").fetchall() == [("x", "Monday", None)]
    with pytest.raises(StateError, match="its format is 3, this one's 1"):
        Notes(tmp_path / "notes")


class Stuck(Dated):
    migrations: ClassVar = {1: Dated.migrations[1], 2: ("CREATE TABLE notes (x)",)}


def test_a_migration_is_done_whole_or_not_at_all(tmp_path: Path) -> None:
    Notes.create(tmp_path / "notes").close()
    with pytest.raises(StateError, match="already exists"):
        Stuck(tmp_path / "notes")
    with closing(Notes(tmp_path / "notes")) as notes, notes.transaction() as db:
        db.execute("INSERT INTO notes VALUES ('still one column')")


def test_what_is_put_in_at_once_is_there_or_the_file_is_not(tmp_path: Path) -> None:
    def fill(db: sqlite3.Connection) -> None:
        db.execute("INSERT INTO notes VALUES ('first')")

    def fails(db: sqlite3.Connection) -> None:
        fill(db)
        db.execute("INSERT INTO nowhere VALUES ('second')")

    with pytest.raises(StateError, match="nowhere"):
        Notes.create(tmp_path / "notes", fails)
    assert list(tmp_path.iterdir()) == []
    with closing(Notes.create(tmp_path / "notes", fill)) as notes, notes.transaction() as db:
        assert db.execute("SELECT * FROM notes").fetchall() == [("first",)]


def test_a_cut_store_is_told_as_such(world: World) -> None:
    path = world.store.path
    with world.store.transaction() as db:
        db.execute("DELETE FROM kms")
    world.store.close()
    with closing(Store(path)) as store:
        with pytest.raises(StateError, match="cut short"):
            store.identity  # noqa: B018 - it reads
        with pytest.raises(StateError, match="cut short"):
            store.profile  # noqa: B018


def test_a_transaction_is_done_whole_or_not_at_all(world: World) -> None:
    """Replay entry, log entry and answer are one transaction: what breaks leaves none."""

    def breaks() -> None:
        with world.store.transaction() as db:
            db.execute("DELETE FROM users")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        breaks()
    assert len(world.store.users()) == 4
    with world.store.transaction() as db:  # the store is usable afterwards
        db.execute("DELETE FROM users WHERE id = ?", (ALICE.data,))
    assert len(world.store.users()) == 3


def test_a_statement_that_fails_is_a_state_error(world: World) -> None:
    with pytest.raises(StateError), world.store.transaction() as db:
        db.execute("INSERT INTO nowhere VALUES (1)")
    world.handled(world.asked(world.policy()))
    with pytest.raises(StateError):
        world.store.add_user(ALICE, psk_of(ALICE))


def test_two_stores_of_one_name(tmp_path: Path) -> None:
    tpk = Tpk(Identity.key_name("tpk"), b"t" * 32)
    Store.init(tmp_path / "kms.db", KMS, PROFILE_256, tpk).close()
    before = (tmp_path / "kms.db").read_bytes()
    with pytest.raises(StateError, match="exists already"):
        Store.init(tmp_path / "kms.db", ALICE, PROFILE_256, tpk)
    assert (tmp_path / "kms.db").read_bytes() == before


class Twice(SqliteDatabase):
    """A file that cannot be made: its schema is wrong."""

    kind = 1
    name = "notebook"
    schema = "CREATE TABLE n (t); CREATE TABLE n (t);"


def test_a_file_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        Twice.create(tmp_path / "notes")
    assert list(tmp_path.iterdir()) == []
