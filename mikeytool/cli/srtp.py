"""`srtp`: packets in, packets out."""

from __future__ import annotations

import json
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from mikeytool.capture.packets import PacketLine, packet_lines
from mikeytool.cli.keys import KEY, KEY_HELP
from mikeytool.cli.main import complain, exit_code, worst
from mikeytool.cli.messages import check_kind, check_output, read_input, write_output
from mikeytool.cli.streams import (
    BareReceiver,
    BareSender,
    Keys,
    Protector,
    SessionReceiver,
    SessionSender,
    Stream,
    srtp_sessions,
    ssrc_of,
)
from mikeytool.cli.words import quiet_option, say
from mikeytool.client.sessions import SessionFile, locked_session, with_sent
from mikeytool.client.state import claim_stream, open_state
from mikeytool.srtp import (
    SUITES,
    Replayed,
)
from mikeytool.wire.errors import MikeyError, WireError

_PATH = click.Path(path_type=Path)


class _OptionalValue(click.Command):
    """A command whose `--mki` may stand alone: a value follows only behind `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--mki=" if arg == "--mki" else arg for arg in args])


@click.group()
def srtp() -> None:
    """Encrypt and decrypt SRTP and SRTCP packets, one a line in hex or base64."""


def _options(command: Any) -> Any:
    for option in reversed(
        (
            click.argument("source", metavar="[INPUT]", required=False),
            click.option(
                "--session",
                "sessions",
                type=_PATH,
                multiple=True,
                metavar="SESSION",
                help="Take keys, suites and SSRCs from a session file.",
            ),
            click.option(
                "--suite", "suite_name", metavar="NAME", help=f"With --key: {', '.join(SUITES)}."
            ),
            click.option(
                "--key",
                type=KEY,
                metavar="KEY",
                help=f"The master key, or key and salt in one: {KEY_HELP}.",
            ),
            click.option("--salt", type=KEY, metavar="KEY", help="The master salt."),
            click.option("--ssrc", "ssrcs", multiple=True, metavar="SSRC", help="Only these."),
            click.option("--any-ssrc", is_flag=True, help="Any SSRC, also with a session."),
            click.option(
                "--mki",
                metavar="[=HEX]",
                help="Write the SPI of the session's key as MKI; with --key, these octets.",
            ),
            click.option(
                "--roc",
                "rocs",
                multiple=True,
                metavar="SSRC=N",
                help="The rollover counter that an SSRC starts with.",
            ),
            click.option(
                "--on-error",
                type=click.Choice(["drop", "keep", "stop"]),
                default="drop",
                show_default=True,
                help="What becomes of a packet that fails.",
            ),
            click.option("--report", type=_PATH, metavar="FILE", help="Write the report as JSON."),
            click.option(
                "-o",
                "--output",
                type=click.Path(dir_okay=False),
                metavar="OUTPUT",
                help="Write to OUTPUT.",
            ),
            quiet_option,
        )
    ):
        command = option(command)
    return command


@dataclass
class _Row:
    """The report on one SSRC."""

    packets: int = 0
    done: int = 0
    failed: int = 0
    replayed: int = 0


@dataclass
class _Report:
    """What came of the packets, by SSRC; "?" where not even that could be read."""

    rows: dict[str, _Row] = field(default_factory=dict)
    codes: set[int] = field(default_factory=set)

    def add(self, packet: bytes, line: int, error: MikeyError | None) -> None:
        """Count one packet, and say why it failed."""
        row = self.rows.setdefault(_ssrc_text(packet), _Row())
        row.packets += 1
        if error is None:
            row.done += 1
            return
        if isinstance(error, Replayed):
            row.replayed += 1
        else:
            row.failed += 1
        self.codes.add(exit_code(error))
        complain(f"line {line}: {error}")

    def show(self, verb: str, path: Path | None) -> None:
        """Print the report for people, and write it for programs."""
        for ssrc, row in self.rows.items():
            counts = f"{row.packets} packets, {row.done} {verb}"
            for name in ("failed", "replayed"):
                if getattr(row, name):
                    counts += f", {getattr(row, name)} {name}"
            say(f"SSRC {ssrc}: {counts}")
        if path is not None:
            rows = [
                {
                    "ssrc": ssrc,
                    "packets": row.packets,
                    verb: row.done,
                    "failed": row.failed,
                    "replayed": row.replayed,
                }
                for ssrc, row in self.rows.items()
            ]
            path.write_text(json.dumps({"streams": rows}) + "\n")


def _ssrc_text(packet: bytes) -> str:
    try:
        return f"{ssrc_of(packet):#010x}"
    except MikeyError:
        return "?"


@srtp.command(cls=_OptionalValue)
@_options
def encrypt(
    source: str | None, on_error: str, report: Path | None, output: str | None, **options: Any
) -> int:
    """Encrypt packets. A session remembers what it has sent and never goes back."""
    keys = Keys(**options)
    keys.check()
    data = read_input(source)
    check_kind(data)
    check_output(output)
    with ExitStack() as stack:
        files = [(path, stack.enter_context(locked_session(path))) for path in keys.sessions]
        if files:
            streams = [
                Stream(path, content, one)
                for path, content in files
                for one in srtp_sessions(content.established)
                if content.established.is_local(one)
            ]
            protector: Protector = SessionSender(streams, keys)
        else:
            say(
                "note: with a bare key nothing remembers which packets were sent; never"
                " encrypt two streams of one SSRC with it"
            )
            protector = BareSender(keys)
        out, result = _run(protector, data, on_error)
        # Written before any packet leaves, so that no index is ever used twice.
        for path, content in files:
            sent = protector.sent(path)
            _claim_new(path, content, sent, protector)
            with_sent(content, sent).write(path, force=True)
    write_output(out, output)
    result.show("encrypted", report)
    return worst(result.codes)


@srtp.command(cls=_OptionalValue)
@_options
@click.option(
    "--window",
    type=click.IntRange(64, 32768),
    default=64,
    show_default=True,
    help="Size of the replay window.",
)
def decrypt(
    source: str | None,
    on_error: str,
    report: Path | None,
    output: str | None,
    window: int,
    **options: Any,
) -> int:
    """Verify and decrypt packets."""
    keys = Keys(**options)
    keys.check()
    data = read_input(source)
    check_kind(data)
    protector = SessionReceiver(keys, window) if keys.sessions else BareReceiver(keys, window)
    out, result = _run(protector, data, on_error)
    write_output(out, output)
    result.show("decrypted", report)
    return worst(result.codes)


def _claim_new(
    path: Path, content: SessionFile, sent: dict[str, list[int]], protector: Protector
) -> None:
    """Claim SSRCs beyond the session's own, so that no other session sends them as well."""
    for stream in protector.streams(path):
        for name in sent:
            ssrc = int(name.rpartition(" ")[2], 16)
            if name not in content.sent and name == stream.name(ssrc) and ssrc != stream.ssrc:
                master = stream.master()
                with closing(open_state()) as state, state.transaction() as db:
                    claim_stream(db, master.key, master.salt, ssrc)


def _run(protector: Protector, data: bytes, on_error: str) -> tuple[bytes, _Report]:
    """Send every packet through; gives the lines to print and the report."""
    result = _Report()
    out = []
    items = list(packet_lines(data))
    if not items:
        raise WireError("there is no packet in the input; the command before it may have failed")
    for item in items:
        if isinstance(item, WireError):
            result.codes.add(exit_code(item))
            complain(str(item))
        else:
            done, error = _through(protector, item)
            result.add(item.packet, item.line, error)
            if done is not None:
                out.append(item.like(done))
            elif on_error == "keep":
                out.append(item.like(item.packet))
            if error is None:
                continue
        if on_error == "stop":
            break
    return b"".join(out), result


def _through(protector: Protector, item: PacketLine) -> tuple[bytes | None, MikeyError | None]:
    try:
        return protector.process(item.packet), None
    except MikeyError as error:
        return None, error
