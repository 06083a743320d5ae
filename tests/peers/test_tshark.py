"""Wireshark's dissector reads in this library's messages what the library reads.

It knows the payloads of RFC 3830, less CHASH and the data behind the KV of a DH payload: it
ends its reading there, so these stand last here. Of several keys in a KEMAC it shows the first.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from mikeytool.wire.header import HDR, SrtpIdEntry
from mikeytool.wire.message import Message, build_chain, nested
from mikeytool.wire.payloads import (
    CERT,
    CHASH,
    DH,
    ERR,
    ID,
    IDR,
    KEMAC,
    PKE,
    RAND,
    SIGN,
    SP,
    GeneralExt,
    KeyData,
    Payload,
    PolicyParam,
    T,
    V,
)
from mikeytool.wire.timestamp import Timestamp
from tests.peers.tshark import Seen, dissect


def octets(length: int, start: int = 0) -> bytes:
    return bytes((start + at) % 256 for at in range(length))


def certificate() -> bytes:
    """A self-signed certificate in DER: the dissector reads into it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "alice")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(start)
        .not_valid_after(start + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.DER)


def message(data_type: int, *payloads: Payload, **more: Any) -> Message:
    values: dict[str, Any] = {
        "v": data_type % 2 == 0,
        "prf": 0,
        "csb_id": 0x12345678 + data_type,
        "cs_id_map_type": 0,
        "cs_id_map": [],
    }
    return Message(HDR(data_type=data_type, **values | more), list(payloads))


KEYS = [
    KeyData(type=0, kv=1, key=octets(16), spi=octets(4)),
    KeyData(
        type=1, kv=2, key=octets(16, 1), salt=octets(14), valid_from=octets(6), valid_to=octets(6)
    ),
    KeyData(type=2, kv=0, key=octets(32, 2)),
    KeyData(type=2, kv=2, key=octets(16, 3), valid_from=octets(2), valid_to=octets(8)),
    KeyData(type=3, kv=1, key=octets(16, 4), salt=octets(12), spi=octets(9)),
    KeyData(type=3, kv=0, key=octets(16, 5), salt=octets(1)),
]
POLICY = SP(
    policy_no=7,
    protocol=0,
    policy_param=[PolicyParam(type=at, value=bytes([at % 2])) for at in range(13)],
)
NTP_UTC = T(ts_type=0, ts_value=bytes.fromhex("edc34f481f258eee"))
NTP = T(ts_type=1, ts_value=bytes.fromhex("0123456780000000"))  # behind the rollover of 2036
COUNTER = T(ts_type=2, ts_value=bytes.fromhex("00000007"))
NONCE = RAND(rand=octets(16))
ALICE = ID(id_type=1, id_data=b"sip:alice@example.com")
BOB = ID(id_type=0, id_data=b"bob@example.com")

MESSAGES = {
    "Pre-shared": message(
        0,
        NTP_UTC,
        NONCE,
        ALICE,
        BOB,
        POLICY,
        GeneralExt(type=0, data=b"vendor"),
        GeneralExt(type=1, data=b"1:2:3"),
        KEMAC(encr_alg=0, encr_data=build_chain(KEYS), mac_alg=1, mac=octets(20)),
        cs_id_map=[
            SrtpIdEntry(policy_no=7, ssrc=0xDEADBEEF, roc=1),
            SrtpIdEntry(policy_no=8, ssrc=0, roc=0x10000),
        ],
    ),
    **{
        f"Key-{at}": message(0, NTP, KEMAC(encr_alg=0, encr_data=build_chain([key])))
        for at, key in enumerate(KEYS)
    },
    "PSK-ver-msg": message(1, NTP_UTC, BOB, V(auth_alg=1, ver_data=octets(20))),
    "Public-key": message(
        2,
        NTP,
        RAND(rand=octets(255)),
        CERT(cert_type=0, cert_data=certificate()),
        CERT(cert_type=2, cert_data=certificate()),
        KEMAC(encr_alg=1, encr_data=octets(300), mac_alg=1, mac=octets(20)),
        PKE(c=2, data=octets(256)),
        SIGN(s_type=0, signature=octets(256)),
    ),
    "Public-key-cached": message(
        2, COUNTER, PKE(c=1, data=octets(128)), SIGN(s_type=1, signature=octets(4))
    ),
    "PK-ver-msg": message(3, COUNTER, ALICE, V(auth_alg=0, ver_data=b"")),
    "D-H-init": message(
        4,
        NTP_UTC,
        NONCE,
        ALICE,
        POLICY,
        DH(dh_group=0, dh_value=octets(192)),
        SIGN(s_type=1, signature=octets(128)),
    ),
    "D-H-resp": message(
        5,
        NTP_UTC,
        BOB,
        DH(dh_group=1, dh_value=octets(96)),
        DH(dh_group=2, dh_value=octets(128), reserved=9),
        SIGN(s_type=1, signature=octets(512)),
    ),
    "D-H-with-SPI": message(4, NTP_UTC, DH(dh_group=1, dh_value=octets(96), kv=1, spi=octets(4))),
    "Error": message(6, NTP_UTC, ERR(error_no=12), V(auth_alg=1, ver_data=octets(20))),
    "CHASH": message(2, NTP_UTC, ALICE, CHASH(hash_func=0, hash=octets(20))),
    "IDR": message(
        14,
        NTP_UTC,
        IDR(id_role=1, id_type=1, id_data=b"sip:alice@example.com"),
        V(auth_alg=0, ver_data=b""),
    ),
}

