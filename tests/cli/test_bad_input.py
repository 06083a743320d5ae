"""Wrong input of every kind: its exit code, one clear line, and nothing half-written."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from mikeytool.wire.errors import MikeyError
from mikeytool.wire.message import Message
from tests.cli.shell import ALICE, BOB, Shell, with_kms, with_sessions, with_ticket
from tests.support import vectors

TRANSFER_INIT = vectors("exchanges")[0]["TRANSFER_INIT"]
REQUEST = f"mikeytool ticket request {ALICE} --to sip:bob@example.com"
SOON = "2027-01-01T00:00:00Z"


def test_input_that_is_no_message(shell: Shell) -> None:
    shell.fails("mikeytool decode < /dev/null", 3, "empty", "command before it")
    shell.fails("mikeytool decode 010e0", 3, "odd number")
    shell.fails("mikeytool decode 'hello, world'", 3, "column")
    shell.fails("mikeytool decode 'a=key-mgmt:mikey'", 3, "no data")
    shell.fails("mikeytool decode .", 3, "folder")
    shell.fails("printf 'v=0\\nm=audio 9 RTP/AVP 0\\n' | mikeytool decode", 3, "no a=key-mgmt")
    shell.fails(f"mikeytool decode {TRANSFER_INIT} ff", 3)
    shell.fails("mikeytool decode - --init -", 2, "standard input")
    shell.fails("mikeytool srtp decrypt pk", 3, "there is no file 'pk'")


def test_a_truncated_message_shows_what_came_before(shell: Shell) -> None:
    cut = shell.fails(f"mikeytool decode {TRANSFER_INIT[:200]}", 3, "IDR at octet 92", "left")
    assert "RANDR" in cut.out
    assert "trailing octets" in cut.out
    shown = json.loads(shell.run(f"mikeytool decode --json {TRANSFER_INIT[:200]}").out)
    assert [one["payload"] for one in shown["payloads"]] == ["T", "RANDR", "IDR"]
    assert shown["error"].startswith("IDR at octet 92")
    assert shown["trailing"]


@pytest.mark.parametrize("case", vectors("exchanges")[:3], ids=lambda case: case["name"])
@pytest.mark.parametrize("name", ["REQUEST_RESP", "TRANSFER_INIT", "RESOLVE_RESP"])
def test_truncation_at_every_length_is_refused(case: dict[str, str], name: str) -> None:
    raw = bytes.fromhex(case[name])
    for length in range(len(raw)):
        with pytest.raises(MikeyError):
            Message.parse(raw[:length])


def test_a_batch_goes_on_past_a_bad_line(shell: Shell) -> None:
    shell.path("batch").write_text(f"{TRANSFER_INIT}\nzzzz!\n{TRANSFER_INIT}\n")
    ran = shell.fails("mikeytool decode --json batch", 3, "line 2")
    first, bad, last = map(json.loads, ran.out.splitlines())
    assert first == last
    assert list(bad) == ["error"]


def test_several_messages_need_an_index(shell: Shell) -> None:
    shell.path("two").write_text(f"{TRANSFER_INIT}\n{TRANSFER_INIT}\n")
    with_kms(shell).fails("mikeytool kms handle kms.db two", 2, "--index")
    shell.fails("mikeytool kms handle kms.db two --index 3", 2, "2 messages")


def test_usage_errors_are_one_line(shell: Shell) -> None:
    for command, words in (
        ("mikeytool nonsense", "No such command"),
        ("mikeytool decode --nonsense", "No such option"),
        ("mikeytool transfer init", "Missing option"),
        ("mikeytool keygen psk --bytes 3", "--bytes"),
        (f"{REQUEST} --kms kms.db --save x", "alice.psk"),
        ("mikeytool srtp decrypt pk --key 00", "AES_CM_128_HMAC_SHA1_80 needs 16 and 14"),
        ("mikeytool srtp decrypt pk --suite NOPE --key 00", "AES_CM_128"),
    ):
        ran = shell.run(command)
        assert ran.code in (2, 4), command
        assert len(ran.err.strip().splitlines()) == 1, ran.err
        assert words in ran.err


def test_a_key_that_is_missing_is_asked_for_or_refused(shell: Shell) -> None:
    with_kms(shell)
    request = "mikeytool ticket request --as sip:alice@example.com --to sip:bob@example.com"
    shell.fails(f"setsid {request} --kms kms.db --save t", 2, "--psk", "env:NAME")
    shell.ok(f"{request} --kms kms.db --save t", MIKEYTOOL_PSK="file:alice.psk")
    shell.fails(f"{request} --kms kms.db --save u --psk alice.psk", 2, "file:alice.psk?")
    shell.fails(f"{request} --kms kms.db --save u --psk env:NOPE", 2, "NOPE")
    shell.fails(f"{request} --kms kms.db --save u --psk nothex", 2, "b64:TEXT")
    shell.fails(f"{request} --kms kms.db --save u --psk file:nope", 4, "nope")


def test_files_in_the_way_are_never_overwritten(shell: Shell) -> None:
    with_sessions(shell)
    before = {path.name: path.read_bytes() for path in shell.folder.iterdir()}
    for command in (
        "mikeytool kms init kms.db --id sip:x",
        "mikeytool kms user add kms.db sip:carol@example.com -o alice.psk",
        f"{REQUEST} --kms kms.db --save alice.ticket",
        f"{REQUEST} --kms-id sip:kms.example.com --pending alice.ticket",
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --session alice.session",
        f"mikeytool transfer respond transfer-init {BOB} --kms kms.db --session bob.session",
        "mikeytool keygen psk -o alice.psk",
    ):
        shell.fails(command, 4, "exists already")
    assert {path.name: path.read_bytes() for path in shell.folder.iterdir()} == before


@pytest.mark.parametrize("wrong", ["--cs dir=up", "--cs ssrc=1", "--suite tea", "--kemac tea"])
def test_wrong_usage_goes_before_a_file_in_the_way(shell: Shell, wrong: str) -> None:
    with_sessions(shell)
    init = "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
    shell.fails(f"{init} --session alice.session {wrong}", 2, "tea" if "tea" in wrong else "dir=")
    shell.fails(f"{init} --session alice.session", 4, "exists already")


def test_files_that_are_something_else(shell: Shell) -> None:
    with_sessions(shell)
    shell.fails("mikeytool ticket show bob.session", 3)
    shell.fails("mikeytool transfer show alice.ticket", 3, "but a ticket file")
    shell.fails("mikeytool transfer show nowhere", 4, "nowhere")
    shell.fails("mikeytool kms log alice.ticket", 4, "alice.ticket")
    shell.fails("mikeytool kms log state", 4, "no KMS store")
    shell.path("cut").write_text(shell.path("bob.session").read_text().replace('"mpk"', '"x"'))
    shell.fails("mikeytool transfer show cut", 3, "broken")


@pytest.mark.parametrize("command", ["srtp info", "srtp decrypt", "decode", "decode --flow"])
def test_captures_that_are_not_read_are_named(shell: Shell, command: str) -> None:
    """The first octets are those that editcap of Wireshark 4.0 writes."""
    for start, name in (
        ("736e6f6f70000000 00000002 00000004", "snoop"),
        ("474d4255 0002 0100 0b000200", "Network Monitor 2"),
        ("34cdb2a1 0200 0400 00000000", "pcap as modified"),
        ("a1b2cd34 0002 0004 00000000", "pcap as modified"),
        ("5452534e4946462064617461202020201a", "Sniffer for DOS"),
        ("58435000 3030322e303031", "Sniffer for Windows"),
        ("5452 0064 00000000", "nettl"),
        ("05564e46 0f000000", "Visual Networks"),
        ("aaaaaaaa 20000000", "5View"),
        ("2b2d2d2d2d2d2d2d2d2d2b2d2d2d2d2d2d2d2d2d2d2d2d2d2d2d2b2d2d2d2d2d2d2d2d2d2d2b0a", "K12"),
    ):
        shell.path("other").write_bytes(bytes.fromhex(start) + bytes(300))
        ran = shell.fails(f"mikeytool {command} other", 3, name, "editcap")
        assert ran.out == ""


def test_lines_without_packets_are_no_streams(shell: Shell) -> None:
    shell.path("mail").write_text("Hello Bob,\nhere is the packet:\n")
    shell.fails("mikeytool srtp info mail", 3, "line 1", "hex or base64")


def test_the_kms_refuses_who_it_does_not_know(shell: Shell) -> None:
    with_kms(shell)
    shell.ok(
        f"{REQUEST} --kms-id sip:kms.example.com --pending p > good\n"
        "mikeytool ticket request --as sip:alice@example.com --psk file:bob.psk"
        " --to sip:bob@example.com --kms-id sip:kms.example.com --pending p2 > wrong-key\n"
        "mikeytool ticket request --as sip:eve@example.com --psk file:bob.psk"
        " --to sip:bob@example.com --kms-id sip:kms.example.com --pending p3 > stranger\n"
        "mikeytool ticket request --as sip:alice@example.com --psk file:alice.psk"
        " --to sip:bob@example.com --kms-id sip:other.example.com --pending p4 > other-kms"
    )
    for name, words in (("wrong-key", "MAC"), ("stranger", "not known"), ("other-kms", "for the")):
        ran = shell.fails(f"mikeytool kms handle kms.db {name}", 1, words)
        # The last one is of Alice, whose MAC is right: she is told under her key.
        assert bool(ran.out) == (name == "other-kms")
        told = shell.fails(f"mikeytool kms handle kms.db --send-errors {name}", 1, words)
        assert json.loads(shell.ok(f"mikeytool decode --json {told.out}"))["data_type"] == "Error"
    stored = [json.loads(line) for line in shell.ok("mikeytool kms log kms.db --json").split("\n")]
    known = {"operator", "sip:alice@example.com"}
    assert {one["by"] for one in stored} == known, "nothing is stored of strangers"
    shell.ok("mikeytool kms handle kms.db good > answer")
    replay = shell.fails("mikeytool kms handle kms.db good", 1, "replay")
    error = json.loads(shell.ok(f"mikeytool decode --json {replay.out.strip()} --psk file:alice.psk"
                                " --init good"))  # fmt: skip
    assert error["opened"]["mac"] == "verified"
    assert error["payloads"][1]["error_no_value"] == 0
    shell.fails(f"mikeytool ticket accept {replay.out.strip()} --pending p --save t", 1, "Auth")
    shell.fails("mikeytool ticket accept answer --pending p2 --save t", 1)
    assert not shell.path("t").exists()


def test_a_flipped_bit_is_refused_on_the_command_line(shell: Shell) -> None:
    with_kms(shell).ok(f"{REQUEST} --kms-id sip:kms.example.com --pending p > request")
    raw = bytearray(base64.b64decode(shell.path("request").read_text()))
    raw[60] ^= 4
    shell.path("flipped").write_bytes(bytes(raw))
    shell.fails("mikeytool kms handle kms.db flipped", 1)


def test_replays_are_refused_whatever_the_session(shell: Shell) -> None:
    with_sessions(shell)
    respond = f"mikeytool transfer respond transfer-init {BOB} --kms kms.db --session"
    logged = shell.ok("mikeytool kms log kms.db")
    assert shell.fails(f"{respond} other.session", 1, "replay").out == ""
    assert not shell.path("other.session").exists()
    shell.fails(f"{respond} bob.session --force", 1, "replay")
    assert shell.ok("mikeytool kms log kms.db") == logged, "the KMS is not troubled by it"


def test_a_refused_caller_is_told_under_the_key_of_the_call(shell: Shell) -> None:
    with_ticket(shell, "--key-type none --flags=+M").ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --session alice.session > init"
    )
    # Bob has no key to give, so no crypto session has one.
    ran = shell.fails(
        f"mikeytool transfer respond init {BOB} --kms kms.db --session b", 1, "no key"
    )
    assert not shell.path("b").exists()
    error = json.loads(shell.ok(f"mikeytool decode --json {ran.out.strip()}"))
    assert error["cs_id_map_type"] == "GENERIC-ID"
    told = shell.fails(
        f"mikeytool transfer finish {ran.out.strip()} --session alice.session", 1, "Error message"
    )
    assert "not authenticated" not in told.err


def test_who_may_not_resolve(shell: Shell) -> None:
    with_ticket(shell).ok(
        "mikeytool kms user add -q kms.db sip:eve@example.com -o eve.psk\n"
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
        " --session alice.session > init"
    )
    eve = "--as sip:eve@example.com --psk file:eve.psk --kms kms.db"
    shell.fails(f"mikeytool transfer respond init {eve} --session e", 1, "may not resolve")
    shell.fails(f"mikeytool ticket resolve init {eve} --save e", 1, "may not resolve")
    shell.fails(
        f"mikeytool transfer respond init {BOB} --kms kms.db --session b"
        " --accept-from 'sip:*@else.example'", 1, "--accept-from",
    )  # fmt: skip
    assert not shell.path("e").exists()
    assert not shell.path("b").exists()


def test_expired_and_future_messages(shell: Shell) -> None:
    with_ticket(shell)
    init = ("mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com"
            " --session alice.session")  # fmt: skip
    shell.fails(init, 1, "expired", MIKEYTOOL_NOW=SOON)
    shell.ok(f"{init} > init")
    respond = f"mikeytool transfer respond init {BOB} --kms kms.db --session b"
    late = shell.fails(respond, 1, "expired", MIKEYTOOL_NOW=SOON)
    assert "MIKEYTOOL_NOW" in late.err
    old = shell.run(respond, MIKEYTOOL_NOW="now+10m")
    assert old.code == 1
    assert "behind this clock" in old.err


def test_a_ticket_without_reuse_is_used_once(shell: Shell) -> None:
    with_ticket(shell, "--flags=-J")
    init = "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --session"
    shell.ok(f"{init} one")
    shell.fails(f"{init} two", 1, "no J flag")


def test_keys_need_their_flags(shell: Shell) -> None:
    with_ticket(shell)
    init = "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --session a"
    shell.fails(f"{init} --kemac tek", 1, "no L flag")
    shell.fails(f"{init} --kemac mpk", 2, "--kemac")
    shell.fails(f"{init} --cs dir=recv,ssrc=5", 2, "SSRC")
    shell.fails(f"{init} --cs ssrc=5", 2, "dir=")
    shell.fails(f"{init} --cs dir=send,spi=99", 2, "SPI")
    shell.fails(f"{init} --suite AES_256_CM_HMAC_SHA1_80", 1, "--profile 256")
    assert not shell.path("a").exists()


def test_a_reader_that_goes_away(shell: Shell) -> None:
    shell.path("many").write_text(f"{TRANSFER_INIT}\n" * 3000)
    ran = shell.run("mikeytool decode --json many | head -1 | wc -l; echo ${PIPESTATUS[0]}")
    assert ran.out.split() == ["1", "141"]
    assert ran.err == ""


def test_a_disk_that_is_full(shell: Shell) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    shell.fails("mikeytool keygen psk > /dev/full", 4, "No space")
    shell.fails(f"mikeytool decode {TRANSFER_INIT} > /dev/full", 4, "No space")
