from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp import SUITES, Cipher, Highest, Receiver, Sender, Suite, is_rtcp, suite
from mikeytool.wire.errors import MikeyError, Refused, UsageError, WireError

from .media import SSRC, master_key, packets, rtcp, rtp, suites

SUITE = suite("AES_CM_128_HMAC_SHA1_80")
KEY = master_key(SUITE)


@given(suites, packets)
def test_protection_adds_tag_and_index_and_hides_the_payload(suite: Suite, packet: bytes) -> None:
    protected = Sender(suite, master_key(suite)).protect(packet)
    added = 4 + suite.rtcp_tag_length if is_rtcp(packet) else suite.rtp_tag_length
    assert len(protected) - len(packet) == added
    assert protected[:8] == packet[:8]


@pytest.mark.parametrize("each", SUITES.values(), ids=lambda each: each.name)
@pytest.mark.parametrize("packet", [rtp(1, csrcs=(1,), extension=bytes(4)), rtcp()])
def test_only_the_null_cipher_leaves_the_payload_readable(each: Suite, packet: bytes) -> None:
    payload = packet[-20:]
    protected = Sender(each, master_key(each)).protect(packet)
    assert (payload in protected) == (each.cipher is Cipher.NULL)
    assert protected[:8] == packet[:8]


def until_error(protected: Iterator[bytes]) -> list[bytes | str]:
    got: list[bytes | str] = []
    try:
        got.extend(protected)
    except MikeyError as error:
        got.append(str(error))
    return got


@given(suites, st.lists(packets, max_size=10))
def test_a_batch_is_the_packets_one_by_one(suite: Suite, batch: list[bytes]) -> None:
    key = master_key(suite)
    one_by_one, at_once = Sender(suite, key), Sender(suite, key)
    expected = until_error(map(one_by_one.protect, batch))
    assert until_error(at_once.protect_all(batch)) == expected
    assert at_once.highest == one_by_one.highest


def test_an_index_is_used_once() -> None:
    sender = Sender(SUITE, KEY)
    sender.protect(rtp(100))
    for sequence in (100, 99, 0, 100 + 0x8001):
        with pytest.raises(Refused, match="only once"):
            sender.protect(rtp(sequence))
    sender.protect(rtp(101))
    assert sender.highest == {SSRC: Highest(101, -1)}


def test_highest_counts_rollovers_and_rtcp() -> None:
    sender = Sender(SUITE, KEY)
    for packet in (rtp(0xFFFE), rtp(0xFFFF), rtp(0), rtcp(), rtp(9), rtcp(), rtcp(ssrc=5)):
        sender.protect(packet)
    assert sender.highest == {5: Highest(-1, 0), SSRC: Highest(0x10009, 1)}


@given(
    suites.filter(lambda each: each.cipher is not Cipher.NULL),
    st.lists(st.lists(st.integers(0, 0xFFFF) | st.none(), max_size=12), min_size=2, max_size=4),
)
def test_runs_that_save_highest_never_reuse_an_index(
    suite: Suite, runs: list[list[int | None]]
) -> None:
    highest: dict[int, Highest] = {}
    key_streams = []
    for run in runs:
        sender = Sender(suite, master_key(suite), highest=highest)
        for sequence in run:
            packet = rtp(sequence, bytes(16)) if sequence is not None else rtcp(4, filler=0)
            try:
                protected = sender.protect(packet)
            except Refused:
                continue
            # What a payload of zeros becomes is the key stream itself.
            key_streams.append(protected[12:28] if sequence is not None else protected[8:24])
        highest = sender.highest
    assert len(set(key_streams)) == len(key_streams)


@pytest.mark.parametrize("sequence", [0, 1])
def test_after_the_last_rtp_index_comes_nothing(sequence: int) -> None:
    sender = Sender(SUITE, KEY, highest={SSRC: Highest((1 << 48) - 2)})
    sender.protect(rtp(0xFFFF))
    with pytest.raises(Refused, match="new key"):
        sender.protect(rtp(sequence))


def test_after_the_last_rtcp_index_comes_nothing() -> None:
    sender = Sender(SUITE, KEY, highest={SSRC: Highest(-1, (1 << 31) - 2)})
    assert sender.protect(rtcp())[-14:-10] == b"\xff\xff\xff\xff"
    with pytest.raises(Refused, match="new key"):
        sender.protect(rtcp())


@pytest.mark.parametrize("highest", [Highest(1 << 48), Highest(-2), Highest(0, 1 << 31)])
def test_a_highest_out_of_range_is_wrong_usage(highest: Highest) -> None:
    with pytest.raises(UsageError, match="0xcafebabe"):
        Sender(SUITE, KEY, highest={SSRC: highest})


def test_only_allowed_ssrcs_are_protected() -> None:
    sender = Sender(SUITE, KEY, ssrcs=frozenset({SSRC}))
    sender.protect(rtp(1))
    sender.protect(rtcp())
    for packet in (rtp(1, ssrc=5), rtcp(ssrc=5)):
        with pytest.raises(Refused, match="0x00000005"):
            sender.protect(packet)


@pytest.mark.parametrize("each", SUITES.values(), ids=lambda each: each.name)
def test_the_mki_goes_before_the_tag_or_with_gcm_to_the_end(each: Suite) -> None:
    named = master_key(each, mki=b"\xaa\xbb")
    for packet in (rtp(1), rtcp()):
        plain = Sender(each, named).protect(packet)
        tag = each.rtcp_tag_length if is_rtcp(packet) else each.rtp_tag_length
        at = len(plain) if each.cipher is Cipher.AES_GCM else len(plain) - tag
        expected = plain[:at] + b"\xaa\xbb" + plain[at:]
        assert Sender(each, named, mki=True).protect(packet) == expected


def test_an_mki_asked_for_must_exist() -> None:
    with pytest.raises(UsageError, match="MKI"):
        Sender(SUITE, KEY, mki=True)


@pytest.mark.parametrize("packet", [rtp(1, csrcs=(1, 2), extension=bytes(8), payload=b""), rtcp(0)])
def test_a_packet_cut_in_its_header_is_unreadable_and_uses_nothing(packet: bytes) -> None:
    sender = Sender(SUITE, KEY)
    for length in range(len(packet)):
        with pytest.raises(WireError):
            sender.protect(packet[:length])
    assert sender.highest == {}
    assert Receiver(SUITE, [KEY]).unprotect(sender.protect(packet)) == packet
