"""Messages from inputs of any length.

An input longer than a megabyte is read line by line in constant memory, if every line in its first
megabyte is a message. Everything else (short inputs, signalling, wrapped hex or base64) is read by
`find_messages` at once.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import BinaryIO

from mikeytool.capture.encoding import begins_like_message, begins_message
from mikeytool.capture.live_input import LiveInput
from mikeytool.capture.strict_text import FoundMessage
from mikeytool.capture.text import find_messages
from mikeytool.wire.errors import WireError

BLOCK = 1 << 20
"""How many octets are read at a time."""
MAX_WHOLE = 1 << 24
"""The most octets of an input that is not one message per line."""

_VERSION_1 = frozenset(b"A%c" % octet for octet in b"QRSTUVWXYZabcdef")
"""How base64 of a message of version 1 begins."""
_ENCODED = re.compile(rb"[A-Za-z0-9+/_=\s:-]+")
_FIRST = re.compile(r"\bline 1\b")


def stream_messages(source: BinaryIO, *, lines: bool = False) -> Iterator[FoundMessage | WireError]:
    """Find every MIKEY message in `source`, with a WireError for each bad line.

    Results, `lines` and errors are those of `find_messages`. Raises WireError for an input longer
    than MAX_WHOLE that has to be read at once.
    """
    if lines and isinstance(getattr(source, "raw", None), LiveInput):
        yield from _as_they_come(source)
        return
    head = source.read(BLOCK)
    if len(head) < BLOCK or not _is_one_a_line(head, lines):
        rest = source.read(MAX_WHOLE)
        if len(head) + len(rest) > MAX_WHOLE:
            raise WireError(
                f"the input is longer than {MAX_WHOLE >> 20} MB and not one message a line; give"
                " it in parts, or one message a line with --lines"
            )
        yield from find_messages(head + rest, lines=lines)
        return
    number = 0
    block = head
    while block:
        cut = block.rfind(b"\n") + 1 or len(block)
        more = source.read(BLOCK)
        if not more:
            cut = len(block)
        for line in block[:cut].splitlines():
            number += 1
            message = _plain(line)
            if message is not None:
                yield FoundMessage(message, f"line {number}", number)
            else:
                yield from _read_line(line, number, lines)
        block = block[cut:] + more


def _as_they_come(source: BinaryIO) -> Iterator[FoundMessage | WireError]:
    """Read each line of a pipe when it is there."""
    number = 0
    while line := source.readline(MAX_WHOLE):
        number += 1
        yield from _read_line(line.rstrip(b"\r\n"), number, True)
    if not number:
        yield from find_messages(b"", lines=True)


def _is_one_a_line(head: bytes, lines: bool) -> bool:
    """Whether every line is a message: `lines` says so, or the second begins one too."""
    whole = [line.strip() for line in head.splitlines()[:-1]]
    texts = [line for line in whole if line and not line.startswith(b"#")]
    if lines:
        return bool(whole)
    return (
        len(texts) > 1
        and all(_ENCODED.fullmatch(line) for line in texts)
        and begins_message(texts[1].decode())
    )


def _plain(line: bytes) -> bytes | None:
    """The message in a line as programs write it, as `find_messages` would read it.

    None for any other line.
    """
    begin = line[:2]
    try:
        if begin in _VERSION_1 and len(line) % 4 == 0 and line[-3:] != b"===":
            return binascii.a2b_base64(line, strict_mode=True)
        if begin == b"01":
            message = binascii.unhexlify(line)
            return message if begins_like_message(message) else None
    except binascii.Error:
        pass
    return None


def _read_line(line: bytes, number: int, lines: bool) -> Iterator[FoundMessage | WireError]:
    if not line.strip() or line.lstrip().startswith(b"#"):
        return
    try:
        found = find_messages(line, lines=lines)
    except WireError as error:
        found = [WireError(f"line {number}: {error.text}")]
    for item in found:
        if isinstance(item, FoundMessage):
            yield item._replace(where=_FIRST.sub(f"line {number}", item.where, 1), line=number)
        else:
            yield WireError(_FIRST.sub(f"line {number}", item.text, 1))
