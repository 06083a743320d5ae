"""Files that are there stay as they are, unless --force is given and the command reads none."""

from __future__ import annotations

import json
import subprocess
import time

import pytest

from tests.cli.shell import ALICE, BOB, Shell, with_kms, with_sessions, with_ticket

KEY = bytes(range(30)).hex()
RTP = "80000001000000a01111111168656c6c6f20626f62"
ERROR = "AQYFAEwC+OYAAQwA7cNPSteoSCYJDAAAAAHcJVVnx4I9BW0GR8WOSJZngXYbug=="


@pytest.mark.parametrize(
    "command",
    [
        "mikeytool encode json -o there",
        "mikeytool wireshark -o there",
        "mikeytool keygen psk -o there",
        "mikeytool keygen rsa --identity sip:a --bits 2048 -o new --cert-out there",
        f"mikeytool srtp encrypt rtp --key {KEY} -o there",
        f"mikeytool srtp encrypt rtp --key {KEY} -o new --report there",
        "mikeytool ticket request --as sip:a --psk 00112233445566778899aabbccddeeff --to sip:b"
        " --kms-id sip:k --pending new -o there",
    ],
)
def test_a_file_that_is_there(shell: Shell, command: str) -> None:
    shell.path("rtp").write_text(f"{RTP}\n")
    shell.ok(f"mikeytool decode --json {ERROR} > json")
    shell.path("there").write_text("precious")
    shell.fails(command, 4, "there: it exists already", "--force")
    assert shell.path("there").read_text() == "precious"
    assert not shell.path("new").exists()
    shell.ok(f"{command} --force")
    assert shell.path("there").read_bytes() != b"precious"


@pytest.mark.parametrize(
    "command",
    [
        "mikeytool keygen rsa --identity sip:a --bits 2048 -o {} --cert-out={}",
        f"mikeytool srtp encrypt rtp --key {KEY} --output={{}} --report {{}}",
        "mikeytool ticket request --as sip:a --psk 00112233445566778899aabbccddeeff --to sip:b"
        " --kms-id sip:k -o {} --pending {}",
        "mikeytool transfer init --ticket alice.ticket --to sip:bob@example.com -o {} --session {}",
    ],
)
@pytest.mark.parametrize("force", ["", " --force"])
def test_two_outputs_are_two_files(shell: Shell, command: str, force: str) -> None:
    with_ticket(shell)
    shell.path("rtp").write_text(f"{RTP}\n")
    for one, other in (("new", "new"), ("./new", "new"), (str(shell.path("new")), "new")):
        shell.fails(command.format(one, other) + force, 2, "name one file; choose another name")
        assert not shell.path("new").exists()
    shell.ok(command.format("new", "other"))


@pytest.mark.parametrize("name", ["json", "./json", "link", "hard"])
@pytest.mark.parametrize("force", ["", "--force"])
def test_a_file_that_is_read(shell: Shell, name: str, force: str) -> None:
    shell.ok(f"mikeytool decode --json {ERROR} > json")
    before = shell.path("json").read_bytes()
    shell.path("link").symlink_to("json")
    shell.path("hard").hardlink_to(shell.path("json"))
    for way in ("json -o", "json --output=", "-o"):
        output = f"{way}{name}" if way.endswith("=") else f"{way} {name}"
        shell.fails(f"mikeytool encode {force} {output} < json", 2, "reads this file")
    assert shell.path("json").read_bytes() == before


def test_keys_and_stores_are_read_as_well(shell: Shell) -> None:
    with_kms(shell)
    request = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --force"
    for name in ("alice.psk", "kms.db", "kms.db.key"):
        before = shell.path(name).read_bytes()
        shell.fails(f"{request} --kms kms.db --save {name}", 2, "reads this file")
        assert shell.path(name).read_bytes() == before
    shell.fails("mikeytool kms user rekey kms.db sip:bob@example.com -o kms.db --force", 2, "reads")
    shell.fails(
        "mikeytool ticket request --as sip:alice@example.com --to sip:bob@example.com --force"
        " --kms kms.db --save alice.psk", 2, "reads this file", MIKEYTOOL_PSK="file:alice.psk",
    )  # fmt: skip


