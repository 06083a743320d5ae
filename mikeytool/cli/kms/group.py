"""`kms group`: groups of users."""

from __future__ import annotations

import json
from typing import Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import say
from mikeytool.cli.options.store import store_command
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.kms.store.store import Store
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def group() -> None:
    """Groups of users: a ticket for a group admits its members."""


def _members(command: Any) -> Any:
    members = click.argument("members", type=IDENTITY, nargs=-1, required=True, metavar="MEMBER...")
    return click.argument("name", type=IDENTITY, metavar="GROUP")(members(command))


@store_command(group, "add")
@_members
def add_members(store: Store, name: Identity, members: tuple[Identity, ...]) -> None:
    """Add members to a group, whose name is that of no user and no KMS."""
    new = set(members) - set(store.groups().get(name, ()))
    store.add_members(name, members)
    say(f"{store.where}: {len(new)} more in {name}")


@store_command(group, "remove")
@_members
def remove_members(store: Store, name: Identity, members: tuple[Identity, ...]) -> None:
    """Remove members from a group."""
    store.remove_members(name, members)
    say(f"{store.where}: {len(set(members))} fewer in {name}")


@store_command(group, "list")
def list_groups(store: Store, as_json: bool) -> None:
    """List the groups and their members."""
    groups = store.groups()
    if as_json:
        print(json.dumps({"groups": {str(g): list(map(str, m)) for g, m in groups.items()}}))
        return
    print_table(
        [("group", "members"), *((str(g), ", ".join(map(str, m))) for g, m in groups.items())]
    )
