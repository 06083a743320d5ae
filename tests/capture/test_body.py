from __future__ import annotations

import base64
import quopri

import pytest

from mikeytool.capture.body import MAX_MULTIPARTS, Part, parts_of
from mikeytool.capture.carrier import Carrier
from mikeytool.wire.errors import WireError
from tests.capture.carriers import lines, sdp

SDP = sdp()


def carrier(content_type: str, body: bytes, **fields: str) -> Carrier:
    values = {name.replace("_", "-"): [value] for name, value in fields.items()}
    if content_type:
        values["content-type"] = [content_type]
    return Carrier("SIP", fields=values, body=body)


def multipart(boundary: str, *parts: bytes) -> bytes:
    mark = f"--{boundary}\r\n".encode()
    return b"".join(mark + part + b"\r\n" for part in parts) + f"--{boundary}--\r\n".encode()


def part(content_type: str, content: bytes, *headers: str) -> bytes:
    return lines(f"Content-Type: {content_type}", *headers, "") + content


def test_one_body() -> None:
    (only,) = parts_of(carrier("Application/SDP; charset=utf-8", SDP))
    assert only == Part("application/sdp", SDP)
    assert list(parts_of(carrier("application/sdp", b""))) == []


def test_a_description_without_a_type_is_known_by_its_beginning() -> None:
    assert list(parts_of(carrier("", SDP))) == [Part("application/sdp", SDP)]
    assert list(parts_of(carrier("", b"hello"))) == [Part("", b"hello")]


def test_multipart_with_quoted_boundary_preamble_and_binary() -> None:
    binary = bytes(range(256))
    body = b"preamble\r\n" + multipart(
        "a b;c", part("text/plain", b"hello"), part("application/mikey", binary)
    )
    found = list(parts_of(carrier('multipart/mixed; boundary="a b;c"', body)))
    assert found == [Part("text/plain", b"hello"), Part("application/mikey", binary)]


def test_nested_multipart() -> None:
    inner = multipart("in", part("application/sdp", SDP[:-2]), part("text/plain", b"x"))
    body = multipart(
        "out", part("multipart/alternative; boundary=in", inner), part("image/x", b"y")
    )
    found = list(parts_of(carrier("multipart/mixed;boundary=out", body)))
    assert [one.content_type for one in found] == ["application/sdp", "text/plain", "image/x"]
    assert found[0].content == SDP[:-2]


def test_a_part_in_base64() -> None:
    body = multipart(
        "b", part("application/mikey", b"AQIDBA==", "Content-Transfer-Encoding: base64")
    )
    (only,) = parts_of(carrier("multipart/mixed; boundary=b", body))
    assert only.content == b"\1\2\3\4"


def test_a_body_with_a_transfer_encoding() -> None:
    for name, body in (
        ("base64", base64.encodebytes(SDP)),
        ("Quoted-Printable", quopri.encodestring(SDP)),
    ):
        (only,) = parts_of(carrier("application/sdp", body, content_transfer_encoding=name))
        assert only.content.replace(b"\r\n", b"\n") == SDP.replace(b"\r\n", b"\n")
    broken = carrier("application/sdp", b"QQQQQ", content_transfer_encoding="base64")
    with pytest.raises(WireError, match="base64"):
        list(parts_of(broken))


def test_a_last_part_that_breaks_off() -> None:
    body = multipart("b", part("application/sdp", SDP))[:-20]
    (only,) = parts_of(carrier("multipart/mixed; boundary=b", body))
    assert SDP.startswith(only.content)


@pytest.mark.parametrize(
    ("content_type", "body", "word"),
    [
        ("multipart/mixed", b"--x\r\n\r\nhello\r\n--x--", "no boundary"),
        ("multipart/mixed; boundary=y", b"--x\r\n\r\nhello\r\n--x--", "no boundary"),
        ("multipart/mixed; boundary=x", b"multipart/" * MAX_MULTIPARTS, "too many parts"),
        ("multipart/mixed; boundary=x", b"--x\r\n\r\n" * 300, "too many parts"),
        (f"multipart/mixed; a={'b' * 2000}; boundary=x", b"--x\r\n\r\n--x--", "too long"),
    ],
)
def test_what_cannot_be_read_says_so(content_type: str, body: bytes, word: str) -> None:
    with pytest.raises(WireError, match=word):
        list(parts_of(carrier(content_type, body)))


def test_a_compressed_body_is_not_read() -> None:
    with pytest.raises(WireError, match="'gzip'"):
        list(parts_of(carrier("application/sdp", SDP, content_encoding="gzip")))
    assert list(parts_of(carrier("application/sdp", SDP, content_encoding="identity")))
