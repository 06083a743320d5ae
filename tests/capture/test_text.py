"""Messages are found in every form that they come in, and bad lines keep their place."""

from __future__ import annotations

import base64
import textwrap
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mikeytool.capture.encoding import begins_message
from mikeytool.capture.strict_text import FoundMessage
from mikeytool.capture.text import Format, find_messages, format_message
from mikeytool.wire.errors import WireError
from tests.capture.messages import ERROR, TRANSFER_RESP, UPDATE_RESP, b64
from tests.support import to_an_end

ANY_VERSION_1 = st.binary(max_size=300).map(lambda rest: b"\x01" + rest)
NEWLINE = st.sampled_from(["\n", "\r\n"])

MESSAGES = Path(__file__).parents[3] / "shared" / "data" / "messages.txt"


def found(text: str | bytes, *, lines: bool = False) -> list[FoundMessage]:
    items = find_messages(text.encode() if isinstance(text, str) else text, lines=lines)
    assert [item for item in items if isinstance(item, WireError)] == []
    return [item._replace(carried=None) for item in items if isinstance(item, FoundMessage)]


def messages(text: str | bytes, *, lines: bool = False) -> list[bytes]:
    return [item.message for item in found(text, lines=lines)]


def outcome(text: str | bytes, *, lines: bool = False) -> list[FoundMessage | WireError]:
    """What is returned, or the error that is raised."""
    try:
        return find_messages(text.encode() if isinstance(text, str) else text, lines=lines)
    except WireError as caught:
        return [caught]


def error(text: str | bytes, *, lines: bool = False) -> str:
    """The only error of a text, raised or in the list."""
    (item,) = outcome(text, lines=lines)
    assert isinstance(item, WireError)
    return str(item)


# One message, each way to write it


@given(ANY_VERSION_1)
def test_binary(message: bytes) -> None:
    assert found(message) == [FoundMessage(message, "binary input")]


def test_binary_with_a_broken_version() -> None:
    for version in (b"\x00", b"\x02", b"A", b"\xff", b"\n"):
        assert messages(version + ERROR[1:]) == [version + ERROR[1:]]


@given(ANY_VERSION_1, NEWLINE)
def test_one_line(message: bytes, newline: str) -> None:
    for text in (
        message.hex(),
        message.hex(":").upper(),
        b64(message),
        base64.urlsafe_b64encode(message).decode().rstrip("="),
        f"a=key-mgmt:mikey {b64(message)}",
        f"a=acap:1 key-mgmt:mikey {b64(message)}",
        f'KeyMgmt: prot=mikey;uri="rtsp://h/a";data="{b64(message)}"',
        f'keymgmt: prot=mikey;{newline}  uri="rtsp://h/a";{newline}\tdata="{b64(message)}"',
    ):
        assert messages(text) == messages(text + newline) == [message]
        assert messages(newline + "# a comment" + newline + text + newline) == [message]


@given(ANY_VERSION_1, st.sampled_from([64, 76]), NEWLINE)
def test_wrapped_base64(message: bytes, width: int, newline: str) -> None:
    for encoded in (base64.b64encode(message), base64.urlsafe_b64encode(message).rstrip(b"=")):
        wrapped = textwrap.wrap(encoded.decode(), width, break_on_hyphens=False)
        assume(not any(begins_message(line) for line in wrapped[1:]))
        assert messages(newline.join(wrapped) + newline) == [message]


@given(ANY_VERSION_1, st.sampled_from([32, 60, 75]), NEWLINE)
def test_wrapped_hex(message: bytes, width: int, newline: str) -> None:
    for digits in (message.hex(), message.hex().upper()):
        wrapped = [digits[at : at + width] for at in range(0, len(digits), width)]
        assume(not any(begins_message(line) for line in wrapped[1:]))
        assert messages(newline.join(wrapped) + newline) == [message]


