"""SIP in WebSocket connections (RFC 7118): the messages in the frames (RFC 6455 5)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from mikeytool.capture.body import MAX_BODY
from mikeytool.capture.carrier import MAX_HEAD, START

MAX_MESSAGE = MAX_HEAD + MAX_BODY
"""The most octets of a message; a longer one is passed over."""
_FIN, _COMPRESSED, _RESERVED = 0x80, 0x40, 0x30
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_CONTROL = (8, 9, 10)
_LONGEST_CONTROL = 125


class _Header(NamedTuple):
    """What comes before the payload of a frame, which is `start` octets long."""

    bits: int
    opcode: int
    mask: bytes
    start: int
    length: int

    @property
    def is_possible(self) -> bool:
        """Whether a frame begins like that; text and other protocols hardly ever do."""
        if self.opcode in _CONTROL:
            return self.bits == _FIN and self.length <= _LONGEST_CONTROL
        return self.opcode <= _BINARY and not self.bits & _RESERVED


class Frames:
    """Takes one direction of a connection, and returns the text and binary messages in it.

    Compressed messages and those that are too long are left out. `is_over` says that what came
    is no frame; `rest` then has it.
    """

    def __init__(self) -> None:
        self.rest = bytearray()
        self.is_over = False
        self._message = bytearray()
        self._is_left_out = False
        self._skipped = 0

    @property
    def held(self) -> int:
        """How many octets it holds."""
        return len(self.rest) + len(self._message)

    def add(self, data: bytes) -> Iterator[bytes]:
        """Take the next octets."""
        self.rest += data
        while True:
            skipped = min(self._skipped, len(self.rest))
            del self.rest[:skipped]
            self._skipped -= skipped
            header = None if self._skipped else _header(self.rest)
            if header is None or self.is_over:
                return
            if not header.is_possible:
                self.is_over = True
                return
            if not self._begin(header):
                self._skipped = header.start + header.length
            elif len(self.rest) < header.start + header.length:
                return
            else:
                end = header.start + header.length
                self._message += _unmasked(self.rest[header.start : end], header.mask)
                del self.rest[:end]
            if header.opcode not in _CONTROL and header.bits & _FIN:
                message, self._message = bytes(self._message), bytearray()
                if not self._is_left_out:
                    yield message

    def _begin(self, header: _Header) -> bool:
        """Whether the payload of a frame is wanted."""
        if header.opcode in _CONTROL:
            return False
        if header.opcode != _CONTINUATION:
            self._message.clear()
            self._is_left_out = bool(header.bits & _COMPRESSED)
        if len(self._message) + header.length > MAX_MESSAGE:
            self._is_left_out = True
        return not self._is_left_out


def is_sip_in_frame(data: bytes) -> bool:
    """Whether a connection that is joined here goes on with a frame that holds a SIP message."""
    header = _header(data)
    if header is None or header.opcode not in (_TEXT, _BINARY):
        return False
    if header.bits & (_RESERVED | _COMPRESSED):
        return False
    text = _unmasked(data[header.start : header.start + header.length], header.mask)
    match = START.match(text.lstrip(b"\r\n"))
    return match is not None and b"SIP/2.0" in match[0]


def _header(octets: bytes | bytearray) -> _Header | None:
    """The header at the beginning of octets; None if they do not have all of it."""
    if len(octets) < 2:
        return None
    size = octets[1] & 0x7F
    wide = {126: 2, 127: 8}.get(size, 0)
    masked = 4 if octets[1] & 0x80 else 0
    start = 2 + wide + masked
    if len(octets) < start:
        return None
    length = int.from_bytes(octets[2 : 2 + wide]) if wide else size
    return _Header(
        octets[0] & 0xF0, octets[0] & 0x0F, bytes(octets[2 + wide : start]), start, length
    )


def _unmasked(payload: bytes | bytearray, mask: bytes) -> bytes:
    """The payload of a frame; what a client sends is masked (RFC 6455 5.3)."""
    if not mask:
        return bytes(payload)
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload) ^ int.from_bytes(repeated)).to_bytes(size)
