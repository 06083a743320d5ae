"""`transfer`: from a ticket to a session."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from mikeytool.capture.text import Format, format_message
from mikeytool.cli.environment import environment
from mikeytool.cli.keys import KEY, KEY_HELP, need_key
from mikeytool.cli.media import CALL, accepts, media_of, session_json
from mikeytool.cli.messages import (
    check_output,
    index_option,
    message_argument,
    message_options,
    one_message,
    write_message,
)
from mikeytool.cli.table import print_table
from mikeytool.cli.values import IDENTITY
from mikeytool.cli.words import force_option, json_option, quiet_option, say, show_keys_option
from mikeytool.client import transfer as client
from mikeytool.client.kms import reach
from mikeytool.client.sessions import WAITING, SessionFile
from mikeytool.client.tickets import read_ticket, ticket_octets
from mikeytool.exchange.environment import Environment
from mikeytool.exchange.modes import resolve_alone
from mikeytool.exchange.profile import profile_of
from mikeytool.exchange.resolve import ResolvedTicket, accept_resolve_resp, resolve_init
from mikeytool.exchange.session import Session
from mikeytool.exchange.transfer import TransferInit, read_transfer_init
from mikeytool.exchange.update import is_update
from mikeytool.srtp import SUITES, Suite
from mikeytool.wire.errors import Refused, UsageError
from mikeytool.wire.identity import Identity

_PATH = click.Path(path_type=Path)
_PROFILE_SUITES = {128: "AES_CM_128_HMAC_SHA1_80", 256: "AES_256_CM_HMAC_SHA1_80"}


@click.group()
def transfer() -> None:
    """Send a ticket to a responder and set up a session, the SESSION file."""


session_option = click.option(
    "--session", "session_path", type=_PATH, required=True, metavar="SESSION",
    help="The session file.",
)  # fmt: skip


def media_options(command: Any) -> Any:
    """What both sides can say about media."""
    for option in reversed(
        (
            click.option(
                "--cs",
                multiple=True,
                metavar="SPEC",
                help="A crypto session, as in dir=send,ssrc=0x11111111: dir=send or dir=recv, and"
                " id, ssrc, prot (srtp or a number), roc with seq, spi, policy. A call has one of"
                " each direction unless it is told otherwise.",
            ),
            click.option(
                "--suite",
                "suites",
                multiple=True,
                metavar="NAME",
                help=f"An SRTP suite: {', '.join(SUITES)}.",
            ),
            click.option(
                "--kemac",
                multiple=True,
                metavar="SPEC",
                help="A key of one's own: TYPE[,key=KEY][,salt=KEY][,spi=HEX].",
            ),
        )
    ):
        command = option(command)
    return command


app_option = click.option(
    "--app", "apps", multiple=True, metavar="ID", help="The application that this is for."
)


def _default_suite(prf: int) -> Suite:
    """A suite as strong as the ticket's profile."""
    return SUITES[_PROFILE_SUITES[profile_of(prf).bits]]


@transfer.command()
@click.option(
    "--ticket",
    "ticket_path",
    type=_PATH,
    required=True,
    metavar="FILE",
    help="The ticket file; it is marked as used.",
)
@click.option(
    "--as",
    "local",
    type=IDENTITY,
    metavar="URI",
    envvar="MIKEYTOOL_AS",
    show_envvar=True,
    help="Who calls; default: who requested the ticket.",
)
@click.option("--to", "remote", type=IDENTITY, required=True, metavar="URI", help="Who is called.")
@session_option
@media_options
@app_option
@message_options
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
    apps: Sequence[str],
    fmt: Format,
    output: str | None,
    force: bool,
) -> None:
    """Print TRANSFER_INIT for a ticket."""
    check_output(output)
    policy = read_ticket(ticket_path).policy
    if remote not in policy.responders:
        say(f"note: {remote} is not among the responders of the ticket by name")
    default = _default_suite(policy.prf)
    calls = CALL if "F" in policy.flags.letters else CALL[:1]
    media = media_of(cs, suites, kemac, default=calls, default_suite=default)
    message = client.start(
        environment(),
        ticket_path,
        session_path,
        initiator=local,
        responder=remote,
        media=media,
        apps=[Identity.from_text(app) for app in apps],
        force=force,
    )
    write_message(message, fmt, output)


