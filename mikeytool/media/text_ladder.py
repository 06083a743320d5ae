"""The exchanges of a capture as a ladder in text: parties side by side, an arrow for a message."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mikeytool.media.message_flow import BROKEN, RESULTS, Arrow, ladders, parties_of
from mikeytool.wire.text_tree import Part

_MARGIN = 5
_LEAST_GAP = 12
_RESULT = max(map(len, RESULTS)) + 2

Line = list[Part]


def ladder_lines(
    arrows: Sequence[Arrow], names: dict[str, list[str]], width: int = 80
) -> Iterator[Line]:
    """Give the lines of a ladder for each set of parties that talk to each other.

    `names` are the lines above the column of a party. `width` is in characters; with many parties
    lines may be longer. The role of a result is that result, or BROKEN.
    """
    for at, (title, some) in enumerate(ladders(arrows)):
        cut = title if len(title) <= width else f"{title[: width - 1]}…"
        if at:
            yield [Part("")]
        if title:
            yield [Part(cut, "name")]
        yield from _Ladder(some, width).lines(names)


def _fold(name: str, room: int) -> Iterator[str]:
    """Cut a name into pieces that fit, before its host if possible."""
    at = name.find("@")
    if len(name) > room and 0 < at <= room:
        yield name[:at]
        name = name[at:]
    for start in range(0, len(name), room):
        yield name[start : start + room]


class _Ladder:
    """One ladder. The label of an arrow is on it if there is room, else above it."""

    def __init__(self, arrows: Sequence[Arrow], width: int) -> None:
        self._arrows = arrows
        self._width = width
        parties = parties_of(arrows)
        self._columns = {party: at for at, party in enumerate(parties)}
        gaps = len(parties) - 1 or 1
        wanted = max(-(-(len(a.label) + 8) // self._distance(a)) for a in arrows)
        room = (width - _MARGIN - 1 - _RESULT) // gaps
        self._gap = max(min(max(wanted, 24), room), _LEAST_GAP)
        self._above = wanted > self._gap

    def lines(self, names: dict[str, list[str]]) -> Iterator[Line]:
        """Give the lines, the names of the parties first."""
        yield from ([Part(line, "name")] for line in self._heading(names))
        for arrow in self._arrows:
            yield [Part(self._rungs().rstrip())]
            first, last = sorted((self._at(arrow.sender), self._at(arrow.receiver)))
            if self._above or first == last:
                label = f" {arrow.label} "
                if len(label) > self._width - _MARGIN:
                    label = f"{label[: self._width - _MARGIN - 1]}…"
                at = min(first + 2, self._width - len(label))
                yield [Part(self._numbered(arrow, self._put(at, label)).rstrip())]
                label = ""
            else:
                label = f" {arrow.label} "
            if first != last:
                line = self._put(first + 1, self._shaft(arrow, last - first - 1, label))
                if label:
                    line = self._numbered(arrow, line)
                result = f"  {arrow.result}" if arrow.result else ""
                yield [
                    Part(line),
                    Part(result, arrow.result if arrow.result in RESULTS else BROKEN),
                ]

    def _heading(self, names: dict[str, list[str]]) -> Iterator[str]:
        """Give the names, each folded to the width of its column."""
        columns = []
        for party, column in self._columns.items():
            room = self._gap - 2
            if column == len(self._columns) - 1:
                room = max(_RESULT, self._width - self._at(party))
            columns.append([piece for line in names[party] for piece in _fold(line, room)])
        for row in range(max(map(len, columns))):
            cells = [column[row] if row < len(column) else "" for column in columns]
            yield (" " * _MARGIN + "".join(cell.ljust(self._gap) for cell in cells)).rstrip()

    def _distance(self, arrow: Arrow) -> int:
        return abs(self._columns[arrow.sender] - self._columns[arrow.receiver]) or 1

    def _at(self, party: str) -> int:
        return _MARGIN + self._columns[party] * self._gap

    def _rungs(self) -> str:
        return " " * _MARGIN + ("|" + " " * (self._gap - 1)) * (len(self._columns) - 1) + "|"

    def _put(self, at: int, text: str) -> str:
        rungs = self._rungs()
        return rungs[:at] + text + rungs[at + len(text) :]

    def _numbered(self, arrow: Arrow, line: str) -> str:
        return f"{arrow.number or '':>{_MARGIN - 2}}" + line[_MARGIN - 2 :]

    def _shaft(self, arrow: Arrow, length: int, label: str) -> str:
        if self._columns[arrow.sender] < self._columns[arrow.receiver]:
            return label.center(length - 1, "-") + ">"
        return "<" + label.center(length - 1, "-")
