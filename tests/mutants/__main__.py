"""Do the tests see a check that is gone? `nice python -m tests.mutants --out FOLDER`.

Makes one-place mutants of the rooms below, drawn by a seed, and runs the room's own fast tests
that cover the changed line against each. Needs coverage.py. What is known is kept in FOLDER, so
a run that was cut short goes on; `--again` tries the survivors once more. Mutants that behave as
the original does are named in equal.tsv, with the reason.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from typing import Any

from tests.mutants.mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
ROOMS = ("exchange", "kms", "conference", "client", "crypto", "srtp")
SLOW = 8.0
"""Seconds; a test that takes longer is not among the fast ones."""
TIMEOUT = 120
_PYTEST = ("-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb", "no")

Results = dict[str, dict[str, Any]]


class Fast:
    """The fast tests of each room, with the lines that each covers."""

    def __init__(self, out: Path) -> None:
        self._times: dict[str, float] = defaultdict(float)
        self._covering: dict[str, dict[str, list[str]]] = {}
        for room in ROOMS:
            if not (out / f"{room}.json").exists():
                _cover(room, out)
            for case in ET.parse(out / f"{room}.xml").iter("testcase"):
                name = f"{case.get('classname')}.{str(case.get('name')).split('[')[0]}"
                bad = case.find("failure") is not None or case.find("error") is not None
                self._times[name] += 1e6 if bad else float(case.get("time") or 0)
            files = json.loads((out / f"{room}.json").read_text())["files"]
            self._covering.update({name: found["contexts"] for name, found in files.items()})

    def of(self, mutant: Mutant) -> list[str]:
        """The tests for a mutant, quick ones first, as pytest names them.

        A line that runs in other processes or in fixtures is seen by all tests of its room.
        """
        room = mutant.file.split("/")[1]
        names = {*self._covering.get(mutant.file, {}).get(str(mutant.line), ())} - {""}
        found = [name for name in names if name.startswith(f"tests.{room}.")]
        found = found or [name for name in self._times if name.startswith(f"tests.{room}.")]
        quick = [name for name in found if self._times.get(name, 1e6) < SLOW]
        quick.sort(key=lambda name: (Path(mutant.file).stem not in name, self._times[name]))
        return [f"{'/'.join(name.split('.')[:-1])}.py::{name.split('.')[-1]}" for name in quick]


def _cover(room: str, out: Path) -> None:
    """Run the tests of a room once, and record which lines each of them runs."""
    config, data = out / "coveragerc", out / f"{room}.coverage"
    config.write_text("[run]\ndynamic_context = test_function\nsource = mikeytool\n")
    options = (f"--rcfile={config}", f"--data-file={data}")
    tests = [*_PYTEST, "-m", "not soak and not first", f"--junitxml={out / room}.xml"]
    tests.remove("-x")
    coverage = (sys.executable, "-m", "coverage")
    _ = subprocess.run([*coverage, "run", *options, *tests, f"tests/{room}"], cwd=ROOT, check=False)
    report = ("json", "--show-contexts", "-o", str(out / f"{room}.json"))
    subprocess.run([*coverage, *report, *options], cwd=ROOT, check=True)


def drawn(number: int, seed: int) -> list[Mutant]:
    """As many mutants of all rooms, in random order."""
    every = [
        mutant
        for room in ROOMS
        for path in sorted((ROOT / "mikeytool" / room).rglob("*.py"))
        for mutant in mutants(str(path.relative_to(ROOT)), path.read_bytes())
    ]
    return random.Random(seed).sample(every, min(number, len(every)))


def tried(mutant: Mutant, tests: list[str], copy: Path) -> str:
    """What the tests say of a mutant in a copy of the tree: killed, survived or no test."""
    file = copy / mutant.file
    source = file.read_bytes()
    file.write_bytes(mutant.of(source))
    environment = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *_PYTEST, *tests]
    try:
        with subprocess.Popen(
            command, cwd=copy, env=environment, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as ran:  # fmt: skip
            try:
                code = ran.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                return "killed: it never ends"
            finally:
                _end(ran.pid)
    finally:
        file.write_bytes(source)
    return "survived" if code == 0 else "killed"


def _end(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except ProcessLookupError:
        return


def run(chosen: list[Mutant], fast: Fast, jobs: int, note: Callable[[Mutant, str], None]) -> None:
    """Try the mutants, several at a time, each in a copy of the tree of its own."""
    copies: Queue[Path] = Queue()

    def one(mutant: Mutant) -> None:
        tests = fast.of(mutant)
        copy = copies.get()
        try:
            note(mutant, tried(mutant, tests, copy) if tests else "no test")
        finally:
            copies.put(copy)

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(jobs) as pool:
        for number in range(jobs):
            copy = Path(folder, str(number))
            for name in ("mikeytool", "tests", "examples"):
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(ROOT / name, copy / name, ignore=ignored)
            shutil.copy(ROOT / "pyproject.toml", copy)
            copies.put(copy)
        list(pool.map(one, chosen))


def equal() -> Iterator[tuple[str, str]]:
    """The mutants that behave as the original does, with the reasons."""
    for line in Path(__file__).with_name("equal.tsv").read_text().splitlines():
        key, reason = line.split("\t")
        yield key, reason


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--number", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--again", action="store_true", help="try the survivors once more")
    given = parser.parse_args()
    given.out.mkdir(exist_ok=True)
    file = given.out / "results.jsonl"
    known: Results = {}
    for line in file.read_text().splitlines() if file.exists() else ():
        known[json.loads(line)["key"]] = json.loads(line)
    named, fast = dict(equal()), Fast(given.out)
    chosen = drawn(given.number, given.seed)
    left = [
        one for one in chosen
        if one.key not in known
        or (given.again and not known[one.key]["result"].startswith("killed"))
    ]  # fmt: skip
    with file.open("a") as results:

        def note(mutant: Mutant, result: str) -> None:
            known[mutant.key] = {"key": mutant.key, "line": mutant.line, "result": result}
            results.write(json.dumps(known[mutant.key]) + "\n")
            results.flush()

        run([one for one in left if one.key not in named], fast, given.jobs, note)
    count: Counter[str] = Counter()
    for one in chosen:
        result = "equal" if one.key in named else known[one.key]["result"]
        count[result] += 1
        if result in ("survived", "no test"):
            print(f"{result}: {one.file}:{one.line}: {one.place} | {one.kind}")
    print(f"{len(chosen)} mutants: {dict(count)}")


if __name__ == "__main__":
    main()