def test_wrapped_hex_with_spaces_and_prefixes() -> None:
    rows = [TRANSFER_RESP[at : at + 16] for at in range(0, len(TRANSFER_RESP), 16)]
    assert messages("\n".join(row.hex(" ") for row in rows)) == [TRANSFER_RESP]
    assert messages("\n".join("0x" + row.hex() for row in rows)) == [TRANSFER_RESP]


def test_wrapped_lines_name_their_place() -> None:
    text = b64(TRANSFER_RESP)
    (item,) = found(f"# wrapped\n{text[:76]}\n{text[76:152]}\n{text[152:]}\n")
    assert (item.where, item.line) == ("lines 2 to 4", 2)


def test_byte_order_mark() -> None:
    assert messages(b"\xef\xbb\xbf" + b64(ERROR).encode()) == [ERROR]


def test_a_broken_version_or_type_in_clean_hex() -> None:
    assert messages("020e0500") == [bytes.fromhex("020e0500")]
    assert messages("01ff0500") == [bytes.fromhex("01ff0500")]


# Several lines


def test_one_message_a_line_with_comments_and_blanks() -> None:
    text = (
        f"# all forms\n\n{b64(ERROR)}\r\n  {TRANSFER_RESP.hex()}\n\n   # more\n"
        f"a=key-mgmt:mikey {b64(UPDATE_RESP)}\n"
        f'KeyMgmt: prot=mikey;uri="rtsp://h/a";data="{b64(ERROR)}"\n'
        f"{TRANSFER_RESP.hex(':')}\n"
    )
    assert found(text) == found(text, lines=True)
    assert found(text) == [
        FoundMessage(ERROR, "line 3", 3),
        FoundMessage(TRANSFER_RESP, "line 4", 4),
        FoundMessage(UPDATE_RESP, "a=key-mgmt, line 7", 7),
        FoundMessage(ERROR, "KeyMgmt header, line 8", 8, uri="rtsp://h/a"),
        FoundMessage(TRANSFER_RESP, "line 9", 9),
    ]


def test_several_wrapped_messages_apart() -> None:
    one, other = b64(TRANSFER_RESP), b64(UPDATE_RESP)
    text = f"{one[:76]}\n{one[76:152]}\n{one[152:]}\n\n{other[:76]}\n{other[76:]}\n"
    assert messages(text) == [TRANSFER_RESP, UPDATE_RESP]


def test_lines_keeps_every_line_apart() -> None:
    text = b64(TRANSFER_RESP)
    assert len(found(f"{text[:76]}\n{text[76:152]}\n", lines=True)) == 2


def test_lines_makes_signalling_an_error() -> None:
    assert error("v=0\n", lines=True) == (
        "line 1: SDP, SIP or RTSP without MIKEY; leave out --lines"
    )


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ("010e0", "line 2: 5 hex digits, an odd number"),
        ("zz!", "line 2: '!' at column 3 is neither hex nor base64"),
        ("AQAFA", "line 2: base64 cannot have 5 characters"),
        ("error: no such ticket", "line 2: ':' at column 6 is neither"),
        ("a=key-mgmt:mikey", "a=key-mgmt, line 2: no data is behind mikey"),
        ("a=key-mgmt:", "a=key-mgmt, line 2: no protocol is named"),
        ("a=key-mgmt:mikey AQ!F", "a=key-mgmt, line 2: '!', character 3 of the base64"),
        ("KeyMgmt: prot=mikey", "KeyMgmt header, line 2: no data is behind mikey"),
        ('KeyMgmt: data="AQAF"', "KeyMgmt header, line 2: no protocol is named"),
    ],
)
@pytest.mark.parametrize("lines", [False, True])
def test_a_bad_line_keeps_its_place_and_the_others(bad: str, expected: str, lines: bool) -> None:
    text = f"{ERROR.hex()}\n{bad}\n{b64(TRANSFER_RESP)}\n"
    first, second, third = find_messages(text.encode(), lines=lines)
    assert first == FoundMessage(ERROR, "line 1", 1)
    assert isinstance(second, WireError)
    assert str(second).startswith(expected)
    assert third == FoundMessage(TRANSFER_RESP, "line 3", 3)


