"""Octets in dumps and in lists of numbers, whichever program printed them.

A line has a run of numbers of one style: pairs of hex digits, groups of four or eight, `0x` before
each, binary, decimal or octal. What is before it (an offset, a time, a bracket) is its head.
Neighbouring lines with runs of one style under one kind of head are one block. The offset is no
part of a run because its digits are more, or because of the sign behind it; the characters beside a
dump are cut off because a row is not longer than the others.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from mikeytool.capture.plain_text import Line

_MOST_REPEATED = 4096
"""How many rows a line with `*` may stand for."""

_ROW = 8
"""The least numbers in a row that is one of a dump or a list without doubt."""

_MANY_BITS = 128
"""How many digits have only bits among them if they are bits."""

_FAR = 64
"""How many columns a row may begin behind where the one before it began."""

_CAST = re.compile(
    r"\(\s*(?:unsigned\s+)?(?:byte|char|sbyte|u?int8(?:_t)?)\s*\)\s*|(?<=[0-9A-Fa-f])_?[ui]8\b"
)
_OFFSET = re.compile(r"(?:0[xX])?([0-9A-Fa-f]{2,16})h?\W*$")
_DIGITS = re.compile(r"[0-9A-Fa-f]+")
_WORD = re.compile(r"[0-9A-Za-z]")


@dataclass(frozen=True, slots=True)
class _Style:
    """How numbers are written: the pattern of a run, of one number, and what becomes of it."""

    run: re.Pattern[str]
    number: re.Pattern[str]
    octets: Callable[[Sequence[str]], bytes]
    least: int
    """Numbers that a run has at least where a block begins."""


def _of_hex(numbers: Sequence[str]) -> bytes:
    return bytes.fromhex("".join(one if len(one) % 2 == 0 else f"0{one}" for one in numbers))


def _of_base(base: int) -> Callable[[Sequence[str]], bytes]:
    def octets(numbers: Sequence[str]) -> bytes:
        values = [int(one, base) for one in numbers]
        if not all(-128 <= value < 256 for value in values):
            return b""
        return bytes(value & 0xFF for value in values)

    return octets


def _of_octal_words(numbers: Sequence[str]) -> bytes:
    return b"".join(int(one, 8).to_bytes(2, "little") for one in numbers)


def _style(
    number: str, between: str, octets: Callable[[Sequence[str]], bytes], least: int
) -> _Style:
    run = rf"(?<![0-9A-Za-z.]){number}(?:{between}{number})*(?![0-9A-Za-z])"
    return _Style(re.compile(run), re.compile(number), octets, least)


_STYLES = {
    "0x": _style(r"0[xX](?:[0-9A-Fa-f]{8}|[0-9A-Fa-f]{4}|[0-9A-Fa-f]{1,2})",
                 r"[\s,;|]{1,4}", lambda numbers: _of_hex([one[2:] for one in numbers]), 1),
    "pairs": _style(r"[0-9A-Fa-f]{2}", r"(?:[ \t]{1,2}|[:,.|-][ \t]?|[ \t][|:-][ \t])", _of_hex, 1),
    "pairs with h": _style(r"[0-9A-Fa-f]{2}[hH]", r"[ \t,]{1,2}",
                           lambda numbers: _of_hex([one[:2] for one in numbers]), 4),
    "bits": _style(r"[01]{8}", r"[ \t,]{1,2}", _of_base(2), 4),
    "fours": _style(r"(?:[0-9A-Fa-f]{4}|[0-9A-Fa-f]{2}(?![0-9A-Fa-f]))", r"[ \t]", _of_hex, 2),
    "eights": _style(r"(?:[0-9A-Fa-f]{8}|(?:[0-9A-Fa-f]{2}){1,3}(?![0-9A-Fa-f]))", r"[ \t]{1,7}",
                     _of_hex, 2),
    "octal words": _style(r"[01][0-7]{5}", r"[ \t]{1,2}", _of_octal_words, 4),
    "octal": _style(r"[0-3][0-7]{2}", r"[ \t]{1,2}", _of_base(8), 4),
    "decimal": _style(r"-?\d{1,3}", r"(?:\s{0,3},\s{0,3}|\s{1,4}|\s?;\s?)", _of_base(10), 1),
}  # fmt: skip


class Row(NamedTuple):
    """The octets of one line, whose number counts from 1."""

    number: int
    octets: bytes


@dataclass(slots=True)
class _Read:
    """A run in a line."""

    number: int
    head: str
    column: int
    numbers: list[str]
    repeats: bool = False


def blocks_in(lines: Sequence[Line]) -> Iterator[list[Row]]:
    """Find the blocks of octets in lines, in every style that they can be read in."""
    texts = [
        (line.number, _CAST.sub("", line.text).expandtabs()) for line in lines if line.text.strip()
    ]
    for name, style in _STYLES.items():
        for run in _runs(texts, style):
            yield from _blocks_of(run, style, name)
            if name == "bits" and _are_bits(run):
                of_bits = {read.number for read in run}
                texts = [line for line in texts if line[0] not in of_bits]


def _are_bits(run: Sequence[_Read]) -> bool:
    """Tell bits from words of four octets, of which many may be zero."""
    digits = "".join(number for read in run for number in read.numbers)
    return len(digits) >= _MANY_BITS and 8 * digits.count("1") > len(digits)


def _runs(texts: Sequence[tuple[int, str]], style: _Style) -> Iterator[list[_Read]]:
    """Group neighbouring lines that have runs of a style and heads of one kind."""
    group: list[_Read] = []
    for number, text in texts:
        read = _continued(group, style, number, text) if group else None
        if read is None:
            if group:
                yield group
            read = _begun(style, number, text)
            group = []
        if read is not None:
            group.append(read)
    if group:
        yield group


def _begun(style: _Style, number: int, text: str) -> _Read | None:
    """Read the longest run of a line, as the first of a block."""
    longest = max(style.run.finditer(text), key=lambda match: len(match[0]), default=None)
    if longest is None:
        return None
    read = _read(style, number, text, longest)
    enough = len(read.numbers) >= style.least or not _WORD.search(read.head)
    return read if enough else None


def _continued(group: list[_Read], style: _Style, number: int, text: str) -> _Read | None:
    """Read a line that continues a block: its head is like that before it, or no word."""
    last = group[-1]
    if text.strip() == "*":
        last.repeats = True
        return _Read(number, last.head, last.column, [], repeats=True)
    match = style.run.match(text, last.column)
    if match is None or _shape(text[: match.start()]) != _shape(last.head):
        found = style.run.finditer(text, 0, last.column + _FAR)
        match = next((one for one in found if _is_like(text[: one.start()], last.head)), None)
        match = None if match is None else style.run.match(text, match.start())
    if match is None:
        return None
    read = _read(style, number, text, match)
    if len(last.numbers) < _ROW and _WORD.search(last.head):
        # The time in a log, perhaps; a longer run in the line counts for more.
        longest = _begun(style, number, text)
        if longest is not None and len(longest.numbers) > len(read.numbers):
            return None
    return read


def _is_like(head: str, before: str) -> bool:
    return not _WORD.search(head) or _shape(head) == _shape(before)


def _shape(head: str) -> str:
    return " ".join(_DIGITS.sub("0", head).split())


def _read(style: _Style, number: int, text: str, match: re.Match[str]) -> _Read:
    run = match[0]
    behind = text[match.end() : match.end() + 1]
    if behind.strip() and behind not in ",;]})|<>/*\"'\\":
        # The characters of a dump begin here; those that look like numbers are no more than that.
        gap = run.rfind("  ")
        run = run if gap < 0 else run[:gap]
    return _Read(number, text[: match.start()], match.start(), style.number.findall(run))


def _blocks_of(reads: list[_Read], style: _Style, name: str) -> Iterator[list[Row]]:
    """Make blocks of the runs of neighbouring lines."""
    counts = Counter(len(read.numbers) for read in reads[:-1])
    width = max(counts, key=lambda count: (counts[count], count), default=0)
    regular = counts[width] * 2 > len(reads) - 1 or len(reads) == 2
    rows = []
    for read in reads:
        numbers = read.numbers[:width] if width and regular and name != "decimal" else read.numbers
        rows.append(Row(read.number, style.octets(numbers)))
    rows = _with_repeats(reads, rows)
    yield rows
    if name in ("fours", "eights"):
        size = 2 if name == "fours" else 4
        yield [Row(row.number, _swapped(row.octets, size)) for row in rows]


def _swapped(octets: bytes, size: int) -> bytes:
    """Give the octets of little-endian words in their order."""
    words = (octets[at : at + size] for at in range(0, len(octets), size))
    return b"".join(word[::-1] for word in words)


def _with_repeats(reads: list[_Read], rows: list[Row]) -> list[Row]:
    """Give each `*` the rows that it stands for, which the offsets around it tell."""
    if not any(read.repeats for read in reads):
        return rows
    done: list[Row] = rows[:1]
    for (before, read), row in zip(pairwise(reads), rows[1:], strict=True):
        if not read.numbers:
            done.append(row)
            continue
        offsets = _OFFSET.search(before.head), _OFFSET.search(read.head)
        size = len(done[-2].octets) if before.repeats and len(done) > 1 else 0
        if not before.numbers and size and offsets[0] and offsets[1]:
            distance = int(offsets[1][1], 16) - int(offsets[0][1], 16)
            times = min(max(distance // size - 1, 0), _MOST_REPEATED)
            done[-1] = Row(row.number, done[-2].octets * times)
        done.append(row)
    return done
