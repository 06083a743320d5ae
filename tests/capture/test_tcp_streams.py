from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest

from mikeytool.capture.body import MAX_BODY
from mikeytool.capture.carrier import MAX_HEAD, Carrier
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.tcp_streams import (
    MAX_FOREIGN,
    MAX_MIKEY,
    MikeyStream,
    TextStream,
    whole_message,
)
from tests.capture.carriers import INVITE, OK, key_mgmt, lines, rtsp, sdp, sip
from tests.capture.messages import ERROR, TRANSFER_RESP, UPDATE_RESP

SDP = sdp(key_mgmt(TRANSFER_RESP))
CALL = sip(INVITE, SDP)


class Text:
    """A TextStream, and what it gave."""

    def __init__(self) -> None:
        self.given: list[tuple[Carrier, int]] = []
        self.stream = TextStream(lambda carrier, moment: self.given.append((carrier, moment.frame)))
        self.frame = 0

    def feed(self, data: bytes, size: int | None = None) -> Text:
        for at in range(0, len(data), size or len(data)):
            self.frame += 1
            self.stream.feed(data[at : at + (size or len(data))], Moment(self.frame, None))
        return self

    @property
    def bodies(self) -> list[bytes]:
        return [carrier.body for carrier, _ in self.given]


@pytest.mark.parametrize("size", [1, 2, 7, 100, 1460, 10_000])
def test_sip_by_its_content_length(size: int) -> None:
    other = sip(OK, sdp(), cseq="2 UPDATE")
    text = Text().feed(b"\r\n\r\n" + CALL + b"\r\n\r\n" + other + CALL, size)
    assert text.bodies == [SDP, sdp(), SDP]
    assert [carrier.method for carrier, _ in text.given] == ["INVITE", "UPDATE", "INVITE"]
    assert text.stream.held == 0


