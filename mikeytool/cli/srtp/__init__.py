"""`srtp`: packets in, packets out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mikeytool.cli.command_groups import Group
from mikeytool.cli.exit_codes import worst
from mikeytool.cli.message_io import check_output
from mikeytool.cli.options.common import json_option, quiet_option, say
from mikeytool.cli.options.keys import KEY, KEY_HELP
from mikeytool.media.flows import FlowFilter
from mikeytool.media.handlers import (
    HOW,
    Handler,
    Keys,
    bare_receiver,
    bare_sender,
    sdes_receivers,
    sdes_sender,
)
from mikeytool.media.packet_files import Input, output
from mikeytool.media.report import Report
from mikeytool.media.rewriter import Traffic
from mikeytool.srtp import SUITES
from mikeytool.wire.errors import UsageError, WireError

if TYPE_CHECKING:
    from mikeytool.media.session_keys import SessionSenders

_PATH = click.Path(path_type=Path)
_WRITE_SIZE = 1 << 21
"""Octets that are written at once."""


class _OptionalValue(click.Command):
    """A command whose `--mki` may stand alone: a value follows only behind `=`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--mki=" if arg == "--mki" else arg for arg in args])


@click.group(cls=Group)
def srtp() -> None:
    """Encrypt and decrypt SRTP and SRTCP packets in captures, or one a line."""


def _note_jobs(jobs: int | None) -> None:
    """Tell scripts from the time of several processes that there is one."""
    if jobs is not None:
        say("note: --jobs has no effect: one process does the work")


_KEY_OPTIONS = (
    click.option(
        "--session", "sessions", type=_PATH, multiple=True, metavar="SESSION",
        help="Take keys, suites and SSRCs from a session file.",
    ),
    click.option("--suite", "suite_name", metavar="NAME", help=f"With --key: {', '.join(SUITES)}."),
    click.option(
        "--key", type=KEY, metavar="KEY",
        help=f"The master key, or key and salt in one: {KEY_HELP}.",
    ),
    click.option("--salt", type=KEY, metavar="KEY", help="The master salt."),
    click.option(
        "--sdes", multiple=True, metavar="LINE", help="A line a=crypto…, or SUITE inline:…."
    ),
    click.option("--mikey", metavar="MESSAGE", help="A MIKEY message with a key in the clear."),
)  # fmt: skip
_STREAM_OPTIONS = (
    click.option("--ssrc", "ssrcs", multiple=True, metavar="SSRC", help="Only these."),
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
        "--on-error", type=click.Choice(["drop", "keep", "stop"]), default="drop",
        show_default=True, help="What becomes of a packet that fails.",
    ),
    click.option("--report", "report_path", type=_PATH, metavar="FILE",
                 help="Write the report as JSON."),
    click.option("-o", "--output", "target", type=click.Path(dir_okay=False), metavar="OUTPUT",
                 help="Write to OUTPUT."),
    click.option("--jobs", type=click.IntRange(1, 64), hidden=True),
    quiet_option,
)  # fmt: skip


def _options(*options: Any) -> Callable[[Any], Any]:
    def add(command: Any) -> Any:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def _window(text: str) -> Any:
    return click.option(
        "--window", type=click.IntRange(64), metavar="N", help=f"{text}  [default: 64]"
    )


_source = click.argument("source", metavar="[INPUT]", required=False)


@srtp.command(cls=_OptionalValue)
@_options(
    _source,
    *_KEY_OPTIONS,
    *_STREAM_OPTIONS,
    _window("How far behind the newest a packet may come, if its index was not used."),
)
def encrypt(
    source: str | None,
    on_error: str,
    report_path: Path | None,
    target: str | None,
    ports: Sequence[int],
    flows: Sequence[str],
    jobs: int | None,
    **options: Any,
) -> int:
    """Encrypt packets. A session remembers what it has sent and never goes back."""
    _note_jobs(jobs)
    keys = Keys(**options)
    keys.check()
    if not keys.given:
        raise UsageError(HOW)
    chosen = FlowFilter.of(ports, flows)
    handlers = [] if keys.sessions else [_sender(keys)]
    check_output(target)
    packets = Input(source)
    report = Report("encrypted", "packet" if packets.is_capture else "line")
    with ExitStack() as stack:
        save: Callable[[], None] = _nothing
        if keys.sessions:
            from mikeytool.client.session_files import locked_session
            from mikeytool.media.session_keys import SessionSenders

            files = [(path, stack.enter_context(locked_session(path))) for path in keys.sessions]
            senders = SessionSenders(files, keys)
            handlers = senders.handlers
            save = _Memory(files, senders).save
        else:
            say(
                "note: with a bare key nothing remembers which packets were sent; never"
                " encrypt two streams of one SSRC with it"
            )
        traffic = Traffic(packets.capture, handlers, chosen, keys.only, on_error, report)
        return _run(packets, traffic, handlers, report, target, report_path, save)


