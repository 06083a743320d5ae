"""`srtp`: packets in, packets out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from mikeytool.capture.packets import PacketLine, packet_lines
from mikeytool.cli.common import (
    KEY,
    KEY_HELP,
    check_kind,
    check_output,
    parse_key,
    parse_number,
    quiet_option,
    read_input,
    say,
    write_output,
)
from mikeytool.cli.main import complain, exit_code, worst
from mikeytool.cli.media import srtp_suite
from mikeytool.client.sessions import SessionFile, locked_session, with_sent
from mikeytool.client.state import claim_stream, open_state
from mikeytool.exchange.session import CryptoSession, Session
from mikeytool.srtp import (
    SUITES,
    Highest,
    MasterKey,
    Receiver,
    Replayed,
    Sender,
    Suite,
    is_rtcp,
    parse_rtcp,
    parse_rtp,
    suite,
)
from mikeytool.srtp.context import check_ssrc
from mikeytool.wire.errors import MikeyError, Refused, UsageError, WireError
from mikeytool.wire.header import srtp_session_data
from mikeytool.wire.registry import ProtType

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
class _Keys:
    """What the options say of keys and SSRCs."""

    sessions: Sequence[Path]
    suite_name: str | None
    key: bytes | None
    salt: bytes | None
    ssrcs: Sequence[str]
    any_ssrc: bool
    mki: str | None
    rocs: Sequence[str]

    def check(self) -> None:
        """Refuse options that do not go together."""
        if bool(self.sessions) == (self.key is not None):
            raise UsageError("give --session SESSION, or --suite NAME with --key KEY")
        if self.sessions and (self.suite_name or self.salt or self.mki):
            raise UsageError("--suite, --salt and --mki=HEX go with --key, a session has its own")

    @property
    def only(self) -> frozenset[int] | None:
        """The SSRCs of `--ssrc`, None for any."""
        if not self.ssrcs:
            return None
        return frozenset(parse_number(text, "--ssrc", 32) for text in self.ssrcs)

    @property
    def roc(self) -> dict[int, int]:
        """The rollover counters of `--roc`."""
        found = {}
        for text in self.rocs:
            ssrc, equals, roc = text.partition("=")
            if not equals:
                raise UsageError(f"--roc {text}: SSRC=N is expected")
            found[parse_number(ssrc, "--roc", 32)] = parse_number(roc, "--roc", 32)
        return found

    def bare(self) -> tuple[Suite, MasterKey]:
        """The suite and master key of `--suite`, `--key` and `--salt`."""
        chosen = suite(self.suite_name or "AES_CM_128_HMAC_SHA1_80")
        key, salt = self.key or b"", self.salt or b""
        if not salt and len(key) == chosen.key_length + chosen.salt_length:
            key, salt = key[: chosen.key_length], key[chosen.key_length :]
        mki = parse_key(self.mki, "--mki") if self.mki else b""
        if self.mki == "":
            raise UsageError("--mki alone goes with --session; with --key give --mki=HEX")
        return chosen, MasterKey(key, salt, mki)


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


def _ssrc_of(packet: bytes) -> int:
    return parse_rtcp(packet) if is_rtcp(packet) else parse_rtp(packet)[0]


def _ssrc_text(packet: bytes) -> str:
    try:
        return f"{_ssrc_of(packet):#010x}"
    except MikeyError:
        return "?"


@srtp.command(cls=_OptionalValue)
@_options
def encrypt(
    source: str | None, on_error: str, report: Path | None, output: str | None, **options: Any
) -> int:
    """Encrypt packets. A session remembers what it has sent and never goes back."""
    keys = _Keys(**options)
    keys.check()
    data = read_input(source)
    check_kind(data)
    check_output(output)
    with ExitStack() as stack:
        files = [(path, stack.enter_context(locked_session(path))) for path in keys.sessions]
        if files:
            streams = [
                _Stream(path, content, one)
                for path, content in files
                for one in _srtp_sessions(content.established)
                if content.established.is_local(one)
            ]
            protector: _Protector = _SessionSender(streams, keys)
        else:
            say(
                "note: with a bare key nothing remembers which packets were sent; never"
                " encrypt two streams of one SSRC with it"
            )
            protector = _BareSender(keys)
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
    keys = _Keys(**options)
    keys.check()
    data = read_input(source)
    check_kind(data)
    protector = _SessionReceiver(keys, window) if keys.sessions else _BareReceiver(keys, window)
    out, result = _run(protector, data, on_error)
    write_output(out, output)
    result.show("decrypted", report)
    return worst(result.codes)


def _claim_new(
    path: Path, content: SessionFile, sent: dict[str, list[int]], protector: _Protector
) -> None:
    """Claim SSRCs beyond the session's own, so that no other session sends them as well."""
    for stream in protector.streams(path):
        for name in sent:
            ssrc = int(name.rpartition(" ")[2], 16)
            if name not in content.sent and name == stream.name(ssrc) and ssrc != stream.ssrc:
                master = stream.master()
                with closing(open_state()) as state, state.transaction() as db:
                    claim_stream(db, master.key, master.salt, ssrc)


def _run(protector: _Protector, data: bytes, on_error: str) -> tuple[bytes, _Report]:
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


def _through(protector: _Protector, item: PacketLine) -> tuple[bytes | None, MikeyError | None]:
    try:
        return protector.process(item.packet), None
    except MikeyError as error:
        return None, error


