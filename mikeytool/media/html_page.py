"""Messages as one page of HTML: fields beside octets, with checks and the findings of lint.

The page needs nothing from elsewhere and can be read without its script. Text of messages is
escaped, and a policy in the page lets a browser run no script but its own.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import takewhile
from operator import attrgetter
from typing import Any, NamedTuple, Protocol

from mikeytool import __version__
from mikeytool.exchange.inspect_description import Inspected
from mikeytool.wire.annotated_dump import Path, Row, dump
from mikeytool.wire.printable import printable
from mikeytool.wire.text_tree import key_values, payload_result

Json = dict[str, Any]
Results = dict[tuple[str, int], str]
"""The results of checks, by the names and the first octets of records."""

MOST_MESSAGES = 1000
"""Messages in one page; a browser is slow with more."""
_LINE = 8
_KEYS = (
    '<p class="soft keys" hidden>Up and Down go from field to field, Enter from a field to its'
    " octets, Left and Right from octets to octets, Escape from octets to their field.</p>"
)
"""What keys do; the script shows it."""


class Finding(Protocol):
    """What the page shows of a finding; those of `mikeytool.lint` are such."""

    @property
    def level(self) -> str:
        """How serious it is, one word."""

    @property
    def code(self) -> str:
        """The code of its rule."""

    @property
    def payload(self) -> str:
        """The name of the payload that it is about."""

    @property
    def offset(self) -> int:
        """The offset of that payload in octets from the start of the message."""

    @property
    def text(self) -> str:
        """What is wrong."""

    @property
    def section(self) -> str:
        """Where an RFC says so, or nothing."""


class HtmlSection(NamedTuple):
    """A message in the page, where it comes from, and what lint says of it."""

    where: str
    known: Inspected
    findings: Sequence[Finding]


def html_document(
    title: str,
    sections: Iterable[HtmlSection],
    overview: Iterable[str] = (),
    hides: Callable[[Row], bool] = attrgetter("is_secret"),
) -> Iterator[str]:
    """Give the page in pieces; `overview` is HTML that stands before the messages.

    `hides` tells whether the octets of a row are masked.
    """
    style, script = (
        files("mikeytool.media").joinpath(f"html_page.{kind}").read_text("utf-8")
        for kind in ("css", "js")
    )
    policy = f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}"
    yield (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}; base-uri \'none\'">'
        '<meta name="viewport" content="width=device-width">'
        f'<meta name="generator" content="mikeytool {__version__}">'
        f"<title>{text(title)}</title><style>{style}</style></head>\n"
        f"<body><header><h1>{text(title)}</h1>\n{_KEYS}</header>\n<main>\n"
    )
    yield from overview
    for number, section in enumerate(sections, 1):
        yield from _article(number, section, hides)
    yield f"</main>\n<script>{script}</script></body></html>\n"


def text(foreign: object) -> str:
    """Give text that HTML may hold, of any kind and origin."""
    return escape(printable(str(foreign)))


def result(value: str) -> str:
    """Give the result of a check, or a step of a call, in its colour."""
    return f'<span class="{text(value)}">{text(value)}</span>' if value else ""


def _hash(source: str) -> str:
    digest = base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()
    return f"'sha256-{digest}'"


# --- One message --------------------------------------------------------------------------


def _article(number: int, section: HtmlSection, hides: Callable[[Row], bool]) -> Iterator[str]:
    message, described, _, error = section.known
    name = described.get("data_type") or "broken message"
    facts = [section.where]
    facts += [f"CSB ID {described['csb_id']}"] if described.get("csb_id") else []
    facts += [f"purpose {described['key_purpose']}"] if "key_purpose" in described else []
    facts += [f"PRF {described['prf']}"] if described.get("prf") else []
    facts += [f"{len(message.raw)} octets"] if message else []
    yield (
        f'<article id="m{number}" aria-labelledby="m{number}h"><h2 id="m{number}h">'
        f'{number}. {text(name)}</h2>\n<p class="soft">{text(", ".join(filter(None, facts)))}</p>\n'
    )
    if error is not None:
        yield f'<p class="error">{text(error)}</p>\n'
    placed = _Findings(section.findings)
    rows = list(dump(message)) if message else []
    tree = "".join(_tree(f"m{number}", rows, _results(described), placed))
    yield "".join(f"<p>{_finding(one)}</p>\n" for one in placed.left)
    yield from _opened(described.get("opened") or {})
    yield (
        f'<div class="panes"><div class="tree" role="group" aria-label="Fields of message {number}"'
        f"><ul>{tree}</ul></div>\n"
        f'<section class="octets" tabindex="0" aria-label="Octets of message {number}">'
        f'<div class="dump">{"".join(_octets(f"m{number}", rows, hides))}</div></section></div>'
        "</article>\n"
    )


def _opened(opened: Json) -> Iterator[str]:
    """Give the keys that a message was opened to, and what else is known of it."""
    for key in opened.get("keys") or ():
        yield f"<p>{text(key['type'])}: {text(', '.join(key_values(key)))}</p>\n"
    for note in opened.get("notes") or ():
        yield f'<p class="soft">note: {text(note)}</p>\n'


def _results(described: Json) -> Results:
    """Give the results of the checks of a message."""
    opened: Json = described.get("opened") or {}
    found: Results = {}
    for payload in described.get("payloads") or ():
        found[payload["payload"], payload["offset"]] = payload_result(payload, opened) or ""
        if payload["payload"] == "TICKET" and payload["initiator_data_length"]:
            at = payload["offset"] + payload["length"] - payload["initiator_data_length"]
            found["Initiator Data", at] = opened.get("initiator_data") or ""
    return found


class _Findings:
    """The findings of lint, by the places in the tree where they are shown."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.left = list(findings)

    def take(self, label: str, offset: int) -> list[Finding]:
        """Give the findings about the record of that name at an octet, once."""
        found = [one for one in self.left if (one.payload, one.offset) == (label, offset)]
        self.left = [one for one in self.left if one not in found]
        return found


