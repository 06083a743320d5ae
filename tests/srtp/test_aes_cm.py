"""AES-CM: the key streams of RFC 3711 B.2, RFC 6188 7.1 and 7.3, and packets by hand."""

from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mikeytool.srtp.aes_cm import (
    LONGEST_PAYLOAD,
    counter_mode,
    rtcp_opener,
    rtcp_sealer,
    rtp_opener,
    rtp_sealer,
)
from mikeytool.srtp.kdf import SessionKeys
from mikeytool.wire.errors import Refused

from .media import SSRC, rtcp, rtp

SALT = bytes.fromhex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD")
LENGTH = 1044512
VECTORS = [
    pytest.param(
        "2B7E151628AED2A6ABF7158809CF4F3C",
        "E03EAD0935C95E80E166B16DD92B4EB4 D23513162B02D0F72A43A2FE4A5F97AB"
        "41E95B3BB0A2E8DD477901E4FCA894C0",
        "EC8CDF7398607CB0F2D21675EA9EA1E4 362B7C3C6773516318A077D7FC5073AE"
        "6A2CC3787889374FBEB4C81B17BA6C44",
        id="RFC 3711 B.2",
    ),
    pytest.param(
        "57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98",
        "92bdd28a93c3f52511c677d08b5515a4 9da71b2378a854f67050756ded165bac"
        "63c4868b7096d88421b563b8c94c9a31",
        "cea518c90fd91ced9cbb18c078a54711 3dbc4814f4da5f00a08772b63c6a046d"
        "6eb246913062a16891433e97dd01a57f",
        id="RFC 6188 7.1",
    ),
    pytest.param(
        "eab234764e517b2d3d160d587d8c86219740f65f99b6bcf7",
        "35096cba4610028dc1b57503804ce37c 5de986291dcce161d5165ec4568f5c9a"
        "474a40c77894bc17180202272a4c264d",
        "d108d1a31a00bad6367ec23eb044b415 c8f57129fdeb970b59f917b257662d4c"
        "a5dab625811034e8cebdfeb6dc158dd3",
        id="RFC 6188 7.3",
    ),
]
KEYS = SessionKeys(bytes(range(32)), bytes(range(50, 70)), SALT)


@pytest.mark.parametrize(("key", "head", "tail"), VECTORS)
def test_key_stream(key: str, head: str, tail: str) -> None:
    stream = counter_mode(bytes.fromhex(key), SALT)(b"", 0, 0, bytes(LENGTH))
    assert stream[:48] == bytes.fromhex(head)
    assert stream[-48:] == bytes.fromhex(tail)


@pytest.mark.parametrize(("key", "head", "tail"), VECTORS)
def test_key_stream_of_rtp_packets(key: str, head: str, tail: str) -> None:
    keys = SessionKeys(bytes.fromhex(key), bytes(20), SALT)
    packet = rtp(0, bytes(LENGTH), ssrc=0)
    sealed = rtp_sealer(keys, 10, b"")(packet, 12, 0, 0)
    assert sealed[:12] == packet[:12]
    assert sealed[12:60] == bytes.fromhex(head)
    assert sealed[-58:-10] == bytes.fromhex(tail)
    assert rtp_opener(keys, 10, b"")(sealed, 12, 0, 0) == packet


def by_hand(index: int, data: bytes) -> bytes:
    """RFC 3711 4.1.1 with 128-bit integers and one block at a time."""
    start = int.from_bytes(SALT, "big") << 16 ^ SSRC << 64 ^ index << 16
    encryptor = Cipher(AES(KEYS.encryption), ECB()).encryptor()
    blocks = (start + number for number in range(-(-len(data) // 16)))
    stream = b"".join(encryptor.update(block.to_bytes(16, "big")) for block in blocks)
    return bytes(left ^ right for left, right in zip(data, stream, strict=False))


@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("tag_length", [4, 10])
@pytest.mark.parametrize("index", [0, 5, 0x1_0005, 0xFFFF_FFFF_FFFF])
def test_an_srtp_packet_is_laid_out_as_in_figure_1(mki: bytes, tag_length: int, index: int) -> None:
    packet = rtp(index, b"an odd number of octets", csrcs=(1, 2))
    body = packet[:20] + by_hand(index, packet[20:])
    roc = (index >> 16).to_bytes(4, "big")
    tag = hmac.digest(KEYS.authentication, body + roc, "sha1")[:tag_length]
    expected = body + mki + tag
    assert rtp_sealer(KEYS, tag_length, mki)(packet, 20, SSRC, index) == expected
    assert rtp_opener(KEYS, tag_length, mki)(expected, 20, SSRC, index) == packet


@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("index", [0, 0x7FFF_FFFF])
def test_an_srtcp_packet_is_laid_out_as_in_figure_2(mki: bytes, index: int) -> None:
    packet = rtcp()
    body = packet[:8] + by_hand(index, packet[8:]) + (0x8000_0000 | index).to_bytes(4, "big")
    expected = body + mki + hmac.digest(KEYS.authentication, body, "sha1")[:10]
    assert rtcp_sealer(KEYS, 10, mki)(packet, SSRC, index) == expected
    assert rtcp_opener(KEYS, 10, mki)(expected, SSRC) == (packet, index)


def test_an_srtcp_packet_without_the_e_flag_is_left_as_it_is() -> None:
    packet = rtcp()
    body = packet + (77).to_bytes(4, "big")
    received = body + hmac.digest(KEYS.authentication, body, "sha1")[:10]
    assert rtcp_opener(KEYS, 10, b"")(received, SSRC) == (packet, 77)


def test_no_key_stream_runs_into_the_next_packets() -> None:
    longest = rtp(1, bytes(LONGEST_PAYLOAD))
    sealed = rtp_sealer(KEYS, 10, b"")(longest, 12, SSRC, 1)
    assert rtp_opener(KEYS, 10, b"")(sealed, 12, SSRC, 1) == longest
    with pytest.raises(Refused, match="smaller packets"):
        rtp_sealer(KEYS, 10, b"")(longest + b"!", 12, SSRC, 1)
    with pytest.raises(Refused, match="smaller packets"):
        rtcp_sealer(KEYS, 10, b"")(rtcp() + bytes(LONGEST_PAYLOAD), SSRC, 1)
    body = longest + b"!"
    received = body + hmac.digest(KEYS.authentication, body + bytes(4), "sha1")[:10]
    with pytest.raises(Refused, match="smaller packets"):
        rtp_opener(KEYS, 10, b"")(received, 12, SSRC, 1)
