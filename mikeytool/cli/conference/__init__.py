"""`conference`: the conference system of 3GPP TR 33.828 5.3.2, with all its conferences."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import click

from mikeytool.capture.text import Form, Format, format_message
from mikeytool.cli.command_groups import Group
from mikeytool.cli.exit_codes import complain, exit_code
from mikeytool.cli.message_io import (
    index_option,
    message_argument,
    offered_message,
    sdp_message_options,
    write_message,
    write_output,
)
from mikeytool.cli.options.clock import environment
from mikeytool.cli.options.common import (
    json_option,
    quiet_option,
    say,
    schema_option,
    show_keys_option,
)
from mikeytool.cli.options.keys import KEY, KEY_HELP, need_key
from mikeytool.cli.options.outputs import (
    OUTPUT,
    check_output,
    force_option,
    is_forced,
    output_force_option,
)
from mikeytool.cli.options.types import DURATION, IDENTITY, PATH
from mikeytool.cli.render.conference import print_conference
from mikeytool.cli.render.table import print_table
from mikeytool.client.key_text import parse_number
from mikeytool.client.kms_access import reach
from mikeytool.conference import calling_in, calling_out, ending_rows, member_rows, membership
from mikeytool.conference.database import ConferenceState
from mikeytool.conference.description import describe_conferences
from mikeytool.conference.mixer_session import set_up_mixer
from mikeytool.conference.model import (
    DEFAULT_OVERLAP,
    DEFAULT_TIMEOUT,
    Purpose,
    Settings,
    Topology,
    Update,
)
from mikeytool.conference.purpose_suites import parse_purposes
from mikeytool.conference.system import ConferenceSystem
from mikeytool.exchange.profile import check_key
from mikeytool.storage.private_files import write_private
from mikeytool.wire.errors import MikeyError, Refused, UsageError
from mikeytool.wire.identity import Identity

state_argument = click.argument("state", type=PATH)
people_argument = click.argument(
    "identities", type=IDENTITY, nargs=-1, required=True, metavar="URI..."
)
focus_option = click.option(
    "--focus", type=IDENTITY, metavar="URI", help="The conference; not needed if there is only one."
)
by_option = click.option(
    "--by", type=IDENTITY, metavar="URI",
    help="Who asks for it: refused unless that is the creator, or one whom --may-add named.",
)  # fmt: skip
send_errors_option = click.option(
    "--send-errors",
    is_flag=True,
    help="Print an Error message also for callers that are not authenticated.",
)


@click.group(cls=Group)
def conference() -> None:
    """Run a conference system: members, group keys, SSRCs.

    STATE is one file with all its conferences. It holds keys.
    """


@conference.command()
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
    where = kms if "://" in kms else str(Path(kms).resolve())
    try:
        where.encode()
    except UnicodeEncodeError:
        raise UsageError(
            f"--kms {where!a}: this is no UTF-8, and STATE has room for no other"
        ) from None
    key = need_key(psk, "the conference system's pre-shared key")
    check_key(key, "pre-shared key")
    system = Settings(identity, key, where, kms_id or _identity_of(where), may_create)
    ConferenceState.init(state, system, force=force).close()
    say(f"{state}: conference system {identity} with the KMS {system.kms_id}")


def _identity_of(where: str) -> Identity:
    with closing(reach(where)) as kms:
        return kms.identity


def _system(
    path: Path, form: Form | None = None, *, send_errors: bool = False
) -> AbstractContextManager[ConferenceSystem]:
    protocols = () if form is None else form.protocols
    env = environment()
    return ConferenceSystem.open(path, env, send_errors=send_errors, protocols=protocols)


@conference.command()
@state_argument
@message_argument
@index_option
@click.option(
    "--focus", type=IDENTITY, required=True, metavar="URI", help="Address of the new conference."
)
@click.option(
    "--purpose", "purposes", multiple=True, default=["audio"], metavar="NAME[=SUITE]",
    help="audio (the default), video, floor, events, in the order of the media lines: make keys for"
    " these. Repeatable, or with commas between.",
)  # fmt: skip
@click.option(
    "--suite", "suite_name", metavar="NAME", help="SRTP suite of the purposes that name none."
)
@click.option(
    "--topology", type=click.Choice([one.value for one in Topology]), default="relay",
    show_default=True,
    help="What members receive: the others' streams, a mixer's stream, or one made for each"
    " (without their own voice), and nothing else.",
)  # fmt: skip
@click.option(
    "--may-add", multiple=True, metavar="PATTERN",
    help="Besides the creator, users of this pattern may add and invite people.",
)  # fmt: skip
@send_errors_option
@sdp_message_options
@output_force_option
@quiet_option
def create(
    state: Path,
    message: str | None,
    index: int | None,
    focus: Identity,
    purposes: tuple[str, ...],
    suite_name: str | None,
    topology: str,
    may_add: tuple[str, ...],
    send_errors: bool,
    fmt: Form,
    output: str | None,
) -> int:
    """Create a conference. The creator's TRANSFER_INIT comes in, TRANSFER_RESP goes out."""
    lines, suites = parse_purposes(purposes, suite_name)
    data = offered_message(message, index)
    check_output(output)
    with (
        _system(state, fmt, send_errors=send_errors) as system,
        _answering(fmt, output) as answers,
    ):
        answers.append(
            calling_in.create(system, data, focus, lines, suites, Topology(topology), may_add)
        )
        say(f"{focus}: a conference for {', '.join(lines)}")
    return answers.code


