"""Signalling of media that was decrypted says so, and other programs show the clear media."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.media import decrypt_capture
from mikeytool.media.descriptions import ClearDescriptions
from mikeytool.srtp import Sender, parse_crypto
from tests.capture.carriers import rtsp
from tests.capture.network import (
    ALICE,
    ALICE6,
    BOB,
    BOB6,
    SYN,
    Ends,
    fragments,
    pcap,
    stream,
    tcp,
    udp,
    udp_datagram,
)
from tests.media.dialogues import ACK, INVITE, OK, A, message, sdp
from tests.peers.programs import need, run
from tests.srtp.media import rtp

DESCRIPTIONS = ClearDescriptions({"call"}, has_rtsp=True)
TRANSPORT = "Transport: RTP/SAVP/UDP;unicast;client_port=5000-5001"


def payload(packet: bytes) -> bytes:
    return packet[28:]


def test_a_message_is_as_it_would_have_been_without_keys() -> None:
    for secure, clear in ((INVITE, message("INVITE", sdp(A, transport="RTP/AVP"))),
                          (message("200", sdp(A, transport="RTP/SAVPF")),
                           message("200", sdp(A, transport="RTP/AVPF")))):  # fmt: skip
        assert DESCRIPTIONS.datagram(payload(secure)) == payload(clear)
    assert DESCRIPTIONS.datagram(payload(ACK)) is None
    assert DESCRIPTIONS.datagram(payload(message("INVITE", sdp(A), call="other"))) is None
    assert DESCRIPTIONS.datagram(b"RTP/SAVP") is None


def test_a_segment_keeps_its_length() -> None:
    setup = rtsp("SETUP rtsp://x/1 RTSP/1.0", headers=("CSeq: 1", TRANSPORT))
    clear = DESCRIPTIONS.text(setup)
    assert clear.text == setup.replace(b" RTP/SAVP/UDP", b"  RTP/AVP/UDP")
    # What follows in the connection counts, also without its head.
    body = sdp(A)
    assert clear.is_meant_at(len(setup))
    assert DESCRIPTIONS.text(body, is_meant=True).text == body.replace(b"RTP/SAVP 0", b"RTP/AVP  0")
    assert DESCRIPTIONS.text(body).text == body
    assert ClearDescriptions(set(), has_rtsp=False).text(setup).text == setup


def out_of(*packets: bytes) -> list[bytes]:
    """The packets of a capture after decryption."""
    out = io.BytesIO()
    decrypt_capture(io.BytesIO(pcap(packets)), out)
    return [record.frame[14:] for record in open_capture(io.BytesIO(out.getvalue()))]


@pytest.mark.parametrize("size", [50, 97, 333, 5000])
def test_messages_in_segments(size: int) -> None:
    """Those of a call with keys, and none of the others in the same connection."""
    ends = Ends(sport=40000, dport=5060)
    other = message("INVITE", sdp(A, port=4444), call="other")
    refused = message("488", call="other")
    invite = payload(INVITE)
    clear = invite.replace(b"RTP/SAVP 0", b"RTP/AVP  0")
    there = payload(other) + invite + payload(other)
    packets = [*stream(there, size, 1, ends), *stream(payload(refused), 5000, 1, ends.back)]
    # A segment that comes again, as long as it holds all of the line.
    again = [tcp(invite, 1 + len(payload(other)), ends)]
    expected = [
        *stream(payload(other) + clear + payload(other), size, 1, ends),
        *packets[-2:], tcp(clear, 1 + len(payload(other)), ends),
    ]  # fmt: skip
    assert out_of(*packets, *again) == expected


@pytest.mark.parametrize("ends", [Ends(), Ends(ALICE6, 5060, BOB6, 5060)])
@pytest.mark.parametrize("size", [8, 64, 208, 400])
def test_messages_in_ip_fragments(size: int, ends: Ends) -> None:
    """The checksum of UDP is in the first one."""
    hosts, ports = (ends.source, ends.destination), (ends.sport, ends.dport)
    secure, clear = (
        udp_datagram(hosts[0], ports[0], hosts[1], ports[1], text)
        for text in (payload(INVITE), payload(INVITE).replace(b"RTP/SAVP 0", b"RTP/AVP  0"))
    )
    pieces, expected = (fragments(*hosts, each, size) for each in (secure, clear))
    pieces[0], pieces[-1] = pieces[-1], pieces[0]
    expected[0], expected[-1] = expected[-1], expected[0]
    assert out_of(*pieces) == expected
    # Without one of them nothing is known, and nothing changed.
    assert out_of(INVITE, *pieces[1:])[1:] == pieces[1:]


def test_checksums_of_segments_are_right() -> None:
    ends = Ends(sport=40000, dport=5060)
    invite = payload(INVITE)
    segments = tcp(invite, 1, ends), tcp(invite[:-1], 2000, ends)
    source = pcap([tcp(b"", 0, ends, flags=SYN), *segments])
    out = io.BytesIO()
    decrypt_capture(io.BytesIO(source), out)
    _, *packets = (record.frame[14:] for record in open_capture(io.BytesIO(out.getvalue())))
    expected = invite.replace(b"RTP/SAVP 0", b"RTP/AVP  0")
    assert packets == [tcp(expected, 1, ends), tcp(expected[:-1], 2000, ends)]


def test_tshark_shows_the_clear_payload(tmp_path: Path) -> None:
    need("tshark")
    one = Sender(parse_crypto(A[2:]).suite, parse_crypto(A[2:]).keys[0])
    ends = Ends(ALICE, 4000, BOB, 5000)
    packets = [rtp(n) for n in range(3)]
    media = [udp(one.protect(each), ends) for each in packets]
    target = tmp_path / "clear.pcap"
    decrypt_capture(io.BytesIO(pcap([INVITE, OK, ACK, *media])), target)
    shown = run(["tshark", "-r", str(target), "-Y", "rtp", "-T", "fields", "-e", "rtp.payload"])
    assert shown.decode().split() == [each[12:].hex() for each in packets]
