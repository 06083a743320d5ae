"""The README and the manual are true: their blocks run, and the outputs are those shown."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.capture import network
from tests.cli.shell import Shell
from tests.cli.test_captures import story
from tests.peers.programs import need
from tests.support import TESTS

ROOT = TESTS.parent
README = ROOT / "README.md"
PAGES = sorted((ROOT / "mikeytool" / "manual").glob("*.md"))
TEXTS = [README, *PAGES, *sorted((ROOT / ".github").glob("*.md"))]


def name(path: Path) -> str:
    return path.name


def blocks(page: Path, kind: str) -> list[str]:
    return re.findall(rf"```{kind}\n(.*?)```", page.read_text(), re.DOTALL)


def test_commands_of_the_readme_run_as_written(shell: Shell) -> None:
    install, test, *tour = blocks(README, "sh")
    assert "pip install ." in install
    assert install.rstrip().endswith("mikeytool demo")
    assert test.rstrip().endswith("pytest")
    assert len(tour) >= 3
    need("jq")
    for block in tour:
        shell.ok(block)
    assert shell.path("conference.db").exists()
    assert len(README.read_text().splitlines()) <= 3 * 40


def test_the_picture_is_what_the_tool_draws(shell: Shell) -> None:
    """The drawing of a page, with the colours of a page; `mikeytool decode --html` made it."""
    shell.path("call.pcap").write_bytes(network.pcap(story()))
    page = shell.ok("mikeytool decode --html call.pcap")
    (drawn,) = re.findall(r"<svg (.*?)</svg>", page, re.DOTALL)
    rules = "\n".join(re.findall(r"^svg .*$", page, re.MULTILINE))
    colours = re.findall(r":root \{.*?\n\}", page, re.DOTALL)[0]
    picture = (
        f'<svg xmlns="http://www.w3.org/2000/svg" {drawn}<style>{colours}\n{rules}\n'
        "svg { background: #fff; }</style></svg>\n"
    )
    assert (ROOT / "mikeytool" / "manual" / "call.svg").read_text() == re.sub(
        r"</?a[^>]*>", "", picture
    )


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=name)
def test_commands_of_the_manual_run_as_written(shell: Shell, page: Path) -> None:
    for block in blocks(page, "sh"):
        shell.ok(block)


@pytest.mark.parametrize("page", [page for page in TEXTS if blocks(page, "console")], ids=name)
def test_outputs_are_what_comes_out(shell: Shell, page: Path) -> None:
    for block in blocks(page, "console"):
        command, expected = block.split("\n", 1)
        assert command.startswith("$ ")
        assert shell.ok(command[2:]) == expected.rstrip("\n")


@pytest.mark.parametrize("page", TEXTS, ids=name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_ci_runs_the_test_command() -> None:
    test = blocks(README, "sh")[1].strip()
    assert (ROOT / ".ci" / "run").read_text().rstrip().endswith(test)


def test_the_smoke_set_of_ci_has_tests_of_every_room() -> None:
    named = re.findall(r"tests/\w+/test_\w+\.py", (ROOT / ".ci" / "run").read_text())
    assert all((ROOT / path).exists() for path in named)
    rooms = {path.parent.name for path in (ROOT / "mikeytool").glob("*/__init__.py")}
    assert {path.split("/")[1] for path in named} == rooms


def test_every_command_has_help_of_80_columns(shell: Shell) -> None:
    groups = {
        "": "decode encode lint keygen kms ticket transfer srtp conference wireshark manual demo",
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
