"""A store as a whole: made with its key, and copied while it is in use."""

from __future__ import annotations

import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.exchange.profile import PROFILE_128, PROFILE_256
from mikeytool.kms.store.check import check
from mikeytool.kms.store.records import NewUser
from mikeytool.kms.store.seal import key_path
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.kms.store.store_file import StoreFile
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity
from tests.crypto.test_certificates import URI, certificate, private_key
from tests.world import ALICE, KMS, USERS, World, psk_of

TPK = Tpk(Identity.key_name("tpk-1"), b"t" * 32)


@pytest.fixture
def world(file_world: World) -> World:
    """The file is what these tests are about."""
    return file_world


def user(number: int) -> Identity:
    return Identity.from_text(f"sip:user{number}@example.com")


def test_what_init_refuses_leaves_what_was_there(world: World) -> None:
    before = world.store.path.read_bytes()
    short = Tpk(Identity.key_name("t"), b"t" * 16)
    wrong = (private_key("kms"), certificate("kms", names=[URI("sip:other.example.com")]))
    world.store.close()
    with pytest.raises(UsageError):
        Store.init(world.store.path, KMS, PROFILE_256, short, force=True)
    with pytest.raises(UsageError):
        Store.init(world.store.path, KMS, PROFILE_256, TPK, key_pair=wrong, force=True)
    with pytest.raises(StateError, match="--force"):
        Store.init(world.store.path, KMS, PROFILE_256, TPK)
    with closing(Store(world.store.path)) as store:
        assert len(store.users()) == len(USERS)
    assert len(before) == len(world.store.path.read_bytes())


