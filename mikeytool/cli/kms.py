"""`kms`: a key management service on one file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mikeytool.capture.text import Format
from mikeytool.cli.environment import environment
from mikeytool.cli.keys import KEY, KEY_HELP, format_key
from mikeytool.cli.main import complain, exit_code
from mikeytool.cli.messages import (
    check_output,
    index_option,
    message_argument,
    message_options,
    one_message,
    write_message,
    write_output,
)
from mikeytool.cli.table import print_table
from mikeytool.cli.values import IDENTITY, parse_time, random
from mikeytool.cli.words import force_option, json_option, quiet_option, say
from mikeytool.client.files import check_free, write_private
from mikeytool.client.tickets import time_json
from mikeytool.exchange.profile import PROFILES
from mikeytool.kms.service import handle as handle_message
from mikeytool.kms.store import LogEntry, Store, Tpk
from mikeytool.wire.errors import StateError
from mikeytool.wire.identity import Identity
from mikeytool.wire.registry import TsType
from mikeytool.wire.timestamp import Timestamp

_PATH = click.Path(path_type=Path)
store_argument = click.argument("store", type=_PATH)


@click.group()
def kms() -> None:
    """Run a key management service on one file, the STORE.

    Whoever can read STORE has every user's key.
    """


@kms.command()
@store_argument
@click.option(
    "--id",
    "identity",
    type=IDENTITY,
    required=True,
    metavar="KMS_ID",
    help="Identity of the KMS, as in sip:kms.example.com.",
)
@click.option("--tpk", type=KEY, metavar="KEY", help=f"Ticket protection key: {KEY_HELP}.")
@click.option(
    "--profile",
    type=click.Choice(["128", "256"]),
    default="256",
    show_default=True,
    help="The strongest algorithms that are served.",
)
@force_option
@quiet_option
def init(store: Path, identity: Identity, tpk: bytes | None, profile: str, force: bool) -> None:
    """Make the STORE of a KMS."""
    chosen = PROFILES[int(profile)]
    if force and store.exists():
        Store(store).remove()
    key = tpk or random(chosen.key_length)
    made = Store.init(store, identity, chosen, Tpk(Identity.key_name("tpk-1"), key))
    made.close()
    say(f"{store}: KMS {identity}, {profile}-bit profile")


@kms.command()
@store_argument
@json_option
def show(store: Path, as_json: bool) -> None:
    """Show what a STORE is."""
    opened = Store(store)
    content = {
        "kms": str(opened.identity),
        "profile": opened.profile.bits,
        "users": len(opened.users()),
        "log_entries": sum(1 for _ in opened.log()),
    }
    if as_json:
        print(json.dumps(content))
    else:
        print_table([("", ""), *((name.replace("_", " "), str(v)) for name, v in content.items())])


@kms.group()
def user() -> None:
    """Users of the KMS and their keys."""


@user.command("add")
@store_argument
@click.argument("uri", type=IDENTITY)
@click.option("--psk", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@click.option("--psk-id", metavar="TEXT", help="A name for the key, as messages carry it.")
@click.option(
    "--act-as",
    multiple=True,
    metavar="PATTERN",
    help="Identities that the key speaks for as well, as in sip:*@conf.example.com;"
    " messages then name the key with --psk-id.",
)
@click.option(
    "-o",
    "--output",
    type=_PATH,
    help="Write the key to FILE, mode 0600.",
)
@click.option("--force", is_flag=True, help="Overwrite FILE.")
@quiet_option
def add(
    store: Path,
    uri: Identity,
    psk: bytes | None,
    psk_id: str | None,
    act_as: tuple[str, ...],
    output: Path | None,
    force: bool,
) -> None:
    """Add the user URI. Without --psk a key is made and printed in hex, alone."""
    if output is not None:
        check_free(output, force=force)
    opened = Store(store)
    key = psk or random(opened.profile.key_length)

    def deliver() -> None:
        _deliver(key, output, made=psk is None, force=force)

    name = None if psk_id is None else Identity.key_name(psk_id)
    # The key is out before the user is in: nobody is added whose key is lost.
    opened.add_user(uri, key, name, act_as, before_commit=deliver)
    say(f"{store}: added {uri}")


@user.command("list")
@store_argument
@json_option
def list_users(store: Path, as_json: bool) -> None:
    """List the users, without their keys."""
    users = Store(store).users()
    if as_json:
        listed = [
            {
                "uri": str(one.identity),
                "psk_id": None if one.psk_id is None else str(one.psk_id),
                "enabled": one.enabled,
            }
            for one in users
        ]
        print(json.dumps({"users": listed}))
        return
    rows = [
        (
            str(one.identity),
            "" if one.psk_id is None else str(one.psk_id),
            "enabled" if one.enabled else "disabled",
        )
        for one in users
    ]
    print_table([("user", "key name", "state"), *rows])


@user.command("show")
@store_argument
@click.argument("uri", type=IDENTITY)
@json_option
def show_user(store: Path, uri: Identity, as_json: bool) -> None:
    """Show a user: key name, state, groups, and whom they may act as."""
    opened = Store(store)
    found = opened.user(uri)
    if found is None:
        raise StateError(f"{store}: there is no user {uri}; see kms user list")
    content = {
        "uri": str(uri),
        "psk_id": None if found.psk_id is None else str(found.psk_id),
        "enabled": found.enabled,
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
def disable_user(store: Path, uri: Identity) -> None:
    """No new tickets for the user, no resolving, and none of the tickets of theirs either."""
    Store(store).enable(uri, False)
    say(f"{store}: {uri} is disabled")


@user.command("enable")
@store_argument
@click.argument("uri", type=IDENTITY)
@quiet_option
def enable_user(store: Path, uri: Identity) -> None:
    """Undo disable."""
    Store(store).enable(uri, True)
    say(f"{store}: {uri} is enabled")


@user.command("remove")
@store_argument
@click.argument("uri", type=IDENTITY)
@quiet_option
def remove_user(store: Path, uri: Identity) -> None:
    """Remove a user and the key."""
    Store(store).remove_user(uri)
    say(f"{store}: {uri} is removed")


@user.command("rekey")
@store_argument
@click.argument("uri", type=IDENTITY)
@click.option("--psk", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@click.option("-o", "--output", type=_PATH, metavar="FILE", help="Write the key to FILE.")
@force_option
@quiet_option
def rekey_user(
    store: Path, uri: Identity, psk: bytes | None, output: Path | None, force: bool
) -> None:
    """Give a user another key. Without --psk it is made and printed in hex, alone."""
    opened = Store(store)
    key = psk or random(opened.profile.key_length)

    def deliver() -> None:
        _deliver(key, output, made=psk is None, force=force)

    opened.rekey(uri, key, before_commit=deliver)
    say(f"{store}: {uri} has another key")


def _deliver(key: bytes, output: Path | None, *, made: bool, force: bool) -> None:
    """Hand out a key: into a file, or printed in hex when it was made here."""
    if output is not None:
        write_private(output, format_key(key, "hex"), force=force)
    elif made:
        write_output(format_key(key, "hex"), None)


@kms.group(short_help="Groups of users, which tickets can name.")
def group() -> None:
    """Groups: a group among a ticket's responders admits its members."""


