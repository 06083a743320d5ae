"""`transfer recover`: the session of a captured exchange."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.command_groups import Command
from mikeytool.cli.message_io import one_message
from mikeytool.cli.options.clock import now_ns
from mikeytool.cli.options.common import json_option, quiet_option, say, show_keys_option
from mikeytool.cli.options.negotiation import session_option
from mikeytool.cli.options.opening import key_ring, key_ring_options
from mikeytool.cli.options.outputs import force_option
from mikeytool.client.session_files import KIND, SessionFile
from mikeytool.exchange.recover import recover_session
from mikeytool.media.session_description import describe_session
from mikeytool.storage.private_files import check_free
from mikeytool.wire.errors import UsageError


@click.command(cls=Command, short_help="The session of a captured exchange.")
@click.option(
    "--init", "init", required=True, metavar="MESSAGE", help="The captured TRANSFER_INIT."
)
@click.option("--resp", metavar="MESSAGE", help="The captured TRANSFER_RESP, if there is one.")
@click.option(
    "--with", "others", multiple=True, metavar="MESSAGE",
    help="A message of the exchange with the KMS, for --psk: REQUEST_INIT and REQUEST_RESP, or"
    " RESOLVE_INIT and RESOLVE_RESP.",
)  # fmt: skip
@key_ring_options
@session_option
@json_option
@show_keys_option
@force_option
@quiet_option
def recover(
    init: str,
    resp: str | None,
    others: tuple[str, ...],
    session_path: Path,
    as_json: bool,
    show_keys: bool,
    force: bool,
    **keys: Any,
) -> None:
    """Recover the session of a captured exchange with any key that opens it.

    Such keys are the ticket protection key, MPKi with MPKr, and the key of one of the two users
    with the KMS. The session is that of an observer: `srtp decrypt` opens the streams of both
    directions, and `srtp encrypt` does not take it.
    """
    ring = key_ring(**keys)
    if ring is None:
        raise UsageError("give a key: --keys FILE, --tpk, --psk, or --mpki with --mpkr")
    if [init, resp, *others].count("-") > 1:
        raise UsageError("only one message can come from standard input")
    first = one_message(init, what="--init")
    answer = None if resp is None else one_message(resp, what="--resp")
    captured = [one_message(one, what="--with") for one in others]
    check_free(session_path, force=force, kind=KIND)
    session = recover_session(first, answer, ring, captured)
    SessionFile(session=session).write(session_path, force=force)
    if as_json:
        print(json.dumps(describe_session(session, now_ns(), show_keys=show_keys)))
    else:
        say(f"{session_path}: session of {session.local} with {session.remote}")
