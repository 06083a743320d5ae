"""Every derivation of RFC 6043 against known answers and against OpenSSL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mikeytool.crypto.derive import (
    MessageKeys,
    fork_mpkr,
    fork_tgk,
    initiator_data_keys,
    message_keys,
    message_keys_3830,
    session_keys,
    split_mpk,
    ticket_keys,
)
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import EncrAlg, MacAlg
from tests.crypto import openssl
from tests.support import vectors

# What RFC 6043 chapter 12.1 puts together: PRF, encryption and MAC of 128 or of 256 bits
ENCR_ALG = {0: EncrAlg.AES_CM_128, 1: EncrAlg.AES_CM_256}
MAC_ALG = {0: MacAlg.HMAC_SHA_1_160, 1: MacAlg.HMAC_SHA_256_256}


def cases(what: str) -> pytest.MarkDecorator:
    found = [case for case in vectors("derivations") if case["what"].startswith(what)]
    assert found
    return pytest.mark.parametrize("case", found, ids=lambda case: f"prf-{case['prf']}")


def raw(case: dict[str, Any], *keys: str) -> Iterator[bytes]:
    return (bytes.fromhex(case[key]) for key in keys)


def message_keys_of(case: dict[str, Any]) -> MessageKeys:
    inkey, randr_i, randr_r = raw(case, "inkey", "randr_i", "randr_r")
    return message_keys(
        case["prf"],
        inkey,
        case["csb_id"],
        response=case["response"],
        randr_i=randr_i,
        randr_r=randr_r,
    )


def all_three(keys: MessageKeys) -> dict[str, str]:
    return {
        "encr_key": keys.encr_key(ENCR_ALG[keys.prf]).hex(),
        "auth_key": keys.auth_key(MAC_ALG[keys.prf]).hex(),
        "salt_key": keys.salt_key(ENCR_ALG[keys.prf]).hex(),
    }


def expected(case: dict[str, Any]) -> dict[str, str]:
    return {key: case[key] for key in ("encr_key", "auth_key", "salt_key")}


def test_every_known_answer_has_a_test() -> None:
    assert {case["what"] for case in vectors("derivations")} == {
        "message keys (5.1.2)",
        "session keys (5.1.3)",
        "forking (5.1.1)",
        "MPK split (A.2.2)",
        "ticket keys (A.2.1)",
        "Initiator Data key (6.10)",
    }


@cases("message keys")
def test_message_keys(case: dict[str, Any]) -> None:
    assert all_three(message_keys_of(case)) == expected(case)


@cases("ticket keys")
def test_ticket_keys(case: dict[str, Any]) -> None:
    assert all_three(ticket_keys(case["prf"], *raw(case, "tpk", "rand"))) == expected(case)


@cases("session keys")
def test_session_keys(case: dict[str, Any]) -> None:
    tgk, randr_i, randr_r = raw(case, "tgk", "randr_i", "randr_r")
    keys = session_keys(case["prf"], tgk, case["cs_id"], randr_i=randr_i, randr_r=randr_r)
    lengths = {key: len(case[key]) // 2 for key in ("tek", "salt", "encr_key", "auth_key")}
    made = {key: getattr(keys, key)(length).hex() for key, length in lengths.items()}
    assert made == {key: case[key] for key in lengths}


@cases("forking")
def test_forking(case: dict[str, Any]) -> None:
    inputs = list(raw(case, "key", "id_data", "randr_kms"))
    assert fork_mpkr(case["prf"], *inputs).hex() == case["mpkr_forked"]
    assert fork_tgk(case["prf"], *inputs).hex() == case["tgk_forked"]


@cases("MPK split")
def test_mpk_split(case: dict[str, Any]) -> None:
    mpki, mpkr = split_mpk(case["prf"], *raw(case, "mpk", "rand"))
    assert (mpki.hex(), mpkr.hex()) == (case["mpki"], case["mpkr"])


@cases("Initiator Data")
def test_initiator_data_key(case: dict[str, Any]) -> None:
    (mpkr,) = raw(case, "mpkr")
    keys = initiator_data_keys(case["prf"], mpkr)
    assert keys.auth_key(MAC_ALG[case["prf"]]).hex() == case["auth_key"]


@cases("message keys")
def test_openssl_derives_the_same_message_keys(case: dict[str, Any]) -> None:
    """The label of RFC 6043 5.1.2, put together by hand."""
    inkey, randr_i, randr_r = raw(case, "inkey", "randr_i", "randr_r")
    label = b"\xff" + case["csb_id"].to_bytes(4) + (b"\x02" if case["response"] else b"\x01")
    label += bytes([len(randr_i)]) + randr_i + bytes([len(randr_r)]) + randr_r
    sizes = {
        "encr_key": (openssl.ENCR, 32 if case["prf"] else 16),
        "auth_key": (openssl.AUTH, 32 if case["prf"] else 20),
        "salt_key": (openssl.SALT, 14),
    }
    made = {
        key: openssl.prf(case["prf"], inkey, constant + label, length).hex()
        for key, (constant, length) in sizes.items()
    }
    assert made == all_three(message_keys_of(case))


@pytest.mark.parametrize("mac_alg", [MacAlg.NULL, 3, 255])
def test_no_authentication_key_for_other_algorithms(mac_alg: int) -> None:
    with pytest.raises(Refused) as caught:
        message_keys(0, bytes(16), 1, response=False).auth_key(mac_alg)
    assert caught.value.error_no == 3  # Invalid MAC


def test_an_unknown_prf_is_refused() -> None:
    with pytest.raises(Refused) as caught:
        message_keys(9, bytes(16), 1, response=False).auth_key(MacAlg.HMAC_SHA_1_160)
    assert caught.value.error_no == 2  # Invalid PRF


SECRET = b"\xc0\xff\xee\x15\x5e\xc2\xe7"


@pytest.mark.parametrize(
    "keys",
    [
        message_keys(0, SECRET, 1, response=False),
        ticket_keys(0, SECRET, b""),
        initiator_data_keys(0, SECRET),
        session_keys(0, SECRET, 1),
    ],
)
def test_nothing_shows_a_key(keys: object) -> None:
    for shown in (repr(keys), str(keys), repr([keys])):
        assert repr(SECRET)[2:-1] not in shown
        assert SECRET.hex() not in shown


@pytest.mark.parametrize("length", [16, 32, 45])
@pytest.mark.parametrize("rand_length", [0, 16, 255])
def test_keys_of_messages_before_mikey_ticket(length: int, rand_length: int) -> None:
    """RFC 3830 4.1.4: the label ends with the RAND, whose length is not in it."""
    inkey, rand = bytes(range(length)), bytes(range(rand_length))
    keys = message_keys_3830(0, inkey, 0x5A17E3C4, rand)
    label = b"\xff" + bytes.fromhex("5a17e3c4") + rand
    assert keys.encr_key(EncrAlg.AES_KW_128) == openssl.prf(0, inkey, openssl.ENCR + label, 16)
    assert keys.auth_key(MacAlg.HMAC_SHA_1_160) == openssl.prf(0, inkey, openssl.AUTH + label, 20)
    assert keys.salt_key(EncrAlg.AES_CM_128) == openssl.prf(0, inkey, openssl.SALT + label, 14)
    assert keys.salt_key(EncrAlg.AES_KW_128) == openssl.prf(0, inkey, openssl.SALT + label, 8)
