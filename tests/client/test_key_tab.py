"""Key tabs as a library user reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from mikeytool.client.key_tab import read_key_tabs
from mikeytool.client.key_text import parse_key, parse_number
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.wire.errors import StateError, UsageError, WireError


def no_passphrase(path: str | Path) -> bytes:
    raise AssertionError(path)


def read(path: Path, text: str) -> KeyRing:
    path.write_text(text)
    return read_key_tabs([path], KeyRing(tpks=[(None, b"before")]), no_passphrase)


def test_the_keys_of_a_tab_come_after_those_of_the_ring(tmp_path: Path) -> None:
    ring = read(
        tmp_path / "tab",
        "\ufeff# a comment\n\npsk sip:a@b 0011\npsk-id name b64:AgM\ntpk k 0405\n"
        "mpki 0x10 06\nmpkr 17 07\ntgk 0x10 08\ndh 17 b64:CQo\n",
    )
    assert ring.psks == [(b"sip:a@b", b"\x00\x11"), (b"name", b"\x02\x03")]
    assert ring.tpks == [(None, b"before"), (b"k", b"\x04\x05")]
    assert (ring.mpki, ring.mpkr) == ([(16, b"\x06")], [(17, b"\x07")])
    assert (ring.tgks, ring.dhs) == ([(16, b"\x08")], [(17, b"\x09\x0a")])
    assert "08" not in repr(ring)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("deadbeef", "none of the kinds"),
        ("psk sip:a@b", "a kind, a name and a key"),
        ("psk sip:a@b 0", "no hex of whole octets"),
        ("mpki 0x100000000 00", "at most 32 bits"),
        ("tgk 0x100000000 00", "at most 32 bits"),
        ("dh 5", "a kind, a name and a key"),
        ("rsa", "the file of a private key"),
    ],
)
def test_an_error_names_the_line_and_no_key(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(WireError, match=words) as caught:
        read(tmp_path / "tab", f"# first\n{line}\n")
    assert "tab, line 2: " in str(caught.value)
    assert "deadbeef" not in str(caught.value)


def test_a_tab_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="none"):
        read_key_tabs([tmp_path / "none"], KeyRing(), no_passphrase)


def test_a_key_from_a_file_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "raw").write_bytes(b"\x00\xff\n")
    (tmp_path / "hex").write_bytes(b"00ff\n")
    assert parse_key(f"file:{tmp_path / 'raw'}", "a key") == b"\x00\xff\n"
    assert parse_key(f"file:{tmp_path / 'hex'}", "a key") == b"\x00\xff"
    monkeypatch.setenv("A_KEY", "AP8=")
    assert parse_key("env:A_KEY", "a key") == b"\x00\xff"
    with pytest.raises(UsageError, match="a key: the environment has no NO_KEY"):
        parse_key("env:NO_KEY", "a key")


@pytest.mark.parametrize(("text", "good"), [
    ("0", True), ("255", True), ("0xff", True), ("256", False), ("-1", False), ("x", False),
])  # fmt: skip
def test_numbers_of_some_bits(text: str, good: bool) -> None:
    if good:
        assert parse_number(text, "n", 8) == int(text, 0)
        return
    with pytest.raises(UsageError, match="at most 8 bits"):
        parse_number(text, "n", 8)
