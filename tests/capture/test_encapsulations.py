"""Frames with headers around the IP packet: read, changed, and what tshark says of both."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.capture.encapsulations import ENCAPSULATIONS, IP_TUNNELS, UDP_TUNNELS
from mikeytool.capture.fragments import Fragments
from mikeytool.capture.frame_payloads import with_payload
from mikeytool.capture.frames import MAX_LAYERS, UDP, Datagram, Fragment, find_datagram, why_unread
from mikeytool.capture.link_types import LINK_TYPES
from tests.capture import wires
from tests.capture.wires import checksum, ethernet, ipv4, ipv6, packed, udp
from tests.peers.programs import need, run

V4 = packed(wires.SOURCE, wires.DESTINATION)
V6 = packed(wires.SOURCE_6, wires.DESTINATION_6)
OUTER, OUTER_6 = ("203.0.113.1", "203.0.113.2"), ("2001:db8:1::1", "2001:db8:1::2")
PAYLOAD, LONGER, SHORTER = b"\x80payload of RTP", b"\x80" + bytes(99), b"\x80"
INNER = ipv4(udp(PAYLOAD, V4))
INNER_6 = ipv6(udp(PAYLOAD, V6))
FRAME = ethernet(INNER, 0x0800)
SNAP = b"\xaa\xaa\x03\0\0\0\x08\x00"
A, B, C, D = (bytes.fromhex(f"0200000000{each:02x}") for each in range(1, 5))


def over_udp(port: int, content: bytes, *, summed: bool = False) -> bytes:
    return ethernet(
        ipv4(udp(content, packed(*OUTER), (40000, port), summed=summed), addresses=OUTER), 0x0800
    )


def over_ip(protocol: int, content: bytes) -> bytes:
    return ethernet(ipv4(content, addresses=OUTER, protocol=protocol), 0x0800)


def gre(flags: int, kind: int, options: bytes, content: bytes) -> bytes:
    header = struct.pack("!HH", flags, kind) + options
    if flags & 0x8000:
        total = checksum(header + content)
        header = header[:4] + struct.pack("!H", total) + header[6:]
    return over_ip(47, header + content)


def radiotap(fields: bytes, present: int) -> bytes:
    return struct.pack("<BBHI", 0, 0, 8 + len(fields), present) + fields


def wlan(kind: int = 0x08, flags: int = 1, more: bytes = b"") -> bytes:
    return bytes([kind, flags]) + b"\0\0" + A + B + C + b"\0\0" + more + SNAP + INNER


def pppoe(content: bytes) -> bytes:
    return ethernet(struct.pack("!BBHH", 0x11, 0, 9, len(content)) + content, 0x8864)


CONTROL = b"\xff\x03\0\x21"  # of PPP, and IPv4's number
FCS = b"\xde\xad\xbe\xef"
AH = struct.pack("!I", 7) + C + D  # of 802.1ah: I-TAG and the customer's addresses
FRAMES: dict[str, tuple[int, bytes]] = {
    "QinQ": (1, ethernet(INNER, 0x0800, (0x88A8, 0x8100))),
    "VLAN, LLC": (1, A + B + struct.pack("!HHH", 0x8100, 5, 8 + len(INNER)) + SNAP + INNER),
    "LLC/SNAP": (1, A + B + struct.pack("!H", 8 + len(INNER)) + SNAP + INNER),
    "MPLS": (1, ethernet(b"\0\x01\0\x40\0\x01\x11\x40" + INNER, 0x8847)),
    "MPLS IPv6": (1, ethernet(b"\0\x01\x11\x40" + INNER_6, 0x8847)),
    "pseudowire": (1, ethernet(b"\0\x01\x11\x40" + bytes(4) + FRAME, 0x8847)),
    "PPPoE": (1, pppoe(b"\0\x21" + INNER)),
    "PPPoE IPv6": (1, pppoe(b"\0\x57" + INNER_6)),
    "802.1ah": (1, ethernet(AH + b"\x08\0" + INNER, 0x88E7, (0x88A8,))),
    "IP in IP": (1, over_ip(4, INNER)),
    "IPv6 in IP": (1, over_ip(41, INNER_6)),
    "IP in IPv6": (1, ethernet(ipv6(INNER, addresses=OUTER_6, protocol=4), 0x86DD)),
    "IPv6 in IPv6": (1, ethernet(ipv6(INNER_6, addresses=OUTER_6, protocol=41), 0x86DD)),
    "IPsec authentication": (
        1,
        ethernet(ipv4(b"\x11\x04" + bytes(22) + udp(PAYLOAD, V4), protocol=51), 0x0800),
    ),
    "IPsec authentication tunnel": (1, over_ip(51, b"\x04\x04" + bytes(22) + INNER)),
    "GRE": (1, gre(0, 0x0800, b"", INNER)),
    "GRE key": (1, gre(0x2000, 0x0800, bytes(4), INNER)),
    "GRE all": (1, gre(0xB000, 0x0800, bytes(12), INNER)),
    "GRE checksum": (1, gre(0x8000, 0x0800, bytes(4), INNER)),
    "GRE in IPv6": (
        1,
        ethernet(ipv6(b"\0\0\x86\xdd" + INNER_6, addresses=OUTER_6, protocol=47), 0x86DD),
    ),
    "GRE MPLS": (1, gre(0, 0x8847, b"", b"\0\x01\x11\x40" + INNER)),
    "GRE Ethernet": (1, gre(0, 0x6558, b"", FRAME)),
    "PPTP": (
        1,
        gre(0x3081, 0x880B, struct.pack("!HHII", 4 + len(INNER), 1, 1, 1), CONTROL + INNER),
    ),
    "ERSPAN I": (1, gre(0, 0x88BE, b"", FRAME)),
    "ERSPAN II": (1, gre(0x1000, 0x88BE, bytes(4), b"\x10\x01\0\x01\0\0\0\0" + FRAME)),
    "ERSPAN III": (1, gre(0x1000, 0x22EB, bytes(4), b"\x20\x01\0\x01" + bytes(8) + FRAME)),
    "ERSPAN III, platform": (
        1,
        gre(0x1000, 0x22EB, bytes(4), b"\x20\x01\0\x01" + bytes(7) + b"\x01" + bytes(8) + FRAME),
    ),
    "VXLAN": (1, over_udp(4789, b"\x08\0\0\0\0\0\x01\0" + FRAME)),
    "VXLAN, checksum": (1, over_udp(4789, b"\x08\0\0\0\0\0\x01\0" + FRAME, summed=True)),
    "Geneve": (1, over_udp(6081, b"\0\0\x65\x58\0\0\x01\0" + FRAME)),
    "Geneve, options": (
        1,
        over_udp(6081, b"\x02\0\x65\x58\0\0\x01\0" + bytes(3) + b"\1" + bytes(4) + FRAME),
    ),
    "GTP-U": (1, over_udp(2152, struct.pack("!BBHI", 0x30, 255, len(INNER), 1) + INNER)),
    "GTP-U, 5G": (
        1,
        over_udp(
            2152,
            struct.pack("!BBHI", 0x34, 255, 8 + len(INNER), 1) + b"\0\0\0\x85\x01\0\x09\0" + INNER,
        ),
    ),
    "GTP-U IPv6": (1, over_udp(2152, struct.pack("!BBHI", 0x30, 255, len(INNER_6), 1) + INNER_6)),
    "TZSP": (1, over_udp(37008, b"\x01\0\0\x01\x0a\x01\xc8\x00\x01" + FRAME)),
    "L2TP": (1, over_udp(1701, b"\0\2\0\1\0\2" + CONTROL + INNER)),
    "L2TP, all": (
        1,
        over_udp(
            1701,
            struct.pack("!HHHHHHH", 0x4A02, 20 + len(INNER), 1, 2, 3, 4, 2)
            + b"\0\0"
            + CONTROL
            + INNER,
            summed=True,
        ),
    ),
    "Teredo": (1, over_udp(3544, INNER_6, summed=True)),
    "Teredo, both indications": (
        1,
        over_udp(3544, b"\0\1\2\3" + bytes(14) + b"\0\0" + bytes(6) + INNER_6),
    ),
    "Teredo from the server": (
        1,
        ethernet(ipv4(udp(INNER_6, packed(*OUTER), (3544, 40000)), addresses=OUTER), 0x0800),
    ),
    "CAPWAP": (1, over_udp(5247, bytes.fromhex("0010020000000000") + FRAME)),
    "CAPWAP to the access point": (
        1,
        ethernet(
            ipv4(
                udp(bytes.fromhex("0010020000000000") + FRAME, packed(*OUTER), (5247, 4000)),
                addresses=OUTER,
            ),
            0x0800,
        ),
    ),
    "VXLAN in GRE": (1, gre(0, 0x6558, b"", over_udp(4789, b"\x08\0\0\0\0\0\x01\0" + FRAME))),
    "802.11": (105, wlan()),
    "802.11 QoS": (105, wlan(0x88, 2, bytes(2))),
    "802.11 QoS, HT": (105, wlan(0x88, 0x82, bytes(6))),
    "802.11 WDS": (105, wlan(0x08, 3, D)),
    "radiotap": (127, radiotap(b"", 0) + wlan()),
    "radiotap, FCS": (127, radiotap(b"\x10", 2) + wlan() + FCS),
    "radiotap, TSFT, padded": (
        127,
        radiotap(bytes(8) + b"\x30", 3) + wlan(0x88, 1, bytes(4)) + FCS,
    ),
    "radiotap, two bitmaps": (
        127,
        struct.pack("<BBHIII", 0, 0, 25, 0x80000003, 0, 0) + bytes(8) + b"\x10" + wlan() + FCS,
    ),
    "PPI": (192, struct.pack("<BBHI", 0, 0, 8, 105) + wlan()),
    "AVS": (163, b"\x80\x21\x10\x01" + struct.pack("!I", 64) + bytes(56) + wlan()),
    "cooked, LLC": (113, bytes(14) + b"\0\x04" + SNAP + INNER),
    "cooked GRE": (113, bytes(14) + b"\x08\0" + gre(0, 0x0800, b"", INNER)[14:]),
    "cooked 2 GRE": (276, b"\x08\0" + bytes(18) + gre(0, 0x0800, b"", INNER)[14:]),
    "raw GRE": (101, gre(0, 0x0800, b"", INNER)[14:]),
    "loopback GRE": (0, b"\2\0\0\0" + gre(0, 0x0800, b"", INNER)[14:]),
    "PPP": (9, b"\xff\x03\0\x21" + INNER),
    "PPP, short": (9, b"\x21" + INNER),
    "Cisco HDLC": (104, b"\x0f\0\x08\0" + INNER),
    "netfilter": (
        239,
        b"\x02\0\0\0\x05\0\x0a\0p\0\0\0" + struct.pack("<HH", 4 + len(INNER), 9) + INNER,
    ),
}
EVERY = pytest.mark.parametrize(("link", "frame"), FRAMES.values(), ids=FRAMES)


def found_in(link: int, raw: bytes, start: int = 0) -> Datagram | Fragment | None:
    return find_datagram(link, raw, start, len(raw))


@EVERY
def test_the_innermost_datagram_is_found(link: int, frame: bytes) -> None:
    found = found_in(link, b"##" + frame, 2)
    assert isinstance(found, Datagram)
    addresses = V6 if INNER_6 in frame else V4
    assert found.flow == addresses + struct.pack("!HH", 5004, 5006)
    assert ((b"##" + frame)[found.start : found.end], found.cut) == (PAYLOAD, False)


@EVERY
def test_a_frame_with_its_own_payload_is_as_it_was(link: int, frame: bytes) -> None:
    raw = b"##" + frame
    found = found_in(link, raw, 2)
    assert isinstance(found, Datagram)
    if not frame.endswith(FCS):
        assert with_payload(raw, 2, found, PAYLOAD) == frame


@EVERY
def test_a_frame_that_is_cut_is_not_misread(link: int, frame: bytes) -> None:
    for size in range(len(frame)):
        found = found_in(link, frame[:size])
        if isinstance(found, Datagram):
            assert found.start <= found.end <= size


def test_tshark_reads_what_was_changed(tmp_path: Path) -> None:
    need("tshark")
    frames = []
    for link, frame in FRAMES.values():
        found = found_in(link, frame)
        assert isinstance(found, Datagram)
        changed = [with_payload(frame, 0, found, each) for each in (LONGER, SHORTER)]
        frames += [(link, each) for each in (frame, *changed)]
    file = tmp_path / "out.pcapng"
    file.write_bytes(wires.many_links(frames))
    fields = ["udp.payload", "ip.checksum.status", "udp.checksum.status", "gre.checksum.status",
              "_ws.malformed", "_ws.expert.message"]  # fmt: skip
    options = [word for each in fields for word in ("-e", each)]
    checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    shown = run(["tshark", "-r", str(file), *checks, "-T", "fields", *options]).decode()
    rows = zip(*[iter(shown.splitlines())] * 3, strict=True)
    for name, three in zip(FRAMES, rows, strict=True):
        if name == "pseudowire":  # of which the label says nothing
            continue
        for row, payload in zip(three, (PAYLOAD, LONGER, SHORTER), strict=True):
            payloads, *sums, malformed, expert = (row + "\t" * 5).split("\t")[:6]
            assert payloads.split(",")[-1] == payload.hex(), name
            assert set(",".join(sums).split(",")) <= {"", "1", "2", "3"}, (name, row)
            assert not malformed, (name, expert)
            assert "ength" not in expert, (name, expert)


def test_fragments_in_a_tunnel_and_of_a_tunnel() -> None:
    datagram = udp(b"\x80" + bytes(range(199)), V4)
    pieces = [ipv4(datagram[:104], place=0x2000), ipv4(datagram[104:], place=13)]
    frames = [gre(0, 0x0800, b"", each) for each in pieces]
    assert whole(frames) == b"\x80" + bytes(range(199))
    tunnel = gre(0, 0x0800, b"", ipv4(datagram))[34:]
    outer = [
        ipv4(tunnel[:160], addresses=OUTER, protocol=47, place=0x2000),
        ipv4(tunnel[160:], addresses=OUTER, protocol=47, place=20),
    ]
    assert whole([ethernet(each, 0x0800) for each in outer]) == b"\x80" + bytes(range(199))
    both = [gre(0, 0x0800, b"", each)[34:] for each in pieces]
    nested = [
        ethernet(ipv4(data, addresses=OUTER, protocol=47, ident=ident, place=place), 0x0800)
        for ident, each in enumerate(both)
        for data, place in ((each[:64], 0x2000), (each[64:], 8))
    ]
    assert whole(nested) == b"\x80" + bytes(range(199))


def whole(frames: list[bytes]) -> bytes:
    fragments = Fragments()
    for frame in frames:
        fragment = found_in(1, frame)
        assert isinstance(fragment, Fragment)
        done = fragments.add(frame, fragment)
    assert done is not None
    raw, found = done
    assert found.protocol == UDP
    return raw[found.start : found.end]


def test_layers_are_bounded() -> None:
    packet = INNER
    for _ in range(MAX_LAYERS + 1):
        packet = ipv4(packet, protocol=4)
    assert found_in(101, packet) is None
    # What is no tunnel after all is the datagram that it is.
    frame = over_udp(4789, b"\x08 no VXLAN at all")
    found = found_in(1, frame)
    assert isinstance(found, Datagram)
    assert frame[found.start : found.end] == b"\x08 no VXLAN at all"


@pytest.mark.parametrize(
    ("link", "frame", "name"),
    [
        (147, FRAME, "link type 147 (USER0)"),
        (9999, FRAME, "link type 9999"),
        (192, struct.pack("<BBHI", 0, 0, 8, 147) + FRAME, "link type 147 (USER0)"),
        (105, wlan(flags=0x41), "802.11 frames that are encrypted"),
        (105, wlan(0x88, 1, b"\x80\0"), "802.11 A-MSDU"),
        (1, ethernet(bytes(40), 0x88E5), "MACsec"),
        (1, over_ip(115, bytes(4) + FRAME), "L2TPv3"),
        (1, over_ip(50, bytes(8) + INNER), "ESP"),
        (1, over_udp(5247, b"\1\0\0\0\x17\xfe\xfd" + bytes(40)), "CAPWAP in DTLS"),
        (1, over_udp(5247, bytes.fromhex("0010028000000000") + FRAME), "CAPWAP fragments"),
        (1, over_udp(5247, bytes.fromhex("0010030000000000") + wlan()), "802.11 in CAPWAP"),
        (1, over_udp(4789, b"\x08\0\0\0\0\0\1\0" + ethernet(bytes(40), 0x88E5)), "MACsec"),
        (1, ethernet(bytes(40), 0x0806), ""),
        (105, b"\x80\0" + bytes(40), ""),
    ],
)
def test_what_is_not_read_is_named(link: int, frame: bytes, name: str) -> None:
    assert found_in(link, frame) is None
    assert why_unread(link, frame, 0, len(frame)) == name


LINKS = st.sampled_from([*sorted(LINK_TYPES), 252])
TYPES = st.sampled_from([each for each in ENCAPSULATIONS if each > 0])
PROTOCOLS = st.sampled_from(sorted(IP_TUNNELS))
PORTS = st.sampled_from([int.from_bytes(each) for each in UDP_TUNNELS])


@given(LINKS, TYPES, PROTOCOLS, PORTS, st.binary(max_size=80))
def test_noise(link: int, kind: int, protocol: int, port: int, noise: bytes) -> None:
    tunnels = ethernet(noise, kind), over_ip(protocol, noise), over_udp(port, noise)
    for which, frame in ((link, noise), *((1, each) for each in tunnels)):
        raw = b"##" + frame
        why_unread(which, raw, 2, len(raw))
        found = found_in(which, raw, 2)
        if found is not None:
            assert 2 <= found.start <= found.end <= len(raw)
