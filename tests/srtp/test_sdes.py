"""Crypto attributes: the examples of RFC 4568, every parameter, and what makes one invalid."""

from __future__ import annotations

import random
from base64 import b64encode
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp import SUITES, Crypto, MasterKey, Suite, parse_crypto, suite
from mikeytool.srtp.suites import adapted
from mikeytool.wire.errors import UsageError

CM = "AES_CM_128_HMAC_SHA1_80"
# The keys of RFC 4568 4.5, 6.1 and 7.1.5, each the text that its base64 stands for.
FIRST = "d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
SECOND = "QUJjZGVmMTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5"
THIRD = "YUJDZGVmZ2hpSktMbW9QUXJzVHVWd3l6MTIzNDU2"


def key(text: bytes, mki: bytes = b"", lifetime: int | None = None, length: int = 16) -> MasterKey:
    return MasterKey(text[:length], text[length:], mki, lifetime)


FIRST_TEXT = b"wDfvg&T+)xG7@fb5jU,RaA}\\|p0%*#"
SECOND_TEXT = b"ABcdef123456789ABCDE0123456789"
THIRD_TEXT = b"aBCdefghiJKLmoPQrsTuVwyz123456"


# --- what the RFC shows -----------------------------------------------------------------------


def test_the_examples_of_4_5() -> None:
    video = parse_crypto(f"a=crypto:1 {CM} inline:{FIRST}|2^20|1:32")
    assert video == Crypto(suite(CM), (key(FIRST_TEXT, bytes(31) + b"\1", 1 << 20),), 1)
    assert video.mki_length == 32


def test_the_example_of_6_1_without_a_lifetime() -> None:
    found = parse_crypto(f"a=crypto:1 {CM} inline:{THIRD}|1066:4")
    assert found.keys == (key(THIRD_TEXT, b"\0\0\4\x2a"),)


def test_the_example_of_7_1_5_broken_as_it_stands_there() -> None:
    found = parse_crypto(
        "a=crypto:2 F8_128_HMAC_SHA1_80\n"
        "  inline:MTIzNDU2Nzg5QUJDREUwMTIzNDU2Nzg5QUJjZGVm|2^20|1:4;\n"
        f"  inline:{SECOND}|2^20|2:4\n"
        "  FEC_ORDER=FEC_SRTP"
    )
    assert found == Crypto(
        suite("F8_128_HMAC_SHA1_80"),
        (
            key(b"123456789ABCDE0123456789ABcdef", b"\0\0\0\1", 1 << 20),
            key(SECOND_TEXT, b"\0\0\0\2", 1 << 20),
        ),
        2,
    )


# --- what is taken ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "tag"),
    [
        ("a=crypto:1 ", 1),
        ("crypto:0 ", 0),
        ("A=Crypto:999999999\t ", 999999999),
        ("a=acap:7 crypto:3 ", 3),
        ("  12 ", 12),
        ("", None),
    ],
)
def test_the_beginning_of_a_line(head: str, tag: int | None) -> None:
    assert parse_crypto(f"{head}{CM} inline:{FIRST}\r\n").tag == tag


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_with_a_key_of_its_length(name: str) -> None:
    of = SUITES[name]
    text = bytes(range(of.key_length + of.salt_length))
    padded = b64encode(text).decode()
    for each in (padded, padded.rstrip("=")):
        assert parse_crypto(f"{name} inline:{each}") == Crypto(
            of, (key(text, length=of.key_length),)
        )
        assert parse_crypto(f"{name.lower()} INLINE:{each}").suite == of


@pytest.mark.parametrize(
    ("text", "lifetime"),
    [("1", 1), ("2^0", 1), ("2^48", 1 << 48), ("281474976710656", 1 << 48), ("1000", 1000)],
)
def test_lifetimes(text: str, lifetime: int) -> None:
    (found,) = parse_crypto(f"{CM} inline:{FIRST}|{text}").keys
    assert (found.lifetime, found.mki) == (lifetime, b"")


