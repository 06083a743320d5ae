"""Decodes hex and base64 as people and other programs write them.

The version octet of MIKEY (RFC 3830 6.1), 0x01, tells the two apart. In hex a message begins
with `01`; in base64 its first six bits are zero and the next two are 01, so it begins with `A`
and one of `Q` to `Z`, `a` to `f`. No text begins both ways. If both alphabets fit, the reading that
gives version 1 is used. If neither reading gives version 1, the text is hex, since a long base64
text of only hex digits is practically impossible.
"""

from __future__ import annotations

import binascii
import codecs
import re

from mikeytool.wire.errors import WireError
from mikeytool.wire.registry import DataType, NextPayload

_HEX_PREFIX = re.compile(r"(?<![0-9A-Fa-f])0[xX](?=[0-9A-Fa-f])")
_NOT_HEX = re.compile(r"[^0-9A-Fa-f:\s]")
_LIKE_HEX = re.compile(r"01|0[xX]|(?:[0-9A-Fa-f]{2}[\s:]){2}")
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/_=-]")
_BASE64_VERSION = re.compile(r"A[Q-Za-f]")
_URL_SAFE = str.maketrans("-_", "+/")

# Version 1, then a data type and a next payload below 32, as all assigned ones are; the text
# may end before the third. In base64 the zero bits then make the second character Q or R, the
# third a multiple of four and the fourth less than 32.
_BEGIN_HEX = re.compile(r"01[01][0-9A-Fa-f](?:$|[01])")
_BEGIN_BASE64 = re.compile(r"A[QR](?:$|=|[AEIMQUYcgkosw048](?:$|=|[A-Za-f]))")
_BEGIN_LENGTH = len("0x01 0x0e 0x05")

# The lengths of lines in wrapped hex. A line with a whole message is longer, and one with
# nothing but a header is hardly longer than the least.
_WRAPPED_HEX = range(16, 161)


_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SAMPLE = 128
"""How many octets show whether a text without a mark is UTF-16."""


def decode_text(data: bytes) -> str | None:
    """Decode UTF-8, or UTF-16 and UTF-32 with a mark or as they show; None for other octets."""
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    for first, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        sample = data[:_SAMPLE]
        zeros, others = sample[first::2], sample[1 - first :: 2]
        if len(zeros) > 4 and not any(zeros) and all(9 <= octet < 127 for octet in others):
            return data.decode(name, "replace")
    return None


def of_mixed_text(octets: bytes) -> bytes | None:
    """Give the octets that were taken for Latin-1 and written as UTF-8; None for others."""
    try:
        mended = octets.decode().encode("latin-1")
    except UnicodeError:
        return None
    return None if mended == octets else mended


def begins_message(text: str) -> bool:
    """Whether hex or base64 text begins like the common header of MIKEY (RFC 3830 6.1)."""
    head = text[:_BEGIN_LENGTH]
    digits = "".join(_HEX_PREFIX.sub("", head).replace(":", " ").split())
    return bool(_BEGIN_BASE64.match(head) or _BEGIN_HEX.match(digits))


def read_text(text: str) -> bytes:
    """Decode a text in hex (with white space, colons, `0x`) or in base64.

    Raises WireError with the column of a wrong character.
    """
    digits = _HEX_PREFIX.sub("  ", text)
    stray = _NOT_HEX.search(digits)
    body = text.strip()
    if stray is None and not _is_base64_of_version_1(body):
        return _read_digits(digits)
    if stray is not None and _LIKE_HEX.match(body):
        raise WireError(
            f"{_show(stray.group())} at column {stray.start() + 1} is no hex digit, in a text"
            " that begins as hex; correct it there"
        )
    stray = _NOT_BASE64.search(body)
    if stray is not None:
        column = len(text) - len(text.lstrip()) + stray.start() + 1
        raise WireError(
            f"{_show(stray.group())} at column {column} is neither hex nor base64; give hex,"
            " base64, an a=key-mgmt:mikey or KeyMgmt line, or the name of a file that exists"
        )
    return read_base64(body)


def read_base64(text: str) -> bytes:
    """Decode base64: standard or URL-safe alphabet, padding complete, short or absent.

    Raises WireError, whose columns count characters of `text` from 1.
    """
    stray = _NOT_BASE64.search(text)
    if stray is not None:
        raise WireError(
            f"{_show(stray.group())}, character {stray.start() + 1} of the base64, is none of"
            " its alphabet; correct it there"
        )
    data = text.rstrip("=")
    if "=" in data:
        raise WireError(
            f"'=', character {data.index('=') + 1} of the base64, is padding before the end;"
            " give one message a line"
        )
    missing = -len(data) % 4
    if missing == 3 or not data:
        raise WireError(
            f"base64 cannot have {len(data)} characters before the padding: one is lost or one"
            " too many; copy the message again"
        )
    if len(text) - len(data) > missing:
        raise WireError(
            f"base64 of {len(data)} characters ends in {len(text) - len(data)} of '=' where"
            f" {missing} belong; copy the message again"
        )
    return binascii.a2b_base64(data.translate(_URL_SAFE) + "=" * missing)


def is_wrapped(lines: list[str]) -> bool:
    """Whether lines, stripped, are one message in hex or base64 that was cut to a width.

    They are when all but the last have the same length, the last is not longer, and only the
    first begins a message. If others begin like a message by chance, as an ID payload does, all
    lines together must be one complete message, and the first line alone must not be one. For the
    first line the version is enough, because its data type may be broken.
    """
    width = len(lines[0])
    if len(lines) < 2 or len(lines[-1]) > width:
        return False
    if any(len(line) != width for line in lines[:-1]):
        return False
    if any(begins_message(line) for line in lines[1:]) and (
        _is_message(lines[0]) or not _is_message("".join(lines))
    ):
        return False
    if lines[0].startswith(("01", "0x01", "0X01")):
        hexed = all(_NOT_HEX.search(_HEX_PREFIX.sub("", line)) is None for line in lines)
        return hexed and width in _WRAPPED_HEX
    if not _BASE64_VERSION.match(lines[0]) or any("=" in line for line in lines[:-1]):
        return False
    return not any(_NOT_BASE64.search(line) for line in lines)


def begins_like_message(octets: bytes) -> bool:
    """Whether octets have version 1, an assigned data type and an assigned first payload."""
    return len(octets) > 2 and octets[0] == 1 and octets[1] in _TYPES and octets[2] in _PAYLOADS


_TYPES = frozenset(int(one) for one in DataType)
_PAYLOADS = frozenset(int(one) for one in NextPayload)


def is_whole(octets: bytes) -> bool:
    """Whether octets are one complete message."""
    from mikeytool.wire.message import message_end  # imported here because few texts need it

    try:
        return message_end(octets) == len(octets)
    except WireError:
        return False


def _is_message(text: str) -> bool:
    try:
        return is_whole(read_text(text))
    except WireError:
        return False


def _is_base64_of_version_1(text: str) -> bool:
    return (
        _BASE64_VERSION.match(text) is not None
        and _NOT_BASE64.search(text) is None
        and len(text.rstrip("=")) % 4 != 1
    )


def _read_digits(text: str) -> bytes:
    digits = "".join(text.replace(":", " ").split())
    if not digits:
        raise WireError("no hex digit, only colons; give the message in hex or base64")
    if len(digits) % 2:
        raise WireError(
            f"{len(digits)} hex digits, an odd number: one is lost or one too many; copy the"
            " message again"
        )
    return bytes.fromhex(digits)


def _show(character: str) -> str:
    if character == " ":
        return "a space"
    return f"'{character}'" if character.isprintable() else f"U+{ord(character):04X}"
