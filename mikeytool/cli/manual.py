"""`manual`: the pages of the manual, which are Markdown files in the package."""

from __future__ import annotations

import sys
from importlib.resources import files

import click

from mikeytool.cli.command_groups import Command
from mikeytool.wire.errors import UsageError


def _pages() -> dict[str, str]:
    return {
        entry.name.removesuffix(".md"): entry.read_text("utf-8")
        for entry in sorted(files("mikeytool").joinpath("manual").iterdir(), key=str)
        if entry.name.endswith(".md")
    }


def titles() -> dict[str, str]:
    """Give the title of each page."""
    return {name: page.splitlines()[0].lstrip("# ") for name, page in _pages().items()}


@click.command(cls=Command)
@click.argument("topic", required=False)
def manual(topic: str | None) -> None:
    """Show the page TOPIC of the manual; without TOPIC, list the pages.

    On a terminal the page is formatted. Into a pipe or a file it is printed as Markdown.
    """
    pages = _pages()
    if topic is None:
        for name, title in titles().items():
            print(f"{name:{max(map(len, pages))}}  {title}")
    elif topic not in pages:
        raise UsageError(f"the manual has no page {topic}; its pages are {', '.join(pages)}")
    elif sys.stdout.isatty():
        # Imported here: a pipe needs no rich.
        from rich.markdown import Markdown

        from mikeytool.cli.render.console import console

        console().print(Markdown(pages[topic]))
    else:
        print(pages[topic], end="")
