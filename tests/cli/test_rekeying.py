"""The rekeying interval of a ticket in a session of two (RFC 6043 6.10, TRr)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.cli.shell import Shell, with_sessions
from tests.cli.test_update import PACKET, rekey


def at(minutes: float) -> dict[str, str]:
    return {"MIKEYTOOL_NOW": f"now+{int(minutes * 60)}s"}


@pytest.fixture
def ten_minutes(shell: Shell) -> Shell:
    """Alice and Bob, whose ticket wants other keys every ten minutes, and a packet of Alice's."""
    with_sessions(shell, "--flags=+LM --rekey-every 10m")
    shown = json.loads(shell.ok("mikeytool transfer show alice.session --json"))
    ssrc = shown["crypto_sessions"][0]["ssrc"][2:]
    shell.path("packet").write_text(PACKET.format(seq=1, ssrc=ssrc) + "\n")
    return shell


ENCRYPT = "mikeytool srtp encrypt packet --session alice.session"


def test_it_is_told_when_it_is_time(ten_minutes: Shell) -> None:
    ten_minutes.path("p1").write_text(ten_minutes.path("packet").read_text())
    assert "TRr" not in ten_minutes.run(ENCRYPT, **at(5)).err
    ten_minutes.path("packet").write_text(
        ten_minutes.path("packet").read_text().replace("80000001", "80000002")
    )
    due = ten_minutes.run(ENCRYPT, **at(9.5))
    assert (due.code, "replace the keys" in due.err) == (0, True)


@pytest.mark.parametrize(
    "command",
    [
        ENCRYPT,
        "mikeytool transfer update --session alice.session --kemac tek+salt",
        "mikeytool transfer update --session bob.session --cs dir=send",
    ],
)
def test_nothing_is_sent_after_it(ten_minutes: Shell, command: str) -> None:
    ten_minutes.fails(command, 1, "TRr", "another session", **at(11))
    ten_minutes.ok(command, **at(8))


def test_a_new_key_begins_another_interval(ten_minutes: Shell) -> None:
    def end(name: str) -> Any:
        shown = json.loads(ten_minutes.ok(f"mikeytool transfer show {name}.session --json"))
        return shown["rekey_by"]

    before = end("alice"), end("bob")
    rekey(ten_minutes, "alice", "bob", **at(9))
    assert end("alice") > before[0]
    assert end("bob") > before[1]
    ten_minutes.ok(ENCRYPT, **at(18))
    ten_minutes.fails(ENCRYPT, 1, "TRr", **at(20))


def test_another_stream_is_no_new_key(ten_minutes: Shell) -> None:
    rekey(ten_minutes, "alice", "bob", "--cs dir=send", **at(9))
    ten_minutes.fails(ENCRYPT, 1, "TRr", **at(11))


def test_a_key_for_one_stream_leaves_the_other_old(ten_minutes: Shell) -> None:
    rekey(ten_minutes, "alice", "bob", "--kemac tek+salt --cs dir=send,id=1", **at(9))
    ten_minutes.fails(ENCRYPT, 1, "TRr", **at(11))


def test_an_update_on_its_way_at_the_end(ten_minutes: Shell) -> None:
    """Whoever answers takes new keys late, and nothing else."""
    update = "mikeytool transfer update --session alice.session"
    more = ten_minutes.ok(f"{update} --cs dir=send", **at(9.8))
    new = ten_minutes.ok(f"{update} --kemac tek+salt", **at(9.9))
    respond = "mikeytool transfer respond {} --session bob.session"
    ten_minutes.fails(respond.format(more), 1, "TRr", **at(10.5))
    ten_minutes.ok(respond.format(new), **at(10.5))


def test_a_ticket_without_an_interval(shell: Shell) -> None:
    with_sessions(shell)
    shown = json.loads(shell.ok("mikeytool transfer show alice.session --json"))
    assert shown["rekey_by"] is None
