from __future__ import annotations

import pytest

from mikeytool.srtp import SUITES, Suite, suite
from mikeytool.wire.errors import UsageError


@pytest.mark.parametrize(
    ("name", "key", "rtp_tag"),
    [
        ("AES_CM_128_HMAC_SHA1_80", 16, 10),
        ("AES_CM_128_HMAC_SHA1_32", 16, 4),
        ("AES_256_CM_HMAC_SHA1_80", 32, 10),
        ("AES_256_CM_HMAC_SHA1_32", 32, 4),
    ],
)
def test_lengths_are_those_of_rfc_4568_and_6188(name: str, key: int, rtp_tag: int) -> None:
    assert suite(name) == Suite(name, key, 14, rtp_tag, 10, 20)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        suite("AES_CM_128")
    assert all(name in str(caught.value) for name in SUITES)
