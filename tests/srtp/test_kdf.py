"""Key derivation: the vectors of RFC 3711 B.3 and RFC 6188 7.2."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mikeytool.srtp import suite
from mikeytool.srtp.kdf import Label, derive, rtcp_keys, rtp_keys

KEY_128 = bytes.fromhex("E1F97A0D3E018BE0D64FA32C06DE4139")
SALT_128 = bytes.fromhex("0EC675AD498AFEEBB6960B3AABE6")
AUTH_128 = bytes.fromhex(
    "CEBE321F6FF7716B6FD4AB49AF256A15 6D38BAA48F0A0ACF3C34E2359E6CDBCE"
    "E049646C43D9327AD175578EF7227098 6371C10C9A369AC2F94A8C5FBCDDDC25"
    "6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2"
)
KEY_256 = bytes.fromhex("f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6")
SALT_256 = bytes.fromhex("3b04803de51ee7c96423ab5b78d2")
ENCRYPTION_256 = bytes.fromhex("5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4")
AUTH_256 = bytes.fromhex("fd9c32d39ed5fbb5a9dc96b30818454d1313dc05")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (Label.RTP_ENCRYPTION, bytes.fromhex("C61E7A93744F39EE10734AFE3FF7A087")),
        (Label.RTP_SALT, bytes.fromhex("30CBBC08863D8C85D49DB34A9AE1")),
        (Label.RTP_AUTHENTICATION, AUTH_128),
    ],
)
def test_rfc_3711_b_3(label: Label, expected: bytes) -> None:
    assert derive(KEY_128, SALT_128, label, len(expected)) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (Label.RTP_ENCRYPTION, ENCRYPTION_256),
        (Label.RTP_SALT, bytes.fromhex("fa31791685ca444a9e07c6c64e93")),
        (Label.RTP_AUTHENTICATION, AUTH_256),
    ],
)
def test_rfc_6188_7_2(label: Label, expected: bytes) -> None:
    assert derive(KEY_256, SALT_256, label, len(expected)) == expected


def test_session_keys_have_the_lengths_of_the_suite() -> None:
    keys = rtp_keys(suite("AES_256_CM_HMAC_SHA1_32"), KEY_256, SALT_256)
    assert keys.encryption == ENCRYPTION_256
    assert keys.authentication == AUTH_256
    assert keys.salt == bytes.fromhex("fa31791685ca444a9e07c6c64e93")


def test_rtcp_keys_have_labels_3_to_5() -> None:
    # The first block of each is E(k, x * 2^16), x being the salt with the label in octet 7.
    def block(label: int) -> bytes:
        x = bytearray(SALT_128 + bytes(2))
        x[7] ^= label
        return Cipher(AES(KEY_128), ECB()).encryptor().update(bytes(x))

    keys = rtcp_keys(suite("AES_CM_128_HMAC_SHA1_80"), KEY_128, SALT_128)
    assert keys.encryption == block(3)
    assert (len(keys.authentication), keys.authentication[:16]) == (20, block(4))
    assert keys.salt == block(5)[:14]


def test_printing_session_keys_shows_none() -> None:
    keys = rtp_keys(suite("AES_CM_128_HMAC_SHA1_80"), KEY_128, SALT_128)
    assert repr(keys) == "SessionKeys()"
