"""HDR and its three CS ID maps, against octets set by hand."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.generate_parser import parser
from mikeytool.wire.header import HDR, GenericIdEntry, SrtpIdEntry, srtp_session_data
from mikeytool.wire.message import Message
from tests.wire.samples import fields_of, read_flat


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def fields(**more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "data_type": 0,
        "next_payload": 5,
        "v": 0,
        "prf": 0,
        "csb_id": 0x12345678,
        "cs_count": 0,
        "cs_id_map_type": 0,
        "cs_id_map": [],
        **more,
    }


def entry(cs_id: int, **more: Any) -> dict[str, Any]:
    return {
        "cs_id": cs_id,
        "protocol": 0,
        "s": 0,
        "policy_count": 0,
        "policies": [],
        "session_data_length": 0,
        "session_data": b"",
        "spi_length": 0,
        "spi": b"",
        **more,
    }


HEADERS = {
    # RFC 3830 6.1: version, data type, next payload, V and PRF func, CSB ID, #CS, map type
    "no-crypto-session": ("01 00 05 00 12345678 00 00", fields()),
    "V": ("01 04 05 80 12345678 00 00", fields(data_type=4, v=1)),
    "PRF": ("01 0e 05 01 12345678 00 00", fields(data_type=14, prf=1)),
    "V-and-all-PRF-bits": ("01 00 05 ff 12345678 00 00", fields(v=1, prf=127)),
    "another-version": ("02 00 05 00 12345678 00 00", fields(version=2)),
    # RFC 3830 6.1.1: policy number, SSRC, ROC, one after the other
    "SRTP-ID": (
        "01 00 05 00 12345678 02 00  01 deadbeef 00000007  02 00000000 00010000",
        fields(
            cs_count=2,
            cs_id_map=[
                {"policy_no": 1, "ssrc": 0xDEADBEEF, "roc": 7},
                {"policy_no": 2, "ssrc": 0, "roc": 65536},
            ],
        ),
    ),
    # RFC 4563 5: nothing stands behind the map type, whatever #CS says
    "Empty-map": ("01 00 05 00 12345678 00 01", fields(cs_id_map_type=1)),
    "Empty-map-with-count": (
        "01 00 05 00 12345678 03 01",
        fields(cs_id_map_type=1, cs_count=3),
    ),
    # RFC 6043 6.1.1: CS ID, protocol, S and #P, policies, session data, SPI
    "GENERIC-ID-bare": (
        "01 0e 05 00 12345678 01 02  07 00 00 0000 00",
        fields(data_type=14, cs_count=1, cs_id_map_type=2, cs_id_map=[entry(7)]),
    ),
    "GENERIC-ID": (
        "01 0e 05 00 12345678 02 02"
        "  01 00 02 0304 0004 11111111 04 00000002"
        "  02 00 81 05 000a 22222222 00000009 fffe 01 aa",
        fields(
            data_type=14,
            cs_count=2,
            cs_id_map_type=2,
            cs_id_map=[
                entry(
                    1,
                    policy_count=2,
                    policies=[3, 4],
                    session_data_length=4,
                    session_data=raw("11111111"),
                    spi_length=4,
                    spi=raw("00000002"),
                ),
                entry(
                    2,
                    s=1,
                    policy_count=1,
                    policies=[5],
                    session_data_length=10,
                    session_data=raw("2222222200000009fffe"),
                    spi_length=1,
                    spi=b"\xaa",
                ),
            ],
        ),
    ),
}

every_header = pytest.mark.parametrize(("octets", "values"), HEADERS.values(), ids=list(HEADERS))


def made(values: dict[str, Any]) -> HDR:
    kind = GenericIdEntry if values["cs_id_map_type"] == 2 else SrtpIdEntry
    return HDR(**values | {"cs_id_map": [kind(**item) for item in values["cs_id_map"]]})


@every_header
def test_octets_give_the_values(octets: str, values: dict[str, Any]) -> None:
    assert fields_of(read_flat(HDR, raw(octets))) == values


@every_header
def test_construct_gives_the_values(octets: str, values: dict[str, Any]) -> None:
    assert fields_of(HDR.parse(raw(octets))) == values


@every_header
def test_values_give_the_octets(octets: str, values: dict[str, Any]) -> None:
    assert made(values).build() == raw(octets)


@every_header
def test_counts_and_lengths_are_made_right(octets: str, values: dict[str, Any]) -> None:
    made_right = ("cs_count", "policy_count", "session_data_length", "spi_length")
    kept = {key: value for key, value in values.items() if key not in made_right}
    kept["cs_id_map"] = [
        {key: value for key, value in item.items() if key not in made_right}
        for item in values["cs_id_map"]
    ]
    if values["cs_id_map_type"] == 1:  # a map without entries says nothing about #CS
        kept["cs_count"] = values["cs_count"]
    assert made(kept).build() == raw(octets)


@every_header
def test_every_octet_is_needed(octets: str, values: dict[str, Any]) -> None:
    data = raw(octets)
    for cut in range(len(data)):
        with pytest.raises(WireError):
            parser(HDR)(data, 0, cut, None)
        with pytest.raises(WireError):
            Message.parse(data[:cut])


@pytest.mark.parametrize("map_type", [3, 255])
def test_an_unknown_map_is_refused(map_type: int) -> None:
    data = raw("01 00 05 00 12345678 01") + bytes([map_type]) + bytes(20)
    with pytest.raises(WireError, match=f"unknown type {map_type}") as caught:
        Message.parse(data)
    assert (caught.value.payload, caught.value.offset) == ("HDR", 10)


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"version": 256}, "256"),
        ({"data_type": -1}, "-1"),
        ({"next_payload": 256}, "256"),
        ({"v": 2}, "out of range"),
        ({"prf": 128}, "out of range"),
        ({"csb_id": 1 << 32}, "4294967296"),
        ({"cs_count": 256}, "256"),
        ({"cs_id_map": [SrtpIdEntry(policy_no=0, ssrc=0, roc=0)] * 256}, "256"),
        ({"cs_id_map": [SrtpIdEntry(policy_no=256, ssrc=0, roc=0)]}, "256"),
        ({"cs_id_map": [SrtpIdEntry(policy_no=0, ssrc=1 << 32, roc=0)]}, "4294967296"),
    ],
)
def test_what_does_not_fit_is_refused(more: dict[str, Any], text: str) -> None:
    values = {key: value for key, value in fields().items() if key != "cs_count"}
    with pytest.raises(UsageError, match=f"HDR cannot be written: .*{text}"):
        Message(HDR(**values | more), []).build()


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"policies": [0] * 128}, "out of range"),
        ({"policies": [256]}, "256"),
        ({"spi": bytes(256)}, "256"),
        ({"session_data": bytes(65536)}, "65536"),
        ({"s": 2}, "out of range"),
    ],
)
def test_what_does_not_fit_an_entry_is_refused(more: dict[str, Any], text: str) -> None:
    values: dict[str, Any] = {"policies": [], "session_data": b"", "spi": b"", **more}
    header = HDR(
        data_type=14,
        prf=0,
        csb_id=1,
        cs_id_map_type=2,
        cs_id_map=[GenericIdEntry(cs_id=1, protocol=0, **values)],
    )
    with pytest.raises(UsageError, match=text):
        Message(header, []).build()


def test_a_wrong_count_is_written_as_given() -> None:
    header = made(fields(cs_count=9, cs_id_map=[{"policy_no": 1, "ssrc": 2, "roc": 3}]))
    assert header.build() == raw("01 00 05 00 12345678 09 00 01 00000002 00000003")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"session_data": raw("deadbeef")}, (0xDEADBEEF, None, None)),
        ({"s": 1, "session_data": raw("deadbeef00000007fffe")}, (0xDEADBEEF, 7, 65534)),
        # Without the S flag there is no ROC, whatever follows.
        ({"session_data": raw("deadbeef00000007fffe")}, (0xDEADBEEF, None, None)),
        ({"s": 1, "session_data": raw("deadbeef")}, (0xDEADBEEF, None, None)),
        ({"session_data": b""}, None),
        ({"session_data": raw("dead")}, None),
        ({"protocol": 241, "session_data": raw("deadbeef")}, None),
    ],
)
def test_session_data_of_srtp(more: dict[str, Any], expected: Any) -> None:
    assert srtp_session_data(GenericIdEntry(**entry(1) | more)) == expected
