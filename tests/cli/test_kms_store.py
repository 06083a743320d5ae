"""`kms init`, `show`, `check`, `backup`: a store, what seals it, and that no key ever shows."""

from __future__ import annotations

import base64
import json
import sqlite3
import stat
from contextlib import closing

import pytest

from tests.cli.shell import ALICE, Shell, with_kms
from tests.kms.version_1 import old_store

REQUEST = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms-id sip:kms.example.com"
KEY = "00112233445566778899aabbccddeeff"


def test_a_store_has_its_key_beside_it(shell: Shell) -> None:
    with_kms(shell)
    for name in ("kms.db", "kms.db.key"):
        assert stat.S_IMODE(shell.path(name).stat().st_mode) == 0o600
    shown = json.loads(shell.ok("mikeytool kms show kms.db --json"))
    assert shown["sealed_under"] == "kms.db.key"
    assert shell.ok("mikeytool kms check kms.db").count("good") == 7
    shell.path("kms.db.key").rename(shell.path("elsewhere"))
    shell.fails(f"{REQUEST} --pending p | mikeytool kms handle kms.db", 4, "MIKEYTOOL_SEAL=")
    shell.fails("mikeytool kms check kms.db", 4, "kms.db.key")
    shell.fails("mikeytool kms user add kms.db sip:x@example.com", 4, "kms.db.key")
    assert "sip:alice@" in shell.ok("mikeytool kms user list kms.db")
    shell.ok("mikeytool kms check kms.db", MIKEYTOOL_SEAL="file:elsewhere")


def test_other_seals(shell: Shell) -> None:
    init = "mikeytool kms init -q kms.db --id sip:kms.example.com --seal"
    shell.fails(f"{init} file:nowhere", 4, "nowhere")
    shell.fails(f"{init} env:SEAL", 4, "SEAL")
    shell.fails(f"{init} passphrase", 2, "MIKEYTOOL_SEAL_PASSPHRASE")
    shell.fails(f"{init} tpm", 2, "file:PATH, env:NAME or passphrase")
    assert list(shell.folder.iterdir()) == []
    shell.ok(f"mikeytool keygen tpk -o seal; {init} file:seal; mikeytool kms check kms.db")
    shell.ok(f"{init} env:SEAL --force; mikeytool kms check kms.db", SEAL=KEY)
    shell.fails("mikeytool kms check kms.db", 4, "SEAL")
    shell.ok(f"{init} passphrase --force", MIKEYTOOL_SEAL_PASSPHRASE="correct horse")
    shell.fails("mikeytool kms check kms.db", 4, "passphrase", MIKEYTOOL_SEAL_PASSPHRASE="wrong")
    shell.ok("mikeytool kms check kms.db", MIKEYTOOL_SEAL_PASSPHRASE="correct horse")
    shell.fails("mikeytool kms backup kms.db b --with-key", 2, "--with-key")
    assert not shell.path("kms.db.key").exists()


def test_a_store_of_the_first_version(shell: Shell) -> None:
    old_store(shell.path("kms.db"))
    assert json.loads(shell.ok("mikeytool kms show kms.db --json"))["users"] == 3
    shell.ok("mikeytool kms check kms.db")
    assert shell.path("kms.db.key").exists()
    with closing(sqlite3.connect(shell.path("kms.db"))) as db:
        db.execute("PRAGMA user_version=9")
    shell.fails("mikeytool kms show kms.db", 4, "another version of mikeytool")


def test_a_check_that_fails(shell: Shell) -> None:
    with_kms(shell)
    with closing(sqlite3.connect(shell.path("kms.db"), isolation_level=None)) as db:
        db.execute("UPDATE users SET psk = (SELECT max(psk) FROM users)")
    ran = shell.run("mikeytool kms check kms.db --json")
    assert ran.code == 1
    checks = {one["check"]: one for one in json.loads(ran.out)["checks"]}
    assert [name for name, one in checks.items() if not one["ok"]] == ["users"]
    assert "does not open" in checks["users"]["faults"][0]
    assert "does not open" in shell.run("mikeytool kms check kms.db").out


