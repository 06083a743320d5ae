"""`kms user`: who may ask the KMS, and their keys."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.options.common import force_option, json_option, quiet_option, say
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.store import (
    PATH,
    PATTERN,
    deliver,
    key_file_option,
    open_store,
    read_certificates,
    store_argument,
)
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.kms.store.records import User
from mikeytool.storage.private_files import check_free
from mikeytool.storage.sql import Where
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.identity import Identity


@click.group(cls=Group)
def user() -> None:
    """Users of the KMS and their keys."""


@user.command("add")
@store_argument
@click.argument("uri", type=IDENTITY)
@click.option("--psk", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@click.option("--psk-id", metavar="TEXT", help="A name for the key, as messages carry it.")
@click.option(
    "--cert",
    type=PATH,
    metavar="PEM",
    help="A certificate that is trusted as it is, for public-key requests.",
)
@click.option(
    "--act-as",
    type=PATTERN,
    multiple=True,
    metavar="PATTERN",
    help="Identities that the key speaks for as well, as in sip:*@conf.example.com;"
    " messages then name the key with --psk-id.",
)
@key_file_option
@force_option
@quiet_option
def add(
    store: Where,
    uri: Identity,
    psk: bytes | None,
    psk_id: str | None,
    cert: Path | None,
    act_as: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """Add the user URI. Without --psk and --cert a key is made and printed in hex, alone."""
    if output is not None:
        check_free(output, force=force)
    opened = open_store(store)
    certificate = None if cert is None else _certificate(cert, uri)
    made = psk is None and cert is None
    key = os.urandom(opened.profile.key_length) if made else psk

    def hand_out() -> None:
        if key is not None:
            deliver(key, output, made=made, force=force)

    name = None if psk_id is None else Identity.key_name(psk_id)
    # The key is out before the user is in: nobody is added whose key is lost.
    opened.add_user(uri, key, name, act_as, certificate, before_commit=hand_out)
    say(f"{store}: added {uri}")


def _certificate(path: Path, uri: Identity) -> bytes:
    """The DER of a user's certificate; raises UsageError for that of somebody else."""
    from cryptography.hazmat.primitives.serialization import Encoding

    from mikeytool.crypto.certificates import is_of, rsa_key

    found = read_certificates(path)[0]
    rsa_key(found)
    if not is_of(found, uri):
        raise UsageError(f"{path}: the subjectAltName of the certificate does not name {uri}")
    return found.public_bytes(Encoding.DER)


@user.command("import")
@store_argument
@click.argument("file", type=PATH)
@click.option(
    "-o",
    "--output",
    type=PATH,
    metavar="FILE",
    help="Write the keys that are made to FILE, mode 0600, not to standard output.",
)
@force_option
@quiet_option
def import_users(store: Where, file: Path, output: Path | None, force: bool) -> int:
    """Add the users in FILE, all of them or none.

    FILE is CSV whose first line names the columns, or JSON Lines, with uri, psk, psk_id and
    act_as; all but uri may be left out, several act_as patterns are separated by blanks or
    are a list. Keys that are not given are made, and written as lines for --keys: psk URI KEY.
    """
    from mikeytool.cli.kms.user_import import import_file

    if output is not None:
        check_free(output, force=force)
    return import_file(open_store(store), file, output, force=force)


@user.command("list")
@store_argument
@json_option
def list_users(store: Where, as_json: bool) -> None:
    """List the users, without their keys."""
    users = open_store(store).users()
    if as_json:
        print(json.dumps({"users": [_user_json(one) for one in users]}))
        return
    rows = [
        (
            str(one.identity),
            "" if one.psk_id is None else str(one.psk_id),
            " and ".join(_known_by(one)),
            "enabled" if one.enabled else "disabled",
        )
        for one in users
    ]
    print_table([("user", "key name", "known by", "state"), *rows])


def _user_json(one: User) -> dict[str, Any]:
    return {
        "uri": str(one.identity),
        "psk_id": None if one.psk_id is None else str(one.psk_id),
        "known_by": _known_by(one),
        "enabled": one.enabled,
    }


def _known_by(one: User) -> list[str]:
    """How a user is known: by `psk`, by `cert`, or both."""
    by = {"psk": one.sealed_psk, "cert": one.certificate}
    return [name for name, value in by.items() if value is not None]


@user.command("show")
@store_argument
@click.argument("uri", type=IDENTITY)
@json_option
def show_user(store: Where, uri: Identity, as_json: bool) -> None:
    """Show a user: key name, state, groups, and whom they may act as."""
    opened = open_store(store)
    found = opened.user(uri)
    if found is None:
        raise StateError(f"{store}: there is no user {uri}; see kms user list")
    content = {
        **_user_json(found),
        "act_as": opened.act_as(uri),
        "groups": [str(group) for group in opened.groups_of(uri)],
    }
    if as_json:
        print(json.dumps(content))
        return
    rows = [
        (name.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
        for name, value in content.items()
        if value not in (None, [])
    ]
    print_table([("", ""), *rows])


@user.command("disable", short_help="No tickets and no resolving for a user.")
@store_argument
@click.argument("uri", type=IDENTITY)
@quiet_option
def disable_user(store: Where, uri: Identity) -> None:
    """No new tickets for the user, no resolving, and none of the tickets of theirs either."""
    open_store(store).enable(uri, False)
    say(f"{store}: {uri} is disabled")


@user.command("enable")
@store_argument
@click.argument("uri", type=IDENTITY)
@quiet_option
def enable_user(store: Where, uri: Identity) -> None:
    """Undo disable."""
    open_store(store).enable(uri, True)
    say(f"{store}: {uri} is enabled")


@user.command("remove", short_help="Remove a user and the key.")
@store_argument
@click.argument("uri", type=IDENTITY)
@quiet_option
def remove_user(store: Where, uri: Identity) -> None:
    """Remove a user and the key, and from all groups.

    Tickets that they requested, or that a key shared with them protects, are not resolved
    any more. Who is removed is a stranger, as everybody else: another KMS may speak for them,
    and with --admit-certified a certificate lets them in. Disable who must not come back.
    """
    open_store(store).remove_user(uri)
    say(f"{store}: {uri} is removed")


@user.command("rekey")
@store_argument
@click.argument("uri", type=IDENTITY)
@click.option("--psk", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@key_file_option
@force_option
@quiet_option
def rekey_user(
    store: Where, uri: Identity, psk: bytes | None, output: Path | None, force: bool
) -> None:
    """Give a user another key. Without --psk it is made and printed in hex, alone."""
    opened = open_store(store)
    key = psk or os.urandom(opened.profile.key_length)

    def hand_out() -> None:
        deliver(key, output, made=psk is None, force=force)

    opened.rekey(uri, key, before_commit=hand_out)
    say(f"{store}: {uri} has another key")
