from __future__ import annotations

import pytest

from mikeytool.capture.keymgmt import Spec
from mikeytool.capture.sdp import read_sdp
from tests.capture.carriers import lines

# After RFC 4567 7.1 and RFC 4568 7: keys at both levels, two media, one on another host.
OFFER = lines(
    "v=0",
    "o=alice 2891092738 2891092738 IN IP4 w-land.example.com",
    "s=Cool stuff",
    "c=IN IP4 192.0.2.7",
    "t=0 0",
    "a=key-mgmt:mikey AQAF",
    "a=control:*",
    "m=audio 49000 RTP/SAVP 98",
    "a=rtpmap:98 AMR/8000",
    "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^20|1:4",
    "a=crypto:2 AES_CM_128_HMAC_SHA1_32 inline:def",
    "a=control:trackID=1",
    "m=video 52230/2 RTP/SAVP 31",
    "c=IN IP6 2001:db8::7",
    "a=rtcp:52300",
    "a=acap:1 key-mgmt:mikey AQEF",
    "a=acap:2 crypto:3 AES_CM_128_HMAC_SHA1_80 inline:ghi",
    "m=application 0 udp wb",
    "a=rtcp-mux",
)


@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_levels_keys_and_places(newline: bytes) -> None:
    session, audio, video, other = read_sdp(OFFER.replace(b"\r\n", newline))
    assert (session.level, session.number) == ("session level", 0)
    assert session.specs == [Spec("a=key-mgmt", "mikey", "AQAF")]
    assert (audio.level, audio.number, audio.kind) == ("media 1 (audio)", 1, "audio")
    assert (audio.address, audio.port, audio.rtcp_port) == ("192.0.2.7", 49000, 49001)
    assert audio.control == "trackID=1"
    assert audio.cryptos == [
        "1 AES_CM_128_HMAC_SHA1_80 inline:abc|2^20|1:4",
        "2 AES_CM_128_HMAC_SHA1_32 inline:def",
    ]
    assert (video.address, video.port, video.rtcp_port) == ("2001:db8::7", 52230, 52300)
    assert video.specs == [Spec("a=acap", "mikey", "AQEF")]
    assert video.cryptos == ["3 AES_CM_128_HMAC_SHA1_80 inline:ghi"]
    assert (other.address, other.port, other.rtcp_port) == ("192.0.2.7", 0, 0)


def test_rtcp_mux() -> None:
    _, audio = read_sdp(lines("m=audio 5004 RTP/SAVP 0", "a=rtcp-mux"))
    assert (audio.port, audio.rtcp_port) == (5004, 5004)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m=",
        "m=audio",
        "m=audio x RTP/AVP 0",
        "m=audio 99999 RTP/AVP 0",
        "c=IN IP4 ",
        "a=rtcp:x",
    ],
)
def test_broken_lines_are_no_harm(text: str) -> None:
    last = read_sdp(b"v=0\r\n" + text.encode())[-1]
    assert (last.port, last.rtcp_port, last.specs, last.cryptos) == (0, 0, [], [])


def test_multicast_addresses_lose_their_ttl() -> None:
    session, *_ = read_sdp(lines("c=IN IP4 233.252.0.1/127"))
    assert session.address == "233.252.0.1"
