"""`kms serve`, and the commands that ask a KMS by URL, as one types them."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.cli.shell import ALICE, BOB, Shell, with_kms
from tests.kms.certificates import Authority
from tests.kms.serving import Server, serving

TLS = ("--tls-cert", "kms.pem", "--tls-key", "kms.key")
KMS = "--kms-id sip:kms.example.com --kms-ca ca.pem"
ASK = f"mikeytool ticket request {ALICE} --to sip:bob@example.com"


@pytest.fixture
def tls(shell: Shell) -> Shell:
    """A KMS, and certificates."""
    authority = Authority(shell.folder, "ca")
    for name in ("kms", "client"):
        authority.issue(name)
    shell.ok("cat client.pem client.key > me.pem")
    return with_kms(shell)


@contextmanager
def running(shell: Shell, *options: str, store: str = "kms.db") -> Iterator[Server]:
    with serving(shell.folder, store, *TLS, *options, MIKEYTOOL_KMS_CA="ca.pem") as server:
        yield server


def test_the_whole_story(tls: Shell) -> None:
    with running(tls, "--workers", "2") as server:
        assert server.url.startswith("https://127.0.0.1:")
        kms = f"--kms {server.url} {KMS}"
        tls.ok(f"{ASK} {kms} --save alice.ticket")
        tls.ok(
            "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
            " --session alice.session > init"
        )
        tls.ok(
            f"mikeytool ticket resolve {BOB} {kms} --save bob.ticket init",
            MIKEYTOOL_STATE="other",  # or it would be known already when Bob responds
        )
        tls.ok(
            f"mikeytool transfer respond init {BOB} --session bob.session > resp",
            MIKEYTOOL_KMS=server.url,
            MIKEYTOOL_KMS_ID="sip:kms.example.com",
            MIKEYTOOL_KMS_CA="ca.pem",
        )
        tls.ok("mikeytool transfer finish resp --session alice.session")
        keys = {
            tls.ok(f"mikeytool transfer show {who}.session --json --show-keys | jq -c"
                   " '[.crypto_sessions[].keys]'")
            for who in ("alice", "bob")
        }  # fmt: skip
        assert len(keys) == 1
        log = [json.loads(line) for line in tls.ok("mikeytool kms log kms.db --json").splitlines()]
        asked = [one["outcome"] for one in log if one["by"] != "operator"]
        assert asked == ["answered"] * 3


def test_what_is_said_when_it_fails(tls: Shell) -> None:
    with running(tls) as server:
        url = server.url
        tls.fails(f"{ASK} --kms {url} --save t", 5, "certificate is not good", "--kms-ca")
        tls.fails(f"{ASK} --kms {url} --kms-ca ca.pem --save t", 1, "Invalid ID", "--kms-id")
        tls.fails(f"{ASK} --kms {url}/x {KMS} --save t", 5, "no KMS at this address")
        tls.fails(f"{ASK} --kms {url} {KMS} --kms-ca no.pem --save t", 4, "no.pem")
        tls.fails(f"{ASK} --kms http{url[5:]} --save t", 5, "https")
        wrong = ASK.replace("alice.psk", "bob.psk")
        ran = tls.fails(f"{wrong} --kms {url} {KMS} --save t", 1, "--psk")
        assert len(ran.err.splitlines()) == 1
    tls.fails(f"{ASK} --kms {url} {KMS} --save t", 5, "refused", "port")
    tls.fails(f"{ASK} --kms http://kms.example.com --save t", 2, "https")
    tls.fails(f"{ASK} --kms https://me:pw@localhost --save t", 2, "password")
    tls.fails(f"{ASK} --kms ftp://localhost --save t", 2, "https://")
    assert not tls.path("t").exists()


def test_the_host_is_the_kms_unless_another_one_is_named(tls: Shell) -> None:
    tls.ok(
        "mikeytool kms init -q host.db --id localhost;"
        " mikeytool kms user add -q host.db sip:alice@example.com --psk file:alice.psk"
    )
    with running(tls, store="host.db") as server:
        url = f"https://localhost:{server.port}"
        tls.ok(f"{ASK} --kms {url} --kms-ca ca.pem --save t")
        assert json.loads(tls.ok("mikeytool ticket show t --json"))["kms"] == "localhost"


def test_clients_need_certificates(tls: Shell) -> None:
    with running(tls, "--client-ca", "ca.pem") as server:
        ask = f"{ASK} --kms {server.url} {KMS} --save t"
        tls.fails(ask, 5, "--kms-client")
        tls.fails(f"{ask} --kms-client ca.pem", 4, "private key")
        tls.ok(f"{ask} --kms-client me.pem")
        tls.ok(f"{ask} --force", MIKEYTOOL_KMS_CLIENT="me.pem")


def test_two_kmss(tls: Shell) -> None:
    """Alice's ticket is resolved for Dan by his own KMS, which asks hers (interpretation 38)."""
    key = "--psk b64:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    tls.ok("mikeytool kms init -q far.db --id sip:far.example\n"
           "mikeytool kms user add -q far.db sip:dan@far.example -o dan.psk")  # fmt: skip
    near = running(tls)
    with near as server, running(tls, store="far.db") as far:
        add = "mikeytool kms peer add --for 'sip:*@far.example' --for 'sip:*@example.com'"
        for bad in ("http://far.example", "https://a:b@far.example", "far.example"):
            tls.fails(f"{add} far.db sip:kms.example.com --url {bad} {key}", 2)
        tls.fails(f"{add} far.db sip:far.example --url https://far.example {key}", 2, "itself")
        tls.fails(f"{add} far.db sip:kms.example.com {key}", 2, "--url")
        tls.ok(f"{add} far.db sip:kms.example.com --url {server.url} {key}")
        tls.ok(f"{add} kms.db sip:far.example --url {far.url} {key}")
        listed = json.loads(tls.ok("mikeytool kms peer list far.db --json"))
        assert listed == {"peers": [{
            "kms": "sip:kms.example.com", "url": server.url,
            "for": ["sip:*@example.com", "sip:*@far.example"],
        }]}  # fmt: skip
        tls.ok(
            f"mikeytool ticket request {ALICE} --to sip:dan@far.example --kms {server.url} {KMS}"
            " --save t"
        )
        init = "mikeytool transfer init --ticket t --to sip:dan@far.example --session"
        tls.ok(f"{init} a.session > init; {init} b.session > other")
        dan = "--as sip:dan@far.example --psk file:dan.psk"
        respond = f"mikeytool transfer respond {dan} --kms-id sip:far.example --kms-ca ca.pem"
        tls.ok(f"{respond} init --kms {far.url} --session dan.session > resp")
        tls.ok("mikeytool transfer finish resp --session a.session")
        assert "via sip:far.example" in tls.ok("mikeytool kms log kms.db")
        assert server.end() == 0
        # The far one alone: its user is told, by an Error message, and so is the shell.
        tls.fails(f"{respond} other --kms {far.url} --session d2.session", 1)
        tls.fails(
            "mikeytool ticket resolve other --as sip:dan@far.example --psk file:dan.psk"
            " --kms far.db --save r", 5, "sip:kms.example.com", "refused",
            MIKEYTOOL_KMS_CA="ca.pem",
        )  # fmt: skip


