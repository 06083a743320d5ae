"""`conference init`, `show` and others: the system, its conferences and what serves them."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import click

from mikeytool.cli.command_groups import Command
from mikeytool.cli.conference.shared import (
    focus_option,
    note_updates,
    open_system,
    print_updates,
    state_argument,
)
from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.clock import environment
from mikeytool.cli.options.common import PATH, json_option, quiet_option, say, show_keys_option
from mikeytool.cli.options.keys import KEY, KEY_HELP, need_key
from mikeytool.cli.options.outputs import (
    OUTPUT,
    check_output,
    force_option,
    is_forced,
    output_force_option,
)
from mikeytool.cli.options.types import IDENTITY
from mikeytool.cli.render.conference import print_conference
from mikeytool.cli.render.table import print_table
from mikeytool.conference import membership
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.description import describe_conferences
from mikeytool.conference.mixer_session import set_up_mixer
from mikeytool.conference.model import Purpose
from mikeytool.conference.system import make_settings
from mikeytool.storage.private_files import write_private
from mikeytool.wire.errors import UsageError
from mikeytool.wire.identity import Identity


@click.command(cls=Command)
@state_argument
@click.option(
    "--as", "identity", type=IDENTITY, required=True, metavar="FACTORY", envvar="MIKEYTOOL_AS",
    help="URI of the conference factory, a user of the KMS that may act as every focus.",
)  # fmt: skip
@click.option(
    "--psk", type=KEY, metavar="KEY", envvar="MIKEYTOOL_PSK", help=f"Its key: {KEY_HELP}."
)
@click.option(
    "--kms", required=True, metavar="STORE|URL", envvar="MIKEYTOOL_KMS",
    help="The URL or the store of the KMS.",
)  # fmt: skip
@click.option(
    "--kms-id", type=IDENTITY, metavar="KMS_ID", envvar="MIKEYTOOL_KMS_ID",
    help="Identity of the KMS; default: what the store says, or the host name of the URL.",
)  # fmt: skip
@click.option(
    "--may-create", multiple=True, metavar="PATTERN",
    help="Only users of this pattern may create conferences, as in sip:*@example.com.",
)  # fmt: skip
@force_option
@quiet_option
def init(
    state: Path,
    identity: Identity,
    psk: bytes | None,
    kms: str,
    kms_id: Identity | None,
    may_create: tuple[str, ...],
    force: bool,
) -> None:
    """Make the STATE of a conference system."""
    key = need_key(psk, "the conference system's pre-shared key")
    settings = make_settings(identity, key, kms, kms_id, may_create)
    ConferenceState.init(state, settings, force=force).close()
    say(f"{state}: conference system {identity} with the KMS {settings.kms_id}")


@click.command("may-create", cls=Command)
@state_argument
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--anyone", is_flag=True, help="Everyone whom the KMS vouches for may.")
@quiet_option
def may_create(state: Path, patterns: tuple[str, ...], anyone: bool) -> None:
    """Set who may create conferences.

    Without PATTERN, as in sip:*@example.com, print who may.
    """
    if anyone and patterns:
        raise UsageError("--anyone says that everyone may create conferences; give it alone")
    with ConferenceState(state) as opened:
        if anyone or patterns:
            opened.put_may_create(patterns)
        print("\n".join(opened.settings().may_create) or "anyone")


@click.command(cls=Command)
@state_argument
@focus_option
@click.option(
    "--purpose", type=click.Choice([Purpose.AUDIO.value, Purpose.VIDEO.value]), required=True,
    help="Mix this.",
)  # fmt: skip
@click.option(
    "--session", "path", type=PATH, required=True, metavar="SESSION", help="The mixer's session."
)
@click.option(
    "--force", is_flag=True,
    help="The earlier session file is lost: change the group keys and make another.",
)  # fmt: skip
@json_option
@quiet_option
def mixer(
    state: Path, focus: Identity | None, purpose: str, path: Path, force: bool, as_json: bool
) -> None:
    """Write the SESSION of a mixer, and print its streams.

    It has the group key, receives the streams of members who are in, and sends with SSRCs of its
    own. If SESSION exists, it gets the streams and keys of now, and remembers what it has sent.
    """
    with open_system(state) as system:
        made = set_up_mixer(system, focus, Purpose(purpose), path, force=force)
        note_updates(system)
    if made.left_out:
        say(f"{path} has no room for {made.left_out} of the members' streams, and refuses them")
    sent = [(f"{one.ssrc:#010x}", one.receiver and str(one.receiver)) for one in made.streams]
    if as_json:
        print(json.dumps({"streams": [{"ssrc": ssrc, "to": to} for ssrc, to in sent]}))
        return
    print_table([("SSRC", "to"), *((ssrc, to or "everybody") for ssrc, to in sent)])


@click.command(cls=Command)
@state_argument
@focus_option
@click.option(
    "--purpose", type=click.Choice(["floor"]), required=True, expose_value=False,
    help="What the keys are for.",
)  # fmt: skip
@click.option(
    "--psk-file", type=OUTPUT, metavar="[FILE]", is_flag=False, flag_value="-",
    help="Print them, or write them to FILE: IDENTITY:KEY in hex, one a line.",
)  # fmt: skip
@output_force_option
@quiet_option
def keys(state: Path, focus: Identity | None, psk_file: str | None) -> None:
    """Show the floor keys of members, or give them to a server.

    Each member has a TLS pre-shared key of their own, whose PSK identity is its SPI in hex.
    """
    from mikeytool.conference.floor_control import floor_keys
    from mikeytool.conference.floor_control import psk_file as lines

    check_output(psk_file)
    with closing(ConferenceState(state)) as opened:
        found = floor_keys(opened, environment().clock(), focus)
    if not found:
        say("nobody is in who has a floor key")
    if psk_file is None:
        every = [(str(key.identity), key.psk_identity, key.state) for key in found]
        print_table([("member", "PSK identity", "state"), *every])
    elif psk_file == "-":
        write_output(lines(found), None)
    else:
        write_private(Path(psk_file), lines(found), force=is_forced())


@click.command(cls=Command)
@state_argument
@json_option
@show_keys_option
@quiet_option
def show(state: Path, as_json: bool, show_keys: bool) -> None:
    """Show the conferences, their members and keys."""
    now = environment().clock()
    with closing(ConferenceState(state)) as opened:
        shown = describe_conferences(opened, now, show_keys=show_keys)
    if as_json:
        print(json.dumps(shown[0] if len(shown) == 1 else shown))
        return
    for one in shown:
        print_conference(one)
    if not shown:
        say("there is no conference yet; see conference create")


@click.command(cls=Command)
@state_argument
@focus_option
@quiet_option
def end(state: Path, focus: Identity | None) -> None:
    """End a conference, and wipe its keys.

    Prints an update for each member, as JSON Lines, which ends their session. It needs no answer.
    """
    with open_system(state) as system:
        print_updates(membership.end(system, focus))
        say("the conference has ended; its keys are gone from STATE")
