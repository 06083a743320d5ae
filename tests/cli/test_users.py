"""Users, groups and acting for others at the KMS (interpretations 16 and 17, RFC 6043 12.5)."""

from __future__ import annotations

import json

from tests.cli.shell import ALICE, BOB, Shell, with_kms

KMS = "--kms kms.db"


def call(shell: Shell, to: str, name: str = "t") -> None:
    shell.ok(
        f"mikeytool ticket request {ALICE} --to {to} {KMS} --save {name}\n"
        f"mikeytool transfer init --ticket {name} --to {to} --session {name}.s > {name}.init"
    )


def test_one_key_speaks_for_a_list_of_identities(shell: Shell) -> None:
    with_kms(shell).ok(
        "mikeytool kms user add -q kms.db sip:factory@conf.example.com -o f.psk"
        " --psk-id conf --act-as 'sip:*@conf.example.com' --act-as sip:other@example.com"
    )
    conf = f"--psk file:f.psk --psk-id conf {KMS}"
    call(shell, "sip:room7@conf.example.com")
    shell.ok(
        f"mikeytool transfer respond t.init --as sip:room7@conf.example.com {conf} --session b"
        " | mikeytool transfer finish --session t.s"
    )
    shown = json.loads(shell.ok("mikeytool transfer show t.s --json"))
    assert shown["remote"] == "sip:room7@conf.example.com"
    # As itself it resolves for the room, too, and the answer names the room.
    call(shell, "sip:room8@conf.example.com", "u")
    shell.ok(
        f"mikeytool transfer respond u.init --as sip:factory@conf.example.com {conf} --session c"
        " | mikeytool transfer finish --session u.s"
    )
    shown = json.loads(shell.ok("mikeytool transfer show u.s --json"))
    assert shown["remote"] == "sip:room8@conf.example.com"
    # It requests tickets in the name of a room, but of no stranger.
    request = f"mikeytool ticket request {conf} --to sip:bob@example.com --save"
    shell.ok(f"{request} r --as sip:room7@conf.example.com")
    shown = json.loads(shell.ok("mikeytool ticket show r --json"))
    assert shown["initiator"] == "sip:room7@conf.example.com"
    shell.fails(f"{request} x --as sip:alice@example.com", 1, "is not that of")


def test_a_pattern_is_no_more_than_it_says(shell: Shell) -> None:
    with_kms(shell).ok(
        "mikeytool kms user add -q kms.db sip:f@x -o f.psk --psk-id f --act-as 'sip:[a-z]?@y'"
    )
    request = f"mikeytool ticket request --psk file:f.psk --psk-id f {KMS} --to sip:b --save"
    shell.fails(f"{request} x --as sip:ab@y", 1, "is not that of")
    shell.ok(f"{request} y --as 'sip:[a-z]?@y'")


def test_a_group_admits_its_members(shell: Shell) -> None:
    with_kms(shell).ok("mikeytool kms group add -q kms.db sip:team@example.com sip:bob@example.com")
    call(shell, "sip:team@example.com")
    shell.ok(
        f"mikeytool transfer respond t.init {BOB} {KMS} --session b"
        " | mikeytool transfer finish --session t.s"
    )
    shown = json.loads(shell.ok("mikeytool transfer show t.s --json"))
    assert shown["remote"] == "sip:bob@example.com"
    assert "sip:team@example.com" in shell.ok("mikeytool kms group list kms.db")
    again = "mikeytool kms group add kms.db sip:team@example.com sip:bob@example.com"
    assert "0 more in sip:team" in shell.run(again).err
    assert "1 more in sip:team" in shell.run(f"{again} sip:x@y sip:x@y").err
    shell.ok("mikeytool kms group remove -q kms.db sip:team@example.com sip:x@y")
    shell.ok("mikeytool kms group remove -q kms.db sip:team@example.com sip:bob@example.com")
    assert json.loads(shell.ok("mikeytool kms group list kms.db --json")) == {"groups": {}}
    call(shell, "sip:team@example.com", "u")
    shell.fails(f"mikeytool ticket resolve u.init {BOB} {KMS} --save x", 1, "may not resolve")


def test_disabled_users_are_out_and_their_tickets_too(shell: Shell) -> None:
    with_kms(shell)
    call(shell, "sip:bob@example.com")
    shell.ok("mikeytool kms user disable -q kms.db sip:alice@example.com")
    request = f"mikeytool ticket request {ALICE} --to sip:bob@example.com {KMS} --save u"
    shell.fails(request, 1, "disabled")
    resolve = f"mikeytool ticket resolve t.init {BOB} {KMS} --save r"
    shell.fails(resolve, 1, "disabled")
    shell.ok("mikeytool kms user enable -q kms.db sip:alice@example.com")
    shell.ok(f"{resolve}\n{request}")
    shell.ok("mikeytool kms user remove -q kms.db sip:alice@example.com")
    shell.fails(f"{request}2", 1, "not known")
    shell.fails("mikeytool kms user disable kms.db sip:alice@example.com", 4, "no user")


def test_a_user_gets_another_key(shell: Shell) -> None:
    with_kms(shell).ok("mikeytool kms user rekey -q kms.db sip:alice@example.com > new.psk")
    request = "mikeytool ticket request --as sip:alice@example.com --to sip:b --kms kms.db"
    shell.fails(f"{request} --psk file:alice.psk --save t", 1, "MAC")
    shell.ok(f"{request} --psk file:new.psk --save t")
    shell.fails("mikeytool kms user rekey kms.db sip:nobody@example.com", 4, "no user")


def test_a_user_is_shown_without_the_key(shell: Shell) -> None:
    with_kms(shell).ok(
        "mikeytool kms user add -q kms.db sip:f@x --psk-id f --act-as 'sip:*@x' -o f.psk\n"
        "mikeytool kms group add -q kms.db sip:g@x sip:f@x"
    )
    shown = shell.ok("mikeytool kms user show kms.db sip:f@x --json")
    assert json.loads(shown) == {
        "uri": "sip:f@x",
        "psk_id": "f",
        "known_by": ["psk"],
        "enabled": True,
        "act_as": ["sip:*@x"],
        "groups": ["sip:g@x"],
    }
    assert shell.path("f.psk").read_text().strip() not in shown
    assert "sip:*@x" in shell.ok("mikeytool kms user show kms.db sip:f@x")
    assert "state     enabled" in shell.ok("mikeytool kms user show kms.db sip:f@x")
    shell.fails("mikeytool kms user show kms.db sip:nobody@x", 4, "no user")
