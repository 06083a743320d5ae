"""Real processes on one store: nothing is answered twice, nothing is lost, kills included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.kms.store.check import check
from mikeytool.kms.store.store import Store
from tests.cli.shell import ALICE, Shell, with_kms
from tests.peers.programs import need
from tests.series import Series
from tests.support import TESTS

REQUEST = f"mikeytool ticket request {ALICE} --to sip:bob@example.com --kms-id sip:kms.example.com"


def crashing(folder: Path, *what: object) -> dict[str, int]:
    """Run `tests.kms.crashing` on a store in a folder."""
    command = [sys.executable, "-m", "tests.kms.crashing", *map(str, what)]
    command.insert(4, str(folder))
    ran = subprocess.run(command, cwd=TESTS.parent, capture_output=True, check=True, timeout=300)
    found: dict[str, int] = json.loads(ran.stdout)
    return found


def entries(folder: Path) -> tuple[int, int]:
    """How many messages a store has in its replay cache, and in its log as answered."""
    with closing(Store(folder / "kms.db")) as store:
        assert not [one for one in check(store) if one.faults]
        with store.transaction() as db:
            remembered: int = db.execute("SELECT count(*) FROM replay").fetchone()[0]
        return remembered, sum(entry.outcome == "answered" for entry in store.log())


def test_eight_processes_on_one_store(memory: Path, series: Series) -> None:
    """No entry is lost, none is doubled."""
    messages = series.length(5000, 800)
    found = crashing(memory, "together", 8, messages)
    assert found == {"answered": messages, "doubled": 0}
    assert entries(memory) == (messages, messages)


@pytest.mark.parametrize("at_once", [1, 8])
def test_a_process_that_is_killed_anywhere(memory: Path, series: Series, at_once: int) -> None:
    """What got out is on disk; what was not done is not half there."""
    kills = series.length(300, 60)
    found = crashing(memory, "killed", kills, series.seed, at_once)
    assert found["doubled"] == 0
    assert found["answered"] > kills // 3
    remembered, logged = entries(memory)
    assert remembered == logged >= found["answered"]


def test_of_many_copies_of_a_request_one_is_answered(shell: Shell) -> None:
    with_kms(shell).ok(f"{REQUEST} --pending p -o request")
    with ThreadPoolExecutor(6) as pool:
        ran = list(pool.map(lambda _: shell.run("mikeytool kms handle kms.db request"), range(6)))
    assert sorted(one.code for one in ran) == [0, 1, 1, 1, 1, 1]
    assert all("replay" in one.err for one in ran if one.code)


def test_a_full_disk_leaves_the_store_whole(shell: Shell) -> None:
    """Files cannot grow beyond a limit, as on a disk that is full."""
    with_kms(shell).ok(f"{REQUEST} --pending p -o request")
    users = "\n".join(["uri", *(f"sip:user{n}@example.com" for n in range(2000))])
    shell.path("users.csv").write_text(users)
    full = "export PYTHONDONTWRITEBYTECODE=1; ulimit -f 12; mikeytool kms"
    ran = shell.fails(f"{full} handle kms.db request", 4, "kms.db")
    assert ran.out == ""
    shell.fails(f"{full} user import kms.db users.csv -o keys", 4)
    shell.fails(f"{full} backup kms.db copy.db", 4)
    shell.fails(f"{full} init other.db --id sip:other.example.com", 4)
    for name in ("keys", "copy.db", "other.db", "other.db.key"):
        assert not shell.path(name).exists(), name
    shell.ok("mikeytool kms check kms.db")
    assert json.loads(shell.ok("mikeytool kms show kms.db --json"))["users"] == 2
    shell.ok("mikeytool kms handle kms.db request")


def test_a_read_only_store_is_left_as_it_is(shell: Shell) -> None:
    with_kms(shell).ok(f"{REQUEST} --pending p -o request")
    # Nothing is read-only to root, unless this capability is given up.
    drop = "setpriv --bounding-set -dac_override " if os.geteuid() == 0 else ""
    if drop:
        need("setpriv")
    before = shell.path("kms.db").read_bytes()
    shell.ok("chmod 0400 kms.db kms.db.key; chmod 0500 .")
    for command in ("handle kms.db request", "user disable kms.db sip:bob@example.com"):
        ran = shell.fails(f"{drop}mikeytool kms {command}", 4, "kms.db")
        assert ran.out == ""
        assert len(ran.err.splitlines()) == 1
    assert shell.path("kms.db").read_bytes() == before
    shell.ok("chmod 0700 .; chmod 0600 kms.db")
    shell.ok("mikeytool kms handle kms.db request")