@pytest.mark.parametrize(
    ("text", "mki"),
    [
        ("1:1", b"\1"),
        ("255:1", b"\xff"),
        ("256:2", b"\1\0"),
        ("1:128", bytes(127) + b"\1"),
        (f"{(1 << 1024) - 1}:128", b"\xff" * 128),
    ],
)
def test_mkis(text: str, mki: bytes) -> None:
    for before, lifetime in (("", None), ("|2^31", 1 << 31)):
        found = parse_crypto(f"{CM} inline:{FIRST}{before}|{text}")
        assert found.keys == (key(FIRST_TEXT, mki, lifetime),)
        assert found.mki_length == len(mki)


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        ("KDR=1", adapted(suite(CM), key_derivation_rate=2)),
        ("KDR=24", adapted(suite(CM), key_derivation_rate=1 << 24)),
        ("UNENCRYPTED_SRTP", adapted(suite(CM), rtp_encrypted=False)),
        ("UNENCRYPTED_SRTCP", adapted(suite(CM), rtcp_encrypted=False)),
        ("UNAUTHENTICATED_SRTP", adapted(suite(CM), rtp_authenticated=False)),
        ("unauthenticated_srtp", adapted(suite(CM), rtp_authenticated=False)),
        (
            "UNENCRYPTED_SRTCP  UNENCRYPTED_SRTP\tkdr=16",
            adapted(
                suite(CM), rtp_encrypted=False, rtcp_encrypted=False, key_derivation_rate=1 << 16
            ),
        ),
    ],
)
def test_parameters_that_change_packets(parameters: str, expected: object) -> None:
    assert parse_crypto(f"{CM} inline:{FIRST} {parameters}").suite == expected


def test_the_other_parameters() -> None:
    found = parse_crypto(
        f"{CM} inline:{FIRST} -NEW=x WSH=64 FEC_ORDER=SRTP_FEC "
        f"FEC_KEY=inline:{SECOND}|2^20|7:2;inline:{THIRD}|8:2 -other"
    )
    assert found == Crypto(
        suite(CM),
        (key(FIRST_TEXT),),
        window=64,
        fec_order="SRTP_FEC",
        fec_keys=(key(SECOND_TEXT, b"\0\7", 1 << 20), key(THIRD_TEXT, b"\0\x08")),
        ignored=("-NEW=x", "-other"),
    )


def test_srtcp_of_gcm_may_be_in_the_clear() -> None:
    text = b64encode(bytes(28)).decode()
    found = parse_crypto(f"AEAD_AES_128_GCM inline:{text} UNENCRYPTED_SRTCP").suite
    assert (found.rtp_encrypted, found.rtcp_encrypted) == (True, False)


