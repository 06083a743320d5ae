"""What the commands of `conference` share: the system, options, and updates as JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import click

from mikeytool.capture.text import Form, format_message
from mikeytool.cli.exit_codes import complain
from mikeytool.cli.options.clock import environment
from mikeytool.cli.options.common import PATH, say
from mikeytool.cli.options.types import IDENTITY
from mikeytool.conference.model import Update
from mikeytool.conference.system import ConferenceSystem
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.printable import number_of

state_argument = click.argument("state", type=PATH)
focus_option = click.option(
    "--focus", type=IDENTITY, metavar="URI", help="The conference; not needed if there is only one."
)
by_option = click.option(
    "--by", type=IDENTITY, metavar="URI",
    help="Who asks for it: refused unless that is the creator, or one whom --may-add named.",
)  # fmt: skip


def open_system(
    path: Path, form: Form | None = None, *, send_errors: bool = False
) -> AbstractContextManager[ConferenceSystem]:
    """Open the system of STATE; `form` is that of the message which it is to send."""
    protocols = () if form is None else form.protocols
    env = environment()
    return ConferenceSystem.open(path, env, send_errors=send_errors, protocols=protocols)


def note_updates(system: ConferenceSystem) -> None:
    """Say how many messages `conference updates` has for members."""
    behind, untold = system.count_waiting()
    if behind:
        say(f"{number_of(behind, 'update')} to be answered; conference updates prints them")
    if untold:
        sessions = number_of(untold, "session")
        say(f"{sessions} replaced; conference updates prints what tells the devices")


def warn_of(undone: MikeyError | None) -> None:
    """Say that a command did its own work, but not other work that was due."""
    if undone is not None:
        complain(
            f"that is done, but not what was due beside it: {undone}; the next command that"
            " reaches the KMS does it"
        )


def print_updates(made: Iterable[Update]) -> None:
    """Print updates as JSON Lines."""
    for update in made:
        message = format_message(update.message, "b64").decode().strip()
        print(json.dumps({"to": str(update.to), "message": message}))
