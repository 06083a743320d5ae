"""Groups of commands."""

from __future__ import annotations

import importlib
from typing import Any

import click

from mikeytool.cli.exit_codes import EXIT_USAGE


class Command(click.Command):
    """A command whose help ends with examples and exit codes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples and the exit codes."""
        # Imported here: only help needs it.
        from mikeytool.cli.help import examples_of, exit_codes_of, folded

        name = ctx.command_path.partition(" ")[2]
        with formatter.section("Examples"):
            for example in examples_of(name):
                for line in folded(example, formatter.width - 2):
                    formatter.write(f"  {line}\n")
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in exit_codes_of(name)])


class Group(click.Group):
    """A group that shows its help and exits with code 2 when no command is given.

    Releases of click before 8.2 exit with code 0.
    """

    command_class = Command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Print the help on standard error and exit with code 2 when nothing is given."""
        if not args and not ctx.resilient_parsing:
            click.echo(ctx.get_help(), err=True)
            ctx.exit(EXIT_USAGE)
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is named; of one that there is not, say what may be meant."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from difflib import get_close_matches

            near = get_close_matches(args[0], self.list_commands(ctx), n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(error.format_message() + hint, ctx) from None


class LazyGroup(Group):
    """A group whose commands are imported when they are called.

    `lazy` maps the name of a command to its module and to its line in `--help`.
    """

    def __init__(self, *args: Any, lazy: dict[str, tuple[str, str]], **more: Any) -> None:
        super().__init__(*args, **more)
        self._lazy = lazy

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Give the names in the order in which `--help` lists them."""
        return list(self._lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a name."""
        if cmd_name not in self._lazy:
            return None
        module = importlib.import_module(self._lazy[cmd_name][0])
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command

    def shell_complete(
        self, ctx: click.Context, incomplete: str
    ) -> list[click.shell_completion.CompletionItem[str]]:
        """Give the commands that begin so, without importing anything."""
        from click.shell_completion import CompletionItem

        options = click.Command.shell_complete(self, ctx, incomplete)
        begun = (item for item in self._lazy.items() if item[0].startswith(incomplete))
        return [*(CompletionItem(name, help=line) for name, (_, line) in begun), *options]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list in `--help` without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self._lazy.items()])
