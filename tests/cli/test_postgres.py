"""`kms` commands on a PostgreSQL database, and a store that moves there and back."""

from __future__ import annotations

import json

import pytest

from tests.cli.shell import ALICE, BOB, Shell
from tests.postgres import Server


@pytest.fixture
def lab(shell: Shell, postgres: Server) -> Shell:
    """A shell with a KMS in the database `$KMS`."""
    shell.variables["KMS"] = postgres.new()
    shell.ok(
        "openssl rand -hex 32 > seal.key\n"
        'mikeytool kms init -q "$KMS" --id sip:kms.example.com --seal file:seal.key\n'
        'mikeytool kms user add -q "$KMS" sip:alice@example.com -o alice.psk\n'
        'mikeytool kms user add -q "$KMS" sip:bob@example.com -o bob.psk'
    )
    return shell


REQUEST = f"mikeytool ticket request {ALICE} --to sip:bob@example.com"


def test_a_call_by_a_kms_in_a_database(lab: Shell) -> None:
    lab.ok(
        f'{REQUEST} --kms "$KMS" --save ticket\n'
        "mikeytool transfer init --ticket ticket --to sip:bob@example.com --session a"
        f' | mikeytool transfer respond {BOB} --kms "$KMS" --session b'
        " | mikeytool transfer finish --session a"
    )
    shown = json.loads(lab.ok('mikeytool kms show "$KMS" --json'))
    assert shown["users"] == 2
    assert shown["sealed_under"] == f"file:{lab.path('seal.key')}"
    log = [json.loads(line) for line in lab.ok('mikeytool kms log "$KMS" --json').splitlines()]
    assert [one["exchange"] for one in log] == ["change", "change", "request", "resolve"]
    lab.ok('mikeytool kms check "$KMS"')


def test_every_kind_of_command(lab: Shell) -> None:
    lab.ok(
        'mikeytool kms group add "$KMS" sip:team@example.com sip:bob@example.com\n'
        'mikeytool kms group list "$KMS"\n'
        'mikeytool kms policy set "$KMS" --max-validity 8h\n'
        'mikeytool kms policy deny "$KMS" --from "*" --to "sip:x@*"\n'
        'mikeytool kms policy list "$KMS"\n'
        'mikeytool kms policy show "$KMS"\n'
        'mikeytool kms tpk rotate "$KMS"\n'
        'mikeytool kms tpk list "$KMS"\n'
        'mikeytool kms user list "$KMS"\n'
        'mikeytool kms user disable "$KMS" sip:bob@example.com\n'
        'mikeytool kms user rekey "$KMS" sip:bob@example.com -o bob.psk2\n'
        'mikeytool kms user remove "$KMS" sip:bob@example.com\n'
        "echo uri,psk > users.csv; echo sip:carol@example.com, >> users.csv\n"
        'mikeytool kms user import "$KMS" users.csv -o keys'
    )
    lab.fails('mikeytool kms user add "$KMS" sip:alice@example.com', 4, "exists already")
    lab.fails('mikeytool kms user disable "$KMS" sip:nobody@example.com', 4, "kms user list")
    lab.fails('mikeytool kms backup "$KMS" copy.db', 2, "kms copy")
    lab.fails('mikeytool kms backup "$KMS" copy.db --with-key', 2)


def test_a_store_that_moves_to_a_file_and_back(lab: Shell, postgres: Server) -> None:
    lab.ok(
        f"{REQUEST} --kms-id sip:kms.example.com --pending p -o request\n"
        'mikeytool kms handle "$KMS" request | mikeytool ticket accept --pending p --save t\n'
        'mikeytool kms copy "$KMS" copy.db'
    )
    lab.fails("mikeytool kms handle copy.db request", 1, "replay")
    lab.fails('mikeytool kms copy copy.db "$KMS" --seal file:seal.key', 4, "already")
    lab.fails('mikeytool kms copy "$KMS" copy.db', 4, "already")
    again = {"AGAIN": postgres.new()}
    lab.fails('mikeytool kms copy copy.db "$AGAIN"', 2, "--seal file:PATH", **again)
    ran = lab.run('mikeytool kms copy copy.db "$AGAIN" --seal file:copy.db.key', **again)
    assert (ran.code, ran.out) == (0, "")
    assert ran.err.endswith("rows\n")
    lab.ok(f'{REQUEST} --kms "$AGAIN" --save ticket', **again)


def test_errors_of_a_database(lab: Shell, postgres: Server) -> None:
    empty = {"KMS": postgres.new()}
    lab.fails('mikeytool kms show "$KMS"', 4, "no KMS store in this database", **empty)
    lab.fails('mikeytool kms init "$KMS" --id sip:k', 2, "--seal", **empty)
    lab.fails('mikeytool kms init "$KMS" --id sip:k --seal file:seal.key', 4, "already")
    lab.fails("mikeytool kms show postgresql://kms@127.0.0.1:1/kms", 4, "Connection refused")
    ran = lab.fails("mikeytool kms show postgresql://kms:topsecret@localhost/kms", 2, "PGPASSFILE")
    assert "topsecret" not in ran.err
    lab.path("seal.key").write_text("another key, of 32 octets or more")
    lab.fails(f'{REQUEST} --kms "$KMS" --save ticket', 4, "not what the store is sealed with")
