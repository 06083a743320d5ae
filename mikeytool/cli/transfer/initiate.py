"""`transfer init`, `update` and `finish`: the side that starts an exchange."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from mikeytool.capture.text import Form, Format, format_message
from mikeytool.cli.command_groups import Command
from mikeytool.cli.message_io import (
    index_option,
    message_argument,
    message_options,
    offered_message,
    sdp_message_options,
    staging,
    write_message,
    write_unstaged,
)
from mikeytool.cli.options.clock import environment, now_ns
from mikeytool.cli.options.common import PATH, json_option, quiet_option, say, show_keys_option
from mikeytool.cli.options.keys import key_wrap_option, wrapping
from mikeytool.cli.options.negotiation import (
    app_option,
    media_options,
    overlap_option,
    session_option,
)
from mikeytool.cli.options.outputs import (
    OUTPUT_PATH,
    check_output,
    force_option,
    output_force_option,
)
from mikeytool.cli.options.types import IDENTITY
from mikeytool.client import initiate as client
from mikeytool.client.session_files import SessionFile
from mikeytool.exchange.error import ErrorReceived
from mikeytool.exchange.ticket_policy import TicketPolicy
from mikeytool.media.media_lines import media_lines
from mikeytool.media.media_text import media_for_call, media_for_session
from mikeytool.media.session_description import describe_session, summary
from mikeytool.media.suite_policies import accept_suites, policy_names, supported_policies
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity


@click.command(cls=Command)
@click.option(
    "--ticket", "ticket_path", type=PATH, required=True, metavar="FILE",
    help="The ticket file; it is marked as used.",
)  # fmt: skip
@click.option(
    "--as", "local", type=IDENTITY, metavar="URI", envvar="MIKEYTOOL_AS", show_envvar=True,
    help="The caller; default: the initiator of the ticket.",
)  # fmt: skip
@click.option(
    "--to", "remote", type=IDENTITY, required=True, metavar="URI", help="Call this identity."
)
@session_option
@media_options
@key_wrap_option
@app_option
@click.option(
    "--same-rands-as", "group_path", type=PATH, metavar="SESSION",
    help="Use the RAND of that session, so that a group has one key; needs a ticket without G.",
)  # fmt: skip
@sdp_message_options
@force_option
@quiet_option
def init(
    ticket_path: Path,
    local: Identity | None,
    remote: Identity,
    session_path: Path,
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    key_wrap: bool,
    apps: Sequence[str],
    group_path: Path | None,
    fmt: Form,
    output: str | None,
    force: bool,
) -> None:
    """Print TRANSFER_INIT for a ticket.

    With a ticket that you have resolved, and another user requested, you call on behalf of a
    group; such a ticket must be without key forking (the I flag).
    """
    check_output(output)
    group = None if group_path is None else SessionFile.read(group_path).randr_i

    media = media_for_call(
        cs, suites, kemac, encr_alg=wrapping(key_wrap), lines=media_lines(fmt.place)
    )

    def media_for(policy: TicketPolicy) -> client.Media:
        if remote not in policy.responders:
            say(
                f"note: the ticket does not name {remote}, which may resolve it only as a member of"
                " a group in it or by --act-as"
            )
        return media(policy)

    message = client.start_call(
        environment(fmt.protocols),
        ticket_path,
        session_path,
        client.Call(local, remote, [Identity.from_text(app) for app in apps], group),
        media_for,
        force=force,
        stage=staging(fmt, output),
    )
    write_unstaged(message, fmt, output)


@click.command(cls=Command, short_help="Update the keys or crypto sessions of a session.")
@session_option
@media_options
@overlap_option
@key_wrap_option
@sdp_message_options
@output_force_option
@quiet_option
def update(
    session_path: Path,
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    overlap: int | None,
    key_wrap: bool,
    fmt: Form,
    output: str | None,
) -> None:
    """Print an update of a session: new keys (--kemac), suites, new or changed streams (--cs).

    Keys and suites are for every stream, unless --cs names some: id=N changes the stream with that
    CS ID, and policies are known by their numbers from then on.

    The other end answers with `transfer respond`, and `transfer finish` takes the answer.
    """
    check_output(output)
    encr_alg = wrapping(key_wrap)
    media = media_for_session(
        cs, suites, kemac, encr_alg=encr_alg, overlap=overlap, lines=media_lines(fmt.place)
    )
    env, stage = environment(fmt.protocols), staging(fmt, output)
    message = client.start_update(env, session_path, media, stage=stage)
    write_unstaged(message, fmt, output)


@click.command(cls=Command, short_help="Take the answer to init or update.")
@message_argument
@session_option
@click.option(
    "--suite", "suites", multiple=True, metavar="NAME",
    help="Accept only these of the suites that were not offered.",
)  # fmt: skip
@click.option(
    "--save-as", type=OUTPUT_PATH, metavar="FILE", help="Write the session to FILE, not to SESSION."
)
@index_option
@json_option
@show_keys_option
@message_options
@output_force_option
@quiet_option
def finish(
    message: str | None,
    session_path: Path,
    suites: Sequence[str],
    save_as: Path | None,
    index: int | None,
    as_json: bool,
    show_keys: bool,
    fmt: Format,
    output: str | None,
) -> None:
    """Take TRANSFER_RESP: the session of `transfer init` is set up.

    A forked call may get several answers; --save-as takes one more. If the answer is authentic
    but not acceptable, an Error message for the other end is printed, or written to -o.
    """
    data = offered_message(message, index).message
    check_output(output)
    try:
        known = partial(supported_policies, suites)
        session = client.finish_call(
            environment(), data, session_path, accept_suites(suites), save_as, known
        )
    except Refused as refusal:
        print_refusal(refusal, fmt, output, as_json=as_json)
        raise
    if as_json:
        print(json.dumps(describe_session(session, now_ns(), show_keys=show_keys)))
    else:
        say(f"{save_as or session_path}: {summary(session)}")


def print_refusal(
    refusal: Refused, fmt: Format | Form, output: str | None, *, as_json: bool
) -> None:
    """Print the Error message for the other end, and name the suites that it supports."""
    if isinstance(refusal, ErrorReceived) and refusal.supported:
        say(f"the other end supports {policy_names(refusal.supported)}")
    if refusal.answer is None:
        return
    if as_json:
        message = format_message(refusal.answer, "b64").decode().strip()
        print(json.dumps({"error": str(refusal), "message": message}))
    else:
        write_message(refusal.answer, fmt, output)
