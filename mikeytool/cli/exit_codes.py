"""Exit codes, and errors on standard error."""

from __future__ import annotations

import click

from mikeytool.wire.errors import (
    MikeyError,
    Refused,
    StateError,
    Unreachable,
    UsageError,
    WireError,
)
from mikeytool.wire.printable import printable
from mikeytool.wire.registry import ErrorNo

EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNREADABLE = 3
EXIT_STATE = 4
EXIT_UNREACHABLE = 5
EXIT_INTERRUPT = 130
EXIT_PIPE = 141

_CODES: dict[type[MikeyError], int] = {
    UsageError: EXIT_USAGE, WireError: EXIT_UNREADABLE, StateError: EXIT_STATE,
    Unreachable: EXIT_UNREACHABLE, Refused: EXIT_REFUSED,
}  # fmt: skip
"""The worst is first."""


def exit_code(error: MikeyError) -> int:
    """Give the exit code of an error.

    A message of another type than the command takes counts as input that cannot be read.
    """
    if isinstance(error, Refused) and error.error_no == ErrorNo.INVALID_DT:
        return EXIT_UNREADABLE
    return next(code for kind, code in _CODES.items() if isinstance(error, kind))


def worst(codes: set[int]) -> int:
    """Give the exit code of a batch: 2 goes before 3, 4, 5 and 1; 0 without any."""
    return next((code for code in _CODES.values() if code in codes), 0)


def complain(text: str) -> None:
    """Print an error as one line on standard error."""
    click.echo(f"mikeytool: {printable(text)}", err=True)
