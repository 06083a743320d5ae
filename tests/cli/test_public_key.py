"""Users whom the KMS knows by certificate, from the shell (RFC 6043 4.2.1.3, 4.2.3.3;
interpretations 34 to 37).
"""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.peers.programs import need

A = "--as sip:alice@example.com --private-key alice.pem --cert alice.crt --kms-cert kms.crt"
B = "--as sip:bob@example.com --private-key bob.pem --cert bob.crt --kms-cert kms.crt"
REQUEST = f"mikeytool ticket request {A} --to sip:bob@example.com"


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys and certificates: of a CA, of the KMS by itself, and of two users by the CA."""
    made = Shell(tmp_path_factory.mktemp("keys"))
    rsa = "mikeytool keygen rsa -q --bits 2048 --identity"
    made.ok(
        f"{rsa} sip:kms.example.com -o kms.pem --cert-out kms.crt\n"
        f"{rsa} sip:ca.example.com -o ca.pem --cert-out ca.crt\n"
        f"{rsa} sip:alice@example.com -o alice.pem --cert-out alice.crt --ca-cert ca.crt"
        " --ca-key ca.pem\n"
        f"{rsa} sip:bob@example.com -o bob.pem --cert-out bob.crt --ca-cert ca.crt"
        " --ca-key ca.pem"
    )
    return made.folder


@pytest.fixture
def office(shell: Shell, keys: Path) -> Shell:
    """A folder with those keys, and a KMS that knows both users by certificate."""
    shell.ok(
        f"cp {keys}/*.pem {keys}/*.crt .\n"
        "mikeytool kms init -q kms.db --id sip:kms.example.com --private-key kms.pem"
        " --cert kms.crt\n"
        "mikeytool kms trust add -q kms.db ca.crt\n"
        "mikeytool kms user add -q kms.db sip:alice@example.com --cert alice.crt\n"
        "mikeytool kms user add -q kms.db sip:bob@example.com --cert bob.crt"
    )
    return shell


def master_keys(shell: Shell, name: str) -> list[str]:
    shown = json.loads(shell.ok(f"mikeytool transfer show {name} --json --show-keys"))
    return [one["master_key"] for one in shown["crypto_sessions"]]


@pytest.mark.parametrize(
    ("request_options", "resolve_options"), [("--pss --profile 256", "--oaep"), ("--oaep", "--pss")]
)
def test_a_call_without_any_shared_key(
    office: Shell, request_options: str, resolve_options: str
) -> None:
    """Interpretations 35 and 36: both signatures, both encryptions, both strengths."""
    office.ok(
        f"{REQUEST} --kms-id sip:kms.example.com --pending p {request_options} > request\n"
        "mikeytool kms handle kms.db request | mikeytool ticket accept --pending p --save t\n"
        "mikeytool transfer init --ticket t --to sip:bob@example.com --session a > init\n"
        f"mikeytool transfer respond init {B} {resolve_options} --kms kms.db --session b"
        " | mikeytool transfer finish --session a"
    )
    assert master_keys(office, "a") == master_keys(office, "b")
    payloads = json.loads(office.ok("mikeytool decode request --json"))["payloads"]
    assert {"CERT", "CHASH", "PKE", "SIGN"} <= {one["payload"] for one in payloads}


def test_the_envelope_key_stays_in_a_private_file(office: Shell) -> None:
    """It is all that opens the answer; two requests have two."""
    found = set()
    for name in "pq":
        office.ok(f"{REQUEST} --kms-id sip:kms.example.com --pending {name} > request-{name}")
        assert stat.S_IMODE(office.path(name).stat().st_mode) == 0o600
        key = json.loads(office.path(name).read_text())["key"]
        assert len(key) == 32
        assert key not in office.path(f"request-{name}").read_text()
        found.add(key)
    assert len(found) == 2
    office.ok("mikeytool kms handle kms.db request-p > answer")
    office.fails("mikeytool ticket accept answer --pending q --save t", 1, "csb_id")
    office.ok("mikeytool ticket accept answer --pending p --save t")


def test_options_that_do_not_go_together(office: Shell) -> None:
    end = "--kms-id sip:kms.example.com --pending p"
    for options, words in (
        ("--private-key alice.pem", "--cert"),
        ("--private-key alice.pem --cert alice.crt", "--kms-cert"),
        (f"{A} --psk 00112233445566778899aabbccddeeff", "give one"),
        ("--cert alice.crt --psk 00112233445566778899aabbccddeeff", "--private-key"),
        (f"{A} --cert bob.crt --as sip:eve@example.com", "sip:eve@example.com"),
        (A.replace("alice.pem", "bob.pem"), "not that of the first certificate"),
        (A.replace("kms.crt", "ca.crt"), "does not name"),
    ):
        who = "" if "--as" in options else "--as sip:alice@example.com"
        ran = office.run(f"mikeytool ticket request {who} {options} --to sip:b {end}")
        assert ran.code in (1, 2), options
        assert words in ran.err, options
        assert not office.path("p").exists()
    office.ok(f"{REQUEST} {end}", MIKEYTOOL_PSK="00112233445566778899aabbccddeeff")


def test_files_that_are_no_keys(office: Shell) -> None:
    end = "--to sip:b --kms-id sip:kms.example.com --pending p"
    office.path("text").write_text("text")
    request = f"mikeytool ticket request {A} {end}"
    office.fails(request.replace("alice.pem", "text"), 3, "no private key in PEM")
    office.fails(request.replace("alice.pem", "alice.crt"), 3, "no private key in PEM")
    office.fails(request.replace("alice.crt", "text"), 3, "no certificate in PEM")
    office.fails(request.replace("alice.pem", "missing"), 4, "missing")


def test_a_private_key_with_a_passphrase(office: Shell) -> None:
    """It is typed, or comes from the environment; there is no terminal here."""
    need("openssl")
    subprocess.run(
        ["openssl", "rsa", "-aes256", "-passout", "pass:open sesame", "-in", "alice.pem", "-out",
         "locked.pem"], cwd=office.folder, check=True, capture_output=True,
    )  # fmt: skip
    request = f"{REQUEST} --kms kms.db --save t".replace("alice.pem", "locked.pem")
    office.fails(f"setsid -w {request}", 2, "MIKEYTOOL_KEY_PASSPHRASE")
    wrong = office.fails(request, 1, "passphrase", MIKEYTOOL_KEY_PASSPHRASE="open")
    assert "sesame" not in wrong.err
    office.ok(request, MIKEYTOOL_KEY_PASSPHRASE="open sesame")


def test_who_is_not_trusted_is_refused(office: Shell) -> None:
    """Interpretation 34: a certificate for Alice that nobody vouches for, and Bob's for her."""
    office.ok(
        "mikeytool keygen rsa -q --bits 2048 --identity sip:alice@example.com -o eve.pem"
        " --cert-out eve.crt"
    )
    eve = REQUEST.replace("alice.pem", "eve.pem").replace("alice.crt", "eve.crt")
    office.fails(f"{eve} --kms kms.db --save t", 1, "refuses")
    assert not office.path("t").exists()