def test_what_cannot_be_served(tls: Shell) -> None:
    for options, code, words in (
        ("--listen 0.0.0.0:0", 2, "--tls-cert"),
        ("--listen '[::]:0'", 2, "--tls-cert"),
        ("--listen 8443", 2, "HOST:PORT"),
        ("--listen 127.0.0.1:65536", 2, "HOST:PORT"),
        ("--listen ::1:8443", 2, "HOST:PORT"),
        ("--listen no.invalid:0", 2, "no such address"),
        ("--tls-cert kms.pem", 2, "--tls-key"),
        ("--client-ca ca.pem", 2, "--tls-cert"),
        ("--workers 0", 2, "--workers"),
        ("--proxy proxy.example.com --listen 127.0.0.1:0", 2, "--proxy"),
        ("--proxy 192.0.2.1/24 --listen 127.0.0.1:0", 2, "192.0.2.1/24"),
        ("--tls-cert kms.pem --tls-key client.key", 4, "client.key"),
        ("--tls-cert kms.key --tls-key kms.key", 4, "kms.key"),
        ("--tls-cert none.pem --tls-key kms.key", 4, "none.pem"),
        ("--tls-cert kms.pem --tls-key kms.key --client-ca alice.psk", 4, "alice.psk"),
        ("--listen 192.0.2.1:0 --tls-cert kms.pem --tls-key kms.key", 4, "192.0.2.1"),
    ):
        ran = tls.fails(f"mikeytool kms serve kms.db {options}", code, words)
        assert len(ran.err.splitlines()) == 1


def test_stores_that_do_not_open(tls: Shell) -> None:
    serve = "mikeytool kms serve --listen 127.0.0.1:0"
    tls.fails(f"{serve} none.db", 4, "none.db")
    tls.fails(f"{serve} alice.psk", 4, "alice.psk")
    tls.ok("mv kms.db.key away")
    ran = tls.fails(f"{serve} kms.db --workers 2", 4, "sealing key", "kms.db.key")
    assert len(ran.err.splitlines()) == 1
    assert "listens" not in ran.err


def test_an_address_that_is_taken(tls: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        tls.fails(f"mikeytool kms serve kms.db --listen {address}", 4, address, "in use")


def test_a_key_with_a_passphrase(tls: Shell) -> None:
    Authority(tls.folder, "other").issue("safe", b"secret words")
    serve = "mikeytool kms serve kms.db --tls-cert safe.pem --tls-key safe.key"
    for given in ("", "wrong"):
        tls.fails(serve, 4, "passphrase", MIKEYTOOL_KEY_PASSPHRASE=given)
    options = ("--tls-cert", "safe.pem", "--tls-key", "safe.key")
    with serving(tls.folder, "kms.db", *options, MIKEYTOOL_KEY_PASSPHRASE="secret words") as server:
        tls.ok(f"{ASK} --kms {server.url} --kms-ca other.pem --kms-id sip:kms.example.com --save t")


def test_ipv6(tls: Shell) -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with serving(tls.folder, "kms.db", "--listen", "[::1]:0") as server:
        assert server.url.startswith("http://[::1]:")
        tls.ok(f"{ASK} --kms {server.url} --kms-id sip:kms.example.com --save t")


def test_the_clock_is_the_real_one(tls: Shell) -> None:
    tls.fails("mikeytool kms serve kms.db", 2, "MIKEYTOOL_NOW", MIKEYTOOL_NOW="2026-01-01")


def test_packages_that_are_missing(tls: Shell) -> None:
    """Without the extra, one line says what to install."""
    code = (
        "import importlib.util, sys; found = importlib.util.find_spec;"
        "importlib.util.find_spec = lambda name, *more: None if name == 'uvicorn'"
        " else found(name, *more);"
        "from mikeytool.cli.main import main; main()"
    )
    tls.path("without.py").write_text(code)
    ran = tls.fails(f"{sys.executable} without.py kms serve kms.db", 2, "mikeytool[server]")
    assert len(ran.err.splitlines()) == 1
