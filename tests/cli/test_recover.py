"""`transfer recover`: whoever captured a call and holds a key of it listens in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import ALICE, BOB, Shell, with_ticket

RECOVER = "mikeytool transfer recover --init init --resp resp --session c"


def captured(shell: Shell, options: str = "", respond: str = "") -> Shell:
    """A call of Alice to Bob, all of whose messages are in files."""
    with_ticket(shell, options).ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --session a"
        " --cs dir=send,ssrc=0x11 --cs dir=recv > init\n"
        f"mikeytool ticket resolve init {BOB} --kms-id sip:kms.example.com --pending p > asked\n"
        "mikeytool kms handle kms.db asked > told\n"
        "mikeytool ticket accept told --pending p --save bob.ticket\n"
        f"mikeytool transfer respond init {BOB} --ticket bob.ticket --session b {respond} > resp\n"
        "mikeytool transfer finish resp --session a"
    )
    return shell


def streams(shell: Shell, name: str) -> list[dict[str, Any]]:
    shown: dict[str, Any] = json.loads(
        shell.ok(f"mikeytool transfer show {name} --json --show-keys")
    )
    return [
        {key: one[key] for key in ("cs_id", "suite", "master_key", "master_salt", "mki")}
        for one in shown["crypto_sessions"]
    ]


def test_a_users_key_opens_both_directions(shell: Shell) -> None:
    """With key forking, what the KMS told Bob; the session is that of an observer."""
    captured(shell).ok(
        f"{RECOVER} --with asked --with told --psk file:bob.psk\n"
        "echo 80000001000000a00000001168656c6c6f > rtp\n"
        "mikeytool srtp encrypt rtp --session a > srtp\n"
        "mikeytool srtp decrypt srtp --session c | diff - rtp"
    )
    assert streams(shell, "c") == streams(shell, "a") == streams(shell, "b")
    shown = json.loads(shell.ok("mikeytool transfer show c --json"))
    assert (shown["role"], shown["local"]) == ("observer", "sip:alice@example.com")
    assert {one["direction"] for one in shown["crypto_sessions"]} == {"recv"}
    shell.fails("mikeytool srtp encrypt rtp --session c", 2, "no SRTP stream to send")
    shell.fails("mikeytool transfer update --session c --cs dir=send", 1, "observer")


def test_mpks_open_what_the_two_sent(shell: Shell) -> None:
    captured(shell, "--key-type none --flags=+M", "--kemac tek+salt")
    held = json.loads(shell.ok("mikeytool ticket show alice.ticket --json --show-keys"))
    csb_id = json.loads(shell.ok("mikeytool transfer show a --json"))["csb_id"]
    shell.path("tab").write_text(f"mpki {csb_id} {held['mpki']}\nmpkr {csb_id} {held['mpkr']}\n")
    shell.ok(f"{RECOVER} --keys tab")
    assert streams(shell, "c") == streams(shell, "a")


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (RECOVER, 2, "give a key"),
        (f"{RECOVER} --psk file:bob.psk", 1, "opens TRANSFER_INIT"),
        (f"{RECOVER} --tpk file:bob.psk", 1, "opens TRANSFER_INIT"),
        (RECOVER.replace("--resp resp", "--resp init") + " --psk file:bob.psk --with asked"
         " --with told", 3, "TRANSFER_RESP is expected"),
        (f"{RECOVER} --psk file:bob.psk --with asked --with bob.psk", 3, ""),
        (RECOVER.replace("init --resp", "- --resp").replace("resp --session", "- --session")
         + " --psk file:bob.psk", 2, "standard input"),
        (f"{RECOVER} --psk file:bob.psk --with asked --with told --session a", 4, "exists"),
    ],
)  # fmt: skip
def test_what_is_refused(shell: Shell, command: str, code: int, words: str) -> None:
    captured(shell).fails(command, code, words)
    assert not shell.path("c").exists()


def test_the_keys_of_alice_do_not_open_the_call_of_eve(shell: Shell) -> None:
    """Her ticket is another one, whatever else she was told."""
    captured(shell).ok(
        "mikeytool kms user add -q kms.db sip:eve@example.com -o eve.psk\n"
        "mikeytool ticket request --as sip:eve@example.com --psk file:eve.psk --to"
        " sip:bob@example.com --kms-id sip:kms.example.com --pending e > eve-asked\n"
        "mikeytool kms handle kms.db eve-asked > eve-told"
    )
    shell.fails(f"{RECOVER} --psk file:eve.psk --with eve-asked --with eve-told", 1, "opens")
    assert ALICE.split()[1] in json.loads(shell.ok("mikeytool transfer show a --json"))["local"]
