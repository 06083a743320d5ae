"""Arguments and options that several `kms` commands share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.clock import clock
from mikeytool.cli.options.common import PATH, json_option, quiet_option
from mikeytool.cli.options.keys import format_key
from mikeytool.cli.options.outputs import OUTPUT_PATH
from mikeytool.kms.store.store import Store
from mikeytool.storage.private_files import write_private
from mikeytool.storage.sql import Where, is_url


class StoreType(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """A store: the path of its file, or the URL of its PostgreSQL database."""

    name = "STORE"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Where:
        """The path or the URL; raises UsageError for a URL with a password."""
        if not is_url(value):
            path: Path = PATH.convert(value, param, ctx)
            return path
        from mikeytool.storage.postgres import check_url

        check_url(value)
        return str(value)


STORE = StoreType()
store_argument = click.argument("store", type=STORE)
key_file_option = click.option(
    "-o", "--output", type=OUTPUT_PATH, metavar="FILE", help="Write the key to FILE, mode 0600."
)


class Pattern(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """A pattern of identities."""

    name = "PATTERN"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The pattern, as the store keeps it."""
        if not value or not str(value).isprintable() or " " in value:
            self.fail("a pattern is printable text, with * for any characters", param, ctx)
        return str(value)


PATTERN = Pattern()


def store_command(group: click.Group, name: str, **how: Any) -> Callable[[Any], click.Command]:
    """Make a command of a function that takes an open store, which the argument STORE names.

    The command has --json if the function has a parameter `as_json`, else -q.
    """

    def decorate(function: Any) -> click.Command:
        @wraps(function)
        def run(store: Where, **given: Any) -> Any:
            with Store(store, clock(), operated=True) as opened:
                return function(opened, **given)

        option = json_option if "as_json" in function.__annotations__ else quiet_option
        return group.command(name, **how)(store_argument(option(run)))

    return decorate


def deliver(key: bytes, output: Path | None, *, made: bool, force: bool) -> None:
    """Hand out a key: write it to a file, or print it in hex if it was made here."""
    if output is not None:
        write_private(output, format_key(key, "hex"), force=force)
    elif made:
        write_output(format_key(key, "hex"), None)
