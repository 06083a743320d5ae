"""The modes of RFC 6043 4.1.1 beyond the first: who makes and who resolves a ticket."""

from __future__ import annotations

import json
import stat

import pytest

from tests.cli.shell import ALICE, BOB, Shell, with_kms

CALL = "mikeytool transfer init --ticket t --to sip:bob@example.com --session a > init"


def established(shell: Shell) -> None:
    shell.ok("mikeytool transfer finish answer --session a")
    a, b = (json.loads(shell.ok(f"mikeytool transfer show {one} --json")) for one in "ab")
    keys = [[one["master_key"] for one in side["crypto_sessions"]] for side in (a, b)]
    assert keys[0] == keys[1] != []


@pytest.mark.parametrize(
    ("change", "flags"), [("+M", "FGHJLMNO"), ("+E", "EFGHJLNO"), ("-J+EI", "EFGHILNO")]
)
def test_flags_are_changes_to_the_default_of_the_command(
    shell: Shell, change: str, flags: str
) -> None:
    own = "mikeytool ticket create --as sip:a@b --to sip:c@d --tpk 00112233445566778899aabbccddeeff"
    assert "[default: FGHJLNO]" in shell.ok("mikeytool ticket create --help", COLUMNS="200")
    shell.ok(f"{own} --save t --flags={change}")
    assert json.loads(shell.ok("mikeytool ticket show t --json"))["flags"] == flags


def test_mode_2_the_responder_resolves_alone(shell: Shell) -> None:
    with_kms(shell).ok(
        "mikeytool kms tpk add -q kms.db --shared-with sip:bob@example.com -o bob.tpk\n"
        f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db --save t"
        f" --flags=-E-I\n{CALL}\n"
        "mikeytool transfer respond init --as sip:bob@example.com --tpk file:bob.tpk"
        " --session b > answer"
    )
    assert json.loads(shell.ok("mikeytool ticket show t --json"))["flags"] == "DFGHJNO"
    assert stat.S_IMODE(shell.path("bob.tpk").stat().st_mode) == 0o600
    established(shell)
    shell.ok(f"mikeytool ticket resolve init {BOB} --kms kms.db --save other")  # he may, E is 0
    shell.ok("mikeytool transfer init --ticket t --to sip:bob@example.com --session s > again")
    for alone in ("ticket resolve again --save x", "transfer respond again --session x"):
        shell.fails(
            f"mikeytool {alone} --as sip:eve@example.com --tpk file:bob.tpk",
            1, "for sip:bob@example.com, not for sip:eve@example.com",
        )  # fmt: skip


def test_mode_3_the_initiator_makes_the_ticket(shell: Shell) -> None:
    with_kms(shell).ok(
        "mikeytool kms tpk add kms.db --shared-with sip:alice@example.com --name alice-1"
        " > alice.tpk\n"
        "mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com"
        " --tpk file:alice.tpk --tpk-id alice-1 --kms-id sip:kms.example.com"
        f" --flags=EFGHIJLNO --save t\n{CALL}\n"
        f"mikeytool transfer respond init {BOB} --kms kms.db --session b > answer"
    )
    established(shell)
    shell.fails(
        "mikeytool ticket resolve init --as sip:bob@example.com --tpk file:alice.tpk --save x",
        1, "E flag",
    )  # fmt: skip


def test_mode_4_the_two_need_no_kms(shell: Shell) -> None:
    shell.ok(
        "mikeytool keygen tpk -o shared.tpk\n"
        "mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com"
        f" --tpk file:shared.tpk --save t\n{CALL}\n"
        "mikeytool ticket resolve init --as sip:bob@example.com --tpk file:shared.tpk --save r\n"
        "mikeytool transfer respond init --as sip:bob@example.com --ticket r --session b > answer"
    )
    established(shell)


def test_a_ticket_made_in_another_name_is_refused(shell: Shell) -> None:
    """Eve shares a key with the KMS: she can make tickets, but only as herself."""
    with_kms(shell).ok(
        "mikeytool kms user add -q kms.db sip:eve@example.com -o eve.psk\n"
        "mikeytool kms tpk add kms.db --shared-with sip:eve@example.com --name eve-1 > eve.tpk"
    )
    create = ("mikeytool ticket create --to sip:bob@example.com --tpk file:eve.tpk"
              " --tpk-id eve-1 --kms-id sip:kms.example.com")  # fmt: skip
    for options in ("--as sip:alice@example.com --flags=EFGHJLNO --save as-alice",):
        shell.ok(f"{create} {options}")
        shell.ok(
            "mikeytool transfer init --ticket as-alice --to sip:bob@example.com --session s > i"
        )
        shell.fails(f"mikeytool transfer respond i {BOB} --kms kms.db --session b", 1, "may not")


def test_tickets_outlive_the_rotation_of_their_key(shell: Shell) -> None:
    with_kms(shell).ok(
        f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db --save t\n"
        "mikeytool kms tpk rotate kms.db\n"
        f"{CALL}\nmikeytool transfer respond init {BOB} --kms kms.db --session b > answer"
    )
    established(shell)
    listed = json.loads(shell.ok("mikeytool kms tpk list kms.db --json"))["tpks"]
    assert [(one["name"], one["current"]) for one in listed] == [("tpk-1", False), ("tpk-2", True)]
    shown = shell.ok("mikeytool kms tpk list kms.db")
    assert "tpk-2" in shown


def test_e_is_set_again_where_nobody_shares_the_key(shell: Shell) -> None:
    with_kms(shell)
    request = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db"
    shell.fails(f"{request} --flags=-E-I --save t", 1, "--accept-changed")
    shell.fails("mikeytool kms tpk add kms.db --shared-with sip:x --tpk 00", 2, "at least 16")
    create = "mikeytool ticket create --as sip:a --to sip:b --tpk file:alice.psk --save t"
    shell.fails(f"{create} --flags=DFGHJNO", 1, "D says")