def test_a_state_file_in_the_way_is_found_before_anything_is_done(shell: Shell) -> None:
    """With --force too: the ticket for one use is not used up, and the KMS is not asked."""
    with_sessions(shell)
    request = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms kms.db"
    shell.ok(f"{request} --flags=-J --save once")
    logged = shell.ok("mikeytool kms log kms.db")
    invite = "mikeytool transfer init --ticket once --to sip:bob@example.com"
    for name in ("alice.ticket", "state", "kms.db", "kms.db.key"):
        before = shell.path(name).read_bytes()
        shell.fails(f"{invite} --session {name} --force", 4, "remove it yourself")
        assert shell.path(name).read_bytes() == before
    for name in ("bob.session", "kms.db.key"):
        shell.fails(f"{request} --save {name} --force", 2 if name == "kms.db.key" else 4)
        pending = f"--kms-id sip:kms.example.com --pending {name}"
        shell.fails(f"{request.removesuffix(' --kms kms.db')} {pending} --force", 4, "remove")
    shell.fails(f"mikeytool transfer respond transfer-init {BOB} --kms kms.db"
                " --session alice.ticket --force", 4, "remove it yourself")  # fmt: skip
    assert shell.ok("mikeytool kms log kms.db") == logged
    shell.ok(f"{invite} --session new")


@pytest.mark.parametrize(
    "command",
    [
        "mikeytool keygen psk -o kms.db.key",
        "mikeytool wireshark -o kms.db.key",
        "mikeytool keygen rsa --identity sip:a --bits 2048 -o new --cert-out kms.db.key",
        f"mikeytool srtp encrypt rtp --key {KEY} -o new --report kms.db.key",
    ],
)
def test_the_key_of_a_store_is_never_replaced(shell: Shell, command: str) -> None:
    with_kms(shell)
    shell.path("rtp").write_text(f"{RTP}\n")
    before = shell.path("kms.db.key").read_bytes()
    for force in ("", " --force"):
        shell.fails(command + force, 4, "kms.db.key")
    assert shell.path("kms.db.key").read_bytes() == before
    assert not shell.path("new").exists()
    shell.path("other.key").write_text("no store is beside it")
    shell.ok(f"{command} --force".replace("kms.db.key", "other.key"))


def test_a_command_that_fails_leaves_no_file(shell: Shell) -> None:
    with_sessions(shell)
    shell.path("rtp").write_text(f"{RTP}\n")
    wrong = bytes(range(1, 31)).hex()
    shell.ok(f"mikeytool srtp encrypt rtp --key {KEY} -o srtp")
    for command in (
        "mikeytool encode '{' -o out",
        f"mikeytool srtp decrypt srtp --key {wrong} -o out",
        f"mikeytool srtp decrypt srtp --key {wrong} --on-error keep -o out",
        f"mikeytool transfer respond 0100 {BOB} --kms kms.db --session s -o out",
        "mikeytool kms handle kms.db 0100 -o out",
    ):
        assert shell.run(command).code
        assert not shell.path("out").exists(), command


def test_of_two_that_write_one_file_the_later_fails(shell: Shell) -> None:
    """Neither gave --force, and neither found the file when it began."""
    with subprocess.Popen(
        ["mikeytool", "srtp", "encrypt", "-q", "--key", KEY, "-o", "new"],
        cwd=shell.folder, env=shell.variables, stdin=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as process:  # fmt: skip
        assert process.stdin
        process.stdin.write(f"{RTP}\n" * 4000)  # more than a pipe holds: it has begun
        process.stdin.flush()
        while not list(shell.folder.glob(".new.*")):
            time.sleep(0.01)
        shell.path("new").write_text("of the other")
        _, shown = process.communicate()
    assert process.returncode == 4
    assert "new: File exists" in shown
    assert [path.name for path in shell.folder.iterdir()] == ["new"]
    assert shell.path("new").read_text() == "of the other"


def test_devices_and_pipes_take_output(shell: Shell) -> None:
    shell.ok(f"mikeytool decode --json {ERROR} | mikeytool encode -o /dev/null")
    assert json.loads(shell.ok(f"mikeytool decode --json {ERROR} -q"))
