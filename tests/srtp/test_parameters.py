"""Suites with parameters of their own, against packets that are made by hand."""

from __future__ import annotations

import hmac
import random
import struct
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher as Primitive
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from mikeytool.srtp import Cipher, Highest, MasterKey, Receiver, Sender, Suite, suite
from mikeytool.srtp.suites import adapted
from mikeytool.srtp.transform import rtcp_opener, rtcp_sealer, rtp_opener, rtp_sealer
from mikeytool.wire.errors import Refused
from tests.srtp.media import protect_all

from .media import SSRC, master_key, rtcp, rtp

CM = suite("AES_CM_128_HMAC_SHA1_80")
CM_256 = suite("AES_256_CM_HMAC_SHA1_80")
F8 = suite("F8_128_HMAC_SHA1_80")
GCM = suite("AEAD_AES_128_GCM")
NULL = suite("NULL_HMAC_SHA1_80")


def counter_mode(key: bytes, start: int, length: int) -> bytes:
    """AES in counter mode, one block after the other (RFC 3711 4.1.1)."""
    encrypt = Primitive(AES(key), ECB()).encryptor().update
    blocks = (encrypt((start + j).to_bytes(16)) for j in range(length // 16 + 1))
    return b"".join(blocks)[:length]


def derived(master: MasterKey, label: int, length: int, r: int) -> bytes:
    """A session key (RFC 3711 4.3.1): label and r, 7 octets, stand at the salt's right end."""
    salt = master.salt.ljust(14, b"\0")
    key_id = bytes(7) + bytes([label]) + r.to_bytes(6)
    x = bytes(left ^ right for left, right in zip(salt, key_id, strict=True))
    return counter_mode(master.key, int.from_bytes(x + bytes(2)), length)


def xor(data: bytes, stream: bytes) -> bytes:
    return bytes(left ^ right for left, right in zip(data, stream, strict=True))


def protected(
    suite: Suite, master: MasterKey, packet: bytes, ssrc: int, index: int, *, rtcp: bool
) -> bytes:
    """The SRTP or SRTCP packet of one without CSRCs and extensions, AES-CM or AES-GCM or NULL."""
    labels = (3, 4, 5) if rtcp else (0, 1, 2)
    rate = suite.key_derivation_rate
    r = index // rate if rate else 0
    auth_length = max(suite.auth_key_length, 20) if rtcp else suite.auth_key_length
    key = derived(master, labels[0], suite.key_length, r)
    auth_key = derived(master, labels[1], auth_length, r)
    salt = derived(master, labels[2], suite.salt_length, r)
    encrypted = suite.rtcp_encrypted if rtcp else suite.rtp_encrypted
    start = 8 if rtcp else 12
    header, payload = packet[:start], packet[start:]
    trailer = struct.pack("!I", encrypted << 31 | index) if rtcp else b""
    if suite.cipher is Cipher.AES_GCM:
        counted = struct.pack("!HIHI", 0, ssrc, index >> 32, index & 0xFFFF_FFFF)
        iv = xor(salt, counted)
        if not encrypted:
            return packet + AESGCM(key).encrypt(iv, b"", packet + trailer) + trailer + master.mki
        return header + AESGCM(key).encrypt(iv, payload, header + trailer) + trailer + master.mki
    if encrypted and suite.cipher is Cipher.AES_CM:
        start = int.from_bytes(salt) << 16 ^ ssrc << 64 ^ index << 16
        prefix = 0 if rtcp else suite.prefix_length
        payload = xor(payload, counter_mode(key, start, prefix + len(payload))[prefix:])
    sealed = header + payload + trailer
    authenticated = sealed if rtcp else sealed + struct.pack("!I", index >> 16)
    tag_length = suite.rtcp_tag_length if rtcp else suite.rtp_tag_length
    return sealed + master.mki + hmac.digest(auth_key, authenticated, "sha1")[:tag_length]


def case(base: Suite, **parameters: Any) -> Any:
    made = adapted(base, **parameters)
    return pytest.param(made, id=made.name)


EACH = pytest.mark.parametrize(
    "suite",
    [
        case(CM, rtp_encrypted=False),
        case(CM, rtcp_encrypted=False),
        case(CM_256, rtp_encrypted=False, rtcp_encrypted=False),
        case(CM, rtp_authenticated=False),
        case(CM, rtp_authenticated=False, rtp_encrypted=False),
        case(CM, rtp_authenticated=False, prefix_length=1),
        case(CM, rtp_authenticated=False, prefix_length=16),
        case(CM, rtp_authenticated=False, prefix_length=255),
        *(case(CM, tag_length=length) for length in (1, 3, 4, 5, 12, 16, 20)),
        case(CM, auth_key_length=1),
        case(CM, auth_key_length=16),
        case(CM_256, auth_key_length=64),
        *(case(CM, key_derivation_rate=1 << power) for power in (0, 1, 4, 8, 16, 24)),
        case(CM_256, key_derivation_rate=2, tag_length=4, rtcp_encrypted=False),
        case(GCM, key_derivation_rate=2),
        case(GCM, rtcp_encrypted=False),
        case(GCM, rtcp_encrypted=False, key_derivation_rate=1),
        case(NULL, key_derivation_rate=2, tag_length=4),
    ],
)
MKI = pytest.mark.parametrize("mki", [b"", b"\x01\x02\x03\x04"], ids=["", "mki"])


@EACH
@MKI
@pytest.mark.parametrize("index", [0, 1, 0xFFFF, 0x1_0000, 0x12_3456_789A, (1 << 48) - 1])
def test_an_rtp_packet_by_hand(suite: Suite, mki: bytes, index: int) -> None:
    master = master_key(suite, mki=mki)
    packet = rtp(index, bytes(range(40)))
    expected = protected(suite, master, packet, SSRC, index, rtcp=False)
    assert rtp_sealer(suite, master, mki)(packet, 12, SSRC, index) == expected
    assert rtp_opener(suite, master, mki)(expected, 12, SSRC, index) == packet


@EACH
@MKI
@pytest.mark.parametrize("index", [0, 1, 0x1_0000, (1 << 31) - 1])
def test_an_rtcp_packet_by_hand(suite: Suite, mki: bytes, index: int) -> None:
    master = master_key(suite, mki=mki)
    expected = protected(suite, master, rtcp(), SSRC, index, rtcp=True)
    assert rtcp_sealer(suite, master, mki)(rtcp(), SSRC, index) == expected
    assert rtcp_opener(suite, master, mki)(expected, SSRC) == (rtcp(), index)


@EACH
def test_a_changed_bit_is_refused(suite: Suite) -> None:
    master = master_key(suite, mki=b"\x09")
    control = rtcp_sealer(suite, master, b"\x09")(rtcp(), SSRC, 5)
    for changed in each_bit_changed(control):
        assert rtcp_opener(suite, master, b"\x09")(changed, SSRC) is None
    media = rtp_sealer(suite, master, b"\x09")(rtp(5, b"four"), 12, SSRC, 5)
    # A tag of one octet is right by chance too often to tell.
    if suite.rtp_tag_length > 1:
        for changed in each_bit_changed(media):
            assert rtp_opener(suite, master, b"\x09")(changed, 12, SSRC, 5) is None


def each_bit_changed(packet: bytes) -> Iterator[bytes]:
    for bit in range(8 * len(packet)):
        yield (int.from_bytes(packet) ^ 1 << bit).to_bytes(len(packet))


@EACH
def test_what_is_cut_short_is_not_opened(suite: Suite) -> None:
    master = master_key(suite, mki=b"\x09")
    media = rtp_sealer(suite, master, b"\x09")(rtp(5, b""), 12, SSRC, 5)
    control = rtcp_sealer(suite, master, b"\x09")(rtcp(0), SSRC, 5)
    for length in range(12, len(media)):
        assert rtp_opener(suite, master, b"\x09")(media[:length], 12, SSRC, 5) is None
    for length in range(8, len(control)):
        assert rtcp_opener(suite, master, b"\x09")(control[:length], SSRC) is None


@EACH
def test_a_stream_of_two_sources_out_of_order_and_over_a_wrap(suite: Suite) -> None:
    source = random.Random(1)
    sender = Sender(suite, master_key(suite), highest={1: Highest(0xFFC0), 2: Highest(0x2_0000)})
    receiver = Receiver(suite, [master_key(suite)], roc={2: 2})
    clear = []
    for number in range(100):
        for ssrc, sequence in ((1, 0xFFC1 + number), (2, 1 + number)):
            clear.append(rtp(sequence, bytes(source.randrange(60)), ssrc=ssrc))
        clear.append(rtcp(source.randrange(5), ssrc=1))
    pairs = list(zip(clear, protect_all(sender, clear), strict=True))
    # Blocks of 30, so that every packet is inside of the window.
    for start in range(0, len(pairs), 30):
        block = pairs[start : start + 30]
        source.shuffle(block)
        for packet, sealed in block:
            assert receiver.unprotect(sealed) == packet


def test_keys_change_at_each_multiple_of_the_rate_and_not_between() -> None:
    # With the NULL cipher a tag depends on the key, the ROC and the packet: the same packet
    # has the same tag as long as the key is the same.
    suite = adapted(NULL, key_derivation_rate=4)
    seal = rtp_sealer(suite, master_key(suite), b"")
    tags = [seal(rtp(0), 12, SSRC, index)[-10:] for index in range(16)]
    assert [tags.index(tag) // 4 for tag in tags] == [index // 4 for index in range(16)]
    assert len(set(tags)) == 4


def test_old_session_keys_are_derived_again() -> None:
    suite = adapted(CM, key_derivation_rate=1)
    seal = rtp_sealer(suite, master_key(suite), b"")
    open_ = rtp_opener(suite, master_key(suite), b"")
    sealed = [(index, seal(rtp(index), 12, SSRC, index)) for index in range(300)]
    for index, packet in reversed(sealed):
        assert open_(packet, 12, SSRC, index) == rtp(index)


@pytest.mark.parametrize("prefix", [1, 15, 16, 17, 100])
@pytest.mark.parametrize("base", [CM, F8], ids=["CM", "F8"])
def test_the_prefix_of_a_key_stream_encrypts_nothing(base: Suite, prefix: int) -> None:
    # The key streams themselves, without a prefix, are held by the RFCs' vectors.
    plain = adapted(base, rtp_authenticated=False)
    behind = adapted(base, rtp_authenticated=False, prefix_length=prefix)
    packet = rtp(7, bytes(200), csrcs=(1,))
    stream = rtp_sealer(plain, master_key(base), b"")(packet, 16, SSRC, 7)[16:]
    sealed = rtp_sealer(behind, master_key(base), b"")(packet, 16, SSRC, 7)
    assert sealed[16:-prefix] == stream[prefix:]
    assert rtp_opener(behind, master_key(base), b"")(sealed, 16, SSRC, 7) == packet


def test_a_key_stream_prefix_counts_towards_its_length() -> None:
    behind = adapted(CM, rtp_authenticated=False, prefix_length=16)
    seal = rtp_sealer(behind, master_key(CM), b"")
    assert len(seal(rtp(0, bytes((1 << 20) - 16)), 12, SSRC, 0)) == (1 << 20) - 4
    with pytest.raises(Refused):
        seal(rtp(0, bytes((1 << 20) - 15)), 12, SSRC, 0)


@pytest.mark.parametrize("base", [CM, GCM, NULL], ids=lambda each: each.name)
def test_a_receiver_goes_by_the_e_flag(base: Suite) -> None:
    clear = adapted(base, rtcp_encrypted=False)
    for written, read in ((base, clear), (clear, base)):
        sealed = rtcp_sealer(written, master_key(base), b"")(rtcp(), SSRC, 3)
        assert rtcp_opener(read, master_key(base), b"")(sealed, SSRC) == (rtcp(), 3)
