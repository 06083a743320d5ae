from __future__ import annotations

import pytest

from mikeytool.wire.payloads import PolicyParam
from tests.lint.messages import Case, D, Draft, Edit, case, codes, edited, good, set_, sp, swap


def add(kind: int, value: bytes) -> Edit:
    """Add a parameter to the policy."""

    def edit(draft: Draft) -> None:
        policy = sp()
        policy.policy_param.append(PolicyParam(type=kind, value=value))
        set_(draft, "SP", policy_param=policy.policy_param)

    return edit


def policy(**params: int | None) -> Edit:
    return swap("SP", sp(0, **params))


GCM = {"p0": 6, "p2": 0, "p3": 0, "p4": 12, "p11": 0, "p20": 16}
CASES = [
    case("srtp-parameter-unassigned", D.PRE_SHARED, add(99, b"\x01")),
    case("srtp-parameter-unassigned", D.PRE_SHARED, policy(p0=77)),
    case("srtp-parameter-unassigned", D.PRE_SHARED, policy(p2=77)),
    case("srtp-parameter-unassigned", D.PRE_SHARED, add(5, b"\x63")),
    case("srtp-parameter-unassigned", D.PRE_SHARED, add(9, b"\x63")),
    case("srtp-parameter-unassigned", D.PRE_SHARED, add(14, b"\x63")),
    case("srtp-parameter-unassigned", D.PRE_SHARED, add(15, b"\x63")),
    case("srtp-rcc-tag-length", D.PRE_SHARED, policy(p2=4)),
    case("srtp-rcc-tag-length", D.PRE_SHARED, policy(p2=2, p11=3)),
    case("srtp-parameter-twice", D.PRE_SHARED, add(11, b"\x04"), also=()),
    case("srtp-parameter-length", D.PRE_SHARED, add(6, b"")),
    case("srtp-parameter-length", D.PRE_SHARED, add(6, bytes(9))),
    case("srtp-switch", D.PRE_SHARED, policy(p7=2)),
    case("srtp-rate", D.PRE_SHARED, policy(p6=3)),
    case("srtp-roc-rate", D.PRE_SHARED, policy(p13=0)),
    case("srtp-key-length", D.PRE_SHARED, policy(p1=20)),
    case("srtp-key-length", D.PRE_SHARED, policy(p0=2, p1=32)),
    case("srtp-salt-length", D.PRE_SHARED, policy(p4=12)),
    case("srtp-auth-key-length", D.PRE_SHARED, policy(p3=16)),
    case("srtp-tag-length", D.PRE_SHARED, policy(p11=8)),
    case("srtp-aead-mac", D.PRE_SHARED, policy(**{**GCM, "p2": 1, "p3": 20, "p11": 10})),
    case("srtp-not-encrypted", D.PRE_SHARED, policy(p0=0)),
    case("srtp-not-encrypted", D.PRE_SHARED, policy(p8=0)),
    case("srtp-not-authenticated", D.PRE_SHARED, policy(p2=0)),
    case("srtp-not-authenticated", D.PRE_SHARED, policy(p10=0)),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(
    "params",
    [
        {"p11": 4},
        {"p1": 32},
        {"p0": 2},
        GCM,
        {**GCM, "p1": 32},
        {**GCM, "p0": 5},
        {**GCM, "p2": 4, "p18": 4, "p19": 0},
        {"p6": 16},
        dict.fromkeys(("p0", "p1", "p2", "p3", "p4", "p7", "p8", "p10", "p11")),
    ],
    ids=str,
)
def test_good_policies(params: dict[str, int | None]) -> None:
    assert codes(edited(good(D.PRE_SHARED), policy(**params))) == []


def test_several_values_are_an_offer_in_rsa_r() -> None:
    assert codes(edited(good(D.RSA_R_I_MSG), add(11, b"\x04"))) == []


def test_parameters_of_other_protocols_are_not_those_of_srtp() -> None:
    other = sp(0, p99=1, p0=77, p7=9)
    other.protocol = 241
    found = codes(edited(good(D.TRANSFER_INIT), swap("SP", other)))
    assert found == ["policy-protocol", "policy-protocol"]


def test_tags_of_rcc_that_are_right() -> None:
    """RFC 4771 4: 14 octets with a MAC, 4 without."""
    for params in ({"p2": 4, "p11": 4}, {"p2": 4, "p11": 10, "p18": 4}, {"p2": 3, "p11": 14}):
        assert "srtp-rcc-tag-length" not in codes(edited(good(D.PRE_SHARED), policy(**params)))