def test_a_backup(shell: Shell) -> None:
    with_kms(shell).ok("mikeytool kms backup kms.db copy.db")
    assert not shell.path("copy.db.key").exists()
    shell.fails("mikeytool kms backup kms.db copy.db", 4, "--force")
    shell.ok("mikeytool kms backup kms.db copy.db --with-key --force")
    shell.ok("mikeytool kms check copy.db")
    shell.fails("mikeytool kms backup nowhere copy2.db", 4, "nowhere")


def test_other_key_pairs(shell: Shell) -> None:
    make = "mikeytool keygen rsa --identity"
    shell.ok(
        f"{make} sip:kms.example.com -o kms.pem --cert-out kms.crt\n"
        f"{make} sip:kms.example.com -o new.pem --cert-out new.crt\n"
        f"{make} sip:other.example.com -o other.pem --cert-out other.crt"
    )
    init = "mikeytool kms init -q kms.db --id sip:kms.example.com"
    shell.fails(f"{init} --private-key kms.pem", 2, "go together")
    shell.fails(f"{init} --private-key kms.pem --cert other.crt", 2, "does not belong to")
    shell.fails(f"{init} --private-key other.pem --cert other.crt", 2, "does not name")
    shell.fails(f"{init} --private-key kms.crt --cert kms.crt", 3, "no private key")
    shell.fails(f"{init} --private-key nowhere --cert kms.crt", 4, "nowhere")
    shell.ok(f"{init} --private-key kms.pem --cert kms.crt")
    key = "mikeytool kms key"
    shell.fails(f"{key} add kms.db --private-key kms.pem --cert kms.crt", 4, "exists already")
    shell.ok(f"{key} add kms.db --private-key new.pem --cert new.crt")
    listed = json.loads(shell.ok(f"{key} list kms.db --json"))["keys"]
    assert len({one["sha256"] for one in listed}) == 2
    shell.ok(f"{key} remove kms.db kms.crt")
    assert json.loads(shell.ok(f"{key} list kms.db --json"))["keys"] == listed[1:]
    shell.fails(f"{key} remove kms.db kms.crt", 4, "not there")
    trust = "mikeytool kms trust"
    shell.ok(f"{trust} add kms.db new.crt\n{trust} list kms.db | grep -q sha256:")
    shell.fails(f"{trust} add kms.db new.crt", 4, "exists already")
    shell.fails(f"{trust} add kms.db new.pem", 3, "no certificate")
    shell.ok(f"{trust} remove kms.db new.crt")
    assert json.loads(shell.ok(f"{trust} list kms.db --json")) == {"trusted": []}


def test_no_key_shows(shell: Shell) -> None:
    """In no output, no error and no traceback; what is to be handed out goes into files."""
    with_kms(shell).ok(
        "mikeytool kms tpk add kms.db --shared-with sip:bob@example.com -o bob.tpk\n"
        "mikeytool kms init -q far.db --id sip:far.example.com\n"
        f"echo {KEY} > peer.key\n"
        "mikeytool kms peer add kms.db sip:far.example.com --store far.db --psk file:peer.key"
        " --for 'sip:*@far.example.com'\n"
        f"{REQUEST} --pending p -o request\ncp request broken\n"
        "printf 'uri\\nsip:x@example.com\\n' > users.csv\n"
        "mikeytool keygen rsa --identity sip:kms.example.com -o kms.pem --cert-out kms.crt\n"
        "mikeytool kms key add kms.db --private-key kms.pem --cert kms.crt"
    )
    names = ("alice.psk", "bob.psk", "bob.tpk", "peer.key", "kms.db.key")
    secrets = [bytes.fromhex(shell.path(name).read_text()) for name in names]
    commands = [
        "handle kms.db request", "handle kms.db request", "handle kms.db broken --send-errors",
        "show kms.db", "check kms.db", "check kms.db --json", "log kms.db", "log kms.db --json",
        "user list kms.db --json", "user show kms.db sip:alice@example.com", "tpk list kms.db",
        "peer list kms.db --json", "policy show kms.db", "key list kms.db", "trust list kms.db",
        "user add kms.db sip:alice@example.com --psk file:alice.psk",
        "user rekey kms.db sip:nobody@example.com --psk file:alice.psk",
        "tpk add kms.db --shared-with sip:x@example.com --name tpk-1 --tpk file:bob.tpk",
        "peer add kms.db sip:far.example.com --store far.db --psk file:peer.key --for x",
        "user import kms.db users.csv -o imported", "user import kms.db users.csv -o more",
        "backup kms.db copy.db --with-key", "init kms.db --id sip:x",
    ]  # fmt: skip
    ran = [shell.run(f"mikeytool --debug kms {command}") for command in commands]
    assert {one.code for one in ran} == {0, 1, 4}
    said = "".join(one.out + one.err for one in ran)
    assert "Traceback" in said
    for secret in secrets:
        for text in (secret.hex(), base64.b64encode(secret).decode()[:-4], repr(secret)[2:-1]):
            assert text not in said
    assert "PRIVATE" not in said


