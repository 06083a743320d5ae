"""How records are made, copied, compared and shown."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.wire.errors import UsageError
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import HDR, GenericIdEntry, SrtpIdEntry
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import (
    ERR,
    KEMAC,
    PKE,
    RAND,
    SIGN,
    SP,
    TP,
    KeyData,
    Payload,
    PolicyParam,
    T,
)

HEADER = HDR(data_type=0, prf=0, csb_id=1, cs_id_map_type=1, cs_id_map=[])


def test_a_name_that_is_no_field() -> None:
    with pytest.raises(TypeError, match="RAND has no field 'random'"):
        RAND(random=b"")  # type: ignore[call-arg]


def test_a_field_without_a_value() -> None:
    with pytest.raises(TypeError, match="RAND needs 'rand'"):
        RAND()  # type: ignore[call-arg]


def test_copies() -> None:
    first = RAND(next_payload=6, rand=b"a")
    second = first.copy(rand=b"bc")
    assert (first.rand, second.rand, second.next_payload) == (b"a", b"bc", 6)
    assert second.build() == bytes.fromhex("06 02 6263")


def test_equality() -> None:
    assert RAND(rand=b"a") == RAND(rand=b"a")
    assert RAND(rand=b"a") != RAND(rand=b"b")
    assert RAND(rand=b"a") != T(ts_type=0, ts_value=b"a")
    assert PKE(c=1, data=b"") != PKE(c=2, data=b"")


def test_fields_stand_in_wire_order() -> None:
    """Inherited ones in front, the key validity behind."""
    assert list(KeyData.fields) == [
        "next_payload",
        "type",
        "kv",
        "key_data_len",
        "key",
        "salt_len",
        "salt",
        "spi_length",
        "spi",
        "vf_length",
        "valid_from",
        "vt_length",
        "valid_to",
    ]


@pytest.mark.parametrize(
    ("record", "octets"),
    [
        (RAND(next_payload=0, rand_len=9, rand=b"ab"), "00 09 6162"),
        (KEMAC(next_payload=0, encr_alg=0, encr_data_len=0, encr_data=b"ab"), "00 00 0000 6162 00"),
        (PKE(next_payload=0, c=1, data_len=16383, data=b"a"), "00 7fff 61"),
        (SIGN(s_type=1, signature_len=0, signature=b"a"), "1000 61"),
        (
            SP(
                next_payload=0,
                policy_no=1,
                protocol=0,
                policy_param_length=65535,
                policy_param=[PolicyParam(type=1, length=7, value=b"")],
            ),
            "00 01 00 ffff 01 07",
        ),
        (
            GenericIdEntry(
                cs_id=1,
                protocol=0,
                policy_count=5,
                policies=[1],
                session_data_length=2,
                session_data=b"",
                spi_length=1,
                spi=b"abc",
            ),
            "01 00 05 01 0002 01 616263",
        ),
        # A value of another length than its type implies is written too.
        (T(next_payload=0, ts_type=0, ts_value=b"abc"), "00 00 616263"),
        (T(next_payload=0, ts_type=99, ts_value=b"abc"), "00 63 616263"),
    ],
)
def test_wrong_on_purpose(record: Record, octets: str) -> None:
    assert record.build() == bytes.fromhex(octets)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (T(ts_type=256, ts_value=b""), "T cannot be written: .*256"),
        (RAND(rand=bytes(256)), "RAND cannot be written: .*256"),
        (RAND(rand_len=256, rand=b""), "RAND cannot be written: .*256"),
        (RAND(next_payload=256, rand=b""), "RAND cannot be written: .*256"),
        (RAND(next_payload=-1, rand=b""), "RAND cannot be written: .*-1"),
        (KEMAC(encr_alg=0, encr_data=bytes(65536)), "KEMAC cannot be written: .*65536"),
        (PKE(c=4, data=b""), "PKE cannot be written: .*out of range"),
        (PKE(data=bytes(16384)), "PKE cannot be written: .*out of range"),
        (SIGN(s_type=16, signature=b""), "SIGN cannot be written: .*out of range"),
        (SIGN(s_type=0, signature=bytes(4096)), "SIGN cannot be written: .*out of range"),
        (ERR(error_no=0, reserved=65536), "ERR cannot be written: .*65536"),
        (
            SP(policy_no=1, protocol=0, policy_param=[PolicyParam(type=1, value=bytes(256))]),
            "SP cannot be written: .*256",
        ),
        (
            SP(policy_no=1, protocol=0, policy_param=[PolicyParam(type=1, value=bytes(255))] * 256),
            "SP cannot be written: .*65792",
        ),
        (
            TP(ticket_type=1, subtype=1, version=1, prf=0, flags=4096, tp_data=b""),
            "TP cannot be written: .*out of range",
        ),
        (
            TP(ticket_type=65536, subtype=1, version=1, prf=0, flags=0, tp_data=b""),
            "TP cannot be written: .*65536",
        ),
    ],
)
def test_what_does_not_fit_is_refused(payload: Payload, text: str) -> None:
    with pytest.raises(UsageError, match=text) as caught:
        Message(HEADER, [payload]).build()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "payload",
    [
        KeyData(type=3, kv=0, key=bytes(16)),
        KeyData(type=0, kv=1, key=bytes(16)),
        KeyData(type=0, kv=2, key=bytes(16), valid_from=b""),
        KeyData(type=8, kv=0, key=bytes(16)),
    ],
    ids=["no-salt", "no-SPI", "no-end", "unknown-type"],
)
def test_a_key_that_lacks_something_is_refused(payload: KeyData) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        Message(HEADER, [payload]).build()


SECRET = b"\xc0\xff\xee\x15\x5e\xc2\xe7"


def holders() -> list[Any]:
    key = KeyData(type=3, kv=1, key=SECRET, salt=SECRET, spi=b"\xab\xcd")
    kemac = KEMAC(encr_alg=0, encr_data=key.copy(next_payload=0).build())
    message = Message(HEADER, [kemac])
    return [key, kemac, PKE(data=SECRET), message, Message.parse(message.build())]


@pytest.mark.parametrize("holder", holders(), ids=lambda holder: type(holder).__name__)
def test_nothing_shows_a_key(holder: Any) -> None:
    for shown in (repr(holder), str(holder), f"{holder}", repr([holder])):
        assert repr(SECRET)[2:-1] not in shown
        assert SECRET.hex() not in shown
        assert str(list(SECRET))[1:-1] not in shown


def test_a_record_shows_its_values() -> None:
    key = holders()[0]
    assert repr(key) == (
        "KeyData(type=KeyType.TEK_SALT, kv=KeyValidity.SPI, key=<7 octets>, salt=<7 octets>,"
        " spi=abcd)"
    )
    assert repr(SrtpIdEntry(policy_no=1, ssrc=0xABCD, roc=0)) == (
        "SrtpIdEntry(policy_no=1, ssrc=0xabcd, roc=0)"
    )
    assert "encr_data=<23 octets>" in repr(holders()[1])


def test_errors_show_no_key() -> None:
    """Not even where a value of the wrong type was given."""
    wrong: Any = SECRET.hex()
    kemac = KEMAC(encr_alg=0, encr_data_len=7, encr_data=wrong)
    with pytest.raises(UsageError) as caught:
        Message(HEADER, [kemac]).build()
    assert SECRET.hex() not in str(caught.value)