class _Protector:
    """Something that packets go through."""

    def process(self, packet: bytes) -> bytes:
        """The packet encrypted or decrypted; raises MikeyError."""
        raise NotImplementedError

    def sent(self, path: Path) -> dict[str, list[int]]:
        """The highest indices used of the session in a file."""
        return {}

    def streams(self, path: Path) -> list[_Stream]:
        """The streams of the session in a file that are encrypted."""
        return []


class _BareSender(_Protector):
    def __init__(self, keys: _Keys) -> None:
        chosen, master = keys.bare()
        start = {ssrc: Highest((roc << 16) - 1) for ssrc, roc in keys.roc.items()}
        self.process = Sender(  # type: ignore[method-assign]
            chosen, master, mki=bool(master.mki), ssrcs=keys.only, highest=start
        ).protect


class _BareReceiver(_Protector):
    def __init__(self, keys: _Keys, window: int) -> None:
        chosen, master = keys.bare()
        self.process = Receiver(  # type: ignore[method-assign]
            chosen, [master], ssrcs=keys.only, window=window, roc=keys.roc
        ).unprotect


@dataclass
class _Stream:
    """A crypto session of a session file, with what encrypts or decrypts its packets."""

    path: Path
    content: SessionFile
    crypto_session: CryptoSession

    @property
    def ssrc(self) -> int:
        return self.crypto_session.ssrc or 0

    def name(self, ssrc: int) -> str:
        """The name of the indices of an SSRC under this key in the session file."""
        entry = self.crypto_session.entry
        return f"{entry.cs_id} {entry.spi.hex()} {ssrc:08x}"

    def master(self) -> MasterKey:
        media = self.content.established.media_key(self.crypto_session)
        return MasterKey(media.key, media.salt, media.spi)

    def highest(self, roc: dict[int, int]) -> dict[int, Highest]:
        """The indices used before; at first what ROC and SEQ of the Session Data say."""
        _, start, seq = srtp_session_data(self.crypto_session.entry) or (0, 0, 0)
        first = Highest(((roc.get(self.ssrc, start or 0) << 16) | (seq or 0)) - 1)
        before = {
            int(name.rpartition(" ")[2], 16): Highest(*indices)
            for name, indices in self.content.sent.items()
            if name == self.name(int(name.rpartition(" ")[2], 16))
        }
        return {self.ssrc: first, **before}


def _srtp_sessions(session: Session) -> Iterator[CryptoSession]:
    return (c for c in session.crypto_sessions if c.entry.protocol == ProtType.SRTP)


class _BySsrc(_Protector):
    """Packets go by SSRC to the crypto session that has it."""

    def __init__(self, keys: _Keys) -> None:
        self._only = keys.only
        self._any = keys.any_ssrc
        self._by_ssrc: dict[int, Any] = {}
        self._first: Any = None

    def _find(self, packet: bytes) -> Any:
        ssrc = _ssrc_of(packet)
        if self._only is not None:
            check_ssrc(ssrc, self._only)
        found = self._by_ssrc.get(ssrc)
        if found is None and self._any and self._first is not None:
            return self._first
        if found is None:
            known = ", ".join(f"{one:#010x}" for one in self._by_ssrc)
            raise Refused(f"SSRC {ssrc:#010x} is not of the session, which has {known}")
        return found


class _SessionSender(_BySsrc):
    def __init__(self, streams: Sequence[_Stream], keys: _Keys) -> None:
        super().__init__(keys)
        if not streams:
            raise UsageError("the session has no SRTP stream to send")
        self._streams = streams
        self._remote = {
            one.ssrc
            for stream in streams
            for one in stream.content.established.crypto_sessions
            if not stream.content.established.is_local(one)
        }
        for stream in streams:
            if stream.ssrc in self._by_ssrc:
                raise UsageError(f"two sessions send SSRC {stream.ssrc:#010x}; take one at a time")
            sender = Sender(
                srtp_suite(stream.crypto_session),
                stream.master(),
                mki=keys.mki is not None,
                highest=stream.highest(keys.roc),
            )
            self._by_ssrc[stream.ssrc] = sender
            self._first = self._first or sender

    def process(self, packet: bytes) -> bytes:
        ssrc = _ssrc_of(packet)
        if ssrc in self._remote:
            raise Refused(f"SSRC {ssrc:#010x} is the other end's to send; its key stream is used")
        protected: bytes = self._find(packet).protect(packet)
        return protected

    def streams(self, path: Path) -> list[_Stream]:
        return [stream for stream in self._streams if stream.path == path]

    def sent(self, path: Path) -> dict[str, list[int]]:
        return {
            stream.name(ssrc): list(highest)
            for stream in self._streams
            if stream.path == path
            for ssrc, highest in self._by_ssrc[stream.ssrc].highest.items()
        }


class _SessionReceiver(_BySsrc):
    def __init__(self, keys: _Keys, window: int) -> None:
        super().__init__(keys)
        for path in keys.sessions:
            content = SessionFile.read(path)
            for crypto_session in _srtp_sessions(content.established):
                stream = _Stream(path, content, crypto_session)
                receiver = Receiver(
                    srtp_suite(crypto_session),
                    [stream.master()],
                    window=window,
                    roc={stream.ssrc: crypto_session.roc, **keys.roc},
                )
                self._by_ssrc[stream.ssrc] = receiver
                self._first = self._first or receiver
        if not self._by_ssrc:
            raise UsageError("the session has no SRTP stream")

    def process(self, packet: bytes) -> bytes:
        clear: bytes = self._find(packet).unprotect(packet)
        return clear
