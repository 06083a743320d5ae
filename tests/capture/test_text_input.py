"""Inputs of any length, line by line: what is found is what `find_messages` finds."""

from __future__ import annotations

import base64
import io
import tracemalloc
from typing import Any

import pytest

from mikeytool.capture import text_input as stream
from mikeytool.capture.strict_text import FoundMessage
from mikeytool.capture.text import find_messages
from mikeytool.capture.text_input import stream_messages
from mikeytool.wire.errors import WireError
from tests.support import vectors

MESSAGES = [bytes.fromhex(case["TRANSFER_INIT"]) for case in vectors("exchanges")]
LINES = [base64.b64encode(message).decode() for message in MESSAGES]
HEX = MESSAGES[0].hex()


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a few lines are many blocks."""
    monkeypatch.setattr(stream, "BLOCK", 700)


def same(found: list[Any]) -> list[Any]:
    return [str(item) if isinstance(item, WireError) else item for item in found]


TEXTS = {
    "base64": "\n".join(LINES) + "\n",
    "no newline at the end": "\n".join(LINES),
    "CRLF": "\r\n".join(LINES),
    "comments and blank lines": "# one\n\n" + "\n\n# next\n".join(LINES),
    "URL-safe and unpadded": "\n".join(
        base64.urlsafe_b64encode(message).decode().rstrip("=") for message in MESSAGES
    ),
    "hex between base64": "\n".join([*LINES[:4], HEX, *LINES[4:], HEX]),
    "a bad line": "\n".join([*LINES[:4], "AQ!nonsense", *LINES[4:], "AQAA="]),
    "wrong padding": "\n".join([*LINES, "AQAA====", "AQA", "AQAAAA=", "AQ==AQ==", "AQA=A==="]),
    "hex": "\n".join(message.hex() for message in MESSAGES),
    "bad hex": "\n".join(
        [
            *(message.hex() for message in MESSAGES),
            *(
                HEX[:-1],
                HEX[:8],
                HEX.upper(),
                f"01 {HEX[2:]}",
                f"01fe{HEX[4:]}",
                f"{HEX}g",
                f"02{HEX[2:]}",
            ),
        ]
    ),
    "attributes": "\n".join([*LINES[:4], *(f"a=key-mgmt:mikey {line}" for line in LINES[4:])]),
    "base64 in lines": "\n".join(base64.encodebytes(message).decode() for message in MESSAGES),
    "hex in lines": "\n".join(HEX[at : at + 64] for at in range(0, len(HEX), 64)),
    "an SDP": "v=0\r\n"
    + "a=x\r\n" * 300
    + f"a=key-mgmt:mikey {LINES[0]}\r\nm=audio 1 RTP/SAVP 0\r\n",
}


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_the_same_is_found(name: str, lines: bool) -> None:
    data = TEXTS[name].encode()
    assert len(data) > 700
    streamed = list(stream_messages(io.BytesIO(data), lines=lines))
    assert same(streamed) == same(find_messages(data, lines=lines))


@pytest.mark.parametrize("data", [b"", b"# nothing\n", b"v=0\r\ns=-\r\n"])
def test_nothing_is_an_error(data: bytes) -> None:
    with pytest.raises(WireError):
        list(stream_messages(io.BytesIO(data)))


class Endless(io.RawIOBase):
    """A million lines that are made as they are read."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self._line = LINES[0].encode() + b"\n"
        self._left = count * len(self._line)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        size = min(self._left, len(buffer) // len(self._line) * len(self._line))
        buffer[:size] = self._line * (size // len(self._line))
        self._left -= size
        return size


def test_memory_is_constant() -> None:
    count = 0
    source = io.BufferedReader(Endless(30_000), 1 << 20)
    tracemalloc.start()
    try:
        for item in stream_messages(source):
            assert isinstance(item, FoundMessage)
            count += 1
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 30_000
    assert peak < 12 << 20 < 30_000 * len(LINES[0])
