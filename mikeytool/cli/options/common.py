"""Lines for people on standard error, and options that many commands have."""

from __future__ import annotations

import click

from mikeytool.wire.printable import printable

DEBUG = "mikeytool.debug"
"""The key, in the context of a command, of whether to print tracebacks."""

_QUIET = "mikeytool.quiet"


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
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
show_keys_option = click.option(
    "--show-keys", is_flag=True, help="Print whole keys, not the beginning of their SHA-256."
)
