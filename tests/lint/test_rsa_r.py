from __future__ import annotations

import pytest

from mikeytool.wire.payloads import RAND, GeneralExt, PolicyParam
from tests.lint.messages import (
    Case,
    D,
    Edit,
    case,
    change,
    codes,
    edited,
    good,
    header,
    insert,
    octets,
    sp,
    swap,
    without,
)

INIT, R = D.RSA_R_I_MSG, D.RSA_R_R_MSG
RAND_OF_R = insert(RAND(rand=octets(16)), "ID")
GROUP = insert(GeneralExt(type=4, data=octets(4)), "T")
"""A CSB ID of the responder's, which only answers for groups have (RFC 4738 3.6)."""


def params(*pairs: tuple[int, int], number: int = 0, protocol: int = 0) -> Edit:
    """A policy of these parameters alone, of which one may occur several times."""
    policy = sp(number)
    policy.protocol = protocol
    policy.policy_param = [PolicyParam(type=kind, value=bytes([value])) for kind, value in pairs]
    return swap("SP", policy)


OFFER = edited(good(INIT), params((0, 1), (0, 6), (1, 16), (1, 32), (11, 10)))
CASES = [
    case("rsa-r-v", INIT, header(v=0)),
    case("rsa-r-map", R, header(cs_id_map=[])),
    case("rsa-r-map", R, GROUP, RAND_OF_R, header(cs_id_map=[], cs_id_map_type=2)),
    case("rsa-r-group", R, GROUP),
    case("rsa-r-group", R, GROUP, RAND_OF_R, without("SP")),
    case("rsa-r-group-offer", R, GROUP, RAND_OF_R, init=INIT),
    case("rsa-r-rand", R, RAND_OF_R, init=INIT),
    case("rsa-r-rand", R, init=edited(good(INIT), without("RAND"))),
    case("rsa-r-policy", R, without("SP"), init=INIT),
    case("rsa-r-choice", R, params((0, 1), (11, 10), (11, 4))),
    case("rsa-r-not-offered", R, params((0, 2)), init=OFFER),
    case("rsa-r-not-offered", R, params((0, 1), (11, 4)), init=OFFER),
    # key derivation rate and PRF are those of SRTP where nothing is said
    case("rsa-r-not-offered", R, params((0, 1), (6, 16)), init=OFFER),
    case(
        "rsa-r-not-offered",
        R,
        params((0, 1), protocol=1),
        init=OFFER,
        also=("policy-protocol",),
    ),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(
    "chosen",
    [
        params((0, 1), (1, 32), (11, 10)),
        params((0, 1)),
        params((0, 1), (1, 16), (6, 0), (10, 1), (11, 10)),
    ],
)
def test_a_choice_that_was_offered(chosen: Edit) -> None:
    assert codes(edited(good(R), chosen), OFFER) == []


def test_either_of_two_offered_policies() -> None:
    """RFC 4738 3.4: all that the initiator supports, in one SP or in several."""
    other = sp(1, p2=0, p10=0)
    offer = edited(good(INIT), insert(other, "SIGN"))
    assert codes(edited(good(R), swap("SP", sp())), offer) == []
    assert "rsa-r-not-offered" not in codes(edited(good(R), swap("SP", sp(0, p2=0, p10=0))), offer)
    mixed = edited(good(R), swap("SP", sp(0, p2=0, p10=1)))
    assert "rsa-r-not-offered" in codes(mixed, offer)


def test_a_group_answer_has_a_rand_and_a_policy_of_its_own() -> None:
    init = edited(good(INIT), without("SP"))
    group = edited(good(R), GROUP, RAND_OF_R)
    assert codes(group) == codes(group, init) == []
    assert codes(group, edited(init, without("RAND"))) == []


def test_another_extension_makes_no_group() -> None:
    plain = edited(good(R), insert(GeneralExt(type=1, data=b"mikey"), "T"))
    assert codes(plain, good(INIT)) == []


def test_an_empty_map_leaves_the_policy_to_others() -> None:
    empty = edited(good(R), header(cs_id_map_type=1, cs_id_map=[]), without("SP"))
    assert codes(empty, edited(good(INIT), without("SP"))) == []


def test_the_key_is_not_part_of_the_choice() -> None:
    assert codes(edited(good(R), change("PKE", c=1)), good(INIT)) == []