def test_a_short_bad_line_is_not_taken_for_the_end_of_a_wrapped_message() -> None:
    unpadded = ERROR[:45]
    for text in (ERROR.hex(), b64(unpadded)):
        first, second = find_messages(f"{text}\nabcde\n".encode())
        assert isinstance(first, FoundMessage)
        assert isinstance(second, WireError)


def test_a_wrapped_message_that_lost_a_character_is_one_error() -> None:
    text = b64(TRANSFER_RESP)[:165]
    assert error(f"{text[:76]}\n{text[76:152]}\n{text[152:]}\n").startswith(
        "lines 1 to 3: base64 cannot have 165 characters"
    )


# Nothing to find


@pytest.mark.parametrize("data", [b"", b" \r\n\t ", b"\xef\xbb\xbf\n"])
def test_empty_input(data: bytes) -> None:
    assert error(data) == (
        "the input is empty; the command before it in the pipe may have failed, look at its"
        " messages"
    )


def test_only_comments() -> None:
    assert error("# nothing\n\n") == "the text holds only comments; give a message behind them"


def test_sdp_without_key_management() -> None:
    text = error("v=0\no=- 1 1 IN IP4 192.0.2.1\ns=-\nm=audio 4 RTP/AVP 0\n")
    assert "holds no a=key-mgmt:mikey attribute and no KeyMgmt header" in text


def test_sdes_is_named() -> None:
    crypto = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5"
    for text, number in ((crypto, 1), (f"v=0\nm=audio 4 RTP/SAVP 0\n{crypto}\n", 3)):
        assert f"a=crypto in line {number}: that is SDES" in error(text)
        assert "srtp --sdes" in error(text)


def test_other_protocols_are_passed_over() -> None:
    text = error("a=key-mgmt:keyp1 727g\nKeyMgmt: prot=MIKEY;data=AQAF\n")
    assert "only the protocol 'keyp1', 'MIKEY'" in text
    assert messages(f"a=key-mgmt:keyp1 ??\na=key-mgmt:mikey {b64(ERROR)}\n") == [ERROR]


# Signalling

OFFER = f"""\
v=0
o=alice 2891092738 2891092738 IN IP4 host.example.com
s=A call
t=0 0
c=IN IP4 host.example.com
a=key-mgmt:mikey {b64(TRANSFER_RESP)}
m=audio 49000 RTP/SAVP 98
a=rtpmap:98 AMR/8000
a=key-mgmt:mikey {b64(ERROR)}
m=video 52230 RTP/SAVP 31
a=rtpmap:31 H261/90000
a=acap:1 key-mgmt:mikey {b64(UPDATE_RESP)}
"""


