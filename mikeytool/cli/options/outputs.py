"""Files that a command writes: never one that is there, without --force, nor one that it reads."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import click

from mikeytool.capture.other_kinds import HEAD, SQLITE
from mikeytool.wire.errors import StateError, UsageError

C = TypeVar("C", bound=Callable[..., Any])

ARGUMENTS = "mikeytool.arguments"
"""The key, in the context of a command, of all arguments that were given."""
_FORCE = "mikeytool.force"


class OutputType(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """The name of a file to write; raises UsageError for one that the command reads."""

    name = "FILE"

    def __init__(self, made: type[str] | type[Path] = str) -> None:
        self._made = made

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> str | Path:
        """Give the name, when it is none of a file that is read."""
        if isinstance(value, str) and ctx is not None and param is not None and value != "-":
            _check_not_read(value, param.opts, ctx.meta.get(ARGUMENTS, ()))
        return self._made(value)


OUTPUT = OutputType()
OUTPUT_PATH = OutputType(Path)


def _keep_force(context: click.Context, _param: click.Parameter, force: bool) -> bool:
    context.meta[_FORCE] = force
    return force


def _force(**how: Any) -> Callable[[C], C]:
    return click.option(
        "--force", is_flag=True, help="Overwrite files that exist.", callback=_keep_force, **how
    )


force_option = _force()
output_force_option = _force(expose_value=False)
"""--force of a command that writes nothing but its output."""


def is_forced() -> bool:
    """Tell whether --force is given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_FORCE))


def check_output(output: str | Path | None) -> None:
    """Raise StateError when the output cannot go there, before anything else is changed.

    State files are never overwritten with something else.
    """
    if output is None or output == "-":
        return
    from mikeytool.storage.private_files import check_folder, check_free

    path = Path(output)
    check_folder(path)
    if path.is_dir():
        raise StateError(f"{output}: this is a folder; choose another name")
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            begin = file.read(HEAD)
    except OSError as error:
        raise StateError(f"{output}: {error.strerror}") from None
    if begin.startswith(SQLITE) or b'"mikeytool"' in begin:
        raise StateError(f"{output}: a state file is in the way; choose another name")
    check_free(path, force=is_forced())


def _check_not_read(name: str, options: list[str], arguments: list[str]) -> None:
    try:
        target = Path(name).stat()
        if not stat.S_ISREG(target.st_mode):
            return
    except (OSError, ValueError):
        return
    for other in _read_by(name, options, arguments):
        if os.path.samestat(target, other):
            raise UsageError(
                f"{options[0]} {name}: the command reads this file, and does not overwrite it;"
                " choose another name"
            )


def _read_by(name: str, options: list[str], arguments: list[str]) -> Iterator[os.stat_result]:
    """Give the files that a command may read: all that arguments and variables name, and input."""
    named = [value for key, value in os.environ.items() if key.startswith("MIKEYTOOL_")]
    before = ""
    for argument in arguments:
        is_output = argument == name and before in options
        if not is_output and argument not in {f"{option}={name}" for option in options}:
            named.append(argument)
        before = argument
    for text in named:
        for part in (text, text.partition("=")[2]):
            path = part.removeprefix("file:")
            for each in (path, f"{path}.key") if path else ():
                with suppress(OSError, ValueError):
                    yield Path(each).stat()
    with suppress(OSError, ValueError, AttributeError):
        yield os.fstat(sys.stdin.fileno())
