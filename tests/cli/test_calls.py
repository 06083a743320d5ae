"""Two users get from no shared key to media, by piping messages between shell commands."""

from __future__ import annotations

import json
import re
import stat
from typing import Any

import pytest

from tests.cli.shell import ALICE, BOB, Shell, with_kms, with_sessions, with_ticket


def session(shell: Shell, name: str) -> dict[str, Any]:
    shown: dict[str, Any] = json.loads(
        shell.ok(f"mikeytool transfer show {name}.session --json --show-keys")
    )
    return shown


def media(shown: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (one["cs_id"], one["suite"], one["mki"], one["master_key"], one["master_salt"])
        for one in shown["crypto_sessions"]
    ]


@pytest.mark.parametrize(
    ("ticket", "respond"),
    [
        ("", ""),
        ("--profile 256 --key-type tgk+salt", ""),
        ("--flags=-I", ""),
        ("--flags=-IH --key-type gtgk+salt", ""),
        ("--flags=-IG --key-type tek+salt --key-type tek+salt", ""),
        ("--key-type gtgk", ""),
        ("--key-type tek", ""),
        ("--key-type none --flags=+M", "--kemac tek+salt"),
        ("--flags=+M --key-type tgk", "--kemac tgk"),
        ("", "--cs dir=send,ssrc=0x77777777,id=9"),
    ],
)
def test_both_ends_have_the_same_media_keys(shell: Shell, ticket: str, respond: str) -> None:
    with_sessions(shell, ticket, respond)
    alice, bob = session(shell, "alice"), session(shell, "bob")
    assert media(alice) == media(bob)
    assert len({one["master_key"] for one in alice["crypto_sessions"]}) >= 1
    assert alice["remote"] == "sip:bob@example.com"
    assert bob["remote"] == "sip:alice@example.com"
    ways = [(a["direction"], b["direction"]) for a, b in
            zip(alice["crypto_sessions"], bob["crypto_sessions"], strict=True)]  # fmt: skip
    assert set(ways) <= {("send", "recv"), ("recv", "send")}
    if "256" in ticket:
        assert alice["crypto_sessions"][0]["suite"] == "AES_256_CM_HMAC_SHA1_80"
    if "id=9" in respond:
        assert alice["crypto_sessions"][2]["ssrc"] == "0x77777777"


def test_the_initiator_sends_a_group_key(shell: Shell) -> None:
    with_ticket(shell, "--key-type none --flags=+L").ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --kemac tek+salt,key=000102030405060708090a0b0c0d0e0f,spi=aabb"
        " --session alice.session > init\n"
        f"mikeytool transfer respond init {BOB} --kms kms.db --session bob.session"
        " | mikeytool transfer finish --session alice.session"
    )
    assert media(session(shell, "alice")) == media(session(shell, "bob"))
    key = session(shell, "bob")["crypto_sessions"][0]
    assert key["master_key"] == "000102030405060708090a0b0c0d0e0f"
    assert key["mki"] == "aabb"


def test_without_an_answer_the_session_is_there_at_once(shell: Shell) -> None:
    with_ticket(shell, "--flags DEHJNO --key-type tek+salt").ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --session alice.session > init"
    )
    answer = shell.ok(
        f"mikeytool transfer respond -q init {BOB} --kms kms.db --session bob.session"
    )
    assert answer == ""
    assert media(session(shell, "alice")) == media(session(shell, "bob"))


def test_tickets_can_be_resolved_in_two_steps(shell: Shell) -> None:
    with_ticket(shell).ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --session alice.session -f sdp > init\n"
        f"mikeytool ticket resolve init {BOB} --kms-id sip:kms.example.com --pending p"
        " | mikeytool kms handle kms.db -f hex"
        " | mikeytool ticket accept --pending p --save bob.ticket\n"
        "mikeytool transfer respond init --as sip:bob@example.com --ticket bob.ticket"
        " --session bob.session | mikeytool transfer finish --session alice.session"
    )
    assert media(session(shell, "alice")) == media(session(shell, "bob"))
    shown = json.loads(shell.ok("mikeytool ticket show bob.ticket --json"))
    assert shown["mpkr"].startswith("sha256:")


