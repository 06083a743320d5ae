"""Messages from inputs of any length.

An input longer than a megabyte is read line by line in constant memory, if every line in its first
megabyte is a message. Everything else (short inputs, signalling, wrapped hex or base64) is read by
`find_messages` at once. Of a pipe that falls silent, what has come is read if it ends with a
message that is whole; all that is no such message waits for what follows.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from typing import BinaryIO

from mikeytool.capture.encoding import begins_like_message, begins_message, is_whole
from mikeytool.capture.live_input import LiveInput, live_input
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
_LINES = re.compile(r"\b(lines?) (\d+)(?: to (\d+))?")
_MOST_WITHOUT = 1 << 18
"""The most octets without a message that are kept, of a pipe that falls silent again and again."""


def stream_messages(
    source: BinaryIO, *, lines: bool = False, early: bool = False
) -> Iterator[FoundMessage | WireError]:
    """Find every MIKEY message in `source`, with a WireError for each bad line.

    Results, `lines` and errors are those of `find_messages`. With `early` the messages of a pipe
    are given when they come; the place of one in signalling is then known as far as that has come.
    Raises WireError for an input longer than MAX_WHOLE that has to be read at once.
    """
    live = live_input(source)
    if live is not None and lines:
        yield from _as_they_come(source)
        return
    if live is not None and early:
        yield from _when_silent(source, live)
        return
    head = source.read(BLOCK)
    if len(head) < BLOCK or not _is_one_a_line(head, lines):
        rest = source.read(MAX_WHOLE)
        if len(head) + len(rest) > MAX_WHOLE:
            raise _too_long()
        yield from find_messages(head + rest, lines=lines)
        return
    yield from _one_a_line(source, head, 0, lines=lines)


def _too_long() -> WireError:
    return WireError(
        f"the input is longer than {MAX_WHOLE >> 20} MB and not one message a line; give"
        " it in parts, or one message a line with --lines"
    )


def _one_a_line(
    source: BinaryIO, block: bytes, number: int, *, lines: bool
) -> Iterator[FoundMessage | WireError]:
    """Read each line of a long input, whose first block is given, behind so many lines."""
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


def _when_silent(source: BinaryIO, live: LiveInput) -> Iterator[FoundMessage | WireError]:
    """Read the text of a pipe when it falls silent behind a message, and at its end."""
    read = getattr(source, "read1", source.read)
    held, before, wanted, is_first = bytearray(), 0, 0, True
    while True:
        if len(held) > wanted and held.endswith(b"\n") and live.is_silent():
            found = _find_whole(bytes(held))
            if found:
                yield from (_moved(item, before) for item in found)
                is_first = False
            # What has errors is read again only when there is more of it by a part.
            wanted = len(held) + len(held) // 16 if found == [] else 0
            keep = 0 if found else _MOST_WITHOUT if found is None else len(held)
            cut = held.rfind(b"\n", 0, max(len(held) - keep, 0)) + 1
            before += len(held[:cut].splitlines())
            del held[:cut]
        more = read(BLOCK)
        if not more:
            break
        is_long = len(held) < BLOCK <= len(held) + len(more)
        held += more
        if is_long and _is_one_a_line(bytes(held), lines=False):
            yield from _one_a_line(source, bytes(held), before, lines=False)
            return
        if len(held) > MAX_WHOLE:
            raise _too_long()
    try:
        yield from (_moved(item, before) for item in find_messages(bytes(held)))
    except WireError:
        if is_first:
            raise


def _find_whole(text: bytes) -> list[FoundMessage | WireError] | None:
    """Find messages in a text if the last of them is whole: nothing behind it can change them.

    Gives nothing if it is not whole, and None if there is none at all.
    """
    try:
        found = find_messages(text)
    except WireError:
        return None
    last = found[-1]
    return found if isinstance(last, FoundMessage) and is_whole(last.message) else []


def _moved(item: FoundMessage | WireError, before: int) -> FoundMessage | WireError:
    """Count the lines of an item from the first of the input, not of a part of it."""
    if not before:
        return item

    def counted(match: re.Match[str]) -> str:
        to = f" to {int(match[3]) + before}" if match[3] else ""
        return f"{match[1]} {int(match[2]) + before}{to}"

    if isinstance(item, WireError):
        return WireError(_LINES.sub(counted, item.text, 1))
    where = _LINES.sub(counted, item.where, 1)
    return item._replace(where=where, line=item.line + before)


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
