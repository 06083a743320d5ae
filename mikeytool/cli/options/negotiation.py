"""The options that say what one end brings to a session: `--cs`, `--suite` and `--kemac`."""

from __future__ import annotations

import click

from mikeytool.cli.options.common import PATH, options
from mikeytool.cli.options.types import DURATION
from mikeytool.srtp.suites import SUITES

session_option = click.option(
    "--session", "session_path", type=PATH, required=True, metavar="SESSION",
    help="The session file.",
)  # fmt: skip
app_option = click.option(
    "--app", "apps", multiple=True, metavar="ID", help="The application that the session is for."
)
overlap_option = click.option(
    "--overlap", type=DURATION, metavar="D",
    help="Keys that updates replace stay valid this long, from T of the update.  [default: 10s]",
)  # fmt: skip
media_options = options(
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
"""The options for media, which both ends have."""
