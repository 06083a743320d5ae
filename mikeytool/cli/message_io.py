"""Messages in and out: arguments, files, standard streams, in any encoding."""

from __future__ import annotations

import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from mikeytool.capture.one_message import choose, choose_offered
from mikeytool.capture.other_kinds import HEAD, refuse_other_kind
from mikeytool.cli.exit_codes import give_out
from mikeytool.cli.options.common import PATH, C, options, say
from mikeytool.cli.options.outputs import OUTPUT, check_output, is_forced
from mikeytool.wire.errors import StateError, UsageError, WireError

if TYPE_CHECKING:
    from mikeytool.capture.strict_text import FoundMessage
    from mikeytool.capture.text import Form, Format
    from mikeytool.storage.private_files import Stage

_SHORTEST = 10
"""Octets of a header with an Empty map, the least that a message has."""


def read_input(argument: str | None) -> bytes:
    """Read the octets that an argument means: standard input (none or `-`), a file, or itself."""
    with open_input(argument) as source:
        try:
            return source.read()
        except OSError as error:
            raise StateError(f"{argument}: {error.strerror}") from None


def open_input(argument: str | None) -> BufferedReader:
    """Open what `read_input` reads, to be read piece by piece; the caller closes it."""
    if argument is None or argument == "-":
        if sys.stdin is None:
            raise WireError("standard input is closed; give the message as an argument")
        if sys.stdin.isatty():
            say("reading from the terminal; end with Ctrl-D")
        descriptor = sys.stdin.fileno()
        if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            return open(descriptor, "rb", closefd=False)
        from mikeytool.capture.live_input import LiveInput

        return BufferedReader(LiveInput(descriptor, give_out))
    if not argument:
        return BufferedReader(BytesIO())
    path = Path(argument)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*://\S+$", argument) and not exists(path):
        raise WireError(f"{argument}: this is a URL, which is not fetched; save it to a file first")
    if not exists(path):
        return BufferedReader(BytesIO(os.fsencode(argument)))
    if path.is_dir():
        raise WireError(f"{argument}: this is a folder, not a file")
    try:
        return path.open("rb")
    except OSError as error:
        raise StateError(f"{argument}: {error.strerror}") from None


def exists(path: Path) -> bool:
    """Tell whether a path exists; text that cannot be a path does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def stream_of(
    source: BufferedReader, argument: str | None, *, lines: bool = False, early: bool = False
) -> Iterator[FoundMessage | WireError]:
    """Read the messages of an open input as `stream_messages` does."""
    refuse_other_kind(source.peek(HEAD))
    from mikeytool.capture.text_input import stream_messages  # captures come without text

    found = stream_messages(source, lines=lines, early=early)
    if argument and _looks_like_a_name(argument):
        several = list(found)
        found = iter([_or_no_file(several[0], argument)] if len(several) == 1 else several)
    return found


def _looks_like_a_name(argument: str) -> bool:
    return len(argument) < 64 and argument != "-" and not exists(Path(argument))


def _or_no_file(item: FoundMessage | WireError, argument: str) -> FoundMessage | WireError:
    """Add to the error for a short text that is no message that no such file exists."""
    text = str(item) if isinstance(item, WireError) else ""
    if not isinstance(item, WireError) and len(item.message) < _SHORTEST:
        text = "this is too short"
    return WireError(f"there is no file {argument!r}; as a message: {text}") if text else item


def one_message(argument: str | None, index: int | None = None, *, what: str = "MESSAGE") -> bytes:
    """Read the one message that a command takes; raises WireError or UsageError."""
    with open_input(argument) as source:
        return message_in(source, argument, index, what=what)


def message_in(
    source: BufferedReader, argument: str | None, index: int | None, *, what: str = "MESSAGE"
) -> bytes:
    """Read the one message of an open input; raises WireError or UsageError."""
    return choose(list(_named_stream(source, argument)), index, what=what).message


def _named_stream(
    source: BufferedReader, argument: str | None
) -> Iterator[FoundMessage | WireError]:
    """Read messages; the error for a file of another kind names it, as a command reads several."""
    try:
        return stream_of(source, argument)
    except WireError as error:
        is_file = argument and exists(Path(argument))
        raise WireError(f"{argument}: {error}" if is_file else str(error)) from None


def offered_message(
    argument: str | None,
    index: int | None = None,
    *,
    is_wanted: Callable[[bytes], bool] = lambda _message: False,
) -> FoundMessage:
    """Read the one message of an offer or answer, with its place; see `choose_offered`."""
    with open_input(argument) as source:
        return choose_offered(list(_named_stream(source, argument)), index, is_wanted)


message_argument = click.argument("message", required=False)
index_option = click.option("--index", type=int, help="Take the message with this number, from 1.")


message_options = options(
    click.option(
        "-f", "--format", "fmt", type=click.Choice(["b64", "hex", "raw", "sdp"]), default="b64",
        show_default=True, help="The encoding of the message.",
    ),
    click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write to FILE."),
)  # fmt: skip
"""`-f` and `-o`, for commands that print a message."""


def _with_form(command: C) -> C:
    """Give a command its `fmt`, with the place in a session description if there is one."""

    @wraps(command)
    def with_form(*, fmt: Format, sdp: Path | None, sdp_media: int, **options: Any) -> Any:
        place = None
        if sdp is not None:
            from mikeytool.capture.sdp_message import SdpPlace  # few messages go there

            if str(sdp) != "-" and not exists(sdp):
                raise StateError(f"--sdp {sdp}: there is no such file")
            place = SdpPlace.find(read_input(str(sdp)), sdp_media)
        elif sdp_media:
            raise UsageError("--sdp-media goes with --sdp FILE")
        from mikeytool.capture.text import Form

        return command(fmt=Form(fmt, place), **options)

    return cast(C, with_form)


sdp_message_options = options(
    message_options,
    click.option(
        "--sdp", type=PATH, metavar="FILE",
        help="Print this session description, an offer or answer, with the message in it.",
    ),
    click.option(
        "--sdp-media", type=click.IntRange(0), default=0, metavar="N",
        help="Put it into media section N, from 1; default: 0, the session level.",
    ),
    _with_form,
)  # fmt: skip
"""`message_options`, with which a message can be put into a session description."""


def write_message(message: bytes, fmt: Format | Form, output: str | None) -> None:
    """Print a message, or write it to a file."""
    from mikeytool.capture.text import format_message

    write_output(format_message(message, fmt), output)


def write_output(data: bytes, output: str | None) -> None:
    """Write octets to standard output, or to a file."""
    if output is None or output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    from mikeytool.storage.private_files import staged

    check_output(output)
    with staged(Path(output), data, replace=is_forced()):
        pass


def staging(fmt: Format | Form, output: str | None) -> Stage:
    """Make the stage of a message: it is on disk before a state file says that it was sent.

    It gets the name of `-o` after the state file is written. Standard output has no stage;
    `write_unstaged` prints the message there.
    """
    from mikeytool.capture.text import format_message
    from mikeytool.storage.private_files import not_staged, staged

    if output is None or output == "-":
        return not_staged
    path = Path(output)
    force = is_forced()
    return lambda message: staged(path, format_message(message, fmt), replace=force)


def write_unstaged(message: bytes, fmt: Format | Form, output: str | None) -> None:
    """Print a message that has no stage."""
    if output is None or output == "-":
        write_message(message, fmt, output)
