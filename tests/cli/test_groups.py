"""Group communication and pre-encrypted content from the shell (RFC 6043 8 and 9)."""

from __future__ import annotations

import json
from typing import Any

from tests.cli.shell import ALICE, BOB, Shell, with_kms, with_sessions, with_ticket

CAROL = "--as sip:carol@example.com --psk file:carol.psk"
CALL = "mikeytool transfer init --ticket t --session"


def streams(shell: Shell, name: str) -> list[dict[str, Any]]:
    shown = json.loads(shell.ok(f"mikeytool transfer show {name} --json --show-keys"))
    found: list[dict[str, Any]] = shown["crypto_sessions"]
    return found


def keys(shell: Shell, *names: str) -> set[str]:
    return {one["master_key"] for name in names for one in streams(shell, name)[:1]}


def group(shell: Shell, flags: str) -> Shell:
    """A ticket of Alice for Bob and Carol, with a group key."""
    with_kms(shell).ok(
        "mikeytool kms user add -q kms.db sip:carol@example.com -o carol.psk\n"
        f"mikeytool ticket request {ALICE} --to sip:bob@example.com --to sip:carol@example.com"
        f" --key-type gtgk --flags={flags} --kms kms.db --save t"
    )
    return shell


def test_one_party_hands_a_group_key_to_all(shell: Shell) -> None:
    """Centralized (9), with key forking: the GTGK is not forked, the RANDs are the same."""
    group(shell, "-G").ok(
        f"{CALL} ab --to sip:bob@example.com > init-b\n"
        f"{CALL} ac --to sip:carol@example.com --same-rands-as ab > init-c\n"
        f"mikeytool transfer respond init-b {BOB} --kms kms.db --session b"
        " | mikeytool transfer finish --session ab\n"
        f"mikeytool transfer respond init-c {CAROL} --kms kms.db --session c"
        " | mikeytool transfer finish --session ac"
    )
    assert len(keys(shell, "ab", "ac", "b", "c")) == 1
    shell.ok(
        f"{CALL} x --to sip:bob@example.com > init-x\n"
        f"mikeytool transfer respond init-x {BOB} --kms kms.db --session y"
        " | mikeytool transfer finish --session x"
    )
    assert len(keys(shell, "ab", "x")) == 2  # RANDs of its own


def test_each_party_hands_it_to_the_next(shell: Shell) -> None:
    """Decentralized (9): Bob calls Carol with the ticket of Alice, as himself."""
    group(shell, "-GI").ok(
        f"{CALL} ab --to sip:bob@example.com > init-b\n"
        f"mikeytool ticket resolve init-b {BOB} --kms kms.db --save bobs\n"
        "mikeytool transfer respond init-b --as sip:bob@example.com --session b"
        " | mikeytool transfer finish --session ab\n"
        "mikeytool transfer init --ticket bobs --to sip:carol@example.com --same-rands-as b"
        " --session bc > init-c\n"
        f"mikeytool transfer respond init-c {CAROL} --kms kms.db --session c"
        " | mikeytool transfer finish --session bc"
    )
    assert len(keys(shell, "ab", "b", "bc", "c")) == 1
    shown = json.loads(shell.ok("mikeytool transfer show c --json"))
    assert shown["remote"] == "sip:bob@example.com"


def test_what_a_group_must_not_do(shell: Shell) -> None:
    """RFC 6043 9, 9.1: RANDs of each responder, or tickets of others with key forking."""
    group(shell, "+G").ok(f"{CALL} ab --to sip:bob@example.com > init")
    same = f"{CALL} ac --to sip:carol@example.com --same-rands-as ab"
    shell.fails(same, 1, "--flags=-G")
    shell.fails(same.replace("-as ab", "-as missing"), 4, "missing")
    shell.fails(same.replace("-as ab", "-as t"), 3, "no session file")
    shell.ok(f"mikeytool ticket resolve init {BOB} --kms kms.db --save bobs")
    mine = "mikeytool transfer init --ticket bobs --to sip:carol@example.com --session bc"
    shell.fails(mine, 1, "key forking")


