"""The options that say what one end brings to a session: `--cs`, `--suite` and `--kemac`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from mikeytool.srtp.suites import SUITES

C = TypeVar("C", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)


session_option = click.option(
    "--session", "session_path", type=PATH, required=True, metavar="SESSION",
    help="The session file.",
)  # fmt: skip
app_option = click.option(
    "--app", "apps", multiple=True, metavar="ID", help="The application that the session is for."
)


overlap_option = click.option(
    "--overlap", metavar="D", callback=lambda _context, _option, text: _duration(text),
    help="Keys that updates replace stay valid this long, from T of the update.  [default: 10s]",
)  # fmt: skip


def _duration(text: str | None) -> int | None:
    from mikeytool.client.time_text import parse_duration  # few commands are given one

    return None if text is None else parse_duration(text, "--overlap")


def media_options(command: C) -> C:
    """Add the options for media, which both ends have."""
    options = (
        click.option(
            "--cs", multiple=True, metavar="SPEC",
            help="A crypto session, as in dir=send,ssrc=0x11111111: dir=send or dir=recv, and id,"
            " ssrc, prot (srtp or a number), roc with seq, spi, policy. By default a call has one"
            " in each direction, or those of the media lines of --sdp. purpose=NAME in place of id"
            " and prot takes those of a media line: audio, video, floor, events, or as in --sdp.",
        ),
        click.option(
            "--suite", "suites", multiple=True, metavar="NAME",
            help=f"An SRTP suite: {', '.join(SUITES)}.",
        ),
        click.option(
            "--kemac", multiple=True, metavar="SPEC",
            help="A key to send in a KEMAC: TYPE[,key=KEY][,salt=KEY][,spi=HEX].",
        ),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command
