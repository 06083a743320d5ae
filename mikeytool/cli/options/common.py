"""Lines for people on standard error, and options that many commands have."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import Any, TypeVar

import click

from mikeytool.wire.printable import printable

C = TypeVar("C", bound=Callable[..., Any])


class _FilePath(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; what can be no name, such as the content of a file of keys, is not repeated."""
        is_name = "\n" not in value and max(map(len, os.fsencode(value).split(b"/"))) <= _LONGEST
        if not is_name and not os.path.lexists(value):
            self.fail("this is what may be in a file; give the name of the file", param, ctx)
        return super().convert(value, param, ctx)


_LONGEST = 255
"""Octets of the name of a file, whatever its folders are."""
PATH = _FilePath(path_type=Path)
"""The type of a file, whether it is there or not."""
NAME = _FilePath()
"""The same, as text."""

DEBUG = "mikeytool.debug"
"""The key, in the context of a command, of whether to print tracebacks."""

ARGUMENTS = "mikeytool.arguments"
"""The key, in the context of a command, of all arguments that were given."""
_QUIET = "mikeytool.quiet"


def options(*given: Callable[[Any], Any]) -> Callable[[C], C]:
    """Make one decorator of several, in the order in which `--help` lists the options."""
    return lambda command: reduce(lambda made, option: option(made), reversed(given), command)


def say(text: str) -> None:
    """Print a line for people on standard error, unless -q is given."""
    if not is_quiet():
        click.echo(printable(text), err=True)


def is_quiet() -> bool:
    """Tell whether -q is given."""
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.meta.get(_QUIET))


def _set_quiet(context: click.Context, _param: click.Parameter, value: bool) -> None:
    context.meta[_QUIET] = value


quiet_option = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, callback=_set_quiet,
    help="Print nothing but errors on standard error.",
)  # fmt: skip


_SAME_SCHEMA = {
    "srtp-decrypt": "srtp-report", "srtp-encrypt": "srtp-report",
    "transfer-finish": "transfer-show", "transfer-recover": "transfer-show",
    "transfer-respond": "transfer-show",
}  # fmt: skip
"""The schemas of commands that have none of their own name."""


def _print_schema(context: click.Context, _param: click.Parameter, asked: bool) -> None:
    if asked and not context.resilient_parsing:
        from importlib.resources import files  # takes as long as the rest of a short command

        name = context.command_path.partition(" ")[2].replace(" ", "-")
        path = files("mikeytool").joinpath("schemas", f"{_SAME_SCHEMA.get(name, name)}.json")
        click.echo(path.read_text("utf-8"), nl=False)
        context.exit()


def schema_option(of: str) -> Callable[[C], C]:
    """Make --schema, which needs no arguments beside it."""
    return click.option(
        "--schema", is_flag=True, is_eager=True, expose_value=False, callback=_print_schema,
        help=f"Print the JSON Schema of {of}.",
    )  # fmt: skip


def json_option(command: C) -> C:
    """Add --json, and --schema for what it prints."""
    command = schema_option("--json")(command)
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


show_keys_option = click.option(
    "--show-keys", is_flag=True, help="Print whole keys, not the beginning of their SHA-256."
)
