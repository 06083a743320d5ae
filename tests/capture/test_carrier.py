from __future__ import annotations

import pytest

from mikeytool.capture.carrier import START, read_fields, read_head
from tests.capture.carriers import lines


@pytest.mark.parametrize(
    ("start", "protocol", "method", "status", "target"),
    [
        ("INVITE sip:bob@example.com SIP/2.0", "SIP", "INVITE", None, "sip:bob@example.com"),
        ("SIP/2.0 200 OK", "SIP", "UPDATE", 200, ""),
        ("SIP/2.0 486 ", "SIP", "UPDATE", 486, ""),
        ("DESCRIBE rtsps://cam/1 RTSP/1.0", "RTSP", "DESCRIBE", None, "rtsps://cam/1"),
        ("GET_PARAMETER * RTSP/2.0", "RTSP", "GET_PARAMETER", None, "*"),
        ("RTSP/1.0 454 Session Not Found", "RTSP", "", 454, ""),
        ("POST /keymanagement HTTP/1.1", "HTTP", "POST", None, "/keymanagement"),
        ("HTTP/1.0 200", "HTTP", "", 200, ""),
    ],
)
@pytest.mark.parametrize("newline", [b"\r\n", b"\n"])
def test_start_lines(
    start: str, protocol: str, method: str, status: int | None, target: str, newline: bytes
) -> None:
    head = newline.join([start.encode(), b"CSeq: 4711 UPDATE", b"", b""])
    carrier = read_head(head)
    assert carrier is not None
    assert (carrier.protocol, carrier.method) == (protocol, method)
    assert (carrier.status, carrier.target) == (status, target)
    assert carrier.value("cseq") == "4711 UPDATE"
    assert carrier.body == b""


@pytest.mark.parametrize(
    "start",
    ["invite sip:bob@example.com SIP/2.0", "INVITE sip:bob SIP/1.0", "INVITE SIP/2.0", "SIP/2.0 20",
     "SIP/2.0 2000 OK", "EHLO example.com", " INVITE sip:bob SIP/2.0", ""],
)  # fmt: skip
def test_other_lines_are_none(start: str) -> None:
    assert read_head(lines(start, "CSeq: 1 INVITE", "")) is None


def test_a_start_line_is_found_behind_other_octets() -> None:
    data = b"\x00\xffrest\r\nSIP/2.0 200 OK\r\nVia: x\r\n"
    found = START.search(data)
    assert found is not None
    assert found.start() == data.index(b"SIP")


def test_compact_folded_and_repeated_fields() -> None:
    fields = read_fields(
        lines(
            "i: abc", "CALL-ID : second", "c:application/sdp", "l: 12", "f: <sip:a>", "t: <sip:b>",
            "Subject: one", "  two", "\tthree", "no colon here", "KeyMgmt: prot=mikey;",
            ' data="A"',
        ),
        {"call-id", "content-type", "content-length", "from", "to", "keymgmt"},
    )  # fmt: skip
    assert "subject" not in fields
    assert fields["call-id"] == ["abc", "second"]
    assert fields["content-type"] == ["application/sdp"]
    assert fields["content-length"] == ["12"]
    assert (fields["from"], fields["to"]) == (["<sip:a>"], ["<sip:b>"])
    assert fields["keymgmt"] == ['prot=mikey; data="A"']


@pytest.mark.parametrize(
    ("text", "length"),
    [("17", 17), ("0", 0), ("", None), ("-1", None), ("1e3", None), ("²", None), ("9" * 30, None)],
)
def test_content_length(text: str, length: int | None) -> None:
    carrier = read_head(lines("SIP/2.0 200 OK", f"Content-Length: {text}", ""))
    assert carrier is not None
    assert carrier.content_length == length


def test_octets_that_are_no_text_are_no_harm() -> None:
    carrier = read_head(b"INVITE sip:\xff\xfe SIP/2.0\r\nTo: \xc3\x28\r\n\r\n")
    assert carrier is not None
    assert carrier.target.startswith("sip:")
    assert "to" in carrier.fields
