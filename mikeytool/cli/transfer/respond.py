"""`transfer respond`: what whoever is called, or gets an update, does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mikeytool.capture.text import Format, format_message
from mikeytool.cli.message_io import (
    check_output,
    index_option,
    message_argument,
    message_options,
    one_message,
    staging,
    write_unstaged,
)
from mikeytool.cli.options.clock import environment, now_ns
from mikeytool.cli.options.common import (
    force_option,
    json_option,
    quiet_option,
    say,
    show_keys_option,
)
from mikeytool.cli.options.credentials import (
    credential_options,
    credentials_of,
    kms_at,
    kms_options,
)
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.cli.options.negotiation import (
    PATH,
    app_option,
    media_for_session,
    media_of,
    media_options,
    session_option,
)
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.transfer.initiate import tell
from mikeytool.client.respond import Callee, Resolve, respond_to_update
from mikeytool.client.respond import respond as respond_to_call
from mikeytool.client.ticket_files import read_ticket
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.error import error_message, error_message_on_refusal
from mikeytool.exchange.incoming import Incoming
from mikeytool.exchange.offline_tickets import resolve_alone
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.resolve import ResolvedTicket
from mikeytool.exchange.session import Session
from mikeytool.exchange.ticket import ticket_octets
from mikeytool.exchange.transfer import TransferInit, transfer_init_of
from mikeytool.media.session_description import describe_session
from mikeytool.media.suite_policies import accept_suites, default_suite, supported_policies
from mikeytool.storage.private_files import Stage, not_staged
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import is_update
from mikeytool.wire.registry import DataType


@click.command(short_help="Answer a TRANSFER_INIT or an update.")
@message_argument
@session_option
@click.option(
    "--as",
    "local",
    type=IDENTITY,
    metavar="URI",
    envvar="MIKEYTOOL_AS",
    show_envvar=True,
    help="Who answers.",
)
@credential_options
@kms_options
@click.option(
    "--ticket",
    "ticket_path",
    type=PATH,
    metavar="FILE",
    help="The ticket, resolved before with `ticket resolve`.",
)
@click.option(
    "--tpk",
    type=KEY,
    metavar="KEY",
    help=f"The key that protects the ticket, to resolve it without the KMS: {KEY_HELP}.",
)
@click.option(
    "--accept-from",
    multiple=True,
    metavar="PATTERN",
    help="Only calls from such URIs, as in sip:*@example.com.",
)
@click.option(
    "--send-errors",
    is_flag=True,
    help="Print an Error message, which has no MAC, also for callers that are not authenticated.",
)
@media_options
@app_option
@index_option
@json_option
@show_keys_option
@message_options
@force_option
@quiet_option
def respond(
    message: str | None,
    session_path: Path,
    index: int | None,
    as_json: bool,
    show_keys: bool,
    fmt: Format,
    output: str | None,
    **options: Any,
) -> None:
    """Answer a TRANSFER_INIT with TRANSFER_RESP, if it asks for one.

    The ticket is resolved by the KMS, unless it was before: tickets that may be used again
    are remembered, without key forking, and --ticket gives one. The update of a session
    needs nothing but SESSION.
    """
    data = one_message(message, index)
    check_output(output)
    if as_json and output is not None:
        raise UsageError('--json has the answer in it, under "message"; -o is for the answer alone')
    env = environment()
    stage = not_staged if as_json else staging(fmt, output)
    try:
        incoming = _read(env, data, send_errors=options["send_errors"])
        respond = _respond_to_update if is_update(incoming.message) else _respond_to_call
        answer, session = respond(env, incoming, session_path, stage, **options)
    except Refused as refusal:
        tell(refusal, fmt, output, as_json=as_json)
        raise
    if as_json:
        content = describe_session(session, now_ns(), show_keys=show_keys)
        text = None if answer is None else format_message(answer, "b64").decode().strip()
        print(json.dumps({**content, "message": text}))
    elif answer is not None:
        write_unstaged(answer, fmt, output)
    else:
        say("no answer is asked for; the session is set up")


def _read(env: Environment, data: bytes, *, send_errors: bool) -> Incoming:
    """Read a message; a refusal of one that is no Error message has one if `send_errors`."""
    try:
        return Incoming.read(data, DataType.TRANSFER_INIT)
    except Refused as refusal:
        header = Message.read(data).header
        if send_errors and header.data_type != DataType.ERROR:
            refusal.answer = error_message(env, header, refusal.error_no, None)
        raise


def _respond_to_update(
    env: Environment,
    incoming: Incoming,
    session_path: Path,
    stage: Stage,
    *,
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    **_: Any,
) -> tuple[bytes | None, Session]:
    return respond_to_update(
        env,
        incoming,
        session_path,
        accept_policy=accept_suites(suites),
        media=media_for_session(cs, suites, kemac),
        stage=stage,
    )


def _respond_to_call(
    env: Environment,
    incoming: Incoming,
    session_path: Path,
    stage: Stage,
    *,
    local: Identity | None,
    accept_from: Sequence[str],
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    apps: Sequence[str],
    send_errors: bool,
    force: bool,
    **options: Any,
) -> tuple[bytes | None, Session]:
    if local is None:
        raise UsageError("say who answers with --as URI")
    resolve, caches = _resolver(env, local, **options)
    callee = Callee(
        local,
        resolve,
        accept_suites(suites),
        accept_from,
        [Identity.from_text(app) for app in apps],
        caches,
        send_errors,
    )
    with error_message_on_refusal(env, incoming, None, ()) if send_errors else nullcontext():
        init = transfer_init_of(incoming)
    default = default_suite(init.policy.prf)
    media = media_of(cs, suites, kemac, default=(), default_suite=default)
    media = replace(media, supported=supported_policies(suites, init.policy.prf))
    return respond_to_call(env, init, session_path, callee, media, force=force, stage=stage)


def _resolver(
    env: Environment,
    local: Identity,
    *,
    kms_where: str | None,
    kms_id: Identity | None,
    ticket_path: Path | None,
    tpk: bytes | None,
    **who: Any,
) -> tuple[Resolve | None, bool]:
    """How the ticket is resolved, and whether it need not be if it was before."""
    if ticket_path is not None:
        return _resolved_before(ticket_path, local), False
    if tpk is not None:
        return lambda init: resolve_alone(env, init.ticket, tpk, local), False
    if kms_where is None:
        return None, True
    return _asking_kms(env, kms_where, kms_id, local, who), True


def _asking_kms(
    env: Environment, where: str, kms_id: Identity | None, local: Identity, who: dict[str, Any]
) -> Resolve:
    def resolve(init: TransferInit) -> ResolvedTicket:
        credentials = credentials_of(**who)
        kms = kms_at(where)
        profile = profile_of(init.policy.prf)
        asked = credentials.resolve(env, profile, init.ticket, local, kms_id or kms.identity)
        return asked.resolved(env, kms.answer(env, asked.init.raw), init.policy)

    return resolve


def _resolved_before(path: Path, local: Identity) -> Resolve:
    ticket = read_ticket(path)
    if ticket.resolved_by is not None and ticket.resolved_by != local:
        raise Refused(f"{path}: {ticket.resolved_by} resolved this ticket, not {local}")

    def resolve(init: TransferInit) -> ResolvedTicket:
        if ticket.resolved_by is None:
            raise Refused(
                f"{path}: this ticket is for calling; give the one that `ticket resolve` saved"
            )
        if ticket_octets(ticket.ticket) != ticket_octets(init.ticket):
            raise Refused(f"{path}: the message has another ticket; resolve that one")
        if ticket.ticket.initiator_data != init.ticket.initiator_data and ticket.modifier:
            raise Refused(
                f"{path}: it was resolved for another TRANSFER_INIT; with key forking"
                " each takes a resolving of its own"
            )
        return ticket.resolved

    return resolve
