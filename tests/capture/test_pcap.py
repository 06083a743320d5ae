from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.capture.capture_files import is_capture, open_capture
from mikeytool.capture.record import READ_SIZE, Capture, Record
from mikeytool.wire.errors import WireError
from tests.capture import wires

FRAMES = [bytes([n % 251]) * n for n in (60, 0, 1, 1500)]
ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def read(data: bytes) -> tuple[Capture, list[Record]]:
    capture = open_capture(io.BytesIO(data))
    return capture, list(capture)


@ORDERS
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_records_are_read_in_both_orders_and_resolutions(order: str, nanoseconds: bool) -> None:
    data = wires.pcap(FRAMES, order=order, nanoseconds=nanoseconds, link=113)
    assert is_capture(data[:16])
    _, records = read(data)
    assert [each.frame for each in records] == FRAMES
    assert [each.number for each in records] == [1, 2, 3, 4]
    assert [each.time for each in records] == [10**12 + 1000 * n for n in range(4)]
    assert {each.link for each in records} == {113}


@ORDERS
def test_a_copy_is_the_file(order: str) -> None:
    data = wires.pcap(FRAMES, order=order, wire=3)
    capture, records = read(data)
    assert capture.head + b"".join(map(capture.kept, records)) == data


@ORDERS
@pytest.mark.parametrize("nanoseconds", [False, True])
def test_a_rewritten_record_has_other_lengths_and_the_same_time(
    order: str, nanoseconds: bool
) -> None:
    capture, records = read(wires.pcap(FRAMES, order=order, nanoseconds=nanoseconds))
    out = capture.head + b"".join(capture.rewritten(each, each.frame + b"!") for each in records)
    expected = wires.pcap([each + b"!" for each in FRAMES], order=order, nanoseconds=nanoseconds)
    assert out == expected


def test_a_copy_has_room_for_longer_packets_and_announces_no_frame_check_sequence() -> None:
    data = bytearray(wires.pcap(FRAMES, snaplen=96))
    data[20:24] = struct.pack("<I", 0x44000001)
    capture, records = read(bytes(data))
    assert {each.link for each in records} == {1}
    assert struct.unpack_from("<II", capture.head, 16) == (1 << 18, 1)


def test_a_packet_that_was_cut_short_tells_its_length() -> None:
    _, records = read(wires.pcap([b"abc"], wire=100))
    assert (records[0].wire, records[0].frame) == (103, b"abc")


@given(st.integers(0, 300))
def test_what_is_before_a_fault_is_given_and_the_fault_has_a_place(length: int) -> None:
    frames = [b"x" * 40, b"y" * 50, b"z" * 60]
    data = wires.pcap(frames)
    ends = [24, 24 + 56, 24 + 122, 24 + 198]
    if length < 24:
        with pytest.raises(WireError, match=r"ends inside|no capture"):
            read(data[:length])
        return
    got = []
    error: WireError | None = None
    try:
        for record in open_capture(io.BytesIO(data[:length])):
            got.append(record.frame)
    except WireError as caught:
        error = caught
    whole = sum(end <= length for end in ends[1:])
    assert got == frames[:whole]
    if length in ends or length > ends[-1]:
        assert error is None
    else:
        assert error is not None
        assert error.offset == ends[whole]


def test_a_broken_length_ends_the_reading_without_taking_memory() -> None:
    data = bytearray(wires.pcap([b"x" * 40, b"y" * 50]) + bytes(READ_SIZE))
    data[24 + 56 + 8 : 24 + 56 + 12] = struct.pack("<I", 0xFFFFFFF0)
    capture = open_capture(io.BytesIO(bytes(data)))
    records = iter(capture)
    assert next(records).frame == b"x" * 40
    with pytest.raises(WireError, match="4294967280 octets") as caught:
        next(records)
    assert caught.value.offset == 24 + 56


def test_a_large_file_is_read_in_blocks() -> None:
    frames = [bytes([n % 251]) * (n % 1500) for n in range(2000)]
    data = wires.pcap(frames)
    assert len(data) > 2 * READ_SIZE

    class Trickle(io.RawIOBase):
        """A pipe that gives little at a time."""

        def __init__(self) -> None:
            self.inner = io.BytesIO(data)
            self.most = 0

        def read(self, size: int = -1) -> bytes:
            self.most = max(self.most, size)
            return self.inner.read(min(size, 70_000) if size >= 0 else size)

    source = Trickle()
    assert [each.frame for each in open_capture(source)] == frames  # type: ignore[arg-type]
    assert source.most <= READ_SIZE


def test_other_files_are_no_capture() -> None:
    for data in (b"", b"\x00" * 64, b"a=key-mgmt:mikey AQ=="):
        assert not is_capture(data)
        with pytest.raises(WireError, match="no capture file"):
            open_capture(io.BytesIO(data))
