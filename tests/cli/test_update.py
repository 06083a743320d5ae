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


@pytest.mark.parametrize("columns", [{}, {"COLUMNS": "80"}])
def test_the_keys_that_were_replaced_are_shown(shell: Shell, columns: dict[str, str]) -> None:
    with_sessions(shell, "--flags=+LM")
    assert "replaced" not in shell.ok("mikeytool transfer show alice.session", **columns)
    rekey(shell, "alice", "bob")
    for state, later in (("overlap", {}), ("expired", {"MIKEYTOOL_NOW": "now+3m"})):
        variables = columns | later
        out = shell.ok("mikeytool transfer show alice.session --show-keys", **variables)
        words = [word for word in out.split() if word not in ("master", "key", "salt", "state")]
        rows = [words[at : at + 4] for at in range(len(words))]  # narrow ones take two lines
        for one in session(shell, "alice")["crypto_sessions"]:
            new, old = one["keys"]
            assert [new["spi"], new["master_key"], new["master_salt"], "active"] in rows
            assert [old["spi"], old["master_key"], old["master_salt"], state] in rows


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


def streams(shell: Shell, name: str) -> dict[int, dict[str, Any]]:
    return {one["cs_id"]: one for one in session(shell, name)["crypto_sessions"]}


@pytest.mark.parametrize(("owner", "other", "cs_id"), [("alice", "bob", 1), ("bob", "alice", 2)])
def test_a_stream_is_changed_by_its_sender(
    shell: Shell, owner: str, other: str, cs_id: int
) -> None:
    with_sessions(shell)
    before = streams(shell, owner)
    rekey(shell, owner, other, f"--cs dir=send,id={cs_id},ssrc=0x77,roc=2,seq=65535")
    for name in (owner, other):
        after = streams(shell, name)
        one = after.pop(cs_id)
        assert (one["ssrc"], one["roc"], one["seq"]) == ("0x00000077", 2, 65535)
        assert one["master_key"] == before[cs_id]["master_key"]
        assert after[3 - cs_id]["ssrc"] == before[3 - cs_id]["ssrc"]
    # ROC and SEQ say where the stream goes on, at both ends, whatever was sent before.
    shell.path("packets").write_text(
        "".join(PACKET.format(seq=seq, ssrc="00000077") + "\n" for seq in (65535, 0))
    )
    shell.ok(f"mikeytool srtp encrypt packets --session {owner}.session -o sent")
    sent = json.loads(shell.path(f"{owner}.session").read_text())["sent"]
    assert max(rtp for rtp, _ in sent.values()) == 3 << 16
    clear = shell.ok(f"mikeytool srtp decrypt sent --session {other}.session")
    assert clear.splitlines() == shell.path("packets").read_text().splitlines()
    # Another update leaves them as they are.
    rekey(shell, owner, other, f"--cs dir=send,id={cs_id}")
    assert streams(shell, other)[cs_id]["roc"] == 2


@pytest.mark.parametrize(
    ("options", "suites"),
    [
        ("--suite AES_CM_128_HMAC_SHA1_32", [32, 32]),
        ("--suite AES_CM_128_HMAC_SHA1_32 --cs dir=recv,id=2", [80, 32]),
        ("--suite AES_CM_128_HMAC_SHA1_32 --cs dir=send,id=1,policy=1", [32, 80]),
        ("--suite AES_CM_128_HMAC_SHA1_32 --cs dir=send", [80, 80, 32]),
        ("--suite AES_CM_128_HMAC_SHA1_80 --cs dir=send,id=1", [80, 80]),
        ("--suite AES_CM_128_HMAC_SHA1_32 --cs dir=send,id=1 --cs dir=recv,id=2,policy=0",
         [32, 80]),
    ],
)  # fmt: skip
def test_a_suite_of_an_update_is_used(shell: Shell, options: str, suites: list[int]) -> None:
    with_sessions(shell)
    rekey(shell, "alice", "bob", options)
    expected = [f"AES_CM_128_HMAC_SHA1_{bits}" for bits in suites]
    for name in ("alice", "bob"):
        assert [one["suite"] for one in streams(shell, name).values()] == expected
    # The policy is known from now on.
    rekey(shell, "bob", "alice", "--cs dir=recv,id=1,policy=0")
    assert streams(shell, "alice")[1]["suite"] == "AES_CM_128_HMAC_SHA1_80"


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--cs dir=recv,id=1", 2, "this end's to send"),
        ("--cs dir=send,id=2", 2, "the other end's"),
        ("--cs dir=recv,id=2,ssrc=5", 2, "for its sender"),
        ("--cs dir=recv,id=2,roc=1,seq=1", 2, "for its sender"),
        ("--cs dir=send,id=1,roc=1", 2, "go together"),
        ("--cs dir=send,id=1,policy=7", 2, "no policy 7"),
        ("--cs dir=send,id=1,prot=7", 2, "prot"),
        ("--cs dir=send,id=1,spi=99", 2, "SPI 99"),
        ("--cs dir=send,id=1 --cs dir=send,id=1,ssrc=5", 2, "same CS ID"),
        ("--cs dir=send,id=1,policy=0 --suite AES_CM_128_HMAC_SHA1_32", 2, "policy=1"),
        ("--cs dir=send,prot=7,ssrc=5", 2, "only SRTP"),
    ],
)
def test_what_cannot_be_done_is_said(shell: Shell, options: str, code: int, words: str) -> None:
    with_sessions(shell)
    before = shell.path("alice.session").read_text()
    update = f"mikeytool transfer update --session alice.session {options}"
    shell.fails(update, code, words)
    assert shell.path("alice.session").read_text() == before


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ("--cs dir=send,id=1,ssrc=5", 2, "the other end's"),
        ("--cs dir=send,id=2,spi=99", 2, "SPI 99"),
        ("--cs dir=send,id=2,policy=9", 2, "policy 9"),
        ("--cs dir=recv", 2, "a responder can add"),
        ("--kemac tek", 1, "M flag"),
    ],
)
def test_nor_in_the_answer(shell: Shell, options: str, code: int, words: str) -> None:
    with_sessions(shell)
    shell.ok(
        "mikeytool transfer update --session alice.session --cs dir=send,id=1 --cs dir=recv,id=2"
        " > update"
    )
    respond = "mikeytool transfer respond update --session bob.session"
    assert shell.fails(f"{respond} {options}", code, words).out == ""
    shell.ok(f"{respond} --cs dir=send,id=2,ssrc=0x55 > answer")
    shell.ok("mikeytool transfer finish answer --session alice.session")
    assert streams(shell, "alice")[2]["ssrc"] == "0x00000055"
