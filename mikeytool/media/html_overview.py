"""What stands in a page above the messages of a capture: their list, and a drawing of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mikeytool.media.html_page import result, text
from mikeytool.media.message_flow import COLUMNS, Arrow, Flow, Row, ladders

_GAP = 260
"""Between two parties, in pixels; a label has about 40 characters there."""
_MARGIN = 130
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
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in shown)}</tr>\n"
    yield "</tbody></table>\n"


def _drawings(arrows: Sequence[Arrow], names: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Give a drawing for each set of parties that talk to each other.

    `names` are the lines above the column of a party.
    """
    for title, some in ladders(arrows):
        if title:
            yield f"<h3>{text(title)}</h3>\n"
        parties = list(dict.fromkeys(end for one in some for end in (one.sender, one.receiver)))
        top = _LINE * (1 + max(len(names[party]) for party in parties))
        width = 2 * _MARGIN + _GAP * (len(parties) - 1)
        height = top + _STEP * len(some) + _LINE
        columns = {party: _MARGIN + _GAP * at for at, party in enumerate(parties)}
        yield f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}">\n'
        for party, x in columns.items():
            for line, name in enumerate(names[party], 1):
                yield _text(x, line * _LINE, name, "party")
            yield f'<line class="rung" x1="{x}" y1="{top - 8}" x2="{x}" y2="{height}"/>\n'
        for at, arrow in enumerate(some, 1):
            yield from _arrow(
                arrow, columns[arrow.sender], columns[arrow.receiver], top + at * _STEP
            )
        yield "</svg>\n"


def _arrow(arrow: Arrow, start: int, end: int, y: int) -> Iterator[str]:
    """Give an arrow with its label above it, which links to its message, and its result below."""
    label = f"{arrow.number}. {arrow.label}" if arrow.number else arrow.label
    middle = (start + end) // 2
    shown = _text(middle, y - 6, label)
    yield f'<a href="#m{arrow.number}">{shown}</a>' if arrow.number else shown
    if start != end:
        back = -_HEAD if end > start else _HEAD
        yield f'<line class="arrow" x1="{start}" y1="{y}" x2="{end}" y2="{y}"/>'
        points = f"{end},{y} {end + back},{y - 4} {end + back},{y + 4}"
        yield f'<polygon class="head" points="{points}"/>'
    if arrow.result not in ("", "not checked"):
        yield _text(middle, y + 13, arrow.result, arrow.result)


def _text(x: int, y: int, content: str, kind: str = "") -> str:
    styled = f' class="{text(kind)}"' if kind else ""
    return f'<text x="{x}" y="{y}" text-anchor="middle"{styled}>{text(content)}</text>\n'
