from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp import is_rtcp, parse_rtcp, parse_rtp
from mikeytool.wire.errors import WireError

from .media import SSRC, rtcp, rtp


@pytest.mark.parametrize(
    ("second", "expected"), [(191, False), (192, True), (223, True), (224, False)]
)
def test_the_second_octet_tells_rtcp(second: int, expected: bool) -> None:
    assert is_rtcp(bytes([0x80, second])) is expected


def test_the_header_takes_in_csrcs_and_extension() -> None:
    assert parse_rtp(rtp(7)) == (SSRC, 7, 12)
    assert parse_rtp(rtp(7, csrcs=(1, 2, 3))) == (SSRC, 7, 24)
    assert parse_rtp(rtp(7, csrcs=(1,), extension=b"")) == (SSRC, 7, 20)
    assert parse_rtp(rtp(7, extension=bytes(8))) == (SSRC, 7, 24)


def test_rtcp_names_the_first_ssrc() -> None:
    assert parse_rtcp(rtcp(ssrc=9)) == 9


@pytest.mark.parametrize("length", range(24))
def test_a_header_cut_anywhere_is_unreadable(length: int) -> None:
    packet = rtp(7, b"", csrcs=(1,), extension=bytes(4))
    with pytest.raises(WireError):
        parse_rtp(packet[:length])


def test_an_extension_longer_than_the_packet_is_unreadable() -> None:
    packet = bytearray(rtp(7, extension=bytes(4)))
    packet[14:16] = b"\xff\xff"
    with pytest.raises(WireError):
        parse_rtp(bytes(packet))


@pytest.mark.parametrize("first", [0x00, 0x40, 0xC0])
def test_other_versions_are_unreadable(first: int) -> None:
    with pytest.raises(WireError, match="version"):
        parse_rtp(bytes([first]) + rtp(1)[1:])
    with pytest.raises(WireError, match="version"):
        parse_rtcp(bytes([first]) + rtcp()[1:])


@given(st.binary(max_size=100))
def test_noise_is_read_within_its_length_or_unreadable(noise: bytes) -> None:
    with suppress(WireError):
        assert parse_rtp(noise)[2] <= len(noise)
    try:
        parse_rtcp(noise)
    except WireError:
        assert len(noise) < 8 or noise[0] >> 6 != 2
