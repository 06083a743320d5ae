from __future__ import annotations

import pytest

from mikeytool.srtp import SUITES, Cipher, Suite, suite
from mikeytool.wire.errors import UsageError


@pytest.mark.parametrize(
    ("name", "cipher", "key", "salt", "rtp_tag", "rtcp_tag", "auth_key"),
    [
        ("AES_CM_128_HMAC_SHA1_80", Cipher.AES_CM, 16, 14, 10, 10, 20),
        ("AES_CM_128_HMAC_SHA1_32", Cipher.AES_CM, 16, 14, 4, 10, 20),
        ("F8_128_HMAC_SHA1_80", Cipher.AES_F8, 16, 14, 10, 10, 20),
        ("AES_192_CM_HMAC_SHA1_80", Cipher.AES_CM, 24, 14, 10, 10, 20),
        ("AES_192_CM_HMAC_SHA1_32", Cipher.AES_CM, 24, 14, 4, 10, 20),
        ("AES_256_CM_HMAC_SHA1_80", Cipher.AES_CM, 32, 14, 10, 10, 20),
        ("AES_256_CM_HMAC_SHA1_32", Cipher.AES_CM, 32, 14, 4, 10, 20),
        ("AEAD_AES_128_GCM", Cipher.AES_GCM, 16, 12, 16, 16, 0),
        ("AEAD_AES_256_GCM", Cipher.AES_GCM, 32, 12, 16, 16, 0),
        ("NULL_HMAC_SHA1_80", Cipher.NULL, 16, 14, 10, 10, 20),
    ],
)
def test_lengths_are_those_of_rfc_4568_6188_and_7714(
    name: str, cipher: Cipher, key: int, salt: int, rtp_tag: int, rtcp_tag: int, auth_key: int
) -> None:
    assert suite(name) == Suite(name, key, salt, rtp_tag, rtcp_tag, auth_key, cipher)


def test_there_are_ten() -> None:
    assert len(SUITES) == 10


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        suite("AES_CM_128")
    assert all(name in str(caught.value) for name in SUITES)