def test_a_message_is_given_with_the_segment_that_ends_it() -> None:
    text = Text().feed(CALL + CALL, 100)
    assert [frame for _, frame in text.given] == [-(-len(CALL) // 100), -(-2 * len(CALL) // 100)]


def test_sip_without_a_length_ends_with_its_segment() -> None:
    bare = CALL.replace(b"Content-Length", b"X-Length")
    assert Text().feed(bare).feed(CALL).bodies == [SDP, SDP]


def test_reading_joins_in_at_the_next_start_line() -> None:
    text = Text().feed(CALL[200:] + CALL, 50)
    assert text.bodies == [SDP]


def test_reading_goes_on_behind_a_gap() -> None:
    text = Text().feed(CALL[:-30])
    text.stream.lost()
    text.feed(b"rest of it\r\n" + CALL)
    assert text.bodies == [SDP[:-30], SDP]


def test_what_breaks_off_at_the_end_is_given_as_far_as_it_goes() -> None:
    text = Text().feed(CALL[:-30])
    text.stream.end()
    assert text.bodies == [SDP[:-30]]
    head = Text().feed(CALL[:90])
    head.stream.end()
    assert [(carrier.method, carrier.body) for carrier, _ in head.given] == [("INVITE", b"")]


def test_a_head_without_end_is_bounded() -> None:
    text = Text().feed(INVITE.encode() + b"\r\n" + b"X: y\r\n" * (MAX_HEAD // 4), 5000)
    assert text.stream.held < MAX_HEAD
    assert text.feed(CALL).bodies[-1] == SDP


def test_a_body_that_is_too_long_is_passed_over() -> None:
    text = Text().feed(sip(INVITE, bytes(MAX_BODY + 1)) + CALL, 10_000)
    assert text.bodies == [b"", SDP]


def test_a_length_that_lies_is_bounded() -> None:
    lying = CALL.replace(b"Content-Length: ", b"Content-Length: 9999")
    text = Text().feed(lying).feed(bytes(MAX_BODY), 10_000)
    assert text.stream.held == 0


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_interleaved_media_is_passed_over(size: int) -> None:
    """RFC 2326 10.12. Inside is what looks like a message, and a `$`."""
    inside = b"$RTSP/1.0 200 OK\r\n\r\n"
    frame = b"$\x00" + len(inside).to_bytes(2) + inside
    described = rtsp("RTSP/1.0 200 OK", SDP, headers=("CSeq: 2",))
    text = Text().feed(described + frame * 3 + described + frame, size)
    assert text.bodies == [SDP, SDP]


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_a_stream_that_is_joined_at_interleaved_media(size: int) -> None:
    """RFC 2326 10.12; behind a `$` of text no channel stands."""
    frame = b"$\x00\x00\x0eRTSP/1.0 200\r\n"
    described = rtsp("RTSP/1.0 200 OK", SDP, headers=("CSeq: 2",))
    assert Text().feed(frame + frame + described, size).bodies == [SDP]
    assert Text().feed(b"$99 is the price\r\n" + CALL, size).bodies == [SDP]
    only = Text().feed(b"$")
    only.stream.end()
    assert only.bodies == []


def test_rtsp_without_a_length_has_no_body() -> None:
    text = Text().feed(lines("RTSP/1.0 200 OK", "CSeq: 1", "") * 2)
    assert text.bodies == [b"", b""]


POST = ("POST /keymanagement HTTP/1.1", "Host: kms.example.com", "Content-Type: application/mikey")


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_http_with_a_length(size: int) -> None:
    post = lines(*POST, f"Content-Length: {len(ERROR)}", "") + ERROR
    answer = lines("HTTP/1.1 200 OK", "Content-Type: application/mikey",
                   f"Content-Length: {len(TRANSFER_RESP)}", "") + TRANSFER_RESP  # fmt: skip
    assert Text().feed(post + post, size).bodies == [ERROR, ERROR]
    assert Text().feed(answer, size).bodies == [TRANSFER_RESP]


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_http_in_chunks(size: int) -> None:
    chunks = b"".join(
        b"%X;name=value\r\n%s\r\n" % (len(piece), piece)
        for piece in (ERROR[:1], ERROR[1:20], ERROR[20:])
    )
    post = lines(*POST, "Transfer-Encoding: chunked", "") + chunks + b"0\r\n"
    text = Text().feed(post + b"Trailer: x\r\n\r\n" + post + b"\r\n", size)
    assert text.bodies == [ERROR, ERROR]
    assert text.stream.held == 0


def test_http_until_the_end() -> None:
    text = Text().feed(lines("HTTP/1.0 200 OK", "Content-Type: application/mikey", "") + ERROR, 20)
    assert text.bodies == []
    text.stream.end()
    assert text.bodies == [ERROR]


@pytest.mark.parametrize("status", ["100 Continue", "204 No Content", "304 Not Modified"])
def test_http_answers_that_have_no_body(status: str) -> None:
    text = Text().feed(lines(f"HTTP/1.1 {status}", "Content-Type: application/mikey", "") + CALL)
    assert text.bodies == [b"", SDP]


def test_other_http_bodies_are_passed_over() -> None:
    page = lines("HTTP/1.1 200 OK", "Content-Type: video/mp4", "Content-Length: 1000000", "")
    chunks = lines("HTTP/1.1 200 OK", "Content-Type: video/mp4", "Transfer-Encoding: chunked", "")
    chunks += b"F4240\r\n" + bytes(1_000_000) + b"\r\n0\r\n\r\n"
    text = Text().feed(page + bytes(1_000_000) + chunks + CALL, 100_000)
    assert text.bodies == [b"", b"", SDP]


def test_chunks_of_a_body_that_is_kept_are_bounded() -> None:
    post = lines(*POST, "Transfer-Encoding: chunked", "")
    text = Text().feed(post + (b"10000\r\n" + bytes(0x10000) + b"\r\n") * 40, 10_000)
    assert text.stream.held <= MAX_BODY + 0x20000


def test_a_stream_of_something_else_is_given_up() -> None:
    text = Text().feed(b"\x16\x03\x01" * 100 + b"x\n" * MAX_FOREIGN, 1460)
    assert text.stream.finished
    assert text.stream.held == 0


class Mikey:
    """A MikeyStream, and what it gave."""

    def __init__(self, *, strict: bool = False) -> None:
        self.given: list[tuple[bytes, int]] = []
        self.stream = MikeyStream(
            lambda carrier, moment: self.given.append((carrier.body, moment.frame)), strict=strict
        )

    def feed(self, *pieces: bytes) -> Mikey:
        for number, piece in enumerate(pieces, 1):
            self.stream.feed(piece, Moment(number, None))
        return self


def cut(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 10, 96, 1460])
@pytest.mark.parametrize("strict", [False, True])
def test_messages_back_to_back(size: int, strict: bool) -> None:
    messages = [TRANSFER_RESP, UPDATE_RESP, ERROR, TRANSFER_RESP]
    mikey = Mikey(strict=strict).feed(*cut(b"".join(messages), size))
    mikey.stream.end()
    ends = [sum(map(len, messages[: at + 1])) for at in range(len(messages))]
    assert mikey.given == [(one, -(-end // size)) for one, end in zip(messages, ends, strict=True)]
    assert mikey.stream.held == 0


def test_a_message_that_breaks_off_is_given_broken() -> None:
    mikey = Mikey().feed(TRANSFER_RESP, UPDATE_RESP[:50])
    assert [one for one, _ in mikey.given] == [TRANSFER_RESP]
    mikey.stream.lost()
    mikey.feed(ERROR)
    assert [one for one, _ in mikey.given] == [TRANSFER_RESP, UPDATE_RESP[:50], ERROR]


def test_on_other_ports_only_whole_messages_count() -> None:
    mikey = Mikey(strict=True).feed(TRANSFER_RESP, UPDATE_RESP[:50])
    mikey.stream.end()
    assert [one for one, _ in mikey.given] == [TRANSFER_RESP]
    other = Mikey(strict=True).feed(TRANSFER_RESP + b"\x17\x03\x03 and so on")
    assert other.stream.finished


def test_what_never_ends_is_bounded() -> None:
    endless = TRANSFER_RESP[:40] + bytes([5]) * MAX_MIKEY
    mikey = Mikey().feed(*cut(endless, 1460))
    assert mikey.stream.held < 1460 * 2
    strict = Mikey(strict=True).feed(*cut(endless, 1460))
    assert strict.stream.finished


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (ERROR, len(ERROR)),
        (ERROR + b"more", len(ERROR)),
        (ERROR[:-1], 0),
        (b"\x02" + ERROR[1:], 0),
        (bytes.fromhex("01000000000000010001"), 0),
        (b"", 0),
        (b"\x01" * 40, 0),
    ],
)
def test_where_a_message_ends(data: bytes, length: int) -> None:
    assert whole_message(data) == length


def steps_of(data: bytes) -> int:
    """How many lines of Python run for a MIKEY stream of one octet a segment."""
    count = 0

    def trace(_frame: FrameType, _event: str, _argument: Any) -> Any:
        nonlocal count
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        Mikey().feed(*cut(data, 1))
    finally:
        sys.settrace(before)
    return count


def test_work_grows_with_the_octets_of_a_stream_in_tiny_segments() -> None:
    """Behind a long message that ends late come many short ones, all given at once."""
    long = bytes([1, 0, 21, 0]) + bytes(4) + bytes([0, 1])
    short = long[:2] + b"\x0b" + long[3:] + bytes.fromhex("0000")

    def stream(size: int) -> bytes:
        first = long + bytes([0, 0]) + size.to_bytes(2) + bytes(size)
        return first + short * (size // len(short))

    steps_of(stream(256))
    assert steps_of(stream(4096)) < 2.5 * steps_of(stream(2048))
