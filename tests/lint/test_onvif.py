from __future__ import annotations

from base64 import b64decode
from typing import Any

import pytest

from mikeytool.lint import Profile
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.payloads import KeyData, PolicyParam
from tests.lint.messages import (
    Case,
    camera,
    case,
    clear_kemac,
    codes,
    edited,
    header,
    insert,
    kemac,
    octets,
    sp,
    swap,
    user,
    without,
)

O = Profile.ONVIF  # noqa: E741
NO_PLAYER = ("onvif-live555",)
LONGER = ("key-length", "onvif-salt")


def key(**changes: Any) -> KeyData:
    values: dict[str, Any] = {"type": 2, "kv": 1, "key": octets(30), "spi": octets(4)}
    return KeyData(**values | changes)


def with_keys(*keys: KeyData) -> bytes:
    return camera(swap("KEMAC", clear_kemac(*keys)))


GOOD = with_keys(key())
AEAD = {"p0": 6, "p2": 0, "p3": None, "p4": 12, "p10": None, "p11": None, "p20": 16}
SALTED = key(type=3, key=octets(16), salt=octets(12))


ENTRY = GenericIdEntry(cs_id=1, protocol=0, policies=[0], session_data=octets(4), spi=b"")


def made(code: str, base: bytes, *edits: object, also: tuple[str, ...] = ()) -> Case:
    return case(code, base, *edits, also=also, profile=O)  # type: ignore[arg-type]


CASES = [
    made(
        "onvif-mode",
        GOOD,
        header(data_type=4),
        also=("payload-missing", "payload-missing", "payload-unexpected"),
    ),
    made(
        "onvif-map",
        GOOD,
        header(
            cs_id_map_type=2,
            cs_id_map=[ENTRY],
        ),
    ),
    made("onvif-policy-missing", GOOD, without("SP"), also=("policy-left-out",)),
    made("onvif-suite", GOOD, swap("SP", sp(0, p11=4)), also=NO_PLAYER),
    made("onvif-suite", GOOD, swap("SP", sp(0, p8=0)), also=("srtp-not-encrypted",)),
    made(
        "onvif-suite", GOOD, swap("SP", sp(0, p1=32)), also=(*NO_PLAYER, "key-length", "onvif-salt")
    ),
    made("onvif-encrypted", GOOD, swap("KEMAC", kemac(mac=0)), also=NO_PLAYER),
    made("onvif-key-type", with_keys(key(type=0)), also=NO_PLAYER),
    made("onvif-key-form", with_keys(key(type=3, key=octets(16), salt=octets(14))), also=NO_PLAYER),
    made("onvif-salt", with_keys(key(key=octets(16))), also=NO_PLAYER),
    made("onvif-mki", with_keys(key(kv=0, spi=None)), also=NO_PLAYER),
    made("onvif-one-key", with_keys(key(), key(spi=octets(4, 5)))),
    made("onvif-live555", GOOD, insert(user(b"sip:a@b"), "SP")),
    made("onvif-live555", with_keys(key(spi=b"\1"))),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


def test_nothing_is_wrong_with_what_onvif_asks_for() -> None:
    assert codes(GOOD, profile=O) == []
    for length in (16, 32):
        aead = edited(GOOD, swap("SP", sp(0, **{**AEAD, "p1": length})))
        salted = SALTED.copy(key=octets(length))
        data = edited(aead, swap("KEMAC", clear_kemac(salted)))
        assert set(codes(data, profile=O)) == set(NO_PLAYER)


EXAMPLES = (
    "AQAFAP1td9ABAADCD1UcAAAAAAoAAdOOGc75XD0BAAAAGAABAQEBEAIBAQMBFAcBAQgBAQoBAQsBCgAAACcAIQAe30C59U"
    "rClE0e27UP5h/Wty9UL8+dfzg+2ttmmo3kBAAAAC8A",
    "AQAFAGgCr8EBAADSvxgkAAAAAAoAAdOOK7UihqIBAAAAGAABAQEBEAIBAQMBFAcBAQgBAQoBAQsBCgAAACcAIQAepekjs88g"
    "+Q7AU6LAvRsoVyn18ZW1JuXI9qht4g6+BAAAAAIA",
    "AQAFAGrVolgBAADdBcAoAAAAAAsA2/K83QArhBIKEGrVolg1GZvp7DPyFCdYmXABAAAAGwABAQEBEAIBAQMBFAQBDgcBAQgB"
    "AQoBAQsBCgAAACcAIQAe7OzS5umZMXHqaegZC3UkDwbC5NNpj4b8+fB6MROeBAAAAA0A",
)


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_of_the_specification(text: str) -> None:
    """SETUP, SET_PARAMETER and GET_PARAMETER; the first two have a FILETIME."""
    found = set(codes(b64decode(text), profile=O))
    assert found <= {"quirk-filetime", "time-past", "time-future"}


def test_a_message_for_rekeying_leaves_out_the_policy() -> None:
    assert codes(edited(GOOD, without("SP", "RAND")), profile=O) == []


def test_the_profile_is_asked_for() -> None:
    for broken in CASES:
        assert not [code for code in codes(broken.data()) if code.startswith("onvif")]


def test_a_parameter_that_live555_does_not_know_is_no_matter() -> None:
    policy = sp()
    policy.policy_param.append(PolicyParam(type=6, value=b"\0"))
    assert codes(edited(GOOD, swap("SP", policy)), profile=O) == []
