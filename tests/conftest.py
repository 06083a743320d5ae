"""What every test may ask for, and how property tests are run."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections.abc import Generator, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from mikeytool.kms.remote import http_client
from tests.cli.shell import Shell
from tests.postgres import MEMORY, Server, server
from tests.series import Series

_COMPILED = pytest.StashKey[str]()

# Property tests fail for what they find, never for how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


_MEMORY, _ROOM = "/dev/shm", 4 << 30


def _has_room() -> bool:
    """Whether there is a file system in memory for everything that tests write and run."""
    if not os.access(_MEMORY, os.W_OK) or os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
        return False
    return shutil.disk_usage(_MEMORY).free >= _ROOM


if _has_room():  # a disk is waited for at every file that is written safely
    os.environ.setdefault(MEMORY, _MEMORY)


class _Database(sqlite3.Connection):
    """A database that warns when it is left open, as those of Python 3.13 do."""

    is_open = True

    def close(self) -> None:
        super().close()
        self.is_open = False

    def __del__(self) -> None:
        if self.is_open:
            warnings.warn(f"unclosed database in {self!r}", ResourceWarning, stacklevel=1)


if sys.version_info < (3, 13):
    sqlite3.connect = partial(sqlite3.connect, factory=_Database)  # type: ignore[assignment]


def pytest_configure(config: pytest.Config) -> None:
    """Let the processes that tests start find compiled modules, also where none may be written.

    They are kept in a folder of this run then: else each process would compile all modules again.
    """
    if not os.environ.get("PYTHONDONTWRITEBYTECODE"):
        return
    given: dict[str, str] = getattr(config, "workerinput", {})
    folder = given.get("compiled") or tempfile.mkdtemp(prefix="compiled-")
    config.stash[_COMPILED] = folder
    if not given:
        config.add_cleanup(partial(shutil.rmtree, folder, ignore_errors=True))
    if given or not config.getoption("numprocesses", None):
        del os.environ["PYTHONDONTWRITEBYTECODE"]
        os.environ["PYTHONPYCACHEPREFIX"] = folder


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Give a worker of pytest-xdist the folder of the run."""
    node.workerinput["compiled"] = node.config.stash.get(_COMPILED, "")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--soak", action="store_true", help="run every series as a whole")
    parser.addoption(
        "--seed", type=int, default=date.today().toordinal(), metavar="N",
        help="draw the shares of series by this number (default: the day)",
    )  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long tests come first: what begins last would be waited for."""
    for item in items:
        if "series" in getattr(item, "fixturenames", ()):
            item.add_marker("soak")
    items.sort(key=lambda item: not {"first", "soak"} & {mark.name for mark in item.iter_markers()})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure in a share of a series says how to repeat it."""
    report = yield
    if report.failed and "series" in getattr(item, "fixturenames", ()):
        report.sections.append(("series", f"repeat it with --seed {item.config.getoption('seed')}"))
    return report


@pytest.fixture(scope="session")
def series(request: pytest.FixtureRequest) -> Series:
    """How much of a long series runs; a test that asks for it is marked `soak`."""
    return Series(request.config.getoption("seed"), request.config.getoption("soak"))


@pytest.fixture(scope="session", autouse=True)
def _brief_pauses() -> None:
    """Who asks a KMS that is away in this process tries again as often, but at once."""
    http_client._PAUSES = (0.01, 0.01, 0.01, 0.01)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A fresh shell for every test."""
    return Shell(tmp_path)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory where there is one: a disk has other things to do than these tests."""
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(dir=shared))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server that the tests of one process share."""
    with server("fsync=off") as made:
        yield made
