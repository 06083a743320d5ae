"""`completion`: what a shell offers after Tab. A file for each shell asks `answer`.

For an answer no file is read, and no value that was typed before is looked at: keys, stores and
messages stay closed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files

import click
from click.shell_completion import CompletionItem, ShellComplete

from mikeytool.cli.command_groups import Command
from mikeytool.cli.completion.values import Values, paths


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what teaches SHELL to complete commands, options and their values.

    The package has the same as files, which bash-completion, zsh and fish find by themselves if
    it is installed below /usr or /usr/local.
    """
    print(files(__package__).joinpath(f"mikeytool.{shell}").read_text("utf-8"), end="")


def answer(cli: click.Group, shell: str, given: list[str]) -> str:
    """Give what may come next: a line for each word, with its meaning, or that it is a file.

    `given` are the words after `mikeytool`, of which the last is to be completed. bash gives the
    line instead, and the marks that begin a new word for it.
    """
    cut = 0
    if shell == "bash":
        marks = given[1]
        given, in_quote = _split(given[0])
        cut = 0 if in_quote else max((given[-1].rfind(mark) for mark in marks), default=-1) + 1
    *before, typed = [word for word in given if word != "--debug"] or [""]
    lines = []
    for item in _Completion(cli, {}, "mikeytool", "").get_completions(before, typed):
        about = " ".join((item.help or "").split())
        lines.append(f"word\t{item.value[cut:]}\t{about}" if item.type == "plain" else item.type)
    return "".join(f"{line}\n" for line in lines)


def _split(line: str) -> tuple[list[str], bool]:
    """Give the words of a line after `mikeytool`, and whether the last is in an open quote."""
    lexer = shlex.shlex(line, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    words: list[str] = []
    in_quote = False
    try:
        words.extend(lexer)
        words += [""] if line[-1:].isspace() else []
    except ValueError:
        in_quote = True
        words.append(lexer.token)
    while words and re.match(r"\w+=", words[0]):
        del words[0]
    return words[1:] or [""], in_quote


class _Completion(ShellComplete):
    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """Give what may come after `args` in the place of `incomplete`."""
        command: click.Command | None = self.cli
        for word in args:
            if isinstance(command, click.Group):
                command = command.get_command(click.Context(command), word)
        with _values_of(command):
            return self._completions(args, incomplete)

    def _completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        option, equals, value = incomplete.partition("=")
        if not (option.startswith("--") and equals):
            return super().get_completions(args, incomplete)
        before = f"{option}="
        found = []
        for item in super().get_completions([*args, option], value):
            if item.type == "plain":
                found.append(CompletionItem(before + item.value, help=item.help))
            else:
                found += paths(before, incomplete, only_folders=item.type == "dir")
        return found


@contextmanager
def _values_of(command: click.Command | None) -> Iterator[None]:
    """Let the parameters of a command offer values, and take any, for a while."""
    params = command.params if command is not None else []
    kept = [(param, param.type) for param in params if not isinstance(param.type, click.Choice)]
    try:
        for param, _ in kept:
            param.type = Values(param)
        yield
    finally:
        for param, usual in kept:
            param.type = usual
