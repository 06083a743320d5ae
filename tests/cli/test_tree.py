"""`decode` for people: what a tree says of fields that are easily lost."""

# ruff: noqa: E501 - a row for each case

from __future__ import annotations

import pytest
from rich.console import Console

from mikeytool.cli.render.dump import show_dump
from mikeytool.cli.render.tree import show_tree
from mikeytool.wire.describe import describe
from mikeytool.wire.message import Message
from mikeytool.wire.text_tree import message_tree
from tests.wire.samples import SAMPLES

HEADER = "01 00 {} 00 00000001 00 01"


def lines(octets: str) -> list[str]:
    """The lines of the tree of a message, without their guides."""
    drawn = message_tree(describe(Message.read(bytes.fromhex(octets))))
    return [line.lstrip("├└│─ ") for line in drawn.lines()]


@pytest.mark.parametrize(
    ("number", "octets", "expected"),
    [
        # DH (RFC 3830 6.4): OAKLEY 1 has 96 octets; KV of 6.14; reserved bits
        ("03", "00 01" + "ab" * 96 + "00", "DH  OAKLEY 1, dh value " + "ab" * 96),
        ("03", "00 01" + "ab" * 96 + "51 02 6162", "DH  OAKLEY 1, dh value " + "ab" * 96 + ", reserved 5, spi 6162"),
        # key data (RFC 3830 6.13): the interval, and a KV that nobody has defined
        ("01", "00 00 000b 00220002abcd 01 aa 02 bbcc 00", "TEK  key sha256:123d4c7e (2 octets), valid from aa to bbcc"),
        # a TEK of the length of key and salt, as RTSP cameras send it; 00 to 1d
        ("01", "00 00 0022 0020 001e 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d 00",
         "TEK  key sha256:f2192584 (30 octets: key and salt)"),
        # a TGK is never both; one octet
        ("01", "00 00 0022 0000 001e 000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d 00",
         "TGK  key sha256:f2192584 (30 octets)"),
        ("01", "00 00 0005 0020 0001 00 00", "TEK  key sha256:6e340b9c (1 octet)"),
        # numbers without a name say of what they are
        ("06", "00 63 0001 61", "ID  id type 99, a"),
        ("0c", "00 c8 0000", "ERR  error no 200"),
        ("0c", "00 03 beef", "ERR  Invalid MAC, reserved 48879"),
        ("15", "00 fa 0001 aa", "General Ext.  type 250, data aa"),
        ("0a", "00 02 63 0003 000101", "type 0  1"),
        # 2018-01-15T18:07:29.755Z as FILETIME, which is wrong in NTP (RFC 3830 6.6)
        ("05", "00 00 01d38e2bb52286a2", "T  NTP-UTC, 2037-01-26T22:03:23.707558Z"),
        ("05", "00 00 01d38e2bb52286a2", "note  as a Windows FILETIME it is 2018-01-15T18:07:29.755Z"),
        # a NUL in an identity
        ("06", "00 01 0007 7369703a614000", "ID  URI, sip:a@\\x00"),
        # 3GPP TS 33.180 E.5 and E.6
        ("15", "00 06 0006 00 01 02 0001 61", "id scheme  3GPP MCX hashed UID"),
        ("15", "00 07 0011 02 00000001 0000000000 0065000000 0000", "activation time  none"),
        ("15", "00 07 0011 02 00000001 0000000000 0065000000 0000", "expiry time  2023-09-12T06:06:56Z"),
        ("15", "00 07 001d 00 00000003 ffffffffff 0000000001 0000 000a 01 7b 0006 7369703a6778", "iei 123  sip:gx"),
        # values that are not there
        ("0a", "00 02 00 0002 0000", "Encryption algorithm  empty"),
        # what cannot be read says why (RFC 4738 3.6: a CSB ID has 4 octets)
        ("15", "00 04 0003 616263", "Data cannot be read  General Ext. at octet 14: csb_id takes 4 octets, 3 are left"),
        ("15", "00 04 0005 0000000161", "Data cannot be read  General Ext. at octet 18: 1 octet stands behind the content"),
        ("15", "00 03 0002 0900", "key id type 9  empty"),
    ],
)  # fmt: skip
def test_no_field_is_lost(number: str, octets: str, expected: str) -> None:
    assert expected in lines(HEADER.format(number) + octets)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("01 00 00 0006 11111111 ffee 00", "SRTP, SSRC 0x11111111, session data ... ffee, no SPI yet"),
        ("01 63 00 0002 abcd 00", "protocol 99, session data abcd, no SPI yet"),
        ("01 00 00 0000 00", "SRTP, no SSRC yet, no SPI yet"),
    ],
)  # fmt: skip
def test_session_data(entry: str, expected: str) -> None:
    """RFC 6043 6.1.1: 4 octets of an SRTP session without the S flag."""
    found = lines("01 00 00 00 00000001 01 02" + entry)
    assert f"CS 1  {expected}, no policy yet" in found


def test_a_pipe_gets_what_a_terminal_without_colour_gets(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same lines, and not one by one through what is made for terminals."""
    messages = [Message.parse(one.data) for one in SAMPLES[:12]]
    monkeypatch.delenv("COLUMNS", raising=False)

    def print_all() -> str:
        for one in messages:
            show_tree(describe(one))
            show_dump(one)
        return capsys.readouterr().out

    with monkeypatch.context() as patched:
        patched.setattr(Console, "print", None)
        plain = print_all()
    monkeypatch.setattr("mikeytool.cli.render.tree.is_plain", lambda: False)
    monkeypatch.setattr("mikeytool.cli.render.dump.is_plain", lambda: False)
    assert print_all() == plain
