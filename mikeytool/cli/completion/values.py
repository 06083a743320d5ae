"""The values of options and arguments that a shell can complete; `values.toml` lists most."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib.resources import files

import click
from click.shell_completion import CompletionItem


class Values(click.ParamType):  # type: ignore[type-arg] # generic only in newer click
    """The type of a parameter while a line is completed: it takes any value, and offers some."""

    name = "value"

    def __init__(self, param: click.Parameter) -> None:
        metavar = param.metavar or (param.name or "").upper()
        self._names = {param.opts[0], metavar.strip("[].")}

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem[str]]:
        """Give the values that begin so."""
        table = tomllib.loads(files(__package__).joinpath("values.toml").read_text("utf-8"))
        for kind in ("file", "dir"):
            if self._names & set(table[kind]):
                return [CompletionItem(incomplete, kind)]
        if "KEY" in self._names and incomplete.startswith("file:"):
            return paths("file:", incomplete)
        if "KEY" in self._names and incomplete.startswith("env:"):
            return _items("env:", incomplete, dict.fromkeys(os.environ, ""))
        at = incomplete.rfind(",") + 1 if self._names & set(table["lists"]) else 0
        return _items(incomplete[:at], incomplete, self._words(table["values"], incomplete))

    def _words(self, values: list[dict[str, dict[str, str]]], begun: str) -> Mapping[str, str]:
        """Give the words of the table, or those that a room knows."""
        if "--suite" in self._names:
            from mikeytool.srtp.suites import SUITES

            return dict.fromkeys(SUITES, "")
        if "--ignore" in self._names:
            from mikeytool.lint.check import RULES

            return {code: rule.about for code, rule in sorted(RULES.items())}
        if "TOPIC" in self._names:
            from mikeytool.cli.manual import titles

            return titles()
        if "--flags" in self._names:
            from mikeytool.wire.registry import TicketFlag

            rest = (flag for flag in TicketFlag if flag.letters not in begun)
            return {f"{begun}{flag.letters}": flag.meaning for flag in rest}
        return {
            word: about
            for each in values
            if self._names & set(each["of"])
            for word, about in each["words"].items()
        }


def paths(before: str, begun: str, *, only_folders: bool = False) -> list[CompletionItem[str]]:
    """Give the files whose names begin so behind what is not of the name, such as `file:`.

    Shells complete such words badly.
    """
    folder = "".join(begun.removeprefix(before).rpartition("/")[:2])
    try:
        with os.scandir(folder or ".") as entries:
            found = {
                f"{folder}{entry.name}{'/' if entry.is_dir() else ''}": ""
                for entry in entries
                if entry.is_dir() or not only_folders
            }
    except OSError:
        return []
    return _items(before, begun, dict(sorted(found.items())))


def _items(before: str, begun: str, words: Mapping[str, str]) -> list[CompletionItem[str]]:
    return [
        CompletionItem(before + word, help=about)
        for word, about in words.items()
        if (before + word).startswith(begun) and word.isprintable()
    ]
