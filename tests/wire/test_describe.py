"""What `--json` says of a message is the message: read back, it is the same, octet for octet."""

# ruff: noqa: E501 - a row for each case

from __future__ import annotations

import hashlib
import json
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mikeytool.wire.describe import compose, describe, describe_text, schema
from mikeytool.wire.errors import UsageError
from mikeytool.wire.header import HDR
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import PAYLOADS, RAND, Payload
from tests.wire.mutations import mutated
from tests.wire.samples import COMMITTED, SAMPLES, every_sample
from tests.wire.strategies import RECORDS

VALIDATOR = jsonschema.Draft202012Validator(schema())
OFFER = next(one.data for one in COMMITTED if one.name.endswith("TRANSFER_INIT"))
Json = dict[str, Any]


def through_json(message: Message, *, show_keys: bool = False) -> Json:
    described: Json = json.loads(describe_text(message, show_keys=show_keys))
    assert described == describe(message, show_keys=show_keys)
    return described


# --- Both ways ------------------------------------------------------------------------------


@every_sample
@pytest.mark.parametrize("show_keys", [False, True])
def test_a_message_is_its_description(data: bytes, show_keys: bool) -> None:
    described = through_json(Message.parse(data), show_keys=show_keys)
    assert compose(described).build() == data
    VALIDATOR.validate(described)


@pytest.mark.parametrize("sample", COMMITTED[:3] + SAMPLES[-1:], ids=lambda sample: sample.name)
def test_a_message_cut_off_anywhere_is_its_description(sample: Any) -> None:
    for end in range(1, len(sample.data)):
        data = sample.data[:end]
        described = through_json(Message.read(data))
        assert compose(described).build() == data
        assert described["error"]
        if end % 16 < 2:
            VALIDATOR.validate(described)


@settings(max_examples=400, deadline=None)
@given(mutated(), st.booleans())
def test_a_broken_message_is_its_description(data: bytes, show_keys: bool) -> None:
    described = through_json(Message.read(data), show_keys=show_keys)
    assert compose(described).build() == data


@settings(max_examples=50, deadline=None)
@given(mutated())
def test_a_broken_message_is_as_the_schema_says(data: bytes) -> None:
    VALIDATOR.validate(describe(Message.read(data)))


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=200))
def test_any_octets_are_their_description(data: bytes) -> None:
    assert compose(through_json(Message.read(data))).build() == data


@pytest.mark.parametrize(
    ("protocol", "kind"), [(0, 0), (0, 2), (0, 5), (0, 9), (0, 14), (0, 15), (1, 1), (1, 3)]
)
@pytest.mark.parametrize("value", ["", "01", "0001", "05f5e100", "ff" * 9, "00" * 255])
def test_an_enumerated_parameter_of_any_length(protocol: int, kind: int, value: str) -> None:
    """RFC 3830 6.10 and RFC 4442 4.2: values of these have one octet; others are kept."""
    size = len(value) // 2
    policy = f"0000{protocol:02x}{size + 2:04x}{kind:02x}{size:02x}{value}"
    data = bytes.fromhex(HEADER.format("0a", "00") + policy)
    described = through_json(Message.parse(data))
    assert compose(described).build() == data
    meaning = described["payloads"][0]["policy_param"][0]["meaning"]
    assert (meaning is None) == (size not in (1, 2))


TEK = "00 20 0002 abcd"
IDI = "14 01 0005 7369703a61"


