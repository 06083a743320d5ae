"""`conference create`, `call-in`, `call-out` and `answer`: messages of users."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from mikeytool.capture.text import Form, Format
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
from mikeytool.cli.exit_codes import complain, exit_code
from mikeytool.cli.message_io import (
    index_option,
    message_argument,
    offered_message,
    sdp_message_options,
    write_message,
)
from mikeytool.cli.options.common import quiet_option, say
from mikeytool.cli.options.outputs import check_output, output_force_option
from mikeytool.cli.options.types import DURATION, IDENTITY
from mikeytool.conference import calling_in, calling_out
from mikeytool.conference.model import DEFAULT_TIMEOUT, Topology
from mikeytool.conference.purpose_suites import parse_purposes
from mikeytool.media.media_lines import described_lines
from mikeytool.wire.errors import Refused
from mikeytool.wire.identity import Identity

send_errors_option = click.option(
    "--send-errors",
    is_flag=True,
    help="Print an Error message also for callers that are not authenticated.",
)


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


@click.command(cls=Command)
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
    data = offered_message(message, index).message
    check_output(output)
    with (
        open_system(state, fmt, send_errors=send_errors) as system,
        _answering(fmt, output) as answers,
    ):
        answers.append(
            calling_in.create(system, data, focus, lines, suites, Topology(topology), may_add)
        )
        say(f"{focus}: a conference for {', '.join(lines)}")
    return answers.code


@click.command("call-in", cls=Command)
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
    found = offered_message(message, index)
    carried = found.carried if fmt.place is None else fmt.place.carried
    check_output(output)
    with (
        open_system(state, fmt, send_errors=send_errors) as system,
        _answering(fmt, output) as answers,
    ):
        answers.append(calling_in.call_in(system, found.message, described_lines(carried)))
        note_updates(system)
    return answers.code


@click.command("call-out", cls=Command)
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
    with open_system(state, fmt) as system:
        lines = described_lines(None if fmt.place is None else fmt.place.carried)
        message = calling_out.call_out(system, focus, identity, timeout, by, lines)
        note_updates(system)
    write_message(message, fmt, output)


@click.command(cls=Command)
@state_argument
@message_argument
@index_option
@quiet_option
def answer(state: Path, message: str | None, index: int | None) -> int:
    """Take the TRANSFER_RESP to a call-out or an update.

    Prints the updates that follow from it as JSON Lines, and for an answer that is refused an
    Error message.
    """
    data = offered_message(message, index).message
    with open_system(state) as system, _answering("b64", None) as answers:
        answered = calling_out.answer(system, data)
        print_updates(answered.updates)
        warn_of(answered.undone)
        if answered.refusal is not None:
            complain(f"{answered.identity} does not come: {answered.refusal}")
            return exit_code(answered.refusal)
        say(f"{answered.identity} has answered")
    return answers.code
