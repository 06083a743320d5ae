"""`manual` lists the pages of the manual and shows them."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

from mikeytool.wire.registry import TicketFlag
from tests.cli.shell import BIN, Shell
from tests.support import TESTS

PAGES = TESTS.parent / "mikeytool" / "manual"


def test_topics_are_listed_with_their_titles(shell: Shell) -> None:
    listed = shell.ok("mikeytool manual").splitlines()
    assert [line.split()[0] for line in listed] == sorted(path.stem for path in PAGES.glob("*.md"))
    for line in listed:
        topic, title = line.split(maxsplit=1)
        assert (PAGES / f"{topic}.md").read_text().startswith(f"# {title}\n")
        assert len(line) <= 80


def test_a_pipe_gets_the_page_as_it_is_written(shell: Shell) -> None:
    assert shell.ok("mikeytool manual kms | cat") == (PAGES / "kms.md").read_text().rstrip("\n")


def test_an_unknown_topic_names_the_others(shell: Shell) -> None:
    shell.fails("mikeytool manual tea", 2, "no page tea", "interpretations", "kms", "service")


def test_a_terminal_gets_it_formatted(tmp_path: Path) -> None:
    primary, terminal = pty.openpty()
    with subprocess.Popen(
        [BIN / "mikeytool", "manual", "kms"],
        stdout=terminal,
        env={**os.environ, "COLUMNS": "60", "TERM": "xterm"},
    ) as process:
        os.close(terminal)
        shown = b""
        try:
            while octets := os.read(primary, 65536):
                shown += octets
        except OSError:  # how a terminal of Linux says that the other end is closed
            pass
    os.close(primary)
    assert process.returncode == 0
    assert b"\x1b[" in shown
    assert b"## " not in shown
    assert "The store of a KMS" in shown.decode()


def test_the_manual_has_every_flag_of_a_ticket() -> None:
    page = (PAGES / "exchanges.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| [D-O] \|", line)]
    assert rows == [f"| {flag.name} | {flag.meaning} |" for flag in TicketFlag]
