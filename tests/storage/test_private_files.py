"""Files that hold keys: mode 0600, whole or not at all, never overwritten unasked."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mikeytool.storage.private_files import (
    check_free,
    locked,
    new_file,
    parse_json,
    read_json,
    write_json,
    write_private,
    write_together,
)
from mikeytool.wire.errors import StateError, WireError


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("umask", [0, 0o022, 0o077])
@pytest.mark.parametrize("force", [False, True])
def test_files_are_private_whatever_the_umask(tmp_path: Path, umask: int, force: bool) -> None:
    before = os.umask(umask)
    try:
        write_private(tmp_path / "secret", b"key", force=force)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
    assert names(tmp_path) == {"secret"}


def test_overwriting_makes_a_file_private(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"public")
    path.chmod(0o644)
    write_private(path, b"key", force=True)
    assert path.read_bytes() == b"key"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"mine")
    with pytest.raises(StateError, match="exists already"):
        write_private(path, b"key")
    with pytest.raises(StateError, match="exists already"):
        check_free(path, force=False)
    check_free(path, force=True)
    check_free(tmp_path / "other", force=False)
    assert path.read_bytes() == b"mine"
    assert names(tmp_path) == {"secret"}


def test_a_file_that_somebody_makes_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between looking and writing, too: the name is taken or not in one step."""
    path = tmp_path / "secret"
    sync = os.fsync

    def overtaken(handle: int) -> None:
        sync(handle)
        if not path.exists():
            path.write_bytes(b"theirs")

    monkeypatch.setattr(os, "fsync", overtaken)
    with pytest.raises(StateError):
        write_private(path, b"mine")
    assert path.read_bytes() == b"theirs"
    assert names(tmp_path) == {"secret"}


def test_of_many_writers_one_succeeds(tmp_path: Path) -> None:
    path, together = tmp_path / "secret", threading.Barrier(8)

    def write(number: int) -> int | None:
        together.wait()
        try:
            write_private(path, str(number).encode() * 1000)
        except StateError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        done = [number for number in pool.map(write, range(8)) if number is not None]
    assert len(done) == 1
    assert path.read_bytes() == str(done[0]).encode() * 1000
    assert names(tmp_path) == {"secret"}


def failing(error: int) -> Callable[..., Any]:
    def fail(*_: object, **__: object) -> None:
        raise OSError(error, os.strerror(error))

    return fail


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_nothing_is_left_of_a_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, force: bool
) -> None:
    """A full disk: what was there stays as it was."""
    path = tmp_path / "secret"
    if force:
        path.write_bytes(b"before")
    monkeypatch.setattr(os, "fsync", failing(error))
    with pytest.raises(StateError, match=os.strerror(error)):
        write_private(path, b"key", force=force)
    assert names(tmp_path) == ({"secret"} if force else set())
    if force:
        assert path.read_bytes() == b"before"


def test_nothing_is_left_when_it_is_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_private(tmp_path / "secret", b"key")
    assert names(tmp_path) == set()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere" / "secret", tmp_path):
        with pytest.raises(StateError):
            write_private(path, b"key")
        with pytest.raises(StateError):
            write_private(path, b"key", force=True)
    with pytest.raises(StateError):
        write_private(tmp_path / "x" / ".." / ".." / "nowhere" / "secret", b"key")
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b'"ticket"',
        b"null",
        b"\xff\xfe",
        b"\0" * 100,
        b'{"a":' * 100_000,
        b"[" * 100_000,
        b'{"mikeytool": ["ticket"]}',
        b'{"mikeytool": null}',
        b'{"mikeytool": "session"}',
        b'{"x": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda content: content[:20].decode("latin-1"),
)
def test_what_is_no_state_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(WireError, match="no ticket file"):
        read_json(path, "ticket")
    parse_json(content)
    with pytest.raises(StateError):
        read_json(tmp_path / "nowhere", "ticket")
    with pytest.raises(StateError):
        read_json(tmp_path, "ticket")


def test_every_cut_of_a_state_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_json(path, "ticket", {"a": [1, {"b": None}], "ü": "ä"})
    assert read_json(path, "ticket")["a"] == [1, {"b": None}]
    whole = path.read_bytes().rstrip()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(WireError):
            read_json(path, "ticket")


def test_a_lock_is_for_the_file_of_that_name(tmp_path: Path) -> None:
    """Writing renames a new file over the old one; who waited for the old one goes on to the
    new one, so that no change is lost.
    """
    path, together = tmp_path / "counter", threading.Barrier(6)
    path.write_bytes(b"0")

    def count(_number: int) -> None:
        together.wait()
        for _ in range(10):
            with locked(path):
                write_private(path, str(int(path.read_bytes()) + 1).encode(), force=True)

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(count, range(6)))
    assert path.read_bytes() == b"60"
    with pytest.raises(StateError), locked(tmp_path / "nowhere"):
        pass


def test_a_folder_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The octets are synced; that a file system refuses its folders is no failure."""
    synced: list[int] = []
    real = os.fsync

    def sync(handle: int) -> None:
        synced.append(handle)
        if len(synced) == 2:
            raise OSError(errno.EINVAL, "Invalid argument")
        real(handle)

    monkeypatch.setattr(os, "fsync", sync)
    write_private(tmp_path / "secret", b"key")
    assert (tmp_path / "secret").read_bytes() == b"key"
    assert len(synced) == 2


def test_of_two_files_none_is_written_without_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    write = Path.write_bytes

    def full(self: Path, data: bytes) -> int:
        if "second" in self.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(self, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(StateError, match="second"):
            write_together({first: b"1", second: b"2"})
    assert not list(tmp_path.iterdir())
    second.touch()
    with pytest.raises(StateError, match="exists already"):
        write_together({first: b"1", second: b"2"})
    assert [path.name for path in tmp_path.iterdir()] == ["second"]
    write_together({first: b"1", second: b"2"}, force=True)
    assert (first.read_bytes(), second.read_bytes()) == (b"1", b"2")


@pytest.mark.parametrize("error", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK])
def test_a_file_system_without_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    monkeypatch.setattr(os, "link", failing(error))
    path = tmp_path / "secret"
    write_private(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(StateError, match="exists already"), new_file(path) as made:
        made.write_bytes(b"other")
    assert path.read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]
