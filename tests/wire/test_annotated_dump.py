"""The annotated dump: every octet once, in order, beside the field that it belongs to."""

# ruff: noqa: E501 - a row for each case

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from mikeytool.wire.annotated_dump import Row, dump
from mikeytool.wire.json_record import JsonRecord
from mikeytool.wire.message import Message
from mikeytool.wire.text_dump import dump_lines
from tests.wire.mutations import mutated
from tests.wire.samples import COMMITTED, every_sample


def check(data: bytes) -> list[Row]:
    rows = list(dump(Message.read(data)))
    pos = 0
    for row in rows:
        assert row.offset == pos
        assert data[pos : pos + len(row.octets)] == row.octets
        assert row.text
        assert row.path
        pos += len(row.octets)
    assert pos == len(data)
    return rows


@every_sample
def test_every_octet_once(data: bytes) -> None:
    check(data)


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_every_octet_of_a_broken_message_once(data: bytes) -> None:
    check(data)


def test_every_octet_of_what_is_cut_off_once() -> None:
    data = COMMITTED[2].data
    for end in range(1, len(data)):
        check(data[:end])


def paths(rows: list[Row]) -> list[str]:
    return list(dict.fromkeys(" > ".join(name for name, _ in row.path) for row in rows))


def test_nested_as_deep_as_it_goes() -> None:
    rows = check(next(s.data for s in COMMITTED if s.name.endswith("TRANSFER_INIT")))
    assert "HDR > CS ID map, 2" in paths(rows)
    assert "TICKET > Ticket Policy > IDR" in paths(rows)
    assert "TICKET > Ticket Data > KEMAC" in paths(rows)
    assert "TICKET > Initiator Data > V" in paths(rows)


def texts(octets: str) -> list[tuple[int, str]]:
    return [(row.offset, row.text) for row in check(bytes.fromhex(octets))]


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("01 0e 05 81", [(0, "version 1"), (1, "data type TRANSFER_INIT"), (2, "next payload T"),
                         (3, "v 1, prf PRF-HMAC-SHA-256")]),
        ("01 00 00 00 00000001 00 01 abcd",
         [(0, "version 1"), (1, "data type Pre-shared"), (2, "next payload Last payload"),
          (3, "v 0, prf MIKEY-1"), (4, "csb id 0x00000001"), (8, "cs count 0"),
          (9, "cs id map type Empty map"), (10, "behind the last payload")]),
    ],
)  # fmt: skip
def test_headers(octets: str, expected: list[tuple[int, str]]) -> None:
    assert texts(octets) == expected


@pytest.mark.parametrize(
    ("number", "octets", "expected"),
    [
        ("05", "00 00 edc34f4880000000",
         ["next payload Last payload", "ts type NTP-UTC", "ts value 2026-05-28T23:33:28.500000Z"]),
        ("0d", "00 04 03 00000e10",
         ["next payload Last payload", "ts role Rekeying interval (TRr)", "ts type NTP-UTC-32", "ts value 3600"]),
        ("06", "00 01 0005 7369703a61", ["next payload Last payload", "id type URI", "id len 5", "id data sip:a"]),
        ("06", "00 01 0001 ff", ["next payload Last payload", "id type URI", "id len 1", "id data"]),
        ("0b", "00 02 aabb", ["next payload Last payload", "rand len 2", "rand"]),
        ("0a", "00 01 00 0006 000101 0b010a",
         ["next payload Last payload", "policy no 1", "protocol SRTP", "policy param length 6",
          "type Encryption algorithm", "length 1", "value AES-CM",
          "type Authentication tag length", "length 1", "value 10"]),
        ("15", "00 03 0005 01 03 aabbcc",
         ["next payload Last payload", "type Key ID", "data length 5", "key id type MBMS Service Key ID",
          "key id length 3", "key id"]),
        ("15", "00 04 0003 000001", ["next payload Last payload", "type CSB_ID", "data length 3", "data"]),
        ("10", "00 0001 01 01 01fc60 0000",
         ["next payload Last payload", "ticket type MIKEY Base Ticket", "subtype 1", "version 1",
          "prf MIKEY-1, flags 0xfe3 DEFGHIJNO, res 0", "tp data length 0", "tp data"]),
        ("01", "00 00 0006 00200002 abcd 00",
         ["next payload Last payload", "encr alg NULL", "encr data len 6", "next payload Last payload",
          "type TEK, kv Null", "key data len 2", "key", "mac alg NULL", "mac"]),
    ],
)  # fmt: skip
def test_payloads(number: str, octets: str, expected: list[str]) -> None:
    found = texts(f"01 00 {number} 00 00000001 00 01 {octets}")
    assert [text for _, text in found[7:]] == expected


def test_session_data_of_srtp_is_taken_apart() -> None:
    entry = "01 00 80 000b 11111111 00000005 0006 ff 01 aa"
    found = texts(f"01 00 00 00 00000001 01 02 {entry}")
    assert [text for _, text in found[7:]] == [
        "cs id 1", "protocol SRTP", "s 1, policy count 0", "policies []", "session data length 11",
        "ssrc 0x11111111", "roc 5", "seq 6", "session data", "spi length 1", "spi",
    ]  # fmt: skip


def test_a_record_is_described_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many fields it has: 255 crypto sessions, and a policy of 1,000 parameters."""
    count = 0
    describe = JsonRecord.describe

    def counted(self: JsonRecord, record: Any) -> dict[str, Any]:
        nonlocal count
        count += 1
        return describe(self, record)

    monkeypatch.setattr(JsonRecord, "describe", counted)
    check(bytes.fromhex("01 00 00 00 00000001 ff 00" + "00 00000001 00000000" * 255))
    assert count == 1 + 255
    count = 0
    check(bytes.fromhex("01 00 0a 00 00000001 00 01 00 00 00 0bb8" + "000101" * 1000))
    assert count == 2


def test_keys_in_the_clear_are_told() -> None:
    """RFC 3830 6.2 and 6.13: a KEMAC with NULL encryption, with a key and a salt, and one cut."""
    header, kemac = "01 00 01 00 00000007 00 01", "00 00 {} {} 00"
    whole = "00 10 0003 aabbcc 0002 ddee"
    secret = [
        [row.octets.hex() for row in check(bytes.fromhex(f"{header} {kemac.format(size, data)}"))
         if row.is_secret]
        for size, data in (("000b", whole), ("0005", "00 10 0003 aa"))
    ]  # fmt: skip
    assert secret == [["aabbcc", "ddee"], ["00100003aa"]]


def test_lines_have_every_octet_and_fit_a_width() -> None:
    data = COMMITTED[0].data
    lines = list(dump_lines(Message.read(data), 60))
    octets = "".join(line.octets for line in lines if not line.is_title)
    assert bytes.fromhex(octets) == data
    assert max(len(str(line)) for line in lines if not line.is_title) <= 60
    assert lines[0] == ("", "HDR", "", True)
