"""A capture by other software: every packet of a stream of G.711 verifies and decrypts."""

from __future__ import annotations

import struct
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from mikeytool.srtp import Highest, MasterKey, Receiver, suite
from tests.srtp.media import unprotect_all

CAPTURE = Path(__file__).parents[3] / "shared/data/marseillaise-srtp.pcap"
SECRET = b64decode("aSBrbm93IGFsbCB5b3VyIGxpdHRsZSBzZWNyZXRz")


def udp_payloads(capture: bytes) -> Iterator[bytes]:
    """Each UDP payload of a little-endian pcap file of Ethernet frames."""
    assert capture[:4] == b"\xd4\xc3\xb2\xa1"
    assert struct.unpack_from("<I", capture, 20) == (1,)
    offset = 24
    while offset < len(capture):
        (length,) = struct.unpack_from("<I", capture, offset + 8)
        frame = capture[offset + 16 : offset + 16 + length]
        udp = 14 + 4 * (frame[14] & 0x0F)
        (udp_length,) = struct.unpack_from("!H", frame, udp + 4)
        yield frame[udp + 8 : udp + udp_length]
        offset += 16 + length


@pytest.mark.skipif(not CAPTURE.parents[1].exists(), reason="../shared is absent")
def test_the_marseillaise() -> None:
    protected = list(udp_payloads(CAPTURE.read_bytes()))
    assert len(protected) == 11_888
    name = "AES_CM_128_HMAC_SHA1_80"
    receiver = Receiver(suite(name), [MasterKey(SECRET[:16], SECRET[16:])])
    clear = list(unprotect_all(receiver, protected))
    assert all(isinstance(each, bytes) for each in clear)
    assert [len(each) for each in clear if isinstance(each, bytes)] == [
        len(each) - 10 for each in protected
    ]
    assert list(receiver.highest) == [0xDEADBEEF]
    assert receiver.highest[0xDEADBEEF] == Highest(int.from_bytes(protected[-1][2:4], "big"))