# The fields that tshark shows of each payload, under its names. Of CERT it takes the length
# from the wrong octets; T, SP and KEMAC are compared below.
NUMBERS: dict[type[Payload], dict[str, str]] = {
    KEMAC: {
        "encr_alg": "kemac.encr_alg",
        "encr_data_len": "kemac.key_data_len",
        "mac_alg": "kemac.mac_alg",
    },
    PKE: {"c": "pke.c", "data_len": "pke.len"},
    DH: {"dh_group": "dh.group", "reserved": "dh.reserv", "kv": "dh.kv"},
    SIGN: {"s_type": "sign.type", "signature_len": "sign.len"},
    T: {"ts_type": "t.ts_type"},
    ID: {"id_type": "id.type", "id_len": "id.len"},
    IDR: {"id_role": "id.role", "id_type": "id.type", "id_len": "id.len"},
    CERT: {"cert_type": "cert.type"},
    CHASH: {},
    V: {"auth_alg": "v.auth_alg"},
    SP: {
        "policy_no": "sp.no",
        "protocol": "sp.proto_type",
        "policy_param_length": "sp.param_len",
    },
    RAND: {"rand_len": "rand.len"},
    ERR: {"error_no": "err.no"},
    GeneralExt: {"type": "ext.type", "data_length": "ext.len"},
    KeyData: {"type": "key.type", "kv": "key.kv", "key_data_len": "key.data.len"},
}
OCTETS: dict[type[Payload], dict[str, str]] = {
    KEMAC: {"mac": "kemac.mac"},
    PKE: {"data": "pke.data"},
    DH: {"dh_value": "dh.value"},
    SIGN: {"signature": "sign.data"},
    ID: {"id_data": "id.data"},
    IDR: {"id_data": "id.data"},
    V: {"ver_data": "v.ver_data"},
    RAND: {"rand": "rand.data"},
    KeyData: {"key": "key.data"},
}
OPTIONAL = {
    "salt": "key.salt",
    "spi": "key.kv.spi",
    "valid_from": "key.kv.from",
    "valid_to": "key.kv.to",
}
SRTP_PARAMETERS = [
    "encr_alg",
    "encr_len",
    "auth_alg",
    "auth_key_len",
    "salt_len",
    "prf",
    "kd_rate",
    "srtp_encr",
    "srtcp_encr",
    "fec",
    "srtp_auth",
    "auth_tag_len",
    "srtp_prefix",
]


@pytest.fixture(scope="module")
def dissected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seen]:
    raw = [made.build() for made in MESSAGES.values()]
    seen = dissect(raw, tmp_path_factory.mktemp("tshark"))
    return dict(zip(MESSAGES, seen, strict=True))


def number(seen: Seen, name: str) -> int:
    return seen.one(f"mikey.{name}").number


def compare(payload: Payload, seen: Seen) -> None:
    """Every field that tshark shows is what the library reads."""
    if not isinstance(payload, SIGN | KeyData):
        assert number(seen, "next_payload") == payload["next_payload"]
    for field, name in NUMBERS[type(payload)].items():
        assert number(seen, name) == payload[field], field
    for field, name in OCTETS.get(type(payload), {}).items():
        shown = [inner.octets for inner in seen.fields if inner.name == f"mikey.{name}"]
        assert "".join(shown) == payload[field].hex(), field