def test_a_library_answers_with_the_key_of_its_content(shell: Shell) -> None:
    """Pre-encrypted content (8): a ticket without session keys, and a TEK in the answer."""
    tek = "000102030405060708090a0b0c0d0e0f"
    with_ticket(shell, "--key-type none --flags=+M").ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --session a"
        " --cs dir=recv > init\n"
        f"mikeytool transfer respond init {BOB} --kms kms.db --session b --kemac tek,key={tek}"
        " | mikeytool transfer finish --session a"
    )
    assert [one["master_key"] for one in streams(shell, "a")] == [tek]
    assert [one["direction"] for one in streams(shell, "b")] == ["send"]


def test_keys_are_wrapped_on_request(shell: Shell) -> None:
    """AES-KW-128: by who calls, and as they do by who answers (interpretations 3 and 23)."""
    with_ticket(shell, "--key-type none --flags=+LM").ok(
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --session a"
        " --kemac tek+salt --key-wrap > init\n"
        f"mikeytool transfer respond init {BOB} --kms kms.db --session b --kemac tek+salt > resp\n"
        "mikeytool transfer finish resp --session a\n"
        "mikeytool transfer update --session a --kemac tgk --key-wrap > update\n"
        "mikeytool transfer respond update --session b | mikeytool transfer finish --session a"
    )
    for name in ("init", "resp", "update"):
        shown = json.loads(shell.ok(f"mikeytool decode {name} --json"))
        (kemac,) = (one for one in shown["payloads"] if one["payload"] == "KEMAC")
        assert kemac["encr_alg"] == "AES-KW-128"
    assert keys(shell, "a") == keys(shell, "b")
    shell.ok(
        "mikeytool keygen tpk -o tpk\n"
        "mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com"
        " --tpk file:tpk --key-type tgk+salt --key-wrap --save t\n"
        f"{CALL} x --to sip:bob@example.com > init-x\n"
        "mikeytool transfer respond init-x --as sip:bob@example.com --tpk file:tpk --session y"
        " | mikeytool transfer finish --session x"
    )
    assert len(keys(shell, "x", "y")) == 1
    strong = "mikeytool ticket create --as sip:a --to sip:b --tpk file:tpk --save u --profile 256"
    shell.fails(f"{strong} --key-wrap", 1, "12.1")


def test_keys_have_the_lengths_of_their_suite(shell: Shell) -> None:
    """Interpretation 3: a TEK of the suite's length, and the salt of AES-GCM has 96 bits."""
    gcm = "AEAD_AES_256_GCM"
    with_ticket(shell, f"--profile 256 --key-type tek+salt --key-type tgk+salt --suite {gcm}").ok(
        f"mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com --suite {gcm}"
        " --session a > init\n"
        f"mikeytool transfer respond init {BOB} --kms kms.db --session b"
        " | mikeytool transfer finish --session a"
    )
    for one in streams(shell, "b"):
        assert (len(one["master_key"]), len(one["master_salt"])) == (64, 24)
    request = f"mikeytool ticket request {ALICE} --to sip:b --kms kms.db --save x"
    shell.fails(f"{request} --suite AES", 2, "unknown suite")


def test_packets_carry_the_spi_when_asked(shell: Shell) -> None:
    """Interpretation 15: nothing in MIKEY says whether; who reads finds out."""
    with_sessions(shell)
    ssrc = streams(shell, "alice.session")[0]["ssrc"][2:]
    spi = streams(shell, "alice.session")[0]["mki"]
    for seq, option in ((1, ""), (2, "--mki")):
        shell.path("rtp").write_text(f"8000000{seq}000000a0{ssrc}68656c6c6f\n")
        sent = shell.ok(f"mikeytool srtp encrypt rtp --session alice.session {option}")
        assert (spi in sent) == bool(option)
        shell.path("srtp").write_text(sent)
        shell.ok("mikeytool srtp decrypt srtp --session bob.session | diff - rtp")


def test_a_command_that_is_misspelt_is_named(shell: Shell) -> None:
    shell.fails("mikeytool decod x", 2, "decod", "Did you mean decode?")
    shell.fails("mikeytool kms usr list kms.db", 2, "Did you mean user?")
    ran = shell.fails("mikeytool zzz", 2, "zzz")
    assert "mean" not in ran.err
