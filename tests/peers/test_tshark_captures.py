"""Wireshark finds in a capture what this library finds, in the same frames."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.signalling import Signal, signals
from tests.capture import network
from tests.capture.carriers import INVITE, OK, key_mgmt, lines, rtsp, sip
from tests.capture.messages import ERROR, TRANSFER_RESP, UPDATE_RESP, b64
from tests.capture.network import ALICE, ALICE6, BOB, BOB6, CLIENT, Ends, fragments, stream, udp
from tests.capture.test_body import multipart, part
from tests.capture.test_sap import sap
from tests.peers.programs import need, run

BOTH_LEVELS = lines("v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0",
                    key_mgmt(ERROR), "m=audio 4000 RTP/SAVP 0", key_mgmt(TRANSFER_RESP),
                    "m=video 4002 RTP/SAVP 31", key_mgmt(UPDATE_RESP))  # fmt: skip
CALL = sip(INVITE, BOTH_LEVELS)
PARTS = sip(
    INVITE,
    multipart("x", part("text/plain", b"hello"), part("application/sdp", BOTH_LEVELS)),
    content_type="multipart/mixed; boundary=x",
)
COMPACT = (
    CALL.replace(b"Content-Type", b"c").replace(b"Content-Length", b"l").replace(b"Call-ID", b"i")
)
FOLDED = CALL.replace(b"Content-Type: ", b"Content-Type:\r\n\t")
DESCRIBED = rtsp("RTSP/1.0 200 OK", BOTH_LEVELS, headers=("CSeq: 2",))
RTSP = Ends(sport=554, dport=40000)
SAP = Ends(dport=9875, destination="224.2.127.254")


def shuffled(segments: list[bytes]) -> list[bytes]:
    syn, *rest = segments
    random.Random(5).shuffle(rest)
    return [syn, *rest]


def in_fragments(source: str, destination: str) -> list[bytes]:
    datagram = network.udp_datagram(source, 5060, destination, 5060, CALL)
    return fragments(source, destination, datagram, 304)


CAPTURES = {
    "sip-udp": [udp(CALL), udp(sip(OK, BOTH_LEVELS), Ends().back), udp(sip(INVITE))],
    "sip-tcp": stream(CALL + CALL + sip(OK, BOTH_LEVELS), 300, 2**32 - 1000),
    "sip-tcp-shuffled": shuffled(stream(CALL + CALL, 300, 2**32 - 1000, CLIENT)),
    "sip-multipart": [udp(PARTS)],
    "sip-compact-folded": [udp(COMPACT), udp(FOLDED)],
    "fragments": in_fragments(ALICE, BOB) + in_fragments(ALICE6, BOB6),
    "rtsp": stream(DESCRIBED + b"$\0\0\5hello" + DESCRIBED, 300, 1, RTSP),
    "sap": [udp(sap(b"application/sdp\0" + BOTH_LEVELS), SAP)],
}
TSHARK = ("-o", "tcp.reassemble_out_of_order:TRUE", "-T", "fields", "-E", "separator=/t")


def tshark(capture: Path, *fields: str) -> list[list[str]]:
    """The fields that tshark finds in each frame, the frame's number first."""
    chosen = [part for field in ("frame.number", *fields) for part in ("-e", field)]
    printed = run([need("tshark"), "-r", str(capture), *TSHARK, *chosen]).decode()
    return [line.split("\t") for line in printed.splitlines()]


def ours(capture: Path) -> list[tuple[Signal, Carrier]]:
    """What this library finds, in order of frames."""
    with capture.open("rb") as file:
        found = [one for one in signals(open_capture(file)) if isinstance(one.carrier, Carrier)]
    found.sort(key=lambda one: one.moment.frame)
    return [(one, one.carrier) for one in found if isinstance(one.carrier, Carrier)]


@pytest.fixture(params=CAPTURES)
def capture(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "capture.pcap"
    path.write_bytes(network.pcap(CAPTURES[request.param]))
    return path


def test_key_management_of_descriptions(capture: Path) -> None:
    seen = [
        (int(frame), sorted(one for one in f"{session},{media}".split(",") if "key-mgmt" in one))
        for frame, session, media in tshark(capture, "sdp.session_attr", "sdp.media_attr")
    ]
    expected = [(frame, values) for frame, values in seen if values]
    assert expected
    found: dict[int, list[str]] = {}
    for signal, carrier in ours(capture):
        for one in messages_in(carrier):
            assert isinstance(one.message, bytes)
            text = f"key-mgmt:mikey {b64(one.message)}"
            found.setdefault(signal.moment.frame, []).append(text)
    assert [(frame, sorted(values)) for frame, values in found.items()] == expected


@pytest.mark.parametrize("capture", ["sip-udp", "sip-tcp", "sip-multipart"], indirect=True)
def test_methods_and_calls(capture: Path) -> None:
    seen = [
        (int(frame), method, call, code)
        for frame, method, call, code in tshark(
            capture, "sip.CSeq.method", "sip.Call-ID", "sip.Status-Code"
        )
        if method
    ]
    found: dict[int, list[tuple[str, str, str]]] = {}
    for signal, carrier in ours(capture):
        code = "" if carrier.status is None else str(carrier.status)
        facts = (carrier.method, carrier.value("call-id"), code)
        found.setdefault(signal.moment.frame, []).append(facts)
    joined = [
        (frame, *(",".join(filter(None, column)) for column in zip(*facts, strict=True)))
        for frame, facts in found.items()
    ]
    assert joined == seen


def test_bare_messages(tmp_path: Path) -> None:
    path = tmp_path / "capture.pcap"
    messages = [TRANSFER_RESP, UPDATE_RESP, ERROR]
    path.write_bytes(network.pcap(udp(one, Ends(dport=2269)) for one in messages))
    seen = [
        (int(frame), int(kind), int(csb_id, 16))
        for frame, kind, csb_id in tshark(path, "mikey.type", "mikey.csb_id")
    ]
    found = [
        (signal.moment.frame, carrier.body[1], int.from_bytes(carrier.body[4:8]))
        for signal, carrier in ours(path)
    ]
    assert found == seen
    assert len(found) == 3


def test_a_capture_that_text2pcap_made(tmp_path: Path) -> None:
    dump = "".join(f"{at:06x} {CALL[at : at + 16].hex(' ')}\n" for at in range(0, len(CALL), 16))
    text, path = tmp_path / "dump.txt", tmp_path / "capture.pcapng"
    text.write_text(f"{dump}{len(CALL):06x}\n")
    run([need("text2pcap"), "-q", "-u", "5060,5062", str(text), str(path)])
    ((signal, carrier),) = ours(path)
    assert (signal.source[-5:], signal.destination[-5:]) == (":5060", ":5062")
    assert [one.message for one in messages_in(carrier)] == [ERROR, TRANSFER_RESP, UPDATE_RESP]
