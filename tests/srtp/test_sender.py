from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp import (
    SUITES,
    Cipher,
    Highest,
    MasterKey,
    Receiver,
    Sender,
    Suite,
    is_rtcp,
    suite,
)
from mikeytool.srtp.suites import adapted
from mikeytool.wire.errors import Refused, UsageError, WireError

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


def test_an_index_is_used_once() -> None:
    sender = Sender(SUITE, KEY)
    sender.protect(rtp(100))
    for sequence in (100, 99, 0, 100 + 0x8001):
        with pytest.raises(Refused, match="only once"):
            sender.protect(rtp(sequence))
    sender.protect(rtp(101))
    assert sender.highest == {SSRC: Highest(101, -1)}


def test_what_was_passed_over_may_come_late_in_the_same_run() -> None:
    sender = Sender(SUITE, KEY)
    order = (0xFFFE, 2, 0xFFFF, 1, 0)
    protected = [sender.protect(rtp(sequence)) for sequence in order]
    receiver = Receiver(SUITE, [KEY])
    assert [receiver.unprotect(each) for each in protected] == [rtp(each) for each in order]
    for sequence in order:
        with pytest.raises(Refused, match="only once"):
            sender.protect(rtp(sequence))
    later = Sender(SUITE, KEY, highest=sender.highest)
    sender.protect(rtp(9))
    with pytest.raises(Refused, match="only once"):
        later.protect(rtp(1))


def test_what_is_too_late_is_refused_though_it_was_passed_over() -> None:
    sender = Sender(SUITE, KEY)
    sender.protect(rtp(1))
    sender.protect(rtp(3000))
    for sequence in (1900, 2936):
        with pytest.raises(Refused, match="window wider than 64, and only once"):
            sender.protect(rtp(sequence))
    assert Receiver(SUITE, [KEY]).unprotect(sender.protect(rtp(2937))) == rtp(2937)


@pytest.mark.parametrize("window", [64, 200, 1 << 15, 1 << 60])
def test_the_window_bounds_how_late_a_packet_may_come(window: int) -> None:
    sender = Sender(SUITE, KEY, window=window)
    receiver = Receiver(SUITE, [KEY], window=window)
    reach = min(window, 1 << 15)
    receiver.unprotect(sender.protect(rtp(0)))
    receiver.unprotect(sender.protect(rtp(20_000)))
    receiver.unprotect(sender.protect(rtp(40_000)))
    oldest = 40_000 - reach + 1
    with pytest.raises(Refused):
        sender.protect(rtp(oldest - 1))
    assert receiver.unprotect(sender.protect(rtp(oldest))) == rtp(oldest)
    with pytest.raises(Refused, match="only once"):
        sender.protect(rtp(oldest))


def test_many_gaps_leave_the_window_right() -> None:
    sender = Sender(SUITE, KEY)
    for number in range(0, 3000, 7):
        sender.protect(rtp(number))
    newest = 2996
    for late in range(newest - 63, newest):
        if late % 7:
            sender.protect(rtp(late))
    with pytest.raises(Refused, match="window wider than 64"):
        sender.protect(rtp(newest - 64))


# --- where a stream starts ----------------------------------------------------------------------


@pytest.mark.parametrize("first", [0, 1, 0x7FFF, 0x8000, 40000, 0xFFFF])
def test_the_roc_given_is_that_of_the_first_packet(first: int) -> None:
    sender = Sender(SUITE, KEY, roc={SSRC: 5})
    receiver = Receiver(SUITE, [KEY], roc={SSRC: 5})
    packets = [rtp(first + n) for n in range(3)]
    assert [receiver.unprotect(sender.protect(each)) for each in packets] == packets
    assert receiver.notes.take() == []
    assert sender.highest == {SSRC: Highest((5 << 16 | first) + 2)}