@conference.command("call-in")
@state_argument
@message_argument
@index_option
@send_errors_option
@sdp_message_options
@output_force_option
@quiet_option
def call_in(
    state: Path,
    message: str | None,
    index: int | None,
    send_errors: bool,
    fmt: Form,
    output: str | None,
) -> int:
    """Admit a caller, or answer a member's update of streams.

    TRANSFER_INIT comes in, TRANSFER_RESP with the group keys goes out.
    """
    data = offered_message(message, index)
    check_output(output)
    with (
        _system(state, fmt, send_errors=send_errors) as system,
        _answering(fmt, output) as answers,
    ):
        answers.append(calling_in.call_in(system, data))
        _note_updates(system)
    return answers.code


class _Answers(list[bytes]):
    """The messages to print in the end, and the exit code."""

    code = 0


@contextmanager
def _answering(fmt: Format | Form, output: str | None) -> Iterator[_Answers]:
    """Print an answer, or for a refusal the Error message that goes with it."""
    answers = _Answers()
    try:
        yield answers
    except Refused as refusal:
        if refusal.answer is None:
            raise
        answers.append(refusal.answer)
        answers.code = exit_code(refusal)
        complain(str(refusal))
    for answer in answers:
        write_message(answer, fmt, output)


def _note_updates(system: ConferenceSystem) -> None:
    with system.state.snapshot() as db:
        waiting, ended = member_rows.count_behind(db), ending_rows.count_untold(db)
    if waiting:
        say(f"{waiting} members have an update to answer; conference updates prints them")
    if ended:
        say(f"{ended} sessions were replaced; conference updates prints what tells their devices")


@conference.command("call-out")
@state_argument
@click.argument("identity", type=IDENTITY, metavar="URI")
@focus_option
@by_option
@click.option(
    "--timeout", type=DURATION, metavar="D", default=f"{DEFAULT_TIMEOUT}s", show_default=True,
    help="Wait this long for the answer.",
)  # fmt: skip
@sdp_message_options
@output_force_option
@quiet_option
def call_out(
    state: Path,
    identity: Identity,
    focus: Identity | None,
    by: Identity | None,
    timeout: int,
    fmt: Form,
    output: str | None,
) -> None:
    """Invite URI; prints TRANSFER_INIT with the group keys."""
    check_output(output)
    with _system(state, fmt) as system:
        message = calling_out.call_out(system, focus, identity, timeout, by)
        _note_updates(system)
    write_message(message, fmt, output)


@conference.command()
@state_argument
@message_argument
@index_option
@quiet_option
def answer(state: Path, message: str | None, index: int | None) -> int:
    """Take the TRANSFER_RESP to a call-out or an update.

    Prints the updates that follow from it as JSON Lines, and for an answer that is refused an
    Error message.
    """
    data = offered_message(message, index)
    with _system(state) as system, _answering("b64", None) as answers:
        answered = calling_out.answer(system, data)
        _print_updates(answered.updates)
        _warn(answered.undone)
        if answered.refusal is not None:
            complain(f"{answered.identity} does not come: {answered.refusal}")
            return exit_code(answered.refusal)
        say(f"{answered.identity} has answered")
    return answers.code


