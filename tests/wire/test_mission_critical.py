"""MIKEY-SAKKE messages of mission-critical systems (3GPP TS 33.180, interpretation 49)."""

from __future__ import annotations

import pytest

from mikeytool.wire.describe import compose, describe
from mikeytool.wire.message import Message

SIGN = "2002 dddd"


def message(csb_id: str, after_rand: str) -> bytes:
    """HDR, T and RAND, then what is given; each part begins with its own number."""
    return bytes.fromhex(f"01 1a 05 01 {csb_id} 00 01  0b 00 0000000000000000  {after_rand}")


def sakke(scheme: str, csb_id: str = "20000001") -> bytes:
    return message(csb_id, f"1a 01 aa  04 01 {scheme} 0001 61 {SIGN}")


@pytest.mark.parametrize(
    ("csb_id", "name", "number"),
    [
        ("00000001", "GMK", 0),
        ("1fffffff", "PCK", 1),
        ("20000001", "CSK", 2),
        ("f0000000", "15", 15),
    ],
)
def test_the_purpose_stands_in_the_csb_id(csb_id: str, name: str, number: int) -> None:
    described = describe(Message.parse(sakke("02", csb_id)))
    assert described["key_purpose"] == name
    assert described["key_purpose_value"] == number
    assert compose(described).build() == sakke("02", csb_id)


@pytest.mark.parametrize(
    "data",
    [
        # IDRuidi
        message("20000001", f"0e 01 aa  1a 08 01 0002 abcd  04 01 01 0001 61 {SIGN}"),
        # SAKKE-to-self
        message("20000001", f"1a 01 aa  15 01 01 0001 61  04 06 0006 00 01 02 0001 61 {SIGN}"),
    ],
)
def test_any_number_of_3gpp_tells(data: bytes) -> None:
    assert describe(Message.parse(data))["key_purpose"] == "CSK"


def test_other_messages_have_none() -> None:
    """RFC 6509 gives the CSB ID no meaning."""
    assert "key_purpose" not in describe(Message.parse(sakke("01")))
    plain = bytes.fromhex("01 00 00 00 20000001 00 01")
    assert "key_purpose" not in describe(Message.parse(plain))