def test_a_roc_given_moves_forward_and_never_back() -> None:
    before = {SSRC: Highest(5 << 16 | 100, 7)}
    for roc, sequence in ((5, 100), (5, 99), (4, 0xFFFF), (0, 101)):
        with pytest.raises(Refused, match="only once"):
            Sender(SUITE, KEY, highest=before, roc={SSRC: roc}).protect(rtp(sequence))
    forward = Sender(SUITE, KEY, highest=before, roc={SSRC: 6})
    forward.protect(rtp(101))
    forward.protect(rtcp())
    assert forward.highest == {SSRC: Highest(6 << 16 | 101, 8)}


def test_a_refused_packet_leaves_the_roc_to_the_first_that_goes_through() -> None:
    sender = Sender(SUITE, KEY, roc={SSRC: 3, 5: 1})
    with pytest.raises(WireError):
        sender.protect(rtp(9, csrcs=(1,), payload=b"")[:12])
    sender.protect(rtp(0xFFFF))
    sender.protect(rtp(0))
    assert sender.highest == {SSRC: Highest(4 << 16)}


@pytest.mark.parametrize(("roc", "window"), [(-1, 64), (1 << 32, 64), (0, 63)])
def test_a_roc_or_window_out_of_range_is_wrong_usage(roc: int, window: int) -> None:
    with pytest.raises(UsageError, match=r"ROC|window"):
        Sender(SUITE, KEY, roc={SSRC: roc}, window=window)


# --- the life of a key --------------------------------------------------------------------------


def test_the_life_of_a_key_ends_with_its_rtp_or_its_rtcp() -> None:
    """Whichever comes first (RFC 3711 9.2)."""
    worn = Sender(SUITE, KEY, highest={SSRC: Highest(10, (1 << 31) - 2)})
    worn.protect(rtp(11))
    worn.protect(rtcp())
    with pytest.raises(Refused, match=r"RTCP packet indices.*new key"):
        worn.protect(rtp(12))
    worn = Sender(SUITE, KEY, highest={SSRC: Highest((1 << 48) - 2, 3)})
    worn.protect(rtcp())
    worn.protect(rtp(0xFFFF))
    with pytest.raises(Refused, match=r"RTP packet indices.*new key"):
        worn.protect(rtcp())
    assert worn.protect(rtp(1, ssrc=5))


def test_the_lifetime_of_a_key_ends_with_its_packets() -> None:
    sender = Sender(SUITE, MasterKey(KEY.key, KEY.salt, lifetime=16))
    for number in range(15):
        sender.protect(rtp(number))
    assert ["15 of the 16 SRTP packets" in note for note in sender.notes.take()] == [True]
    sender.protect(rtp(15))
    with pytest.raises(Refused, match="16 SRTP packets of its lifetime"):
        sender.protect(rtp(16))
    sender.protect(rtcp())
    assert sender.highest == {SSRC: Highest(15, 0)}


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


@pytest.mark.parametrize("kind", range(256))
def test_rtcp_is_told_from_rtp(kind: int) -> None:
    """RFC 5761 4: 192 to 223 are packet types of RTCP."""
    packet = rtcp(kind=kind)
    protected = Sender(SUITE, KEY).protect(packet)
    as_rtcp = len(protected) == len(packet) + 4 + SUITE.rtcp_tag_length
    assert as_rtcp == (192 <= kind <= 223)
    assert Receiver(SUITE, [KEY]).unprotect(protected) == packet


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


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({}, []),
        ({"rtp_encrypted": False}, ["RTP is not encrypted"]),
        ({"rtcp_encrypted": False}, ["RTCP is not encrypted"]),
        ({"rtp_authenticated": False}, ["RTP is not authenticated"]),
    ],
)
def test_what_a_suite_leaves_open_is_noted(parameters: dict[str, Any], said: list[str]) -> None:
    chosen = adapted(SUITE, **parameters)
    notes = Sender(chosen, KEY).notes.take()
    assert [note.rpartition(": ")[2] for note in notes] == said


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
