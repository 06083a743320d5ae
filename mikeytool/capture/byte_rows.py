"""Octets in dumps and in lists of numbers, whichever program printed them.

A line has a run of numbers of one style: groups of hex digits, `0x` before each, bits, octal or
decimal. What is before it (an offset, a time, a bracket) is its head. Lines with runs of one style
under one kind of head are one block; others may stand between them if offsets tell that nothing
is left out. Offsets also tell how long a row is, so that the characters beside it are none of it;
where there are no offsets, the other rows tell, or what these characters are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, takewhile
from typing import NamedTuple

from mikeytool.capture.plain_text import Line

_MOST_REPEATED = 4096
"""How many rows a line with `*` may stand for."""
_ROW = 8
"""The least numbers in a row that is one of a dump or a list without doubt."""
_LONG_RUN = 20
"""How many numbers a run has, at the least, that may be a message beside another in its line."""
_MANY_BITS = 128
"""How many digits have only bits among them if they are bits."""
_FAR = 64
"""How many columns a row may begin behind where the one before it began."""
_MOST_BETWEEN = 2
"""How many other lines may stand between two rows, if the offsets tell that they follow."""
_MOST_PARTS = 24
"""How many parts a line may have that were not meant to be lines: the characters beside a dump."""
_MOST_COPIES = 1 << 16
"""How many numbers of a text may be there only because they are said to be repeated."""

_NOISE = re.compile(
    r"\(\s*(?:unsigned\s+)?(?:byte|char|sbyte|u?int8(?:_t)?)\s*\)\s*"  # casts and types
    r"|(?<=[0-9A-Fa-f])(?:_?[ui]8|uy)\b|\bint\((?=\d+\))|(?<=\d)\)(?=\s*$)"
    r'|"\d{1,5}"\s*:\s*(?=\d)|\[\d{1,5}\]\s*=>?\s*(?=\w|$)'  # the place of each number
)
_REPEATED = re.compile(r"\b(?:0x)?([0-9A-Fa-f]{1,3}) <repeats (\d{1,5}) times>")
_OFFSET = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{2,16})h?(?:\s*<[^<>]*>)?\W*$")
_PLACE = re.compile(r"\b[0-9A-Fa-f]{4,16}\W*$")
"""An offset that has a row behind it, so that the next has one, too."""
_OPENS = re.compile(r"\W*[\[({]\s*$")
"""What is behind a number that tells how many others follow."""
_REPEAT = re.compile(r"[\s|\u2502]*(?:\d+[\s:]+)?\*[\s|\u2502\u250a]*")
_SYMBOL = re.compile(r"<[^<>]*>")
_DIGITS = re.compile(r"[0-9A-Fa-f]+")
_WORD = re.compile(r"[0-9A-Za-z]")
_ASIDE = re.compile(r"\s*[|>\u2502]?(.*?)[|<\u2502]?\s*$")


class Row(NamedTuple):
    """The octets of one line, whose number counts from 1, and the column in which they begin."""

    number: int
    octets: bytes
    column: int = 0


class _Number(NamedTuple):
    digits: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class _Style:
    """How numbers are written: the patterns of a run and of one, and in which base."""

    run: re.Pattern[str]
    number: re.Pattern[str]
    base: int
    least: int
    """Numbers that a run has at least where a block begins."""
    is_even: bool
    """Whether all numbers have as many digits, but for one at the end."""

    def size(self, rows: Sequence[Sequence[str]]) -> int:
        """Tell how many octets each number has; 0 if they are no octets."""
        first = next((len(one) for row in rows for one in row), 2)
        if self.base == 16:
            return (first + 1) // 2
        if self.base == 8:
            return {3: 1, 6: 2, 11: 4, 22: 8}.get(first, 0)
        if self.base == 2:
            return 1
        most = max((abs(int(one)) for row in rows for one in row), default=0)
        return next((size for size in (1, 2, 4, 8) if most < 1 << 8 * size), 0)

    def octets(self, rows: Sequence[Sequence[str]]) -> Iterator[list[bytes]]:
        """Read numbers as words, most significant octet first, and last."""
        size = self.size(rows)
        words = [[self._word(one, size) for one in row] for row in rows]
        if not size or any(word is None for row in words for word in row):
            return
        yield [b"".join(word or b"" for word in row) for row in words]
        if size > 1:
            yield [b"".join((word or b"")[::-1] for word in row) for row in words]

    def _word(self, digits: str, size: int) -> bytes | None:
        value = int(digits, self.base)
        if self.base == 16:
            return value.to_bytes((len(digits) + 1) // 2)
        most = 1 << 8 * size
        return (value % most).to_bytes(size) if -most // 2 <= value < most else None


def _style(number: str, between: str, base: int, least: int, *, is_even: bool = True) -> _Style:
    one = rf"(?<![0-9A-Za-z]){number}(?![0-9A-Za-z])"
    run = re.sub(r"\((?!\?)", "(?:", rf"{one}(?:(?:{between}){one})*")
    return _Style(re.compile(run), re.compile(one), base, least, is_even)


_MIDDLE = r"[ \t]+[-|:\u2502\u250a\u2506][ \t]+|[-\u2502\u250a\u2506]"
"""What may be in the middle of a row."""
_BITS = _style(r"([01]{8})", r"[ \t,_]{1,2}", 2, 4)
_HEX = _style(r"((?:[0-9A-Fa-f]{2}){1,32})", rf"[ \t]{{1,18}}|[:,.|_-][ \t]?|{_MIDDLE}", 16, 1)
_DECIMAL = _style(r"(-?\d{1,20})", r"\s{0,20},\s{0,20}|\s{1,20}|\s?;\s?|\.", 10, 1, is_even=False)
_STYLES = (
    _BITS,
    _style(
        r"(?:0[xX]|&[hH]|#x|\$|16#)((?:[0-9A-Fa-f]{2}){1,8}|[0-9A-Fa-f])",
        r"['\"]?[\s,;|]{1,16}['\"]?", 16, 1, is_even=False,
    ),
    _HEX,
    _style(r"([0-9A-Fa-f]{2})[hH]", r"[ \t,]{1,2}", 16, 4),
    _style(r"([0-7]{3}|[0-7]{6}|[0-7]{11}|[0-7]{22})", r"[ \t]{1,2}", 8, 4),
    _DECIMAL,
)  # fmt: skip


@dataclass(slots=True)
class _Read:
    """A run in a line; none in a line that stands for repeated rows."""

    number: int
    text: str
    column: int
    numbers: list[_Number]

    @property
    def head(self) -> str:
        return self.text[: self.column]

    def offset(self, base: int) -> int | None:
        """The offset before the run, in a base."""
        found = _OFFSET.search(self.head)
        try:
            return None if found is None else int(found[1], base)
        except ValueError:
            return None

    @property
    def octets(self) -> int:
        """How many octets the numbers have, if they are hex."""
        return sum((len(one.digits) + 1) // 2 for one in self.numbers)


def blocks_in(lines: Sequence[Line]) -> Iterator[list[Row]]:
    """Find the blocks of octets in lines, in every style that they can be read in."""
    spare = [_MOST_COPIES]
    plain = ((line.number, _plain(line.text, spare).expandtabs()) for line in lines)
    texts = [(number, text) for number, text in plain if text and not text.isspace()]
    for style in _STYLES:
        for group in chain(_groups(texts, style), _alone(texts, style)):
            yield from _blocks_of(group, style)
            if style is _BITS and _are_bits(group):
                of_bits = {read.number for read in group}
                texts = [line for line in texts if line[0] not in of_bits]


def _plain(text: str, spare: list[int]) -> str:
    """Leave out casts and places, and write what is said to be repeated, as often as is spare."""

    def repeated(match: re.Match[str]) -> str:
        times = min(int(match[2]), spare[0])
        spare[0] -= times
        return ", ".join([match[1]] * times)

    if "<repeats" in text:
        text = _REPEATED.sub(repeated, text)
    return _NOISE.sub("", text)


def _are_bits(group: Sequence[_Read]) -> bool:
    """Tell bits from words of four octets, of which many may be zero."""
    digits = "".join(one.digits for read in group for one in read.numbers)
    return len(digits) >= _MANY_BITS and 8 * digits.count("1") > len(digits)


def _groups(texts: Sequence[tuple[int, str]], style: _Style) -> Iterator[list[_Read]]:
    """Group lines that follow each other, and have runs of a style and heads of one kind."""
    at = 0
    while at < len(texts):
        read = _begun(style, *texts[at])
        at += 1
        if read is None:
            continue
        group = [read]
        while (step := _next(group, style, texts, at)) is not None:
            read, at = step
            group.append(read)
        yield group


def _alone(texts: Sequence[tuple[int, str]], style: _Style) -> Iterator[list[_Read]]:
    """Find long runs that stand beside each other in a line."""
    for number, text in texts:
        if len(text) < 4 * _LONG_RUN:
            continue
        long = [one for one in style.run.finditer(text) if len(one[0]) > 2 * _LONG_RUN]
        for match in long if len(long) > 1 else ():
            read = _longest(number, text, _parts(style, text, match))
            if len(read.numbers) >= _LONG_RUN:
                yield [read]


def _begun(style: _Style, number: int, text: str) -> _Read | None:
    """Read the longest run of a line, as the first of a block."""
    longest = max(style.run.finditer(text), key=lambda match: len(match[0]), default=None)
    if longest is None:
        return None
    read = _longest(number, text, _parts(style, text, longest))
    enough = len(read.numbers) >= style.least or not _WORD.search(read.head)
    return read if enough else None


def _next(
    group: list[_Read], style: _Style, texts: Sequence[tuple[int, str]], at: int
) -> tuple[_Read, int] | None:
    """Find the row that follows those of a group; gives it, and the place behind its line."""
    others = 0
    for place in range(at, min(at + _MOST_PARTS, len(texts))):
        read = _continued(group, style, *texts[place])
        if read is not None and (not others or _follows(group[-1], read)):
            return read, place + 1
        others += texts[place][0] != group[-1].number
        if others > _MOST_BETWEEN or (others and not _PLACE.search(group[-1].head)):
            break
    return None


def _follows(last: _Read, read: _Read) -> bool:
    """Tell by their offsets whether a row is the one behind another."""
    for base in (16, 10, 8):
        before, after = last.offset(base), read.offset(base)
        if before is not None and after is not None and 0 < after - before <= last.octets:
            return True
    return False


def _continued(group: list[_Read], style: _Style, number: int, text: str) -> _Read | None:
    """Read a line that continues a block: its head is like that before it, or no word."""
    last = group[-1]
    if len(last.numbers) == 1 and _OPENS.match(last.text, last.numbers[0].end):
        return None
    if number != last.number and _REPEAT.fullmatch(text):
        return _Read(number, last.text, last.column, [])
    size = next((len(read.numbers[0].digits) for read in group if read.numbers), 0)
    match = style.run.match(text, last.column)
    if match is not None and _shape(text[: match.start()]) == _shape(last.head):
        parts = _parts(style, text, match, size)[:1]
    else:
        far = last.column + _FAR
        found = takewhile(lambda one: one.start() <= far, style.run.finditer(text))
        every = [part for one in found for part in _parts(style, text, one)]
        heads = [_shape(text[: part[0].start]) for part in every]
        parts = [one for one, head in zip(every, heads, strict=True) if head == _shape(last.head)]
        if not parts and not _PLACE.search(last.head):
            parts = [one for one in every if not _WORD.search(text[: one[0].start])]
    if style.is_even:
        parts = [part for part in parts if len(part[0].digits) <= size]
    if not parts:
        return None
    read = _longest(number, text, parts)
    if len(last.numbers) < _ROW and _WORD.search(last.head) and not _follows(last, read):
        # The time in a log, perhaps; a longer run in the line counts for more.
        longest = _begun(style, number, text)
        if longest is not None and len(longest.numbers) > len(read.numbers):
            return None
    return read


def _shape(head: str) -> str:
    return " ".join(_DIGITS.sub("0", _SYMBOL.sub("", head)).split())


def _longest(number: int, text: str, parts: Sequence[list[_Number]]) -> _Read:
    longest = max(parts, key=lambda part: part[-1].end - part[0].start)
    return _Read(number, text, longest[0].start, longest)


def _parts(style: _Style, text: str, match: re.Match[str], size: int = 0) -> list[list[_Number]]:
    """Split a run into parts in which all numbers are written alike.

    `size` is the number of digits in the rows before; the run begins in their column then.
    """
    parts: list[list[_Number]] = []
    sign = ""
    for one in style.number.finditer(text, match.start(), match.end()):
        found = _Number(one[1], one.start(), one.end())
        part = parts[-1] if parts else []
        between = text[part[-1].end : found.start] if part else ""
        if part and _is_alike(style, part, found, size):
            if len(part) == 1:
                sign = between.strip()
            if between.strip() == sign or (not sign and re.fullmatch(_MIDDLE, between)):
                part.append(found)
                continue
            if len(part) == 2 and sign and text[part[1].start - 1].isspace():
                sign = between.strip()
                parts.append([part[-1], found])  # the first was an offset
                continue
        if not parts or text[found.start - 1 : found.start] != ".":
            parts.append([found])
    return parts


def _is_alike(style: _Style, part: list[_Number], found: _Number, size: int) -> bool:
    """Tell whether a number may follow others: an offset is longer, and a last one shorter."""
    first, last, here = len(part[0].digits), len(part[-1].digits), len(found.digits)
    if style.is_even:
        is_offset = len(part) == 1 and here < first and not size
        return last == (size or first) >= here and not is_offset
    if style is _DECIMAL:
        is_offset = len(part) == 1 and part[0].digits[0] == "0" and first > 3
        return not (is_offset and (here != first or first > 5))
    return here == first or max(here, first) <= 2


def _blocks_of(group: list[_Read], style: _Style) -> Iterator[list[Row]]:
    """Make a block of the runs of neighbouring lines, in each reading of their numbers."""
    base, width = _layout(group, style)
    if width:
        _cut(group, style, width)
    elif style is _HEX:
        _cut_aside(group)
    if not base:
        # Without offsets it is not known how many rows a line with `*` stands for.
        first = next((at for at, read in enumerate(group) if not read.numbers), len(group))
        group = group[:first]
    for octets in style.octets([[one.digits for one in read.numbers] for read in group]):
        rows = [
            Row(read.number, each, read.column) for read, each in zip(group, octets, strict=True)
        ]
        yield _with_repeats(group, rows, base)


def _layout(group: Sequence[_Read], style: _Style) -> tuple[int, int]:
    """Give the base of the offsets, and how many numbers are in a row; 0 for what is not known."""
    counts = Counter(len(read.numbers) for read in group[:-1] if read.numbers)
    size = style.size([[one.digits for one in read.numbers] for read in group]) or 1
    for base in (16, 10, 8):
        steps = Counter(
            after - before
            for one, other in pairwise(group)
            if one.numbers and other.numbers
            and (before := one.offset(base)) is not None
            and (after := other.offset(base)) is not None
        )  # fmt: skip
        step = max(steps, key=lambda step: steps[step], default=0)
        if step > 0 and step % size == 0 and step // size in counts:
            return base, step // size
    width = max(counts, key=lambda count: (counts[count], count), default=0)
    is_regular = len(group) > 2 and 2 * counts[width] > len(group) - 1
    return 0, width if is_regular and style is not _DECIMAL else 0


def _cut(group: Sequence[_Read], style: _Style, width: int) -> None:
    """Leave out what is behind the octets in rows of a width."""
    ends = Counter(
        read.numbers[width - 1].end - read.column for read in group if len(read.numbers) >= width
    )
    end = max(ends, key=lambda end: ends[end])
    for read in group:
        del read.numbers[width:]
        if style.is_even:
            read.numbers = [one for one in read.numbers if one.end - read.column <= end]


def _cut_aside(group: Sequence[_Read]) -> None:
    """Leave out the characters beside the octets, where they are those of these octets."""
    for read in group:
        for count in range(len(read.numbers), 0, -1) if len(read.numbers) <= _FAR else ():
            octets = bytes.fromhex("".join(one.digits for one in read.numbers[:count]))
            shown = _ASIDE.sub(r"\1", read.text[read.numbers[count - 1].end :])
            if len(shown) == len(octets) and all(
                sign == chr(octet) or not 32 < octet < 127
                for sign, octet in zip(shown, octets, strict=True)
            ):
                del read.numbers[count:]
                break


def _with_repeats(group: list[_Read], rows: list[Row], base: int) -> list[Row]:
    """Give each line with `*` the rows that it stands for, which the offsets around it tell."""
    done: list[Row] = []
    for at, (read, row) in enumerate(zip(group, rows, strict=True)):
        octets = row.octets
        if not read.numbers and 0 < at < len(group) - 1 and done[-1].octets:
            before, after = group[at - 1].offset(base), group[at + 1].offset(base)
            size = len(done[-1].octets)
            if before is not None and after is not None:
                octets = done[-1].octets * min(max((after - before) // size - 1, 0), _MOST_REPEATED)
        done.append(row._replace(octets=octets))
    return done
