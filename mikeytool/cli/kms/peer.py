"""`kms peer`: other KMSs, which are asked for their tickets."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mikeytool.cli.keys import KEY, KEY_HELP
from mikeytool.cli.kms.common import PATH, store_argument
from mikeytool.cli.table import print_table
from mikeytool.cli.values import IDENTITY
from mikeytool.cli.words import json_option, quiet_option, say
from mikeytool.kms.model import Peer
from mikeytool.kms.sql import Where
from mikeytool.kms.store import Store
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity


@click.group()
def peer() -> None:
    """Other KMSs (RFC 6043 10): their tickets are resolved with their help.

    Both sides add each other, with the same key. Each answers for its own users alone.
    """


@peer.command("add")
@store_argument
@click.argument("kms_id", type=IDENTITY)
@click.option("--url", metavar="URL", help="Where it is reached (not yet: KMSs have no URL).")
@click.option("--store", "place", type=PATH, metavar="PATH", help="Its store on this machine.")
@click.option(
    "--psk", type=KEY, required=True, metavar="KEY", help=f"The key of the two: {KEY_HELP}."
)
@quiet_option
def add_peer(
    store: Where, kms_id: Identity, url: str | None, place: Path | None, psk: bytes
) -> None:
    """Add another KMS and the key shared with it."""
    if url is not None:
        raise UsageError(f"--url {url}: a KMS cannot be asked over HTTP yet; give its --store")
    if place is None:
        raise UsageError("--store PATH is needed: where the other KMS is")
    opened = Store(store)
    there = Store(place).identity
    if there != kms_id or there == opened.identity:
        raise UsageError(f"--store {place}: this is the KMS {there}, not another one, {kms_id}")
    opened.add_peer(Peer(kms_id, str(place.resolve()), psk))
    say(f"{store}: added the KMS {kms_id}")


@peer.command("list")
@store_argument
@json_option
def list_peers(store: Where, as_json: bool) -> None:
    """List the other KMSs, without the keys."""
    peers = Store(store).peers()
    if as_json:
        listed = [{"kms": str(one.identity), "store": one.place} for one in peers]
        print(json.dumps({"peers": listed}))
        return
    print_table([("KMS", "store"), *((str(one.identity), one.place) for one in peers)])


@peer.command("remove")
@store_argument
@click.argument("kms_id", type=IDENTITY)
@quiet_option
def remove_peer(store: Where, kms_id: Identity) -> None:
    """Remove another KMS and the key."""
    Store(store).remove_peer(kms_id)
    say(f"{store}: removed the KMS {kms_id}")
