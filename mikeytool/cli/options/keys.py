"""Keys in and out: hex, base64, files, the environment, the terminal."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any, Literal

import click

from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.registry import EncrAlg

KeyFormat = Literal["hex", "b64", "raw"]


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


PASSPHRASE_VARIABLE = "MIKEYTOOL_KEY_PASSPHRASE"  # noqa: S105 - a name
"""Where the passphrase of a private key is taken from before it is asked for."""


def need_key(key: bytes | None, what: str) -> bytes:
    """The key, or what is typed on the terminal; raises UsageError without one."""
    if key is not None:
        return key
    return parse_key(_typed(what, " (hex)", "give it as env:NAME or file:PATH"), what)


def read_passphrase(prompt: str) -> bytes:
    """The passphrase of a private key, from the environment or typed on the terminal."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None:
        given = _typed(prompt, "", f"give it in {PASSPHRASE_VARIABLE}")
    return os.fsencode(given)


def _typed(what: str, form: str, instead: str) -> str:
    """What is typed on the terminal, unseen; raises UsageError without a terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        raise UsageError(f"{what} is needed: {instead}, there is no terminal to ask on") from None
    import getpass

    return getpass.getpass(f"{what}{form}: ")


key_wrap_option = click.option(
    "--key-wrap", is_flag=True,
    help="Encrypt keys with AES-KW-128, not AES-CM-128; SPIs are as long as that takes.",
)  # fmt: skip


def wrapping(key_wrap: bool) -> EncrAlg | None:
    """The encryption algorithm that `--key-wrap` asks for."""
    return EncrAlg.AES_KW_128 if key_wrap else None


def format_key(key: bytes, fmt: KeyFormat) -> bytes:
    """A key for standard output or a file."""
    if fmt == "raw":
        return key
    text = key.hex().encode() if fmt == "hex" else base64.b64encode(key)
    return text + b"\n"
