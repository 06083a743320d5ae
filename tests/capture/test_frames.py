from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.capture.endpoints import destination_of, endpoint, source_of
from mikeytool.capture.frame_payloads import with_payload
from mikeytool.capture.frames import TCP, UDP, Datagram, Fragment, find_datagram
from mikeytool.wire.errors import WireError
from tests.capture import wires
from tests.capture.wires import ethernet, ipv4, ipv6, packed, udp
from tests.peers.programs import need, run

V4 = packed(wires.SOURCE, wires.DESTINATION)
V6 = packed(wires.SOURCE_6, wires.DESTINATION_6)
OPTIONS = b"\x94\x04\x00\x00" + b"\x01" * 8
HOP, DEST = b"\x3c\x00" + bytes(6), b"\x11\x01" + bytes(14)
AUTH = b"\x11\x04" + bytes(22)
ATOMIC = b"\x11\x00" + bytes(6)

# name: link type, what is before the IP packet, the IP packet of a UDP datagram
Ip = Callable[[bytes], bytes]
FRAMES: dict[str, tuple[int, bytes, Ip]] = {
    "ethernet": (1, ethernet(b"", 0x0800), ipv4),
    "ethernet ipv6": (1, ethernet(b"", 0x86DD), ipv6),
    "802.1Q": (1, ethernet(b"", 0x0800, (0x8100,)), ipv4),
    "802.1ad": (1, ethernet(b"", 0x86DD, (0x88A8, 0x8100)), ipv6),
    "cooked": (113, bytes(14) + b"\x08\x00", ipv4),
    "cooked ipv6": (113, bytes(14) + b"\x86\xdd", ipv6),
    "cooked VLAN": (113, bytes(14) + b"\x81\x00\x00\x05\x08\x00", ipv4),
    "cooked 2": (276, b"\x08\x00" + bytes(18), ipv4),
    "cooked 2 ipv6": (276, b"\x86\xdd" + bytes(18), ipv6),
    "cooked 2 VLAN": (276, b"\x81\x00" + bytes(18) + b"\x00\x05\x08\x00", ipv4),
    "raw": (101, b"", ipv4),
    "raw ipv6": (101, b"", ipv6),
    "ipv4": (228, b"", ipv4),
    "ipv6": (229, b"", ipv6),
    "null": (0, b"\x02\0\0\0", ipv4),
    "null ipv6": (0, b"\x1e\0\0\0", ipv6),
    "loop": (108, b"\0\0\0\x02", ipv4),
    "options": (101, b"", lambda data: ipv4(data, options=OPTIONS)),
    "extensions": (101, b"", lambda data: ipv6(data, extensions=HOP + DEST, first=0)),
    "authentication": (101, b"", lambda data: ipv6(data, extensions=AUTH, first=51)),
    "atomic fragment": (101, b"", lambda data: ipv6(data, extensions=ATOMIC, first=44)),
}
EVERY = pytest.mark.parametrize(("link", "before", "ip"), FRAMES.values(), ids=FRAMES)


def found_in(link: int, frame: bytes) -> Datagram | Fragment | None:
    return find_datagram(link, b"##" + frame + b"##", 2, 2 + len(frame))


@EVERY
def test_udp_is_found(link: int, before: bytes, ip: Ip) -> None:
    v6 = ip(b"")[0] >> 4 == 6
    addresses = V6 if v6 else V4
    frame = before + ip(udp(b"payload", addresses))
    raw = b"##" + frame + b"##"
    found = find_datagram(link, raw, 2, 2 + len(frame))
    assert isinstance(found, Datagram)
    assert (found.protocol, raw[found.start : found.end], found.cut) == (UDP, b"payload", False)
    assert found.flow == addresses + struct.pack("!HH", 5004, 5006)
    assert raw[found.network] >> 4 == (6 if v6 else 4)
    assert found.source == ("[2001:db8::1]:5004" if v6 else "192.0.2.1:5004")
    assert found.destination == ("[2001:db8::2]:5006" if v6 else "198.51.100.2:5006")
    assert endpoint(source_of(found.flow)) == found.source
    assert endpoint(destination_of(found.flow)) == found.destination
    for cut in range(len(frame)):
        cut_short = find_datagram(link, frame[:cut], 0, cut)
        assert cut_short is None or cut_short.cut


