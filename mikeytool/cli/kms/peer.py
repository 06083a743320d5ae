"""`kms peer`: other KMSs, which are asked for their tickets."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.store import PATH, open_store, store_argument
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.kms.store.records import Peer
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def peer() -> None:
    """Other KMSs (RFC 6043 10): their tickets are resolved with their help.

    Both sides add each other, with the same key. Each answers for its own users alone.
    Over HTTPS, MIKEYTOOL_KMS_CA names the CA to trust in place of the system's, and
    MIKEYTOOL_KMS_CLIENT a certificate with its key, for `kms handle` and `kms serve`.
    """


@peer.command("add")
@store_argument
@click.argument("kms_id", type=IDENTITY)
@click.option("--url", metavar="URL", help="Its https:// URL.")
@click.option("--store", "place", type=PATH, metavar="PATH", help="Its store on this machine.")
@click.option(
    "--psk", type=KEY, required=True, metavar="KEY", help=f"The key of the two: {KEY_HELP}."
)
@quiet_option
def add_peer(
    store: Where, kms_id: Identity, url: str | None, place: Path | None, psk: bytes
) -> None:
    """Add another KMS and the key shared with it."""
    opened = open_store(store)
    if (url is None) == (place is None):
        raise UsageError("give --url URL or --store PATH: where the other KMS is")
    if kms_id == opened.identity:
        raise UsageError(f"{kms_id}: this is the KMS of {store} itself, not another one")
    opened.add_peer(Peer(kms_id, _checked(kms_id, url, place), psk))
    say(f"{store}: added the KMS {kms_id}")


def _checked(kms_id: Identity, url: str | None, place: Path | None) -> str:
    """Where a KMS is, as the store keeps it; raises UsageError for what is not it.

    A URL is looked at, not asked: the other KMS may not run yet.
    """
    if url is not None:
        from mikeytool.kms.remote.connection import Address

        return Address.of(url).url
    assert place is not None  # noqa: S101 - one of the two is given
    there = open_store(place).identity
    if there != kms_id:
        raise UsageError(f"--store {place}: this is the KMS {there}, not {kms_id}")
    return _text(place.resolve())


def _text(path: Path) -> str:
    """A path as text; raises UsageError for octets that are none."""
    text = str(path)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"--store: {text!a} is no UTF-8; give the store another name") from None
    return text


@peer.command("list")
@store_argument
@json_option
def list_peers(store: Where, as_json: bool) -> None:
    """List the other KMSs, without the keys."""
    peers = open_store(store).peers()
    if as_json:
        listed = [
            {"kms": str(one.identity), "url" if "://" in one.place else "store": one.place}
            for one in peers
        ]
        print(json.dumps({"peers": listed}))
        return
    print_table([("KMS", "place"), *((str(one.identity), one.place) for one in peers)])


@peer.command("remove")
@store_argument
@click.argument("kms_id", type=IDENTITY)
@quiet_option
def remove_peer(store: Where, kms_id: Identity) -> None:
    """Remove another KMS and the key."""
    open_store(store).remove_peer(kms_id)
    say(f"{store}: removed the KMS {kms_id}")
