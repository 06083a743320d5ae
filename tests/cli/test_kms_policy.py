"""`kms policy`, `kms peer` and `kms log`, as operators use them."""

from __future__ import annotations

import json

from tests.cli.shell import ALICE, Shell, with_kms, with_ticket

REQUEST = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db --save"
SET = "mikeytool kms policy set -q kms.db"


def flags(shell: Shell, name: str) -> str:
    shown: str = json.loads(shell.ok(f"mikeytool ticket show {name} --json"))["flags"]
    return shown


def test_what_is_granted_at_most(shell: Shell) -> None:
    with_kms(shell).ok(f"{REQUEST} first")
    assert "K" not in flags(shell, "first")
    shell.ok(f"{SET} --max-validity 10m --require-forking --key-types tgk,tek+salt --profiles 128")
    shown = json.loads(shell.ok("mikeytool kms policy show kms.db --json"))
    assert shown == {
        "max_validity": 600, "max_skew": 300, "require_forking": True,
        "key_types": ["tgk", "tek+salt"], "profiles": [128], "admit_certified": False,
        "rate": 30000, "extended_key_usage": [], "keep_log": 90 * 86400,
    }  # fmt: skip
    shell.ok(f"{SET} --extended-key-usage emailProtection,1.2.3")
    shown = json.loads(shell.ok("mikeytool kms policy show kms.db --json"))
    assert shown["extended_key_usage"] == ["emailprotection", "1.2.3"]
    shell.fails(f"{SET} --extended-key-usage mail", 2, "emailProtection")
    for option in ("--max-validity 999d", "--rate -1", "--key-types tea", "--profiles 1"):
        shell.fails(f"{SET} {option}", 2, f"mikeytool: {option.split()[0]}")
    assert "10m" in shell.ok("mikeytool kms policy show kms.db")
    shell.ok(f"{REQUEST} second")
    assert "K" in flags(shell, "second")
    shell.fails(f"{REQUEST} x --flags DEFGHJNO", 1, "--accept-changed")
    shell.ok(f"{REQUEST} third --flags DEFGHJNO --accept-changed")
    assert {"I", "K"} <= set(flags(shell, "third"))
    shell.fails(f"{REQUEST} x --key-type gtgk", 1, "gtgk")
    shell.fails(f"{REQUEST} x --profile 256", 1, "256-bit")
    shell.ok(f"{SET} --no-require-forking")
    shown = json.loads(shell.ok("mikeytool kms policy show kms.db --json"))
    assert (shown["require_forking"], shown["max_validity"]) == (False, 600)


def test_policies_that_cannot_be(shell: Shell) -> None:
    with_kms(shell)
    for options, word in (
        ("", "there is nothing to change"),
        ("--max-validity 10", "duration"),
        ("--max-validity 0s", "max-validity"),
        ("--max-skew 3d", "max-skew"),
        ("--key-types tgk,mpk", "key-types"),
        ("--profiles 192", "profiles"),
        ("--profiles big", "big"),
        ("--rate -1", "rate"),
    ):
        shell.fails(f"{SET} {options}", 2, word)


def test_rules(shell: Shell) -> None:
    with_kms(shell)
    rule = "mikeytool kms policy"
    shell.ok(f"{rule} deny -q kms.db --from '*' --to sip:bob@example.com")
    shell.fails(f"{REQUEST} t", 1, "rule")
    told = shell.fails(
        f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms-id sip:kms.example.com"
        " --pending p | mikeytool kms handle kms.db -q 2> /dev/null"
        " | mikeytool ticket accept --pending p --save x", 1, "Unspecified error",
    )  # fmt: skip
    assert "rule" not in told.err
    shell.ok(f"{rule} allow -q kms.db --from 'sip:alice@*' --to 'sip:bob@*'\n{REQUEST} t")
    listed = json.loads(shell.ok(f"{rule} list kms.db --json"))
    assert listed == {
        "rules": [
            {"rule": "deny", "from": "*", "to": "sip:bob@example.com"},
            {"rule": "allow", "from": "sip:alice@*", "to": "sip:bob@*"},
        ],
        "otherwise": "allow",
    }
    assert "everyone else" in shell.ok(f"{rule} list kms.db")
    shell.ok(f"{rule} remove -q kms.db --from '*' --to sip:bob@example.com")
    assert json.loads(shell.ok(f"{rule} list kms.db --json"))["otherwise"] == "deny"
    shell.fails(f"{rule} remove kms.db --from '*' --to sip:bob@example.com", 4, "no rule")
    shell.fails(f"{rule} allow kms.db --from '*'", 2, "--to")
    shell.fails(f"{rule} allow kms.db --from '' --to x", 2, "pattern")


def test_the_log_says_why(shell: Shell) -> None:
    with_kms(shell).ok("mikeytool kms policy deny -q kms.db --from '*' --to sip:bob@example.com")
    shell.run(f"{REQUEST} t")
    entries = [json.loads(line) for line in shell.ok("mikeytool kms log kms.db --json").split("\n")]
    assert [(entry["by"], entry["for"], entry["outcome"]) for entry in entries] == [
        ("operator", "user add sip:alice@example.com", "done"),
        ("operator", "user add sip:bob@example.com", "done"),
        ("operator", "policy deny * to sip:bob@example.com", "done"),
        ("sip:alice@example.com", "sip:bob@example.com", "refused"),
    ]
    assert "rule denies" in entries[-1]["reason"]
    assert "operator" in shell.ok("mikeytool kms log kms.db")
    shell.ok("mikeytool kms policy set -q kms.db --keep-log 30d")
    assert "30d" in shell.ok("mikeytool kms policy show kms.db")
    shell.ok("mikeytool kms log prune -q kms.db --before now+1h")
    pruned = json.loads(shell.ok("mikeytool kms log kms.db --json"))
    assert pruned["for"].startswith("log prune before ")
    shell.fails("mikeytool kms log prune kms.db", 2, "--before")
    assert shell.ok("mikeytool kms log kms.db --json --since now+1h") == ""
    assert shell.ok("mikeytool kms log kms.db --json --since now-1h") != ""
    shell.fails("mikeytool kms log kms.db --since yesterday", 2, "yesterday")