@EVERY
@pytest.mark.parametrize("payload", [b"", b"x", b"longer than before", bytes(40)])
def test_another_payload_is_what_the_sender_would_have_sent(
    link: int, before: bytes, ip: Ip, payload: bytes
) -> None:
    addresses = V6 if ip(b"")[0] >> 4 == 6 else V4
    raw = b"##" + before + ip(udp(b"payload", addresses)) + b"padding"
    found = find_datagram(link, raw, 2, len(raw))
    assert isinstance(found, Datagram)
    assert with_payload(raw, 2, found, payload) == before + ip(udp(payload, addresses))


def test_wrong_checksums_and_lengths_of_offloading_cards_come_out_right() -> None:
    good = ipv4(udp(b"payload", V4))
    for start, octets in ((10, b"\x12\x34"), (26, b"\x12\x34"), (2, b"\0\0"), (24, b"\0\0")):
        raw = good[:start] + octets + good[start + 2 :]
        found = find_datagram(101, raw, 0, len(raw))
        assert isinstance(found, Datagram)
        assert with_payload(raw, 0, found, b"payload") == good


def test_a_checksum_that_is_none_stays_none_in_ipv4_only() -> None:
    raw = ipv4(udp(b"payload", V4, summed=False))
    found = find_datagram(101, raw, 0, len(raw))
    assert isinstance(found, Datagram)
    assert with_payload(raw, 0, found, b"other") == ipv4(udp(b"other", V4, summed=False))
    raw = ipv6(udp(b"payload", V6, summed=False))
    found = find_datagram(101, raw, 0, len(raw))
    assert isinstance(found, Datagram)
    assert with_payload(raw, 0, found, b"other") == ipv6(udp(b"other", V6))


