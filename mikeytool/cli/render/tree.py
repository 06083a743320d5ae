"""Prints a message as a tree."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mikeytool.cli.render.guarded_streams import is_plain
from mikeytool.wire.text_tree import Branch, message_tree

if TYPE_CHECKING:
    from rich.tree import Tree


def show_tree(described: dict[str, Any]) -> None:
    """Print the tree of one message."""
    tree = message_tree(described)
    if is_plain():
        sys.stdout.writelines(f"{line}\n" for line in tree.lines())
        return
    # Imported here: a pipe needs no rich.
    from rich.tree import Tree

    from mikeytool.cli.render.console import console, styled

    drawn = Tree(styled(tree.line), guide_style="dim")
    _add_all(drawn, tree)
    console().print(drawn)


def _add_all(drawn: Tree, tree: Branch) -> None:
    from mikeytool.cli.render.console import styled

    for branch in tree.below:
        _add_all(drawn.add(styled(branch.line)), branch)
