from __future__ import annotations

import io
import struct

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.capture.record import BARE_PACKET
from mikeytool.capture.rtpdump import Rtpdump
from mikeytool.wire.errors import WireError

HEAD = b"#!rtpplay1.0 192.0.2.1/5004\n" + struct.pack("!IIIHH", 1000, 5, 0xC0000201, 5004, 0)


def packet(
    data: bytes, milliseconds: int = 0, *, rtcp: bool = False, wire: int | None = None
) -> bytes:
    whole = 0 if rtcp else len(data) if wire is None else wire
    return struct.pack("!HHI", 8 + len(data), whole, milliseconds) + data


def test_packets_have_their_times_and_no_addresses() -> None:
    data = HEAD + packet(b"rtp") + packet(b"rtcp", 1500, rtcp=True) + packet(b"cut", wire=90)
    capture = open_capture(io.BytesIO(data))
    assert isinstance(capture, Rtpdump)
    assert capture.source == "192.0.2.1:5004"
    found = [(r.number, r.time, r.link, r.frame, r.wire) for r in capture]
    start = 1000 * 10**9 + 5000
    assert found == [
        (1, start, BARE_PACKET, b"rtp", 3),
        (2, start + 1500 * 10**6, BARE_PACKET, b"rtcp", 4),
        (3, start, BARE_PACKET, b"cut", 90),
    ]


def test_a_rewritten_packet_is_as_rtptools_write_it() -> None:
    capture = open_capture(io.BytesIO(HEAD + packet(b"rtp", 20) + packet(b"rtcp", 30, rtcp=True)))
    out = [capture.rewritten(each, each.frame + b"!!") for each in capture]
    expected = packet(b"rtp!!", 20) + packet(b"rtcp!!", 30, rtcp=True)
    assert capture.head + b"".join(out) == HEAD + expected


def test_a_packet_that_is_too_long_for_the_format_is_refused() -> None:
    capture = open_capture(io.BytesIO(HEAD + packet(b"rtp")))
    (record,) = capture
    assert len(capture.rewritten(record, bytes(65527))) == 65535
    with pytest.raises(WireError, match="packet 1"):
        capture.rewritten(record, bytes(65528))


@pytest.mark.parametrize("broken", [b"\0", struct.pack("!HHI", 7, 0, 0), packet(b"rtp")[:-1]])
def test_a_fault_has_its_place(broken: bytes) -> None:
    good = HEAD + packet(b"good")
    records = iter(open_capture(io.BytesIO(good + broken)))
    assert next(records).frame == b"good"
    with pytest.raises(WireError) as caught:
        next(records)
    assert caught.value.offset == len(good)


@pytest.mark.parametrize("head", [b"#!rtpplay1.0 \n", b"#!rtpplay1.0 " + b"x" * 999, HEAD[:-1]])
def test_a_broken_header_is_unreadable(head: bytes) -> None:
    with pytest.raises(WireError, match=r"first line|header"):
        open_capture(io.BytesIO(head))
