"""`conference allow`, `deny`, `remove`, `rekey` and `updates`: who takes part, and their keys."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from mikeytool.cli.command_groups import Command
from mikeytool.cli.conference.shared import (
    by_option,
    focus_option,
    note_updates,
    open_system,
    print_updates,
    state_argument,
    warn_of,
)
from mikeytool.cli.options.common import quiet_option, say, schema_option
from mikeytool.cli.options.types import DURATION, IDENTITY
from mikeytool.client.key_text import parse_number
from mikeytool.conference import membership
from mikeytool.conference.model import DEFAULT_OVERLAP
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity

people_argument = click.argument(
    "identities", type=IDENTITY, nargs=-1, required=True, metavar="URI..."
)


@click.command(cls=Command)
@state_argument
@people_argument
@focus_option
@by_option
@quiet_option
def allow(
    state: Path, identities: tuple[Identity, ...], focus: Identity | None, by: Identity | None
) -> None:
    """Add users or groups to the allowed set."""
    with open_system(state) as system:
        tidied = membership.allow(system, focus, identities, by)
        say(f"{' and '.join(map(str, identities))} may take part")
        print_updates(tidied.updates)
        warn_of(tidied.undone)


@click.command(cls=Command)
@state_argument
@people_argument
@focus_option
@quiet_option
def deny(state: Path, identities: tuple[Identity, ...], focus: Identity | None) -> None:
    """Put users or groups out, and let them no longer in.

    Prints the updates for the members that stay, as JSON Lines. The others are out even when
    the KMS, which makes the new keys, cannot be reached; the next command that reaches it
    changes the keys.
    """
    _dismiss(state, identities, focus, deny=True)


@click.command(cls=Command)
@state_argument
@click.argument("identities", type=IDENTITY, nargs=-1, metavar="[URI]...")
@click.option("--seat", metavar="CSB_ID", help="Remove only this seat of a user, as show lists it.")
@focus_option
@quiet_option
def remove(
    state: Path, identities: tuple[Identity, ...], seat: str | None, focus: Identity | None
) -> None:
    """Remove members, or one device.

    They have left, or are to leave, and may come back. With --seat only one device is removed; its
    user need not be named. Prints the updates for the
    members that stay, as JSON Lines.
    """
    if seat is None and not identities:
        raise UsageError("say who is removed: URI..., or --seat CSB_ID for one device")
    if seat is not None and len(identities) > 1:
        raise UsageError("--seat is one device of one user; name that user, or none")
    csb_id = None if seat is None else parse_number(seat, "--seat", 32)
    _dismiss(state, identities, focus, deny=False, seat=csb_id)


def _dismiss(
    state: Path,
    identities: Sequence[Identity],
    focus: Identity | None,
    *,
    deny: bool,
    seat: int | None = None,
) -> None:
    with open_system(state) as system:
        if seat is None:
            made = membership.dismiss(system, focus, identities, deny=deny, tell=say)
        else:
            made = membership.dismiss_seat(system, focus, seat, *identities)
        print_updates(made)
        if not made:
            note_updates(system)  # another command may have been faster


@click.command(cls=Command)
@state_argument
@focus_option
@click.option(
    "--overlap", type=DURATION, metavar="D", default=f"{DEFAULT_OVERLAP}s", show_default=True,
    help="Accept the old keys this long.",
)  # fmt: skip
@quiet_option
def rekey(state: Path, focus: Identity | None, overlap: int) -> None:
    """Change the group keys. Prints the updates for the members, as JSON Lines."""
    with open_system(state) as system:
        made = membership.change_keys(system, focus, overlap)
        print_updates(made)
        if not made:
            say("the keys have changed; no member is in to be told")


@click.command(cls=Command)
@state_argument
@focus_option
@schema_option("what it prints")
@quiet_option
def updates(state: Path, focus: Identity | None) -> None:
    """Print again the updates that were not answered. They are JSON Lines."""
    with open_system(state) as system:
        made = membership.unanswered(system, focus)
        print_updates(made)
        if not made:
            say("no member has an update to answer")
