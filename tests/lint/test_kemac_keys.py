from __future__ import annotations

from typing import Any

import pytest

from mikeytool.wire.message import build_chain
from mikeytool.wire.payloads import KEMAC, KeyData
from tests.lint.messages import (
    ALICE,
    Case,
    D,
    camera,
    case,
    change,
    clear_kemac,
    codes,
    edited,
    good,
    insert,
    kemac,
    octets,
    sp,
    swap,
    tek,
    tp,
    user,
    v,
)

NULL = ("quirk-null-protection",)


def asks(*keys: KeyData, **changes: int | bytes) -> KEMAC:
    """The KEMAC of a Ticket Policy."""
    return KEMAC(encr_alg=0, encr_data=build_chain(keys)).copy(**changes)


ZERO = KeyData(type=0, kv=0, key=bytes(16))
SPI: dict[str, Any] = {"kv": 1, "spi": octets(4)}
CASES = [
    case("keys-in-clear", D.PRE_SHARED, swap("KEMAC", clear_kemac(tek(), mac=1))),
    case("ticket-keys-in-clear", D.RESOLVE_RESP, swap("KEMAC", clear_kemac(tek(**SPI)))),
    case("mac-null", D.PRE_SHARED, swap("KEMAC", kemac(mac=0))),
    case("mac-null", D.PSK_VER_MSG, swap("V", v(0))),
    case("ticket-mac-null", D.REQUEST_RESP, swap("V", v(0))),
    case("kemac-mac", D.REQUEST_RESP, change("KEMAC", mac_alg=1, mac=octets(20))),
    Case(
        "kemac-length",
        lambda: edited(good(D.PRE_SHARED), change("KEMAC", encr_data=bytes(65535))),
    ),
    case("key-wrap-length", D.PRE_SHARED, change("KEMAC", encr_alg=2, encr_data=bytes(20))),
    case("dhhmac-kemac", D.DHHMAC_INIT, change("KEMAC", encr_alg=1, encr_data=octets(20))),
    case(
        "key-short",
        D.RESOLVE_RESP,
        swap("KEMAC", clear_kemac(KeyData(type=0, key=octets(8), **SPI))),
        also=("ticket-keys-in-clear",),
    ),
    case("key-short", D.REQUEST_INIT_PSK, tp(swap("KEMAC", asks(ZERO.copy(key=bytes(8)))))),
    case(
        "key-without-spi",
        D.RESOLVE_RESP,
        swap("KEMAC", clear_kemac(KeyData(type=0, kv=0, key=octets(16)))),
        also=("ticket-keys-in-clear",),
    ),
    case("key-spi-twice", camera(swap("KEMAC", clear_kemac(tek(**SPI), tek(**SPI)))), also=NULL),
    case(
        "key-interval",
        camera(swap("KEMAC", clear_kemac(tek(kv=2, valid_from=b"\0", valid_to=b"\1")))),
        also=NULL,
    ),
    case(
        "key-interval",
        camera(
            swap("KEMAC", clear_kemac(tek(kv=2, valid_from=octets(6, 9), valid_to=octets(6, 1))))
        ),
        also=NULL,
    ),
    case("key-length", camera(swap("KEMAC", clear_kemac(tek(key=octets(20))))), also=NULL),
    case("key-length", camera(swap("KEMAC", clear_kemac(tek(salt=octets(8))))), also=NULL),
    case("policy-kemac", D.REQUEST_INIT_PSK, tp(swap("KEMAC", kemac(mac=0)))),
    case(
        "policy-key-not-zero",
        D.REQUEST_INIT_PSK,
        tp(swap("KEMAC", asks(ZERO.copy(key=octets(16))))),
    ),
    case("policy-key-type", D.REQUEST_INIT_PSK, tp(swap("KEMAC", asks(ZERO.copy(type=6))))),
    case(
        "tek-shared",
        D.TRANSFER_INIT,
        change("SP", protocol=241),
        insert(clear_kemac(tek(**SPI)), "V"),
        also=("initiator-keys", "policy-protocol", "policy-protocol", "ticket-keys-in-clear"),
    ),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(
    "key", [ZERO, ZERO.copy(kv=1, spi=octets(4)), ZERO.copy(type=3, salt=bytes(14))], ids=repr
)
def test_what_a_policy_may_ask_for(key: KeyData) -> None:
    assert codes(edited(good(D.REQUEST_INIT_PSK), tp(swap("KEMAC", asks(key))))) == []


def test_a_salt_is_for_srtp_to_derive_when_it_is_left_out() -> None:
    alone = clear_kemac(KeyData(type=2, kv=0, key=octets(16)))
    assert codes(camera(swap("KEMAC", alone))) == list(NULL)


def test_the_lengths_are_those_of_any_policy() -> None:
    long = camera(insert(sp(1, p1=32), "SP"), swap("KEMAC", clear_kemac(tek(key=octets(32)))))
    assert codes(long) == ["policy-unused", *NULL]


@pytest.mark.parametrize("kind", [D.PUBLIC_KEY, D.RSA_R_R_MSG])
def test_keys_in_the_clear_behind_an_identity(kind: D) -> None:
    clear = KEMAC(encr_alg=0, encr_data=build_chain([user(ALICE), tek()]))
    assert codes(edited(good(kind), swap("KEMAC", clear))) == ["keys-in-clear"]


def test_an_update_without_keys() -> None:
    assert codes(edited(good(D.PRE_SHARED), change("KEMAC", encr_data=b""))) == []
