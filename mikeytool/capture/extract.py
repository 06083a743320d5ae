"""MIKEY messages anywhere in text: in logs, mails, dumps, source code, trees and documents.

No program is known here by its name. Wherever a text spells the beginning of a message (version 1,
an assigned data type and an assigned first payload), in base64, in hex, in numbers or in the
escapes of a string, reading goes on in that notation over the lines that continue it, and a message
is what can be read to the end of its last payload. Cookies, hashes and dumps of other protocols are
none. What names itself, behind `key-mgmt:mikey` or `prot=mikey`, and is not whole, is an error.

The work is linear in the length of the text: each notation is searched for once, and what is read
again in the search for an end is bounded by a multiple of that length.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from mikeytool.capture.byte_rows import Row, blocks_in
from mikeytool.capture.dumped_frames import DumpedFrame, frames_in, messages_in_frames
from mikeytool.capture.encoding import begins_like_message, read_base64
from mikeytool.capture.plain_text import lines_of
from mikeytool.capture.string_rows import strings_in
from mikeytool.wire.errors import WireError
from mikeytool.wire.message import Message, message_end
from mikeytool.wire.payloads import T

_LONGEST = 1 << 16
"""The most octets of a message whose end is looked for line by line."""
_LEAST = 20
"""The least octets of a message that does not name itself."""
_MOST_DEPTH = 2
"""How deep octets that a text spells are searched as text themselves."""
_MOST_SIGNS = 2
"""How many lines without a letter or a digit may stand inside a message."""
_FAR = 2048
"""How many characters may be between `prot=mikey` and its data."""
_HEADER = 14
"""How many base64 characters a common header has at the least (RFC 3830 6.1)."""
_LEAST_COST = 256
"""What an attempt to read a message costs at the least, in characters."""
_FULLY = 2
_ROW = 32
"""How many characters a line has, at the least, where text in hex or base64 begins."""

_TOKEN = r"[A-Za-z0-9+/_-]"  # noqa: S105 - of base64
_BASE64 = re.compile(
    rf"(?<!{_TOKEN})A[QR](?:[AEIMQUYcgkosw048](?:[A-Za-f]{_TOKEN}*)?)?(?!{_TOKEN})={{0,2}}"
)
_MORE_BASE64 = re.compile(rf"{_TOKEN}+={{0,2}}")
_HEX = re.compile(
    r"(?<![0-9A-Za-z])(?:\\?[xX]['\"]?|0[xX])?(?![01]{8}[ \t,]+[01]{8}\b)"  # those are bits
    r"(01[01][0-9A-Fa-f][01][0-9A-Fa-f]{3,})(?![0-9A-Za-z])"
)
_ANOTHER = re.compile(r"A[QR][AEIMQUYcgkosw048]F|01[01][0-9A-Fa-f]05")
"""How a message with a timestamp begins, in base64 or hex; behind a blank line it is another."""
_MORE_HEX = re.compile(r"(?:0[xX])?([0-9A-Fa-f]+)")
_NAME = re.compile(
    r"(?i)(key-mgmt[ \t]*[:=][ \t]*[\"']?mikey)|(prot[ \t]*=[ \t]*[\"']?mikey)|mikey"
)
_ATTRIBUTE = re.compile(r"(?i)\ba=(?:acap:\d+[ \t]+)?$")
_BETWEEN = re.compile(r"[\"'\s:=,;>]*")
_DATA = re.compile(r"(?i)\bdata[ \t]*=[ \t]*[\"']?")
_ELISION = re.compile(
    r"(?i)[\"']?\s*(?:\.\.|\u2026|[\[(<]\s*(?:\.\.|\u2026|snip|cut|trunc|short|omit))"
)
_JOIN = re.compile(r"[\"'`]\s*(?:[+.&\\,]\s*)?[\"'`]|[ \t]+")
_WORD = re.compile(r"[0-9A-Za-z]")
_NUMBER = re.compile(r"[0-9]+")

_SAYS_MIKEY = re.compile(rb"(?i)mikey")
_BASE64_OF_ALL = re.compile(rb"A[QR][A-Za-z0-9+/_-]{24,}={0,2}\s*")
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}){16,}(?![0-9A-Za-z])")
_LONG_BASE64 = re.compile(rf"(?<!{_TOKEN})[A-Za-z0-9+/]{{20,}}={{0,2}}(?!{_TOKEN})")

_NO_BEGIN = "what is behind mikey does not begin like a message; copy all of it"


class Extracted(NamedTuple):
    """A message in a text, or what is wrong with one that names itself.

    `first` and `last` are its lines, from 1. `named` says how much of a name is before it: 2 for
    `key-mgmt:mikey` or `prot=mikey`, whose `carrier` is told, 1 for `mikey`, 0 for none.
    `is_inside` marks a message in text that is itself spelled in hex, base64 or a dump. `begun` has
    the octets of one that breaks off.
    """

    content: bytes | WireError
    first: int
    last: int
    order: tuple[int, int, int]
    named: int = 0
    carrier: str = ""
    is_inside: bool = False
    begun: bytes = b""


class _Piece(NamedTuple):
    """A part of a message in one notation, and its place: a line, or a row of a block."""

    text: str
    place: int


class Extraction:
    """The messages in a text, in order; one that is shown twice is there once.

    `cut` says what begins like a message and breaks off, if there is something.
    """

    def __init__(self, text: str, depth: int = 0) -> None:
        self.cut: WireError | None = None
        self._lines = list(lines_of(text))
        self._depth = depth
        self._left = 16 * len(text) + 4 * _LONGEST
        self._found: list[Extracted] = []
        for at, line in enumerate(self._lines):
            self._find_base64(at, line.text)
            self._find_hex(at, line.text)
        blocks = list(blocks_in(self._lines))
        read: list[Extracted] = []
        for rows in (*blocks, *strings_in(self._lines, breaks="\r" not in text)):
            read += self._find_in_rows(rows)
        self._found += _apart(read)
        if depth < _MOST_DEPTH:
            self._find_spelled()
        if self._left < 0:
            last = self._lines[-1].number
            error = WireError("too much here begins like a message; give a part of the text")
            self._found.append(Extracted(error, last, last, (last + 1, 0, 0)))
        self.found = _once(sorted(self._found, key=lambda one: one.order))
        self.framed: frozenset[int] = frozenset()
        if depth == 0 and (frames := frames_in(blocks, self._lines)):
            self._take_frames(frames)

    def _find_base64(self, at: int, text: str) -> None:
        """Find what begins in a line in base64."""
        names = _Names(text)
        covered = 0
        number = self._lines[at].number
        for match in _BASE64.finditer(text):
            if match.start() < covered:
                continue
            named, carrier, begin = names.before(match.start())
            whole = self._whole(self._pieces(at, match, begin, _MORE_BASE64), _of_base64, named)
            content: bytes | WireError
            begun = b""
            if whole is not None:
                content, last = whole
            elif named == _FULLY and len(match[0]) >= _HEADER:
                content, last = _broken(match, text), number
                begun = _of_base64(match[0].rstrip("="))
            else:
                continue
            order = (number, at, match.start())
            self._found.append(Extracted(content, number, last, order, named, carrier, begun=begun))
            covered = match.end()
        for start in names.unused():
            error = WireError(_NO_BEGIN)
            self._found.append(Extracted(error, number, number, (number, at, start), _FULLY))

    def _find_hex(self, at: int, text: str) -> None:
        """Find what begins in a line in hex without gaps."""
        number = self._lines[at].number
        for match in _HEX.finditer(text):
            pieces = self._pieces(at, match, match.start(), _MORE_HEX)
            whole = self._whole(pieces, _of_hex, 0)
            if whole is not None:
                order = (number, at, match.start())
                self._found.append(Extracted(whole[0], number, whole[1], order))

    def _find_in_rows(self, rows: Sequence[Row]) -> Iterator[Extracted]:
        """Find messages that begin with a row of octets, and those in text that the octets are."""
        at = 0
        while at < len(rows):
            head = b"".join(row.octets[:3] for row in rows[at : at + 3])
            found = self._find_from_row(rows, at) if begins_like_message(head) else None
            if found is None:
                at += 1
                continue
            message, last = found
            first = rows[at].number
            order = (first, 0, rows[at].column)
            yield Extracted(message, first, rows[last].number, order)
            at = last + 1
        octets = b"".join(row.octets for row in rows)
        if self._depth < _MOST_DEPTH and _SAYS_MIKEY.search(octets):
            self._find_inside(octets, rows[0].number, rows[-1].number)

    def _find_from_row(self, rows: Sequence[Row], at: int) -> tuple[bytes, int] | None:
        """Find the message that begins with a row; gives it, and the place of its last row."""
        pieces = (_Piece(rows[place].octets.hex(), place) for place in range(at, len(rows)))
        return self._whole(pieces, _of_hex, 0)

    def _take_frames(self, frames: Sequence[DumpedFrame]) -> None:
        """Take the messages in dumped frames, not what their octets and trees seem to say beside.

        `framed` are the lines of the frames.
        """
        whole = messages_in_frames(frames)
        known = [one.message for one in whole]
        self.framed = frozenset(
            line for frame in frames for line in range(frame.first, frame.last + 1)
        )
        kept = []
        for one in self.found:
            if self.framed.isdisjoint(range(one.first, one.last + 1)):
                begun = one.begun if isinstance(one.content, WireError) else one.content
                # Where a tree cuts a line short, its last characters may be none of the message.
                start = begun[:-3]
                is_again = begun in known or (start and any(m.startswith(start) for m in known))
            else:
                is_again = bool(known) or not (one.named or one.is_inside)
            kept += [] if is_again else [one]
        for message, frame, carrier in whole:
            order = (frame.first, 0, 0)
            kept.append(Extracted(message, frame.first, frame.last, order, _FULLY, carrier))
        self.found = sorted(kept, key=lambda one: one.order)

    def _find_spelled(self) -> None:
        """Find messages in text that is spelled in hex or in base64."""
        run: list[str] = []
        first = 0
        for line in self._lines:
            token = _MORE_BASE64.fullmatch(line.text.strip(" \t>|\"',"))
            if token is not None and (run or len(token[0]) >= _ROW):
                first = first if run else line.number
                run.append(token[0])
                continue
            self._find_in_token("".join(run), first, line.number)
            run = []
            for match in chain(_LONG_HEX.finditer(line.text), _LONG_BASE64.finditer(line.text)):
                self._find_in_token(match[0], line.number, line.number)
        self._find_in_token("".join(run), first, first + len(run))

    def _find_in_token(self, token: str, first: int, last: int) -> None:
        try:
            octets = bytes.fromhex(token)
        except ValueError:
            octets = _of_base64(token.rstrip("="))
        if _SAYS_MIKEY.search(octets) or _BASE64_OF_ALL.fullmatch(octets):
            self._find_inside(octets, first, last)

    def _find_inside(self, octets: bytes, first: int, last: int) -> None:
        """Find messages in octets that are, at least in part, text."""
        inner = Extraction(octets.decode("latin-1"), self._depth + 1)
        for one in inner.found:
            if isinstance(one.content, bytes):
                order = (first, len(self._lines), one.first)
                self._found.append(
                    one._replace(first=first, last=last, order=order, is_inside=True)
                )

    def _pieces(
        self, at: int, match: re.Match[str], begin: int, more: re.Pattern[str]
    ) -> Iterator[_Piece]:
        """Give the text of a match, then what continues it: behind it, and in the next lines.

        `begin` is where its name begins in its line; what is before that may be before each line.
        """
        line = self._lines[at]
        yield _Piece(match[match.lastindex or 0], line.number)
        head, end, signs = line.text[:begin], match.end(), 0
        while True:
            while token := _beside(line.text, end, more):
                yield _Piece(token[token.lastindex or 0], line.number)
                end = token.end()
            if _WORD.search(line.text, end):
                return
            at += 1
            while at < len(self._lines) and not _WORD.search(self._lines[at].text):
                at, signs = at + 1, signs + 1
            if at >= len(self._lines) or signs > _MOST_SIGNS:
                return
            line, is_apart, signs = self._lines[at], signs > 0, 0
            self._left -= len(line.text)
            if self._left < 0:
                return
            token = _continuing(line.text, head, more)
            if token is None or (is_apart and _ANOTHER.match(token[0])):
                return
            yield _Piece(token[token.lastindex or 0], line.number)
            end = token.end()

    def _whole(
        self, pieces: Iterable[_Piece], decode: Callable[[str], bytes], named: int
    ) -> tuple[bytes, int] | None:
        """Read pieces until they are a whole message; gives it, and the place where it ends.

        The pieces are read again when there are twice as many characters. They are none if a
        fault stays where it was when more has come.
        """
        parts: list[str] = []
        places: list[tuple[int, int]] = []
        size, wanted, fault = 0, _ROW, ""
        if self._left < 0 and named < _FULLY:
            return None
        per_octet = 2 if decode is _of_hex else 4 / 3
        for piece in pieces:
            parts.append(piece.text.rstrip("="))
            size += len(parts[-1])
            places.append((size, piece.place))
            if size < wanted:
                continue
            text = "".join(parts)
            octets, error = self._end_of(text, decode)
            if error is None or str(error) == fault or len(octets) > _LONGEST or self._left < 0:
                break
            fault, wanted = str(error), 2 * size
        octets, error = self._end_of("".join(parts), decode)
        if error is not None:
            if self.cut is None and len(octets) >= _LEAST and begins_like_message(octets):
                is_begun = any(isinstance(one, T) for one in Message.read(octets).payloads)
                self.cut = error if is_begun else None
            return None
        end = message_end(octets)
        needed = -(-end * per_octet // 1)
        place = next(place for length, place in places if length >= needed)
        length = next(length for length, _ in places if length >= needed)
        padding = octets[end : int(length / per_octet)]
        if any(padding) or (named < 1 and not _is_sound(octets[:end])):
            return None
        return octets[:end], place

    def _end_of(self, text: str, decode: Callable[[str], bytes]) -> tuple[bytes, WireError | None]:
        """Decode a text; gives its octets, and why no message ends in them."""
        self._left -= max(len(text), _LEAST_COST)
        octets = decode(text)
        try:
            message_end(octets)
        except WireError as error:
            return octets, error
        return octets, None


class _Names:
    """The names of MIKEY in a line; each names the data behind it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._names = list(_NAME.finditer(text)) if "m" in text.lower() else []
        self._at = 0
        self._used: set[int] = set()

    def before(self, start: int) -> tuple[int, str, int]:
        """Say how much data at a place are named, by which carrier, and where the name begins."""
        while self._at < len(self._names) and self._names[self._at].end() <= start:
            self._at += 1
        if not self._at:
            return 0, "", start
        name = self._names[self._at - 1]
        between = _BETWEEN.match(self._text, name.end(), start)
        is_beside = between is not None and between.end() == start
        if name[2] and start - name.end() <= _FAR:
            self._used.add(name.start())
            return _FULLY, "KeyMgmt header", name.start()
        if not is_beside:
            return 0, "", start
        self._used.add(name.start())
        if not name[1]:
            return 1, "", name.start()
        begin = _ATTRIBUTE.search(self._text, max(name.start() - 32, 0), name.start())
        return _FULLY, "a=key-mgmt", begin.start() if begin else name.start()

    def unused(self) -> Iterator[int]:
        """Give the places of full names with data behind that are none."""
        for name in self._names:
            if name.start() in self._used or not (name[1] or name[2]):
                continue
            end = name.end()
            if name[2]:
                data = _DATA.search(self._text, end, end + _FAR)
                if data is None:
                    continue
                end = data.end()
            else:
                between = _BETWEEN.match(self._text, end)
                end = between.end() if between else end
            token = _MORE_BASE64.match(self._text, end)
            if token is not None and len(token[0]) >= _HEADER:
                yield name.start()


