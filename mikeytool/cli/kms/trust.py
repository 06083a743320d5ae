"""`kms key` and `kms trust`: key pairs of the KMS, and the CAs that it trusts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import Certificate

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import PATH, say
from mikeytool.cli.options.keys import read_passphrase
from mikeytool.cli.options.store import (
    store_command,
)
from mikeytool.cli.render.table import print_table
from mikeytool.kms.pem_files import load_certificates, load_key_pair
from mikeytool.kms.store.store import Store
from mikeytool.kms.store.store_description import describe_certificate
from mikeytool.wire.errors import UsageError


@click.group(cls=Group)
def key() -> None:
    """Key pairs of the KMS: public-key requests are encrypted to them.

    A request names the key pair by the hash of its certificate. All are tried for requests
    without such a hash.
    """


@store_command(key, "add")
@click.option("--private-key", type=PATH, required=True, metavar="PEM", help="The private key.")
@click.option("--cert", type=PATH, required=True, metavar="PEM", help="Its certificate.")
def add_key(store: Store, private_key: Path, cert: Path) -> None:
    """Add a key pair. Its certificate must name the KMS in the subjectAltName."""
    pair = load_key_pair(private_key, cert, lambda: read_passphrase(private_key))
    store.add_key(*pair)
    say(f"{store.where}: added the key of {_short(pair[1])}")


@store_command(key, "list")
def list_keys(store: Store, as_json: bool) -> None:
    """List the certificates of the KMS."""
    _print(store.certificates(), "keys", as_json)


@store_command(key, "remove")
@click.argument("cert", type=PATH, metavar="PEM")
def remove_key(store: Store, cert: Path) -> None:
    """Remove the key pair of a certificate."""
    found = load_certificates(cert)[0]
    store.remove_key(found.fingerprint(SHA256()))
    say(f"{store.where}: removed the key of {_short(found)}")


@click.group(cls=Group)
def trust() -> None:
    """Trust anchors: CAs whose certificates prove the identities of users."""


@store_command(trust, "add")
@click.argument("ca", type=PATH, metavar="CA.PEM")
def add_anchor(store: Store, ca: Path) -> None:
    """Trust a certificate authority.

    The owners of its certificates must be users, too, unless `kms policy set --admit-certified`.
    """
    found, *more = load_certificates(ca)
    if more:
        raise UsageError(f"{ca}: it has {1 + len(more)} certificates; add each CA by itself")
    store.add_anchor(found)
    say(f"{store.where}: {_short(found)} is trusted")


@store_command(trust, "list")
def list_anchors(store: Store, as_json: bool) -> None:
    """List the certificates of the trusted CAs."""
    _print(store.anchors(), "trusted", as_json)


@store_command(trust, "remove")
@click.argument("ca", type=PATH, metavar="CA.PEM")
def remove_anchor(store: Store, ca: Path) -> None:
    """Stop trusting a certificate authority."""
    found = load_certificates(ca)[0]
    store.remove_anchor(found.fingerprint(SHA256()))
    say(f"{store.where}: {_short(found)} is no longer trusted")


def _print(certificates: list[Certificate], name: str, as_json: bool) -> None:
    listed = [describe_certificate(one) for one in certificates]
    if as_json:
        print(json.dumps({name: listed}))
        return
    rows = [(str(one["subject"]), str(one["valid_to"]), _short_hash(one)) for one in listed]
    print_table([("subject", "valid to", "SHA-256"), *rows])


def _short(certificate: Certificate) -> str:
    """A certificate in a few words."""
    one = describe_certificate(certificate)
    return f"{one['subject'] or 'a certificate'} ({_short_hash(one)})"


def _short_hash(one: dict[str, Any]) -> str:
    return f"sha256:{one['sha256'][:8]}"
