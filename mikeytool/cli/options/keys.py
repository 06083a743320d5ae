"""Options that take keys, and what is typed on the terminal in their place."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from mikeytool.wire.registry import EncrAlg

KeyFormat = Literal["hex", "b64", "raw"]


class Key(click.ParamType):  # type: ignore[type-arg] # generic only in newer releases of click
    """A KEY option."""

    name = "KEY"

    def __init__(self, *, takes_base64: bool = False) -> None:
        self._takes_base64 = takes_base64

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> bytes:
        """Give the octets of the key."""
        if isinstance(value, bytes):
            return value
        what = f"--{param.name.replace('_', '-')}" if param and param.name else ""
        # Imported here, as below: most commands are given no keys.
        from mikeytool.client.key_text import parse_key

        return parse_key(value, what, takes_base64=self._takes_base64)


KEY = Key()
MEDIA_KEY = Key(takes_base64=True)
KEY_HELP = "hex, b64:TEXT, file:PATH or env:NAME; prefer the last two, arguments show in ps"

PASSPHRASE_VARIABLE = "MIKEYTOOL_KEY_PASSPHRASE"  # noqa: S105 - a name
"""The variable that holds the passphrase of a private key, if it is not to be typed."""


def need_key(key: bytes | None, what: str) -> bytes:
    """Give the key, or else what is typed on the terminal; raises UsageError without one."""
    if key is not None:
        return key
    from mikeytool.client.key_text import parse_key
    from mikeytool.storage.terminal import read_secret

    return parse_key(read_secret(f"{what} (hex)", "give it as env:NAME or file:PATH"), what)


def read_passphrase(path: str | Path) -> bytes:
    """Give the passphrase of a private key, from the environment or typed on the terminal."""
    given = os.environ.get(PASSPHRASE_VARIABLE)
    if given is None:
        from mikeytool.storage.terminal import read_secret

        given = read_secret(f"Passphrase for {path}", f"give it in {PASSPHRASE_VARIABLE}")
    return os.fsencode(given)


key_wrap_option = click.option(
    "--key-wrap", is_flag=True,
    help="Encrypt keys with AES-KW-128, not AES-CM-128; SPIs are as long as that takes.",
)  # fmt: skip


def wrapping(key_wrap: bool) -> EncrAlg | None:
    """Give the encryption algorithm that `--key-wrap` asks for."""
    from mikeytool.wire.registry import EncrAlg  # media commands need no numbers

    return EncrAlg.AES_KW_128 if key_wrap else None


def format_key(key: bytes, fmt: KeyFormat) -> bytes:
    """Write a key for standard output or a file."""
    if fmt == "raw":
        return key
    text = key.hex().encode() if fmt == "hex" else base64.b64encode(key)
    return text + b"\n"
