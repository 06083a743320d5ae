"""`transfer`: from a ticket to a session. Its commands are loaded when they are called for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.command_groups import LazyGroup
from mikeytool.cli.options.common import json_option, show_keys_option
from mikeytool.cli.render.table import print_table


@click.group(
    cls=LazyGroup,
    lazy={
        "init": ("mikeytool.cli.transfer.initiate", "Print TRANSFER_INIT for a ticket."),
        "respond": ("mikeytool.cli.transfer.respond", "Answer a TRANSFER_INIT or an update."),
        "finish": ("mikeytool.cli.transfer.initiate", "Take the answer to init or update."),
        "update": ("mikeytool.cli.transfer.initiate", "New keys or streams for a session."),
        "recover": ("mikeytool.cli.transfer.recover", "The session of a captured exchange."),
        "show": ("mikeytool.cli.transfer", "Show a session: who, which streams, which keys."),
    },
)
def transfer() -> None:
    """Send a ticket to a responder and set up a session, the SESSION file."""


@click.command()
@click.argument("session_path", metavar="SESSION", type=click.Path(path_type=Path))
@json_option
@show_keys_option
def show(session_path: Path, as_json: bool, show_keys: bool) -> None:
    """Show a session: who, which crypto sessions, which keys."""
    from mikeytool.client.session_files import SessionFile

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


def _shown(session_file: Any, *, show_keys: bool) -> dict[str, Any]:
    from mikeytool.cli.options.media import session_json
    from mikeytool.client.session_files import WAITING
    from mikeytool.exchange.transfer import read_transfer_init

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
