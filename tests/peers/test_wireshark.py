"""The dissector for Wireshark shows in tshark what `decode --json` shows."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mikeytool.wire.describe import describe
from mikeytool.wire.header import HDR
from mikeytool.wire.lua_dissector import dissector
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import Payload
from tests.capture.carriers import key_mgmt, lines, rtsp, sdp, sip
from tests.capture.network import Ends, pcap, tcp, udp
from tests.capture.test_sap import sap
from tests.peers.programs import need, run
from tests.wire.mutations import mutated
from tests.wire.samples import SAMPLES
from tests.wire.strategies import RECORDS

MIKEY = Ends(sport=2269, dport=2269)
RTSP = Ends(sport=40000, dport=554)
HTTP = Ends(sport=40000, dport=80)

_DERIVED = {"flags_set", "meaning", "seconds", "key_purpose", "key_purpose_value", "error"}
_PLACE = {"payload", "payload_value", "offset", "length"}
_NOT_IN_JSON = {"policy_count", "session_data_length", "spi_length"}
"""Lengths in an entry of a GENERIC-ID map, which the JSON leaves out."""
_SHOWN_AS_PAYLOADS = {"tp_data", "ticket_data", "initiator_data"}
_TEXT = {"id": "id_data"} | {name: name for name in ("vendor_id", "sdp_ids", "text", "group_id")}


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lua") / "mikeytool.lua"
    path.write_text(dissector())
    return path


def dissected(packets: Iterable[bytes], script: Path) -> list[ElementTree.Element]:
    """What tshark makes of each packet."""
    path = script.with_name("messages.pcap")
    path.write_bytes(pcap(packets))
    command = [need("tshark"), "-r", str(path), "-X", f"lua_script:{script}", "-T", "pdml"]
    return ElementTree.fromstring(run(command)).findall("packet")


def messages(packet: ElementTree.Element) -> list[ElementTree.Element]:
    """The messages that the dissector read in a packet; nothing in it is malformed."""
    assert not packet.findall(".//proto[@name='_ws.malformed']")
    assert not packet.findall(".//proto[@name='mikey']")  # Wireshark's own
    return packet.findall(".//proto[@name='mikeytool']")


def shown(element: ElementTree.Element) -> dict[str, list[tuple[str, str]]]:
    """What the dissector shows: by name of field, each value as text and as octets in hex."""
    found: dict[str, list[tuple[str, str]]] = {}
    for field in element.iter("field"):
        tool, *path = field.get("name", "").split(".")
        last = path[-1] if path else ""
        if tool != "mikeytool" or (len(path) != 2 and last != "trailing"):
            continue  # others' fields, the lines of records, and single flags
        if last.endswith("_utc") or (path[0] == "genericidentry" and last in _NOT_IN_JSON):
            continue
        inside = [one.get("name", "") for one in field.findall("field")]
        if last in _SHOWN_AS_PAYLOADS and any(one.startswith("mikeytool.") for one in inside):
            continue
        found.setdefault(last, []).append((field.get("show", ""), field.get("value", "")))
    return found


def described(item: Any, name: str = "") -> Iterator[tuple[str, int | str]]:
    """What the JSON shows of the wire: numbers, and octets in hex."""
    if isinstance(item, dict) and "utc" in item:
        yield name, item["value"]
    elif isinstance(item, dict):
        if name == "cs_id_map" and "s" not in item:  # an SRTP-ID map: the rest is implied
            item = {"policy_no": item["policies"][0], "ssrc": item["ssrc"], "roc": item["roc"]}
        left_out = _DERIVED | (_PLACE if "payload_value" in item else set())
        for key, value in item.items():
            if key not in left_out and f"{key}_value" not in item and not key.endswith("_error"):
                named = key.removesuffix("_value")
                yield from described(value, named if named in item else key)
    elif isinstance(item, list):
        for one in item:
            yield from described(one, name)
    elif isinstance(item, int):
        yield name, int(item)
    elif item and name in _TEXT:
        yield _TEXT[name], item.encode().hex()
    elif item and item.startswith("0x"):
        yield name, int(item, 0)
    elif item:
        yield {"id_hex": "id_data"}.get(name, name.removesuffix("_hex")), item


def agree(data: bytes, element: ElementTree.Element) -> None:
    """Every field has the same values in tshark and in the JSON."""
    wanted: dict[str, list[int | str]] = {}
    for name, value in described(describe(Message.read(data), show_keys=True)):
        wanted.setdefault(name, []).append(value)
    seen = shown(element)
    assert seen.keys() == wanted.keys(), data.hex()
    for name, values in wanted.items():
        numbers = isinstance(values[0], int)
        got = [int(show, 0) if numbers else octets for show, octets in seen[name]]
        assert Counter(got) == Counter(values), (name, data.hex())


def test_every_message_of_others(script: Path) -> None:
    packets = dissected([udp(sample.data, MIKEY) for sample in SAMPLES], script)
    for sample, packet in zip(SAMPLES, packets, strict=True):
        (message,) = messages(packet)
        agree(sample.data, message)


@pytest.fixture(scope="module")
def random_messages() -> list[bytes]:
    """Messages of one payload each, of every kind and with any values."""
    found: list[bytes] = []
    numbered = [kind for kind in RECORDS if issubclass(kind, Payload) and kind.number]

    @settings(max_examples=400, database=None)
    @given(RECORDS[HDR], st.sampled_from(numbered).flatmap(RECORDS.__getitem__))
    def collect(header: HDR, payload: Payload) -> None:
        header.next_payload = payload.number
        if "next_payload" in payload.fields:
            payload.next_payload = 0  # type: ignore[attr-defined]
        found.append(Message(header, [payload]).build())

    collect()
    return found


def test_every_kind_of_payload_with_any_values(script: Path, random_messages: list[bytes]) -> None:
    packets = dissected([udp(data, MIKEY) for data in random_messages], script)
    for data, packet in zip(random_messages, packets, strict=True):
        (message,) = messages(packet)
        agree(data, message)


EXTENSIONS = [
    "00 0003 414243",  # vendor ID
    "01 0005 6d696b6579",  # SDP IDs
    "03 0006 00 01 aa 01 01 bb",  # key IDs
    "04 0004 12345678",  # CSB ID of RFC 4738
    "05 0003 01 abcd",  # OMA BCAST
    "06 0006 00 01 02 0001 61",  # SAKKE-to-self
    # 3GPP key parameters: with and without groups, and protected
    "07 001b 02 00000001 0065000000 0066000000 0002 6869 0006 01 81 0002 6162",
    "07 0011 01 00000001 0000000000 0066000000 0000",
    f"07 0024 c0 0065000000 00000000 01 01 {'ee' * 16} 12345678 7b 0001 ff",
]


def test_the_content_of_general_extensions(script: Path) -> None:
    header = "01 1a 15 01 20000001 00 01"
    data = [bytes.fromhex(f"{header} 00 {extension}") for extension in EXTENSIONS]
    packets = dissected([udp(one, MIKEY) for one in data], script)
    for one, packet in zip(data, packets, strict=True):
        (message,) = messages(packet)
        agree(one, message)
        assert not message.findall(".//field[@name='mikeytool.unread']"), one.hex()


def test_a_message_that_breaks_off(script: Path) -> None:
    whole = max((sample.data for sample in SAMPLES), key=len)
    sessions = bytes.fromhex("01000b00000000070201 0101020003 00000401020304 0201010007 0000000000")
    cut = [data[:length] for data in (whole, sessions) for length in range(1, len(data))]
    agree_on_faults(cut, script)


@pytest.mark.parametrize(
    "data",
    [
        "01006300000000070001 00 aabb",  # an unknown payload behind the header
        "01000b00000000070063 00 aabb",  # an unknown type of CS ID map
        f"01000b00000000070001 {'0b00' * 1026} 0000",  # more payloads than are read
    ],
)
def test_octets_that_are_not_read(script: Path, data: str) -> None:
    agree_on_faults([bytes.fromhex(data)], script)


@pytest.fixture(scope="module")
def faulty_messages() -> list[bytes]:
    found: list[bytes] = []

    @settings(max_examples=400, database=None)
    @given(mutated())
    def collect(data: bytes) -> None:
        if data and Message.read(data).error is not None:
            found.append(data)

    collect()
    return found


def test_messages_with_any_fault(script: Path, faulty_messages: list[bytes]) -> None:
    assert len(faulty_messages) > 50
    agree_on_faults(faulty_messages, script)


def agree_on_faults(broken: list[bytes], script: Path) -> None:
    """What comes before the fault is the same, and so are the octets behind it."""
    packets = dissected([udp(data, MIKEY) for data in broken], script)
    for data, packet in zip(broken, packets, strict=True):
        (message,) = messages(packet)
        agree(data, message)
        assert message.findall(".//field[@name='mikeytool.unread']"), data.hex()


# --- Where messages stand -----------------------------------------------------------------


def read_in(packets: Iterable[bytes], script: Path) -> list[str]:
    """The CSB IDs of the messages in packets."""
    return [
        shown(message)["csb_id"][0][0]
        for packet in dissected(packets, script)
        for message in messages(packet)
    ]


INIT = SAMPLES[2].data
CSB_ID = f"0x{INIT[4:8].hex()}"
B64 = base64.b64encode(INIT).decode()


def test_a_sip_offer(script: Path) -> None:
    offer = sip("INVITE sip:bob@example.com SIP/2.0", sdp(key_mgmt(INIT)))
    assert read_in([udp(offer)], script) == [CSB_ID]


def test_a_sip_offer_with_a_message_for_the_whole_session(script: Path) -> None:
    body = lines(
        "v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", key_mgmt(INIT),
        "m=audio 40000 RTP/SAVP 0",
    )  # fmt: skip
    assert read_in([udp(sip("INVITE sip:bob@example.com SIP/2.0", body))], script) == [CSB_ID]


def test_a_potential_attribute_of_a_sip_offer(script: Path) -> None:
    offer = sip("INVITE sip:bob@example.com SIP/2.0", sdp(f"a=acap:1 key-mgmt:mikey {B64}"))
    assert read_in([udp(offer)], script) == [CSB_ID]


def test_the_same_message_for_the_session_and_for_a_stream(script: Path) -> None:
    body = lines(
        "v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", "c=IN IP4 192.0.2.1", "t=0 0", key_mgmt(INIT),
        "m=audio 40000 RTP/SAVP 0", key_mgmt(INIT),
    )  # fmt: skip
    assert read_in([udp(sip("INVITE sip:bob@example.com SIP/2.0", body))], script) == [CSB_ID] * 2


def test_an_announced_session(script: Path) -> None:
    announced = sap(b"application/sdp\0" + sdp(key_mgmt(INIT)))
    assert read_in([udp(announced, Ends(dport=9875, destination="224.2.127.254"))], script) == [
        CSB_ID
    ]


@pytest.mark.parametrize("data", ["!!!!", "A"])
def test_an_attribute_that_is_not_base64(script: Path, data: str) -> None:
    offer = sip("INVITE sip:bob@example.com SIP/2.0", sdp(f"a=key-mgmt:mikey {data}"))
    (packet,) = dissected([udp(offer)], script)
    assert messages(packet) == []
    assert packet.findall(".//field[@name='mikeytool.unread']")


RESOURCE = "rtsp://192.0.2.2/a"
OTHER = next(sample.data for sample in SAMPLES if len(sample.data) % 3 == 1)
OTHER_ID = f"0x{OTHER[4:8].hex()}"
OTHER_B64 = base64.b64encode(OTHER).decode()


@pytest.mark.parametrize(
    ("header", "csb_ids"),
    [
        (f'KeyMgmt: prot=mikey;uri="{RESOURCE}";data="{B64}"', [CSB_ID]),
        (f'keymgmt: PROT=mikey ; uri="{RESOURCE}"; Data = "{B64}"', [CSB_ID]),
        (f'KeyMgmt: prot=mikey;data="{B64}";uri="{RESOURCE}"', [CSB_ID]),
        (f"KeyMgmt: prot=mikey;uri={RESOURCE}?data=AQAF;data={B64}", [CSB_ID]),
        (f'KeyMgmt: prot=mikey;uri="{RESOURCE};data=AQ,prot=mikey;";data="{B64}"', [CSB_ID]),
        (f'KeyMgmt: prot=other;uri="{RESOURCE}";data="{B64}"', []),
        (f'KeyMgmt: prot=mikey;\r\n\turi="";data="{B64[:40]}\r\n {B64[40:]}"', [CSB_ID]),
        (
            f'KeyMgmt: prot=mikey;data="{B64}",prot=x;data="AQ", prot=mikey;data="{OTHER_B64}"',
            [CSB_ID, OTHER_ID],
        ),
        (f'KeyMgmt: prot=mikey;data="{OTHER_B64.rstrip("=")}"', [OTHER_ID]),
        (f'KeyMgmt: prot=mikey;data="{B64.replace("+", "-").replace("/", "_")}"', [CSB_ID]),
    ],
)
def test_an_rtsp_header(script: Path, header: str, csb_ids: list[str]) -> None:
    setup = rtsp(f"SETUP {RESOURCE} RTSP/1.0", headers=("CSeq: 1", header))
    assert read_in([tcp(setup, 1, RTSP)], script) == csb_ids


def test_several_rtsp_requests_in_a_segment(script: Path) -> None:
    header = f'KeyMgmt: prot=mikey;uri="{RESOURCE}";data="{B64}"'
    setup = rtsp(f"SETUP {RESOURCE} RTSP/1.0", headers=("CSeq: 1", header))
    described = rtsp("RTSP/1.0 200 OK", sdp(key_mgmt(OTHER)), headers=("CSeq: 1",))
    assert read_in([tcp(setup * 3, 1, RTSP)], script) == [CSB_ID] * 3
    assert read_in([tcp(described * 2, 1, RTSP.back)], script) == [OTHER_ID] * 2


def test_an_rtsp_parameter_of_onvif(script: Path) -> None:
    body = f"mikey: {B64}"
    message = lines(
        "SET_PARAMETER rtsp://192.0.2.2/a RTSP/1.0", "CSeq: 4", "Content-Type: text/parameters",
        f"Content-Length: {len(body) + 2}", "", body,
    )  # fmt: skip
    assert read_in([tcp(message, 1, RTSP)], script) == [CSB_ID]


@pytest.mark.parametrize("body", [INIT, B64.encode(), f"{B64[:76]}\r\n{B64[76:]}\r\n".encode()])
def test_an_http_request_to_a_kms(script: Path, body: bytes) -> None:
    head = (
        "POST /mikey HTTP/1.1\r\nHost: kms.example.com\r\nContent-Type: application/mikey\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    assert read_in([tcp(head.encode() + body, 1, HTTP)], script) == [CSB_ID]


def test_a_tcp_connection_with_several_messages(script: Path) -> None:
    both = INIT + SAMPLES[1].data
    pieces = [both[at : at + 100] for at in range(0, len(both), 100)]
    packets = [tcp(piece, 1 + at * 100, MIKEY) for at, piece in enumerate(pieces)]
    assert read_in(packets, script) == [CSB_ID, f"0x{SAMPLES[1].data[4:8].hex()}"]


def test_octets_of_another_version_in_a_tcp_connection(script: Path) -> None:
    """They are no messages, so they are shown together, and behind a message they end it."""
    (packet,) = dissected([tcp(INIT + bytes(100), 1, MIKEY)], script)
    first, rest = messages(packet)
    assert shown(first)["csb_id"] == [(CSB_ID, INIT[4:8].hex())]
    assert [octets for _, octets in shown(rest)["trailing"]] == ["00" * 90]
