"""Where another KMS is, as a store keeps it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mikeytool.exchange.profile import PROFILE_128
from mikeytool.kms import Store, Tpk, peer_location
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity

FAR = Identity.from_text("sip:kms.far.example")


def test_a_url_need_not_answer() -> None:
    assert peer_location(FAR, "https://kms.far.example:8443") == "https://kms.far.example:8443"
    with pytest.raises(UsageError, match="kms"):
        peer_location(FAR, "ftp://kms.far.example")


def test_a_store_is_that_of_the_kms(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Store.init("far.db", FAR, PROFILE_128, Tpk(Identity.key_name("tpk-1"), bytes(16))).close()
    assert peer_location(FAR, Path("far.db")) == str(tmp_path.resolve() / "far.db")
    with pytest.raises(UsageError, match=r"this is the KMS sip:kms\.far\.example, not"):
        peer_location(Identity.from_text("sip:kms.other.example"), Path("far.db"))
    with pytest.raises(StateError):
        peer_location(FAR, Path("none.db"))
    odd = Path(os.fsdecode(b"far-\xff.db"))
    Path("far.db").rename(odd)
    with pytest.raises(UsageError, match="this is no UTF-8"):
        peer_location(FAR, odd)
