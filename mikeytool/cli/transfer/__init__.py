"""`transfer`: from a ticket to a session. Its commands are loaded when they are called for."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mikeytool.cli.command_groups import Command, LazyGroup
from mikeytool.cli.options.clock import now_ns
from mikeytool.cli.options.common import PATH, json_option, show_keys_option
from mikeytool.cli.render.table import print_table
from mikeytool.wire.json_field import with_length


@click.group(
    cls=LazyGroup,
    lazy={
        "init": ("mikeytool.cli.transfer.initiate", "Print TRANSFER_INIT for a ticket."),
        "respond": ("mikeytool.cli.transfer.respond", "Answer a TRANSFER_INIT or an update."),
        "finish": ("mikeytool.cli.transfer.initiate", "Take the answer to init or update."),
        "update": ("mikeytool.cli.transfer.initiate", "Update keys or crypto sessions."),
        "recover": ("mikeytool.cli.transfer.recover", "The session of a captured exchange."),
        "show": ("mikeytool.cli.transfer", "Show a session: parties, crypto sessions, keys."),
    },
)
def transfer() -> None:
    """Send a ticket to a responder and set up a session, the SESSION file."""


@click.command(cls=Command)
@click.argument("session_path", metavar="SESSION", type=PATH)
@json_option
@show_keys_option
def show(session_path: Path, as_json: bool, show_keys: bool) -> None:
    """Show a session: its parties, crypto sessions and keys."""
    from mikeytool.client.session_files import SessionFile
    from mikeytool.media.session_description import describe_session_file

    session_file = SessionFile.read(session_path)
    content = describe_session_file(session_file, now_ns(), show_keys=show_keys)
    if as_json:
        print(json.dumps(content))
        return
    names = ("csb_id", "role", "local", "remote", "remote_proof", "state", "ended", "rekey_by")
    known = [(name.replace("_", " "), content[name]) for name in names if content.get(name)]
    print_table([("", ""), *known])
    for one in content["crypto_sessions"]:
        print()
        rows = [
            (name.replace("_", " "), with_length(value))
            for name, value in one.items()
            if value is not None and name not in ("keys", "mki")
        ]
        print_table([("", ""), *rows, ("spi", one["mki"])])
        if len(one["keys"]) > 1:
            print("\nits keys, and those that they replaced:")
            heading = [name.replace("_", " ") for name in one["keys"][0]]
            print_table([heading, *(list(key.values()) for key in one["keys"])])
