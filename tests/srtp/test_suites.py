from __future__ import annotations

from typing import Any

import pytest

from mikeytool.srtp import SUITES, Cipher, Suite, suite
from mikeytool.srtp.suites import adapted, split_exporter, split_key
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
    encrypts = cipher is not Cipher.NULL
    assert suite(name) == Suite(
        name, key, salt, rtp_tag, rtcp_tag, auth_key, cipher, encrypts, encrypts, 0, 0
    )
    assert suite(name).protects == encrypts


def test_there_are_fourteen() -> None:
    assert len(SUITES) == 14


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        ("AES_CM_256_HMAC_SHA1_80", "AES_256_CM_HMAC_SHA1_80"),
        ("AES_CM_192_HMAC_SHA1_32", "AES_192_CM_HMAC_SHA1_32"),
        ("aes_cm_128_hmac_sha1_80", "AES_CM_128_HMAC_SHA1_80"),
        ("SRTP_AES128_CM_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_80"),
        ("SRTP_AES128_CM_SHA1_32", "AES_CM_128_HMAC_SHA1_32"),
        ("SRTP_AEAD_AES_256_GCM", "AEAD_AES_256_GCM"),
    ],
)
def test_other_spellings_are_taken_for_what_they_mean(name: str, usual: str) -> None:
    assert suite(name) is SUITES[usual]


def test_what_a_dtls_exporter_gives_is_split_in_its_order() -> None:
    octets = bytes(range(60))
    assert split_exporter(suite("AES_CM_128_HMAC_SHA1_80"), octets) == [
        (octets[:16], octets[32:46]),
        (octets[16:32], octets[46:]),
    ]
    assert split_exporter(suite("AEAD_AES_128_GCM"), octets) == []


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError) as caught:
        suite("AES_CM_128")
    assert all(name in str(caught.value) for name in SUITES)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("SEED_CTR_128_HMAC_SHA1_80", "SEED"),
        ("AEAD_ARIA_128_GCM", "ARIA"),
    ],
)
def test_a_name_of_another_document_is_explained(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=hint):
        suite(name)


# --- key and salt in one ----------------------------------------------------------------------