@pytest.mark.parametrize(
    "line",
    [
        f"a=crypto:01 {CM} inline:{FIRST}",
        f"crypto:1 {CM} inline:{FIRST}|",
        f"1 {CM} inline:{FIRST}||",
        f"a=crypto:1 {CM} inline:{FIRST} KDR=0",
        f"A=Crypto:1 {CM.lower()} Inline:{FIRST} kdr=00",
        f'"a=crypto:1 {CM} inline:{FIRST}"',
        f"'a=crypto:1 {CM} inline:{FIRST}\\r\\n',",
        f"`crypto:1 {CM} inline:{FIRST}`",
    ],
)
def test_lines_as_people_write_them(line: str) -> None:
    assert parse_crypto(line) == Crypto(suite(CM), (key(FIRST_TEXT),), tag=1)


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("", "suite at character 1", "ends here"),
        ("a=crypto:", "tag at character 10", "ends here"),
        ("a=crypto:1", "suite at character 11", "ends here"),
        (f"a=crypto:1 {CM}", "key at character 35", "ends here"),
        (f"a=crypto:-1 {CM} inline:{FIRST}", "tag at character 10", "9 digits"),
        (f"a=crypto:1234567890 {CM} inline:{FIRST}", "tag at character 10", "9 digits"),
        (f"a=crypto:{CM} inline:{FIRST}", "tag at character 10", "9 digits"),
        (f"AES_CM_128 inline:{FIRST}", "suite at character 1", "AES_CM_128_HMAC_SHA1_80"),
        (f"AES_CM_256_HMAC_SHA1_80 inline:{FIRST}", "key at character 32", f"use {CM}"),
        (f"SEED_CTR_128_HMAC_SHA1_80 inline:{FIRST}", "suite at character 1", "SEED"),
        (f"inline:{FIRST}", "suite at character 1", "no name of a suite"),
        (f"{CM} {FIRST}", "key at character 25", "inline:KEY is expected"),
        (f"{CM} uri:https://example.com", "key at character 25", "inline:KEY is expected"),
        (f"{CM} inline:", "key at character 32", "0 octets"),
        (f"{CM} inline:{FIRST[:-4]}", "key at character 32", "27 octets"),
        (f"{CM} inline:{FIRST}AA==", "key at character 32", "31 octets"),
        (f"AEAD_AES_128_GCM inline:{FIRST}", "key at character 25", "AES-GCM has a salt of 12"),
        (f"AES_256_CM_HMAC_SHA1_80 inline:{FIRST}", "key at character 32", f"use {CM}"),
        (f"{CM} inline:{FIRST[:-1]}*", "key at character 32", "no base64"),
        (f"{CM} inline:{FIRST[:-1]}-", "key at character 32", "no base64"),
        (f"{CM} inline:{FIRST}A", "key at character 32", "no base64"),
        (f"{CM} inline:{FIRST}===", "key at character 32", "no base64"),
        (f"{CM} inline:{FIRST[:8]}={FIRST[8:]}", "key at character 32", "no base64"),
        (f"{CM} inline:{FIRST[:-1]}é", "key at character 32", "no base64"),
        (f"{CM} inline:{FIRST}|0", "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|020", "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|2^", "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|2^49", "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|2^99999999", "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|281474976710657", "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|" + "9" * 5000, "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|2^\u0662", "lifetime at character 73", "up to 2^48"),
        (f"{CM} inline:{FIRST}|1:", "MKI at character 73", "NUMBER:LENGTH"),
        (f"{CM} inline:{FIRST}|:4", "MKI at character 73", "NUMBER:LENGTH"),
        (f"{CM} inline:{FIRST}|0:4", "MKI at character 73", "NUMBER:LENGTH"),
        (f"{CM} inline:{FIRST}|01:4", "MKI at character 73", "NUMBER:LENGTH"),
        (f"{CM} inline:{FIRST}|1:04", "MKI at character 73", "NUMBER:LENGTH"),
        (f"{CM} inline:{FIRST}|1:0", "MKI at character 73", "NUMBER:LENGTH"),
        (f"{CM} inline:{FIRST}|1:129", "MKI at character 73", "up to 128"),
        (f"{CM} inline:{FIRST}|256:1", "MKI at character 73", "more than 1 octet"),
        (f"{CM} inline:{FIRST}|2^20|1", "MKI at character 78", "NUMBER:LENGTH"),
        (f"{CM} inline:{FIRST}|1:4|2^20", "key at character 77", "more than lifetime and MKI"),
        (f"{CM} inline:{FIRST}|2^20|1:4|9", "key at character 82", "more than lifetime and MKI"),
        (f"{CM} inline:{FIRST};inline:{SECOND}", "key at character 25", "one without MKI"),
        (f"{CM} inline:{FIRST}|1:4;inline:{SECOND}", "key at character 25", "one without MKI"),
        (f"{CM} inline:{FIRST}|1:4;inline:{SECOND}|2:2", "key at character 25", "lengths"),
        (f"{CM} inline:{FIRST}|1:4;inline:{SECOND}|1:4", "key at character 25", "one MKI"),
        (f"{CM} inline:{FIRST}|1:4;inline:{FIRST}|2:4", "key at character 25", "the same"),
        (f"{CM} inline:{FIRST}|1:4;{SECOND}|2:4", "key at character 77", "inline:KEY"),
        (f"{CM} inline:{FIRST} KDR=25", "KDR at character 77", "from 1 to 24"),
        (f"{CM} inline:{FIRST} KDR=04", "KDR at character 77", "no zero before it"),
        (f"{CM} inline:{FIRST} KDR=", "KDR at character 77", "from 1 to 24"),
        (f"{CM} inline:{FIRST} WSH=63", "WSH at character 77", "from 64"),
        (f"{CM} inline:{FIRST} WSH=" + "9" * 5000, "WSH at character 77", "from 64"),
        (f"{CM} inline:{FIRST} KDR=1 kdr=2", "KDR at character 79", "twice"),
        (
            f"{CM} inline:{FIRST} UNENCRYPTED_SRTP UNENCRYPTED_SRTP",
            "UNENCRYPTED_SRTP at character 90",
            "twice",
        ),
        (f"{CM} inline:{FIRST} NEW=1", "session parameter at character 73", "NEW is unknown"),
        (f"{CM} inline:{FIRST} KDR", "session parameter at character 73", "KDR is unknown"),
        (
            f"{CM} inline:{FIRST} UNENCRYPTED_SRTP=1",
            "session parameter at character 73",
            "UNENCRYPTED_SRTP is unknown",
        ),
        (f"{CM} inline:{FIRST} FEC_ORDER=SRTP", "session parameter", "FEC_ORDER"),
        (f"{CM} inline:{FIRST} FEC_KEY=inline:{FIRST}", "FEC_KEY at character 81", "of its own"),
        (f"{CM} inline:{FIRST} FEC_KEY={SECOND}", "key at character 81", "inline:KEY"),
    ],
)
def test_an_invalid_attribute(text: str, place: str, reason: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_crypto(text)
    said = str(caught.value)
    assert said.startswith(f"crypto attribute, {place}")
    assert reason in said
    for secret in (FIRST, SECOND, THIRD):
        assert secret[8:16] not in said


def test_a_receiver_is_not_made_to_try_any_number_of_keys() -> None:
    def line(count: int) -> str:
        keys = [b64encode(bytes([n]) * 30).decode() for n in range(1, count + 1)]
        return f"{CM} " + ";".join(f"inline:{key}|{n}:1" for n, key in enumerate(keys, 1))

    assert len(parse_crypto(line(16)).keys) == 16
    with pytest.raises(UsageError, match="more than 16 keys"):
        parse_crypto(line(17))


@pytest.mark.parametrize("parameter", ["UNENCRYPTED_SRTP", "UNAUTHENTICATED_SRTP"])
def test_gcm_encrypts_and_authenticates_rtp(parameter: str) -> None:
    text = b64encode(bytes(44)).decode()
    with pytest.raises(UsageError, match=r"RFC 7714 8\.2"):
        parse_crypto(f"AEAD_AES_256_GCM inline:{text} {parameter}")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for each in (text, f"{CM} {text}", f"{CM} inline:{text}", f"{CM} inline:{FIRST} {text}"):
        try:
            found = parse_crypto(each)
        except UsageError:
            continue
        assert parse_crypto(found.line()) == found


# --- lines that are made ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        f"a=crypto:1 {CM} inline:{FIRST}",
        f"{CM} inline:{FIRST}|2^48",
        f"{CM} inline:{FIRST}|1000|1:4",
        f"a=crypto:0 {CM} inline:{FIRST}|1:4;inline:{SECOND}|2^20|2:4 KDR=4 UNENCRYPTED_SRTP "
        f"UNENCRYPTED_SRTCP UNAUTHENTICATED_SRTP WSH=128 FEC_ORDER=SRTP_FEC "
        f"FEC_KEY=inline:{THIRD} -x=1",
        f"AEAD_AES_256_GCM inline:{b64encode(bytes(range(44))).decode()} UNENCRYPTED_SRTCP",
    ],
)
def test_a_line_comes_back(text: str) -> None:
    assert parse_crypto(text).line() == text


