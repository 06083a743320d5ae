from __future__ import annotations

import struct
import zlib

import pytest

from mikeytool.capture.sap import MAX_PAYLOAD, looks_like_sap, read_sap
from mikeytool.wire.errors import WireError
from tests.capture.carriers import sdp

SDP = sdp()
TYPE = b"application/sdp\0"


def sap(payload: bytes, *, flags: int = 0, auth: bytes = b"", version: int = 1) -> bytes:
    """A SAP packet (RFC 2974 3) from 192.0.2.1 or, with flag A, 2001:db8::1."""
    source = bytes.fromhex("20010db8" + "00" * 11 + "01") if flags & 0x10 else bytes([192, 0, 2, 1])
    return (
        struct.pack(">BBH", version << 5 | flags, len(auth) // 4, 0x1234) + source + auth + payload
    )


@pytest.mark.parametrize("payload", [SDP, TYPE + SDP])
@pytest.mark.parametrize("flags", [0, 0x10])
@pytest.mark.parametrize("auth", [b"", bytes(16)])
def test_an_announcement(payload: bytes, flags: int, auth: bytes) -> None:
    packet = sap(payload, flags=flags, auth=auth)
    assert looks_like_sap(packet)
    carrier = read_sap(packet)
    assert (carrier.protocol, carrier.method) == ("SAP", "announce")
    assert carrier.value("content-type") == "application/sdp"
    assert carrier.body == SDP


def test_a_deletion() -> None:
    assert read_sap(sap(TYPE + SDP, flags=0x04)).method == "delete"


def test_another_payload_type() -> None:
    carrier = read_sap(sap(b"text/plain\0hello"))
    assert (carrier.value("content-type"), carrier.body) == ("text/plain", b"hello")


@pytest.mark.parametrize("payload", [zlib.compress(TYPE + SDP), zlib.compress(SDP),
                                     TYPE + zlib.compress(SDP)])  # fmt: skip
def test_a_compressed_payload(payload: bytes) -> None:
    carrier = read_sap(sap(payload, flags=0x01))
    assert (carrier.value("content-type"), carrier.body) == ("application/sdp", SDP)


def test_a_bomb_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(MAX_PAYLOAD + 1), 9)
    assert len(bomb) < 1000
    with pytest.raises(WireError, match="inflates to more"):
        read_sap(sap(bomb, flags=0x01))
    assert len(read_sap(sap(zlib.compress(bytes(MAX_PAYLOAD)), flags=0x01)).body) == MAX_PAYLOAD


@pytest.mark.parametrize(
    ("packet", "word"),
    [
        (sap(SDP, version=2), "version 1"),
        (b"\x20\x00", "version 1"),
        (sap(b"")[:6], "inside its header"),
        (sap(SDP)[:1] + b"\xff" + sap(SDP)[2:], "inside its header"),
        (sap(SDP, flags=0x02), "encrypted"),
        (sap(SDP, flags=0x01), "broken"),
    ],
)
def test_what_cannot_be_read_says_so(packet: bytes, word: str) -> None:
    with pytest.raises(WireError, match=word):
        read_sap(packet)


@pytest.mark.parametrize(
    "packet", [b"", b"\x20", sap(b"hello"), sap(SDP, version=0), bytes([0x80]) + bytes(40)]
)
def test_other_packets_do_not_look_like_it(packet: bytes) -> None:
    assert not looks_like_sap(packet)
