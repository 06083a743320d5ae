"""What commands share: messages in and out, keys, identities, times."""

from __future__ import annotations

import base64
import os
import re
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import click

from mikeytool.capture.text import Format, Found, find_messages, format_message
from mikeytool.wire.errors import StateError, UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.timestamp import FIRST_MOMENT, LAST_MOMENT

C = TypeVar("C", bound=Callable[..., Any])
_QUIET = "mikeytool.quiet"
_SQLITE = b"SQLite format 3\0"
_SHORTEST = 10
"""Octets of a header with an Empty map, the least that a message has."""
_CAPTURES = (
    b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d",
    b"\x0a\x0d\x0d\x0a",
)  # fmt: skip


# --- words for people -------------------------------------------------------------------------


def say(text: str) -> None:
    """A line for people on standard error, unless -q."""
    context = click.get_current_context(silent=True)
    if context is None or not context.meta.get(_QUIET):
        click.echo(text, err=True)


def _set_quiet(context: click.Context, _param: click.Parameter, value: bool) -> None:
    context.meta[_QUIET] = value


quiet_option = click.option(
    "-q", "--quiet", is_flag=True, expose_value=False, callback=_set_quiet,
    help="No words for people on standard error.",
)  # fmt: skip
force_option = click.option("--force", is_flag=True, help="Overwrite files that exist.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
show_keys_option = click.option(
    "--show-keys", is_flag=True, help="Print keys, not the beginning of their SHA-256."
)


# --- messages in ------------------------------------------------------------------------------


def read_input(argument: str | None) -> bytes:
    """The octets that an argument means: none or `-` standard input, a file, or itself."""
    if argument is None or argument == "-":
        if sys.stdin is None:
            raise WireError("standard input is closed; give the message as an argument")
        if sys.stdin.isatty():
            say("reading from the terminal; end with Ctrl-D")
        return sys.stdin.buffer.read()
    if not argument:
        return b""
    path = Path(argument)
    if not _exists(path):
        return os.fsencode(argument)
    if path.is_dir():
        raise WireError(f"{argument}: this is a folder, a message is expected")
    try:
        return path.read_bytes()
    except OSError as error:
        raise StateError(f"{argument}: {error.strerror}") from None


def _exists(path: Path) -> bool:
    """Whether a path exists; what is too long or too odd to be one does not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def check_kind(data: bytes) -> None:
    """Raise WireError for files that are taken for messages by mistake."""
    if data.startswith(_CAPTURES):
        raise WireError("this is a packet capture; give what is in it, as text or as octets")
    if data.startswith(_SQLITE):
        raise WireError("this is a database, a store or the client's state; see kms show")
    if match := re.match(rb'\s*\{\s*"mikeytool": "([a-z ]+)"', data):
        raise WireError(f"this is a {match[1].decode()} file of mikeytool; see its show command")


def messages_of(argument: str | None, *, lines: bool = False) -> list[Found | WireError]:
    """Every message in the input that an argument means; raises WireError without any."""
    data = read_input(argument)
    check_kind(data)
    found = find_messages(data, lines=lines)
    if len(found) == 1 and argument and _looks_like_a_name(argument):
        found[0] = _or_no_file(found[0], argument)
    return found


def _looks_like_a_name(argument: str) -> bool:
    return len(argument) < 64 and argument != "-" and not _exists(Path(argument))


def _or_no_file(item: Found | WireError, argument: str) -> Found | WireError:
    """For a short text that is no message: perhaps a file was meant."""
    text = str(item) if isinstance(item, WireError) else ""
    if isinstance(item, Found) and len(item.message) < _SHORTEST:
        text = "this is too short for a message"
    return WireError(f"{text}; and there is no file {argument!r}") if text else item


def one_message(argument: str | None, index: int | None = None, *, what: str = "MESSAGE") -> bytes:
    """The one message that a command takes; raises WireError or UsageError."""
    return pick_message(messages_of(argument), index, what=what)


def pick_message(
    found: list[Found | WireError], index: int | None, *, what: str = "MESSAGE"
) -> bytes:
    """The one message of several; raises WireError or UsageError."""
    good = [item for item in found if isinstance(item, Found)]
    if not good and isinstance(found[0], WireError):
        raise found[0]
    if index is None and len(found) > 1:
        how = "choose with --index N" if what == "MESSAGE" else "give it alone"
        raise UsageError(f"{what} holds {len(found)} messages and one is taken; {how}")
    chosen = found[pick(index, len(found))]
    if isinstance(chosen, WireError):
        raise chosen
    return chosen.message


def pick(index: int | None, count: int) -> int:
    """The position from 0 that `--index` means; raises UsageError."""
    if index is None:
        return 0
    if not 1 <= index <= count:
        raise UsageError(f"--index {index}: there are {count} messages, counted from 1")
    return index - 1


message_argument = click.argument("message", required=False)
index_option = click.option("--index", type=int, help="Which message of several, from 1.")


# --- messages out -----------------------------------------------------------------------------


def message_options(command: C) -> C:
    """`-f` and `-o`, for commands that print a message."""
    formats = click.Choice(["b64", "hex", "raw", "sdp"])
    command = click.option(
        "-o", "--output", type=click.Path(dir_okay=False), help="Write to FILE."
    )(command)
    return click.option(
        "-f", "--format", "fmt", type=formats, default="b64", show_default=True,
        help="How the message is written.",
    )(command)  # fmt: skip


def write_message(message: bytes, fmt: Format, output: str | None) -> None:
    """Print a message, or write it to a file."""
    write_output(format_message(message, fmt), output)


def check_output(output: str | None) -> None:
    """Raise StateError when the output cannot go there, before anything else is changed.

    State files are never overwritten with a message.
    """
    if output is None or output == "-":
        return
    from mikeytool.client.files import check_folder

    path = Path(output)
    check_folder(path)
    try:
        begin = path.read_bytes()[:64] if path.is_file() else b""
    except OSError as error:
        raise StateError(f"{output}: {error.strerror}") from None
    if path.is_dir() or begin.startswith(_SQLITE) or b'"mikeytool"' in begin:
        raise StateError(f"{output}: a folder or a state file is in the way; choose another name")


def write_output(data: bytes, output: str | None) -> None:
    """Write octets to standard output, or to a file."""
    if output is None or output == "-":
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        return
    check_output(output)
    try:
        Path(output).write_bytes(data)
    except OSError as error:
        raise StateError(f"{output}: {error.strerror}") from None


# --- keys -------------------------------------------------------------------------------------


def parse_key(text: str, what: str) -> bytes:
    """The octets of a KEY: hex, `b64:TEXT`, `file:PATH` or `env:NAME`. Never shows it."""
    scheme, _, rest = text.partition(":")
    if scheme == "b64":
        return _base64_key(rest, what)
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            raise UsageError(f"{what}: the environment has no {rest}")
        return _text_key(value.strip(), what)
    if scheme == "file":
        return _file_key(rest, what)
    return _hex_key(text, what)


def _hex_key(text: str, what: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise UsageError(
            f"{what}: this is no hex of whole octets; other forms are b64:TEXT, file:PATH and"
            " env:NAME"
        ) from None
    return _not_empty(key, what)


def _base64_key(text: str, what: str) -> bytes:
    try:
        return _not_empty(base64.b64decode(text + "=" * (-len(text) % 4), validate=True), what)
    except ValueError:
        raise UsageError(f"{what}: this is no base64") from None


def _text_key(text: str, what: str) -> bytes:
    """All hex, else base64; either may be wrapped."""
    text = "".join(text.split())
    if re.fullmatch(r"[0-9A-Fa-f]+", text):
        if len(text) % 2:
            raise UsageError(f"{what}: {len(text)} hex digits, an odd number: one is missing")
        return bytes.fromhex(text)
    return _base64_key(text, what)


def _file_key(path: str, what: str) -> bytes:
    """All hex, else base64, else raw octets; a newline is dropped from text only."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise StateError(f"{what}: {path}: {error.strerror}") from None
    if not re.fullmatch(rb"[0-9A-Za-z+/_=\s-]+", data):
        return _not_empty(data, what)
    return _text_key(data.decode("ascii"), what)


def _not_empty(key: bytes, what: str) -> bytes:
    if not key:
        raise UsageError(f"{what}: the key is empty")
    return key


class Key(click.ParamType[bytes]):
    """A KEY option."""

    name = "KEY"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """The octets of the key."""
        if isinstance(value, bytes):
            return value
        return parse_key(value, f"--{param.name.replace('_', '-')}" if param and param.name else "")


KEY = Key()
KEY_HELP = "hex, b64:TEXT, file:PATH or env:NAME; prefer the last two, arguments show in ps"


def need_key(key: bytes | None, what: str) -> bytes:
    """The key, or what is typed on the terminal; raises UsageError without one."""
    if key is not None:
        return key
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
        import getpass

        return parse_key(getpass.getpass(f"{what} (hex): "), what)
    except OSError:
        raise UsageError(
            f"{what} is needed: give it as env:NAME or file:PATH, there is no terminal to ask on"
        ) from None


# --- identities, times ------------------------------------------------------------------------


class IdentityType(click.ParamType[Identity]):
    """A URI, or `user@host`."""

    name = "URI"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Identity:
        """The identity."""
        if isinstance(value, Identity):
            return value
        if not value:
            self.fail("an identity cannot be empty", param, ctx)
        return Identity.from_text(value)


IDENTITY = IdentityType()

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def parse_duration(text: str) -> int:
    """The seconds of `90s`, `15m`, `8h` or `7d`; raises UsageError."""
    match = re.fullmatch(r"(\d{1,9})([smhd])", text)
    if match is None:
        raise UsageError(f"{text}: a duration is like 90s, 15m, 8h or 7d")
    return int(match[1]) * _UNITS[match[2]]


def parse_time(text: str, now_ns: int) -> int:
    """The Unix nanoseconds of ISO 8601, Unix seconds, or `now`, `now+D`, `now-D`.

    Raises UsageError for what is none of them, and for what NTP cannot tell.
    """
    moment = _parse_time(text, now_ns)
    if not FIRST_MOMENT <= moment < LAST_MOMENT:
        raise UsageError(f"{text}: this is not between 1968 and 2104, as NTP times are")
    return moment


def _parse_time(text: str, now_ns: int) -> int:
    if match := re.fullmatch(r"now(?:([+-])(\w+))?", text):
        offset = parse_duration(match[2]) if match[2] else 0
        return now_ns + (-offset if match[1] == "-" else offset) * 1_000_000_000
    if re.fullmatch(r"\d{1,10}(\.\d{1,9})?", text):
        whole, _, fraction = text.partition(".")
        return int(whole) * 1_000_000_000 + int(fraction.ljust(9, "0") or 0)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text}: a time is ISO 8601, Unix seconds, or now+D") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def clock() -> Callable[[], int]:
    """The clock in Unix nanoseconds; MIKEYTOOL_NOW sets it, with a warning."""
    given = os.environ.get("MIKEYTOOL_NOW")
    if not given:
        return time.time_ns
    fixed = parse_time(given, time.time_ns())
    started = time.monotonic_ns()
    say(f"mikeytool: the clock is set by MIKEYTOOL_NOW={given}")
    return lambda: fixed + time.monotonic_ns() - started