def test_of_several_suites_one_is_chosen(shell: Shell) -> None:
    with_ticket(shell).ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --suite AES_CM_128_HMAC_SHA1_80 --suite AES_CM_128_HMAC_SHA1_32"
        " --session alice.session > init\n"
        f"mikeytool transfer respond init {BOB} --kms kms.db --session bob.session"
        " --suite AES_CM_128_HMAC_SHA1_32 | mikeytool transfer finish --session alice.session"
    )
    for name in ("alice", "bob"):
        suites = {one["suite"] for one in session(shell, name)["crypto_sessions"]}
        assert suites == {"AES_CM_128_HMAC_SHA1_32"}


def test_files_with_keys_are_for_their_owner_alone(shell: Shell) -> None:
    with_sessions(shell)
    shell.ok("mikeytool keygen psk -o key")
    private = ("kms.db", "alice.psk", "alice.ticket", "alice.session", "bob.session", "state",
               "key")  # fmt: skip
    for name in private:
        assert stat.S_IMODE(shell.path(name).stat().st_mode) == 0o600, name
    assert not list(shell.folder.glob(".*")), "temporary files are left behind"


def test_keys_are_masked_unless_asked_for(shell: Shell) -> None:
    with_sessions(shell)
    for command in (
        "ticket show alice.ticket", "ticket show alice.ticket --json",
        "transfer show bob.session", "transfer show bob.session --json",
    ):  # fmt: skip
        masked = shell.ok(f"mikeytool {command}")
        clear = shell.ok(f"mikeytool {command} --show-keys")
        assert "sha256:" in masked
        assert "sha256:" not in clear
        # The MPKs and the TGK of MIKEY-1, or key and salt of AES-CM (RFC 3711 8.2)
        lengths = [] if "json" in command else [16, 16, 16] if "ticket" in command else [16, 14] * 2
        assert re.findall(r"sha256:[0-9a-f]{8} \((\d+) octets\)", masked) == list(map(str, lengths))


def test_no_key_in_any_log_or_error(shell: Shell) -> None:
    with_sessions(shell)
    secrets = [shell.path("alice.psk").read_text().strip()]
    secrets += [one[3] for one in media(session(shell, "alice"))]
    shell.run("mikeytool --debug transfer finish transfer-init --session alice.session")
    texts = [
        shell.ok("mikeytool kms log kms.db --json"),
        shell.run("mikeytool --debug decode transfer-init --psk zz").err,
        shell.run("mikeytool --debug transfer finish transfer-resp --session bob.session").err,
        shell.run(f"mikeytool keygen psk --bytes {secrets[0]}").out,
    ]
    for secret in secrets:
        assert not any(secret in text for text in texts)


def test_the_log_tells_who_asked_for_what(shell: Shell) -> None:
    with_sessions(shell)
    shell.run(f"mikeytool ticket resolve transfer-init {ALICE} --kms kms.db --save x")
    lines = [json.loads(line) for line in
             shell.ok("mikeytool kms log kms.db --json").splitlines()]  # fmt: skip
    assert [(one["exchange"], one["by"], one["outcome"]) for one in lines] == [
        ("change", "operator", "done"),
        ("change", "operator", "done"),
        ("request", "sip:alice@example.com", "answered"),
        ("resolve", "sip:bob@example.com", "answered"),
        ("resolve", "sip:alice@example.com", "refused"),
    ]
    assert [one["for"] for one in lines[:2]] == [
        "user add sip:alice@example.com", "user add sip:bob@example.com",
    ]  # fmt: skip
    assert "may not resolve" in lines[4]["reason"]
    assert shell.ok("mikeytool kms log kms.db --json --since now+1h") == ""


