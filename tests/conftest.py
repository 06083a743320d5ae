"""What every test may ask for, and how property tests are run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.cli.shell import Shell
from tests.postgres import Server, server

# Property tests fail for what they find, never for how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


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