@transfer.command(short_help="Answer a TRANSFER_INIT or an update.")
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
@click.option(
    "--psk",
    type=KEY,
    metavar="KEY",
    envvar="MIKEYTOOL_PSK",
    show_envvar=True,
    help=f"Your key with the KMS: {KEY_HELP}.",
)
@click.option("--psk-id", metavar="TEXT", help="The name of that key, if it has one.")
@click.option(
    "--kms",
    "kms_where",
    metavar="STORE",
    envvar="MIKEYTOOL_KMS",
    show_envvar=True,
    help="A KMS store, for one person's tests: it holds every user's key.",
)
@click.option(
    "--kms-id",
    type=IDENTITY,
    metavar="ID",
    envvar="MIKEYTOOL_KMS_ID",
    show_envvar=True,
    help="The identity of the KMS.",
)
@click.option(
    "--ticket",
    "ticket_path",
    type=_PATH,
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

    The ticket is resolved by the KMS, or was before (--ticket). The update of a session needs
    nothing but SESSION.
    """
    data = one_message(message, index)
    check_output(output)
    if as_json and output is not None:
        raise UsageError('--json has the answer in it, under "message"; -o is for the answer alone')
    env = environment()
    try:
        if is_update(data):
            answer, session = _respond_to_update(env, data, session_path, **options)
        else:
            answer, session = _respond_to_call(env, data, session_path, **options)
    except Refused as refusal:
        if refusal.answer is not None and as_json:
            print(json.dumps({"error": str(refusal), "message": _base64(refusal.answer)}))
        elif refusal.answer is not None:
            write_message(refusal.answer, fmt, output)
        raise
    if as_json:
        content = session_json(session, show_keys=show_keys)
        print(json.dumps({**content, "message": None if answer is None else _base64(answer)}))
    elif answer is not None:
        write_message(answer, fmt, output)
    else:
        say("no answer is asked for; the session is set up")


def _respond_to_update(
    env: Environment,
    data: bytes,
    session_path: Path,
    *,
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    **_: Any,
) -> tuple[bytes | None, Session]:
    return client.respond_to_update(
        env,
        data,
        session_path,
        accept_policy=accepts(suites),
        media=_media_of_session(session_path, cs, suites, kemac),
    )


def _respond_to_call(
    env: Environment,
    data: bytes,
    session_path: Path,
    *,
    local: Identity | None,
    psk: bytes | None,
    psk_id: str | None,
    kms_where: str | None,
    kms_id: Identity | None,
    ticket_path: Path | None,
    tpk: bytes | None,
    accept_from: Sequence[str],
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    apps: Sequence[str],
    force: bool,
) -> tuple[bytes | None, Session]:
    if local is None:
        raise UsageError("say who answers with --as URI")
    if ticket_path is not None:
        resolve = _resolved_before(ticket_path, local)
    elif tpk is not None:
        resolve = _resolver_alone(env, tpk)
    elif kms_where is not None:
        key = need_key(psk, "--psk")
        resolve = _resolver(env, kms_where, kms_id, key, psk_id, local)
    else:
        raise UsageError("give --kms STORE with --psk KEY, --tpk KEY, or --ticket FILE")
    default = _default_suite(read_transfer_init(data).policy.prf)
    return client.respond(
        env,
        data,
        session_path,
        local=local,
        resolve=resolve,
        accept_policy=accepts(suites),
        accept_from=accept_from,
        apps=[Identity.from_text(app) for app in apps],
        media=media_of(cs, suites, kemac, default=(), default_suite=default),
        force=force,
    )


def _media_of_session(
    session_path: Path, cs: Sequence[str], suites: Sequence[str], kemac: Sequence[str]
) -> client.Media:
    """What the options say for an update; keys are as long as the session's own."""
    session = SessionFile.read(session_path).established
    default = _default_suite(session.policy.prf)
    media = media_of(cs, suites or [default.name], kemac, default=(), default_suite=None)
    if suites:
        taken = [c.policy.policy_no for c in session.crypto_sessions if c.policy is not None]
        first = max(taken, default=-1) + 1
        policies = [sp.copy(policy_no=first + at) for at, sp in enumerate(media.policies)]
        return replace(media, policies=policies)
    return replace(media, policies=())


@transfer.command(short_help="New keys or streams for a session.")
@session_option
@media_options
@message_options
@quiet_option
def update(
    session_path: Path,
    cs: Sequence[str],
    suites: Sequence[str],
    kemac: Sequence[str],
    fmt: Format,
    output: str | None,
) -> None:
    """Print an update of a session: new keys (--kemac), new or changed crypto sessions (--cs).

    The other end answers with `transfer respond`, and `transfer finish` takes the answer.
    """
    check_output(output)
    media = _media_of_session(session_path, cs, suites, kemac)
    write_message(client.update(environment(), session_path, media), fmt, output)


def _base64(message: bytes) -> str:
    return format_message(message, "b64").decode().strip()


def _resolved_before(path: Path, local: Identity) -> client.Resolve:
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


def _resolver_alone(env: Environment, tpk: bytes) -> client.Resolve:
    return lambda init: resolve_alone(env, init.ticket, tpk)


def _resolver(
    env: Environment,
    where: str,
    kms_id: Identity | None,
    psk: bytes,
    psk_id: str | None,
    local: Identity,
) -> client.Resolve:
    kms = reach(where)
    identity = kms_id or kms.identity

    def resolve(init: TransferInit) -> ResolvedTicket:
        request = resolve_init(
            env,
            profile_of(init.policy.prf),
            init.ticket,
            responder=local,
            kms=identity,
            psk=psk,
            psk_id=None if psk_id is None else Identity.key_name(psk_id),
        )
        return accept_resolve_resp(env, request, psk, kms.answer(env, request))

    return resolve


@transfer.command(short_help="Take the answer to init or update.")
@message_argument
@session_option
@click.option(
    "--suite",
    "suites",
    multiple=True,
    metavar="NAME",
    help="Of suites that were not offered, take only these.",
)
@click.option(
    "--save-as", type=_PATH, metavar="FILE", help="Write the session to FILE, not to SESSION."
)
@index_option
@json_option
@show_keys_option
@quiet_option
def finish(
    message: str | None,
    session_path: Path,
    suites: Sequence[str],
    save_as: Path | None,
    index: int | None,
    as_json: bool,
    show_keys: bool,
) -> None:
    """Take TRANSFER_RESP: the session of `transfer init` is set up.

    A call that was forked to several may get several answers; --save-as takes one more.
    """
    data = one_message(message, index)
    session = client.finish(environment(), data, session_path, accepts(suites), save_as)
    if as_json:
        print(json.dumps(session_json(session, show_keys=show_keys)))
    else:
        say(f"{save_as or session_path}: session with {session.remote} is set up")


@transfer.command()
@click.argument("session_path", metavar="SESSION", type=_PATH)
@json_option
@show_keys_option
def show(session_path: Path, as_json: bool, show_keys: bool) -> None:
    """Show a session: who, which crypto sessions, which keys."""
    content = _shown(SessionFile.read(session_path), show_keys=show_keys)
    if as_json:
        print(json.dumps(content))
        return
    names = ("csb_id", "role", "local", "remote", "state")
    print_table([("", ""), *((name.replace("_", " "), content[name]) for name in names)])
    for one in content["crypto_sessions"]:
        print()
        rows = [
            (name.replace("_", " "), str(value))
            for name, value in one.items()
            if value is not None and name not in ("keys", "mki")
        ]
        print_table([("", ""), *rows, ("spi", one["mki"])])


def _shown(session_file: SessionFile, *, show_keys: bool) -> dict[str, Any]:
    if session_file.waiting is None or session_file.session is not None:
        return session_json(session_file.established, show_keys=show_keys)
    init = read_transfer_init(session_file.waiting[0])
    return {
        "csb_id": f"{init.incoming.csb_id:#010x}",
        "role": "initiator",
        "local": str(init.initiator),
        "remote": str(init.responder),
        "state": WAITING,
        "crypto_sessions": [],
    }
