"""`kms peer`: other KMSs, which help to resolve their tickets."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.store import PATH, store_argument
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.kms.store.records import Peer
from mikeytool.kms.store.store import Store
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def peer() -> None:
    """Other KMSs (RFC 6043 10): their tickets are resolved with their help.

    Both sides add each other, with the same key. Each answers only for its own users. Over
    HTTPS, for `kms handle` and `kms serve`, MIKEYTOOL_KMS_CA names the CA to trust in place of
    the system's, and MIKEYTOOL_KMS_CLIENT a certificate with its private key.
    """


@peer.command("add")
@store_argument
@click.argument("kms_id", type=IDENTITY)
@click.option("--url", metavar="URL", help="Its https:// URL.")
@click.option("--store", "path", type=PATH, metavar="PATH", help="Its store on this machine.")
@click.option(
    "--psk",
    type=KEY,
    required=True,
    metavar="KEY",
    help=f"The key shared by the two KMSs: {KEY_HELP}.",
)
@quiet_option
def add_peer(
    store: Where, kms_id: Identity, url: str | None, path: Path | None, psk: bytes
) -> None:
    """Add another KMS and the key shared with it."""
    with Store(store) as opened:
        if (url is None) == (path is None):
            raise UsageError("give either --url URL or --store PATH of the other KMS")
        if kms_id == opened.identity:
            raise UsageError(f"{kms_id}: this is the KMS of {store} itself, not another one")
        opened.add_peer(Peer(kms_id, _location(kms_id, url, path), psk))
    say(f"{store}: added the KMS {kms_id}")


def _location(kms_id: Identity, url: str | None, path: Path | None) -> str:
    """The location of another KMS, as the store keeps it; raises UsageError if it is wrong.

    A URL is only checked, not used: the other KMS may not run yet.
    """
    if url is not None:
        from mikeytool.kms.remote.connection import Address

        return Address.of(url).url
    assert path is not None  # noqa: S101 - one of the two is given
    with Store(path) as other:
        found = other.identity
    if found != kms_id:
        raise UsageError(f"--store {path}: this is the KMS {found}, not {kms_id}")
    return _text(path.resolve())


def _text(path: Path) -> str:
    """A path as text; raises UsageError if it is no UTF-8."""
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
    """List the other KMSs, without their keys."""
    with Store(store) as opened:
        peers = opened.peers()
    if as_json:
        listed = [
            {"kms": str(one.identity), "url" if "://" in one.location else "store": one.location}
            for one in peers
        ]
        print(json.dumps({"peers": listed}))
        return
    print_table([("KMS", "place"), *((str(one.identity), one.location) for one in peers)])


@peer.command("remove")
@store_argument
@click.argument("kms_id", type=IDENTITY)
@quiet_option
def remove_peer(store: Where, kms_id: Identity) -> None:
    """Remove another KMS and the key shared with it."""
    with Store(store) as opened:
        opened.remove_peer(kms_id)
    say(f"{store}: removed the KMS {kms_id}")