@srtp.command(cls=_OptionalValue)
@_options(
    _source,
    *_KEY_OPTIONS,
    click.option(
        "--keys", "keytab", type=_PATH, metavar="FILE",
        help="Keys that open the signalling in the capture.",
    ),
    *_STREAM_OPTIONS,
    _window("Size of the replay window."),
)  # fmt: skip
def decrypt(
    source: str | None,
    on_error: str,
    report_path: Path | None,
    target: str | None,
    ports: Sequence[int],
    flows: Sequence[str],
    jobs: int | None,
    **options: Any,
) -> int:
    """Verify and decrypt packets."""
    _note_jobs(jobs)
    keys = Keys(**options)
    keys.check()
    chosen = FlowFilter.of(ports, flows)
    handlers = _receivers(keys)
    if not handlers and source not in (None, "-") and not Path(source).exists():
        raise UsageError(HOW)
    check_output(target)
    packets = Input(source)
    if not keys.given:
        if not packets.is_capture:
            raise UsageError(HOW)
        from mikeytool.media.capture_keys import signalled_receivers

        handlers = signalled_receivers(packets, keys)
    report = Report("decrypted", "packet" if packets.is_capture else "line")
    traffic = Traffic(packets.capture, handlers, chosen, keys.only, on_error, report)
    return _run(packets, traffic, handlers, report, target, report_path, _nothing)


@srtp.command()
@click.argument("capture", metavar="[CAPTURE]", required=False)
@json_option
@quiet_option
def info(capture: str | None, as_json: bool) -> int:
    """List the RTP and RTCP streams of a capture; no key is needed."""
    from mikeytool.media.stream_list import show_info

    return show_info(Input(capture), as_json=as_json)


def _sender(keys: Keys) -> Handler:
    if keys.sdes:
        return sdes_sender(keys)
    if keys.mikey is not None:
        from mikeytool.media.mikey_keys import mikey_sender

        return mikey_sender(keys)
    return bare_sender(keys)


def _receivers(keys: Keys) -> list[Handler]:
    if keys.sessions:
        from mikeytool.media.session_keys import session_receivers

        return session_receivers(keys)
    if keys.sdes:
        return sdes_receivers(keys)
    if keys.mikey is not None:
        from mikeytool.media.mikey_keys import mikey_receivers

        return mikey_receivers(keys)
    return [] if keys.key is None else [bare_receiver(keys)]


class _Memory:
    """What sessions have sent, written down before any packet leaves."""

    def __init__(self, files: Sequence[tuple[Path, Any]], senders: SessionSenders) -> None:
        self._files = files
        self._senders = senders
        self._saved = {path: content.sent for path, content in files}
        self._claimed: set[str] = {name for _, content in files for name in content.sent}

    def save(self) -> None:
        """Write the highest indices down, so that none is ever used twice."""
        from mikeytool.client.session_files import with_sent

        for path, content in self._files:
            sent = self._senders.sent(path)
            if sent != self._saved[path]:
                self._claim(path)
                with_sent(content, sent).write(path, force=True)
                self._saved[path] = sent

    def _claim(self, path: Path) -> None:
        """Claim SSRCs beyond the session's own, so that no other session sends them as well."""
        new = [each for each in self._senders.foreign(path) if each[0] not in self._claimed]
        if not new:
            return
        from mikeytool.client.state import claim_stream, open_state

        with closing(open_state()) as state, state.transaction() as db:
            for _, master, ssrc in new:
                claim_stream(db, master.key, master.salt, ssrc)
        self._claimed.update(name for name, _, _ in new)


def _nothing() -> None:
    """What is to be saved where nothing is."""


def _run(
    packets: Input,
    traffic: Traffic,
    handlers: Sequence[Handler],
    report: Report,
    target: str | None,
    report_path: Path | None,
    save: Callable[[], None],
) -> int:
    """Send every packet through, and report; gives the exit code."""
    fault: WireError | None = None
    with output(target) as out, _progress(packets) as advance:
        try:
            for octets in _large(traffic.run()):
                save()
                out.write(octets)
                report.take_notes(handlers)
                advance()
        except WireError as error:
            fault = error
    report.finish(handlers)
    report.show()
    if report_path is not None:
        report.write(report_path)
    if fault is not None:
        raise fault
    if report.is_empty and not packets.is_capture:
        raise WireError("there is no packet in the input; the command before it may have failed")
    return worst(report.codes)


def _large(parts: Iterator[bytes]) -> Iterator[bytes]:
    """Parts put together to large ones, because each is worth a note in a session file."""
    held: list[bytes] = []
    size = 0
    fault: WireError | None = None
    try:
        for part in parts:
            held.append(part)
            size += len(part)
            if size >= _WRITE_SIZE:
                yield b"".join(held)
                held, size = [], 0
    except WireError as error:
        fault = error
    yield b"".join(held)
    if fault is not None:
        raise fault


@contextmanager
def _progress(packets: Input) -> Iterator[Callable[[], None]]:
    """Show a bar on a terminal while a large file is read."""
    from mikeytool.cli.options.common import is_quiet, is_terminal

    size = packets.size
    if size is None or size < 1 << 24 or is_quiet() or not is_terminal():
        yield _nothing
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(packets.name, total=size)
        yield lambda: bar.update(task, completed=packets.at)
