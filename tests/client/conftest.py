"""The world that tests of a client live in, and where the client keeps its state there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    monkeypatch.setenv("MIKEYTOOL_STATE", str(tmp_path / "state.sqlite"))
    with closing(World(tmp_path)) as made:
        yield made
