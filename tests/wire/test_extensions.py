"""What General Extension payloads hold, set by hand from RFC 4563 4, 4738 3.6 and 5410 3."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.wire.describe import compose, describe
from mikeytool.wire.message import Message

HEADER = bytes.fromhex("01 00 15 00 00000001 00 01")

CONTENTS: list[tuple[int, str, Any]] = [
    (0, "41636d65", {"vendor_id": "Acme"}),
    (0, "ff00", {"vendor_id_hex": "ff00"}),
    (1, "6d696b6579", {"sdp_ids": "mikey"}),
    (2, "0102", None),
    (3, "00 03 010203  01 04 00000007", {"key_ids": [
        {"key_id_type": "MBMS Key Domain ID", "key_id_type_value": 0, "key_id_length": 3,
         "key_id": "010203"},
        {"key_id_type": "MBMS Service Key ID", "key_id_type_value": 1, "key_id_length": 4,
         "key_id": "00000007"},
    ]}),
    (3, "", {"key_ids": []}),
    (3, "00 09 01", None),
    (4, "000000ff", {"csb_id": "0x000000ff"}),
    (4, "000000", None),
    (5, "02 abcdef", {"subtype": "STKM", "subtype_value": 2, "subtype_data": "abcdef"}),
    (5, "f1", {"subtype": "241", "subtype_value": 241, "subtype_data": ""}),
    (241, "abcd", None),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "data", "content"), CONTENTS)
def test_content(kind: int, data: str, content: Any) -> None:
    octets = bytes.fromhex(data)
    message = HEADER + bytes([0, kind]) + len(octets).to_bytes(2) + octets
    payload = describe(Message.parse(message))["payloads"][0]
    assert payload["content"] == content
    assert payload["data"] == octets.hex()
    del payload["data_length"]
    if content is not None:
        del payload["data"]
    described = {**describe(Message.parse(message)), "payloads": [payload]}
    assert compose(described).build() == message


def test_edited_content_wins() -> None:
    message = Message.parse(HEADER + bytes.fromhex("00 04 0004 00000001"))
    described = describe(message)
    described["payloads"][0]["content"]["csb_id"] = "0x00000002"
    assert compose(described).build() == HEADER + bytes.fromhex("00 04 0004 00000002")
