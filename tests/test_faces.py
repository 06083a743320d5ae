"""Every room has a public face: what it names can be had, and the use in its docstring runs."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOMS: tuple[str, ...] = (
    "capture",
    "client",
    "conference",
    "exchange",
    "kms",
    "lint",
    "media",
    "srtp",
    "storage",
    "wire",
)


@pytest.mark.parametrize("room", ROOMS)
def test_what_a_face_names_is_there(room: str) -> None:
    module = importlib.import_module(f"mikeytool.{room}")
    assert module.__all__
    # Once imported, a module would hide what has its name.
    assert not {each.name for each in pkgutil.iter_modules(module.__path__)} & {*module.__all__}
    for name in module.__all__:
        assert getattr(module, name).__doc__ or not callable(getattr(module, name)), name


@pytest.mark.parametrize("room", ROOMS)
def test_types_and_names_of_a_face_agree(room: str) -> None:
    """What type checkers see is what is loaded."""
    module = importlib.import_module(f"mikeytool.{room}")
    assert module.__file__
    tree = ast.parse(Path(module.__file__).read_text())
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    seen = [
        each for node in checked.body if isinstance(node, ast.ImportFrom) for each in node.names
    ]
    assert all(each.name == each.asname for each in seen), "write `import Name as Name`"
    assert sorted(each.name for each in seen) == module.__all__


def example(room: str) -> str:
    """The code in the docstring of a room: its lines that are indented by four or more."""
    text = importlib.import_module(f"mikeytool.{room}").__doc__ or ""
    blocks = re.findall(r"(?:^(?: {4}.*)?\n)+", text, re.MULTILINE)
    return "\n".join(line[4:] for block in blocks for line in block.splitlines()).strip()


@pytest.mark.parametrize("room", ROOMS)
def test_the_use_that_a_face_shows_runs(room: str, tmp_path: Path) -> None:
    code = example(room)
    assert 4 <= len(code.splitlines()) <= 20, code
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
