"""Keys as text: hex, base64, a file, or an environment variable."""

from __future__ import annotations

import base64
import os
import re

from mikeytool.storage.input_files import read_octets
from mikeytool.wire.errors import UsageError

_HEX = re.compile(
    r"\s*(?:0x)?[0-9a-f]{2}(?:(?:\s*[:,-]\s*|\s*)(?:0x)?[0-9a-f]{2})*\s*", re.IGNORECASE
)
LONGEST_KEY = 1 << 16
"""Characters of a key as text, and octets of its file."""
_LONGEST_NAME = 256
"""Characters of the name of a file that is given without `file:`."""
_BASE64 = re.compile(r"[A-Za-z0-9+/]{20,}={0,2}")


def parse_key(text: str, what: str, *, takes_base64: bool = False) -> bytes:
    """Return the octets of a KEY: hex, `b64:TEXT`, `file:PATH` or `env:NAME`.

    Hex may be written as other programs print it, `0x0011…` or `00:11:…`. With `takes_base64`,
    base64 is accepted without a scheme as well; use this only for keys with which a mistake shows
    at once. A file is read as hex if it is all hex digits, otherwise as base64, otherwise as raw
    octets. `what` names the key in errors, which never show the key itself. Raises UsageError for
    text that is not a key, and StateError for a file that cannot be read.
    """
    if len(text) > LONGEST_KEY:
        raise UsageError(f"{what}: this is too long for a key")
    scheme, _, rest = text.partition(":")
    if scheme == "b64":
        return _base64_key(rest, what)
    if scheme == "env":
        value = os.environ.get(rest)
        if value is None:
            raise UsageError(f"{what}: the environment has no {rest}")
        return _text_key(value.strip(), f"{what}: {rest}")
    if scheme == "file":
        return _file_key(rest, what)
    if takes_base64 and _BASE64.fullmatch(text) and not _HEX.fullmatch(text):
        return _base64_key(text, what)
    return _hex_key(text, what)


def _hex_key(text: str, what: str) -> bytes:
    if not _HEX.fullmatch(text) and len(text) < _LONGEST_NAME and os.path.isfile(text):  # noqa: PTH113
        raise UsageError(f"{what} {text}: this is a file; did you mean file:{text}?")
    try:
        key = bytes.fromhex(_digits(text) if _HEX.fullmatch(text) else text)
    except ValueError:
        raise UsageError(
            f"{what}: this is no hex of whole octets; other forms are b64:TEXT, file:PATH and"
            " env:NAME"
        ) from None
    return _not_empty(key, what)


def _digits(text: str) -> str:
    """Return the hex digits in text that `_HEX` matches."""
    return re.sub(r"0x|[\s:,-]", "", text, flags=re.IGNORECASE)


def _base64_key(text: str, what: str, wrong: str = "this is no base64") -> bytes:
    try:
        return _not_empty(base64.b64decode(text + "=" * (-len(text) % 4), validate=True), what)
    except ValueError:
        raise UsageError(f"{what}: {wrong}") from None


def _text_key(text: str, what: str) -> bytes:
    """Parse text as hex if it is all hex digits, otherwise as base64; either may be wrapped."""
    if _HEX.fullmatch(text):
        return bytes.fromhex(_digits(text))
    text = "".join(text.split())
    if re.fullmatch(r"[0-9A-Fa-f]+", text):
        if len(text) % 2:
            raise UsageError(f"{what}: {len(text)} hex digits, an odd number: one is missing")
        return bytes.fromhex(text)
    return _base64_key(text, what, "this is neither hex nor base64")


def _file_key(path: str, what: str) -> bytes:
    """Parse a file as hex if it is all hex digits, otherwise as base64, otherwise as raw octets.

    A newline is dropped from text only.
    """
    data = read_octets(path, what, LONGEST_KEY)
    if not re.fullmatch(rb"[0-9A-Za-z+/_=\s-]+", data) and not _HEX.fullmatch(
        data.decode("latin-1")
    ):
        return _not_empty(data, what)
    return _text_key(data.decode("ascii"), f"{what}: {path}")


def _not_empty(key: bytes, what: str) -> bytes:
    if not key:
        raise UsageError(f"{what}: the key is empty")
    return key


def parse_number(text: str, what: str, bits: int) -> int:
    """Return the value of a decimal or 0x number of at most `bits` bits.

    Raises UsageError, which names the number as `what`.
    """
    try:
        number = int(text, 0)
    except ValueError:
        number = -1
    if not 0 <= number < 1 << bits:
        raise UsageError(f"{what} {text}: a number of at most {bits} bits is expected")
    return number
