"""`conference`: the conference system of 3GPP TR 33.828 5.3.2. Commands are loaded when called."""

from __future__ import annotations

import click

from mikeytool.cli.command_groups import LazyGroup

_HERE = "mikeytool.cli.conference"


@click.group(
    cls=LazyGroup,
    lazy={
        "init": (f"{_HERE}.conferences", "Make the STATE of a conference system."),
        "create": (f"{_HERE}.calling", "Create a conference."),
        "call-in": (f"{_HERE}.calling", "Admit a caller, or answer a member's update of streams."),
        "call-out": (f"{_HERE}.calling", "Invite URI; prints TRANSFER_INIT with the group keys."),
        "answer": (f"{_HERE}.calling", "Take the TRANSFER_RESP to a call-out or an update."),
        "allow": (f"{_HERE}.members", "Add users or groups to the allowed set."),
        "deny": (f"{_HERE}.members", "Put users or groups out, and let them no longer in."),
        "remove": (f"{_HERE}.members", "Remove members, or one device."),
        "rekey": (f"{_HERE}.members", "Change the group keys."),
        "updates": (f"{_HERE}.members", "Print again the updates that were not answered."),
        "mixer": (f"{_HERE}.conferences", "Write the SESSION of a mixer, and print its streams."),
        "keys": (
            f"{_HERE}.conferences",
            "Show the floor keys of members, or give them to a server.",
        ),
        "show": (f"{_HERE}.conferences", "Show the conferences, their members and keys."),
        "may-create": (f"{_HERE}.conferences", "Set who may create conferences."),
        "end": (f"{_HERE}.conferences", "End a conference, and wipe its keys."),
    },
)
def conference() -> None:
    """Run a conference system: members, group keys, SSRCs.

    STATE is one file with all its conferences. It holds keys.
    """
