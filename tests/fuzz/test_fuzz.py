"""A short run of the fuzz target, from the known messages on."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.series import Series
from tests.support import TESTS
from tests.wire.samples import COMMITTED


def test_the_target_finds_nothing(tmp_path: Path, series: Series) -> None:
    runs = series.length(400_000, 8_000)
    if not os.environ.get("CI"):
        pytest.importorskip("atheris")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for at, sample in enumerate(COMMITTED[:20]):
        (corpus / str(at)).write_bytes(sample.data)
    command = [sys.executable, "-m", "tests.fuzz.target", str(corpus), f"-runs={runs}",
               f"-seed={series.seed}", "-max_len=1500", "-timeout=10", "-rss_limit_mb=1024",
               f"-artifact_prefix={tmp_path}/"]  # fmt: skip
    ran = subprocess.run(command, cwd=TESTS.parent, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "Done" in ran.stderr
