from __future__ import annotations

import pytest

from tests.lint.messages import (
    FORKED_256,
    PLAIN,
    Case,
    D,
    case,
    change,
    codes,
    edited,
    good,
    header,
    inside,
    octets,
    sp,
    swap,
    ticket,
    tp,
    v,
    vector,
)

PLAIN_INIT = vector("TRANSFER_INIT", PLAIN)
R_INIT_256 = vector("RESOLVE_INIT_PSK", FORKED_256)
CASES = [
    case("mixed-strength", D.PRE_SHARED, change("KEMAC", mac_alg=2, mac=octets(32))),
    case("mixed-strength", D.PRE_SHARED, change("KEMAC", encr_alg=3)),
    case("mixed-strength", D.PRE_SHARED, header(prf=1)),
    case("mixed-strength", D.TRANSFER_RESP, swap("V", v(2))),
    case("mixed-strength", D.RESOLVE_INIT_PSK, change("TICKET", prf=1), also=("rand-short",)),
    case("mixed-strength", D.REQUEST_RESP, ticket(change("KEMAC", encr_alg=3))),
    case("long-key", D.TRANSFER_INIT, swap("SP", sp(0, p1=32))),
    case(
        "long-key",
        D.REQUEST_INIT_PSK,
        tp(inside("KEMAC", "encr_data", change("Key data", key=bytes(32)))),
    ),
    case("rand-short", D.REQUEST_INIT_PSK, change("RANDRi", rand=octets(15))),
    case("rand-short", D.RESOLVE_INIT_PSK, change("RANDRr", rand=octets(15))),
    case("rand-short", PLAIN_INIT, change("RANDRi", rand=octets(15))),
    case("rand-short", D.RESOLVE_RESP, change("RANDRkms", rand=octets(15))),
    case("rand-short", D.REQUEST_RESP, ticket(change("RAND", rand=octets(15)))),
    case(
        "rand-short",
        D.TRANSFER_RESP,
        change("RANDRr", rand=octets(7)),
        init=edited(good(D.TRANSFER_INIT), change("RANDRi", rand=octets(8))),
    ),
    # interpretation 40: keys of the 256-bit profile have 32 octets
    case("rand-short", R_INIT_256, change("RANDRr", rand=octets(31))),
    case("rand-short", vector("RESOLVE_RESP", FORKED_256), change("RANDRkms", rand=octets(16))),
    case("rand-short", vector("REQUEST_RESP", FORKED_256), ticket(change("RAND", rand=octets(16)))),
    case(
        "rand-short",
        vector("TRANSFER_RESP", FORKED_256),
        change("RANDRr", rand=octets(15)),
        init=edited(vector("TRANSFER_INIT", FORKED_256), change("RANDRi", rand=octets(16))),
    ),
    case("rand-alone-short", D.PRE_SHARED, change("RAND", rand=octets(8))),
    case("rand-alone-short", D.TRANSFER_INIT, change("RANDRi", rand=octets(8))),
    case("rand-repeated", D.PRE_SHARED, change("RAND", rand=bytes(16))),
    case(
        "signature-sha1",
        D.DH_INIT,
        header(prf=0),
    ),
    case("rsa-short", D.DH_INIT, change("SIGN", signature=octets(128))),
    case("rsa-short", D.RSA_R_R_MSG, change("PKE", data=octets(128))),
    Case("chash-weak", lambda: _with_chash(0, 20)),
    Case("chash-weak", lambda: _with_chash(1, 16)),
    case("dh-weak", D.DH_INIT, change("DH", dh_group=2, dh_value=octets(128))),
    case("dh-value", D.DH_INIT, change("DH", dh_value=bytes(191) + b"\1")),
]


def _with_chash(func: int, length: int) -> bytes:
    from mikeytool.wire.payloads import CHASH
    from tests.lint.messages import insert

    chash = CHASH(hash_func=func, hash=octets(length))
    return edited(good(D.PUBLIC_KEY), insert(chash, "PKE"))


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


def test_sha_256_in_chash() -> None:
    assert codes(_with_chash(2, 32)) == []


def test_long_keys_go_with_the_256_bit_profile() -> None:
    init = vector("TRANSFER_INIT", FORKED_256)
    assert codes(edited(init, swap("SP", sp(0, p1=32)))) == []


def test_hmac_sha_1_of_srtp_goes_with_the_256_bit_profile() -> None:
    assert codes(edited(vector("TRANSFER_INIT", FORKED_256), swap("SP", sp()))) == []


def test_two_rands_may_make_up_for_each_other() -> None:
    init = edited(good(D.TRANSFER_INIT), change("RANDRi", rand=octets(8)))
    answer = edited(good(D.TRANSFER_RESP), change("RANDRr", rand=octets(8)))
    assert codes(answer, init) == []
    init = edited(vector("TRANSFER_INIT", FORKED_256), change("RANDRi", rand=octets(16)))
    answer = edited(vector("TRANSFER_RESP", FORKED_256), change("RANDRr", rand=octets(16)))
    assert codes(init) == codes(answer, init) == []