@pytest.mark.parametrize(
    ("inside", "keys", "named", "error"),
    [
        (TEK, ["TEK"], None, None),
        (f"14{TEK[2:]} {TEK}", ["TEK", "TEK"], None, None),
        (f"{IDI} {TEK}", ["TEK"], "sip:a", None),
        (f"{IDI} 14{TEK[2:]} {TEK}", ["TEK", "TEK"], "sip:a", None),
        (f"14{TEK[2:]} 00 20 0009 abcd", ["TEK"], None, "key takes 9 octets, 2 are left"),
        (f"14{TEK[2:]} 00 c0 0001 ab", ["TEK"], None, "type 12 is unknown"),
        (f"{TEK} ff", ["TEK"], None, "1 octet stands behind the last payload"),
    ],
)
@pytest.mark.parametrize("show_keys", [False, True])
def test_keys_in_the_clear(
    inside: str, keys: list[str], named: str | None, error: str | None, show_keys: bool
) -> None:
    """RFC 3830 6.2 and 6.13; in the public-key methods IDi is first (3.2)."""
    octets = bytes.fromhex(inside)
    kemac = f"00 00 {len(octets):04x} {octets.hex()} 00"
    data = bytes.fromhex(HEADER.format("01", "00") + kemac)
    described = through_json(Message.parse(data), show_keys=show_keys)
    VALIDATOR.validate(described)
    found = described["payloads"][0]
    assert [key["type"] for key in found["keys"]] == keys
    assert (found.get("keys_id") or {}).get("id") == named
    assert (error or "") in found.get("keys_error", "")
    assert ("keys_error" in found) == (error is not None)
    assert compose(described).build() == data


def test_keys_behind_an_identity_can_be_edited() -> None:
    octets = bytes.fromhex(f"{IDI} {TEK}")
    kemac = f"00 00 {len(octets):04x} {octets.hex()} 00"
    data = bytes.fromhex(HEADER.format("01", "00") + kemac)
    described = describe(Message.parse(data), show_keys=True)
    described["payloads"][0]["keys"][0]["key"] = "1234"
    described["payloads"][0]["keys_id"]["id"] = "sip:b"
    assert compose(described).build() == data.replace(b"\xab\xcd", b"\x12\x34").replace(
        b":a", b":b"
    )
    described["payloads"][0]["keys_id"] = 7
    with pytest.raises(UsageError, match="keys_id: give an object"):
        compose(described)


@st.composite
def made(draw: st.DrawFn) -> Message:
    """A message of any header and any payloads, in any order, each naming the next one."""
    header = draw(RECORDS[next(kind for kind in RECORDS if kind.__name__ == "HDR")])
    kinds = draw(st.lists(st.sampled_from(sorted(PAYLOADS)), max_size=5))
    payloads: list[Payload] = [draw(RECORDS[PAYLOADS[number]]) for number in kinds]
    for payload in payloads:
        payload.__dict__.pop("next_payload", None)
    return Message(header.copy(next_payload=None, cs_count=None), payloads)


@settings(max_examples=150, deadline=None)
@given(made())
def test_whatever_can_be_built_is_its_description(message: Message) -> None:
    data = message.build()
    described = through_json(Message.read(data), show_keys=True)
    assert compose(described).build() == data
    VALIDATOR.validate(described)


def without(described: Any, endings: tuple[str, ...]) -> Any:
    """A description as somebody writes it who leaves out what can be made right."""
    if isinstance(described, list):
        return [without(item, endings) for item in described]
    if not isinstance(described, dict):
        return described
    return {
        key: without(value, endings)
        for key, value in described.items()
        if not key.endswith(endings) and key not in ("offset", "length", "cs_count")
    }


MADE_RIGHT = ("_len", "_length", "next_payload", "next_payload_value", "_set")


@every_sample
@pytest.mark.parametrize("ending", ["_value", ""], ids=["names", "numbers"])
def test_lengths_and_names_are_made_right(data: bytes, ending: str) -> None:
    described = without(through_json(Message.parse(data), show_keys=True), MADE_RIGHT)
    for item in every_object(described):
        for key in [key for key in item if f"{key}_value" in item]:
            del item[f"{key}{ending}"]
    assert compose(described).build() == data


def every_object(described: Any) -> list[Json]:
    if isinstance(described, list):
        return [found for item in described for found in every_object(item)]
    if not isinstance(described, dict):
        return []
    return [described, *(found for value in described.values() for found in every_object(value))]


# --- Crafted --------------------------------------------------------------------------------


