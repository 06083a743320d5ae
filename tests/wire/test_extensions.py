"""What General Extension payloads hold, set by hand from RFC 4563 4, 4738 3.6 and 5410 3, and
from 3GPP TS 33.180 Annex E (interpretation 49)."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.wire.describe import compose, describe
from mikeytool.wire.errors import UsageError
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
    # 3GPP TS 33.180 E.5: a whole SAKKE payload, of which the next payload is ignored
    (6, "00 01 02 0003 aabbcc", {
        "next_payload": "Last payload", "next_payload_value": 0,
        "sakke_params": "Parameter Set 1", "sakke_params_value": 1,
        "id_scheme": "3GPP MCX hashed UID", "id_scheme_value": 2,
        "sakke_data_length": 3, "sakke_data": "aabbcc",
    }),
    (6, "1a 02 07 0000", {
        "next_payload": "SAKKE", "next_payload_value": 26,
        "sakke_params": "2", "sakke_params_value": 2, "id_scheme": "7", "id_scheme_value": 7,
        "sakke_data_length": 0, "sakke_data": "",
    }),
    (6, "00 01 02 0003 aabb", None),
    # E.6.1, in the clear: a CSK without groups, and a GMK for one group
    (7, "02 00000001 0000000000 0065000000 0005 68656c6c6f", {
        "key_type": "CSK", "key_type_value": 2, "status": "0x00000001",
        "activation_time": {"value": "0000000000", "utc": None},
        "expiry_time": {"value": "0065000000", "utc": "2023-09-12T06:06:56Z"},
        "text_length": 5, "text": "hello", "mc_group_ids": [],
    }),
    (7, "00 00000003 ffffffffff 0000000001 0000 000a 01 7b 0006 7369703a6778", {
        "key_type": "GMK", "key_type_value": 0, "status": "0x00000003",
        "activation_time": {"value": "ffffffffff", "utc": None},
        "expiry_time": {"value": "0000000001", "utc": "1970-01-01T00:00:01Z"},
        "text_length": 0, "text": "",
        "mc_group_ids": [{
            "group_ids_length": 10, "number_of_group_ids": 1,
            "group_ids": [{"iei": 123, "group_id_length": 6, "group_id": "sip:gx"}],
        }],
    }),
    # 8.5.4.1, encrypted: of type 3, under the key with the ID 0x10000001
    (7, "43 0065000000 00000000 00 01" + "11" * 16 + "10000001 78 0003 c0ffee", {
        "authenticated": False, "encrypted": True, "message_type": 3,
        "date_time": {"value": "0065000000", "utc": "2023-09-12T06:06:56Z"},
        "payload_id": 0, "payload_sequence_number": 0,
        "payload_algorithm": "AEAD_AES_128_GCM", "payload_algorithm_value": 1,
        "iv": "11" * 16, "dppk_id": "0x10000001", "payload_iei": 120, "payload_length": 3,
        "payload": "c0ffee",
    }),
    (7, "02 00000001 00", None),
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


def test_lengths_and_times_may_be_left_out() -> None:
    octets = "00 00000003 0065000000 0000000000 0000 000a 01 7b 0006 7369703a6778"
    message = HEADER + bytes.fromhex(f"00 07 001d {octets}")
    described = describe(Message.parse(message))
    content = described["payloads"][0]["content"]
    for name in ("text_length", "key_type_value"):
        del content[name]
    content["activation_time"] = {"utc": "2023-09-12T08:06:56+02:00"}
    content["mc_group_ids"] = [{"group_ids": [{"iei": 123, "group_id": "sip:gx"}]}]
    del described["payloads"][0]["data_length"]
    assert compose(described).build() == message


@pytest.mark.parametrize(
    "time",
    [{"value": "0000000005", "utc": "2023-09-12T08:06:56Z"}, {"utc": "1960-01-01T00:00:00Z"},
     {"utc": "2023-09-12T08:06:56"}, {"utc": "soon"}, 5],
)  # fmt: skip
def test_a_wrong_time(time: Any) -> None:
    message = HEADER + bytes.fromhex("00 07 0011 02 00000001 0000000000 0065000000 0000")
    described = describe(Message.parse(message))
    described["payloads"][0]["content"]["activation_time"] = time
    with pytest.raises(UsageError):
        compose(described)


def test_edited_content_wins() -> None:
    message = Message.parse(HEADER + bytes.fromhex("00 04 0004 00000001"))
    described = describe(message)
    described["payloads"][0]["content"]["csb_id"] = "0x00000002"
    assert compose(described).build() == HEADER + bytes.fromhex("00 04 0004 00000002")