def labels_of(payload: Payload) -> str:
    named = {KeyData: "key", GeneralExt: "ext"}
    return f"mikey.{named.get(type(payload), type(payload).__name__.lower())}"


every_message = pytest.mark.parametrize("name", MESSAGES)


@every_message
def test_header(name: str, dissected: dict[str, Seen]) -> None:
    header = Message.parse(MESSAGES[name].build()).header
    seen = dissected[name].one("mikey.hdr")
    assert number(seen, "version") == header.version
    assert number(seen, "type") == header.data_type
    assert number(seen, "next_payload") == header.next_payload
    assert number(seen, "v.set") == header.v
    assert number(seen, "prf_func") == header.prf
    assert number(seen, "csb_id") == header.csb_id
    assert number(seen, "cs_count") == header.cs_count
    assert number(seen, "cs_id_map_type") == header.cs_id_map_type
    assert seen.size == len(header.build())
    fields = ("policy_no", "ssrc", "roc")
    entries = [
        tuple(number(entry, f"srtp_id.{field}") for field in fields)
        for entry in seen.all("mikey.srtp_id")
    ]
    assert entries == [tuple(entry[field] for field in fields) for entry in header.cs_id_map]


@every_message
def test_payloads(name: str, dissected: dict[str, Seen]) -> None:
    payloads = Message.parse(MESSAGES[name].build()).payloads
    found = dissected[name].fields[1:]
    assert [seen.name for seen in found] == [labels_of(payload) for payload in payloads]
    for payload, seen in zip(payloads, found, strict=True):
        assert seen.offset == payload.offset
        if name not in ("CHASH", "D-H-with-SPI"):
            assert seen.size == payload.length
        compare(payload, seen)


@pytest.mark.parametrize("name", ["Pre-shared", "Public-key", "D-H-init", "Error"])
def test_time(name: str, dissected: dict[str, Seen]) -> None:
    payload = Message.parse(MESSAGES[name].build()).find(T)
    assert payload is not None
    ours = Timestamp.of(payload).unix_ns
    assert ours is not None
    assert abs(ours - dissected[name].one("mikey.t").one("mikey.t.ntp").unix_ns) <= 1


@pytest.mark.parametrize("name", ["Pre-shared", "D-H-init"])
def test_security_policy(name: str, dissected: dict[str, Seen]) -> None:
    policy = Message.parse(MESSAGES[name].build()).find(SP)
    assert policy is not None
    shown = dissected[name].one("mikey.sp").fields[4:]
    assert [field.name for field in shown] == [f"mikey.sp.{name}" for name in SRTP_PARAMETERS]
    for parameter, field in zip(policy.policy_param, shown, strict=True):
        assert number(field, "sp.param.type") == parameter.type
        assert number(field, "sp.param.len") == parameter.length
        assert field.octets == parameter.value.hex()


@pytest.mark.parametrize("name", ["Pre-shared", *(f"Key-{at}" for at in range(len(KEYS)))])
def test_keys(name: str, dissected: dict[str, Seen]) -> None:
    kemac = Message.parse(MESSAGES[name].build()).payloads[-1]
    key = nested(kemac)["encr_data"][0]
    seen = dissected[name].one("mikey.kemac").one("mikey.key")
    compare(key, seen)
    for field, shown in OPTIONAL.items():
        found = [f.octets for f in seen.fields if f.name == f"mikey.{shown}"]
        assert found == ([] if key[field] is None else [key[field].hex()]), field


def test_encrypted_keys(dissected: dict[str, Seen]) -> None:
    kemac = Message.parse(MESSAGES["Public-key"].build()).find(KEMAC)
    assert kemac is not None
    seen = dissected["Public-key"].one("mikey.kemac")
    assert seen.one("mikey.kemac.key_data").octets == kemac.encr_data.hex()


@pytest.mark.parametrize(("at", "field"), [(5, "data"), (6, "value")])
def test_general_extensions(at: int, field: str, dissected: dict[str, Seen]) -> None:
    payload = Message.parse(MESSAGES["Pre-shared"].build()).payloads[at]
    seen = dissected["Pre-shared"].fields[1 + at]
    assert seen.one(f"mikey.ext.{field}").octets == payload["data"].hex()
