from __future__ import annotations

import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.capture.capture_files import open_capture
from mikeytool.capture.record import NO_PACKET, Capture, Record
from mikeytool.wire.errors import WireError
from tests.capture import wires
from tests.capture.wires import block, enhanced, interface, old_packet, option, section, simple
from tests.peers.programs import need

ORDERS = pytest.mark.parametrize("order", ["<", ">"])


def read(data: bytes) -> tuple[Capture, list[Record]]:
    capture = open_capture(io.BytesIO(data))
    return capture, list(capture)


def packets(records: list[Record]) -> list[tuple[int, int | None, int, bytes]]:
    return [(r.number, r.time, r.link, r.frame) for r in records if r.link != NO_PACKET]


@ORDERS
def test_every_kind_of_packet_block_is_read(order: str) -> None:
    data = (
        section(order)
        + interface(1, order=order)
        + interface(113, order=order)
        + enhanced(b"one", (1 << 32) + 5, order=order)
        + simple(b"two!!", order=order)
        + old_packet(b"three", 7, which=1, order=order)
    )
    _, records = read(data)
    assert packets(records) == [
        (1, ((1 << 32) + 5) * 1000, 1, b"one"),
        (2, None, 1, b"two!!"),
        (3, 7000, 113, b"three"),
    ]


@pytest.mark.parametrize(
    ("options", "ticks", "time"),
    [
        (b"", 3, 3000),
        (option(9, b"\x09"), 3, 3),
        (option(9, b"\x03"), 3, 3_000_000),
        (option(9, b"\x0c"), 5000, 5),
        (option(9, b"\x8a"), 1 << 11, 2 * 10**9),
        (option(14, struct.pack("<q", 100)) + option(0, b""), 3, 100 * 10**9 + 3000),
        (option(14, struct.pack("<q", -100)), 200_000_000, 100 * 10**9),
        (option(9, b"\x00"), 1 << 60, None),
        (option(14, struct.pack("<q", -100)), 0, None),
    ],
)
def test_times_have_the_resolution_and_offset_of_their_interface(
    options: bytes, ticks: int, time: int | None
) -> None:
    _, records = read(section() + interface(options=options) + enhanced(b"x", ticks))
    assert packets(records) == [(1, time, 1, b"x")]


def test_each_section_has_its_own_order_and_interfaces() -> None:
    data = section("<") + interface(1) + enhanced(b"a", 1)
    data += section(">") + interface(276, order=">") + enhanced(b"b", 2, order=">")
    _, records = read(data)
    assert packets(records) == [(1, 1000, 1, b"a"), (2, 2000, 276, b"b")]
    with pytest.raises(WireError, match="interface 0"):
        read(section() + interface() + section() + enhanced(b"x"))


@ORDERS
def test_a_copy_has_every_block_and_option(order: str) -> None:
    comment = option(1, b"a comment", order)
    data = (
        section(order, options=comment)
        + interface(options=option(2, b"eth0", order), order=order)
        + block(4, b"names", order)
        + enhanced(b"frame", options=comment + option(0, b"", order), order=order)
        + block(0x80001234, b"nobody knows this", order)
        + block(5, bytes(12) + comment, order)
    )
    capture, records = read(data)
    assert capture.head + b"".join(map(capture.kept, records)) == data


@ORDERS
def test_a_rewritten_block_keeps_time_interface_and_options_but_no_hash(order: str) -> None:
    comment = option(1, b"a comment", order) + option(0, b"", order)
    hashed = option(3, b"\x02" + bytes(4), order)
    before = [
        interface(order=order) * 2,
        enhanced(b"frame", 9, 1, hashed + comment, order),
        enhanced(b"frame", 9, 1, b"", order),
        old_packet(b"frame", 9, 1, order),
        simple(b"frame", order),
    ]
    after = [
        interface(order=order) * 2,
        enhanced(b"another", 9, 1, comment, order),
        enhanced(b"another", 9, 1, b"", order),
        old_packet(b"another", 9, 1, order),
        simple(b"another", order),
    ]
    capture, records = read(section(order) + b"".join(before))
    out = [
        capture.kept(each) if each.link == NO_PACKET else capture.rewritten(each, b"another")
        for each in records
    ]
    assert b"".join(out) == section(order) + b"".join(after)


def test_a_copy_has_no_section_length_and_room_for_longer_packets() -> None:
    fcs = option(13, b"\x04")
    data = section(length=64) + interface(snaplen=96, options=fcs + option(2, b"eth0"))
    capture, records = read(data)
    expected = section() + interface(snaplen=1 << 18, options=option(2, b"eth0"))
    assert b"".join(map(capture.kept, records)) == expected


def test_a_simple_packet_is_cut_at_the_snapshot_length() -> None:
    _, records = read(section() + interface(snaplen=4) + simple(b"abcd", wire=90))
    assert (records[-1].frame, records[-1].wire) == (b"abcd", 90)


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        (struct.pack("<III", 6, 8, 8), "8 octets"),
        (struct.pack("<III", 6, 13, 13) + bytes(4), "13 octets"),
        (struct.pack("<II", 6, 1 << 31) + bytes(8), "2147483648 octets"),
        (enhanced(b"x")[:-4] + bytes(4), "lengths differ"),
        (block(6, bytes(12)), "too short"),
        (block(6, struct.pack("<IIIII", 0, 0, 0, 5, 5)), "longer than its block"),
        (block(6, struct.pack("<IIIII", 1, 0, 0, 0, 0)), "interface 1"),
        (block(3, b""), "simple packet"),
        (block(1, b""), "interface block"),
        (section()[:8] + bytes(20), "byte order"),
        (enhanced(b"x")[:-1], "cut"),
    ],
)
def test_a_fault_has_its_place_and_what_is_before_it_is_given(broken: bytes, words: str) -> None:
    good = section() + interface() + enhanced(b"good")
    records = iter(open_capture(io.BytesIO(good + broken)))
    assert [next(records).frame for _ in range(3)][-1] == b"good"
    with pytest.raises(WireError, match=words) as caught:
        next(records)
    assert caught.value.offset == len(good)


@given(st.binary(max_size=200))
def test_noise_behind_a_section_ends_in_one_error_or_none(noise: bytes) -> None:
    good = section() + interface()
    capture = open_capture(io.BytesIO(good + noise))
    fault: WireError | None = None
    try:
        list(capture)
    except WireError as error:
        fault = error
    assert (fault is None) == (not noise) or len(noise) >= 12
    assert fault is None or (fault.offset or 0) >= len(good)


def test_endless_interfaces_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mikeytool.capture.pcapng._MOST_INTERFACES", 10)
    with pytest.raises(WireError, match="more than 10 interfaces"):
        read(section() + interface() * 11)


def test_wiresharks_own_conversion_has_the_same_packets(tmp_path: Path) -> None:
    need("editcap")
    frames = [wires.udp_frame(bytes([n]) * n) for n in range(1, 60)]
    (tmp_path / "a.pcap").write_bytes(wires.pcap(frames, nanoseconds=True))
    editcap = shutil.which("editcap") or ""
    for kind in ("pcapng", "nsecpcap", "pcap"):
        out = tmp_path / kind
        subprocess.run([editcap, "-F", kind, tmp_path / "a.pcap", out], check=True)
        _, records = read(out.read_bytes())
        found = [(time, frame) for _, time, _, frame in packets(records)]
        assert [frame for _, frame in found] == frames
        assert [time for time, _ in found] == [10**12 + 1000 * n for n in range(59)]