@given(
    st.sampled_from(list(SUITES.values())),
    st.integers(1, 3),
    st.integers(1, 128),
    st.none() | st.integers(1, 1 << 48),
    st.none() | st.integers(0, 10**9 - 1),
    st.randoms(use_true_random=False),
)
def test_what_is_written_is_read_the_same(
    suite: Suite,
    count: int,
    mki: int,
    lifetime: int | None,
    tag: int | None,
    source: random.Random,
) -> None:
    keys = tuple(
        MasterKey(
            bytes([number]) + source.randbytes(suite.key_length - 1),
            source.randbytes(suite.salt_length),
            (number + 1).to_bytes(mki),
            lifetime,
        )
        for number in range(count)
    )
    made = Crypto(suite, keys, tag)
    assert parse_crypto(made.line()) == made


def test_what_sdp_has_no_words_for() -> None:
    usual = parse_crypto(f"{CM} inline:{FIRST}")
    for odd in (
        replace(usual, suite=adapted(suite(CM), tag_length=8)),
        replace(usual, suite=adapted(suite(CM), key_derivation_rate=1)),
        replace(usual, suite=adapted(suite(CM), auth_key_length=16)),
        replace(usual, keys=(key(FIRST_TEXT, b"\0"),)),
        replace(usual, keys=(*usual.keys, key(SECOND_TEXT))),
        replace(usual, window=3),
        replace(usual, ignored=("NEW",)),
    ):
        with pytest.raises(UsageError):
            odd.line()


def test_printing_an_attribute_shows_no_key() -> None:
    found = parse_crypto(f"{CM} inline:{FIRST} FEC_KEY=inline:{SECOND}")
    for secret in (FIRST_TEXT, SECOND_TEXT):
        assert secret[:16].decode() not in repr(found)
        assert repr(secret[16:]) not in repr(found)
