"""What every test may ask for, and how property tests are run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import settings

from tests.cli.shell import Shell

# Property tests fail for what they find, never for how busy the machine is.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A fresh shell for every test."""
    return Shell(tmp_path)
