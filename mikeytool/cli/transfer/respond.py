"""`transfer respond`: the answer to a call or an update."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from mikeytool.capture.text import Form, format_message
from mikeytool.cli.command_groups import Command
from mikeytool.cli.message_io import (
    index_option,
    message_argument,
    offered_message,
    sdp_message_options,
    staging,
    write_unstaged,
)
from mikeytool.cli.options.clock import environment, now_ns
from mikeytool.cli.options.common import PATH, json_option, quiet_option, say, show_keys_option
from mikeytool.cli.options.credentials import (
    credential_options,
    credentials_of,
    kms_at,
    kms_options,
)
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.negotiation import (
    app_option,
    media_options,
    overlap_option,
    session_option,
)
from mikeytool.cli.options.outputs import check_output, force_option
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.transfer.initiate import print_refusal
from mikeytool.client import resolvers
from mikeytool.client.resolvers import Resolve
from mikeytool.client.respond import Callee, answer_message, is_for_session
from mikeytool.exchange.environment import Environment
from mikeytool.media.media_lines import media_lines
from mikeytool.media.media_text import media_for_call, media_for_session
from mikeytool.media.session_description import describe_session
from mikeytool.media.suite_policies import accept_suites
from mikeytool.storage.private_files import not_staged
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity


@click.command(cls=Command, short_help="Answer a TRANSFER_INIT or an update.")
@message_argument
@session_option
@click.option(
    "--as", "local", type=IDENTITY, metavar="URI", envvar="MIKEYTOOL_AS", show_envvar=True,
    help="The identity that answers.",
)  # fmt: skip
@credential_options
@kms_options
@click.option(
    "--ticket", "ticket_path", type=PATH, metavar="FILE",
    help="The ticket, resolved before with `ticket resolve`.",
)  # fmt: skip
@click.option(
    "--tpk", type=KEY, metavar="KEY",
    help=f"The key that protects the ticket, to resolve it without the KMS: {KEY_HELP}.",
)  # fmt: skip
@click.option(
    "--accept-from", multiple=True, metavar="PATTERN",
    help="Accept calls only from URIs of this pattern, as in sip:*@example.com.",
)  # fmt: skip
@click.option(
    "--send-errors", is_flag=True,
    help="Print an Error message, which has no MAC, also for callers that are not authenticated.",
)  # fmt: skip
@media_options
@overlap_option
@app_option
@index_option
@json_option
@show_keys_option
@sdp_message_options
@force_option
@quiet_option
def respond(
    message: str | None,
    session_path: Path,
    index: int | None,
    as_json: bool,
    show_keys: bool,
    fmt: Form,
    output: str | None,
    local: Identity | None,
    kms_where: str | None,
    kms_id: Identity | None,
    ticket_path: Path | None,
    tpk: bytes | None,
    accept_from: Sequence[str],
    send_errors: bool,
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    overlap: int | None,
    apps: Sequence[str],
    force: bool,
    **credentials: Any,
) -> None:
    """Answer a TRANSFER_INIT with TRANSFER_RESP, if it asks for one.

    The KMS resolves the ticket, unless that was done before: tickets without key forking that
    may be used again are remembered, and --ticket gives one. The update of a session needs
    nothing but SESSION. Of several messages, such as the JSON Lines of `conference rekey`, it
    takes the one for SESSION.
    """
    data = offered_message(message, index, is_wanted=partial(is_for_session, session_path)).message
    check_output(output)
    if as_json and output is not None:
        raise UsageError('--json has the answer in it, under "message"; -o is for the answer alone')
    env = environment(fmt.protocols)
    stage = not_staged if as_json else staging(fmt, output)
    brought: Any = {"overlap": overlap, "lines": media_lines(fmt.place), "starts": False}

    def callee() -> Callee:
        if local is None:
            raise UsageError("say who answers with --as URI")
        resolve, caches = _resolver(env, local, kms_where, kms_id, ticket_path, tpk, credentials)
        named = [Identity.from_text(app) for app in apps]
        return Callee(
            local, resolve, accept_suites(suites), accept_from, named, caches, send_errors
        )

    try:
        answer, session = answer_message(
            env,
            data,
            session_path,
            callee=callee,
            call_media=media_for_call(cs, suites, kemac, **brought),
            update_policy=accept_suites(suites),
            update_media=media_for_session(cs, suites, kemac, **brought),
            sends_errors=send_errors,
            force=force,
            stage=stage,
        )
    except Refused as refusal:
        print_refusal(refusal, fmt, output, as_json=as_json)
        raise
    if as_json:
        content = describe_session(session, now_ns(), show_keys=show_keys)
        text = None if answer is None else format_message(answer, "b64").decode().strip()
        print(json.dumps({**content, "message": text}))
    elif answer is not None:
        write_unstaged(answer, fmt, output)
    elif session.ended_ns is not None:
        say(f"{session.remote} has ended the session; its keys are gone from {session_path}")
    else:
        say("no answer is asked for; the session is set up")


def _resolver(
    env: Environment,
    local: Identity,
    kms_where: str | None,
    kms_id: Identity | None,
    ticket_path: Path | None,
    tpk: bytes | None,
    credentials: dict[str, Any],
) -> tuple[Resolve | None, bool]:
    """Choose how the ticket is resolved, and whether it need not be if it was before."""
    if ticket_path is not None:
        return resolvers.with_ticket_file(ticket_path, local), False
    if tpk is not None:
        return resolvers.with_tpk(env, tpk, local), False
    if kms_where is None:
        return None, True
    kms, shown = partial(kms_at, kms_where), partial(credentials_of, **credentials)
    return resolvers.with_kms(env, kms, shown, local, kms_id), True
