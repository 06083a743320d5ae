"""Every example runs as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.cli.shell import Shell
from tests.peers.programs import need
from tests.support import TESTS

FOLDER = TESTS.parent / "examples"
EXAMPLES = [*sorted(FOLDER.glob("*.*")), FOLDER / "sip" / "lab.sh"]
RUN = {".sh": "sh", ".py": sys.executable}


def test_there_are_examples() -> None:
    assert EXAMPLES


@pytest.mark.first
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_runs_as_it_is(shell: Shell, example: Path) -> None:
    need("jq")
    if example.parent != FOLDER:
        need("sipp")
    shell.bash.ok(f"TMPDIR=$PWD {RUN[example.suffix]} {example}")
