"""Text in which every line is what it should be: a message, an attribute, a header, signalling.

The time is linear in the length of the input: each line is matched by patterns without nested
repetition, and lines that belong together are joined once.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby, pairwise, takewhile
from typing import Literal, NamedTuple

from mikeytool.capture.encoding import begins_message, is_wrapped, read_text
from mikeytool.capture.keymgmt import (
    KEYMGMT_HEADER,
    Spec,
    message_of,
    read_attribute,
    read_header,
)
from mikeytool.wire.errors import WireError
from mikeytool.wire.protocol_list import Carried, Description, list_fault

_HEADER_BASE64 = 14
"""The base64 characters of the least common header (RFC 3830 6.1)."""

_SIGNALLING = re.compile(
    r"[abceikmoprstuvz]=[^=\s]"  # SDP; `=` and nothing behind may be the end of wrapped base64
    r"|(?:SIP|RTSP)/\d\.\d \d{3}"
    r"|[A-Z_]+ \S+ (?:SIP|RTSP)/\d\.\d$"
)
_OTHER_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]*[ \t]*:")
_BASE64 = re.compile(r"[A-Za-z0-9+/_=-]+")
_ENCODED = re.compile(rf"(?!=){_BASE64.pattern}|[0-9A-Fa-fxX:\s]+")


class FoundMessage(NamedTuple):
    """A message and its place in the input.

    `where` describes the place. `line` counts from 1 and is the first of several; `level` is
    "session level" or "media 1 (audio)" for a message in SDP, and `carried` has the protocols
    in that SDP; `uri` is that of a KeyMgmt header. The message may be broken, since only its
    beginning was checked.
    """

    message: bytes
    where: str
    line: int = 1
    level: str | None = None
    uri: str | None = None
    carried: Carried | None = None

    @property
    def list_fault(self) -> str | None:
        """How the protocol list in the message differs from its SDP (RFC 4567 4.1.4)."""
        if self.carried is None:
            return None
        from mikeytool.wire.message import Message  # few texts need it

        return list_fault(Message.read(self.message), self.carried)


_Kind = Literal["skipped", "attribute", "header", "signalling", "encoded", "other"]


class _Line(NamedTuple):
    """A line; `parts` has it as written, then its continuation lines, stripped."""

    number: int
    kind: _Kind
    parts: list[str]


def _scan(data: bytes, *, fold: bool) -> Iterator[_Line]:
    """Split a text into lines, each with its continuation lines if `fold` is set."""
    line: _Line | None = None
    for number, octets in enumerate(data.splitlines(), 1):
        text = octets.decode("utf-8", "replace")
        kind = _kind(text.strip())
        if fold and line is not None and _continues(line, kind, text):
            line.parts.append(text.strip())
            continue
        if line is not None:
            yield line
        line = _Line(number, kind, [text])
    if line is not None:
        yield line


def _kind(text: str) -> _Kind:
    if not text or text.startswith("#"):
        return "skipped"
    if read_attribute(text) is not None:
        return "attribute"
    if read_header(text) is not None:
        return "header"
    if _SIGNALLING.match(text):
        return "signalling"
    return "encoded" if _ENCODED.fullmatch(text) else "other"


def _continues(line: _Line, kind: _Kind, text: str) -> bool:
    """Whether a line continues the header or the attribute before it.

    Headers fold onto lines that begin with white space. SDP does not fold, but documents
    print long attributes that way (RFC 4567 5.1).
    """
    if not text[0:1].isspace() or kind not in ("encoded", "other") or begins_message(text.strip()):
        return False
    if line.kind == "attribute":
        whole = line.parts[-1].rstrip().endswith("=")
        return not whole and _BASE64.fullmatch(text.strip()) is not None
    return line.kind == "header"


class ReadItem(NamedTuple):
    """What one line holds, or several that are joined.

    `is_sure` says that nothing in the next lines can belong to it.
    """

    item: FoundMessage | WireError
    first: int
    last: int
    kind: _Kind
    is_sure: bool


class StrictReader:
    """Reads the lines once and remembers what later lines depend on.

    `passed_over` is set if a line in signalling is none of its own syntax.
    """

    def __init__(self, data: bytes, *, lines: bool) -> None:
        self._scanned = list(_scan(data, fold=not lines))
        kinds = {line.kind for line in self._scanned}
        self._lines = lines
        self._signalling = "signalling" in kinds and not lines
        self._headers = "header" in kinds and not lines
        self._found: list[ReadItem] = []
        self._level: str | None = None
        self._description: Description | None = None
        self._media = 0
        self._crypto = 0
        self._protocols: dict[str, None] = {}
        self.passed_over = False
        self._is_sure = True

    def read(self) -> list[ReadItem]:
        """Find the messages in the lines, in order."""
        follows: dict[int, str] = {}
        for line, after in pairwise(self._scanned):
            follows[line.number] = after.kind
        for kind, group in groupby(self._scanned, key=lambda line: line.kind):
            if kind == "encoded":
                self._read_encoded(list(group))
                continue
            for line in group:
                self._is_sure = follows.get(line.number) not in ("encoded", "other")
                self._read_line(line)
        return self._found

    def nothing(self) -> WireError:
        """Make the error that says why no message was found, and what to do."""
        if self._crypto:
            return WireError(
                f"the text holds no a=key-mgmt:mikey attribute but a=crypto in line"
                f" {self._crypto}: that is SDES (RFC 4568), not MIKEY; give that line to"
                " srtp --sdes"
            )
        if self._protocols:
            names = ", ".join(repr(name[:20]) for name in list(self._protocols)[:3])
            return WireError(
                f"the text holds no a=key-mgmt:mikey attribute and no KeyMgmt header with"
                f" prot=mikey, only the protocol {names}; the name is mikey in small letters"
            )
        if self._signalling:
            return WireError(
                "the text is SDP, SIP or RTSP but holds no a=key-mgmt:mikey attribute and no"
                " KeyMgmt header; give the message that carries the keys"
            )
        return WireError("the text holds only comments; give a message behind them")

    def _read_line(self, line: _Line) -> None:
        if line.kind == "attribute":
            spec = read_attribute("".join([line.parts[0].strip(), *line.parts[1:]]))
            self._read_specs(line, [spec] if spec else [])
        elif line.kind == "header":
            self._read_specs(line, read_header(" ".join(line.parts).strip()) or [])
        elif line.kind == "signalling":
            self._note_signalling(line)
        elif line.kind == "other" and self._is_skipped(line):
            self.passed_over = True
        elif line.kind == "other":
            self._read_single(line)

    def _is_skipped(self, line: _Line) -> bool:
        """Whether a line need not be a message: in signalling, or copied with a KeyMgmt header."""
        beside = self._headers and _OTHER_HEADER.match(line.parts[0].strip()) is not None
        return self._signalling or beside

    def _note_signalling(self, line: _Line) -> None:
        """Follow the place in the SDP, for the level of the next message."""
        # Imported here: most texts are only messages.
        from mikeytool.capture.sdp import SESSION_LEVEL, media_level

        text = line.parts[0].strip()
        if self._lines:
            self._bad(line, "SDP, SIP or RTSP without MIKEY; leave out --lines")
        elif text.startswith("m="):
            self._media += 1
            self._level = media_level(self._media, text)
            if self._description is not None:
                self._description.media.append(text)
        elif text.startswith("v="):
            self._level, self._media, self._description = SESSION_LEVEL, 0, Description()
        elif text[1] != "=":
            self._level, self._media, self._description = None, 0, None
        elif text.startswith("a=crypto:"):
            self._crypto = self._crypto or line.number

    def _read_specs(self, line: _Line, specs: list[Spec]) -> None:
        """Take the MIKEY messages of an attribute or header, skip other protocols."""
        number, last = line.number, line.number + len(line.parts) - 1
        for spec in specs:
            level = None if spec.carrier == KEYMGMT_HEADER else self._level
            carried = None
            if level is not None and self._description is not None:
                self._description.add(level, spec.protocol)
                carried = Carried(self._description, level)
            where = f"{spec.carrier}, line {number}" + (f", {level}" if level else "")
            try:
                message = message_of(spec)
            except WireError as error:
                self._add(WireError(f"{where}: {error.text}"), number, last, "header")
                continue
            if message is None:
                self._protocols[spec.protocol] = None
            else:
                found = FoundMessage(message, where, number, level, spec.uri or None, carried)
                self._add(found, number, last, "header")

    def _read_encoded(self, run: list[_Line]) -> None:
        """Take neighbouring lines of hex or base64: one message, or one per line."""
        texts = [line.parts[0].strip() for line in run]
        if self._signalling:
            # A body or a part of one: only text that begins like a message counts, and the boundary
            # after a part is not base64.
            if not begins_message(texts[0]) or len(texts[0]) < _HEADER_BASE64:
                self.passed_over = True
                return
            texts = list(takewhile(lambda text: not text.startswith("--"), texts))
            run = run[: len(texts)]
        if not self._lines and is_wrapped(texts) and self._take_wrapped(run, texts):
            return
        for line in run:
            self._read_single(line)

    def _take_wrapped(self, run: list[_Line], texts: list[str]) -> bool:
        """Take lines that look like one message; returns False for two lines that are not."""
        where = f"lines {run[0].number} to {run[-1].number}"
        # Spaces are allowed in hex, and show where a `0x` begins.
        joined = " ".join(texts) if texts[0].startswith("0") else "".join(texts)
        try:
            message = read_text(joined)
        except WireError as error:
            if len(run) == 2:
                return False
            item: FoundMessage | WireError = WireError(f"{where}: {error.text}")
        else:
            item = FoundMessage(message, where, run[0].number)
        self._add(item, run[0].number, run[-1].number, "encoded")
        return True

    def _read_single(self, line: _Line) -> None:
        try:
            message = read_text(line.parts[0])
        except WireError as error:
            self._bad(line, error.text)
        else:
            found = FoundMessage(message, f"line {line.number}", line.number)
            self._add(found, line.number, line.number, line.kind)

    def _bad(self, line: _Line, text: str) -> None:
        error = WireError(f"line {line.number}: {text}")
        self._add(error, line.number, line.number, line.kind)

    def _add(self, item: FoundMessage | WireError, first: int, last: int, kind: _Kind) -> None:
        self._found.append(ReadItem(item, first, last, kind, kind != "header" or self._is_sure))
