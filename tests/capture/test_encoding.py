"""Hex and base64: both are read, they are told apart, and a fault is named where it is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.capture.encoding import begins_message, is_wrapped, read_base64, read_text
from mikeytool.wire.errors import WireError
from tests.capture.messages import ERROR, TRANSFER_RESP, b64

ANY_VERSION_1 = st.binary(max_size=200).map(lambda rest: b"\x01" + rest)


@given(ANY_VERSION_1)
def test_hex_of_a_message_is_read_as_hex(message: bytes) -> None:
    plain = message.hex()
    forms = [plain, plain.upper(), message.hex(":"), message.hex(" "), message.hex(" ", 4)]
    forms += ["0x" + plain, "0X" + plain.upper(), " ".join(f"0x{octet:02x}" for octet in message)]
    for text in forms:
        assert read_text(text) == message
        assert read_text(f" \t{text}  ") == message


@given(ANY_VERSION_1)
def test_base64_of_a_message_is_read_as_base64(message: bytes) -> None:
    for text in (base64.b64encode(message), base64.urlsafe_b64encode(message)):
        assert read_text(text.decode()) == message
        assert read_text(text.decode().rstrip("=")) == message
        assert read_base64(text.decode().rstrip("=")) == message


def test_text_in_both_alphabets_is_read_to_give_version_1() -> None:
    assert read_text("01000500") == bytes.fromhex("01000500")
    assert read_text("Aaaa") == base64.b64decode("Aaaa") == b"\x01\xa6\x9a"


def test_text_in_both_alphabets_without_version_1_is_hex() -> None:
    assert read_text("020e0500") == bytes.fromhex("020e0500")
    assert read_text("AAAA") == b"\xaa\xaa"
    assert read_text("Aa:aa") == b"\xaa\xaa"


def test_base64_may_begin_with_another_version() -> None:
    message = b"\x02" + ERROR[1:]
    assert read_text(b64(message)) == message


def test_short_padding_is_accepted() -> None:
    assert read_text("AQ=") == b"\x01"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("010e0", "5 hex digits, an odd number: one is lost or one too many"),
        ("01:0e:5", "5 hex digits"),
        ("::", "no hex digit, only colons"),
        ("010e058g", "'g' at column 8 is no hex digit"),
        ("  0x01 0x0e 0xzz", "'x' at column 14 is no hex digit"),
        ("AQAF!AAA", "'!' at column 5 is neither hex nor base64"),
        (" hello world", "a space at column 7 is neither hex nor base64"),
        ("AQ\u00e9F", "'\u00e9' at column 3 is neither"),
        ("AQ\u0007F", "U+0007 at column 3 is neither"),
        ("AQAFA", "base64 cannot have 5 characters before the padding"),
        ("=", "base64 cannot have 0 characters"),
        ("AQ==AQ==", "'=', character 3 of the base64, is padding before the end"),
        ("AQAF=", "base64 of 4 characters ends in 1 of '=' where 0 belong"),
        ("AQ===", "base64 of 2 characters ends in 3 of '=' where 2 belong"),
    ],
)
def test_a_fault_is_named_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(WireError) as caught:
        read_text(text)
    assert expected in caught.value.text
    assert "\n" not in caught.value.text


def test_base64_alone_counts_characters() -> None:
    with pytest.raises(WireError, match=r"^'!', character 3 of the base64, is none of"):
        read_base64("AQ!F")


def test_begin_of_a_message() -> None:
    for text in ("010e", "01:0e:15", "0x010e05", "0x01 0x0e 0x05 0x80", "0112", "AQ==", "ARE"):
        assert begins_message(text)
    for data_type in range(32):
        for next_payload in range(32):
            message = bytes([1, data_type, next_payload, 0])
            assert begins_message(b64(message))
            assert begins_message(message.hex())
    for text in ("020e", "01", "01ff", "010eff", "01:0e:2", "AWAF", "AQAg", "AgAF", "xx", ""):
        assert not begins_message(text)


def test_lines_of_one_width_are_one_message() -> None:
    text = b64(TRANSFER_RESP)
    assert is_wrapped([text[:76], text[76:152], text[152:]])
    digits = TRANSFER_RESP.hex()
    assert is_wrapped([digits[at : at + 60] for at in range(0, len(digits), 60)])


@pytest.mark.parametrize("width", [64, 76])
def test_a_line_may_begin_as_a_message_does(width: int) -> None:
    """The head of an ID payload (RFC 3830 6.7) where a line begins."""
    before = 3 * width // 4
    # 10 octets of header, then a RAND up to the end of the line, then ID and KEMAC
    filler = before - 10 - 2
    message = bytes.fromhex("01 00 0b 00 00000001 00 01") + bytes([6, filler]) + bytes(filler)
    message += bytes.fromhex("01 00 0015") + b"sip:alice@example.com"
    message += bytes(5)  # KEMAC without keys
    text = b64(message)
    wrapped = [text[at : at + width] for at in range(0, len(text), width)]
    assert begins_message(wrapped[1])
    assert is_wrapped(wrapped)
    assert not is_wrapped(wrapped[:1] + wrapped[1:2] * 2)


def test_lines_that_are_messages_of_their_own_are_not_joined() -> None:
    text = b64(TRANSFER_RESP)
    assert not is_wrapped([text])
    assert not is_wrapped([text, text])
    assert not is_wrapped([text[:40], text[40:76], text[76:116]])
    assert not is_wrapped([text[:40], text[40:]])
    assert not is_wrapped(["AQ==", "AQ=="])
    assert not is_wrapped(["AgAF", "AAAA"])
    assert not is_wrapped(["010e05", "020e05"])
    assert not is_wrapped([TRANSFER_RESP.hex(), "02" + TRANSFER_RESP.hex()[2:]])
