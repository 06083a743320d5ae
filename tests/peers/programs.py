"""Other people's programs that the tests measure against."""

from __future__ import annotations

import ctypes.util
import os
import shutil
import subprocess

import pytest


def missing(what: str) -> None:
    """Skip the test on somebody's own machine; on a CI machine everything has to be there."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is not installed")


def need(program: str) -> str:
    """The path of a program."""
    path = shutil.which(program)
    if path is None:
        missing(program)
    assert path is not None
    return path


def need_library(name: str) -> None:
    """Make sure of a shared library."""
    if ctypes.util.find_library(name) is None:
        missing(f"lib{name}")


def run(command: list[str], given: bytes = b"") -> bytes:
    """What a program prints; it must succeed."""
    done = subprocess.run(command, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout
