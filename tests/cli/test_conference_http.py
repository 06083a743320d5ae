"""A conference whose KMS is reached over HTTP: tickets, group keys, and who is in which group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.cli.shell import ALICE, BOB, Shell, with_kms
from tests.kms.serving import Server, serving

ROOM = "sip:room@conf.example.com"


@pytest.fixture
def lab(shell: Shell) -> Iterator[tuple[Shell, Server]]:
    """A KMS as a service, with a conference system, and Bob in a team."""
    with_kms(shell).ok(
        "mikeytool kms user add -q kms.db sip:carol@example.com -o carol.psk\n"
        "mikeytool kms user add -q kms.db sip:factory@conf.example.com"
        " --act-as 'sip:*@conf.example.com' -o factory.psk\n"
        "mikeytool kms group add -q kms.db sip:team@example.com sip:bob@example.com"
    )
    with ExitStack() as stack:
        server = stack.enter_context(serving(shell.folder, "kms.db"))
        shell.variables["MIKEYTOOL_KMS"] = server.url
        shell.variables["MIKEYTOOL_KMS_ID"] = "sip:kms.example.com"
        yield shell, server


def call(who: str, session: str) -> str:
    return (
        f"mikeytool ticket request --force {who} --flags=+M --to {ROOM} --save {session}.ticket\n"
        f"mikeytool transfer init --force --ticket {session}.ticket --to {ROOM}"
        f" --session {session} | mikeytool conference call-in conference.db"
        f" | mikeytool transfer finish --session {session}"
    )


def test_a_conference_with_its_kms_on_the_network(lab: tuple[Shell, Server]) -> None:
    shell, _ = lab
    shell.ok(
        "mikeytool conference init conference.db --as sip:factory@conf.example.com"
        " --psk file:factory.psk\n"
        f"mikeytool ticket request {ALICE} --flags=+M --to sip:factory@conf.example.com"
        " --to sip:team@example.com --save creator.ticket\n"
        "mikeytool transfer init --ticket creator.ticket --to sip:factory@conf.example.com"
        " --session creation"
        f" | mikeytool conference create conference.db --focus {ROOM}"
        " | mikeytool transfer finish --session creation"
    )
    shell.ok(call(ALICE, "alice"))
    shell.ok(call(BOB, "bob"))  # in the team, which the KMS tells
    carol = "--as sip:carol@example.com --psk file:carol.psk"
    shell.fails(call(carol, "carol"), 1, "Error")
    shell.fails("mikeytool conference call-out conference.db sip:team@example.com", 1, "one person")
    shell.ok("mikeytool conference deny conference.db sip:team@example.com > updates")
    shown = json.loads(shell.ok("mikeytool conference show conference.db --json"))
    states = {one["identity"]: one["state"] for one in shown["members"]}
    assert states == {"sip:alice@example.com": "joined", "sip:bob@example.com": "left"}
    assert json.loads(shell.path("updates").read_text())["to"] == "sip:alice@example.com"


def test_a_kms_that_is_away(lab: tuple[Shell, Server]) -> None:
    """Whoever calls hears nothing, the operator why; what needs no KMS goes on."""
    shell, server = lab
    test_a_conference_with_its_kms_on_the_network(lab)
    server.end()
    shell.fails("mikeytool conference rekey conference.db", 5, "refused", server.url)
    shell.ok("mikeytool conference show conference.db")
    shell.fails(
        "mikeytool conference deny conference.db sip:alice@example.com",
        5,
        "the denial stands, and the group keys change with the next command that reaches the KMS",
    )
    ran = shell.run("mikeytool conference allow conference.db sip:carol@example.com")
    assert (ran.code, ran.out) == (0, "")
    assert "that is done, but not what was due beside it" in ran.err
    shown = json.loads(shell.ok("mikeytool conference show conference.db --json"))
    assert "sip:alice@example.com" not in shown["allowed"]
    assert "sip:carol@example.com" in shown["allowed"]
    assert {one["state"] for one in shown["members"]} == {"left"}
