"""Each payload of MIKEY-IBAKE against octets set by hand from the diagrams of RFC 6267 6.1."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.wire.errors import WireError
from mikeytool.wire.generate_parser import parser
from mikeytool.wire.ibake import ECCPT, ESK, IBAKE, SK
from mikeytool.wire.message import Message
from tests.wire.samples import fields_of, read_flat

POINT = "c0" * 64
NO_VALIDITY = dict.fromkeys(
    ("spi_length", "spi", "vf_length", "valid_from", "vt_length", "valid_to")
)
LAYOUTS: list[tuple[Any, str, dict[str, Any]]] = [
    (IBAKE, "04 0003 aabbcc",
     {"next_payload": 4, "encr_data_len": 3, "encr_data": bytes.fromhex("aabbcc")}),
    (ESK, "00 0001 aa", {"next_payload": 0, "encr_data_len": 1, "encr_data": b"\xaa"}),
    (SK, "18 11 0002 aabb 04 00000009",
     {"next_payload": 24, "type": 1, "kv": 1, "key_data_len": 2, "key": b"\xaa\xbb",
      **NO_VALIDITY, "spi_length": 4, "spi": b"\0\0\0\x09"}),
    # Two octets, the first of the point, 64 of coordinates and one of padding are 68.
    (ECCPT, f"06 08 04 {POINT} 00 01 0010 00",
     {"next_payload": 6, "ecc_curve": 8, "point_form": 4, "ecc_point": b"\xc0" * 64 + b"\0",
      "auth_alg": 1, "tgk_len": 16, "reserved": 0, "kv": 0, **NO_VALIDITY}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "octets", "values"), LAYOUTS)
def test_octets_and_values(kind: Any, octets: str, values: dict[str, Any]) -> None:
    data = bytes.fromhex(octets)
    assert fields_of(read_flat(kind, data)) == values
    assert kind(**values).build() == data


@pytest.mark.parametrize(
    ("curve", "form", "length"),
    [(1, 4, 49), (2, 2, 21 + 0), (8, 2, 33), (8, 3, 33), (11, 4, 97), (14, 4, 133), (8, 0, 1)],
)
def test_a_point_ends_on_a_word(curve: int, form: int, length: int) -> None:
    """Padding of 0 to 3 octets: behind it, 3 octets and `length` are a multiple of four."""
    assert (3 + length) % 4 == 0
    data = bytes([0, curve, form]) + bytes(length) + bytes(4)
    point = read_flat(ECCPT, data)
    assert isinstance(point, ECCPT)
    assert len(point.ecc_point) == length


@pytest.mark.parametrize(("curve", "form"), [(0, 4), (17, 4), (255, 4), (8, 1), (8, 5)])
def test_a_point_of_unknown_length_is_refused(curve: int, form: int) -> None:
    with pytest.raises(WireError, match="length is unknown"):
        parser(ECCPT)(bytes([0, curve, form]) + bytes(200), 0, 203, None)


def test_a_first_message() -> None:
    """RFC 6267 4.2.2.1: HDR, T, RAND, IBAKE, and more that is read already."""
    data = bytes.fromhex("01 16 05 00 00000001 00 01  0b 02 00000007  16 01 aa  00 0002 abcd")
    message = Message.parse(data)
    assert [payload.label for payload in message.payloads] == ["T", "RAND", "IBAKE"]
    assert message.build() == data
