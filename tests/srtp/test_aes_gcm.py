"""AES-GCM: all vectors of RFC 7714 16 and 17, and what they leave out."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from mikeytool.srtp import suite
from mikeytool.srtp.aes_gcm import (
    clear_rtcp_sealer,
    rtcp_opener,
    rtcp_sealer,
    rtp_opener,
    rtp_sealer,
)
from mikeytool.srtp.kdf import SessionKeys, rtcp_keys
from mikeytool.srtp.receiver import Receiver

from .media import SSRC, master_key, rtcp, rtp

SALT = b"Quid pro quo"
KEYS_128 = SessionKeys(bytes(range(16)), b"", SALT)
KEYS_256 = SessionKeys(bytes(range(32)), b"", SALT)
EITHER = pytest.mark.parametrize("keys", [KEYS_128, KEYS_256], ids=["128", "256"])

RTP_HEADER = "8040f17b 8041f8d3 5501a0b2"
RTP = bytes.fromhex(RTP_HEADER) + b"Gallia est omnis divisa in partes tres"
RTP_SSRC = 0x5501A0B2
RTP_INDEX = 0xF17B
ENCRYPTED_RTP_128 = bytes.fromhex(
    "8040f17b 8041f8d3 5501a0b2 f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f"
    "42a5f47a 51c7d19b 36de3adf 8833899d 7f27beb1 6a9152cf 765ee439 0cce"
)
ENCRYPTED_RTP_256 = bytes.fromhex(
    "8040f17b 8041f8d3 5501a0b2 32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3"
    "b50b2a02 76ffae0f 1ba63799 b87b7aa3 db36dfff d6b0f9bb 7878d7a7 6c13"
)
TAGGED_RTP_128 = RTP + bytes.fromhex("22493f82 d2bce397 e9d79e3b 19aa4216")
TAGGED_RTP_256 = RTP + bytes.fromhex("a866d591 0f887463 067ceefe c45215d4")

RTCP = bytes.fromhex(
    "81c8000d 4d617273 4e545031 4e545032 52545020 0000042a 0000e930 4c756e61"
    "deadbeef deadbeef deadbeef deadbeef deadbeef"
)
RTCP_SSRC = 0x4D617273
RTCP_INDEX = 0x5D4
ENCRYPTED_RTCP_128 = bytes.fromhex(
    "81c8000d 4d617273 63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1"
    "730d6fda 4ce09b46 86303ded 0bb9275b c84aa458 96cf4d2f c5abf872 45d9eade 800005d4"
)
ENCRYPTED_RTCP_256 = bytes.fromhex(
    "81c8000d 4d617273 d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1"
    "110555be 8415f658 c61de047 6f1b6fad 1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4"
)
TAGGED_RTCP_128 = RTCP + bytes.fromhex("841dd968 3dd78ec9 2ae58790 125f62b3 000005d4")
TAGGED_RTCP_256 = RTCP + bytes.fromhex("91db4afb feee5a97 8fab4393 ed2615fe 000005d4")


@pytest.mark.parametrize(
    ("keys", "start", "protected"),
    [
        pytest.param(KEYS_128, 12, ENCRYPTED_RTP_128, id="16.1.1, 16.1.2"),
        # Tagging is sealing with nothing behind the header.
        pytest.param(KEYS_128, len(RTP), TAGGED_RTP_128, id="16.1.3, 16.1.4"),
        pytest.param(KEYS_256, 12, ENCRYPTED_RTP_256, id="16.2.1, 16.2.2"),
        pytest.param(KEYS_256, len(RTP), TAGGED_RTP_256, id="16.2.3, 16.2.4"),
    ],
)
def test_rfc_7714_16(keys: SessionKeys, start: int, protected: bytes) -> None:
    assert rtp_sealer(keys, 16, b"")(RTP, start, RTP_SSRC, RTP_INDEX) == protected
    assert rtp_opener(keys, 16, b"")(protected, start, RTP_SSRC, RTP_INDEX) == RTP


@pytest.mark.parametrize(
    ("keys", "protected"),
    [
        pytest.param(KEYS_128, ENCRYPTED_RTCP_128, id="17.1"),
        pytest.param(KEYS_256, ENCRYPTED_RTCP_256, id="17.2"),
    ],
)
def test_rfc_7714_17_encrypted(keys: SessionKeys, protected: bytes) -> None:
    assert rtcp_sealer(keys, 16, b"")(RTCP, RTCP_SSRC, RTCP_INDEX) == protected
    assert rtcp_opener(keys, 16, b"")(protected, RTCP_SSRC) == (RTCP, RTCP_INDEX)


@pytest.mark.parametrize(
    ("keys", "protected"),
    [
        pytest.param(KEYS_128, TAGGED_RTCP_128, id="17.3"),
        pytest.param(KEYS_256, TAGGED_RTCP_256, id="17.4"),
    ],
)
def test_rfc_7714_17_tagged_only(keys: SessionKeys, protected: bytes) -> None:
    open_ = rtcp_opener(keys, 16, b"")
    assert open_(protected, RTCP_SSRC) == (RTCP, RTCP_INDEX)
    for bit in range(8 * len(protected)):
        flipped = bytearray(protected)
        flipped[bit // 8] ^= 1 << bit % 8
        assert open_(bytes(flipped), RTCP_SSRC) is None
    assert clear_rtcp_sealer(keys, 16, b"")(RTCP, RTCP_SSRC, RTCP_INDEX) == protected


@EITHER
@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("index", [0, 5, 0x1_0005, 0xFFFF_FFFF_FFFF])
def test_an_srtp_packet_is_laid_out_as_in_figure_3(
    keys: SessionKeys, mki: bytes, index: int
) -> None:
    packet = rtp(index, b"an odd number of octets", csrcs=(1, 2), extension=b"four")
    start = 12 + 8 + 8
    # ROC and SEQ behind two octets of zeros and the SSRC.
    raw = bytes(2) + SSRC.to_bytes(4, "big") + index.to_bytes(6, "big")
    iv = bytes(left ^ right for left, right in zip(raw, SALT, strict=True))
    sealed = AESGCM(keys.encryption).encrypt(iv, packet[start:], packet[:start])
    expected = packet[:start] + sealed + mki
    assert rtp_sealer(keys, 16, mki)(packet, start, SSRC, index) == expected
    assert rtp_opener(keys, 16, mki)(expected, start, SSRC, index) == packet


@EITHER
@pytest.mark.parametrize("mki", [b"", b"\x01\x02"])
@pytest.mark.parametrize("encrypted", [False, True])
@pytest.mark.parametrize("index", [0, 0x7FFF_FFFF])
def test_an_srtcp_packet_is_laid_out_as_in_figures_5_and_6(
    keys: SessionKeys, mki: bytes, encrypted: bool, index: int
) -> None:
    packet = rtcp()
    trailer = (encrypted << 31 | index).to_bytes(4, "big")
    raw = bytes(2) + SSRC.to_bytes(4, "big") + bytes(2) + index.to_bytes(4, "big")
    iv = bytes(left ^ right for left, right in zip(raw, SALT, strict=True))
    clear = 8 if encrypted else len(packet)
    sealed = AESGCM(keys.encryption).encrypt(iv, packet[clear:], packet[:clear] + trailer)
    expected = packet[:clear] + sealed + trailer + mki
    assert rtcp_opener(keys, 16, mki)(expected, SSRC) == (packet, index)
    if encrypted:
        assert rtcp_sealer(keys, 16, mki)(packet, SSRC, index) == expected


@EITHER
def test_a_packet_without_payload_is_its_header_and_the_tag(keys: SessionKeys) -> None:
    empty = rtp(1, b"")
    sealed = rtp_sealer(keys, 16, b"")(empty, 12, SSRC, 1)
    assert (len(sealed), sealed[:12]) == (28, empty)
    assert rtp_opener(keys, 16, b"")(sealed, 12, SSRC, 1) == empty
    shortest = rtcp(0)
    sealed = rtcp_sealer(keys, 16, b"")(shortest, SSRC, 1)
    assert len(sealed) == 8 + 16 + 4
    assert rtcp_opener(keys, 16, b"")(sealed, SSRC) == (shortest, 1)


@EITHER
def test_a_wrong_mki_opens_nothing(keys: SessionKeys) -> None:
    sealed = rtp_sealer(keys, 16, b"\x01")(RTP, 12, RTP_SSRC, RTP_INDEX)
    assert rtp_opener(keys, 16, b"\x02")(sealed, 12, RTP_SSRC, RTP_INDEX) is None
    sealed = rtcp_sealer(keys, 16, b"\x01")(RTCP, RTCP_SSRC, RTCP_INDEX)
    assert rtcp_opener(keys, 16, b"\x02")(sealed, RTCP_SSRC) is None


def test_a_receiver_reads_srtcp_that_is_only_tagged() -> None:
    each = suite("AEAD_AES_128_GCM")
    key = master_key(each)
    keys = rtcp_keys(each, key.key, key.salt)
    packet, trailer = rtcp(), (3).to_bytes(4, "big")
    raw = bytes(2) + SSRC.to_bytes(4, "big") + (3).to_bytes(6, "big")
    iv = bytes(left ^ right for left, right in zip(raw, keys.salt, strict=True))
    tag = AESGCM(keys.encryption).encrypt(iv, b"", packet + trailer)
    assert Receiver(each, [key]).unprotect(packet + tag + trailer) == packet
