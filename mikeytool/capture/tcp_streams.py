"""Messages in TCP streams: SIP (RFC 3261 18.3), RTSP (RFC 2326 10.12), HTTP (RFC 9112 6), MIKEY.

The first octets of a stream identify its protocol. After a gap, and in a stream whose beginning
was not captured, reading continues at the next start line.

Readers are generators that pause when they need more octets, so that their code follows the format.
No reader looks at an octet more than a few times.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator

from mikeytool.capture.body import MAX_BODY
from mikeytool.capture.carrier import (
    END_OF_HEAD,
    MAX_HEAD,
    START,
    Carrier,
    read_head,
    read_message,
)
from mikeytool.capture.reassembly import PIECE, Moment, StreamReader
from mikeytool.capture.websocket import Frames
from mikeytool.wire.errors import WireError
from mikeytool.wire.message import message_end
from mikeytool.wire.payloads import PAYLOADS
from mikeytool.wire.registry import MIKEY_VERSION

MAX_LINE = 8192
"""The most octets of a start line."""
MAX_FOREIGN = 1 << 16
"""Octets without a start line after which a stream is ignored."""
MAX_MIKEY = 1 << 18
"""The most octets of a MIKEY message in a stream; it may have several payloads of 65,535."""

_HEADER, _NEXT = 10, 2  # octets of the shortest header, the offset of Next payload in it
MIKEY_MEDIA_TYPE = "application/mikey"
_INTERLEAVED = 0x24
_BLANK = re.compile(rb"[\r\n]*")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\n]*)?\r?\n")
_LONGEST_CHUNK_LINE = 1024

Emit = Callable[[Carrier, Moment], None]
Steps = Generator[None, None, None]


class TextStream(StreamReader):
    """Reads SIP, RTSP and HTTP, and SIP in the WebSocket frames to which HTTP may lead.

    Only HTTP bodies of type application/mikey are kept. A message that breaks off at the end or at
    a gap is delivered incomplete, unless it is in frames.
    """

    def __init__(self, emit: Emit, *, is_websocket: bool = False) -> None:
        """Take what is called with each message; `is_websocket` says that it begins in frames."""
        self._emit = emit
        self._octets = bytearray()
        self._frames: Frames | None = Frames() if is_websocket else None
        self._chunked = 0
        self._over = False
        self._foreign = 0
        self._last: str | None = None
        self._moment = Moment(0, None)
        self._steps = self._read()

    @property
    def held(self) -> int:
        """How many octets it holds."""
        frames = 0 if self._frames is None else self._frames.held
        return len(self._octets) + self._chunked + frames

    def feed(self, data: bytes, moment: Moment) -> None:
        """Take the next octets; `moment` is when the last of them arrived."""
        self._octets += data
        self._moment = moment
        next(self._steps, None)

    def lost(self) -> None:
        """Deliver the incomplete message, and look for the next start line."""
        self.end()
        self._over = False
        self._octets.clear()
        if self._frames is not None:
            self._frames = Frames()  # most segments begin with a frame
        self._steps = self._read()

    def end(self) -> None:
        """Deliver the incomplete message."""
        self._over = True
        next(self._steps, None)

    def _read(self) -> Steps:
        while True:
            if self._frames is not None:
                yield from self._websocket(self._frames)
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
                self._emit(carrier.with_body(body), self._moment)
                if carrier.value("upgrade").lower() == "websocket":
                    self._frames = Frames()

    def _websocket(self, frames: Frames) -> Steps:
        """Read messages in frames, up to what is no frame."""
        while not frames.is_over:
            octets = bytes(self._octets)
            self._octets.clear()
            for message in frames.add(octets):
                if (carrier := read_message(message)) is not None:
                    self._emit(carrier, self._moment)
            if self._over:
                return
            if not frames.is_over:
                yield
        self._octets += frames.rest
        self._frames = None

    def _at_media(self) -> Generator[None, None, bool]:
        """Whether media interleaved with RTSP comes next (RFC 2326 10.12).

        Before the first message, the channel after the `$` decides: it has a low number, whereas
        text would have a printable character.
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
        """A chunked body (RFC 9112 7.1); trailer fields are left for later."""
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
    """Reads MIKEY messages that follow each other directly.

    A message has no length field and ends with its last payload. With `strict`, for ports other
    than MIKEY's, octets that do not form a complete message are ignored.
    """

    def __init__(self, emit: Emit, *, strict: bool) -> None:
        self._emit = emit
        self._strict = strict
        self._octets = bytearray()
        self._next_try = 0
        self._given = self._told = 0  # octets before those that are held; that were emitted
        self._ends: deque[tuple[int, Moment]] = deque()

    @property
    def held(self) -> int:
        """How many octets it holds, including their moments."""
        return len(self._octets) + PIECE * len(self._ends)

    def feed(self, data: bytes, moment: Moment) -> None:
        """Take the next octets; `moment` is when the last of them arrived."""
        self._octets += data
        self._ends.append((self._given + len(self._octets), moment))
        # Only when their number has doubled, so that a message in tiny segments is not read
        # repeatedly.
        if len(self._octets) >= self._next_try:
            self._read()
        if len(self._octets) > MAX_MIKEY:
            self.lost()
            self.finished = self._strict

    def lost(self) -> None:
        """Deliver the octets held as a broken message."""
        self._read()
        if self._octets and not self._strict:
            self._give(bytes(self._octets))
        self._told = self._given = self._given + len(self._octets)
        self._octets.clear()
        self._ends.clear()
        self._next_try = 0

    def end(self) -> None:
        """Deliver the octets held as a broken message."""
        self.lost()

    def _read(self) -> None:
        octets, at = bytes(self._octets), 0
        while end := whole_message(octets, at):
            self._give(octets[at:end])
            at = end
        del self._octets[:at]
        self._given += at
        self._next_try = len(self._octets) * 2
        self.finished = self._strict and at < len(octets) and octets[at] != MIKEY_VERSION

    def _give(self, message: bytes) -> None:
        """Emit a held message, with the moment at which its last octet arrived."""
        self._told += len(message)
        while self._ends[0][0] < self._told:
            self._ends.popleft()
        self._emit(Carrier("MIKEY", body=message), self._ends[0][1])


def whole_message(data: bytes, at: int = 0) -> int:
    """Return the end of the complete MIKEY message that begins at `at`; 0 without one."""
    # Most packets are something else, and are rejected quickly.
    if len(data) - at < _HEADER or data[at] != MIKEY_VERSION or data[at + _NEXT] not in PAYLOADS:
        return 0
    try:
        return message_end(data, at)
    except WireError:
        return 0
