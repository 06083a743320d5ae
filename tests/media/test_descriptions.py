"""Signalling of media that was decrypted says so, and other programs show the clear media."""

from __future__ import annotations

import io
from pathlib import Path

from mikeytool.capture.capture_files import open_capture
from mikeytool.media import decrypt_capture
from mikeytool.media.descriptions import ClearDescriptions
from mikeytool.srtp import Sender, parse_crypto
from tests.capture.carriers import rtsp
from tests.capture.network import ALICE, BOB, SYN, Ends, pcap, tcp, udp
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
    clear = DESCRIPTIONS.segment(b"flow", setup)
    assert clear == setup.replace(b" RTP/SAVP/UDP", b"  RTP/AVP/UDP")
    # What follows in the connection counts, also without its head.
    body = sdp(A)
    assert DESCRIPTIONS.segment(b"flow", body) == body.replace(b"RTP/SAVP 0", b"RTP/AVP  0")
    assert DESCRIPTIONS.segment(b"another", body) is None
    assert ClearDescriptions(set(), has_rtsp=False).segment(b"flow", setup) is None


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
