"""After a kill at any instant the file holds what was before a command, or what is after it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.series import Series
from tests.support import TESTS

EACH = 6
COMMANDS = {
    "create", "call in", "call out", "answer", "update", "allow", "deny", "remove", "alone",
    "rekey", "updates", "expire",
}  # fmt: skip


def test_kill_9_at_random_points_of_every_command(memory: Path, series: Series) -> None:
    each = series.length(EACH, 2)
    ran = subprocess.run(
        [sys.executable, "-m", "tests.conference.crashing", str(memory), str(each),
         str(series.seed)],
        cwd=TESTS.parent, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    assert {name for name, times in found["before"].items() if times >= each} == COMMANDS
