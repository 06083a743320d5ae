"""The world that tests of a client live in, and where the client keeps its state there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setenv("MIKEYTOOL_STATE", str(tmp_path / "state.sqlite"))
    return World(tmp_path)
