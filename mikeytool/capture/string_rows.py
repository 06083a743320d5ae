r"""Octets in strings: `"\x01\x00\x05"`, `b'\x01Ij'`, `\001\000`, `%01%00`, `=01=00`, `^A^@`, cells.

A string begins with the octet 1, escaped in any way; what is not escaped in it stands for itself.
Strings that follow each other with nothing but signs between them are one, as in C and Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mikeytool.capture.byte_rows import Row
from mikeytool.capture.encoding import of_mixed_text
from mikeytool.capture.plain_text import Line

_NAMED = {"a": 7, "b": 8, "e": 27, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_OPENING = re.compile(r"[\W_]*?(?:u8|[bLr])?([\"'`])")
_BARE_OPENING = re.compile(r"\s*\\")
_WORD = re.compile(r"[^\W_]")
_ZERO = re.compile(r"(?<!\\)\\0(?=[0-9])")
_QUOTES = "\"'`"
_REPEATED = re.compile(r"'\\(\d{3}|[a-z0])' <repeats (\d{1,5}) times>")
_CELLS = re.compile(
    r"\s*(?:[0-9A-Fa-f]{6,8}(?=[ ])|[ ]{7})"
    r"((?:[ ]{3}[!-~]|[ ]{2}\\[0abfnrtv]|[ ][0-7]{3}|[ ]{4})+)\s*"
)
_MOST_BETWEEN = 2
"""How many other lines may stand between rows of cells."""
_MOST_COPIES = 256
"""How often an octet may be said to be repeated."""
_MOST_LINES = 64
"""How many lines a string may have in which line breaks are octets, too."""
_MOST_NEWLINES = 16
"""How many octets of a string may be line breaks."""
_Item = int | str
"""An octet that is escaped, or a character."""


class _Dialect(NamedTuple):
    """How octets are escaped: how a string begins, its items, and what ends a line that goes on.

    An item has its digits in `hex`, `octal`, `caret` or `named`, or is `plain`; `high` is before
    characters with the eighth bit.
    """

    begin: re.Pattern[str]
    item: re.Pattern[str]
    soft: str = ""
    """What is at the end of a line that is broken for its length."""
    has_lines: bool = False
    """Whether a line break is an octet, too."""
    end: str = ""
    """What may mark the end of a line."""
    stops: bool = False
    """Whether white space ends a string without quotes."""


_PLAIN = r"(?P<plain>.)"
_BACKSLASH = _Dialect(
    re.compile(r"\\(?:x01|x\{0?1\}|u0001|u\{1\}|0{0,2}1(?![0-7]))"),
    re.compile(
        r"\\(?:(?:x|u00)(?P<hex>[0-9A-Fa-f]{1,2})|[xu]\{(?P<braced>[0-9A-Fa-f]{1,2})\}"
        r"|(?P<octal>[0-7]{1,3})|(?P<named>[^0-9A-Zux]))|(?P<plain>[^\\])"
    ),
    "\\", end="$", stops=True,
)  # fmt: skip
_DIALECTS = (
    _Dialect(
        re.compile(r"%01%[01][0-9A-Fa-f]"),
        re.compile(r"%(?P<hex>[0-9A-Fa-f]{2})|(?P<plain>[^%\s\"&<>])"),
    ),
    _Dialect(
        re.compile(r"=01=[01][0-9A-F]"),
        re.compile(rf"=(?P<hex>[0-9A-F]{{2}})|(?!=){_PLAIN}"),
        "=", has_lines=True,
    ),
    _Dialect(
        re.compile(r"\^A(?:\^[A-Z@]|<[01][0-9A-Fa-f]>)"),
        re.compile(
            rf"(?!(?:M-)?\^\^(?!M-)[@-\]_?])"  # which may be read in two ways
            rf"(?P<high>M-)?(?:\^(?P<caret>[@-_?])|<(?P<hex>[0-9A-Fa-f]{{2}})>|{_PLAIN})"
        ),
        has_lines=True, end="$",
    ),
    _Dialect(
        re.compile(r"#001#0[0-3][0-7]"), re.compile(rf"#(?P<octal>[0-3][0-7]{{2}})|{_PLAIN}")
    ),
)  # fmt: skip


def strings_in(lines: Sequence[Line], *, breaks: bool) -> Iterator[list[Row]]:
    """Find the strings that begin with the octet 1, each as rows of octets, in every reading.

    `breaks` says that line breaks are the octet 10, where they are octets of a string.
    """
    written: list[tuple[int, str]] = []
    for line in lines:
        if not written or written[-1][0] != line.number:
            written.append((line.number, line.written))
    for strings in (_quoted(written), *(_bare(written, one, breaks) for one in _DIALECTS)):
        for string in strings:
            yield from _readings(string)
    yield from _cells(written)


def _readings(string: Sequence[tuple[int, Sequence[_Item]]]) -> Iterator[list[Row]]:
    """Give the octets of a string: its characters may be octets themselves, or UTF-8."""
    wide = max(
        (ord(one) for _, items in string for one in items if isinstance(one, str)), default=0
    )
    for encoding in ("latin-1", "utf-8")[wide > 0xFF : 1 + (wide > 0x7F)]:
        yield [
            Row(number, b"".join(bytes([one]) if isinstance(one, int) else one.encode(encoding)
                                 for one in items))
            for number, items in string
        ]  # fmt: skip
    octets = bytes(
        one if isinstance(one, int) else min(ord(one), 255) for _, i in string for one in i
    )
    if wide < 0x80 and (mended := of_mixed_text(octets)) is not None:
        yield [Row(string[0][0], mended)]


def _quoted(written: Sequence[tuple[int, str]]) -> Iterator[list[tuple[int, list[_Item]]]]:
    """Find strings as programs write them, with backslashes, in quotes or without."""
    at = 0
    while at < len(written):
        number, text = written[at]
        begin = _BACKSLASH.begin.search(text)
        at += 1
        if begin is None:
            continue
        before = text[: begin.start()]
        text = text[begin.start() :]
        if before.endswith("\\"):  # escaped once more, as a string in JSON
            text = text.replace("\\\\", "\\")
        if "\\x" in text:  # where octets are in hex, they are not in octal
            text = _ZERO.sub(r"\\x00", text)
        quote = _quote_before(before)
        if "<repeats" in text:
            text = _REPEATED.sub(_repeated, text)
        items, end = _read(_BACKSLASH, text, 0, quote)
        rows = [(number, items)]
        while True:
            opening = _OPENING.match(text, end) if quote else None
            if opening is not None:
                items, end = _read(_BACKSLASH, text, opening.end(), opening[1])
                rows.append((number, items))
            elif at < len(written) and _goes_on(text, end, written[at][1], quote):
                is_newline = not quote and text[end - 1 :].startswith("$")
                (number, text), end = written[at], 0
                at += 1
                if not quote:
                    text = text.strip() if _BARE_OPENING.match(text) else text
                    items, end = _read(_BACKSLASH, text, 0, "")
                    rows.append((number, [*([10] if is_newline else []), *items]))
            else:
                break
        yield rows


def _repeated(match: re.Match[str]) -> str:
    return '"' + f"\\{match[1]}" * min(int(match[2]), _MOST_COPIES) + '"'


def _quote_before(text: str) -> str:
    """Give the quote that a text ends in, empty without one."""
    last = text.rstrip("\\")[-1:]
    return last if last and last in _QUOTES else ""


def _goes_on(text: str, end: int, following: str, quote: str) -> bool:
    """Tell whether the next line continues a string that is closed, or that has no quotes."""
    if not quote and text[end - 1 :].strip() in ("\\", "$"):
        return bool(following)
    if _WORD.search(text, end):
        return False
    return bool(_OPENING.match(following) if quote else _BARE_OPENING.match(following))


def _bare(
    written: Sequence[tuple[int, str]], dialect: _Dialect, breaks: bool
) -> Iterator[list[tuple[int, list[_Item]]]]:
    """Find strings without quotes, in another dialect than that with backslashes."""
    for at, (number, text) in enumerate(written):
        begin = dialect.begin.search(text)
        if begin is None:
            continue
        quote = _quote_before(text[: begin.start()])
        rows = [(number, _read(dialect, _plus(text), begin.start(), quote)[0])]
        newlines = 0
        for following, line in written[at + 1 : at + _MOST_LINES]:
            is_soft = bool(dialect.soft) and text.endswith(dialect.soft)
            newlines += not is_soft
            if newlines > (_MOST_NEWLINES if dialect.has_lines and breaks else 0):
                break
            text = line
            rows.append((following, [*([] if is_soft else [10]), *_read(dialect, text, 0, "")[0]]))
        yield rows


def _plus(text: str) -> str:
    """Read `+` in a percent-encoded text as a space, as forms write it, if `%2B` stands for it."""
    return text.replace("+", "%20") if re.search("%2[bB]", text) and "%20" not in text else text


def _read(dialect: _Dialect, text: str, pos: int, quote: str) -> tuple[list[_Item], int]:
    """Read the items of a string up to its quote, or to white space; gives the place behind."""
    items: list[_Item] = []
    stops = dialect.stops and not quote and not text.endswith(("$", "\\"))
    end = len(text) - 1 if dialect.end and not quote and text.endswith(dialect.end) else len(text)
    while pos < end and (match := dialect.item.match(text, pos)):
        found = match.groupdict()
        plain = found["plain"]
        if plain and (plain == quote or (stops and plain.isspace())):
            break
        if plain:
            item: _Item = plain
        elif hexed := found.get("hex") or found.get("braced"):
            item = int(hexed, 16)
        elif octal := found.get("octal"):
            item = int(octal, 8) & 0xFF
        elif caret := found.get("caret"):
            item = ord(caret) ^ 0x40
        else:
            item = _NAMED.get(found["named"], found["named"])
        if found.get("high") and (isinstance(item, int) or ord(item) < 0x80):
            item = (item if isinstance(item, int) else ord(item)) | 0x80
        items.append(item)
        pos = match.end()
    return items, pos + 1


def _cells(written: Sequence[tuple[int, str]]) -> Iterator[list[Row]]:
    """Find rows of characters in cells of one width, of which some are escaped."""
    rows: list[Row] = []
    for number, text in written:
        match = _CELLS.fullmatch(text)
        if match is None:
            if rows and (number > rows[-1].number + _MOST_BETWEEN or text.strip() == "*"):
                yield from _unpadded(rows)
                rows = []
            continue
        cells = [match[1][at : at + 4].strip() or " " for at in range(0, len(match[1]), 4)]
        rows.append(Row(number, bytes(_cell(one) for one in cells)))
    if rows:
        yield from _unpadded(rows)


def _unpadded(rows: list[Row]) -> Iterator[list[Row]]:
    """Give rows as they are, and without the spaces that may fill up the last of them."""
    yield rows
    if rows[-1].octets.endswith(b" "):
        yield [*rows[:-1], rows[-1]._replace(octets=rows[-1].octets.rstrip())]


def _cell(text: str) -> int:
    if len(text) == 3:
        return int(text, 8) & 0xFF
    return ord(text) if len(text) == 1 else 0 if text == "\\0" else _NAMED[text[1]]
