"""The README says what is true: its blocks run as written, its outputs are what comes out."""

from __future__ import annotations

import re

from tests.cli.shell import Shell
from tests.peers.programs import need
from tests.support import TESTS

README = (TESTS.parent / "README.md").read_text()


def blocks(kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", README, re.DOTALL)


def test_commands_run_as_written(shell: Shell) -> None:
    install, test, *tour = blocks("sh")
    assert "pip install ." in install
    assert install.rstrip().endswith("mikeytool demo")
    assert test.rstrip().endswith("pytest")
    assert len(tour) >= 4
    need("jq")
    for block in tour:
        shell.ok(block)
    assert shell.path("alice.session").exists()


def test_outputs_are_what_comes_out(shell: Shell) -> None:
    for block in blocks("console"):
        command, expected = block.split("\n", 1)
        assert command.startswith("$ ")
        assert shell.ok(command[2:]) == expected.rstrip("\n")


def test_ci_runs_the_test_command() -> None:
    test = blocks("sh")[1].strip()
    assert (TESTS.parent / ".ci" / "run").read_text().rstrip().endswith(test)


def test_every_command_has_help_of_80_columns(shell: Shell) -> None:
    groups = {
        "": "decode encode lint keygen kms ticket transfer srtp conference demo",
        "kms": "init show check backup copy user group policy tpk key trust peer handle serve log",
        "kms group": "add remove list",
        "kms key": "add list",
        "kms peer": "add remove list",
        "kms policy": "show set allow deny list",
        "kms tpk": "add rotate list",
        "kms trust": "add remove list",
        "kms user": "add list show disable enable remove rekey import",
        "ticket": "request accept create resolve show",
        "transfer": "init respond finish update recover show",
        "srtp": "encrypt decrypt info",
        "conference": "init create call-in call-out answer allow deny remove rekey updates show",
        "keygen": "psk tpk tgk tek salt rsa",
    }
    for group, commands in groups.items():
        for command in commands.split():
            shown = shell.ok(f"mikeytool {group} {command} --help", COLUMNS="80")
            assert shown.startswith("Usage: mikeytool")
            assert max(map(len, shown.splitlines())) <= 80, f"{group} {command}"
        assert shell.ok(f"mikeytool {group} {command} -h", COLUMNS="80") == shown
