"""The SAKKE payload against octets set by hand from the diagram of RFC 6509 4.2."""

from __future__ import annotations

from mikeytool.wire.message import Message
from mikeytool.wire.sakke import SAKKE
from tests.wire.samples import fields_of, read_flat

OCTETS = bytes.fromhex("04 01 01 0003 aabbcc")


def test_octets_and_values() -> None:
    payload = read_flat(SAKKE, OCTETS)
    assert fields_of(payload) == {
        "next_payload": 4,
        "sakke_params": 1,
        "id_scheme": 1,
        "sakke_data_length": 3,
        "sakke_data": bytes.fromhex("aabbcc"),
    }
    assert payload.build() == OCTETS


def test_a_message() -> None:
    """RFC 6509 2.1: HDR, T, RAND, IDRi, SAKKE, SIGN."""
    data = bytes.fromhex(
        "01 1a 05 00 00000001 00 01  0b 00 0000000000000000  0e 01 aa  1a 01 01 0001 61"
    )
    message = Message.parse(data + OCTETS + bytes.fromhex("2002 dddd"))
    assert [payload.label for payload in message.payloads] == ["T", "RAND", "IDR", "SAKKE", "SIGN"]