def test_decode_opens_what_the_keys_open(shell: Shell) -> None:
    with_sessions(shell)
    ticket = json.loads(shell.ok("mikeytool ticket show alice.ticket --json --show-keys"))
    tab = f"mpki {json_csb(shell)} {ticket['mpki']}\nmpkr {json_csb(shell)} {ticket['mpkr']}\n"
    shell.path("tab").write_text(f"# a key tab\n\n{tab}")
    opened = json.loads(shell.ok("mikeytool decode transfer-init --json --keys tab"))["opened"]
    assert opened["mac"] == "verified"
    assert opened["initiator_data"] == "verified"
    assert opened["ticket"] == "not checked"
    bob = json.loads(shell.path("bob.session").read_text())
    command = f"mikeytool decode transfer-resp --init transfer-init --json --mpkr {bob['mpk']}"
    assert json.loads(shell.ok(command))["opened"]["mac"] == "verified"
    wrong = shell.run("mikeytool decode transfer-init --json --mpki " + "00" * 16)
    assert wrong.code == 1
    assert json.loads(wrong.out)["opened"]["mac"] == "FAILED"


def json_csb(shell: Shell) -> str:
    csb_id: str = json.loads(shell.ok("mikeytool decode transfer-init --json"))["csb_id"]
    return csb_id


@pytest.mark.first
def test_a_demo_can_be_kept_and_run_again(shell: Shell) -> None:
    shown = shell.ok("mikeytool demo --keep kept", COLUMNS="80")
    assert "All of it went as it should" in shown
    assert max(map(len, shown.splitlines())) <= 80
    shell.fails("mikeytool demo --keep kept", 4, "kept")
    # The script begins in a shell, and its other lines run in this process.
    head, _, rest = shell.path("kept/demo.sh").read_text().partition("mikeytool ticket request")
    again = Shell(shell.path("again"))
    again.folder.mkdir()
    again.path("head.sh").write_text(head)
    shell.ok("sh -n kept/demo.sh; cd again; sh head.sh")
    for line in f"mikeytool ticket request{rest}".splitlines():
        refused = re.fullmatch(r"if (.+); then echo 'this must fail' >&2; exit 1; fi", line)
        ran = again.run(refused[1] if refused else line)
        assert ran.code == bool(refused), f"{line}\n{ran.err}"


def test_accepting_what_the_kms_changed(shell: Shell) -> None:
    with_kms(shell)
    request = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db"
    shorter = shell.run(f"{request} --valid-for 7d --save a.ticket")
    assert shorter.code == 0
    assert "valid to" in shorter.err
    shell.fails(f"{request} --flags DFGHINO --save b.ticket", 2, "I needs E")
    refused = shell.fails(f"{request} --flags=-E-I --save c.ticket", 1, "--accept-changed")
    assert "flags:" in refused.err
    assert not shell.path("c.ticket").exists()
    shell.ok(f"{request} --flags=-E-I --save c.ticket --accept-changed")
    shown = json.loads(shell.ok("mikeytool ticket show c.ticket --json"))
    assert shown["flags"] == "DEFGHJKNO"


@pytest.mark.parametrize(
    "suite", ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM", "AES_192_CM_HMAC_SHA1_32",
              "F8_128_HMAC_SHA1_80", "NULL_HMAC_SHA1_80"],
)  # fmt: skip
def test_every_suite_carries_media(shell: Shell, suite: str) -> None:
    with_ticket(shell, "--profile 256").ok(
        f"mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --suite {suite}"
        " --cs dir=send,ssrc=0x11111111 --session alice.session > init"
    )
    respond = f"mikeytool transfer respond init {BOB} --kms kms.db --session bob.session"
    if suite.startswith("NULL"):
        shell.fails(respond, 1, "policy")  # it does not encrypt, so it is taken by name only
    shell.ok(
        f"{respond} --suite {suite} | mikeytool transfer finish --session alice.session\n"
        "echo 80000001000000a01111111168656c6c6f20626f62 > rtp\n"
        "mikeytool srtp encrypt rtp --session alice.session --mki > srtp\n"
        "mikeytool srtp decrypt srtp --session bob.session | diff - rtp"
    )
    assert session(shell, "bob")["crypto_sessions"][0]["suite"] == suite