def test_a_ticket_of_another_kms(shell: Shell) -> None:
    with_ticket(shell)
    shell.ok(
        "mikeytool kms init -q far.db --id sip:far.example.com\n"
        "mikeytool kms user add -q far.db sip:dan@far.example.com -o dan.psk\n"
        "mikeytool keygen psk -o peer.key\n"
        "mikeytool kms peer add -q kms.db sip:far.example.com --store far.db --psk file:peer.key"
        " --for 'sip:*@far.example.com'\n"
        f"mikeytool ticket request {ALICE} --to sip:dan@far.example.com --kms kms.db --save t\n"
        "mikeytool transfer init --ticket t --to sip:dan@far.example.com --session a > init"
    )
    dan = "--as sip:dan@far.example.com --psk file:dan.psk --kms far.db"
    respond = f"mikeytool transfer respond init {dan} --session b"
    shell.fails(respond, 1, "kms peer add")
    add = "mikeytool kms peer add -q far.db sip:kms.example.com --for 'sip:*@example.com'"
    shell.fails(f"{add} --psk file:peer.key", 2, "--store")
    shell.fails(f"{add} --psk file:peer.key --store far.db", 2, "far.example.com")
    shell.fails(f"{add} --psk file:peer.key --store nowhere", 4, "nowhere")
    shell.ok(f"{add} --store kms.db --psk file:peer.key")
    shell.ok(f"{respond} > answer\nmikeytool transfer finish answer --session a")
    keys = [
        json.loads(shell.ok(f"mikeytool transfer show {one} --json"))["crypto_sessions"][0]
        for one in "ab"
    ]
    assert keys[0]["master_key"] == keys[1]["master_key"]
    assert "via sip:far.example.com" in shell.ok("mikeytool kms log kms.db --json")
    shell.path("kms.db").rename(shell.path("gone"))
    resolve = f"mikeytool ticket resolve init {dan.replace('--kms far.db', '')}"
    shell.ok(f"{resolve} --kms-id sip:far.example.com --pending p > asked")
    shell.fails("mikeytool kms handle far.db asked", 5, "sip:kms.example.com")
    shell.ok("mikeytool kms peer list far.db | grep -q sip:kms.example.com")
    shell.ok("mikeytool kms peer remove -q far.db sip:kms.example.com")
    assert json.loads(shell.ok("mikeytool kms peer list far.db --json")) == {"peers": []}


def test_ticket_protection_keys_come_and_go(shell: Shell) -> None:
    with_ticket(shell).ok("mikeytool kms tpk rotate kms.db")
    listed = json.loads(shell.ok("mikeytool kms tpk list kms.db --json"))["tpks"]
    assert [(one["name"], one["current"], bool(one["until"])) for one in listed] == [
        ("tpk-1", False, True),
        ("tpk-2", True, False),
    ]
    assert "until 20" in shell.ok("mikeytool kms tpk list kms.db")
    shell.fails("mikeytool kms tpk remove kms.db tpk-2", 4, "kms tpk rotate")
    shell.ok("mikeytool kms tpk remove -q kms.db tpk-1")
    shell.fails("mikeytool kms tpk remove kms.db tpk-1", 4, "kms tpk list")


def test_another_kms_does_not_call_in_the_name_of_our_user(shell: Shell) -> None:
    """It has an Alice, too, and makes a ticket for Bob, who asks the KMS that both share."""
    with_kms(shell).ok(
        "mikeytool kms init -q evil.db --id sip:kms.evil.example\n"
        "mikeytool kms user add -q evil.db sip:alice@example.com -o evil.psk\n"
        "mikeytool kms user add -q evil.db sip:mallory@evil.example -o mallory.psk\n"
        "mikeytool keygen psk -o peer.key\n"
        "mikeytool kms peer add -q kms.db sip:kms.evil.example --store evil.db --psk file:peer.key"
        " --for 'sip:*'\n"
        "mikeytool kms peer add -q evil.db sip:kms.example.com --store kms.db --psk file:peer.key"
        " --for 'sip:*'"
    )
    bob = "--as sip:bob@example.com --psk file:bob.psk --kms kms.db"

    def answer(who: str, key: str) -> str:
        shell.ok(
            f"mikeytool ticket request --as {who} --psk file:{key} --kms evil.db"
            f" --to sip:bob@example.com --save {key}.ticket\n"
            f"mikeytool transfer init --ticket {key}.ticket --to sip:bob@example.com"
            f" --session {key}.session > {key}.init"
        )
        return f"mikeytool transfer respond {key}.init {bob} --session bob-{key}"

    shell.fails(answer("sip:alice@example.com", "evil.psk"), 1, "must ask here")
    shell.ok(answer("sip:mallory@evil.example", "mallory.psk"))
    shell.ok("mikeytool kms peer set -q kms.db sip:kms.evil.example --for 'sip:*@other.example'")
    shell.ok("rm mallory.psk.* bob-mallory.psk")
    shell.fails(answer("sip:mallory@evil.example", "mallory.psk"), 1, "does not speak for")
    shell.fails("mikeytool kms user add kms.db 'sip: bad'", 2, "spaces")
    shell.fails("mikeytool kms user add kms.db sip:kms.evil.example", 4, "KMS")
