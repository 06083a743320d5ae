"""The world that tests of the KMS live in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.kms.store.schema import TABLES
from tests.postgres import Reused, Server
from tests.world import START, Clock, World, make_store


@pytest.fixture(scope="session")
def store_to_reuse(
    postgres: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Reused, int]]:
    """A store on the database server for many tests, and the time after it was made."""
    key = tmp_path_factory.mktemp("seal") / "seal.key"
    key.write_text("s" * 32)
    clock = Clock()

    def make(url: str) -> None:
        clock.now = START
        make_store(url, clock, f"file:{key}")

    with closing(Reused(postgres, make, list(TABLES))) as place:
        yield place, clock.now


@pytest.fixture
def place(store_to_reuse: tuple[Reused, int], tmp_path: Path) -> tuple[Reused, int]:
    """The same as it was at first, but with the sealing key that `World` writes."""
    place, _ = store_to_reuse
    place.renew()
    place.execute("UPDATE seal SET how = %s", [f"file:{tmp_path / 'seal.key'}"])
    return store_to_reuse


@pytest.fixture(params=["sqlite", "postgres"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A KMS, once on a file and once on a database server."""
    if request.param == "sqlite":
        made = World(tmp_path)
    else:
        place, clock = request.getfixturevalue("place")
        made = World(tmp_path, Clock(clock), place.url, is_made=True)
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