@given(st.binary(max_size=300), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_checksums_are_those_of_rfc_1071(payload: bytes, source: int, ident: int) -> None:
    def four(data: bytes) -> bytes:
        return ipv4(data, ident=ident)

    for addresses, ip in ((V4, four), (V6, ipv6)):
        raw = ip(udp(b"", addresses, (source, 9)))
        found = find_datagram(101, raw, 0, len(raw))
        assert isinstance(found, Datagram)
        expected = ip(udp(payload, addresses, (source, 9)))
        assert with_payload(raw, 0, found, payload) == expected


def test_a_zero_checksum_is_written_as_all_ones() -> None:
    # The payload that makes the sum 0xffff, which one's complement calls 0 as well.
    start = udp(b"\0\0", V4)
    payload = start[6:8]
    made = udp(payload, V4)
    assert made[6:8] == b"\xff\xff"
    raw = ipv4(start)
    found = find_datagram(101, raw, 0, len(raw))
    assert isinstance(found, Datagram)
    assert with_payload(raw, 0, found, payload) == ipv4(made)


def test_what_cannot_be_rewritten_is_refused() -> None:
    tcp = ipv4(
        struct.pack("!HHIIBBHHH", 1, 2, 0, 0, 0x60, 0, 0, 0, 0) + bytes(4) + b"data", protocol=6
    )
    found = find_datagram(101, tcp, 0, len(tcp))
    assert isinstance(found, Datagram)
    assert (found.protocol, tcp[found.start : found.end]) == (TCP, b"data")
    with pytest.raises(WireError, match="TCP"):
        with_payload(tcp, 0, found, b"")
    raw = ipv4(udp(b"payload", V4))
    cut = find_datagram(101, raw, 0, len(raw) - 1)
    assert isinstance(cut, Datagram)
    with pytest.raises(WireError, match="snaplen"):
        with_payload(raw, 0, cut, b"")
    whole = find_datagram(101, raw, 0, len(raw))
    assert isinstance(whole, Datagram)
    assert len(with_payload(raw, 0, whole, bytes(65507))) == 65535
    with pytest.raises(WireError, match="65536 octets"):
        with_payload(raw, 0, whole, bytes(65508))


def test_fragments_are_told_with_all_that_puts_them_together() -> None:
    whole = udp(bytes(range(40)), V4)
    pieces = [
        ipv4(whole[:24], place=0x2000), ipv4(whole[24:40], place=0x2003), ipv4(whole[40:], place=5),
    ]  # fmt: skip
    found = [find_datagram(101, each, 0, len(each)) for each in pieces]
    assert all(isinstance(each, Fragment) for each in found)
    parts = [each for each in found if isinstance(each, Fragment)]
    assert len({each.key for each in parts}) == 1
    assert [(each.offset, each.more) for each in parts] == [(0, True), (24, True), (40, False)]
    assert b"".join(
        raw[each.start : each.end] for raw, each in zip(pieces, parts, strict=True)
    ) == whole  # fmt: skip
    assert parts[0].addresses == V4
    other = ipv4(whole[:24], place=0x2000, ident=8)
    again = find_datagram(101, other, 0, len(other))
    assert isinstance(again, Fragment)
    assert again.key != parts[0].key


def test_fragments_of_ipv6() -> None:
    whole = udp(bytes(range(40)), V6)
    for place, data in ((1, whole[:24]), (24, whole[24:])):
        extension = struct.pack("!BBHI", 17, 0, place, 9)
        raw = ipv6(data, extensions=extension, first=44)
        found = find_datagram(101, raw, 0, len(raw))
        assert isinstance(found, Fragment)
        assert (found.offset, found.more) == (place & ~7, place == 1)
        assert (found.protocol, raw[found.start : found.end]) == (UDP, data)


@pytest.mark.parametrize(
    ("link", "frame"),
    [
        (1, ethernet(b"", 0x0806)),
        (1, ethernet(ipv4(b"ping", protocol=1), 0x0800)),
        (1, ethernet(ipv4(udp(b"", V4)[:4] + b"\0\x07\0\0"), 0x0800)),
        (1, ethernet(b"\x30" + bytes(40), 0x0800)),
        (1, ethernet(b"\x44" + bytes(40), 0x0800)),
        (1, ethernet(b"", 0x0800, (0x8100,) * 9)),
        (101, ipv6(b"", extensions=(b"\0\0" + bytes(6)) * 17, first=0)),
        (101, ipv6(b"\x11\xff" + bytes(6), first=0)),
        (276, b"\x08\x06" + bytes(40)),
        (147, udp(b"payload", V4)),
        (101, b""),
    ],
)
def test_other_frames_are_none(link: int, frame: bytes) -> None:
    assert found_in(link, frame) is None


@given(st.sampled_from([0, 1, 12, 14, 101, 108, 113, 228, 229, 276]), st.binary(max_size=120))
def test_noise_is_found_inside_the_frame_or_not_at_all(link: int, noise: bytes) -> None:
    found = found_in(link, noise)
    if found is not None:
        assert 2 <= found.start <= found.end <= 2 + len(noise)


def test_tshark_finds_every_checksum_good(tmp_path: Path) -> None:
    need("tshark")
    frames = []
    for link, before, ip in FRAMES.values():
        addresses = V6 if ip(b"")[0] >> 4 == 6 else V4
        raw = before + ip(udp(b"payload", addresses))
        found = find_datagram(link, raw, 0, len(raw))
        assert isinstance(found, Datagram)
        frames.append((link, with_payload(raw, 0, found, b"another one")))
    file = tmp_path / "out.pcapng"
    file.write_bytes(wires.many_links(frames))
    checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    fields = ["-T", "fields", "-e", "udp.checksum.status", "-e", "udp.length"]
    shown = run(["tshark", "-r", str(file), *checks, *fields]).decode().splitlines()
    for name, row in zip(FRAMES, shown, strict=True):
        assert row.split() == ["1", "19"], name