def test_key_and_salt_in_one_are_parted() -> None:
    octets = bytes(range(46))
    for name, key, salt in (
        ("AES_CM_128_HMAC_SHA1_80", 16, 14),
        ("AES_192_CM_HMAC_SHA1_80", 24, 14),
        ("AES_256_CM_HMAC_SHA1_32", 32, 14),
        ("AEAD_AES_128_GCM", 16, 12),
        ("AEAD_AES_256_GCM", 32, 12),
    ):
        total = key + salt
        assert split_key(suite(name), octets[:total]) == (octets[:key], octets[key:total])


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("AES_CM_128_HMAC_SHA1_80", 46, ["46", "30, 16 and 14", "use AES_256_CM_HMAC_SHA1_80 or"]),
        ("AES_CM_128_HMAC_SHA1_80", 28, ["28", "30, 16 and 14", "use AEAD_AES_128_GCM"]),
        ("AES_CM_128_HMAC_SHA1_80", 16, ["the salt is missing"]),
        ("AES_CM_128_HMAC_SHA1_80", 31, ["31", "no suite takes that many"]),
        (
            "AEAD_AES_128_GCM",
            30,
            ["28, 16 and 12", "AES-GCM has a salt of 12, the other suites 14"],
        ),
        (
            "AEAD_AES_256_GCM",
            46,
            ["44, 32 and 12", "AES-GCM has a salt of 12, the other suites 14"],
        ),
        ("AEAD_AES_256_GCM", 28, ["44, 32 and 12", "use AEAD_AES_128_GCM"]),
    ],
)
def test_a_wrong_length_says_given_needed_and_what_would_fit(
    name: str, given: int, said: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        split_key(suite(name), bytes(given))
    assert all(each in str(caught.value) for each in said)
    # A suite that encrypts nothing is no advice.
    assert "NULL" not in str(caught.value)


# --- other parameters -------------------------------------------------------------------------

CM = suite("AES_CM_128_HMAC_SHA1_80")
GCM = suite("AEAD_AES_128_GCM")


@pytest.mark.parametrize(
    ("base", "parameters", "name"),
    [
        (CM, {}, "AES_CM_128_HMAC_SHA1_80"),
        (CM, {"tag_length": 4}, "AES_CM_128_HMAC_SHA1_32"),
        (CM, {"tag_length": 8}, "AES_CM_128_HMAC_SHA1_64"),
        (CM, {"key_derivation_rate": 1 << 24}, "AES_CM_128_HMAC_SHA1_80 KDR=24"),
        (CM, {"rtp_encrypted": False}, "AES_CM_128_HMAC_SHA1_80 UNENCRYPTED_SRTP"),
        (CM, {"rtcp_encrypted": False}, "AES_CM_128_HMAC_SHA1_80 UNENCRYPTED_SRTCP"),
        (CM, {"rtp_authenticated": False}, "AES_CM_128_HMAC_SHA1_80 UNAUTHENTICATED_SRTP"),
        (CM, {"auth_key_length": 16}, "AES_CM_128_HMAC_SHA1_80 AUTH_KEY=16"),
        (
            CM,
            {"rtp_authenticated": False, "prefix_length": 3},
            "AES_CM_128_HMAC_SHA1_80 PREFIX=3 UNAUTHENTICATED_SRTP",
        ),
        (GCM, {"rtcp_encrypted": False}, "AEAD_AES_128_GCM UNENCRYPTED_SRTCP"),
        (suite("NULL_HMAC_SHA1_80"), {"rtp_encrypted": False}, "NULL_HMAC_SHA1_80"),
    ],
)
def test_the_name_tells_the_parameters(base: Suite, parameters: dict[str, Any], name: str) -> None:
    made = adapted(base, **parameters)
    assert made.name == name
    assert (made == SUITES.get(name)) == (name in SUITES)


@pytest.mark.parametrize(("tag", "rtcp_tag"), [(1, 10), (4, 10), (10, 10), (11, 11), (20, 20)])
def test_the_tag_of_srtcp_is_never_shorter_than_80_bits(tag: int, rtcp_tag: int) -> None:
    made = adapted(CM, tag_length=tag)
    assert (made.rtp_tag_length, made.rtcp_tag_length) == (tag, rtcp_tag)


@pytest.mark.parametrize(
    "parameters",
    [
        {"rtp_encrypted": False},
        {"rtcp_encrypted": False},
        {"rtp_authenticated": False},
        {"tag_length": 3},
        {"auth_key_length": 19},
    ],
)
def test_what_weakens_a_suite_does_not_protect(parameters: dict[str, Any]) -> None:
    assert not adapted(CM, **parameters).protects
    assert adapted(CM, tag_length=4, key_derivation_rate=2).protects


@pytest.mark.parametrize(
    ("base", "parameters", "reason"),
    [
        (GCM, {"rtp_encrypted": False}, "RFC 7714 8.2"),
        (GCM, {"rtp_authenticated": False}, "RFC 7714 8.2"),
        (GCM, {"tag_length": 8}, "RFC 7714 12"),
        (GCM, {"auth_key_length": 20}, "RFC 7714 12"),
        (GCM, {"prefix_length": 1}, "RFC 7714 12"),
        (CM, {"key_derivation_rate": 3}, "power of two"),
        (CM, {"key_derivation_rate": 1 << 25}, "up to 2\\^24"),
        (CM, {"key_derivation_rate": -1}, "power of two"),
        (CM, {"tag_length": 0}, "1 to 20"),
        (CM, {"tag_length": 21}, "1 to 20"),
        (CM, {"auth_key_length": 0}, "1 to 64"),
        (CM, {"auth_key_length": 65}, "1 to 64"),
        (CM, {"prefix_length": 1}, "RFC 3711 4.2.1"),
        (CM, {"prefix_length": 256, "rtp_authenticated": False}, "more than 255"),
    ],
)
def test_what_srtp_forbids_is_refused(base: Suite, parameters: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        adapted(base, **parameters)
