from __future__ import annotations

import pytest

from mikeytool.srtp import MasterKey, Receiver, Sender, suite
from mikeytool.wire.errors import UsageError


def test_printing_a_master_key_masks_it() -> None:
    assert repr(MasterKey(b"K" * 16, b"S" * 14, b"\x01")) == (
        "MasterKey(key=<16 octets>, salt=<14 octets>, mki=b'\\x01', lifetime=None)"
    )


@pytest.mark.parametrize("key", [0, 15, 30])
def test_a_key_of_no_suites_length_is_wrong_usage(key: int) -> None:
    master = MasterKey(b"K" * key, b"S" * 14)
    for make in (
        lambda: Sender(suite("AES_CM_128_HMAC_SHA1_80"), master),
        lambda: Receiver(suite("AES_CM_128_HMAC_SHA1_80"), [master]),
    ):
        with pytest.raises(UsageError, match=f"{key} octets.*needs 16 and 14.*no suite") as caught:
            make()
        assert "KKK" not in str(caught.value)


def test_a_key_of_another_suites_length_names_that_suite() -> None:
    with pytest.raises(UsageError, match=r"32 octets.*use AES_256_CM_HMAC_SHA1_80 or AES_256"):
        Sender(suite("AES_CM_128_HMAC_SHA1_80"), MasterKey(bytes(32), bytes(14)))
    with pytest.raises(UsageError, match=r"24 octets.*use AES_192_CM_HMAC_SHA1_80 or AES_192"):
        Sender(suite("AES_CM_128_HMAC_SHA1_80"), MasterKey(bytes(24), bytes(14)))
    with pytest.raises(UsageError, match=r"salt of 14.*use AES_CM_128_HMAC_SHA1_80"):
        Receiver(suite("AES_256_CM_HMAC_SHA1_32"), [MasterKey(bytes(16), bytes(14))])


def test_the_null_cipher_is_never_advised() -> None:
    with pytest.raises(UsageError) as caught:
        Receiver(suite("AES_256_CM_HMAC_SHA1_80"), [MasterKey(bytes(16), bytes(14))])
    assert "F8_128_HMAC_SHA1_80" in str(caught.value)
    assert "NULL" not in str(caught.value)


def test_a_salt_of_the_wrong_length_is_wrong_usage() -> None:
    with pytest.raises(
        UsageError, match=r"16 octets without a salt; AES_CM_128_HMAC_SHA1_80 .* 14"
    ):
        Sender(suite("AES_CM_128_HMAC_SHA1_80"), MasterKey(bytes(16), b""))
    with pytest.raises(
        UsageError, match=r"needs 16 and 12 \(AES-GCM has a salt of 12.*use AES_CM_128"
    ):
        Sender(suite("AEAD_AES_128_GCM"), MasterKey(bytes(30), b""))
    with pytest.raises(UsageError, match=r"salt of 12; .* needs 16 and 14; use AEAD_AES_128_GCM"):
        Sender(suite("AES_CM_128_HMAC_SHA1_80"), MasterKey(bytes(16), bytes(12)))
    with pytest.raises(UsageError, match=r"salt of 13.*no suite"):
        Sender(suite("AES_CM_128_HMAC_SHA1_80"), MasterKey(bytes(16), bytes(13)))


@pytest.mark.parametrize(
    ("name", "length", "other"),
    [("AEAD_AES_128_GCM", 16, "AES_CM_128"), ("AEAD_AES_256_GCM", 32, "AES_256_CM")],
)
def test_a_salt_of_14_with_gcm_is_explained(name: str, length: int, other: str) -> None:
    with pytest.raises(
        UsageError,
        match=rf"{length} octets with a salt of 14; {name} needs {length} and 12 "
        rf"\(AES-GCM has a salt of 12, the other suites 14\); use {other}",
    ):
        Receiver(suite(name), [MasterKey(bytes(length), bytes(14))])


def test_a_wrong_key_with_gcm_gets_no_lecture_on_salts() -> None:
    with pytest.raises(
        UsageError, match=r"needs 16 and 12; use AEAD_AES_256_GCM or AEAD_AES_256_GCM_8$"
    ):
        Sender(suite("AEAD_AES_128_GCM"), MasterKey(bytes(32), bytes(12)))
