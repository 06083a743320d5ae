"""`kms peer`: other KMSs, which help to resolve their tickets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import PATH, say
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.store import PATTERN, store_command
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.kms.peer_locations import peer_location
from mikeytool.kms.store.records import Peer
from mikeytool.kms.store.store import Store
from mikeytool.kms.store.store_description import describe_peer
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def peer() -> None:
    """Other KMSs (RFC 6043 10): their tickets are resolved with their help.

    Both sides add each other, with the same key. Each is believed only of the identities that
    fit its --for patterns, as initiators and as responders, and never of ours. Over
    HTTPS, for `kms handle` and `kms serve`, MIKEYTOOL_KMS_CA names the CA to trust in place of
    the system's, and MIKEYTOOL_KMS_CLIENT a certificate with its private key.
    """


def _patterns(command: Any) -> Any:
    return click.option(
        "--for", "patterns", type=PATTERN, multiple=True, required=True, metavar="PATTERN",
        help="Identities that it speaks for, as in sip:*@example.org; no others are believed.",
    )(command)  # fmt: skip


@store_command(peer, "add")
@click.argument("kms_id", type=IDENTITY)
@click.option("--url", metavar="URL", help="Its https:// URL.")
@click.option("--store", "path", type=PATH, metavar="PATH", help="Its store on this machine.")
@click.option(
    "--psk", type=KEY, required=True, metavar="KEY",
    help=f"The key shared by the two KMSs: {KEY_HELP}.",
)  # fmt: skip
@_patterns
def add_peer(
    store: Store,
    kms_id: Identity,
    url: str | None,
    path: Path | None,
    psk: bytes,
    patterns: tuple[str, ...],
) -> None:
    """Add another KMS and the key shared with it."""
    where = url if path is None else path
    if where is None or (url is not None and path is not None):
        raise UsageError("give either --url URL or --store PATH of the other KMS")
    store.add_peer(Peer(kms_id, peer_location(kms_id, where), psk, patterns))
    say(f"{store.where}: added the KMS {kms_id}")


@store_command(peer, "set")
@click.argument("kms_id", type=IDENTITY)
@_patterns
def set_peer(store: Store, kms_id: Identity, patterns: tuple[str, ...]) -> None:
    """Change the identities that another KMS speaks for. The old patterns are forgotten."""
    store.set_patterns(kms_id, patterns)
    say(f"{store.where}: the KMS {kms_id} speaks for {', '.join(patterns)}")


@store_command(peer, "list")
def list_peers(store: Store, as_json: bool) -> None:
    """List the other KMSs, without their keys."""
    peers = store.peers()
    if as_json:
        print(json.dumps({"peers": [describe_peer(one) for one in peers]}))
        return
    rows = [(str(one.identity), one.location, ", ".join(one.patterns) or "nobody") for one in peers]
    print_table([("KMS", "place", "for"), *rows])


@store_command(peer, "remove")
@click.argument("kms_id", type=IDENTITY)
def remove_peer(store: Store, kms_id: Identity) -> None:
    """Remove another KMS and the key shared with it."""
    store.remove_peer(kms_id)
    say(f"{store.where}: removed the KMS {kms_id}")
