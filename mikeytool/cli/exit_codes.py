"""Exit codes, and errors on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable

import click

from mikeytool.wire.errors import (
    MikeyError,
    Refused,
    StateError,
    Unreachable,
    UsageError,
    WireError,
)
from mikeytool.wire.printable import printable, without_keys

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
    if isinstance(error, Refused):
        from mikeytool.wire.registry import ErrorNo  # most commands end well

        if error.error_no == ErrorNo.INVALID_DT:
            return EXIT_UNREADABLE
    return next(code for kind, code in _CODES.items() if isinstance(error, kind))


def worst(codes: set[int]) -> int:
    """Give the exit code of a batch: 2 goes before 3, 4, 5 and 1; 0 without any."""
    return next((code for code in _CODES.values() if code in codes), 0)


# --- Errors -------------------------------------------------------------------------------

_ERRORS = "mikeytool.errors"
_WAITING = "mikeytool.waiting"
_MOST = 10
"""Different errors that are printed; of more there is a count."""


class _Errors:
    """The errors of a run: each once, with the place of the first."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, int]] = {}
        self._printed: dict[str, int] = {}
        self._more = 0

    def add(self, text: str, where: str) -> None:
        first, count = self._found.get(text, (where, 0))
        if count or len(self._found) < _MOST:
            self._found[text] = first, count + 1
        else:
            self._more += 1

    def print_new(self) -> None:
        """Print those that were not printed, after all output so far."""
        try:
            sys.stdout.flush()
        finally:
            for text, (where, count) in self._found.items():
                if text not in self._printed:
                    times = f" ({count} times{', first here' * bool(where)})" if count > 1 else ""
                    _print(f"{where}: {text}{times}" if where else f"{text}{times}")
                    self._printed[text] = count

    def print(self) -> None:
        """Print the rest of them, and how often those came again that were printed before."""
        self.print_new()
        for text, (_, count) in self._found.items():
            if count > (before := self._printed[text]):
                _print(f"{text} ({count - before} more times)")
        if self._more:
            _print(f"{self._more} more error{'s are' if self._more > 1 else ' is'} not shown")


def complain(text: str, where: str = "") -> None:
    """Print an error as one line on standard error, at the end of a command that goes on.

    The same error at several places is one line with a count.
    """
    context = click.get_current_context(silent=True)
    if context is None:
        _print(text if not where else f"{where}: {text}")
        return
    errors = context.meta.get(_ERRORS)
    if errors is None:
        errors = context.meta[_ERRORS] = _Errors()
        context.find_root().call_on_close(errors.print)
    errors.add(text, where)


def while_waiting(action: Callable[[], None]) -> None:
    """Have something done whenever the command waits for input: what is held back is printed."""
    if (context := click.get_current_context(silent=True)) is not None:
        context.meta.setdefault(_WAITING, []).append(action)


def give_out() -> None:
    """Give out what a command has printed, and its errors so far: it waits for input."""
    context = click.get_current_context(silent=True)
    meta = {} if context is None else context.meta
    for action in meta.get(_WAITING, ()):
        action()
    if _ERRORS in meta:
        meta[_ERRORS].print_new()
    else:
        sys.stdout.flush()


def _print(text: str) -> None:
    click.echo(f"mikeytool: {without_keys(printable(text))}", err=True)
