"""Files that a command writes: never one that is there, without --force, nor one that it reads."""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.options.common import ARGUMENTS, PATH
from mikeytool.wire.errors import UsageError

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
            words = ctx.command_path.split()[1:]  # a file may have the name of a command
            given = ctx.meta.get(ARGUMENTS, ())
            given = given[len(words) :] if list(given[: len(words)]) == words else given
            PATH.convert(value, param, ctx)
            _check_alone(value, param, ctx, given)
            _check_not_read(value, param.opts, given)
        return self._made(value)


OUTPUT = OutputType()
OUTPUT_PATH = OutputType(Path)


def _keep_force(context: click.Context, _param: click.Parameter, force: bool) -> bool:
    context.meta[_FORCE] = force
    return force


def _force(**how: Any) -> Callable[[Any], Any]:
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
    from mikeytool.storage.output_files import check_replaceable

    check_replaceable(Path(output), force=is_forced())


def _check_alone(
    name: str, param: click.Parameter, ctx: click.Context, arguments: list[str]
) -> None:
    """Raise UsageError when another option of the command names the same file."""
    others = (each for each in ctx.command.params if each is not param)
    files = (each for each in others if isinstance(each.type, click.Path | OutputType))
    options = {option for each in files for option in each.opts}
    for before, argument in pairwise(["", *arguments]):
        option, equals, value = argument.partition("=")
        option, value = (option, value) if equals else (before, argument)
        if option in options and Path(value).resolve() == Path(name).resolve():
            raise UsageError(f"{param.opts[0]} and {option} name one file; choose another name")


def _check_not_read(name: str, options: list[str], arguments: list[str]) -> None:
    from mikeytool.storage.output_files import is_among

    named = [value for key, value in os.environ.items() if key.startswith("MIKEYTOOL_")]
    before = ""
    for argument in arguments:
        is_output = argument == name and before in options
        if not is_output and argument not in {f"{option}={name}" for option in options}:
            named.append(argument)
        before = argument
    if is_among(name, named):
        raise UsageError(
            f"{options[0]} {name}: the command reads this file, and does not overwrite it; choose"
            " another name"
        )