def random(length: int) -> bytes:
    """Octets from the system's generator."""
    return os.urandom(length)


class Spec(NamedTuple):
    """A `name=value,…` option, taken apart; a first word without `=` is `head`."""

    head: str | None
    values: dict[str, list[str]]


def parse_spec(text: str, option: str, allowed: set[str], *, head: bool) -> Spec:
    """Take a SPEC apart; raises UsageError for a name that is not `allowed`."""
    parts = text.split(",")
    first = parts.pop(0) if head else None
    values: dict[str, list[str]] = {}
    for part in parts:
        name, equals, value = part.partition("=")
        if not equals or name not in allowed:
            known = ", ".join(sorted(allowed))
            raise UsageError(f"{option} {text}: {part!r} is none of {known} with a value")
        values.setdefault(name, []).append(value)
    return Spec(first, values)


def single(spec: Spec, name: str, option: str) -> str | None:
    """The one value of a name in a SPEC, None without it; raises UsageError for two."""
    values = spec.values.get(name, [])
    if len(values) > 1:
        raise UsageError(f"{option}: {name} is given {len(values)} times")
    return values[0] if values else None


def parse_number(text: str, what: str, bits: int) -> int:
    """A decimal or 0x number of at most `bits` bits; raises UsageError."""
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << bits:
        raise UsageError(f"{what} {text}: a number of at most {bits} bits is expected")
    return number


KeyFormat = Literal["hex", "b64", "raw"]


def format_key(key: bytes, fmt: KeyFormat) -> bytes:
    """A key for standard output or a file."""
    if fmt == "raw":
        return key
    text = key.hex().encode() if fmt == "hex" else base64.b64encode(key)
    return text + b"\n"
