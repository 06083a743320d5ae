"""The sealing key: where it is kept, and what is said when it is not the right one."""

from __future__ import annotations

import os
import stat
from contextlib import closing
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mikeytool.exchange.profile import PROFILE_256
from mikeytool.kms.store import seal
from mikeytool.kms.store.seal import Sealer, check_how, key_path
from mikeytool.kms.store.store import Store, Tpk
from mikeytool.kms.store.store_file import StoreFile
from mikeytool.wire.errors import MikeyError, StateError, UsageError
from mikeytool.wire.identity import Identity
from tests.world import KMS

TPK = Tpk(Identity.key_name("tpk-1"), b"t" * 32)


def made(path: Path, how: str = "beside") -> None:
    Store.init(path, KMS, PROFILE_256, TPK, how=how).close()


def opens(path: Path) -> bool:
    with closing(Store(path)) as store:
        return store.tpk() == TPK


def test_values_are_aes_256_gcm() -> None:
    """Nonce, ciphertext, tag; table, row and column are what is authenticated with it."""
    sealed = Sealer(b"k" * 32).seal(b"secret", "users", b"\1\2", "psk")
    bound = b"\0\0\0\5users\0\0\0\2\1\2\0\0\0\3psk"
    assert AESGCM(b"k" * 32).decrypt(sealed[:12], sealed[12:], bound) == b"secret"
    assert Sealer(b"k" * 32).seal(b"secret", "users", b"\1\2", "psk") != sealed
    for where in (("users", b"\1", "psk"), ("user", b"s\1\2", "psk"), ("users", b"\1\2", "cert")):
        with pytest.raises(ValueError, match="does not open"):
            Sealer(b"k" * 32).open(sealed, *where)


def test_a_key_beside_the_store(tmp_path: Path) -> None:
    path = tmp_path / "kms.db"
    made(path)
    key = key_path(path)
    assert key == tmp_path / "kms.db.key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert len(bytes.fromhex(key.read_text())) == 32
    assert opens(path)
    (tmp_path / "link").symlink_to(path)
    assert opens(tmp_path / "link")


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "cannot be read"), (b"short\n", "at least 16 are needed"), (b"f" * 64, "not what")],
)
def test_a_key_that_is_missing_short_or_another(
    tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "kms.db"
    made(path)
    key_path(path).unlink()
    if content is not None:
        key_path(path).write_bytes(content)
    with closing(Store(path)) as store:
        assert store.users() == []  # for this nothing has to be opened
        with pytest.raises(StateError, match=words) as caught:
            store.tpk()
    if content != b"short\n":
        assert "MIKEYTOOL_SEAL=" in str(caught.value)


def test_a_key_in_a_file_that_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, key = tmp_path / "kms.db", tmp_path / "key"
    key.write_bytes(os.urandom(31) + b"x")
    made(path, f"file:{key}")
    assert not key_path(path).exists()
    assert opens(path)
    key.rename(tmp_path / "moved")
    with pytest.raises(StateError, match="cannot be read"):
        opens(path)
    monkeypatch.setenv("MIKEYTOOL_SEAL", f"file:{tmp_path / 'moved'}")
    assert opens(path)


def test_a_key_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kms.db"
    with pytest.raises(StateError, match="not in the environment, as SEAL_OF_KMS"):
        made(path, "env:SEAL_OF_KMS")
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setenv("SEAL_OF_KMS", "0123456789abcdef")
    made(path, "env:SEAL_OF_KMS")
    assert opens(path)
    monkeypatch.setenv("SEAL_OF_KMS", "fedcba9876543210")
    with pytest.raises(StateError, match="not what the store is sealed with"):
        opens(path)


def test_a_passphrase(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kms.db"
    monkeypatch.setenv("MIKEYTOOL_SEAL_PASSPHRASE", "correct horse")
    made(path, "passphrase")
    assert opens(path)
    monkeypatch.setenv("MIKEYTOOL_SEAL_PASSPHRASE", "correct horsf")
    with pytest.raises(StateError, match="the passphrase; bring back"):
        opens(path)
    monkeypatch.setenv("MIKEYTOOL_SEAL_PASSPHRASE", "")
    with pytest.raises(UsageError, match="empty"):
        opens(path)


def test_a_passphrase_is_typed_twice_when_it_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["one", "two", "three", "three", "three"])
    monkeypatch.setattr(seal, "read_secret", lambda *_: next(typed))
    path = tmp_path / "kms.db"
    with pytest.raises(UsageError, match="differ"):
        made(path, "passphrase")
    made(path, "passphrase")
    assert opens(path)


def test_costs_of_scrypt_that_nobody_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever changes the file cannot have all memory taken."""
    path = tmp_path / "kms.db"
    monkeypatch.setenv("MIKEYTOOL_SEAL_PASSPHRASE", "correct horse")
    made(path, "passphrase")
    with closing(Store(path)) as store, store.transaction() as db:
        db.execute("UPDATE seal SET n = 1 << 30")
    with pytest.raises(StateError, match="bounds"):
        opens(path)


@pytest.mark.parametrize("how", ["", "file:", "env:", "key", "beside:x", "tpm:0"])
def test_other_ways_of_sealing(how: str) -> None:
    with pytest.raises(UsageError, match="is expected"):
        check_how(how)


def test_a_key_that_is_there_is_not_taken_for_a_new_store(tmp_path: Path) -> None:
    """It may be that of another store, or of a backup."""
    path = tmp_path / "kms.db"
    key_path(path).write_text("a key that is needed elsewhere")
    with pytest.raises(StateError, match="exists already"):
        made(path)
    assert key_path(path).read_text() == "a key that is needed elsewhere"
    assert not path.exists()


def test_a_store_that_cannot_be_made_leaves_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(*_: object) -> None:
        raise StateError("no room")

    monkeypatch.setattr(StoreFile, "create", breaks)
    with pytest.raises(MikeyError, match="no room"):
        made(tmp_path / "kms.db")
    assert list(tmp_path.iterdir()) == []


def test_a_seal_file_is_not_read_to_its_end(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="more than 4096 octets"):
        made(tmp_path / "kms.db", "file:/dev/zero")
    assert list(tmp_path.iterdir()) == []
