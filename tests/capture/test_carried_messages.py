from __future__ import annotations

import pytest

from mikeytool.capture.carried_messages import CarriedMessage, messages_in
from mikeytool.capture.carrier import Carrier, Protocol
from mikeytool.wire.errors import WireError
from tests.capture.carriers import key_mgmt, lines, sdp
from tests.capture.messages import ERROR, TRANSFER_RESP, UPDATE_RESP, b64
from tests.capture.test_body import multipart, part


def carrier(protocol: Protocol, body: bytes = b"", **fields: str) -> Carrier:
    named = {name.replace("_", "-"): [value] for name, value in fields.items()}
    return Carrier(protocol, fields=named, body=body)


def in_sdp(body: bytes) -> list[CarriedMessage]:
    found = messages_in(carrier("SIP", body, content_type="application/sdp"))
    return [one._replace(carried=None) for one in found]


def test_descriptions_at_every_level() -> None:
    body = (
        lines("v=0", key_mgmt(ERROR), "m=audio 1 RTP/SAVP 0", key_mgmt(TRANSFER_RESP))
        + lines(f"a=acap:1 key-mgmt:mikey {b64(UPDATE_RESP)}", "m=video 2 RTP/SAVP 31")
        + lines(key_mgmt(ERROR))
    )
    assert in_sdp(body) == [
        CarriedMessage(ERROR, "session level"),
        CarriedMessage(TRANSFER_RESP, "media 1 (audio)"),
        CarriedMessage(UPDATE_RESP, "media 1 (audio)"),
        CarriedMessage(ERROR, "media 2 (video)"),
    ]


def test_other_protocols_and_sdes_are_passed_over() -> None:
    crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:abc"
    assert in_sdp(sdp("a=key-mgmt:kerberos AQAF", crypto, key_mgmt(ERROR))) == [
        CarriedMessage(ERROR, "media 1 (audio)")
    ]


def test_the_protocols_of_a_description() -> None:
    """RFC 4567 4.1.4: also those behind a message, and those at other levels."""
    body = lines("v=0", key_mgmt(ERROR), "a=key-mgmt:keyp1 AQ", "m=audio 1 RTP/SAVP 0")
    body += lines("a=key-mgmt:keyp2 AQ", key_mgmt(ERROR))
    places = [
        one.carried for one in messages_in(carrier("SIP", body, content_type="application/sdp"))
    ]
    assert [(one.description.protocols, one.level) for one in places if one] == [
        (("mikey", "keyp1", "keyp2"), "session level"),
        (("mikey", "keyp1", "keyp2"), "media 1 (audio)"),
    ]


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("a=key-mgmt:mikey", "no data"),
        ("a=key-mgmt:", "no protocol"),
        ("a=key-mgmt:mikey AQ!F", "character 3"),
        (key_mgmt(TRANSFER_RESP)[:-3], "one is lost"),
    ],
)
def test_broken_attributes_are_errors_in_their_place(line: str, word: str) -> None:
    first, broken, last = in_sdp(sdp(key_mgmt(ERROR), line, key_mgmt(ERROR)))
    assert first.message == last.message == ERROR
    assert isinstance(broken.message, WireError)
    assert word in str(broken.message)
    assert broken.level == "media 1 (audio)"


def test_keymgmt_headers() -> None:
    """RFC 4567 3.2: several specifications in one header, several headers."""
    values = [
        f'prot=mikey; uri="rtsp://a/1"; data="{b64(ERROR)}",prot=other;data="AA"',
        f"data={b64(TRANSFER_RESP)};prot=mikey",
        "prot=mikey",
    ]
    *good, bad = messages_in(Carrier("RTSP", "SETUP", fields={"keymgmt": values}))
    assert good == [
        CarriedMessage(ERROR, "KeyMgmt header", "rtsp://a/1"),
        CarriedMessage(TRANSFER_RESP, "KeyMgmt header"),
    ]
    assert isinstance(bad.message, WireError)


@pytest.mark.parametrize("body", [ERROR, b64(ERROR).encode(), b64(ERROR).encode() + b"\r\n"])
def test_bodies_of_mikey_in_binary_and_base64(body: bytes) -> None:
    http = carrier("HTTP", body, content_type="application/mikey")
    assert list(messages_in(http)) == [CarriedMessage(ERROR)]


@pytest.mark.parametrize("body", [b"this is none", b" "])
def test_a_body_that_is_no_message_is_an_error(body: bytes) -> None:
    (bad,) = messages_in(carrier("HTTP", body, content_type="application/mikey"))
    assert isinstance(bad.message, WireError)


def test_parts_of_a_body() -> None:
    body = multipart(
        "b", part("text/plain", key_mgmt(ERROR).encode()),
        part("application/sdp", sdp(key_mgmt(TRANSFER_RESP))), part("application/mikey", ERROR),
    )  # fmt: skip
    given = messages_in(carrier("SIP", body, content_type="multipart/mixed; boundary=b"))
    assert [one.message for one in given] == [TRANSFER_RESP, ERROR]


def test_a_bare_message_is_taken_as_it_is() -> None:
    assert list(messages_in(carrier("MIKEY", b"\x01broken"))) == [CarriedMessage(b"\x01broken")]


def test_a_body_that_cannot_be_read_is_raised_behind_the_headers() -> None:
    value = f'prot=mikey;data="{b64(ERROR)}"'
    reading = messages_in(carrier("RTSP", b"x", content_type="multipart/mixed", keymgmt=value))
    assert next(reading).message == ERROR
    with pytest.raises(WireError, match="boundary"):
        next(reading)
