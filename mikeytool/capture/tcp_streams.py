"""Messages in TCP streams: SIP (RFC 3261 18.3), RTSP (RFC 2326 10.12), HTTP (RFC 9112 6), MIKEY.

The first octets of a stream tell which it has. After a gap, and in a stream whose beginning
was not captured, reading continues at the next start line.

Readers are generators that wait where they need more octets, so that their code follows the
format. None looks at an octet more than a few times.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator
from dataclasses import replace

from mikeytool.capture.body import MAX_BODY
from mikeytool.capture.carrier import END_OF_HEAD, MAX_HEAD, START, Carrier, read_head
from mikeytool.capture.reassembly import Moment, StreamReader
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import PAYLOADS
from mikeytool.wire.registry import MIKEY_VERSION

MAX_LINE = 8192
"""Octets of a start line."""
MAX_FOREIGN = 1 << 16
"""Octets without a start line after which a stream is ignored."""
MAX_MIKEY = 1 << 18
"""Octets of a MIKEY message in a stream; it may have several payloads of 65,535."""

_HEADER, _NEXT = 10, 2  # octets of the shortest header, the offset of Next payload in it
MIKEY_MEDIA_TYPE = "application/mikey"
_INTERLEAVED = 0x24
_BLANK = re.compile(rb"[\r\n]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]*)?\r?\n")
_LONGEST_CHUNK_LINE = 1024

Emit = Callable[[Carrier, Moment], None]
Steps = Generator[None, None, None]


class TextStream(StreamReader):
    """Reads SIP, RTSP and HTTP. Only HTTP bodies of type application/mikey are kept.

    A message that breaks off, at the end or at a gap, is given as far as it goes.
    """

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self._octets = bytearray()
        self._chunked = 0
        self._over = False
        self._foreign = 0
        self._last: str | None = None
        self._moment = Moment(0, None)
        self._steps = self._read()

    @property
    def held(self) -> int:
        """How many octets it holds."""
        return len(self._octets) + self._chunked

    def feed(self, data: bytes, moment: Moment) -> None:
        """Take the next octets; `moment` is when the last of them was there."""
        self._octets += data
        self._moment = moment
        next(self._steps, None)

    def lost(self) -> None:
        """Give what there is of a message, and look for the next start line."""
        self.end()
        self._over = False
        self._octets.clear()
        self._steps = self._read()

    def end(self) -> None:
        """Give what there is of a message."""
        self._over = True
        next(self._steps, None)

    def _read(self) -> Steps:
        while True:
            while not self._skip_blank():
                if self._over:
                    return
                yield
            if (yield from self._at_media()):
                head = yield from self._take(4)
                yield from self._drop(int.from_bytes(head[2:]))
                continue
            yield from self._search()
            head = yield from self._take_head()
            if (carrier := read_head(head)) is not None:
                self._last = carrier.protocol
                body = yield from self._body(carrier)
                self._emit(replace(carrier, body=body), self._moment)

    def _at_media(self) -> Generator[None, None, bool]:
        """Whether media interleaved with RTSP comes next (RFC 2326 10.12).

        Before the first message the channel after the `$` decides, which has a low number: in
        text there would be a printable character.
        """
        if self._octets[0] != _INTERLEAVED or self._last not in (None, "RTSP"):
            return False
        while len(self._octets) < 2 and not self._over:
            yield
        return self._last == "RTSP" or self._octets[1:2] < b" "

    def _skip_blank(self) -> bool:
        """Drop empty lines, which keep connections open; returns whether anything is left."""
        if (blank := _BLANK.match(self._octets)) is not None:
            del self._octets[: blank.end()]
        return bool(self._octets)

    def _search(self) -> Steps:
        """Drop everything before the next start line."""
        while True:
            lines = self._octets.rfind(b"\n") + 1
            found = START.search(self._octets, 0, lines)
            dropped = found.start() if found else max(lines, len(self._octets) - MAX_LINE)
            del self._octets[:dropped]
            self._foreign += dropped
            if self._last is None and self._foreign > MAX_FOREIGN:
                self.finished = True
                self._octets.clear()
            if found or self._over:
                return
            yield

    def _take_head(self) -> Generator[None, None, bytes]:
        seen = 0
        while True:
            end = END_OF_HEAD.search(self._octets, max(0, seen - 3))
            if end is not None:
                return (yield from self._take(end.end()))
            seen = len(self._octets)
            if seen > MAX_HEAD or self._over:
                return (yield from self._take(seen))
            yield

    def _body(self, carrier: Carrier) -> Generator[None, None, bytes]:
        length = carrier.content_length
        if carrier.protocol == "HTTP":
            return (yield from self._http_body(carrier, length))
        if length is None:  # SIP requires it; else the rest of the segment is taken
            length = len(self._octets) if carrier.protocol == "SIP" else 0
        return (yield from self._take_or_drop(length, keep=True))

    def _http_body(self, carrier: Carrier, length: int | None) -> Generator[None, None, bytes]:
        keep = carrier.value("content-type").lower().startswith(MIKEY_MEDIA_TYPE)
        if "chunked" in carrier.value("transfer-encoding").lower():
            return (yield from self._chunks(keep=keep))
        status = carrier.status
        if status is not None and (status < 200 or status in (204, 304)):
            return b""
        if length is not None:
            return (yield from self._take_or_drop(length, keep=keep))
        if status is None:
            return b""
        while not self._over and len(self._octets) <= MAX_BODY:
            if not keep:
                self._octets.clear()
            yield
        return (yield from self._take(len(self._octets)))

    def _chunks(self, *, keep: bool) -> Generator[None, None, bytes]:
        """A chunked body (RFC 9112 7.1); trailer fields are left to be skipped."""
        body = bytearray()
        while True:
            line = yield from self._line()
            match = _CHUNK.fullmatch(line)
            size = int(match[1], 16) if match else 0
            if not size:
                self._chunked = 0
                return bytes(body)
            body += yield from self._take_or_drop(size, keep=keep and len(body) < MAX_BODY)
            self._chunked = len(body)
            yield from self._line()

    def _line(self) -> Generator[None, None, bytes]:
        while (at := self._octets.find(b"\n")) < 0:
            if self._over or len(self._octets) > _LONGEST_CHUNK_LINE:
                return b""
            yield
        return (yield from self._take(at + 1))

    def _take_or_drop(self, count: int, *, keep: bool) -> Generator[None, None, bytes]:
        """Take a number of octets, or drop them if they are not kept or too many."""
        if keep and count <= MAX_BODY:
            return (yield from self._take(count))
        yield from self._drop(count)
        return b""

    def _take(self, count: int) -> Generator[None, None, bytes]:
        """Take a number of octets, fewer at the end of the stream."""
        while len(self._octets) < count and not self._over:
            yield
        taken = bytes(self._octets[:count])
        del self._octets[:count]
        return taken

    def _drop(self, count: int) -> Steps:
        while count > len(self._octets):
            count -= len(self._octets)
            self._octets.clear()
            if self._over:
                return
            yield
        del self._octets[:count]


class MikeyStream(StreamReader):
    """Reads MIKEY messages that follow each other without anything between.

    A message has no length field and ends with its last payload. With `strict`, for ports other
    than MIKEY's, octets that are no complete message are ignored.
    """

    def __init__(self, emit: Emit, *, strict: bool) -> None:
        self._emit = emit
        self._strict = strict
        self._octets = bytearray()
        self._next_try = 0
        self._ends: list[tuple[int, Moment]] = []

    @property
    def held(self) -> int:
        """How many octets it holds."""
        return len(self._octets)

    def feed(self, data: bytes, moment: Moment) -> None:
        """Take the next octets; `moment` is when the last of them was there."""
        self._octets += data
        self._ends.append((len(self._octets), moment))
        # Only when their number has doubled, so that a message in tiny segments is not read
        # over and over.
        if len(self._octets) >= self._next_try:
            self._read()
        if len(self._octets) > MAX_MIKEY:
            self.lost()
            self.finished = self._strict

    def lost(self) -> None:
        """Give what there is as a broken message."""
        self._read()
        if self._octets and not self._strict:
            self._give(bytes(self._octets))
        self._octets.clear()
        self._ends.clear()
        self._next_try = 0

    def end(self) -> None:
        """Give what there is as a broken message."""
        self.lost()

    def _read(self) -> None:
        octets = bytes(self._octets)
        while octets and (length := whole_message(octets)):
            self._give(octets[:length])
            octets = octets[length:]
        self._next_try = len(octets) * 2
        self.finished = self._strict and bool(octets) and octets[0] != MIKEY_VERSION

    def _give(self, message: bytes) -> None:
        """Emit a message, with the moment at which its last octet came."""
        length = len(message)
        moment = next(moment for end, moment in self._ends if end >= length)
        self._emit(Carrier("MIKEY", body=message), moment)
        del self._octets[:length]
        self._ends = [(end - length, at) for end, at in self._ends if end > length]


def whole_message(data: bytes) -> int:
    """Return how many of the first octets are one complete MIKEY message; 0 for none."""
    # Most packets are something else, and are told apart quickly.
    if len(data) < _HEADER or data[0] != MIKEY_VERSION or data[_NEXT] not in PAYLOADS:
        return 0
    message = Message.read(data)
    if message.error is not None:
        return 0
    return len(data) - len(message.trailing)