@group.command("add")
@store_argument
@click.argument("name", type=IDENTITY, metavar="GROUP")
@click.argument("members", type=IDENTITY, nargs=-1, required=True, metavar="MEMBER...")
@quiet_option
def add_members(store: Path, name: Identity, members: tuple[Identity, ...]) -> None:
    """Put members into a group."""
    Store(store).add_members(name, members)
    say(f"{store}: {len(members)} more in {name}")


@group.command("remove")
@store_argument
@click.argument("name", type=IDENTITY, metavar="GROUP")
@click.argument("members", type=IDENTITY, nargs=-1, required=True, metavar="MEMBER...")
@quiet_option
def remove_members(store: Path, name: Identity, members: tuple[Identity, ...]) -> None:
    """Take members out of a group."""
    Store(store).remove_members(name, members)
    say(f"{store}: {len(members)} fewer in {name}")


@group.command("list")
@store_argument
@json_option
def list_groups(store: Path, as_json: bool) -> None:
    """List the groups and their members."""
    groups = Store(store).groups()
    if as_json:
        print(json.dumps({"groups": {str(g): list(map(str, m)) for g, m in groups.items()}}))
        return
    print_table(
        [("group", "members"), *((str(g), ", ".join(map(str, m))) for g, m in groups.items())]
    )


@kms.group(short_help="Ticket protection keys, own and shared.")
def tpk() -> None:
    """Ticket protection keys: the KMS's own, and those shared with one user each."""


