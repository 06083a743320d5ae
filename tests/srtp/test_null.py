"""The NULL cipher: packets as they were, with a tag behind them."""

from __future__ import annotations

import hmac

import pytest

from mikeytool.srtp.kdf import SessionKeys
from mikeytool.srtp.null import rtcp_opener, rtcp_sealer, rtp_opener, rtp_sealer

from .media import SSRC, rtcp, rtp

KEYS = SessionKeys(bytes(16), bytes(range(50, 70)), bytes(14))


@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("index", [0, 0x1_0005, 0xFFFF_FFFF_FFFF])
def test_an_srtp_packet_is_the_rtp_packet_and_a_tag(mki: bytes, index: int) -> None:
    packet = rtp(index, csrcs=(1, 2))
    roc = (index >> 16).to_bytes(4, "big")
    expected = packet + mki + hmac.digest(KEYS.authentication, packet + roc, "sha1")[:10]
    assert rtp_sealer(KEYS, 10, mki)(packet, 20, SSRC, index) == expected
    assert rtp_opener(KEYS, 10, mki)(expected, 20, SSRC, index) == packet


@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("index", [0, 0x7FFF_FFFF])
def test_an_srtcp_packet_is_the_rtcp_packet_with_e_0_and_a_tag(mki: bytes, index: int) -> None:
    body = rtcp() + index.to_bytes(4, "big")
    expected = body + mki + hmac.digest(KEYS.authentication, body, "sha1")[:10]
    assert rtcp_sealer(KEYS, 10, mki)(rtcp(), SSRC, index) == expected
    assert rtcp_opener(KEYS, 10, mki)(expected, SSRC) == (rtcp(), index)


def test_the_e_flag_changes_nothing_for_a_receiver() -> None:
    body = rtcp() + (1 << 31 | 77).to_bytes(4, "big")
    received = body + hmac.digest(KEYS.authentication, body, "sha1")[:10]
    assert rtcp_opener(KEYS, 10, b"")(received, SSRC) == (rtcp(), 77)