def header(**more: Any) -> Json:
    return {"data_type": "Pre-shared", "prf": "MIKEY-1", "csb_id": "0x00000001",
            "cs_id_map_type": "Empty map", **more}  # fmt: skip


HEADER = "01 00 {} 00 00000001 {} 01"


@pytest.mark.parametrize(
    ("described", "octets"),
    [
        (header(), HEADER.format("00", "00")),
        (header(trailing="abcd"), HEADER.format("00", "00") + "abcd"),
        (header(next_payload_value=99, cs_count=7), HEADER.format("63", "07")),
        (header(payloads=[{"payload": "RAND", "rand": "aabb"}]), HEADER.format("0b", "00") + "00 02 aabb"),
        (header(payloads=[{"payload": "RAND", "rand": "aabb", "rand_len": 9}]),
         HEADER.format("0b", "00") + "00 09 aabb"),
        (header(payloads=[{"payload": "RAND", "rand": "", "next_payload": "KEMAC"}]),
         HEADER.format("0b", "00") + "01 00"),
        (header(payloads=[{"payload": "RAND", "rand": "", "next_payload": "77"}]),
         HEADER.format("0b", "00") + "4d 00"),
        (header(next_payload="T", payloads=[{"raw": "c0ffee"}]), HEADER.format("05", "00") + "c0ffee"),
        (header(payloads=[{"raw": "c0ffee", "payload_value": 250}]), HEADER.format("fa", "00") + "c0ffee"),
        (header(payloads=[{"payload": "ID", "id": "sip:ä", "id_type": "URI"}]),
         HEADER.format("06", "00") + "00 01 0006 7369703a c3a4"),
        (header(payloads=[{"payload": "T", "ts_type": "NTP-UTC", "ts_value": {"utc": "2036-02-07T06:28:16Z"}}]),
         HEADER.format("05", "00") + "00 00 0000000000000000"),
        (header(payloads=[{"payload": "TR", "ts_role_value": 4, "ts_type": "NTP-UTC-32", "seconds": 3600}]),
         HEADER.format("0d", "00") + "00 04 03 00000e10"),
        (header(payloads=[{"payload": "SP", "policy_no": 0, "protocol": "SRTP", "policy_param": [
            {"type": "Encryption algorithm", "meaning": "AES-GCM"}, {"type_value": 200, "value": "0102"}]}]),
         HEADER.format("0a", "00") + "00 00 00 0007 00 01 06 c8 02 0102"),
        (header(payloads=[{"payload": "TP", "ticket_type": "MIKEY Base Ticket", "subtype": 1, "version": 1,
                           "prf": "MIKEY-1", "flags_set": "DE", "tp_data": []}]),
         HEADER.format("10", "00") + "00 0001 01 01 018000 0001 00"),
        (header(cs_id_map_type="SRTP-ID", cs_id_map=[{"policies": [3], "ssrc": "0x11223344", "roc": 5}]),
         "01 00 00 00 00000001 01 00  03 11223344 00000005"),
        (header(cs_id_map_type="GENERIC-ID", cs_id_map=[
            {"cs_id": 1, "protocol": "SRTP", "ssrc": "0x11223344", "roc": 5, "seq": 6, "spi": "aa"}]),
         "01 00 00 00 00000001 01 02  01 00 80 000a 11223344 00000005 0006 01 aa"),
        (header(cs_id_map_type="GENERIC-ID", cs_id_map=[
            {"cs_id": 1, "protocol": "241", "policies": [1], "policy_count": 0, "session_data": "ab",
             "session_data_length": 9, "spi_length": 0}]),
         "01 00 00 00 00000001 01 02  01 f1 00 01 0009 ab 00"),
        (header(payloads=[{"payload": "KEMAC", "encr_alg": "NULL", "keys": [
            {"type": "TEK", "kv": "Null", "key": "abcd"}, {"type": "TEK", "kv": "SPI", "key": "ab", "spi": "09"}]}]),
         HEADER.format("01", "00") + "00 00 000d 14 20 0002 abcd  00 21 0001 ab 01 09 00"),
        (header(payloads=[{"payload": "KEMAC", "encr_alg": "NULL", "encr_data": "00200002abcd", "keys": [
            {"type": "TEK", "kv": "Null", "key": "sha256:123d4c7e"}]}]),
         HEADER.format("01", "00") + "00 00 0006 00200002abcd 00"),
    ],
)  # fmt: skip
def test_crafted(described: Json, octets: str) -> None:
    assert compose(described).build() == bytes.fromhex(octets)


