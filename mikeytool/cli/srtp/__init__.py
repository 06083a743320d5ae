"""`srtp`: packets in, packets out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from mikeytool.cli.command_groups import Command, Group
from mikeytool.cli.exit_codes import EXIT_REFUSED, complain, exit_code, worst
from mikeytool.cli.message_io import write_output
from mikeytool.cli.options.common import (
    PATH,
    json_option,
    options,
    quiet_option,
    say,
    schema_option,
)
from mikeytool.cli.options.keys import KEY_HELP, MEDIA_KEY
from mikeytool.cli.options.outputs import (
    OUTPUT,
    OUTPUT_PATH,
    check_output,
    force_option,
    output_force_option,
)
from mikeytool.cli.srtp.key_options import key_ring, named_keys, receiver_keys
from mikeytool.cli.srtp.packet_input import open_input, progress_bar, target_of
from mikeytool.media.listener import Listener
from mikeytool.media.named_keys import HOW, HOW_TO_DECRYPT
from mikeytool.media.packet_files import NO_PACKETS, NoSignalledKeyError, PacketFile, Target
from mikeytool.media.report import Report
from mikeytool.media.whole_captures import Decryption, Encryption
from mikeytool.srtp.suites import LONGEST_TAG, SHORTEST_RTCP_TAG, SUITES
from mikeytool.wire.errors import UsageError, WireError


class _OptionalValue(Command):
    """A command whose `--mki` may have no value: one follows only after `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--mki=" if arg == "--mki" else arg for arg in args])


@click.group(cls=Group)
def srtp() -> None:
    """Encrypt and decrypt SRTP and SRTCP packets in captures, or one a line."""


def _note_jobs(_context: click.Context, _param: click.Parameter, jobs: int | None) -> None:
    if jobs is not None:
        say("note: --jobs has no effect: one process does the work")


_KEY_OPTIONS = (
    click.option(
        "--session", "sessions", type=PATH, multiple=True, metavar="SESSION",
        help="Take keys, suites and SSRCs from a session file.",
    ),
    click.option(
        "--suite", "suite_name", metavar="NAME",
        help=f"With --key: {', '.join(SUITES)}; the first is the default.",
    ),
    click.option(
        "--key", type=MEDIA_KEY, metavar="KEY",
        help="The master key, key and salt in one, or all that a DTLS exporter gives: "
        f"base64, {KEY_HELP}.",
    ),
    click.option("--salt", type=MEDIA_KEY, metavar="KEY", help="The master salt."),
    click.option(
        "--sdes", multiple=True, metavar="LINE", help="A line a=crypto…, or SUITE inline:…."
    ),
    click.option(
        "--mikey", multiple=True, metavar="MESSAGE",
        help="A MIKEY message with a key in the clear, or (decrypt only) one that --keys opens."
        " Give an initial message before its answer.",
    ),
)  # fmt: skip
_STREAM_OPTIONS = (
    click.option("--ssrc", "ssrcs", multiple=True, metavar="SSRC", help="Only of this SSRC."),
    click.option("--any-ssrc", is_flag=True, help="Any SSRC, also with a session."),
    click.option(
        "--port", "ports", type=click.IntRange(0, 65535), multiple=True, metavar="PORT",
        help="Only packets from or to this port.",
    ),
    click.option(
        "--flow", "flows", multiple=True, metavar="SRC:PORT>DST:PORT", help="Only this flow."
    ),
    click.option(
        "--mki", metavar="[=HEX]",
        help="Write the SPI of the session's key as MKI; with --key, these octets.",
    ),
    click.option(
        "--roc", "rocs", multiple=True, metavar="SSRC=N",
        help="The rollover counter that an SSRC starts with.",
    ),
    click.option(
        "--srtcp-tag", "rtcp_tag", type=int, metavar="N",
        help="Octets of the tags of SRTCP, if not those of the suite:"
        f" {SHORTEST_RTCP_TAG} to {LONGEST_TAG}.",
    ),
    click.option(
        "--plain-rtcp", is_flag=True, help="RTCP is in the clear beside SRTP, and stays as it is."
    ),
    click.option(
        "--on-error", type=click.Choice(["drop", "keep", "stop"]), default="drop",
        show_default=True, help="What becomes of a packet that fails.",
    ),
    schema_option("--report"),
    click.option("--report", "report_path", type=OUTPUT_PATH, metavar="FILE",
                 help="Write the report as JSON."),
    click.option("-o", "--output", "target", type=OUTPUT, metavar="OUTPUT",
                 help="Write to OUTPUT."),
    click.option("--jobs", type=click.IntRange(1, 64), hidden=True, expose_value=False,
                 callback=_note_jobs),
    quiet_option,
)  # fmt: skip


def _window(text: str) -> Any:
    return click.option(
        "--window", type=click.IntRange(64), metavar="N", help=f"{text}  [default: 64]"
    )


_source = click.argument("source", metavar="[INPUT]", required=False)


@srtp.command(cls=_OptionalValue)
@options(
    _source,
    *_KEY_OPTIONS,
    *_STREAM_OPTIONS,
    output_force_option,
    click.option(
        "--cryptex", is_flag=True, help="Encrypt CSRCs and header extensions too (RFC 9335)."
    ),
    _window("How far behind the newest a packet may come, if its index was not used."),
)
def encrypt(
    source: str | None,
    target: str | None,
    report_path: Path | None,
    **rest: Any,
) -> int:
    """Encrypt packets. A session remembers what it has sent and never goes back.

    INPUT is a capture (pcap, pcapng or rtpdump), packets in hex or base64, one a line, or - for
    standard input.
    """
    given = named_keys(**rest)
    if not given.name:
        raise UsageError(HOW)
    settings = given.settings()
    keys = given.keys()
    if len(keys) > 1 and not given.sessions:
        what = "one line" if given.sdes else "one key with its salt"
        raise UsageError(
            f"{given.name}: {what} says with which key to encrypt; give the sender's own"
        )
    encryption = Encryption(keys, settings, key_name=given.name)
    check_output(target)
    check_output(report_path)
    with open_input(source) as packets:
        if not given.sessions:
            say(
                "note: with a bare key nothing remembers which packets were sent; never"
                " encrypt two streams of one SSRC with it"
            )
        return _run(encryption.run, packets, source, target, report_path)


@srtp.command(cls=_OptionalValue)
@options(
    _source,
    *_KEY_OPTIONS,
    click.option(
        "--keys", "keytab", type=PATH, metavar="FILE",
        help="Keys that open the signalling in the capture, or the message of --mikey.",
    ),
    click.option("--conference", type=PATH, metavar="STATE",
                 help="Keys and SSRCs of the conferences of a conference system."),
    click.option("--signalling", type=PATH, metavar="SIP|SDP", help="Signalling in another file."),
    click.option("--split", type=PATH, metavar="DIR", help="A file per stream, WAV of G.711."),
    force_option,
    *_STREAM_OPTIONS,
    _window("Size of the replay window."),
)  # fmt: skip
def decrypt(
    source: str | None,
    target: str | None,
    report_path: Path | None,
    signalling: Path | None,
    split: Path | None,
    force: bool,
    **rest: Any,
) -> int:
    """Verify and decrypt packets.

    INPUT is a capture (pcap, pcapng or rtpdump), packets in hex or base64, one a line, or - for
    standard input. Without a key option, the keys in the signalling of the capture are used.
    """
    given = named_keys(**rest)
    keys = receiver_keys(given) if given.name else None
    work = Decryption(keys, given.settings(), key_ring=key_ring(given), signalling=signalling,
                      key_name=given.name)  # fmt: skip
    check_output(target)
    check_output(report_path)
    with open_input(source) as packets:
        if keys is None and not packets.is_capture:
            raise UsageError(HOW_TO_DECRYPT)
        run = partial(work.run, split=split, force=force)
        target = target or (os.devnull if split else None)
        return _run(run, packets, source, target, report_path)


@srtp.command()
@click.argument("capture", metavar="[CAPTURE]", required=False)
@click.option(
    "--conference", type=PATH, metavar="STATE", help="Name the members whose streams they are."
)
@json_option
@quiet_option
def info(capture: str | None, conference: Path | None, as_json: bool) -> int:
    """List the RTP and RTCP streams of a capture; no key is needed."""
    from mikeytool.cli.render.streams import show_streams
    from mikeytool.media.stream_list import streams_in

    with open_input(capture) as packets:
        found = streams_in(packets.capture)
    if conference is not None:
        from mikeytool.conference.relay import seat_names

        found.name_seats(seat_names(conference))
    if as_json:
        print(json.dumps(found.json()))
    else:
        show_streams(found)
    if found.fault is not None:
        raise found.fault
    if not found.streams and not found.others:
        raise WireError(NO_PACKETS)
    return 0


class _Printer(Listener):
    """Prints what happens on standard error, as it happens."""

    def __init__(self, progress: Callable[[int], None]) -> None:
        self._progress = progress

    def note(self, text: str) -> None:
        """Print a note, unless -q."""
        say(f"note: {text}")

    def failure(self, text: str) -> None:
        """Print why a packet failed."""
        complain(text)

    def progress(self, position: int) -> None:
        """Move the bar."""
        self._progress(position)


def _run(
    run: Callable[[PacketFile, Target, Listener], Report],
    packets: PacketFile,
    source: str | None,
    target: str | None,
    report_path: Path | None,
) -> int:
    """Send every packet through, and report; gives the exit code."""
    from mikeytool.cli.render.streams import show_report

    try:
        with progress_bar(packets, source) as progress:
            report = run(packets, target_of(target), _Printer(progress))
    except NoSignalledKeyError as error:
        raise UsageError(f"{error}; {HOW}") from None
    show_report(report)
    if report_path is not None:
        write_output(json.dumps(report.json()).encode() + b"\n", str(report_path))
    if report.fault is not None:
        raise report.fault
    if report.is_empty and not packets.is_capture:
        raise WireError(NO_PACKETS)
    if packets.is_capture:
        return EXIT_REFUSED if report.errors else 0
    return worst({exit_code(error) for error in report.errors})
