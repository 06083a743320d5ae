"""Each payload against octets set by hand from the diagrams of RFC 3830 and RFC 6043, chapter 6."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest

from mikeytool.wire.errors import WireError
from mikeytool.wire.generate_parser import parser
from mikeytool.wire.grammar import Record
from mikeytool.wire.payloads import (
    CERT,
    CHASH,
    DH,
    ERR,
    ID,
    IDR,
    KEMAC,
    PAYLOADS,
    PKE,
    RAND,
    RANDR,
    SIGN,
    SP,
    THDR,
    TICKET,
    TP,
    TR,
    GeneralExt,
    KeyData,
    PolicyParam,
    T,
    V,
)
from mikeytool.wire.registry import TicketFlag
from tests.wire.samples import fields_of, read_flat


class Layout(NamedTuple):
    """A payload, its octets, and every field that they hold."""

    name: str
    kind: type[Record]
    octets: str
    values: dict[str, Any]


SHA1 = "000102030405060708090a0b0c0d0e0f10111213"
SHA256 = SHA1 + "1415161718191a1b1c1d1e1f"
KEY = "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf"
SALT = "b0b1b2b3b4b5b6b7b8b9babbbcbd"
NTP = "edc34f481f258eee"


def raw(text: str) -> bytes:
    return bytes.fromhex(text)


def key_data(type_: int, kv: int, **more: Any) -> dict[str, Any]:
    """The fields of a key data sub-payload with KEY; those that do not occur are None."""
    optional = ("salt_len", "salt", "spi_length", "spi")
    interval = ("vf_length", "valid_from", "vt_length", "valid_to")
    return {
        "next_payload": 0,
        "type": type_,
        "kv": kv,
        "key_data_len": 16,
        "key": raw(KEY),
        **dict.fromkeys((*optional, *interval)),
        **more,
    }


def dh(group: int, length: int, **more: Any) -> dict[str, Any]:
    """The fields of a DH payload before SIGN, with a DH-value of `length` octets."""
    validity = ("spi_length", "spi", "vf_length", "valid_from", "vt_length", "valid_to")
    return {
        "next_payload": 4,
        "dh_group": group,
        "dh_value": b"\xd1" * length,
        "reserved": 0,
        "kv": 0,
        **dict.fromkeys(validity),
        **more,
    }


def policy(**more: Any) -> dict[str, Any]:
    """The fields of a TP that says nothing."""
    return {
        "next_payload": 0,
        "ticket_type": 1,
        "subtype": 1,
        "version": 1,
        "prf": 0,
        "flags": 0,
        "res": 0,
        "tp_data_length": 0,
        "tp_data": b"",
        **more,
    }


SALTED = {"salt_len": 14, "salt": raw(SALT)}
SPI = {"spi_length": 4, "spi": raw("deadbeef")}
INTERVAL = {
    "vf_length": 6,
    "valid_from": raw("000000000001"),
    "vt_length": 6,
    "valid_to": raw("0000ffffffff"),
}
SPI_OCTETS = "04 deadbeef"
INTERVAL_OCTETS = "06 000000000001 06 0000ffffffff"

LAYOUTS = [
    # RFC 3830 6.2: next payload, encr alg, 16-bit length, data, MAC alg, MAC
    Layout(
        "KEMAC-NULL",
        KEMAC,
        "00 00 0003 aabbcc 00",
        {
            "next_payload": 0,
            "encr_alg": 0,
            "encr_data_len": 3,
            "encr_data": raw("aabbcc"),
            "mac_alg": 0,
            "mac": b"",
        },
    ),
    Layout(
        "KEMAC-HMAC-SHA-1-160",
        KEMAC,
        f"02 01 0102 {'5a' * 258} 01 {SHA1}",
        {
            "next_payload": 2,
            "encr_alg": 1,
            "encr_data_len": 258,
            "encr_data": b"Z" * 258,
            "mac_alg": 1,
            "mac": raw(SHA1),
        },
    ),
    Layout(
        "KEMAC-HMAC-SHA-256-256",
        KEMAC,
        f"09 03 0000 02 {SHA256}",
        {
            "next_payload": 9,
            "encr_alg": 3,
            "encr_data_len": 0,
            "encr_data": b"",
            "mac_alg": 2,
            "mac": raw(SHA256),
        },
    ),
    # RFC 3830 6.3: 2 bits C and 14 bits length in two octets
    Layout(
        "PKE-no-cache",
        PKE,
        "04 0005 aabbccddee",
        {"next_payload": 4, "c": 0, "data_len": 5, "data": raw("aabbccddee")},
    ),
    Layout(
        "PKE-cache",
        PKE,
        f"04 4100 {'11' * 256}",
        {"next_payload": 4, "c": 1, "data_len": 256, "data": b"\x11" * 256},
    ),
    Layout(
        "PKE-cache-for-CSB",
        PKE,
        "00 8001 ff",
        {"next_payload": 0, "c": 2, "data_len": 1, "data": b"\xff"},
    ),
    Layout(
        "PKE-longest",
        PKE,
        f"04 ffff {'22' * 16383}",
        {"next_payload": 4, "c": 3, "data_len": 16383, "data": b"\x22" * 16383},
    ),
    # RFC 3830 6.4: group, value of 1536, 768 or 1024 bits, 4 bits reserved, 4 bits KV, KV data
    Layout("DH-OAKLEY-5", DH, f"04 00 {'d1' * 192} 00", dh(0, 192)),
    Layout("DH-OAKLEY-1-SPI", DH, f"04 01 {'d1' * 96} 01 {SPI_OCTETS}", dh(1, 96, kv=1, **SPI)),
    Layout(
        "DH-OAKLEY-2-Interval",
        DH,
        f"04 02 {'d1' * 128} a2 {INTERVAL_OCTETS}",
        dh(2, 128, reserved=10, kv=2, **INTERVAL),
    ),
    # RFC 3830 6.5: 4 bits S type, 12 bits length, no next payload
    Layout(
        "SIGN-PKCS1",
        SIGN,
        f"0080 {'5e' * 128}",
        {"s_type": 0, "signature_len": 128, "signature": b"\x5e" * 128},
    ),
    Layout(
        "SIGN-PSS",
        SIGN,
        f"1100 {'5e' * 256}",
        {"s_type": 1, "signature_len": 256, "signature": b"\x5e" * 256},
    ),
    # RFC 3830 6.6, RFC 6043 6.3
    Layout(
        "T-NTP-UTC", T, f"0b 00 {NTP}", {"next_payload": 11, "ts_type": 0, "ts_value": raw(NTP)}
    ),
    Layout("T-NTP", T, f"0b 01 {NTP}", {"next_payload": 11, "ts_type": 1, "ts_value": raw(NTP)}),
    Layout(
        "T-COUNTER",
        T,
        "0b 02 00000007",
        {"next_payload": 11, "ts_type": 2, "ts_value": raw("00000007")},
    ),
    Layout(
        "T-NTP-UTC-32",
        T,
        "0b 03 edc34f48",
        {"next_payload": 11, "ts_type": 3, "ts_value": raw("edc34f48")},
    ),
    # RFC 3830 6.7
    Layout(
        "ID-NAI",
        ID,
        "07 00 0003 614062",
        {"next_payload": 7, "id_type": 0, "id_len": 3, "id_data": b"a@b"},
    ),
    Layout(
        "ID-URI",
        ID,
        "05 01 0005 7369703a61",
        {"next_payload": 5, "id_type": 1, "id_len": 5, "id_data": b"sip:a"},
    ),
    Layout(
        "CERT-URL",
        CERT,
        "04 01 0008 687474703a2f2f78",
        {"next_payload": 4, "cert_type": 1, "cert_len": 8, "cert_data": b"http://x"},
    ),
    Layout(
        "CERT-long",
        CERT,
        f"07 02 0400 {'30' * 1024}",
        {"next_payload": 7, "cert_type": 2, "cert_len": 1024, "cert_data": b"0" * 1024},
    ),
    # RFC 3830 6.8, RFC 6043 6.7
    Layout(
        "CHASH-SHA-1",
        CHASH,
        f"02 00 {SHA1}",
        {"next_payload": 2, "hash_func": 0, "hash": raw(SHA1)},
    ),
    Layout(
        "CHASH-MD5",
        CHASH,
        f"02 01 {SHA1[:32]}",
        {"next_payload": 2, "hash_func": 1, "hash": raw(SHA1[:32])},
    ),
    Layout(
        "CHASH-SHA-256",
        CHASH,
        f"02 02 {SHA256}",
        {"next_payload": 2, "hash_func": 2, "hash": raw(SHA256)},
    ),
    # RFC 3830 6.9
    Layout("V-NULL", V, "00 00", {"next_payload": 0, "auth_alg": 0, "ver_data": b""}),
    Layout(
        "V-HMAC-SHA-1-160",
        V,
        f"00 01 {SHA1}",
        {"next_payload": 0, "auth_alg": 1, "ver_data": raw(SHA1)},
    ),
    Layout(
        "V-HMAC-SHA-256-256",
        V,
        f"09 02 {SHA256}",
        {"next_payload": 9, "auth_alg": 2, "ver_data": raw(SHA256)},
    ),
    # RFC 3830 6.10
    Layout(
        "SP",
        SP,
        "0b 01 00 000c 00 01 01 01 01 10 06 04 00010000",
        {
            "next_payload": 11,
            "policy_no": 1,
            "protocol": 0,
            "policy_param_length": 12,
            "policy_param": [
                {"type": 0, "length": 1, "value": b"\x01"},
                {"type": 1, "length": 1, "value": b"\x10"},
                {"type": 6, "length": 4, "value": raw("00010000")},
            ],
        },
    ),
    Layout(
        "SP-without-parameters",
        SP,
        "00 ff 01 0000",
        {
            "next_payload": 0,
            "policy_no": 255,
            "protocol": 1,
            "policy_param_length": 0,
            "policy_param": [],
        },
    ),
    # RFC 3830 6.11
    Layout(
        "RAND",
        RAND,
        f"06 10 {KEY}",
        {"next_payload": 6, "rand_len": 16, "rand": raw(KEY)},
    ),
    # RFC 3830 6.12
    Layout("ERR", ERR, "09 0c 0000", {"next_payload": 9, "error_no": 12, "reserved": 0}),
    Layout("ERR-reserved", ERR, "00 0e 0102", {"next_payload": 0, "error_no": 14, "reserved": 258}),
    # RFC 6043 6.4
    Layout(
        "TR",
        TR,
        "0d 02 03 edc34f48",
        {"next_payload": 13, "ts_role": 2, "ts_type": 3, "ts_value": raw("edc34f48")},
    ),
    Layout(
        "TR-NTP-UTC",
        TR,
        f"00 04 00 {NTP}",
        {"next_payload": 0, "ts_role": 4, "ts_type": 0, "ts_value": raw(NTP)},
    ),
    # RFC 6043 6.6
    Layout(
        "IDR",
        IDR,
        "0e 04 02 0009 70736b2d616c696365",
        {"next_payload": 14, "id_role": 4, "id_type": 2, "id_len": 9, "id_data": b"psk-alice"},
    ),
    # RFC 6043 6.8
    Layout(
        "RANDR",
        RANDR,
        f"10 01 10 {KEY}",
        {"next_payload": 16, "rand_role": 1, "rand_length": 16, "rand": raw(KEY)},
    ),
    # RFC 6043 6.10: 7 bits PRF Func, 12 flags, 5 bits Res
    Layout("TP", TP, "00 0001 01 01 000000 0000", policy()),
    Layout("TP-all-PRF-bits", TP, "00 0001 01 01 fe0000 0000", policy(prf=127)),
    Layout("TP-all-flags", TP, "00 0001 01 01 01ffe0 0000", policy(flags=0xFFF)),
    Layout("TP-all-Res-bits", TP, "00 0001 01 01 00001f 0000", policy(res=31)),
    Layout(
        "TP-with-data",
        TP,
        "09 0201 03 04 035560 0005 0e01020304",
        policy(
            next_payload=9,
            ticket_type=0x0201,
            subtype=3,
            version=4,
            prf=1,
            flags=0b101010101011,  # 0x035560: 0000001 101010101011 00000
            tp_data_length=5,
            tp_data=raw("0e01020304"),
        ),
    ),
    Layout(
        "TICKET",
        TICKET,
        "09 0001 01 01 000000 0001 00 0003 000000 0002 0000",
        policy(
            next_payload=9,
            tp_data_length=1,
            tp_data=b"\0",
            ticket_data_length=3,
            ticket_data=bytes(3),
            initiator_data_length=2,
            initiator_data=bytes(2),
        ),
    ),
    Layout(
        "TICKET-without-Initiator-Data",
        TICKET,
        "09 0001 01 01 000000 0000 0001 ff 0000",
        policy(
            next_payload=9,
            ticket_data_length=1,
            ticket_data=b"\xff",
            initiator_data_length=0,
            initiator_data=b"",
        ),
    ),
    # RFC 6043 A.3
    Layout(
        "THDR",
        THDR,
        "05 0002 abcd",
        {"next_payload": 5, "thdr_data_length": 2, "thdr_data": raw("abcd")},
    ),
    # RFC 3830 6.13 and 6.14, RFC 6043 6.2.1: 4 bits type, 4 bits KV
    Layout("TGK", KeyData, f"00 00 0010 {KEY}", key_data(0, 0)),
    Layout("TGK-SPI", KeyData, f"00 01 0010 {KEY} {SPI_OCTETS}", key_data(0, 1, **SPI)),
    Layout(
        "TGK-Interval", KeyData, f"00 02 0010 {KEY} {INTERVAL_OCTETS}", key_data(0, 2, **INTERVAL)
    ),
    Layout("TGK+SALT", KeyData, f"00 10 0010 {KEY} 000e {SALT}", key_data(1, 0, **SALTED)),
    Layout("TEK", KeyData, f"00 20 0010 {KEY}", key_data(2, 0)),
    Layout(
        "TEK+SALT-SPI",
        KeyData,
        f"00 31 0010 {KEY} 000e {SALT} {SPI_OCTETS}",
        key_data(3, 1, **SALTED, **SPI),
    ),
    Layout(
        "TEK+SALT-Interval",
        KeyData,
        f"14 32 0010 {KEY} 000e {SALT} {INTERVAL_OCTETS}",
        key_data(3, 2, **SALTED, **INTERVAL, next_payload=20),
    ),
    Layout("GTGK-SPI", KeyData, f"00 41 0010 {KEY} {SPI_OCTETS}", key_data(4, 1, **SPI)),
    Layout(
        "GTGK+SALT-SPI",
        KeyData,
        f"00 51 0010 {KEY} 000e {SALT} {SPI_OCTETS}",
        key_data(5, 1, **SALTED, **SPI),
    ),
    Layout(
        "MPK-SPI",
        KeyData,
        f"14 61 0010 {KEY} {SPI_OCTETS}",
        key_data(6, 1, **SPI) | {"next_payload": 20},
    ),
    # RFC 3830 6.15
    Layout(
        "General-Ext",
        GeneralExt,
        "15 00 0003 616263",
        {"next_payload": 21, "type": 0, "data_length": 3, "data": b"abc"},
    ),
    Layout(
        "General-Ext-Key-ID",
        GeneralExt,
        "00 03 0004 00 02 abcd",
        {"next_payload": 0, "type": 3, "data_length": 4, "data": raw("0002abcd")},
    ),
]

LENGTHS_AND_COUNTS = ("_len", "_length", "length")

every_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)


def made(kind: type[Record], values: dict[str, Any]) -> Record:
    """A record of `values`, whose policy parameters are records again."""
    if kind is SP:
        values = values | {"policy_param": [PolicyParam(**v) for v in values["policy_param"]]}
    return kind(**values)


def without_lengths(values: dict[str, Any]) -> dict[str, Any]:
    """`values` as somebody gives them who leaves the lengths to the library."""
    return {
        key: [without_lengths(item) for item in value] if isinstance(value, list) else value
        for key, value in values.items()
        if not key.endswith(LENGTHS_AND_COUNTS)
    }


def test_every_payload_has_a_layout() -> None:
    """Those of later RFCs have theirs in the tests of their modules."""
    here = {kind for kind in PAYLOADS.values() if kind.__module__ == "mikeytool.wire.payloads"}
    assert {layout.kind for layout in LAYOUTS} == {THDR, *here}


@every_layout
def test_octets_give_the_values(layout: Layout) -> None:
    assert fields_of(read_flat(layout.kind, raw(layout.octets))) == layout.values


@every_layout
def test_construct_gives_the_values(layout: Layout) -> None:
    assert fields_of(layout.kind.parse(raw(layout.octets))) == layout.values


@every_layout
def test_values_give_the_octets(layout: Layout) -> None:
    assert made(layout.kind, layout.values).build() == raw(layout.octets)


@every_layout
def test_lengths_are_made_right(layout: Layout) -> None:
    values = without_lengths(layout.values)
    assert made(layout.kind, values).build() == raw(layout.octets)


@every_layout
def test_every_octet_is_needed(layout: Layout) -> None:
    data = raw(layout.octets)
    cuts = range(len(data)) if len(data) < 400 else [*range(10), len(data) // 2, len(data) - 1]
    for cut in cuts:
        with pytest.raises(WireError):
            parser(layout.kind)(data, 0, cut, None)


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (1, KEMAC),
        (2, PKE),
        (3, DH),
        (4, SIGN),
        (5, T),
        (6, ID),
        (7, CERT),
        (8, CHASH),
        (9, V),
        (10, SP),
        (11, RAND),
        (12, ERR),
        (13, TR),
        (14, IDR),
        (15, RANDR),
        (16, TP),
        (17, TICKET),
        (20, KeyData),
        (21, GeneralExt),
    ],
)
def test_payload_numbers(number: int, kind: type[Record]) -> None:
    """RFC 3830 table 6.1.b and RFC 6043 table 6.2."""
    assert PAYLOADS[number] is kind


def test_no_other_payload_number_is_read() -> None:
    assert len(PAYLOADS) == 24


@pytest.mark.parametrize(("flag", "at"), [(flag, at) for at, flag in enumerate("DEFGHIJKLMNO")])
def test_flag_positions(flag: str, at: int) -> None:
    """D comes first behind the 7 bits of PRF Func; see the diagram of RFC 6043 6.10."""
    word = (1 << 23) >> (7 + at)
    data = raw("00 0001 01 01") + word.to_bytes(3) + bytes(2)
    read = read_flat(TP, data)
    assert isinstance(read, TP)
    assert read.flag == TicketFlag[flag]
    assert read.flag.letters == flag
    assert TP(**policy(flags=TicketFlag.from_letters(flag))).build() == data


@pytest.mark.parametrize(
    ("kind", "octets"),
    [
        (KEMAC, "00 00 0000 03 00000000000000000000"),
        (V, "00 03 00000000000000000000"),
        (T, "00 04 0000000000000000"),
        (TR, "00 01 ff 0000000000000000"),
        (CHASH, f"00 03 {SHA256}"),
        (DH, f"00 03 {'00' * 200}"),
        (KeyData, f"00 80 0010 {KEY}"),
        (KeyData, f"00 f1 0010 {KEY} {SPI_OCTETS}"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_unknown_types_with_implicit_lengths_are_refused(kind: type[Record], octets: str) -> None:
    data = raw(octets)
    with pytest.raises(WireError, match="unknown"):
        parser(kind)(data, 0, len(data), None)
    with pytest.raises(WireError, match="unknown"):
        kind.parse(data)


@pytest.mark.parametrize(
    ("kind", "octets", "field"),
    [
        (ID, "00 63 0001 61", "id_type"),
        (IDR, "00 63 63 0001 61", "id_role"),
        (CERT, "00 63 0001 61", "cert_type"),
        (ERR, "00 63 0000", "error_no"),
        (GeneralExt, "00 63 0001 61", "type"),
        (KEMAC, "00 63 0000 00", "encr_alg"),
        (RANDR, "00 63 01 61", "rand_role"),
        (SP, "00 01 63 0000", "protocol"),
    ],
)
def test_unknown_types_with_lengths_survive(kind: type[Record], octets: str, field: str) -> None:
    read = read_flat(kind, raw(octets))
    assert read[field] == 0x63
    assert read.build() == raw(octets)


def test_an_unknown_kv_has_no_data() -> None:
    assert fields_of(read_flat(KeyData, raw(f"00 0f 0010 {KEY}"))) == key_data(0, 15)


@pytest.mark.parametrize(
    "octets",
    ["01 ffff", "01 ffff 00", "01 0002 00"],
)
@pytest.mark.parametrize("kind", [ID, CERT, GeneralExt], ids=lambda kind: kind.__name__)
def test_announced_octets_must_be_there(kind: type[Record], octets: str) -> None:
    data = b"\0" + raw(octets)
    with pytest.raises(WireError, match="are left"):
        parser(kind)(data, 0, len(data), None)


@pytest.mark.parametrize(
    "octets",
    [
        "01 01 ffff 00",
        f"00 30 0010 {KEY} ffff 00",
        f"00 21 0010 {KEY} ff 00",
        f"00 22 0010 {KEY} 00 ff",
    ],
)
def test_announced_octets_of_keys_must_be_there(octets: str) -> None:
    data = raw(octets)
    kind = KEMAC if data[0] else KeyData
    with pytest.raises(WireError, match="are left"):
        parser(kind)(data, 0, len(data), None)


def test_a_tp_is_no_ticket() -> None:
    assert read_flat(TP, raw("00 0001 01 01 000000 0000")) != TICKET(**policy(), ticket_data=b"")
