"""AES in f8-mode: the vector of RFC 3711 B.1, and packets by hand, a block at a time."""

from __future__ import annotations

import hmac

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp.aes_f8 import rtcp_opener, rtcp_sealer, rtp_f8, rtp_opener, rtp_sealer
from mikeytool.srtp.kdf import SessionKeys

from .media import SSRC, rtcp, rtp

KEYS = SessionKeys(bytes(range(16)), bytes(range(50, 70)), bytes(range(80, 94)))

B_1_KEY = bytes.fromhex("234829008467be186c3de14aae72d62c")
B_1_SALT = bytes.fromhex("32f2870d")
B_1_PACKET = bytes.fromhex("806e5cba50681de55c621599") + b"pseudorandomness is the next best thing"
B_1_CIPHERTEXT = bytes.fromhex(
    "019ce7a26e7854014a6366aa95d4eefd 1ad4172a14f9faf455b7f1d4b62bd08f 562c0eef7c4802"
)
B_1_INDEX = 0xD462564A << 16 | 0x5CBA


def test_rfc_3711_b_1() -> None:
    crypt = rtp_f8(B_1_KEY, B_1_SALT)
    assert crypt(B_1_PACKET, 0x5C621599, B_1_INDEX, B_1_PACKET[12:]) == B_1_CIPHERTEXT
    assert crypt(B_1_PACKET, 0x5C621599, B_1_INDEX, B_1_CIPHERTEXT) == B_1_PACKET[12:]


def test_rfc_3711_b_1_as_a_packet() -> None:
    keys = SessionKeys(B_1_KEY, bytes(20), B_1_SALT)
    sealed = rtp_sealer(keys, 10, b"")(B_1_PACKET, 12, 0x5C621599, B_1_INDEX)
    assert sealed[:-10] == B_1_PACKET[:12] + B_1_CIPHERTEXT
    assert rtp_opener(keys, 10, b"")(sealed, 12, 0x5C621599, B_1_INDEX) == B_1_PACKET


def by_hand(iv: bytes, data: bytes) -> bytes:
    """RFC 3711 4.1.2.1 with the session keys above: S(j) = E(k_e, IV' ^ j ^ S(j - 1))."""

    def encrypt(key: bytes, block: int) -> int:
        update = Cipher(AES(key), ECB()).encryptor().update
        return int.from_bytes(update(block.to_bytes(16, "big")), "big")

    mask = KEYS.salt + b"\x55\x55"
    masked = bytes(left ^ right for left, right in zip(KEYS.encryption, mask, strict=True))
    start = encrypt(masked, int.from_bytes(iv, "big"))
    mixed, feedback = bytearray(), 0
    for j, offset in enumerate(range(0, len(data), 16)):
        feedback = encrypt(KEYS.encryption, start ^ j ^ feedback)
        block = data[offset : offset + 16]
        stream = feedback.to_bytes(16, "big")
        mixed += bytes(left ^ right for left, right in zip(block, stream, strict=False))
    return bytes(mixed)


@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("index", [0, 5, 0x1_0005, 0xFFFF_FFFF_FFFF])
@given(st.binary(max_size=400), st.booleans())
def test_an_srtp_packet_is_laid_out_as_in_figure_1(
    mki: bytes, index: int, payload: bytes, marker: bool
) -> None:
    packet = rtp(index, payload, csrcs=(1, 2), marker=marker)
    roc = (index >> 16).to_bytes(4, "big")
    body = packet[:20] + by_hand(b"\0" + packet[1:12] + roc, packet[20:])
    expected = body + mki + hmac.digest(KEYS.authentication, body + roc, "sha1")[:10]
    assert rtp_sealer(KEYS, 10, mki)(packet, 20, SSRC, index) == expected
    assert rtp_opener(KEYS, 10, mki)(expected, 20, SSRC, index) == packet


@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("index", [0, 0x7FFF_FFFF])
@pytest.mark.parametrize("words", [0, 1, 5, 40])
def test_an_srtcp_packet_is_laid_out_as_in_figure_2(mki: bytes, index: int, words: int) -> None:
    packet = rtcp(words)
    trailer = (0x8000_0000 | index).to_bytes(4, "big")
    body = packet[:8] + by_hand(bytes(4) + trailer + packet[:8], packet[8:]) + trailer
    expected = body + mki + hmac.digest(KEYS.authentication, body, "sha1")[:10]
    assert rtcp_sealer(KEYS, 10, mki)(packet, SSRC, index) == expected
    assert rtcp_opener(KEYS, 10, mki)(expected, SSRC) == (packet, index)


def test_an_srtcp_packet_without_the_e_flag_is_left_as_it_is() -> None:
    body = rtcp() + (77).to_bytes(4, "big")
    received = body + hmac.digest(KEYS.authentication, body, "sha1")[:10]
    assert rtcp_opener(KEYS, 10, b"")(received, SSRC) == (rtcp(), 77)