def test_one_edited_field_is_the_only_one_that_changes() -> None:
    described = through_json(Message.parse(OFFER))
    described["csb_id"] = "0xfeedface"
    data = compose(described).build()
    assert data[4:8].hex() == "feedface"
    assert data[:4] + OFFER[4:8] + data[8:] == OFFER


def test_an_edited_ssrc_wins_over_session_data() -> None:
    described = through_json(Message.parse(OFFER))
    assert described["cs_id_map"][0]["session_data"]
    described["cs_id_map"][0]["ssrc"] = "0xfeedface"
    header = Message.parse(compose(described).build()).header
    assert header.cs_id_map[0]["session_data"].hex() == "feedface"


# --- What cannot be -------------------------------------------------------------------------


def payload(**fields: Any) -> Json:
    return header(payloads=[fields])


TP = {"payload": "TP", "ticket_type_value": 1, "subtype": 1, "version": 1, "prf_value": 0}


@pytest.mark.parametrize(
    ("described", "words"),
    [
        ({}, ["header", "data_type is missing"]),
        (header(csb_id=None, cs_id_map=[]), ["HDR cannot be written"]),
        ({**header(), "csb_id": "0x100000000"}, ["csb_id", "0x100000000"]),
        ({**header(), "csb_id": "nonsense"}, ["csb_id", "nonsense"]),
        ({**header(), "csb_id": True}, ["csb_id"]),
        ({**header(), "data_type": "TRANSFER_INIT", "data_type_value": 13},
         ["data_type 'TRANSFER_INIT' means 14", "data_type_value is 13"]),
        ({**header(), "data_type": "Transfer"}, ["'Transfer' is not a name"]),
        ({**header(), "data_type": "256"}, ["'256' is not a name"]),
        ({**header(), "data_type": "9" * 5000}, ["is not a name"]),
        ({**header(), "data_type": 7}, ["7 is not a name"]),
        ({**header(), "prf_value": 128}, ["prf_value 128", "127"]),
        ({**header(), "prf_value": 1.0}, ["prf_value 1.0"]),
        (header(csbid=1), ["'csbid' is not a field"]),
        (header(payloads={}, trailing="xyz"), ["trailing"]),
        (header(payloads={"a": 1}), ["payloads: give a list"]),
        (header(payloads=["T"]), ["payloads[0]: give an object"]),
        (header(payloads=[{"raw": "00"}]), ["payload_value beside raw"]),
        (header(payloads=[{"raw": "0"}]), ["payloads[0]: raw"]),
        (header(payloads=[{"raw": "00", "rand": ""}]), ["'rand' has no place beside raw"]),
        (payload(rand=""), ["payload, the name, is missing"]),
        (payload(payload="250"), ["payload 250 has no grammar"]),
        (payload(payload="RAND"), ["payloads[0] (RAND): rand is missing"]),
        (payload(payload="RAND", rand=None), ["rand is missing"]),
        (payload(payload="RAND", rand="", rnd=""), ["'rnd' is not a field"]),
        (payload(payload="RAND", rand=[1]), ["rand: give whole octets in hex"]),
        (payload(payload="RAND", rand="", rand_len=256), ["rand_len 256"]),
        (payload(payload="RAND", rand="00" * 256), ["RAND cannot be written"]),
        (payload(payload="ID", id_type="URI", id="a", id_hex="62"), ["id means", "id_hex"]),
        (payload(payload="ID", id_type="URI", id="\ud800"), ["id "]),
        (payload(payload="T", ts_type="NTP-UTC", ts_value={"value": "00" * 8, "utc": "2020-01-01T00:00:00Z"}),
         ["utc", "ts_value.value"]),
        (payload(payload="T", ts_type="NTP-UTC", ts_value={"utc": "2020-01-01T00:00:00"}), ["time zone"]),
        (payload(payload="T", ts_type="NTP-UTC", ts_value={"utc": "noon"}), ["ISO 8601"]),
        (payload(payload="T", ts_type="COUNTER", ts_value={"utc": "2020-01-01T00:00:00Z"}), ["COUNTER"]),
        (payload(payload="T", ts_type="NTP-UTC", ts_value="00"), ["ts_value"]),
        (payload(payload="TR", ts_role_value=4, ts_type_value=3, ts_value={"value": "00000001"}, seconds=2),
         ["seconds 2", "00000001"]),
        (payload(**TP, flags="0x800", flags_set="E"), ["flags_set 'E' means 0x400", "flags is 0x800"]),
        (payload(**TP, flags_set="Z"), ["flags_set"]),
        (payload(**TP, flags="0x000", tp_data=[{"payload": "T"}]), ["payloads[0] (TP): tp_data[0] (T): ts_type is missing"]),
        (payload(payload="SP", policy_no=0, protocol_value=0,
                 policy_param=[{"type": "Encryption algorithm", "value": "00", "meaning": "AES-CM"}]),
         ["policy_param[0]: meaning 'AES-CM' means 1", "value is 00"]),
        (payload(payload="SP", policy_no=0, protocol_value=0, policy_param=[{"value": "00"}]),
         ["type is missing"]),
        (payload(payload="SP", policy_no=0, protocol_value=9, policy_param=[{"type": "AES", "value": ""}]),
         ["'AES' is not a name"]),
        (payload(payload="KEMAC", encr_alg="NULL", keys=[{"type": "TEK", "kv": "Null", "key": "sha256:00000000"}]),
         ["encr_data is missing", "masked"]),
        (payload(payload="KEMAC", encr_alg="AES-CM-128", keys=[{"type": "TEK", "kv": "Null", "key": "ab"}]),
         ["encr_data is missing", "encrypted"]),
        (payload(payload="KEMAC", encr_alg="NULL", keys=[{"type": "TEK", "kv": "Null", "key": "zz"}]),
         ["keys[0]: key: give whole octets in hex"]),
        (payload(payload="General Ext.", type_value=241, content={"csb_id": 1}), ["content"]),
        (payload(payload="General Ext.", type="CSB_ID", content={"csbid": 1}), ["'csbid' is not a field"]),
        (header(cs_id_map=[{"cs_id": 1}]), ["this type of map has no crypto sessions"]),
        (header(cs_id_map_type="SRTP-ID", cs_id_map=[{"policies": [1, 2], "ssrc": 0}]), ["policies"]),
        (header(cs_id_map_type="SRTP-ID", cs_id_map=[{"policies": [1], "ssrc": 0, "cs_id": 2}]),
         ["CS ID 1", "cs_id is 2"]),
        (header(cs_id_map_type="SRTP-ID", cs_id_map=[{"policies": [1], "ssrc": 0, "spi": "00"}]), ["'spi'"]),
        (header(cs_id_map_type="GENERIC-ID", cs_id_map=[{"cs_id": 1, "protocol": "SRTP", "policies": [256]}]),
         ["policies"]),
        (header(cs_id_map_type="GENERIC-ID", cs_id_map=[{"cs_id": 1, "protocol": "SRTP", "seq": 65536}]),
         ["seq"]),
        (header(cs_id_map_type="GENERIC-ID", cs_id_map=[{"protocol": "SRTP"}]), ["cs_id_map[0]: cs_id is missing"]),
        (header(cs_id_map_type="GENERIC-ID", cs_id_map=[{"cs_id": 1, "protocol": "SRTP"}] * 256), ["HDR cannot"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(described: Json, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        compose(described).build()
    text = str(caught.value)
    assert all(word in text for word in words), text
    assert len(text) < 300
    assert "\n" not in text


def test_errors_show_no_key() -> None:
    with pytest.raises(UsageError) as caught:
        compose(payload(payload="SK", type="SK", kv="Null", key="c0ffee15badex")).build()
    assert "c0ffee" not in str(caught.value)


# --- What is shown --------------------------------------------------------------------------


def test_header_that_breaks_off() -> None:
    described = through_json(Message.read(bytes.fromhex("010e05810000")))
    assert described["data_type"] == "TRANSFER_INIT"
    assert (described["v"], described["prf"]) == (True, "PRF-HMAC-SHA-256")
    assert (described["csb_id"], described["cs_count"], described["cs_id_map"]) == (
        None,
        None,
        None,
    )
    assert described["trailing"] == "0000"


def test_a_map_that_breaks_off_shows_what_is_whole() -> None:
    data = bytes.fromhex("01 00 05 00 00000001 02 00  00 11111111 00000000  00 2222")
    described = through_json(Message.read(data))
    assert [entry["ssrc"] for entry in described["cs_id_map"]] == ["0x11111111"]
    assert (described["cs_count"], described["trailing"]) == (2, "002222")


def test_unassigned_numbers_are_decimal_text() -> None:
    described = through_json(Message.read(bytes.fromhex("02 f0 00 7f 00000001 00 01")))
    assert (described["data_type"], described["data_type_value"]) == ("240", 240)
    assert (described["prf"], described["prf_value"]) == ("127", 127)


def test_what_cannot_be_read_inside_says_why() -> None:
    tp = "00 0001 01 01 000000 0003 05 0000"
    described = through_json(Message.read(bytes.fromhex("01 0b 10 00 00000001 00 01" + tp)))
    assert described["payloads"][0]["tp_data"] == "050000"
    assert described["payloads"][0]["tp_data_error"].startswith("T at octet 23")


def test_keys_are_masked() -> None:
    key = "00112233445566778899aabbccddeeff"
    message = Message.parse(
        bytes.fromhex(f"01 00 01 00 00000001 00 01  00 00 0014 00 20 0010 {key} 00")
    )
    fingerprint = hashlib.sha256(bytes.fromhex(key)).hexdigest()[:8]
    assert describe(message)["payloads"][0]["keys"][0]["key"] == f"sha256:{fingerprint}"
    assert describe(message, show_keys=True)["payloads"][0]["keys"][0]["key"] == key


def test_rcc_and_tesla_policies_have_names() -> None:
    """RFC 4771 4 and RFC 4442 4.2."""
    head = bytes.fromhex("01 00 0a 00 00000001 00 01")
    rcc = bytes.fromhex("00 07 00 0006 0e 01 03 0d 01 01")
    described = through_json(Message.parse(head + rcc))
    params = described["payloads"][0]["policy_param"]
    assert [(p["type"], p["meaning"]) for p in params] == [
        ("SRTP Auth. algorithm", "RCCm2"),
        ("ROC transmission rate", None),
    ]
    tesla_policy = bytes.fromhex("00 07 01 0006 01 01 00 03 01 00")
    tesla = through_json(Message.parse(head + tesla_policy))
    assert tesla["payloads"][0]["protocol"] == "TESLA"
    assert [(p["type"], p["meaning"]) for p in tesla["payloads"][0]["policy_param"]] == [
        ("PRF identifier for f and f'", "HMAC-SHA1"),
        ("Identifier for the TESLA MAC", "HMAC-SHA1"),
    ]


def test_a_message_made_by_hand_is_described_as_it_is_built() -> None:
    message = Message(
        HDR(data_type=0, prf=0, csb_id=1, cs_id_map_type=1, cs_id_map=[]), [RAND(rand=b"ab")]
    )
    described = through_json(message)
    assert described["next_payload"] == "RAND"
    assert (described["payloads"][0]["offset"], described["payloads"][0]["rand_len"]) == (10, 2)
