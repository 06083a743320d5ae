r"""Octets in the strings of source code: `"\x01\x00\x05"`, `b'\x01\x00Ij'`, `\001\000`, `\u0001`.

A string begins with the octet 1, escaped in any way; what is not escaped in it stands for itself.
Strings that follow each other with nothing but signs between them are one, as in C and Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from mikeytool.capture.byte_rows import Row
from mikeytool.capture.plain_text import Line

_BEGIN = re.compile(r"\\(?:x01|x\{0?1\}|u0001|u\{1\}|0{0,2}1(?![0-7]))")
_ITEM = re.compile(
    r"\\(?:x|u00)([0-9A-Fa-f]{1,2})|\\[xu]\{([0-9A-Fa-f]{1,2})\}|\\([0-7]{1,3})"
    r"|\\([abefnrtv\"'\\/`? ])|([^\\])"
)
_NAMED = {"a": 7, "b": 8, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_OPENING = re.compile(r"[\W_]*?(?:u8|[bLr])?([\"'`])")
_BARE_OPENING = re.compile(r"\s*\\")
_WORD = re.compile(r"[^\W_]")
_QUOTES = "\"'`"


def strings_in(lines: Sequence[Line]) -> Iterator[list[Row]]:
    """Find the strings that begin with the octet 1, each as rows of octets."""
    written: list[tuple[int, str]] = []
    for line in lines:
        if not written or written[-1][0] != line.number:
            written.append((line.number, line.written))
    at = 0
    while at < len(written):
        number, text = written[at]
        begin = _BEGIN.search(text)
        at += 1
        if begin is None:
            continue
        if text[: begin.start()].endswith("\\"):  # escaped once more, as a string in JSON
            text = text[: begin.start()] + text[begin.start() :].replace("\\\\", "\\")
        quote = _quote_before(text[: begin.start()])
        octets, end = _read(text, begin.start(), quote)
        rows = [Row(number, octets)]
        while True:
            opening = _OPENING.match(text, end) if quote else None
            if opening is not None:
                octets, end = _read(text, opening.end(), opening[1])
                rows.append(Row(number, octets))
            elif at < len(written) and _goes_on(text, end, written[at][1], quote):
                (number, text), end = written[at], 0
                at += 1
                if not quote:
                    text = text.strip()
                    octets, end = _read(text, 0, "")
                    rows.append(Row(number, octets))
            else:
                break
        yield rows


def _quote_before(text: str) -> str:
    """Give the quote that a text ends in, empty without one."""
    last = text.rstrip("\\")[-1:]
    return last if last and last in _QUOTES else ""


def _goes_on(text: str, end: int, following: str, quote: str) -> bool:
    """Tell whether the next line continues a string that is closed, or that has no quotes."""
    if _WORD.search(text, end):
        return False
    return bool(_OPENING.match(following) if quote else _BARE_OPENING.match(following))


def _read(text: str, pos: int, quote: str) -> tuple[bytes, int]:
    """Read the octets of a string up to its quote, or to white space; gives the place behind."""
    octets = bytearray()
    while match := _ITEM.match(text, pos):
        hexed, braced, octal, named, plain = match.groups()
        if plain and (plain == quote or (not quote and plain.isspace())):
            break
        if octal:
            octets.append(int(octal, 8) & 0xFF)
        elif named:
            octets.append(_NAMED.get(named, ord(named)))
        elif plain:
            octets += plain.encode("latin-1", "replace")
        else:
            octets.append(int(hexed or braced, 16))
        pos = match.end()
    return bytes(octets), pos + 1
