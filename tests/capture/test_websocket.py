"""SIP in WebSocket connections; the frames are the examples of RFC 6455 5.7, or made here."""

from __future__ import annotations

import pytest

from mikeytool.capture.reassembly import Moment
from mikeytool.capture.signalling import signals
from mikeytool.capture.tcp_streams import TextStream
from mikeytool.capture.websocket import MAX_MESSAGE, Frames, is_sip_in_frame
from tests.capture.carriers import INVITE, OK, key_mgmt, lines, sdp, sip
from tests.capture.messages import TRANSFER_RESP
from tests.capture.network import CLIENT, records, stream

SDP = sdp(key_mgmt(TRANSFER_RESP))
ASK = lines("GET / HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "")
AGREE = lines("HTTP/1.1 101 Switching", "Upgrade: WebSocket", "Connection: Upgrade", "")


def frame(payload: bytes, mask: bytes = b"", first: int = 0x81) -> bytes:
    """A frame; `first` has its bits and its opcode."""
    masked, size = 0x80 * bool(mask), len(payload)
    length = bytes([masked | size]) if size < 126 else bytes([masked | 126]) + size.to_bytes(2)
    if mask:
        payload = bytes(octet ^ mask[at % 4] for at, octet in enumerate(payload))
    return bytes([first]) + length + mask + payload


def messages(data: bytes, size: int = 1000) -> list[bytes]:
    frames = Frames()
    pieces = (data[at : at + size] for at in range(0, len(data), size))
    return [message for piece in pieces for message in frames.add(piece)]


@pytest.mark.parametrize("size", [1, 3, 1000])
@pytest.mark.parametrize(
    ("octets", "found"),
    [
        ("81 05 48656c6c6f", [b"Hello"]),
        ("81 85 37fa213d 7f9f4d5158", [b"Hello"]),
        ("01 03 48656c 80 02 6c6f", [b"Hello"]),
        ("01 03 48656c 8a 85 37fa213d 7f9f4d5158 80 02 6c6f", [b"Hello"]),
        ("89 05 48656c6c6f", []),
        ("82 7e 0100" + "aa" * 256, [b"\xaa" * 256]),
        ("82 7f 0000000000000003 aabbcc 88 00", [b"\xaa\xbb\xcc"]),
        # Compressed in two frames (RFC 7692), then not.
        ("41 03 f248cd 80 04 c9c90700 81 02 4f4b", [b"OK"]),
    ],
)
def test_messages_in_frames(octets: str, found: list[bytes], size: int) -> None:
    assert messages(bytes.fromhex(octets), size) == found


def test_a_long_message_is_passed_over() -> None:
    data = b"\x82\x7f" + (MAX_MESSAGE + 1).to_bytes(8) + bytes(MAX_MESSAGE + 1)
    parts = b"\x02\x02ab" + b"\x80\x7f" + MAX_MESSAGE.to_bytes(8) + bytes(MAX_MESSAGE)
    frames = Frames()
    assert [*frames.add(data + frame(b"next") + parts + frame(b"last"))] == [b"next", b"last"]
    # As long as it lasts nothing of it is held.
    assert [*frames.add(b"\x82\x7f" + b"\xff" * 8 + bytes(1 << 20))] == []
    assert frames.held == 0


def test_what_is_no_frame_ends_the_reading() -> None:
    frames = Frames()
    assert [*frames.add(frame(b"one") + b"HTTP/1.1 200 OK")] == [b"one"]
    assert frames.is_over
    assert bytes(frames.rest) == b"HTTP/1.1 200 OK"


def test_which_connections_are_joined() -> None:
    call = sip(INVITE, SDP)
    assert is_sip_in_frame(frame(call, b"\x01\x02\x03\x04"))
    assert is_sip_in_frame(frame(call)[:100])
    for other in (call, frame(b"hello"), frame(call, first=0xC1), frame(call, first=0x89), b"\x81"):
        assert not is_sip_in_frame(other)


@pytest.mark.parametrize("size", [1, 100, 10_000])
def test_sip_behind_an_upgrade(size: int) -> None:
    split = sip(OK, sdp(), cseq="2 UPDATE")
    data = (ASK + frame(b"", b"mask", 0x89) + frame(sip(INVITE, SDP), b"abcd")
            + frame(b"\r\n\r\n", b"mask") + frame(split[:50], b"wxyz", 0x01)
            + frame(split[50:], b"jklm", 0x80))  # fmt: skip
    found = [each.carrier for each in signals(records(stream(data, size, 1000)))]
    assert [(each.protocol, each.method, each.body) for each in found] == [  # type: ignore[union-attr]
        ("HTTP", "GET", b""), ("SIP", "INVITE", SDP), ("SIP", "UPDATE", sdp()),
    ]  # fmt: skip
    back = stream(AGREE + frame(split), size, 1000, CLIENT.back)
    assert [each.carrier.method for each in signals(records(back))] == ["", "UPDATE"]  # type: ignore[union-attr]


def test_sip_in_a_connection_that_is_joined_later() -> None:
    data = frame(sip(INVITE, SDP), b"abcd") + frame(sip(OK, sdp()), b"efgh")
    found = [each.carrier for each in signals(records(stream(data, 1400, 7, opened=False)))]
    assert [each.body for each in found] == [SDP, sdp()]  # type: ignore[union-attr]


def test_reading_goes_on_behind_a_gap_and_without_an_upgrade() -> None:
    given: list[str] = []
    reader = TextStream(lambda carrier, _: given.append(carrier.method or carrier.protocol))
    reader.feed(ASK + frame(sip(INVITE, SDP), b"abcd")[:80], Moment(1, None))
    reader.lost()
    reader.feed(frame(sip(OK, sdp(), cseq="2 UPDATE"), b"efgh"), Moment(2, None))
    # An upgrade that is refused leaves HTTP, or whatever comes.
    reader.feed(sip(INVITE, SDP) * 2, Moment(3, None))
    assert given == ["GET", "UPDATE", "INVITE", "INVITE"]
    assert reader.held == 0
