"""`kms group`: groups of users."""

from __future__ import annotations

import json

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.store import open_store, store_argument
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.storage.sql import Where
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def group() -> None:
    """Groups: a group among a ticket's responders admits its members."""


@group.command("add")
@store_argument
@click.argument("name", type=IDENTITY, metavar="GROUP")
@click.argument("members", type=IDENTITY, nargs=-1, required=True, metavar="MEMBER...")
@quiet_option
def add_members(store: Where, name: Identity, members: tuple[Identity, ...]) -> None:
    """Put members into a group."""
    open_store(store).add_members(name, members)
    say(f"{store}: {len(members)} more in {name}")


@group.command("remove")
@store_argument
@click.argument("name", type=IDENTITY, metavar="GROUP")
@click.argument("members", type=IDENTITY, nargs=-1, required=True, metavar="MEMBER...")
@quiet_option
def remove_members(store: Where, name: Identity, members: tuple[Identity, ...]) -> None:
    """Take members out of a group."""
    open_store(store).remove_members(name, members)
    say(f"{store}: {len(members)} fewer in {name}")


@group.command("list")
@store_argument
@json_option
def list_groups(store: Where, as_json: bool) -> None:
    """List the groups and their members."""
    groups = open_store(store).groups()
    if as_json:
        print(json.dumps({"groups": {str(g): list(map(str, m)) for g, m in groups.items()}}))
        return
    print_table(
        [("group", "members"), *((str(g), ", ".join(map(str, m))) for g, m in groups.items())]
    )