def test_a_store_is_made_anew_with_another_key(world: World) -> None:
    key = key_path(world.store.path).read_bytes()
    world.store.close()
    pair = (private_key("kms"), certificate("kms", names=[URI(str(KMS))]))
    path = world.store.path
    with closing(Store.init(path, KMS, PROFILE_128, TPK, key_pair=pair, force=True)) as made:
        assert key_path(path).read_bytes() != key
        assert made.users() == []
        assert [one.certificate for one in made.key_pairs()] == [pair[1]]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_store_that_cannot_be_made_anew_is_still_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With its key, whatever it is that fails."""
    world.store.close()
    path = world.store.path
    before = contents(world.folder)
    for how in ("env:NOPE", f"file:{world.folder / 'nowhere'}"):
        with pytest.raises(StateError):
            Store.init(path, KMS, PROFILE_256, TPK, how=how, force=True)

    def full(*_: object) -> None:
        raise StateError("the disk is full")

    monkeypatch.setattr(StoreFile, "create", full)
    with pytest.raises(StateError, match="full"):
        Store.init(path, KMS, PROFILE_256, TPK, force=True)
    assert contents(world.folder) == before
    with closing(Store(path)) as store:
        assert store.tpk() is not None


def test_the_key_goes_with_the_store_that_is_replaced(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.store.path
    world.store.close()
    monkeypatch.setenv("SEAL_OF_KMS", "0123456789abcdef")
    Store.init(path, KMS, PROFILE_256, TPK, how="env:SEAL_OF_KMS", force=True).close()
    assert set(contents(world.folder)) == {path.name}
    key_path(path).write_text("something else")
    with pytest.raises(StateError, match="move it away"):
        Store.init(path, KMS, PROFILE_256, TPK, force=True)
    assert key_path(path).read_text() == "something else"
    path.unlink()
    with closing(Store.init(path, KMS, PROFILE_256, TPK, force=True)) as store:
        assert store.tpk() == TPK


def test_a_store_behind_a_link_is_made_anew_there(world: World) -> None:
    world.store.close()
    link = world.folder / "link.db"
    link.symlink_to(world.store.path)
    with closing(Store.init(link, KMS, PROFILE_256, TPK, force=True)) as store:
        assert store.users() == []
        assert store.tpk() == TPK
    assert link.is_symlink()
    with closing(Store(world.store.path)) as store:
        assert store.users() == []


def test_a_backup_is_a_store(world: World) -> None:
    world.handled(world.asked(world.policy()))
    copy = world.folder / "copy.db"
    world.store.backup(copy, with_key=True, force=False)
    for path in (copy, key_path(copy)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with closing(Store(copy)) as again:
        assert not [one for one in check(again) if one.faults]
        assert again.tpk() == world.store.tpk()
        assert list(again.log()) == list(world.store.log())
    assert not list(world.folder.glob(".*"))


def test_a_backup_without_the_key_opens_with_it(world: World) -> None:
    copy = world.folder / "copy.db"
    world.store.backup(copy, with_key=False, force=False)
    with closing(Store(copy)) as again:
        with pytest.raises(StateError, match="cannot be read"):
            again.tpk()
        key_path(copy).write_bytes(key_path(world.store.path).read_bytes())
        assert again.tpk() == world.store.tpk()


def test_a_backup_overwrites_nothing_unasked(world: World) -> None:
    copy = world.folder / "copy.db"
    copy.write_text("something")
    with pytest.raises(StateError, match="--force"):
        world.store.backup(copy, with_key=False, force=False)
    assert copy.read_text() == "something"
    with pytest.raises(StateError, match="the store itself"):
        world.store.backup(world.store.path, with_key=False, force=True)
    with pytest.raises(StateError, match="No such file"):
        world.store.backup(world.folder / "nowhere" / "x", with_key=False, force=False)
    with pytest.raises(StateError, match="no KMS store"):
        world.store.backup(copy, with_key=False, force=True)
    assert copy.read_text() == "something"
    copy.unlink()
    world.store.backup(copy, with_key=True, force=False)
    key_path(copy).write_text("old")
    world.store.backup(copy, with_key=True, force=True)
    with closing(Store(copy)) as again:
        assert again.tpk() == world.store.tpk()
    assert not list(world.folder.glob(".*"))


def test_a_backup_that_fails_leaves_the_one_before_with_its_key(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    new, before = tmp_path / "new.db", tmp_path / "before.db"
    with closing(Store.init(before, KMS, PROFILE_256, TPK)):
        key = key_path(before).read_bytes()

    def full(_file: StoreFile, target: Path) -> None:
        raise StateError(f"{target}: database or disk is full")

    monkeypatch.setattr(StoreFile, "copy", full)
    for path in (new, before):
        with pytest.raises(StateError, match=f"{path.name}: .* full"):
            world.store.backup(path, with_key=True, force=True)
    assert key_path(before).read_bytes() == key
    assert not new.exists()
    assert not key_path(new).exists()


def test_a_backup_does_not_overwrite_the_key_of_the_store(world: World) -> None:
    key = key_path(world.store.path)
    before = key.read_bytes()
    link = world.folder / "link"
    link.symlink_to(key)
    for target in (key, link):
        with pytest.raises(StateError, match="this is its sealing key"):
            world.store.backup(target, with_key=False, force=True)
    assert key.read_bytes() == before


def test_with_key_needs_a_key_beside_the_store(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SEAL_OF_KMS", "0123456789abcdef")
    how = "env:SEAL_OF_KMS"
    with (
        closing(Store.init(tmp_path / "e.db", KMS, PROFILE_256, TPK, how=how)) as store,
        pytest.raises(UsageError, match="--with-key"),
    ):
        store.backup(tmp_path / "copy.db", with_key=True, force=False)
    assert not (tmp_path / "copy.db").exists()


def test_backups_are_consistent_while_others_write(world: World) -> None:
    """Users come in pairs, each pair in one transaction: no copy has half of one."""
    done = threading.Event()

    def write() -> None:
        with closing(Store(world.store.path)) as store:
            number = 0
            while not done.is_set():
                pair = [NewUser(user(n), psk_of(user(n))) for n in (number, number + 1)]
                store.add_users(pair)
                number += 2

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        for number in range(12):
            copy = world.folder / f"copy{number}.db"
            world.store.backup(copy, with_key=True, force=False)
            with closing(Store(copy)) as again:
                assert not [one for one in check(again) if one.faults]
                counts.append(again.count_users() - len(USERS))
    finally:
        done.set()
        writer.join()
    assert all(count % 2 == 0 for count in counts)
    assert counts[-1] > 0


def test_no_key_shows_in_a_representation(world: World) -> None:
    world.store.add_tpk(Tpk(Identity.key_name("alices"), b"a" * 32, ALICE))
    shown = repr([world.store.users(), world.store.tpks(), world.store.key_pairs()])
    shown += repr(NewUser(ALICE, psk_of(ALICE)))
    for secret in (b"t" * 32, b"a" * 32, *map(psk_of, USERS)):
        assert repr(secret)[2:-1] not in shown
        assert secret.hex() not in shown
