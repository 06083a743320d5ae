"""GStreamer, which RTSP cameras and servers use, and this library read each other's messages.

GStreamer knows HDR with an SRTP-ID map, T, RAND, SP, PKE and KEMAC with keys in the clear. It
writes a wrong length into PKE, so that one goes one way only.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mikeytool.wire.header import HDR, SrtpIdEntry
from mikeytool.wire.message import Message, build_chain, nested
from mikeytool.wire.payloads import (
    KEMAC,
    PKE,
    RAND,
    SP,
    KeyData,
    Payload,
    PolicyParam,
    T,
)
from tests.peers.programs import need_library, run
from tests.wire.samples import SAMPLES, fields_of

PROGRAM = Path(__file__).with_name("gstreamer.py")
KEY = bytes(range(16))
SALT = bytes(range(100, 114))


def gstreamer(**asked: Any) -> Any:
    for library in ("gstreamer-1.0", "gstsdp-1.0", "glib-2.0"):
        need_library(library)
    return json.loads(run([sys.executable, str(PROGRAM)], json.dumps(asked).encode()))


def plain(record: Any, *names: str) -> dict[str, Any]:
    """Those fields, octets in hex."""
    values = fields_of(record)
    return {
        name: values[name].hex() if isinstance(values[name], bytes) else values[name]
        for name in names
    }


def described(payload: Payload) -> dict[str, Any]:
    """A payload in the words that gstreamer.py understands and says."""
    fields: dict[str, Any] = {"number": payload.number}
    if isinstance(payload, T):
        return fields | plain(payload, "ts_type", "ts_value")
    if isinstance(payload, RAND):
        return fields | plain(payload, "rand")
    if isinstance(payload, PKE):
        return fields | plain(payload, "c", "data")
    if isinstance(payload, SP):
        params = [[param.type, param.value.hex()] for param in payload.policy_param]
        return fields | plain(payload, "policy_no", "protocol") | {"policy_param": params}
    assert isinstance(payload, KEMAC)
    names = ("type", "kv", "key", "salt", "spi", "valid_from", "valid_to")
    keys = [plain(key, *names) for key in nested(payload)["encr_data"]]
    return fields | plain(payload, "encr_alg", "mac_alg") | {"keys": keys}


def description(message: Message) -> dict[str, Any]:
    names = ("version", "data_type", "v", "prf", "csb_id", "cs_id_map_type")
    entries = [plain(e, "policy_no", "ssrc", "roc") for e in message.header.cs_id_map]
    payloads = [described(payload) for payload in message.payloads]
    return plain(message.header, *names) | {"cs_id_map": entries, "payloads": payloads}


def message(*payloads: Payload, **more: Any) -> Message:
    values: dict[str, Any] = {
        "data_type": 0,
        "prf": 0,
        "csb_id": 0x12345678,
        "cs_id_map_type": 0,
        "cs_id_map": [],
    }
    return Message(HDR(**values | more), list(payloads))


def with_keys(*keys: KeyData) -> Message:
    return message(KEMAC(encr_alg=0, encr_data=build_chain(keys)))


MESSAGES = {
    "header": message(v=1, data_type=2, csb_id=0xFFFFFFFF),
    "crypto-sessions": message(
        cs_id_map=[
            SrtpIdEntry(policy_no=1, ssrc=0xDEADBEEF, roc=7),
            SrtpIdEntry(policy_no=255, ssrc=0, roc=0xFFFFFFFF),
        ]
    ),
    "NTP-UTC": message(T(ts_type=0, ts_value=bytes.fromhex("edc34f481f258eee"))),
    "NTP": message(T(ts_type=1, ts_value=bytes.fromhex("edc34f481f258eee"))),
    "COUNTER": message(T(ts_type=2, ts_value=bytes.fromhex("00000007"))),
    "RAND": message(RAND(rand=bytes(range(255)))),
    "SP": message(
        SP(
            policy_no=200,
            protocol=0,
            policy_param=[PolicyParam(type=at, value=bytes([at % 2])) for at in range(13)]
            + [PolicyParam(type=6, value=bytes.fromhex("00010000"))],
        )
    ),
    "TGK": with_keys(KeyData(type=0, kv=0, key=KEY)),
    "TGK+SALT": with_keys(KeyData(type=1, kv=0, key=KEY, salt=SALT)),
    "TEK-SPI": with_keys(KeyData(type=2, kv=1, key=bytes(300), spi=b"\xde\xad\xbe\xef")),
    "TEK+SALT-SPI": with_keys(KeyData(type=3, kv=1, key=KEY, salt=SALT, spi=b"\x01")),
    "TEK-Interval": with_keys(
        KeyData(type=2, kv=2, key=KEY, valid_from=b"\0\0\0\0\0\1", valid_to=b"\0\0\1\0")
    ),
    "three-keys": with_keys(
        KeyData(type=0, kv=1, key=KEY, spi=b"\x01"),
        KeyData(type=3, kv=1, key=KEY[::-1], salt=SALT, spi=b"\x02\x03"),
        KeyData(type=1, kv=0, key=SALT, salt=KEY),
    ),
    "all": message(
        T(ts_type=0, ts_value=bytes.fromhex("edc34f481f258eee")),
        RAND(rand=KEY),
        SP(policy_no=1, protocol=0, policy_param=[PolicyParam(type=0, value=b"\x01")]),
        SP(policy_no=2, protocol=0, policy_param=[PolicyParam(type=0, value=b"\x02")]),
        KEMAC(
            encr_alg=0,
            encr_data=build_chain([KeyData(type=3, kv=1, key=KEY, salt=SALT, spi=b"\x09")]),
        ),
        cs_id_map=[SrtpIdEntry(policy_no=1, ssrc=1, roc=0)],
    ),
}

every_message = pytest.mark.parametrize("name", MESSAGES)


@every_message
def test_gstreamer_reads_the_same_values(name: str) -> None:
    ours = MESSAGES[name].build()
    assert gstreamer(read=ours.hex()) == description(Message.parse(ours))


@every_message
def test_gstreamer_writes_the_same_octets(name: str) -> None:
    wanted = MESSAGES[name]
    assert gstreamer(make=description(wanted)) == wanted.build().hex()


@pytest.mark.parametrize("c", [0, 1, 2])
def test_gstreamer_reads_envelope_keys(c: int) -> None:
    ours = message(PKE(c=c, data=bytes(range(256))), data_type=2).build()
    assert gstreamer(read=ours.hex()) == description(Message.parse(ours))


@pytest.mark.parametrize(
    "data",
    [pytest.param(s.data, id=s.name) for s in SAMPLES if s.name.startswith("other software")],
)
def test_messages_of_other_software(data: bytes) -> None:
    assert gstreamer(read=data.hex()) == description(Message.parse(data))