@conference.command()
@state_argument
@people_argument
@focus_option
@by_option
@quiet_option
def allow(
    state: Path, identities: tuple[Identity, ...], focus: Identity | None, by: Identity | None
) -> None:
    """Add users or groups to the allowed set."""
    with _system(state) as system:
        tidied = membership.allow(system, focus, identities, by)
        say(f"{' and '.join(map(str, identities))} may take part")
        _print_updates(tidied.updates)
        _warn(tidied.undone)


@conference.command()
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


@conference.command()
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
    with _system(state) as system:
        if seat is None:
            made = membership.dismiss(system, focus, identities, deny=deny, tell=say)
        else:
            made = membership.dismiss_seat(system, focus, seat, *identities)
        _print_updates(made)
        if not made:
            _note_updates(system)  # another command may have been faster


@conference.command()
@state_argument
@focus_option
@click.option(
    "--overlap", type=DURATION, metavar="D", default=f"{DEFAULT_OVERLAP}s", show_default=True,
    help="Accept the old keys this long.",
)  # fmt: skip
@quiet_option
def rekey(state: Path, focus: Identity | None, overlap: int) -> None:
    """Change the group keys. Prints the updates for the members, as JSON Lines."""
    with _system(state) as system:
        made = membership.change_keys(system, focus, overlap)
        _print_updates(made)
        if not made:
            say("the keys have changed; no member is in to be told")


@conference.command()
@state_argument
@focus_option
@schema_option("what it prints")
@quiet_option
def updates(state: Path, focus: Identity | None) -> None:
    """Print again the updates that were not answered. They are JSON Lines."""
    with _system(state) as system:
        made = membership.unanswered(system, focus)
        _print_updates(made)
        if not made:
            say("no member has an update to answer")


@conference.command()
@state_argument
@focus_option
@quiet_option
def end(state: Path, focus: Identity | None) -> None:
    """End a conference, and wipe its keys.

    Prints an update for each member, as JSON Lines, which ends their session. It needs no answer.
    """
    with _system(state) as system:
        _print_updates(membership.end(system, focus))
        say("the conference has ended; its keys are gone from STATE")


@conference.command("may-create")
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


def _warn(undone: MikeyError | None) -> None:
    """Say that a command did its own work, but not other work that was due."""
    if undone is not None:
        complain(
            f"that is done, but not what was due beside it: {undone}; the next command that"
            " reaches the KMS does it"
        )


def _print_updates(made: Iterable[Update]) -> None:
    for update in made:
        message = format_message(update.message, "b64").decode().strip()
        print(json.dumps({"to": str(update.to), "message": message}))


@conference.command()
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
    with _system(state) as system:
        made = set_up_mixer(system, focus, Purpose(purpose), path, force=force)
        _note_updates(system)
    if made.left_out:
        say(f"{path} has no room for {made.left_out} of the members' streams, and refuses them")
    sent = [(f"{one.ssrc:#010x}", one.receiver and str(one.receiver)) for one in made.streams]
    if as_json:
        print(json.dumps({"streams": [{"ssrc": ssrc, "to": to} for ssrc, to in sent]}))
        return
    print_table([("SSRC", "to"), *((ssrc, to or "everybody") for ssrc, to in sent)])


@conference.command()
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
    from mikeytool.conference.floor_keys import floor_keys
    from mikeytool.conference.floor_keys import psk_file as lines

    check_output(psk_file)
    with closing(ConferenceState(state)) as opened:
        found = floor_keys(opened, environment().clock(), focus)
    if psk_file is None:
        every = [(str(key.identity), key.psk_identity, key.state) for key in found]
        print_table([("member", "PSK identity", "state"), *every])
    elif psk_file == "-":
        write_output(lines(found), None)
    else:
        write_private(Path(psk_file), lines(found), force=is_forced())


@conference.command()
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
