"""`ticket`: tickets for their initiators and responders."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import click

from mikeytool.capture.text import Format
from mikeytool.cli.command_groups import Group
from mikeytool.cli.message_io import (
    exists,
    index_option,
    message_argument,
    message_in,
    message_options,
    one_message,
    read_input,
)
from mikeytool.cli.options.clock import environment
from mikeytool.cli.options.common import PATH, json_option, quiet_option, say, show_keys_option
from mikeytool.cli.options.credentials import CREDENTIALS, credentials_of, key_name
from mikeytool.cli.options.keys import KEY, KEY_HELP, key_wrap_option, need_key, wrapping
from mikeytool.cli.options.outputs import OUTPUT_PATH, check_output, force_option
from mikeytool.cli.options.ticket_policy import policy_options
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.table import print_table
from mikeytool.cli.ticket.kms_exchange import as_option, exchange, kms_exchange_options, take_answer
from mikeytool.client import tickets
from mikeytool.client.policy_text import CREATE_FLAGS, DEFAULT_FLAGS, policy_of
from mikeytool.client.ticket_files import KIND, Pending, TicketFile, find_ticket, ticket_of_json
from mikeytool.exchange.profile import PROFILES, profile_of
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.storage.private_files import check_free, parse_json
from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.json_field import with_length
from mikeytool.wire.payloads import TICKET
from mikeytool.wire.registry import TicketFlag


@click.group(cls=Group)
def ticket() -> None:
    """Request, accept, resolve and show tickets.

    With --kms the exchange with the KMS is done at once. With --pending the message for the
    KMS is printed, and `ticket accept` takes the answer.
    """


accept_changed_option = click.option(
    "--accept-changed",
    is_flag=True,
    help="Take the ticket even if the KMS granted something other than what was requested.",
)


@ticket.command()
@kms_exchange_options
@policy_options(DEFAULT_FLAGS)
@accept_changed_option
@message_options
@quiet_option
def request(
    local: Identity,
    kms_where: str | None,
    kms_id: Identity | None,
    save: Path | None,
    pending: Path | None,
    force: bool,
    accept_changed: bool,
    fmt: Format,
    output: str | None,
    **options: Any,
) -> None:
    """Request a ticket and keys from the KMS."""
    check_output(output)
    env = environment()
    shown = {name: options.pop(name) for name in CREDENTIALS}
    policy = policy_of(env.clock(), local, **options)
    credentials = credentials_of(**shown)
    exchange(
        env,
        lambda kms: credentials.request(env, replace(policy, kms=kms), local, kms),
        fmt,
        output,
        kms_where=kms_where,
        kms_id=kms_id,
        save=save,
        pending=pending,
        force=force,
        accept_changed=accept_changed,
    )


@ticket.command(short_help="Make a ticket without the KMS.")
@as_option
@click.option(
    "--tpk", type=KEY, metavar="KEY",
    help=f"The ticket protection key, shared with the resolver of the ticket: {KEY_HELP}.",
)  # fmt: skip
@click.option("--tpk-id", metavar="TEXT", help="The name of --tpk, if it has one.")
@click.option(
    "--kms-id", type=IDENTITY, metavar="ID", envvar="MIKEYTOOL_KMS_ID",
    help="The KMS that resolves the ticket (mode 3).",
)  # fmt: skip
@click.option(
    "--save", type=OUTPUT_PATH, required=True, metavar="FILE", help="Write the ticket to FILE."
)
@policy_options(CREATE_FLAGS)
@key_wrap_option
@force_option
@quiet_option
def create(
    local: Identity,
    tpk: bytes | None,
    tpk_id: str | None,
    kms_id: Identity | None,
    save: Path,
    key_wrap: bool,
    force: bool,
    responders: tuple[Identity, ...],
    **options: Any,
) -> None:
    """Make a ticket without the KMS (modes 3 and 4 of RFC 6043 4.1.1).

    The KMS resolves it if it has the E flag, else the responder; the resolver needs the key.
    """
    check_free(save, force=force, kind=KIND)
    env = environment()
    policy = policy_of(env.clock(), local, responders, default_flags=CREATE_FLAGS, **options)
    policy = replace(policy, kms=kms_id)
    key = need_key(tpk, "--tpk")
    made = tickets.make_ticket_file(env, policy, key, key_name(tpk_id), wrapping(key_wrap))
    made.write(save, force=force)
    say(f"{save}: ticket of {local}")


@ticket.command(short_help="Take the answer of the KMS.")
@message_argument
@click.option("--pending", type=PATH, required=True, metavar="FILE", help="File of the request.")
@click.option(
    "--save", type=OUTPUT_PATH, required=True, metavar="FILE", help="Write the ticket to FILE."
)
@accept_changed_option
@index_option
@force_option
@quiet_option
def accept(
    message: str | None,
    pending: Path,
    save: Path,
    accept_changed: bool,
    index: int | None,
    force: bool,
) -> None:
    """Take the answer of the KMS, REQUEST_RESP or RESOLVE_RESP, to a pending request."""
    answer = one_message(message, index)
    check_free(save, force=force, kind=KIND)
    request = Pending.read(pending)
    take_answer(environment(), request, answer, save, accept_changed=accept_changed, force=force)
    # It holds the user's key, and a second answer to it would be a second ticket.
    pending.unlink()


@ticket.command(short_help="Let the KMS resolve a ticket.")
@message_argument
@kms_exchange_options
@click.option(
    "--tpk", type=KEY, metavar="KEY",
    help=f"Resolve the ticket here, with the key that protects it: {KEY_HELP}.",
)  # fmt: skip
@click.option("--profile", type=click.Choice(["128", "256"]), help="Default: the ticket's.")
@index_option
@message_options
@quiet_option
def resolve(
    message: str | None,
    index: int | None,
    tpk: bytes | None,
    local: Identity,
    kms_where: str | None,
    kms_id: Identity | None,
    save: Path | None,
    pending: Path | None,
    force: bool,
    profile: str | None,
    fmt: Format,
    output: str | None,
    **shown: Any,
) -> None:
    """Let the KMS resolve the ticket in a TRANSFER_INIT, a TICKET payload or a ticket file."""
    found = _ticket_in(message, index)
    if isinstance(found, TicketFile):
        found = found.ticket
    if tpk is not None:
        if save is None:
            raise UsageError("--tpk needs --save FILE")
        resolved = tickets.resolve_with_tpk(environment(), found, tpk, local)
        resolved.write(save, force=force)
        say(f"{save}: ticket of {resolved.policy.initiator}")
        return
    if TicketFlag.I in found.flag and not found.initiator_data:
        raise WireError(
            "with key forking the KMS needs Initiator Data as well: give the whole TRANSFER_INIT"
        )
    check_output(output)
    policy = TicketPolicy.of(found)
    credentials = credentials_of(**shown)
    kms_id = kms_id or (policy.kms if pending is not None else None)
    env = environment()
    chosen = PROFILES[int(profile)] if profile else profile_of(policy.prf)
    exchange(
        env,
        lambda kms: credentials.resolve(env, chosen, found, local, kms),
        fmt,
        output,
        kms_where=kms_where,
        kms_id=kms_id,
        save=save,
        pending=pending,
        force=force,
    )


def _ticket_in(argument: str | None, index: int | None) -> TICKET | TicketFile:
    """Find the ticket in a message, in a TICKET payload from Ticket Type on, or in a file."""
    data = read_input(argument)
    content = parse_json(data)
    if content is not None:
        is_file = argument and exists(Path(argument))
        return ticket_of_json(content, str(argument) if is_file else "the input")
    found = find_ticket(message_in(BufferedReader(BytesIO(data)), argument, index))
    if found is None:
        raise WireError(
            "there is no ticket in this: give a TRANSFER_INIT, a TICKET payload from Ticket"
            " Type on, or a ticket file"
        )
    return found


@ticket.command()
@message_argument
@index_option
@json_option
@show_keys_option
def show(message: str | None, index: int | None, as_json: bool, show_keys: bool) -> None:
    """Show a ticket FILE, or the ticket in a message."""
    content = tickets.describe_ticket(_ticket_in(message, index), show_keys=show_keys)
    if as_json:
        print(json.dumps(content))
        return
    rows = [(name.replace("_", " "), _text(value)) for name, value in content.items()]
    flags = TicketFlag.from_letters(content["flags"])
    rows += [(f"flag {flag.letters}", flag.meaning) for flag in flags]
    print_table([("", ""), *(row for row in rows if row[1])])


def _text(value: Any) -> str:
    if isinstance(value, dict) and "utc" in value:
        return str(value["utc"] or value["value"])
    if isinstance(value, list):
        return "\n".join(map(_text, value))
    if isinstance(value, dict):
        return ", ".join(f"{name} {with_length(inner)}" for name, inner in value.items() if inner)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else with_length(value)
