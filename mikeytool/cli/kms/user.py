"""`kms user`: the users of the KMS and their keys."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.exit_codes import complain, exit_code, worst
from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.common import PATH, say
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.outputs import OUTPUT_PATH, force_option
from mikeytool.cli.options.store import (
    PATTERN,
    deliver,
    key_file_option,
    store_command,
)
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.progress import counted
from mikeytool.cli.render.table import print_table
from mikeytool.kms.pem_files import load_certificates
from mikeytool.kms.store.records import NewUser
from mikeytool.kms.store.store import Store
from mikeytool.kms.store.store_description import describe_user, describe_whole_user
from mikeytool.storage.input_files import read_octets
from mikeytool.storage.private_files import check_free, write_private
from mikeytool.wire.errors import MikeyError, StateError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.printable import number_of


@click.group(cls=Group)
def user() -> None:
    """Users of the KMS and their keys."""


@store_command(user, "add")
@click.argument("uri", type=IDENTITY)
@click.option("--psk", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@click.option("--psk-id", metavar="TEXT", help="A name for the key, which messages can carry.")
@click.option(
    "--cert", type=PATH, metavar="PEM",
    help="A certificate for public-key requests, trusted without a CA.",
)  # fmt: skip
@click.option(
    "--act-as", type=PATTERN, multiple=True, metavar="PATTERN",
    help="Other identities that the user may act as, as in sip:*@conf.example.com; messages"
    " then name the key with --psk-id.",
)  # fmt: skip
@key_file_option
@force_option
def add(
    store: Store,
    uri: Identity,
    psk: bytes | None,
    psk_id: str | None,
    cert: Path | None,
    act_as: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """Add the user URI. Without --psk and --cert, a new key is made and printed in hex."""
    if output is not None:
        check_free(output, force=force)
    certificate = None
    if cert is not None:
        from mikeytool.kms.store.key_pairs import user_certificate  # most users have a key

        certificate = user_certificate(load_certificates(cert)[0], uri, store.policy())
    made = psk is None and cert is None
    key = os.urandom(store.profile.key_length) if made else psk

    def hand_out() -> None:
        if key is not None:
            deliver(key, output, made=made, force=force)

    name = None if psk_id is None else Identity.key_name(psk_id)
    # The key is delivered before the user is committed: no user is added whose key is lost.
    store.add_user(uri, key, name, act_as, certificate, before_commit=hand_out)
    say(f"{store.where}: added {uri}")


@store_command(user, "import")
@click.argument("file", type=PATH)
@click.option(
    "-o", "--output", type=OUTPUT_PATH, metavar="FILE",
    help="Write new keys to FILE, mode 0600, instead of standard output.",
)  # fmt: skip
@force_option
def import_users(store: Store, file: Path, output: Path | None, force: bool) -> int:
    """Add the users in FILE, all of them or none.

    FILE is CSV whose first line names the columns, or JSON Lines, with uri, psk, psk_id and
    act_as. All but uri may be left out; several act_as patterns are separated by blanks, or
    are a list. Users without psk get a new key, printed as a line for --keys: psk URI KEY.
    """
    if output is not None:
        check_free(output, force=force)
    # Imported here because the other commands need neither.
    from mikeytool.client.key_text import parse_key
    from mikeytool.kms.user_import import read_users

    try:
        read = read_users(store, read_octets(file), parse_key)
    except WireError as error:
        raise WireError(f"{file}: {error}") from None
    if read.faults:
        return _complain_of(read.faults, file)

    def hand_out() -> None:
        if output is not None:
            write_private(output, read.made_keys(), force=force)
        elif read.made:
            write_output(read.made_keys(), None)

    store.add_users(_with_progress(read.users), before_commit=hand_out)
    say(
        f"{store.where}: added {number_of(len(read.users), 'user')}; keys made here: "
        f"{len(read.made)}"
    )
    return 0


def _complain_of(faults: list[tuple[int, MikeyError]], file: Path) -> int:
    what = "lines are" if len(faults) > 1 else "line is"
    complain(f"{len(faults)} {what} wrong; nobody was added", str(file))
    for line, fault in faults:
        complain(str(fault), f"{file}:{line}")
    return worst({exit_code(fault) for _, fault in faults})


def _with_progress(users: list[NewUser]) -> Iterator[NewUser]:
    """The users one by one, with a progress bar on a terminal."""
    with counted("adding users") as progress:
        for at, one in enumerate(users):
            yield one
            if at % 1000 == 0:
                progress(at, len(users))


@store_command(user, "list")
def list_users(store: Store, as_json: bool) -> None:
    """List the users, without their keys."""
    users = store.users()
    if as_json:
        print(json.dumps({"users": [describe_user(one) for one in users]}))
        return
    rows = [
        (
            str(one.identity),
            "" if one.psk_id is None else str(one.psk_id),
            " and ".join(describe_user(one)["known_by"]),
            "enabled" if one.enabled else "disabled",
        )
        for one in users
    ]
    print_table([("user", "key name", "known by", "state"), *rows])


@store_command(user, "show")
@click.argument("uri", type=IDENTITY)
def show_user(store: Store, uri: Identity, as_json: bool) -> None:
    """Show a user. That is key name, state, groups, and the identities that they may act as."""
    content = describe_whole_user(store, uri)
    if content is None:
        raise StateError(f"{store.where}: there is no user {uri}; see kms user list")
    if as_json:
        print(json.dumps(content))
        return
    content["state"] = "enabled" if content.pop("enabled") else "disabled"
    rows = [
        (name.replace("_", " "), ", ".join(value) if isinstance(value, list) else str(value))
        for name, value in content.items()
        if value not in (None, [])
    ]
    print_table([("", ""), *rows])


@store_command(user, "disable", short_help="Refuse requests of a user, and tickets of theirs.")
@click.argument("uri", type=IDENTITY)
def disable_user(store: Store, uri: Identity) -> None:
    """Refuse all requests of a user, and no longer resolve tickets that they requested."""
    store.enable(uri, False)
    say(f"{store.where}: {uri} is disabled")


@store_command(user, "enable")
@click.argument("uri", type=IDENTITY)
def enable_user(store: Store, uri: Identity) -> None:
    """Undo disable."""
    store.enable(uri, True)
    say(f"{store.where}: {uri} is enabled")


@store_command(user, "remove", short_help="Remove a user and their key.")
@click.argument("uri", type=IDENTITY)
def remove_user(store: Store, uri: Identity) -> None:
    """Remove a user, their key and their group memberships.

    Tickets that they requested, or that a key shared with them protects, are no longer
    resolved. A removed user is a stranger: another KMS may act for them, and with
    --admit-certified a certificate admits them. Disable users who must not come back.
    """
    store.remove_user(uri)
    say(f"{store.where}: {uri} is removed")


@store_command(user, "rekey")
@click.argument("uri", type=IDENTITY)
@click.option("--psk", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@key_file_option
@force_option
def rekey_user(
    store: Store, uri: Identity, psk: bytes | None, output: Path | None, force: bool
) -> None:
    """Give a user a new key. Without --psk, it is made and printed in hex."""
    key = psk or os.urandom(store.profile.key_length)

    def hand_out() -> None:
        deliver(key, output, made=psk is None, force=force)

    store.rekey(uri, key, before_commit=hand_out)
    say(f"{store.where}: {uri} has a new key")
