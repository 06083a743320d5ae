"""`decode --redact`: what can be shown to anyone. The octets are made by hand."""

from __future__ import annotations

import base64
import json
import re

import pytest

from tests.cli.shell import Shell

KEY = bytes(range(0xA0, 0xB0))
SALT = bytes(range(0xC0, 0xCE))
KEY_DATA = bytes.fromhex("00100010") + KEY + bytes.fromhex("000e") + SALT
PRIVATE = bytes.fromhex("302e020100300506032b657004220420") + KEY + KEY
"""A private key for Ed25519 in PKCS #8 (RFC 8410 7)."""

CERTIFICATE = bytes.fromhex("300a30030201013000030100")
"""The structure of a certificate, with nothing in it but a serial number."""


def message(first: str, rest: bytes) -> bytes:
    """A Pre-shared message with CSB ID 7 and an Empty map."""
    return bytes.fromhex(f"0100{first}00000000070001") + rest


def counted(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


KEMAC = message("01", bytes(2) + counted(KEY_DATA) + bytes(1))
CASES = {
    "KEMAC": KEMAC,
    "unreadable keys": message("01", bytes(2) + counted(KEY_DATA[:-1]) + bytes(1)),
    "truncated": KEMAC[:-3],
    "key data": message("14", KEY_DATA),
    "trailing": KEMAC + KEY,
    "private key": message("07", bytes(2) + counted(PRIVATE)),
    "PEM": message("07", bytes(2) + counted(b"-----BEGIN PRIVATE KEY-----\n" + KEY)),
    "PEM as URL": message("07", b"\0\1" + counted(b"-----BEGIN PRIVATE KEY-----\n" + KEY)),
    "behind a certificate": message("07", bytes(2) + counted(CERTIFICATE + PRIVATE)),
}


def leaks(shown: str) -> bool:
    """Whether a part of the key, in hex or base64 at any place, is in a text."""
    plain = re.sub(r"<[^>]*>|\s|:", "", shown)
    forms = [KEY[:4].hex(), KEY[4:8].hex(), SALT[:4].hex()]
    forms += [base64.b64encode(KEY[at : at + 6]).decode() for at in range(3)]
    return any(form in plain or form.upper() in plain for form in forms)


@pytest.mark.parametrize("name", CASES)
def test_no_key_is_in_any_output(shell: Shell, name: str) -> None:
    data = CASES[name]
    shell.path("m").write_bytes(data)
    for given in ("m", data.hex(), base64.b64encode(data).decode(), f"m {data.hex()}"):
        for form in ("", "--json", "--hex", "--html"):
            ran = shell.run(f"mikeytool decode --redact {form} {given}")
            assert ran.out, ran.err
            assert not leaks(ran.out + ran.err), ran.out
            assert "note: keys" not in ran.err


@pytest.mark.parametrize("name", CASES)
def test_encode_refuses_it_with_the_reason(shell: Shell, name: str) -> None:
    shell.path("m").write_bytes(CASES[name])
    shell.run("mikeytool decode --redact --json m > redacted")
    ran = shell.fails("mikeytool encode redacted", 2, "redacted", "without --redact")
    assert len(ran.err.splitlines()) == 1
    assert ran.out == ""


def test_structure_and_lengths_stay(shell: Shell) -> None:
    shell.path("m").write_bytes(KEMAC)
    exact = json.loads(shell.ok("mikeytool decode -q --json m"))
    shown = json.loads(shell.ok("mikeytool decode --redact --json m"))
    assert exact["payloads"][0].pop("encr_data") == KEY_DATA.hex()
    assert shown["payloads"][0].pop("encr_data") == "redacted: 36 octets"
    assert shown == exact
    assert shell.ok("mikeytool decode --redact --hex m").count("\u2022\u2022") == len(KEY + SALT)


def test_public_octets_stay(shell: Shell) -> None:
    """An encrypted KEMAC, a certificate and a URL."""
    for data in (
        message("01", b"\0\1" + counted(KEY_DATA) + bytes(1)),
        message("07", bytes(2) + counted(CERTIFICATE)),
        message("07", b"\0\1" + counted(b"https://example.com/alice.der")),
    ):
        shell.path("m").write_bytes(data)
        plain = shell.run("mikeytool decode --json m")
        assert "note: keys" not in plain.err
        assert shell.run("mikeytool decode --redact --json m").out == plain.out


def test_exact_output_says_that_it_holds_keys(shell: Shell) -> None:
    shell.path("m").write_text(f"{KEMAC.hex()}\n" * 3)
    for form in ("--json", "--hex"):
        assert shell.run(f"mikeytool decode {form} m").err.count("note: keys in the clear") == 1
        for silent in ("-q", "--redact", "--show-keys"):
            assert shell.run(f"mikeytool decode {form} {silent} m").err == ""
    shell.path("m").write_bytes(CASES["truncated"])
    shell.fails("mikeytool decode --redact --show-keys m", 2, "one of them")


@pytest.mark.parametrize("name", ["KEMAC", "unreadable keys", "key data", "private key"])
def test_the_tree_has_no_key(shell: Shell, name: str) -> None:
    shell.path("m").write_bytes(CASES[name])
    assert not leaks(shell.run("mikeytool decode m").out)
