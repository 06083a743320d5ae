"""`kms group`: groups of users."""

from __future__ import annotations

import json

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.store import store_argument
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Where
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def group() -> None:
    """Groups of users: a ticket for a group admits its members."""


@group.command("add")
@store_argument
@click.argument("name", type=IDENTITY, metavar="GROUP")
@click.argument("members", type=IDENTITY, nargs=-1, required=True, metavar="MEMBER...")
@quiet_option
def add_members(store: Where, name: Identity, members: tuple[Identity, ...]) -> None:
    """Add members to a group."""
    with Store(store) as opened:
        opened.add_members(name, members)
    say(f"{store}: {len(members)} more in {name}")


@group.command("remove")
@store_argument
@click.argument("name", type=IDENTITY, metavar="GROUP")
@click.argument("members", type=IDENTITY, nargs=-1, required=True, metavar="MEMBER...")
@quiet_option
def remove_members(store: Where, name: Identity, members: tuple[Identity, ...]) -> None:
    """Remove members from a group."""
    with Store(store) as opened:
        opened.remove_members(name, members)
    say(f"{store}: {len(members)} fewer in {name}")


@group.command("list")
@store_argument
@json_option
def list_groups(store: Where, as_json: bool) -> None:
    """List the groups and their members."""
    with Store(store) as opened:
        groups = opened.groups()
    if as_json:
        print(json.dumps({"groups": {str(g): list(map(str, m)) for g, m in groups.items()}}))
        return
    print_table(
        [("group", "members"), *((str(g), ", ".join(map(str, m))) for g, m in groups.items())]
    )