def _finding(one: Finding) -> str:
    return f'<span class="{one.level}">{one.level}: {one.code}</span>: {text(one.text)}' + (
        f' <span class="soft">({text(one.section)})</span>' if one.section else ""
    )


def _tree(at: str, rows: Sequence[Row], results: Results, findings: _Findings) -> Iterator[str]:
    """Give the items of the tree: an open list for each record, an item for each field."""
    path: Path = ()
    for number, row in enumerate(rows):
        both = zip(path, row.path, strict=False)
        same = sum(1 for _ in takewhile(lambda two: two[0] == two[1], both))
        yield "</ul></details></li>" * (len(path) - same)
        for place in row.path[same:]:
            yield from _record(place, results, findings)
        path = row.path
        yield f"<li>{_field(at, number, row)}</li>"
    yield "</ul></details></li>" * len(path)


def _field(at: str, number: int, row: Row) -> str:
    """Give a field: a link to its octets, if it has any."""
    if not row.octets:
        return f'<span>{text(row.text)} <span class="soft">empty</span></span>'
    last = row.offset + len(row.octets) - 1
    place = f"octet {last}" if last == row.offset else f"octets {row.offset} to {last}"
    return (
        f'<a id="{at}f{number}" href="#{at}o{number}" data-f="{number}">'
        f'{text(row.text)} <span class="soft">{place}</span></a>'
    )


def _record(place: tuple[str, int], results: Results, findings: _Findings) -> Iterator[str]:
    """Give the beginning of the list of a record, with its check and its findings."""
    checked = result(results.get(place, ""))
    yield f"<li><details open><summary>{text(place[0])} {checked}</summary><ul>"
    for one in findings.take(*place):
        yield f"<li><span>{_finding(one)}</span></li>"


def _octets(at: str, rows: Sequence[Row], hides: Callable[[Row], bool]) -> Iterator[str]:
    """Give the lines of the dump; each run of octets is a link to its field."""
    position = 0
    for number, row in enumerate(rows):
        start, hidden = 0, hides(row)
        while start < len(row.octets):
            if position % _LINE == 0:
                yield f'{"</div>" if position else ""}<div><span class="at">{position}</span>'
            count = min(_LINE - position % _LINE, len(row.octets) - start)
            shown = row.shown(start, count, hide=hidden)
            more = ""
            if not start:
                spoken = "masked" if hidden else shown
                more = f' id="{at}o{number}" aria-label="{text(row.text)}: {spoken}"'
            yield f'<a href="#{at}f{number}" data-f="{number}" tabindex="-1"{more}>{shown}</a>'
            start += count
            position += count
    yield "</div>" if position else ""
