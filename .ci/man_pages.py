"""Man pages of all commands, written from their help when the wheel is built.

The build backend runs this file. `pages` needs what the commands import, which is why the build
requires the dependencies of the package.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).parents[1]
_WIDE: dict[str, Any] = {"terminal_width": 1000}
_NAMES = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
_ORDINARY = str.maketrans(_NAMES)


class ManPages(BuildHookInterface):  # type: ignore[type-arg]
    """Puts the man pages into a wheel; an editable installation has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the pages, and name them to the backend."""
        if version == "editable":
            return
        sys.path.insert(0, str(ROOT))
        self._folder = tempfile.TemporaryDirectory()
        for name, page in pages():
            path = Path(self._folder.name, name)
            path.write_text(page, "utf-8")
            build_data["shared_data"][str(path)] = f"share/man/man1/{name}"

    def finalize(self, version: str, _build_data: dict[str, Any], _artifact: str) -> None:
        """Remove what was written."""
        if version != "editable":
            self._folder.cleanup()


def pages() -> Iterator[tuple[str, str]]:
    """The name and the text of each page."""
    from mikeytool.cli.main import cli

    context = click.Context(cli, info_name="mikeytool", **_WIDE, **cli.context_settings)
    for each in _all(context):
        yield f"{_page(each)}.1", "".join(f"{line}\n" for line in _lines(each))


def _all(context: click.Context) -> Iterator[click.Context]:
    """The command of a context and all below it."""
    yield context
    for name, command in _below(context):
        inner = click.Context(command, parent=context, info_name=name, **_WIDE)
        yield from _all(inner)


def _below(context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            if command is not None:
                yield name, command


def _page(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _lines(context: click.Context) -> Iterator[str]:
    """The lines of a page, in the macros of man(7)."""
    from mikeytool import __version__

    command, name = context.command, _page(context)
    help_text = inspect.cleandoc(command.help or "")
    first, _, _ = help_text.partition("\n\n")
    today = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH") or _now()), UTC)
    yield f'.TH {_plain(name.upper())} 1 {today:%Y-%m-%d} "mikeytool {__version__}"'
    yield ".SH NAME"
    yield f"{_plain(name)} \\- {_plain(' '.join(first.split()).partition('. ')[0].rstrip('.'))}"
    yield ".SH SYNOPSIS"
    pieces = command.collect_usage_pieces(context)
    yield f"\\fB{_plain(context.command_path)}\\fR {_plain(' '.join(pieces))}"
    yield ".SH DESCRIPTION"
    for at, paragraph in enumerate(help_text.split("\n\n")):
        yield from [".PP"] if at else []
        if paragraph.startswith("\b"):  # click's mark of lines that stay as they are
            yield from (".nf", *map(_plain, paragraph.splitlines()[1:]), ".fi")
        else:
            yield _text(paragraph)
    yield ".SH OPTIONS"
    for param in command.get_params(context):
        named, about = param.get_help_record(context) or ("", "")
        if about:
            yield from (".TP", _option(named), _text(about))
    if isinstance(command, click.Group):
        yield from _commands(context)
    else:
        yield from _ending(context)


def _commands(context: click.Context) -> Iterator[str]:
    """The list of a group's commands, and where to read on."""
    yield ".SH COMMANDS"
    for name, command in _below(context):
        yield from (".TP", f"\\fB{_plain(name)}\\fR", _text(command.get_short_help_str(200)))
    if context.parent is None:
        page = (ROOT / "mikeytool/manual/commands.md").read_text("utf-8")
        yield ".SH KEYS, FILES, VARIABLES AND EXIT CODES"
        for bullet in page.split("\n- ")[1:]:
            yield from (".IP \\(bu 2", _text(bullet.replace("`", "")))
    yield from _see_also(f"{_page(context)}-{name}" for name, _ in _below(context))


def _ending(context: click.Context) -> Iterator[str]:
    """The examples and exit codes of a command."""
    from mikeytool.cli.help import examples_of, exit_codes_of, folded

    command = context.command_path.partition(" ")[2]
    yield ".SH EXAMPLES"
    yield ".EX"
    for example in examples_of(command):
        yield from map(_plain, folded(example, 70))
    yield ".EE"
    yield ".SH EXIT STATUS"
    for code, meaning in exit_codes_of(command):
        yield from (".TP", f"\\fB{code}\\fR", _text(meaning))
    yield from _see_also([_page(context.parent)] if context.parent else [])


def _see_also(names: Iterable[str]) -> Iterator[str]:
    yield ".SH SEE ALSO"
    yield ",\n".join(f".BR {_plain(name)} (1)" for name in names).replace("(1),", "(1) ,")


def _option(record: str) -> str:
    """An option with its value: letters are typed as they are, values in their place."""
    return re.sub(
        r"(?<![\w-])(--?[\w][\w-]*)|([^\s,/\\-][^\s,]*)",
        lambda found: f"\\fB{_plain(found[1])}\\fR" if found[1] else f"\\fI{_plain(found[2])}\\fR",
        record,
    )


def _text(text: str) -> str:
    return _plain(" ".join(text.split()))


def _plain(text: str) -> str:
    """Text as it is to be read, for man(7)."""
    escaped = text.translate(_ORDINARY)
    escaped = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "\\(aq")) else escaped


def _now() -> float:
    return datetime.now(UTC).timestamp()
