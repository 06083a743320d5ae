"""Do the tests see a check that is gone? `nice python -m tests.mutants --out FOLDER`.

Makes one-place mutants of the rooms below, drawn by a seed, and runs the room's own fast tests
that cover the changed line against each. Needs coverage.py. What is known is kept in FOLDER, so
a run that was cut short goes on; `--again` tries the survivors once more. Mutants that behave as
the original does are named in equal.tsv, with the reason.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import xml.etree.ElementTree as ET
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest

from tests.mutants.mutate import Mutant, mutants

ROOT = Path(__file__).parents[2]
ROOMS = ("exchange", "kms", "conference", "client", "crypto", "srtp")
BUDGET = 20.0
"""Seconds that the tests of one mutant take, when nothing else runs; others are left out."""
TIMEOUT = 120
_OPTIONS = ("-q", "-x", "-n", "0", "-p", "no:cacheprovider", "--tb", "no", "--assert=plain")
_IMPORTED = (
    "hypothesis", "xdist.plugin", "construct", "cryptography.x509.verification", "sqlite3",
    "cryptography.hazmat.primitives.asymmetric.rsa", "cryptography.hazmat.primitives.ciphers.aead",
)  # fmt: skip
"""What most tests import, imported once."""
_BROKEN = 99
"""The exit code when pytest itself ends with an exception, as when it finds what is left open."""
_CACHES = shutil.ignore_patterns("__pycache__")


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
            own = f"mikeytool/{room}/"
            self._covering.update(
                {name: one["contexts"] for name, one in files.items() if name.startswith(own)}
            )

    def of(self, mutant: Mutant) -> list[str]:
        """The tests for a mutant, quick ones first, as pytest names them.

        A line that runs in other processes or in fixtures is seen by all tests of its room.
        """
        room = mutant.file.split("/")[1]
        names = {*self._covering.get(mutant.file, {}).get(str(mutant.line), ())} - {""}
        found = [name for name in names if name.startswith(f"tests.{room}.")]
        found = found or [name for name in self._times if name.startswith(f"tests.{room}.")]
        found.sort(key=lambda name: (Path(mutant.file).stem not in name, self._times[name]))
        sums = accumulate(self._times[name] for name in found)
        quick = [name for name, total in zip(found, sums, strict=True) if total < BUDGET]
        return [f"{'/'.join(name.split('.')[:-1])}.py::{name.split('.')[-1]}" for name in quick]


def _cover(room: str, out: Path) -> None:
    """Run the tests of a room once, and record which lines each of them runs."""
    config, data = out / "coveragerc", out / f"{room}.coverage"
    config.write_text("[run]\ndynamic_context = test_function\nsource = mikeytool\n")
    options = (f"--rcfile={config}", f"--data-file={data}")
    tests = [
        "-m",
        "pytest",
        *_OPTIONS,
        "-m",
        "not soak and not first",
        f"--junitxml={out / room}.xml",
    ]
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
    """What the tests say of a mutant in a copy of the tree."""
    file = copy / mutant.file
    source = file.read_bytes()
    _write(file, mutant.of(source))
    process = os.fork()
    if process == 0:
        try:
            os._exit(_tested(copy, tests))
        finally:
            os._exit(_BROKEN)
    end, code = time.monotonic() + TIMEOUT, None
    while code is None and time.monotonic() < end:
        time.sleep(0.05)
        ended, status = os.waitpid(process, os.WNOHANG)
        code = os.waitstatus_to_exitcode(status) if ended else None
    with suppress(ProcessLookupError):
        os.killpg(process, signal.SIGKILL)
    if code is None:
        os.waitpid(process, 0)
    _write(file, source)
    return "killed: it never ends" if code is None else "killed" if code else "survived"


def _write(file: Path, source: bytes) -> None:
    """Write a module, and drop what Python has compiled of it."""
    file.write_bytes(source)
    for compiled in (file.parent / "__pycache__").glob(f"{file.stem}.*"):
        compiled.unlink()


def _tested(copy: Path, tests: list[str]) -> int:
    """Run tests of a copy in this process, which has imported what all of them use."""
    os.setsid()
    os.chdir(copy)
    os.environ["PYTHONPATH"] = str(copy)
    sys.path.insert(0, str(copy))
    for name in [name for name in sys.modules if name.split(".")[0] in ("tests", "mikeytool")]:
        del sys.modules[name]
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    return int(pytest.main([*_OPTIONS, *tests]))


def run(chosen: list[Mutant], fast: Fast, jobs: int, note: Callable[[Mutant, str], None]) -> None:
    """Try the mutants in several processes, each in a copy of the tree of its own."""
    for name in _IMPORTED:
        importlib.import_module(name)
    workers = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(jobs):
            copy = Path(folder, str(number))
            for name in ("mikeytool", "tests", "examples"):
                shutil.copytree(ROOT / name, copy / name, ignore=_CACHES)
            shutil.copy(ROOT / "pyproject.toml", copy)
            workers.append(os.fork())
            if workers[-1] == 0:
                try:
                    for mutant in chosen[number::jobs]:
                        tests = fast.of(mutant)
                        if mutant is chosen[number] and tests:
                            # Nothing is changed: else what breaks tests by itself would count.
                            same = replace(mutant, end=mutant.start, text="")
                            assert tried(same, tests, copy) == "survived"
                        note(mutant, tried(mutant, tests, copy) if tests else "no test")
                except Exception:
                    traceback.print_exc()
                finally:
                    os._exit(0)
        for worker in workers:
            os.waitpid(worker, 0)


def equal() -> Iterator[tuple[str, str]]:
    """The mutants that behave as the original does, with the reasons."""
    for line in Path(__file__).with_name("equal.tsv").read_text().splitlines():
        key, reason = line.split("\t")
        yield key, reason


def _results(file: Path) -> dict[str, dict[str, Any]]:
    """What is known, by the keys of mutants; what was found last counts."""
    lines = file.read_text().splitlines() if file.exists() else ()
    return {one["key"]: one for one in map(json.loads, lines)}


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
    known = _results(file)
    named, fast = dict(equal()), Fast(given.out)
    chosen = drawn(given.number, given.seed)
    left = [
        one for one in chosen
        if one.key not in known
        or (given.again and not known[one.key]["result"].startswith("killed"))
    ]  # fmt: skip
    results = file.open("a")

    def note(mutant: Mutant, result: str) -> None:
        one = {"key": mutant.key, "line": mutant.line, "result": result}
        results.write(json.dumps(one) + "\n")
        results.flush()

    run([one for one in left if one.key not in named], fast, given.jobs, note)
    results.close()
    known = _results(file)
    count: Counter[str] = Counter()
    for one in chosen:
        result = "equal" if one.key in named else known[one.key]["result"]
        count[result] += 1
        if result in ("survived", "no test"):
            print(f"{result}: {one.file}:{one.line}: {one.place} | {one.kind}")
    print(f"{len(chosen)} mutants: {dict(count)}")


if __name__ == "__main__":
    main()
