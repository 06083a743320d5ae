"""Frames that a text shows in octets are read as those of a capture."""

from __future__ import annotations

import json
import random

import pytest

from mikeytool.wire.errors import WireError
from tests.capture import carriers, network
from tests.capture.test_extract import LARGE, LAYOUTS, SMALL, b64, dump, messages

MIKEY = network.Ends("192.0.2.1", 2269, "192.0.2.2", 2269)
WEB = network.Ends("192.0.2.1", 50_000, "192.0.2.2", 80)
WEB6 = network.Ends(network.ALICE6, 50_000, network.BOB6, 80)
POST = (
    b"POST /keymanagement HTTP/1.1\r\nHost: kms\r\nContent-Type: application/mikey\r\n"
    b"Content-Length: %d\r\n\r\n" % len(LARGE)
) + LARGE
INVITE = carriers.sip(carriers.INVITE, carriers.sdp(carriers.key_mgmt(LARGE)))
DATAGRAM = network.udp_datagram(*network.Ends(), INVITE)
FRAMES = {
    "UDP": [network.udp(LARGE, MIKEY)],
    "UDP on another port": [network.udp(LARGE, network.Ends(sport=5, dport=6))],
    "HTTP": network.stream(POST, 2000, 1, WEB, opened=False),
    "HTTP over IPv6": network.stream(POST, 2000, 1, WEB6, opened=False),
    "HTTP in segments": network.stream(POST, 300, 1, WEB),
    "SIP": [network.udp(INVITE)],
    "SIP in segments": network.stream(INVITE, 400, 1),
    "SIP in fragments": network.fragments(network.ALICE, network.BOB, DATAGRAM, 560),
}
LINKS = {
    "Ethernet": b"\2" * 12,
    "VLAN": b"\2" * 12 + b"\x81\0\0\5",
    "cooked": bytes(14),
    "IP": None,
}


def on(link: str, packet: bytes) -> bytes:
    """A packet behind the header of its frame."""
    before = LINKS[link]
    kind = b"\x86\xdd" if packet[0] >> 4 == 6 else b"\x08\0"
    return packet if before is None else before + kind + packet


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("frames", FRAMES)
def test_a_message_in_dumped_frames(frames: str, link: str) -> None:
    packets = [on(link, packet) for packet in FRAMES[frames]]
    for layout in ("hexdump -C of any width", "Wireshark", "under the time of a log"):
        shown = [dump(packet, 16, LAYOUTS[layout]) for packet in packets]
        assert messages("\n\n".join(shown)) == [LARGE]
        titles = (f"{n} 10:00:00.{n} IP 192.0.2.1 > 192.0.2.2: {text}" for n, text in
                  enumerate(f"length 99\n{one}" for one in shown))  # fmt: skip
        assert messages("\n".join(titles)) == [LARGE]
    assert messages("\n".join(packet.hex() for packet in packets)) == [LARGE]


def test_a_tree_beside_the_frame_shows_it_again() -> None:
    """Trees cut long lines, and have the octets of each layer too."""
    packet = on("Ethernet", network.udp(INVITE))
    line = f"    Media Attribute (a): key-mgmt:mikey {b64(LARGE)}"
    for tree in (line, line[:200], f"{line[:199]} [truncated]", line + "\n" + line[:150]):
        assert messages(f"{tree}\n\n{dump(packet, 16, LAYOUTS['Wireshark'])}") == [LARGE]
    layers = {"frame_raw": [packet.hex(), 0], "udp.payload_raw": [INVITE.hex(), 42]}
    assert messages(json.dumps(layers, indent=1)) == [LARGE]


def test_other_messages_beside_frames_stay() -> None:
    frame = dump(network.udp(LARGE, MIKEY), 16, LAYOUTS["Wireshark"])
    text = f"the other: {b64(SMALL)}\n\n{frame}\n\nand a=key-mgmt:mikey {b64(SMALL)}\n"
    assert messages(text) == [SMALL, LARGE, SMALL]


def test_frames_of_other_protocols_hold_none() -> None:
    """Their addresses, times and keys may begin like a message."""
    chance = random.Random(2)
    for number in range(100):
        ends = network.Ends(f"1.{number % 16}.5.1", 256 + number, "1.0.5.0", 5004)
        rtp = b"\x80\0" + chance.randbytes(170)
        packets = [network.udp(rtp, ends), network.tcp(b"\1\0\5\0" + rtp, 1, ends)]
        if number % 2:
            packets = [packet[:99] for packet in packets]
        text = "\n\n".join(dump(on("Ethernet", one), 16, LAYOUTS["Wireshark"]) for one in packets)
        with pytest.raises(WireError, match="no MIKEY message"):
            messages(text)
