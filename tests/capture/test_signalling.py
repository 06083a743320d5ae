from __future__ import annotations

import io
import struct

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.signalling import Signal, Signalling, signals
from mikeytool.wire.errors import WireError
from tests.capture import network
from tests.capture.carriers import INVITE, OK, key_mgmt, lines, rtsp, sdp, sip
from tests.capture.messages import ERROR, TRANSFER_RESP
from tests.capture.network import (
    ALICE,
    ALICE6,
    BOB,
    BOB6,
    CLIENT,
    Ends,
    fragments,
    records,
    stream,
    tcp,
    udp,
)
from tests.capture.test_sap import sap

SDP = sdp(key_mgmt(TRANSFER_RESP))
CALL = sip(INVITE, SDP)
STUN = struct.pack(">HHI", 0x0101, 0, 0x2112A442) + bytes(12)
DNS = bytes.fromhex("01000100000100000000000003777777076578616d706c6503636f6d0000010001")
RTP = bytes.fromhex("80080001000000a0deadbeef") + bytes(160)


def found(*packets: bytes) -> list[tuple[int, str, bytes]]:
    """Frame, protocol and body of everything that is found."""
    return [
        (one.moment.frame, one.carrier.protocol, one.carrier.body)
        for one in signals(records(packets))
        if isinstance(one.carrier, Carrier)
    ]


def test_where_a_signal_stood() -> None:
    (signal,) = signals(
        records([udp(RTP, Ends(sport=4000, dport=4002)), udp(CALL, Ends(sport=5062))])
    )
    assert isinstance(signal.carrier, Carrier)
    assert signal.moment == (2, (network.START + 1) * 10**9)
    assert (signal.source, signal.destination) == ("192.0.2.1:5062", "192.0.2.2:5060")
    assert signal.transport == "UDP"
    assert signal.carrier.value("call-id") == "a84b4c76e66710"


@pytest.mark.parametrize("port", [5060, 12345])
def test_sip_is_known_on_every_port(port: int) -> None:
    assert found(udp(CALL, Ends(dport=port, sport=port))) == [(1, "SIP", SDP)]
    assert found(*stream(CALL, 100, 1, Ends(dport=port, sport=port)))[0][1:] == ("SIP", SDP)


def test_a_udp_body_ends_with_its_length_or_the_datagram() -> None:
    assert found(udp(CALL + b"more"))[0][2] == SDP
    assert found(udp(CALL[:-10]))[0][2] == SDP[:-10]
    assert found(udp(CALL.replace(b"Content-Length", b"X-Length") + b"more"))[0][2] == SDP + b"more"


def test_a_datagram_may_have_only_a_head() -> None:
    assert found(udp(lines("OPTIONS sip:bob@example.com SIP/2.0", "Via: x"))) == [(1, "SIP", b"")]


@pytest.mark.parametrize("ends", [(ALICE, BOB), (ALICE6, BOB6)])
def test_udp_in_fragments(ends: tuple[str, str]) -> None:
    datagram = network.udp_datagram(ends[0], 5060, ends[1], 5060, CALL)
    cut = fragments(*ends, datagram, 296)
    assert found(*reversed(cut)) == [(len(cut), "SIP", SDP)]


def test_tcp_out_of_order_is_found_at_the_frame_that_ends_it() -> None:
    syn, *segments = stream(CALL, 300, 1)
    first, *middle, last = segments
    assert found(syn, last, first, *middle) == [(len(segments) + 1, "SIP", SDP)]


def test_both_directions_of_a_connection() -> None:
    packets = [*stream(CALL, 5000, 1), *stream(sip(OK, sdp()), 5000, 1, CLIENT.back)]
    assert found(*packets) == [(2, "SIP", SDP), (4, "SIP", sdp())]


def test_rtsp_over_tcp() -> None:
    answer = rtsp("RTSP/1.0 200 OK", SDP, headers=("CSeq: 2",))
    segments = stream(answer, 200, 1, Ends(sport=8554))
    assert found(*segments) == [(len(segments), "RTSP", SDP)]


def test_http_bodies_of_mikey() -> None:
    post = lines("POST /keymanagement HTTP/1.1", "Content-Type: application/mikey",
                 f"Content-Length: {len(ERROR)}", "") + ERROR  # fmt: skip
    assert found(*stream(post, 100, 1, Ends(dport=8080)))[0][1:] == ("HTTP", ERROR)


@pytest.mark.parametrize("ends", [Ends(dport=2269), Ends(sport=2269)])
def test_bare_mikey_on_its_port(ends: Ends) -> None:
    broken = ERROR[:-5]
    assert found(udp(ERROR, ends), udp(broken, ends), udp(b"", ends)) == [
        (1, "MIKEY", ERROR),
        (2, "MIKEY", broken),
    ]
    assert found(*stream(ERROR + TRANSFER_RESP, 200, 1, ends)) == [
        (2, "MIKEY", ERROR),
        (2, "MIKEY", TRANSFER_RESP),
    ]


def test_bare_mikey_elsewhere_only_when_it_is_whole() -> None:
    assert found(udp(ERROR), udp(ERROR[:-1]), udp(STUN), udp(DNS), udp(RTP)) == [
        (1, "MIKEY", ERROR)
    ]
    assert found(*stream(ERROR, 20, 1, Ends(dport=9999))) == [(4, "MIKEY", ERROR)]
    assert found(*stream(ERROR[:-1], 20, 1, Ends(dport=9999))) == []


def test_text_on_the_port_of_mikey_is_text() -> None:
    assert found(udp(CALL, Ends(dport=2269))) == [(1, "SIP", SDP)]
    assert found(*stream(CALL, 5000, 1, Ends(dport=2269))) == [(2, "SIP", SDP)]


@pytest.mark.parametrize("port", [9875, 1234])
def test_announcements(port: int) -> None:
    packet = udp(sap(b"application/sdp\0" + SDP), Ends(dport=port, destination="224.2.127.254"))
    assert found(packet) == [(1, "SAP", SDP)]


def test_an_announcement_that_cannot_be_read_says_why() -> None:
    (signal,) = signals(records([udp(sap(SDP, flags=2), Ends(dport=9875))]))
    assert isinstance(signal.carrier, WireError)
    assert "encrypted" in str(signal.carrier)


def test_what_was_seen_is_counted() -> None:
    signalling = Signalling()
    given: list[Signal] = []
    packets = [udp(CALL), udp(RTP), *stream(CALL, 5000, 1), network.packet(ALICE, BOB, 1, b"ping")]
    for record in records(packets):
        given += signalling.add(record)
    given += signalling.end()
    assert len(given) == 2
    assert signalling.seen == {"frames": 5, "UDP": 2, "TCP": 2, "SIP": 2}


def test_a_broken_file_gives_what_comes_before_the_fault() -> None:
    data = network.pcap([*stream(CALL[:-1], 5000, 1), udp(RTP)])[:-1]
    reading = signals(open_capture(io.BytesIO(data)))
    signal = next(reading)
    assert isinstance(signal.carrier, Carrier)
    assert signal.carrier.body == SDP[:-1]
    with pytest.raises(WireError, match="ends inside"):
        next(reading)


def test_segments_without_their_beginning() -> None:
    """From the middle of a connection on, the first captured segments swapped."""
    first, second = tcp(CALL, 1000), tcp(CALL, 1000 + len(CALL))
    assert found(second, first) == [(2, "SIP", SDP)] * 2
