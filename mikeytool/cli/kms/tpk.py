"""`kms tpk`: ticket protection keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.clock import now_ns
from mikeytool.cli.options.common import say
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.outputs import force_option
from mikeytool.cli.options.store import deliver, key_file_option, store_command
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.kms.store.records import Tpk
from mikeytool.kms.store.store import Store
from mikeytool.kms.store.store_description import describe_tpk
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def tpk() -> None:
    """Ticket protection keys: the KMS's own, and those shared with one user each."""


@store_command(tpk, "add")
@click.option(
    "--shared-with", type=IDENTITY, required=True, metavar="URI",
    help="The user that makes tickets (D is 0) or resolves them (E is 0) with this key.",
)  # fmt: skip
@click.option("--name", metavar="TEXT", help="The name of the key in tickets; default: a new name.")
@click.option("--tpk", "key", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@key_file_option
@force_option
def add_tpk(
    store: Store,
    shared_with: Identity,
    name: str | None,
    key: bytes | None,
    output: Path | None,
    force: bool,
) -> None:
    """Add a key shared with one user. Without --tpk, a new key is made and printed in hex."""
    _new_tpk(store, shared_with, name, key, output, force=force)


@store_command(tpk, "rotate")
@click.option(
    "--shared-with", type=IDENTITY, metavar="URI",
    help="Rotate the key shared with this user, not the KMS's own.",
)  # fmt: skip
@key_file_option
@force_option
def rotate_tpk(
    store: Store, shared_with: Identity | None, output: Path | None, force: bool
) -> None:
    """Use a new key for new tickets. The old one retires with the last of its tickets."""
    _new_tpk(store, shared_with, None, None, output, force=force)


def _new_tpk(
    store: Store,
    party: Identity | None,
    name: str | None,
    key: bytes | None,
    output: Path | None,
    *,
    force: bool,
) -> None:
    """Add a key. A shared key that is made here is handed out, the KMS's own never is."""
    octets = key or os.urandom(store.profile.key_length)
    made = Tpk(Identity.key_name(name) if name else store.fresh_tpk_name(), octets, party)

    def hand_out() -> None:
        if party is not None:
            deliver(octets, output, made=key is None, force=force)

    store.add_tpk(made, before_commit=hand_out)
    say(
        f"{store.where}: {made.name} is the key for new tickets"
        + (f" of {party}" if party is not None else "")
    )


@store_command(tpk, "remove")
@click.argument("name")
def remove_tpk(store: Store, name: str) -> None:
    """Remove a key at once, as one that leaked. Its tickets are no longer resolved."""
    store.remove_tpk(Identity.key_name(name))
    say(f"{store.where}: removed the key {name}")


@store_command(tpk, "list")
def list_tpks(store: Store, as_json: bool) -> None:
    """List the keys, without their octets. Those that were rotated out have an end."""
    now = now_ns()
    listed = [describe_tpk(one) for one in store.tpks() if not one.is_retired(now)]
    if as_json:
        print(json.dumps({"tpks": listed}))
        return
    rows = [
        (
            str(one["name"]),
            str(one["shared_with"] or ""),
            str(one["octets"]),
            "current" if one["current"] else f"until {one['until'] or 'its tickets have ended'}",
        )
        for one in listed
    ]
    print_table([("name", "shared with", "octets", "state"), *rows])