@tpk.command("add")
@store_argument
@click.option(
    "--shared-with",
    type=IDENTITY,
    required=True,
    metavar="URI",
    help="Who makes tickets (D is 0) or resolves them (E is 0) with this key.",
)
@click.option("--name", metavar="TEXT", help="How tickets name it; default: a new name.")
@click.option("--tpk", "key", type=KEY, metavar="KEY", help=f"The key to use: {KEY_HELP}.")
@click.option(
    "-o", "--output", type=_PATH, metavar="FILE", help="Write the key to FILE, mode 0600."
)
@force_option
@quiet_option
def add_tpk(
    store: Path,
    shared_with: Identity,
    name: str | None,
    key: bytes | None,
    output: Path | None,
    force: bool,
) -> None:
    """Add a key that one user shares. Without --tpk it is made and printed in hex, alone."""
    _new_tpk(Store(store), shared_with, name, key, output, force=force)


@tpk.command("rotate")
@store_argument
@click.option(
    "--shared-with",
    type=IDENTITY,
    metavar="URI",
    help="Rotate the key of that user, not the KMS's own.",
)
@click.option("-o", "--output", type=_PATH, metavar="FILE", help="Write a shared key to FILE.")
@force_option
@quiet_option
def rotate_tpk(store: Path, shared_with: Identity | None, output: Path | None, force: bool) -> None:
    """Take a new key for new tickets; old tickets can be resolved until they expire."""
    _new_tpk(Store(store), shared_with, None, None, output, force=force)


def _new_tpk(
    store: Store,
    party: Identity | None,
    name: str | None,
    key: bytes | None,
    output: Path | None,
    *,
    force: bool,
) -> None:
    """Add a key; a shared one that was made here is handed out, the KMS's own never is."""
    octets = key or random(store.profile.key_length)
    names = {str(one.name) for one in store.tpks()}
    fresh = next(f"tpk-{n}" for n in range(1, len(names) + 2) if f"tpk-{n}" not in names)
    made = Tpk(Identity.key_name(name or fresh), octets, party)

    def deliver() -> None:
        if party is not None:
            _deliver(octets, output, made=key is None, force=force)

    store.add_tpk(made, before_commit=deliver)
    say(
        f"{store.path}: {made.name} is the key for new tickets"
        + (f" of {party}" if party is not None else "")
    )


@tpk.command("list")
@store_argument
@json_option
def list_tpks(store: Path, as_json: bool) -> None:
    """List the keys, without their octets."""
    listed = [
        {
            "name": str(one.name),
            "shared_with": None if one.shared_with is None else str(one.shared_with),
            "octets": len(one.key),
            "current": one.current,
        }
        for one in Store(store).tpks()
    ]
    if as_json:
        print(json.dumps({"tpks": listed}))
        return
    rows = [
        (
            str(one["name"]),
            str(one["shared_with"] or ""),
            str(one["octets"]),
            "current" if one["current"] else "",
        )
        for one in listed
    ]
    print_table([("name", "shared with", "octets", ""), *rows])


@kms.command(short_help="Answer a REQUEST_INIT or RESOLVE_INIT.")
@store_argument
@message_argument
@index_option
@click.option(
    "--send-errors",
    is_flag=True,
    help="Answer senders that were not authenticated with an Error message too.",
)
@message_options
@quiet_option
def handle(
    store: Path,
    message: str | None,
    index: int | None,
    send_errors: bool,
    fmt: Format,
    output: str | None,
) -> int:
    """Answer a REQUEST_INIT or RESOLVE_INIT: the message in, the answer out."""
    data = one_message(message, index)
    check_output(output)
    handled = handle_message(Store(store), environment(), data, send_errors=send_errors)
    if handled.answer is not None:
        write_message(handled.answer, fmt, output)
    if handled.refusal is None:
        return 0
    complain(str(handled.refusal))
    return exit_code(handled.refusal)


@kms.command()
@store_argument
@json_option
@click.option("--since", metavar="T", help="Only from then on: ISO 8601, Unix seconds, now-D.")
def log(store: Path, as_json: bool, since: str | None) -> None:
    """Show who asked for what, and what came of it."""
    since_ns = 0 if since is None else parse_time(since, environment().clock())
    entries = Store(store).log(since_ns)
    if as_json:
        for entry in entries:
            print(json.dumps(_entry_json(entry)))
        return
    rows = [
        (
            str(_time(entry).utc),
            entry.exchange,
            entry.user,
            entry.about,
            entry.outcome,
            entry.reason,
        )
        for entry in entries
    ]
    print_table([("time", "exchange", "by", "for", "outcome", "reason"), *rows])


def _entry_json(entry: LogEntry) -> dict[str, Any]:
    return {
        "time": time_json(_time(entry)),
        "exchange": entry.exchange,
        "by": entry.user,
        "for": entry.about,
        "outcome": entry.outcome,
        "reason": entry.reason or None,
    }


def _time(entry: LogEntry) -> Timestamp:
    return Timestamp.at(entry.at_ns, TsType.NTP_UTC_32)
