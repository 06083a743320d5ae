"""What stands in a page above the messages of a capture: their list, and a drawing of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from textwrap import wrap
from unicodedata import east_asian_width

from mikeytool.media.html_page import result, text
from mikeytool.media.message_flow import COLUMNS, Arrow, Flow, Row, ladders, parties_of

_GAP = 260
"""Between two parties, in pixels."""
_MARGIN = 130
_CHARACTER, _BOLD = 6.6, 8.4
"""The mean width of a character in pixels, in a wide font."""
_MOST_LINES = 4
_LONG_CELL = 48
"""Characters of a cell that is not broken; an address has no more."""
_STEP, _LINE = 40, 16
_HEAD = 6


def overview(rows: Sequence[Row], flow: Flow) -> Iterator[str]:
    """Give the list of the messages of a capture, and the exchanges drawn as ladders in SVG."""
    yield from _region("Messages", _list(rows))
    yield from _region("Exchanges", _drawings(flow.arrows, flow.names))


def _region(title: str, content: Iterable[str]) -> Iterator[str]:
    yield f'<section><h2>{title}</h2><div class="scroll" tabindex="0" role="region"'
    yield f' aria-label="{title}">\n'
    yield from content
    yield "</div></section>\n"


def _list(rows: Sequence[Row]) -> Iterator[str]:
    heads = "".join(f'<th scope="col">{head}</th>' for head in COLUMNS)
    yield f"<table><thead><tr>{heads}</tr></thead>\n<tbody>\n"
    for row in rows:
        number, *cells = row.cells
        link = f'<a href="#m{number}">{number}</a>'
        shown = [link, *map(text, cells), result(row.result)]
        yield f"<tr>{''.join(map(_cell, shown))}</tr>\n"
    yield "</tbody></table>\n"


def _cell(shown: str) -> str:
    return f"<td{' class=long' if len(shown) > _LONG_CELL and shown[0] != '<' else ''}>{shown}</td>"


def _drawings(arrows: Sequence[Arrow], names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Give a drawing for each set of parties that talk to each other.

    `names` are the lines above the column of a party.
    """
    for title, some in ladders(arrows):
        if title:
            yield f"<h3>{text(title)}</h3>\n"
        yield from _drawing(some, names)


def _drawing(arrows: Sequence[Arrow], names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    parties = parties_of(arrows)
    columns = {party: _MARGIN + _GAP * at for at, party in enumerate(parties)}
    heads = {
        party: [line for name in names[party] for line in _fold(name, _GAP, _BOLD)]
        for party in parties
    }
    top = y = _LINE * (1 + max(map(len, heads.values())))
    drawn: list[str] = []
    for arrow in arrows:
        ends = columns[arrow.sender], columns[arrow.receiver]
        label = f"{arrow.number}. {arrow.label}" if arrow.number else arrow.label
        lines = _fold(label, max(abs(ends[1] - ends[0]), _GAP), _CHARACTER)
        y += _STEP + _LINE * (len(lines) - 1)
        spoken = f"{label}, {names[arrow.sender][0]} to {names[arrow.receiver][0]}"
        drawn += _arrow(arrow, lines, ends, y, spoken)
    width, height = 2 * _MARGIN + _GAP * (len(parties) - 1), y + _LINE
    yield f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    yield ' role="group" aria-label="Ladder">\n'
    for party, x in columns.items():
        yield from _texts(x, _LINE * len(heads[party]), heads[party], "party")
        yield f'<line class="rung" x1="{x}" y1="{top - 8}" x2="{x}" y2="{height}"/>\n'
    yield from drawn
    yield "</svg>\n"


def _arrow(
    arrow: Arrow, lines: Sequence[str], ends: tuple[int, int], y: int, spoken: str
) -> Iterator[str]:
    """Give an arrow with its label above it, which links to its message, and its result below."""
    (start, end), result = ends, arrow.result if arrow.result != "not checked" else ""
    tag = f'a href="#m{arrow.number}"' if arrow.number else 'g role="img"'
    yield f'<{tag} aria-label="{text(spoken)}">'
    yield from _texts((start + end) // 2, y - 6, lines)
    yield f"</{tag[0]}>"
    if start != end:
        back = -_HEAD if end > start else _HEAD
        yield f'<line class="arrow" x1="{start}" y1="{y}" x2="{end}" y2="{y}"/>'
        points = f"{end},{y} {end + back},{y - 4} {end + back},{y + 4}"
        yield f'<polygon class="head" points="{points}"/>'
    if result:
        yield from _texts((start + end) // 2, y + 13, [result], result)


def _fold(content: str, room: int, character: float) -> list[str]:
    """Break text into lines that fit into pixels, at spaces if there are any.

    It is cut after a few lines: a message has every identity in full.
    """
    wide = any(east_asian_width(one) in "WF" for one in content)
    columns = int((room - 2 * _HEAD) / (2 * character if wide else character))
    lines = wrap(content, columns, break_on_hyphens=False) or [""]
    if len(lines) > _MOST_LINES:
        lines = [*lines[: _MOST_LINES - 1], f"{lines[_MOST_LINES - 1][:-1]}…"]
    return lines


def _texts(x: int, y: int, lines: Sequence[str], kind: str = "") -> Iterator[str]:
    """Give lines of text, the last at `y`."""
    styled = f' class="{text(kind)}"' if kind else ""
    for above, line in zip(range(len(lines) - 1, -1, -1), lines, strict=True):
        at = f'x="{x}" y="{y - above * _LINE}" text-anchor="middle"'
        yield f"<text {at}{styled}>{text(line)}</text>\n"
