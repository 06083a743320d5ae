"""The world that tests of the KMS live in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A KMS, once on a file and once on a database server."""
    if request.param == "sqlite":
        made = World(tmp_path)
    else:
        made = World(tmp_path, where=request.getfixturevalue("postgres").new())
    yield made
    made.store.close()


@pytest.fixture
def file_world(tmp_path: Path) -> Iterator[World]:
    """A KMS on a file, where the file is what a test is about."""
    with closing(World(tmp_path)) as made:
        yield made


@pytest.fixture
def postgres_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A KMS on a database server, where the server is what a test is about."""
    with closing(World(tmp_path, where=request.getfixturevalue("postgres").new())) as made:
        yield made
