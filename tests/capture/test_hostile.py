"""Captures with octets changed, cut out and put in: no error but the documented one."""

from __future__ import annotations

import io
import random
import zlib

from hypothesis import given, settings
from hypothesis import strategies as st

from mikeytool.capture.capture_files import open_capture
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.signalling import signals
from mikeytool.media.calls import read_calls
from mikeytool.wire.errors import WireError
from tests.capture import network
from tests.capture.carriers import INVITE, OK, key_mgmt, lines, rtsp, sdp, sip
from tests.capture.messages import ERROR, TRANSFER_RESP, b64
from tests.capture.network import ALICE6, BACK, BOB6, Ends, fragments, stream, udp
from tests.capture.test_body import multipart, part
from tests.capture.test_sap import sap
from tests.capture.test_websocket import ASK, frame

SDP = sdp(key_mgmt(TRANSFER_RESP), "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abcd")
PARTS = multipart("x", part("text/plain", b"hello"), part("application/sdp", SDP))
SETUP = rtsp(
    "SETUP rtsp://cam/trackID=0 RTSP/1.0",
    headers=("CSeq: 3", "Transport: RTP/SAVP;client_port=5000-5001",
             f'KeyMgmt: prot=mikey;uri="rtsp://cam";data="{b64(ERROR)}"'),
)  # fmt: skip
POST = lines("POST / HTTP/1.1", "Content-Type: application/mikey", "Transfer-Encoding: chunked", "")
RTSP = Ends(sport=40000, dport=554)
PACKETS = [
    udp(sip(INVITE, SDP)),
    udp(sip(OK, PARTS, content_type="multipart/mixed; boundary=x"), BACK),
    *stream(sip(INVITE, SDP) * 2, 200, 2**32 - 300),
    *fragments(ALICE6, BOB6, network.udp_datagram(ALICE6, 5060, BOB6, 5060, sip(INVITE, SDP)), 304),
    *stream(SETUP + b"$\0\0\4abcd" + SETUP, 150, 1, RTSP),
    *stream(rtsp("RTSP/1.0 200 OK", SDP, headers=("CSeq: 3",)), 150, 1, RTSP.back),
    *stream(POST + b"2e\r\n" + ERROR + b"\r\n0\r\n\r\n", 40, 1, Ends(sport=9, dport=80)),
    *stream(ASK + frame(sip(INVITE, SDP), b"mask") * 2, 150, 1, Ends(sport=8, dport=80)),
    *stream(ERROR + TRANSFER_RESP, 40, 1, Ends(dport=2269)),
    udp(TRANSFER_RESP, Ends(dport=2269)),
    udp(sap(SDP), Ends(dport=9875)),
    udp(sap(zlib.compress(SDP), flags=1), Ends(dport=9875)),
]


def read(packets: list[bytes]) -> tuple[int, int]:
    """How many messages and keys for media a capture has; raises nothing."""
    count = 0
    data = network.pcap(packets)
    for signal in signals(open_capture(io.BytesIO(data))):
        if isinstance(signal.carrier, Carrier):
            try:
                count += sum(1 for _ in messages_in(signal.carrier))
            except WireError:
                continue
    return count, len(read_calls(open_capture(io.BytesIO(data))).keys)


def test_unchanged() -> None:
    """Keys: two with IPv4 and two with IPv6 in SIP, two headers and two of RTSP, two of SAP.

    Those in a WebSocket come again.
    """
    assert read(PACKETS) == (16, 10)


def change(rng: random.Random, packet: bytes) -> bytes:
    at = rng.randrange(len(packet))
    octets = rng.choice((rng.randbytes(1), rng.randbytes(8), b"\r\n", b"\r\n\r\n", b":", b";", b""))
    size = rng.choice((0, len(octets), rng.randrange(40)))
    return packet[:at] + octets + packet[at + size :]


@settings(max_examples=150)
@given(st.integers(0, 2**32))
def test_changed_packets(seed: int) -> None:
    rng = random.Random(seed)
    packets = [change(rng, one) if rng.random() < 0.3 else one for one in PACKETS]
    if rng.random() < 0.5:
        rng.shuffle(packets)
    read([one for one in packets if one])
