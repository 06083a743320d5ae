"""The end of each command's help: its examples and its exit codes, from `examples.toml`."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from typing import Any

from mikeytool.cli.exit_codes import (
    EXIT_REFUSED,
    EXIT_STATE,
    EXIT_UNREACHABLE,
    EXIT_UNREADABLE,
    EXIT_USAGE,
)

_MEANINGS = {
    0: "done",
    EXIT_USAGE: "wrong usage",
    EXIT_UNREADABLE: "the input cannot be read as what it should be",
    EXIT_STATE: "a file or a store cannot be read or written",
    EXIT_UNREACHABLE: "the KMS cannot be reached",
}
_WORD = r"""(?:[^\s'"]|'[^']*'|"[^"]*")+"""
_PART = re.compile(rf"-[-\w]+\s+(?![-|<>]){_WORD}|[|<>&]+\s+{_WORD}|{_WORD}")
"""An option with its value, or a single word: a line is folded before one of these."""


@cache
def _commands() -> dict[str, Any]:
    return tomllib.loads(files("mikeytool.cli").joinpath("examples.toml").read_text("utf-8"))


def all_commands() -> list[str]:
    """Give the commands that have examples, in the order in which these can run."""
    return list(_commands())


def examples_of(command: str) -> list[str]:
    """Give the examples of a command, such as "kms init"; each is a line for a shell."""
    found: list[str] = _commands()[command]["examples"]
    return found


def exit_codes_of(command: str) -> list[tuple[int, str]]:
    """Give the exit codes of a command with what they mean."""
    about = _commands()[command]
    meanings = _MEANINGS | ({EXIT_REFUSED: about["refused"]} if "refused" in about else {})
    codes = {0, EXIT_USAGE, *about.get("codes", ()), *(meanings.keys() & {EXIT_REFUSED})}
    return [(code, meanings[code]) for code in sorted(codes)]


def folded(example: str, width: int) -> Iterator[str]:
    """Fold an example into lines that a shell joins again: before each pipe, then where full."""
    line = ""
    for part in _PART.findall(example):
        full = len(line) + len(part) + 3 > width
        if line and (full or (part[0] == "|" and len(example) > width)):
            yield f"{line} \\"
            line = f"    {part}"
        else:
            line = f"{line} {part}" if line else part
    yield line