def test_the_protocols_of_each_description() -> None:
    """RFC 4567 4.1.4: in their order, and of this description only (interpretation 50)."""
    offer = OFFER.replace("a=rtpmap:98", "a=key-mgmt:keyp1 AQ\na=key-mgmt:\na=rtpmap:98")
    answer = f"v=0\nm=audio 1 RTP/SAVP 0\na=key-mgmt:mikey {b64(ERROR)}\n"
    bare = f"a=key-mgmt:keyp2 AQ\na=key-mgmt:mikey {b64(ERROR)}\n"
    text = f"{bare}INVITE sip:b SIP/2.0\nTo: b\n\n{offer}\nSIP/2.0 200 OK\nTo: b\n\n{answer}"
    places = [
        item.carried for item in find_messages(text.encode()) if not isinstance(item, WireError)
    ]
    assert places[0] is None
    audio, video = "media 1 (audio)", "media 2 (video)"
    every = [("session level", "mikey"), (audio, "keyp1"), (audio, "mikey"), (video, "mikey")]
    assert [(one.description.offered, one.level) for one in places[1:4] if one] == [
        (every, "session level"), (every, audio), (every, video)
    ]  # fmt: skip
    assert [(one.description.offered, one.level) for one in places[4:] if one] == [
        ([(audio, "mikey")], audio)
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_sdp_offer(newline: str) -> None:
    assert found(OFFER.replace("\n", newline)) == [
        FoundMessage(TRANSFER_RESP, "a=key-mgmt, line 6, session level", 6, "session level"),
        FoundMessage(ERROR, "a=key-mgmt, line 9, media 1 (audio)", 9, "media 1 (audio)"),
        FoundMessage(UPDATE_RESP, "a=acap, line 12, media 2 (video)", 12, "media 2 (video)"),
    ]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_sip_with_several_bodies(newline: str) -> None:
    invite = (
        "INVITE sip:bob@example.com SIP/2.0\n"
        "Via: SIP/2.0/TLS host.example.com;branch=z9hG4bK1\n"
        "From: <sip:alice@example.com>;tag=1\n"
        "c: multipart/mixed;boundary=b1\n"
        "\n"
        "--b1\nContent-Type: application/sdp\n\n"
        f"{OFFER}--b1\nContent-Type: application/pkcs7-mime\n\n"
        f"{'MIIB' * 16}\n{'AQAF' * 16}\n--b1--\n"
    )
    items = found(invite.replace("\n", newline))
    assert [item.message for item in items] == [TRANSFER_RESP, ERROR, UPDATE_RESP]
    assert items[0].where == "a=key-mgmt, line 14, session level"


def test_a_part_that_is_the_message_itself() -> None:
    text = b64(TRANSFER_RESP)
    part = f"SIP/2.0 200 OK\n\n--b1\n\n{text[:76]}\n{text[76:152]}\n{text[152:]}\n--b1--\n"
    assert messages(part) == [TRANSFER_RESP]


def test_rtsp_setup_with_header() -> None:
    header = f'KeyMgmt: prot=mikey; uri="rtsp://h/a";\r\n   data="{b64(ERROR)}"\r\n'
    for start in ("SETUP rtsp://h/a/audio RTSP/1.0", "RTSP/1.0 200 OK"):
        text = f"{start}\r\nCSeq: 3\r\n{header}Session: 12345678\r\n\r\n"
        assert found(text) == [FoundMessage(ERROR, "KeyMgmt header, line 3", 3, uri="rtsp://h/a")]


def test_rtsp_response_with_sdp() -> None:
    start = "RTSP/1.0 200 OK\r\nCSeq: 2\r\nContent-Type: application/sdp\r\n\r\n"
    items = found(start + OFFER.replace("\n", "\r\n"))
    assert [item.message for item in items] == [TRANSFER_RESP, ERROR, UPDATE_RESP]


def test_several_specifications_in_a_header() -> None:
    header = (
        f'KeyMgmt: prot=mikey;uri="rtsp://h/a";data="{b64(ERROR)}",prot=keyp1;data="AA",'
        f' prot=mikey;uri="rtsp://h/b";data="{b64(UPDATE_RESP)}"'
    )
    items = found(header)
    assert [(item.message, item.uri) for item in items] == [
        (ERROR, "rtsp://h/a"),
        (UPDATE_RESP, "rtsp://h/b"),
    ]


def test_headers_copied_along_with_the_key_management() -> None:
    text = f'CSeq: 3\nKeyMgmt: prot=mikey;data="{b64(ERROR)}"\nSession: 1\n'
    assert messages(text) == [ERROR]


def test_an_attribute_printed_over_several_lines() -> None:
    text = b64(TRANSFER_RESP)
    offer = f"   v=0\n   a=key-mgmt:mikey {text[:50]}\n   {text[50:122]}\n   {text[122:]}\n   m=a\n"
    assert messages(offer) == [TRANSFER_RESP]


def test_indented_messages_are_not_continuations() -> None:
    text = f"  a=key-mgmt:mikey {b64(ERROR)}\n  {b64(UPDATE_RESP)}\n"
    text += f'  KeyMgmt: prot=mikey;data="{b64(ERROR)}"\n  {UPDATE_RESP.hex()}\n'
    assert messages(text) == [ERROR, UPDATE_RESP] * 2


def test_bare_messages_beside_signalling() -> None:
    assert messages(f"{b64(ERROR)}\n\n{OFFER}\n{UPDATE_RESP.hex()}\n") == [
        ERROR,
        TRANSFER_RESP,
        ERROR,
        UPDATE_RESP,
        UPDATE_RESP,
    ]


@pytest.mark.skipif(not MESSAGES.exists(), reason="the shared data are not beside the project")
def test_messages_of_other_software() -> None:
    items = found(MESSAGES.read_bytes())
    assert len(items) == 4
    assert all(item.message.startswith(b"\x01\x00\x05\x00") for item in items)
    assert items[-1].where.startswith("KeyMgmt header")


# Hostile input


@given(st.binary(min_size=1, max_size=400))
def test_any_input_gives_items_or_one_error(data: bytes) -> None:
    for item in outcome(data):
        assert isinstance(item, FoundMessage) or len(str(item).splitlines()) == 1


@given(st.lists(st.sampled_from([*OFFER.splitlines(), "AQAF", "  AAAA", "01", "--b", "#", ""])))
def test_any_order_of_lines_gives_items_or_one_error(lines: list[str]) -> None:
    assert outcome("\n".join(lines))


@pytest.mark.parametrize(
    "unit",
    [
        "A",
        "0",
        "01 ",
        "=",
        " ",
        ":",
        ";",
        ",",
        '"',
        "a=b ",
        "0x",
        "-",
        "m=",
        "\u00e9",
        "A b",
        "\0",
        "\\",
    ],
)
@pytest.mark.parametrize(
    "start", ["", "a=key-mgmt:mikey ", "a=acap:1 ", "KeyMgmt: prot=mikey;data=", "INVITE x", "AQ"]
)
def test_a_long_line_takes_linear_time(start: str, unit: str) -> None:
    text = start + unit * (100_000 // len(unit))
    with to_an_end():
        items = outcome(text)
    assert all(len(str(item)) < 300 for item in items if isinstance(item, WireError))


def test_two_megabytes_of_junk_in_one_line() -> None:
    with to_an_end():
        assert "neither hex nor base64" in error(b"x y;" * 500_000)


@pytest.mark.parametrize(
    "line", ["010e0500", "AQAF", "  AAAA", "junk!", "a=key-mgmt:mikey AQAF", "  prot=mikey", "m=a"]
)
def test_many_lines(line: str) -> None:
    for first in ("AQAFAAAA", "KeyMgmt: prot=mikey;data=AQAF", "a=key-mgmt:mikey AQAF"):
        with to_an_end():
            assert outcome(f"{first}\n{(line + chr(10)) * 8_000}")


# The way out


@pytest.mark.parametrize(
    ("fmt", "expected"),
    [
        ("b64", b"AQYFAA==\n"),
        ("hex", b"01060500\n"),
        ("raw", b"\x01\x06\x05\x00"),
        ("sdp", b"a=key-mgmt:mikey AQYFAA==\n"),
    ],
)
def test_format(fmt: Format, expected: bytes) -> None:
    assert format_message(b"\x01\x06\x05\x00", fmt) == expected


@given(ANY_VERSION_1)
def test_what_is_written_is_found_again(message: bytes) -> None:
    assert messages(format_message(message, "b64")) == [message]
    assert messages(format_message(message, "hex")) == [message]
    assert messages(format_message(message, "raw")) == [message]
    assert messages(format_message(message, "sdp")) == [message]
