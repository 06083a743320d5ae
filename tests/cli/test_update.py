"""Updating a session from the shell (RFC 6043 5.2): new keys, new streams, packets across."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import Shell, with_sessions

PACKET = "8000{seq:04x}000000a0{ssrc}68656c6c6f"


def session(shell: Shell, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(
        shell.ok(f"mikeytool transfer show {name}.session --json --show-keys")
    )
    return shown


def rekey(
    shell: Shell, starter: str, other: str, options: str = "--kemac tek+salt", **variables: str
) -> None:
    shell.ok(
        f"mikeytool transfer update --session {starter}.session {options} > update\n"
        f"mikeytool transfer respond update --session {other}.session > answer\n"
        f"mikeytool transfer finish answer --session {starter}.session",
        **variables,
    )


@pytest.mark.parametrize(("starter", "other"), [("alice", "bob"), ("bob", "alice")])
def test_media_goes_on_under_a_new_key(shell: Shell, starter: str, other: str) -> None:
    with_sessions(shell, "--flags=+LM")
    ssrc = session(shell, "alice")["crypto_sessions"][0]["ssrc"][2:]

    def send(seq: int) -> str:
        shell.path("packet").write_text(PACKET.format(seq=seq, ssrc=ssrc) + "\n")
        return shell.ok("mikeytool srtp encrypt packet --session alice.session")

    before, late = send(0xFFFE), send(0xFFFF)
    rekey(shell, starter, other)
    after = send(0)
    shell.path("all").write_text(f"{before}\n{after}\n{late}\n")
    clear = shell.ok("mikeytool srtp decrypt all --session bob.session").splitlines()
    assert clear == [PACKET.format(seq=seq, ssrc=ssrc) for seq in (0xFFFE, 0, 0xFFFF)]
    old, new = (session(shell, name)["crypto_sessions"][0] for name in ("alice", "bob"))
    assert old["master_key"] == new["master_key"]
    assert [key["state"] for key in new["keys"]] == ["active", "overlap"]
    shell.fails("mikeytool srtp encrypt packet --session alice.session", 1, "packet index")


def test_a_replaced_key_is_good_for_a_short_time_and_then_forgotten(shell: Shell) -> None:
    """Someone who has left may have it."""
    with_sessions(shell, "--flags=+LM")
    ssrc = session(shell, "alice")["crypto_sessions"][0]["ssrc"][2:]
    shell.path("packet").write_text(PACKET.format(seq=1, ssrc=ssrc) + "\n")
    shell.ok("mikeytool srtp encrypt packet --session alice.session -o late")
    old = session(shell, "bob")["crypto_sessions"][0]["mki"]
    rekey(shell, "alice", "bob")
    later = {"MIKEYTOOL_NOW": "now+3m"}
    shell.ok("mikeytool srtp decrypt late --session bob.session")
    shell.fails("mikeytool srtp decrypt late --session bob.session", 1, "does not verify", **later)
    shown = json.loads(shell.ok("mikeytool transfer show bob.session --json", **later))
    assert [key["state"] for key in shown["crypto_sessions"][0]["keys"]] == ["active", "expired"]
    rekey(shell, "alice", "bob")
    keys = session(shell, "bob")["crypto_sessions"][0]["keys"]
    assert len(keys) == 2
    assert old not in [key["spi"] for key in keys]


def test_a_stream_is_added(shell: Shell) -> None:
    with_sessions(shell)
    rekey(shell, "bob", "alice", "--cs dir=send,ssrc=0x99")
    alice, bob = session(shell, "alice"), session(shell, "bob")
    assert [one["direction"] for one in bob["crypto_sessions"]] == ["recv", "send", "send"]
    assert [one["direction"] for one in alice["crypto_sessions"]] == ["send", "recv", "recv"]
    assert alice["crypto_sessions"][2]["ssrc"] == "0x00000099"
    assert alice["crypto_sessions"][2]["master_key"] == bob["crypto_sessions"][2]["master_key"]


def test_what_is_refused(shell: Shell) -> None:
    with_sessions(shell)
    shell.fails("mikeytool transfer update --session alice.session --kemac tek", 1, "no L flag")
    shell.fails("mikeytool transfer update --session alice.session", 2, "update")
    rekey(shell, "alice", "bob", "--cs dir=send")
    shell.fails("mikeytool transfer respond update --session bob.session", 1, "seen already")
    shell.fails("mikeytool transfer respond update --session alice.session", 1, "one's own")
    shell.fails("mikeytool transfer finish answer --session alice.session", 1, "has its answer")