def _of_hex(text: str) -> bytes:
    """Decode hex; one digit too many is left out."""
    return bytes.fromhex(text[: len(text) // 2 * 2])


def _of_base64(text: str) -> bytes:
    """Decode base64 without padding; one character too many is left out."""
    text = text.translate(_STANDARD)
    text = text[:-1] if len(text) % 4 == 1 else text
    try:
        return binascii.a2b_base64(text + "=" * (-len(text) % 4))
    except binascii.Error:
        return b""


_STANDARD = str.maketrans("-_", "+/")


def _beside(text: str, end: int, more: re.Pattern[str]) -> re.Match[str] | None:
    """Find the next part of a message in the same line, as in strings beside each other in C."""
    joined = _JOIN.match(text, end)
    return None if joined is None else more.match(text, joined.end())


def _continuing(text: str, head: str, more: re.Pattern[str]) -> re.Match[str] | None:
    """Find what continues a message in a line: alone there, or behind what is before each line."""
    word = _WORD.search(text)
    if word is None:
        return None
    token = more.match(text, _back(text, word.start(), _is_sign))
    is_alone = token is not None and not _WORD.search(text, token.end())
    if is_alone or (
        token is not None and _JOIN.match(text, token.end()) and not _WORD.search(head)
    ):
        return token
    end = _back(text, len(text), lambda sign: not _is_word(sign))
    start = _back(text, end, lambda sign: _is_word(sign) or _is_sign(sign))
    if _shape(text[:start]) != _shape(head):
        return None
    return more.match(text, start)


def _shape(head: str) -> str:
    return " ".join(_NUMBER.sub("0", head).split())


def _back(text: str, end: int, belongs: Callable[[str], bool]) -> int:
    """Go back from a place while the character before it belongs to something."""
    while end and belongs(text[end - 1]):
        end -= 1
    return end


def _is_word(sign: str) -> bool:
    return sign.isascii() and sign.isalnum()


def _is_sign(sign: str) -> bool:
    return sign in "+/_-"


def _broken(match: re.Match[str], text: str) -> bytes | WireError:
    """Give what names itself and is no whole message: its octets, or why there are none."""
    if _ELISION.match(text, match.end()):
        return WireError("the message is shortened here; copy all of it")
    try:
        octets = read_base64(match[0])
        message_end(octets)
    except WireError as error:
        return WireError(f"the message breaks off or is not whole: {error}")
    return octets


def _is_sound(octets: bytes) -> bool:
    """Tell whether octets that do not name themselves are a message, and no chance.

    Every message has a timestamp (RFC 3830 3, RFC 6043 4) and something else.
    """
    kinds = [type(one) for one in Message.read(octets).payloads]
    return len(octets) >= _LEAST and len(kinds) > 1 and T in kinds


def _apart(found: Iterable[Extracted]) -> Iterator[Extracted]:
    """Leave out what other readings of the same rows gave: the first counts, and the longest."""
    last = 0
    place = (0, 0)
    for one in sorted(found, key=lambda one: (one.first, one.order, one.first - one.last)):
        if one.first > last or (one.first == one.last == last and one.order[0::2] != place):
            yield one
            last, place = one.last, one.order[0::2]


def _once(found: Iterable[Extracted]) -> list[Extracted]:
    """Leave out what shows a message again: with less of its name, or spelled in octets.

    Programs that print packets show a field and then its value, and the octets before or behind.
    """
    kept: list[Extracted] = []
    spelled: dict[bytes, int] = {}
    shown: set[bytes] = set()
    for one in found:
        before = kept[-1] if kept else None
        if isinstance(one.content, bytes):
            if one.is_inside:
                if one.content in shown:
                    continue
                spelled[one.content] = len(kept)
            elif one.content in spelled:
                kept[spelled.pop(one.content)] = one
                continue
            elif before is not None and before.content == one.content:
                is_beside = before.order[:2] == one.order[:2]
                if is_beside or one.named < before.named or before.order == one.order:
                    continue
            shown.add(one.content)
        kept.append(one)
    return kept