@pytest.mark.parametrize("command", ["user", "policy", "trust", "peer", "key", "group", "tpk"])
def test_help_of_every_group(shell: Shell, command: str) -> None:
    shown = shell.ok(f"mikeytool kms {command} --help", COLUMNS="80")
    assert max(map(len, shown.splitlines())) <= 80
    assert "list" in shown


def test_what_overwrites_nothing_that_is_needed(shell: Shell) -> None:
    """A new store that cannot be made, and a copy over the sealing key or another file."""
    with_kms(shell)
    init = "mikeytool kms init -q kms.db --id sip:kms.example.com --force"
    before = {path.name: path.read_bytes() for path in shell.folder.iterdir()}
    for seal in ("env:NOPE", "file:nowhere"):
        shell.fails(f"{init} --seal {seal}", 4, seal.split(":")[1])
    shell.fails("mikeytool kms backup kms.db kms.db.key --force", 4, "this is its sealing key")
    shell.fails("mikeytool kms backup kms.db alice.psk --force", 4, "no KMS store")
    assert {path.name: path.read_bytes() for path in shell.folder.iterdir()} == before
    assert "max-skew" in shell.ok("mikeytool kms backup --help")
    shell.ok(f"{init}; mikeytool kms check kms.db")


def test_a_copy_is_restored(shell: Shell) -> None:
    with_kms(shell).ok(
        "mikeytool kms backup -q kms.db copy.db\n"
        "mikeytool kms user add -q kms.db sip:later@example.com -o later.psk"
    )
    shell.fails("mikeytool kms restore copy.db kms.db", 4, "--force")
    shell.ok("mikeytool kms restore copy.db kms.db --force")
    shell.fails("mikeytool kms user show kms.db sip:later@example.com", 4, "no user")
    assert "restore copy.db" in shell.ok("mikeytool kms log kms.db")
    ask = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db --save t"
    shell.ok(f"{ask}\nmikeytool kms check kms.db")
    shell.fails("mikeytool kms restore alice.psk new.db", 4, "no KMS store")
    shell.path("apart").mkdir()
    apart = "mikeytool kms restore copy.db apart/new.db"
    shell.fails(apart, 4, "apart/new.db: its sealing key cannot be read", "apart/new.db.key: ")
    assert not list(shell.path("apart").iterdir())
    shell.fails("mikeytool kms init nowhere/new.db --id sip:k", 4, "nowhere/new.db: its folder")


def test_a_damaged_store(shell: Shell) -> None:
    with_kms(shell)
    with closing(sqlite3.connect(shell.path("kms.db"))) as db:
        db.execute("DROP TABLE rules")
    for command in ("check kms.db", "check kms.db --json", "policy list kms.db"):
        shell.fails(f"mikeytool kms {command}", 4, "kms.db")
