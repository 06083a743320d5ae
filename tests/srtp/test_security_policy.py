"""SP payloads and suites, both ways."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp import SUITES, Suite, suite
from mikeytool.srtp.security_policy import policy_for, read_policy, suite_of
from mikeytool.wire.errors import Refused
from mikeytool.wire.payloads import SP, PolicyParam
from mikeytool.wire.registry import ErrorNo, SrtpEncrAlg
from mikeytool.wire.registry import SrtpParam as P

from .media import suites

EVERY = pytest.mark.parametrize("each", SUITES.values(), ids=lambda each: each.name)


def sp(params: Iterable[tuple[int, int]], protocol: int = 0) -> SP:
    return SP(
        policy_no=0,
        protocol=protocol,
        policy_param=[
            PolicyParam(type=int(kind), value=value.to_bytes(1 if value < 256 else 4))
            for kind, value in params
        ],
    )


def values(policy: SP) -> dict[int, int]:
    return {each.type: int.from_bytes(each.value) for each in policy.policy_param}


@EVERY
@pytest.mark.parametrize("number", [0, 255])
def test_a_suite_comes_back_from_its_policy(each: Suite, number: int) -> None:
    policy = policy_for(each, number)
    assert (policy.policy_no, policy.protocol) == (number, 0)
    assert suite_of(policy) == each


@EVERY
def test_lengths_are_said_outright(each: Suite) -> None:
    said = values(policy_for(each, 0))
    assert said[P.ENCR_KEY_LENGTH] == each.key_length
    assert said[P.SALT_KEY_LENGTH] == each.salt_length
    assert said[P.AUTH_KEY_LENGTH] == each.auth_key_length


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "AES_CM_128_HMAC_SHA1_80",
            {0: 1, 1: 16, 2: 1, 3: 20, 4: 14, 7: 1, 8: 1, 10: 1, 11: 10},
        ),
        (
            "AES_192_CM_HMAC_SHA1_32",
            {0: 1, 1: 24, 2: 1, 3: 20, 4: 14, 7: 1, 8: 1, 10: 1, 11: 4},
        ),
        (
            "F8_128_HMAC_SHA1_80",
            {0: 2, 1: 16, 2: 1, 3: 20, 4: 14, 7: 1, 8: 1, 10: 1, 11: 10},
        ),
        (
            "AEAD_AES_256_GCM",
            {0: 6, 1: 32, 2: 0, 3: 0, 4: 12, 7: 1, 8: 1, 10: 1, 11: 0, 20: 16},
        ),
        (
            "NULL_HMAC_SHA1_80",
            {0: 0, 1: 16, 2: 1, 3: 20, 4: 14, 7: 0, 8: 0, 10: 1, 11: 10},
        ),
    ],
)
def test_parameters_are_written_in_order_of_type(name: str, expected: dict[int, int]) -> None:
    written = [(each.type, each.value[0]) for each in policy_for(suite(name), 0).policy_param]
    assert written == list(expected.items())


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({}, "AES_CM_128_HMAC_SHA1_80"),
        ({P.AUTH_TAG_LENGTH: 4}, "AES_CM_128_HMAC_SHA1_32"),
        ({P.ENCR_KEY_LENGTH: 24}, "AES_192_CM_HMAC_SHA1_80"),
        ({P.ENCR_KEY_LENGTH: 24, P.AUTH_TAG_LENGTH: 4}, "AES_192_CM_HMAC_SHA1_32"),
        ({P.ENCR_KEY_LENGTH: 32}, "AES_256_CM_HMAC_SHA1_80"),
        ({P.ENCR_ALG: 2}, "F8_128_HMAC_SHA1_80"),
        ({P.ENCR_ALG: 0}, "NULL_HMAC_SHA1_80"),
        ({P.ENCR_ALG: SrtpEncrAlg.AES_GCM}, "AEAD_AES_128_GCM"),
        ({P.ENCR_ALG: SrtpEncrAlg.AES_GCM, P.ENCR_KEY_LENGTH: 32}, "AEAD_AES_256_GCM"),
        # What determines a suite with AES-GCM (RFC 7714 15).
        (
            {P.ENCR_ALG: SrtpEncrAlg.AES_GCM, P.ENCR_KEY_LENGTH: 16, P.AEAD_TAG_LENGTH: 16},
            "AEAD_AES_128_GCM",
        ),
    ],
)
def test_what_is_not_said_is_the_default(params: dict[int, int], name: str) -> None:
    assert suite_of(sp(params.items())) == suite(name)


@pytest.mark.parametrize("name", ["NULL_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"])
@pytest.mark.parametrize("on", [0, 1])
def test_switches_of_a_null_algorithm_say_nothing(name: str, on: int) -> None:
    switches = (
        (P.SRTP_ENCRYPTION, P.SRTCP_ENCRYPTION) if "NULL" in name else (P.SRTP_AUTHENTICATION,)
    )
    given = values(policy_for(suite(name), 0))
    for switch in switches:
        assert suite_of(sp({**given, switch: on}.items())) == suite(name)
        assert suite_of(sp({**given, switch: 2}.items())) is None


@EVERY
@pytest.mark.parametrize(
    ("kind", "value", "reason"),
    [
        (P.ENCR_ALG, 3, "SEED-CTR"),
        (P.ENCR_ALG, 8, "ARIA-GCM"),
        (P.ENCR_ALG, 255, "255"),
        (P.ENCR_KEY_LENGTH, 0, "is 0; .* has 16"),
        (P.ENCR_KEY_LENGTH, 17, "is 17; .* has 16"),
        (P.AUTH_ALG, 5, "Authentication algorithm is 5"),
        (P.SALT_KEY_LENGTH, 0, "is 0, .* only be 1"),
        (P.SALT_KEY_LENGTH, 13, "is 13, .* only be 1"),
        (P.PRF, 1, "SEED-CTR, .* AES-CM"),
        (P.KEY_DERIVATION_RATE, 3, "power of two"),
        (P.KEY_DERIVATION_RATE, 1 << 25, "power of two"),
        (P.SRTP_ENCRYPTION, 2, "0 for off or 1 for on"),
        (P.SRTCP_ENCRYPTION, 2, "0 for off or 1 for on"),
        (P.FEC_ORDER, 1, "FEC order is 1"),
        (P.SRTP_AUTHENTICATION, 2, "0 for off or 1 for on"),
        (P.PREFIX_LENGTH, 1, "RFC (3711 4.2.1|7714 12)"),
        (P.AEAD_TAG_LENGTH, 12, "AEAD"),
        (13, 0, "ROC transmission rate"),
        (19, 3, "SRTCP (tag|Authentication tag len)"),
        (17, 10, "SRTCP Session Auth. key len"),
        (15, 2, "SRTCP Auth. algorithm"),
        (21, 16, "21"),
        (255, 0, "255"),
    ],
)
def test_an_odd_parameter_is_of_no_suite(each: Suite, kind: int, value: int, reason: str) -> None:
    odd = sp({**values(policy_for(each, 0)), kind: value}.items())
    assert suite_of(odd) is None
    with pytest.raises(Refused, match=reason) as caught:
        read_policy(odd)
    assert caught.value.error_no == ErrorNo.INVALID_SPPAR


@EVERY
def test_a_tag_of_both_kinds_is_of_no_suite(each: Suite) -> None:
    said = values(policy_for(each, 0))
    said |= {P.AEAD_TAG_LENGTH: 16} if each.auth_key_length else {int(P.AUTH_ALG): 1}
    assert suite_of(sp(said.items())) is None


CM = "AES_CM_128_HMAC_SHA1_80"


@pytest.mark.parametrize(
    ("params", "name", "changed"),
    [
        ({P.KEY_DERIVATION_RATE: 1}, CM, {"key_derivation_rate": 1}),
        ({P.KEY_DERIVATION_RATE: 1 << 16}, CM, {"key_derivation_rate": 1 << 16}),
        ({P.KEY_DERIVATION_RATE: 1 << 24}, CM, {"key_derivation_rate": 1 << 24}),
        ({P.SRTP_ENCRYPTION: 0}, CM, {"rtp_encrypted": False}),
        ({P.SRTCP_ENCRYPTION: 0}, CM, {"rtcp_encrypted": False}),
        ({P.SRTP_AUTHENTICATION: 0}, CM, {"rtp_tag_length": 0}),
        # What is cut short is RTP alone (RFC 3711 5.2).
        (
            {P.SRTP_AUTHENTICATION: 0, P.AUTH_TAG_LENGTH: 4},
            CM,
            {"rtp_tag_length": 0, "rtcp_tag_length": 10},
        ),
        ({P.AUTH_TAG_LENGTH: 1}, CM, {"rtp_tag_length": 1, "rtcp_tag_length": 10}),
        ({P.AUTH_TAG_LENGTH: 8}, CM, {"rtp_tag_length": 8, "rtcp_tag_length": 10}),
        ({P.AUTH_TAG_LENGTH: 20}, CM, {"rtp_tag_length": 20, "rtcp_tag_length": 20}),
        ({P.AUTH_KEY_LENGTH: 16}, CM, {"auth_key_length": 16}),
        (
            {P.SRTP_AUTHENTICATION: 0, P.PREFIX_LENGTH: 4},
            CM,
            {"rtp_tag_length": 0, "prefix_length": 4},
        ),
        (
            {P.ENCR_ALG: 2, P.AUTH_TAG_LENGTH: 4},
            "F8_128_HMAC_SHA1_80",
            {"rtp_tag_length": 4, "rtcp_tag_length": 10},
        ),
        ({P.ENCR_ALG: 6, P.SRTCP_ENCRYPTION: 0}, "AEAD_AES_128_GCM", {"rtcp_encrypted": False}),
        (
            {P.ENCR_ALG: 6, P.ENCR_KEY_LENGTH: 32, P.KEY_DERIVATION_RATE: 2},
            "AEAD_AES_256_GCM",
            {"key_derivation_rate": 2},
        ),
        (
            {P.ENCR_ALG: 0, P.SRTP_AUTHENTICATION: 0},
            "NULL_HMAC_SHA1_80",
            {"rtp_tag_length": 0},
        ),
    ],
)
def test_parameters_make_a_suite_of_their_own(
    params: dict[int, int], name: str, changed: dict[str, Any]
) -> None:
    found = read_policy(sp(params.items()))
    assert replace(found, name=name) == replace(suite(name), **changed)
    # Nobody who asks for the suite by name gets another.
    assert found.name != name
    assert suite_of(policy_for(found, 7)) == found


@pytest.mark.parametrize("name", ["AEAD_AES_128_GCM", "AEAD_AES_256_GCM"])
def test_gcm_always_encrypts_rtp(name: str) -> None:
    said = {**values(policy_for(suite(name), 0)), P.SRTP_ENCRYPTION: 0}
    with pytest.raises(Refused, match="RFC 7714"):
        read_policy(sp(said.items()))


@pytest.mark.parametrize("name", [name for name in SUITES if name.endswith(("_80", "_32"))])
def test_srtcp_is_always_authenticated(name: str) -> None:
    said = {**values(policy_for(suite(name), 0)), P.AUTH_ALG: 0}
    with pytest.raises(Refused, match="SRTCP is always authenticated") as caught:
        read_policy(sp(said.items()))
    assert "SRTP authentication off/on" in str(caught.value)


@EVERY
def test_a_parameter_given_twice_is_of_no_suite(each: Suite) -> None:
    said = list(values(policy_for(each, 0)).items())
    for param in said:
        with pytest.raises(Refused, match="twice"):
            read_policy(sp([*said, param]))


@pytest.mark.parametrize("value", [b"", bytes(5), bytes(255), b"\0\0\0\0\1"])
@pytest.mark.parametrize("kind", [P.ENCR_ALG, P.SRTP_ENCRYPTION, P.KEY_DERIVATION_RATE])
def test_a_value_that_is_no_number_of_the_table(kind: int, value: bytes) -> None:
    policy = SP(policy_no=0, protocol=0, policy_param=[PolicyParam(type=int(kind), value=value)])
    with pytest.raises(Refused, match=f"has {len(value)} octets"):
        read_policy(policy)


@EVERY
def test_another_protocol_has_no_suite(each: Suite) -> None:
    with pytest.raises(Refused, match="not for SRTP") as caught:
        read_policy(sp(values(policy_for(each, 0)).items(), protocol=1))
    assert caught.value.error_no == ErrorNo.INVALID_SP


@given(suites, st.randoms(use_true_random=False))
def test_the_order_of_parameters_says_nothing(suite: Suite, source: random.Random) -> None:
    said = list(values(policy_for(suite, 0)).items())
    source.shuffle(said)
    assert suite_of(sp(said)) == suite


@given(st.dictionaries(st.integers(0, 22), st.integers(0, 33), max_size=6))
def test_any_policy_is_a_suite_or_none(params: dict[int, int]) -> None:
    found = suite_of(sp(params.items()))
    assert found is None or suite_of(policy_for(found, 0)) == found
