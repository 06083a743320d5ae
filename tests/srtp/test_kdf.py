"""Key derivation: the vectors of RFC 3711 B.3, RFC 6188 7.2 and 7.4."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mikeytool.srtp import SUITES, Suite, suite
from mikeytool.srtp.kdf import Label, derive, rtcp_keys, rtp_keys

from .media import master_key

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
KEY_192 = bytes.fromhex("73edc66c4fa15776fb57f9505c17136550ffda71f3e8e5f1")
SALT_192 = bytes.fromhex("c8522f3acd4ce86d5add78edbb11")
ENCRYPTION_192 = bytes.fromhex("31874736a8f1143870c26e4857d8a5b2c4a354407faadabb")
AUTH_192 = bytes.fromhex("355b10973cd95b9eacf4061c7e1a7151e7cfbfcb")


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


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (Label.RTP_ENCRYPTION, ENCRYPTION_192),
        (Label.RTP_SALT, bytes.fromhex("2372b82d639b6d8503a47adc0a6c")),
        (Label.RTP_AUTHENTICATION, AUTH_192),
    ],
)
def test_rfc_6188_7_4(label: Label, expected: bytes) -> None:
    assert derive(KEY_192, SALT_192, label, len(expected)) == expected


@pytest.mark.parametrize("each", SUITES.values(), ids=lambda each: each.name)
def test_every_suite_has_six_different_keys_of_its_lengths(each: Suite) -> None:
    key = master_key(each)
    rtp = rtp_keys(each, key.key, key.salt)
    rtcp = rtcp_keys(each, key.key, key.salt)
    for keys in (rtp, rtcp):
        assert len(keys.encryption) == each.key_length
        assert len(keys.authentication) == each.auth_key_length
        assert len(keys.salt) == each.salt_length
    assert len({rtp.encryption, rtcp.encryption, rtp.salt, rtcp.salt}) == 4
    assert not each.auth_key_length or rtp.authentication != rtcp.authentication


@pytest.mark.parametrize("name", ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM"])
def test_a_salt_of_12_octets_is_one_of_14_that_ends_in_zeros(name: str) -> None:
    key = master_key(suite(name))
    short = rtp_keys(suite(name), key.key, key.salt)
    assert short == rtp_keys(suite(name), key.key, key.salt + bytes(2))
    # By hand: E(k, x * 2^16), the label in octet 7 of the salt.
    x = bytearray(key.salt + bytes(4))
    x[7] ^= Label.RTP_SALT
    assert short.salt == Cipher(AES(key.key), ECB()).encryptor().update(bytes(x))[:12]


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


def test_printing_session_keys_masks_them() -> None:
    keys = rtp_keys(suite("AES_CM_128_HMAC_SHA1_80"), KEY_128, SALT_128)
    shown = "encryption=<16 octets>, authentication=<20 octets>, salt=<14 octets>"
    assert repr(keys) == f"SessionKeys({shown})"
