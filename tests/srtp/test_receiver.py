from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp import (
    SUITES,
    Cipher,
    Highest,
    MasterKey,
    Receiver,
    Replayed,
    Sender,
    Suite,
    suite,
)
from mikeytool.srtp.index import Duplicate, Unverified
from mikeytool.srtp.roc_search import SearchBudget
from mikeytool.srtp.suites import adapted
from mikeytool.srtp.transform import rtp_sealer
from mikeytool.wire.errors import MikeyError, Refused, UsageError, WireError
from tests.srtp.media import protect_all, unprotect_all

from .media import SSRC, master_key, packets, rtcp, rtp, suites

SUITE = suite("AES_CM_128_HMAC_SHA1_80")
KEY = master_key(SUITE)
OLD = master_key(SUITE, 2, b"\x01")
NEW = master_key(SUITE, 3, b"\x02")
EVERY = pytest.mark.parametrize("each", SUITES.values(), ids=lambda each: each.name)


@given(suites, packets, st.binary(max_size=4))
def test_protect_then_unprotect_is_the_identity(suite: Suite, packet: bytes, mki: bytes) -> None:
    key = master_key(suite, mki=mki)
    protected = Sender(suite, key, mki=bool(mki)).protect(packet)
    assert Receiver(suite, [key]).unprotect(protected) == packet


@given(suites, packets, st.data())
def test_one_flipped_bit_is_refused(suite: Suite, packet: bytes, data: st.DataObject) -> None:
    key = master_key(suite)
    protected = bytearray(Sender(suite, key).protect(packet))
    bit = data.draw(st.integers(0, 8 * len(protected) - 1))
    protected[bit // 8] ^= 1 << bit % 8
    receiver = Receiver(suite, [key])
    with pytest.raises((Refused, WireError)):
        receiver.unprotect(bytes(protected))
    assert receiver.highest == {}


@pytest.mark.parametrize("packet", [rtp(1, csrcs=(2,), extension=bytes(4)), rtcp()])
@EVERY
def test_every_flipped_bit_is_refused(each: Suite, packet: bytes) -> None:
    key = master_key(each)
    protected = Sender(each, key).protect(packet)
    receiver = Receiver(each, [key])
    for bit in range(8 * len(protected)):
        flipped = bytearray(protected)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(MikeyError):
            receiver.unprotect(bytes(flipped))
    assert receiver.unprotect(protected) == packet


@given(suites, st.integers(0, 0xFFFF), st.permutations(range(1, 64)), st.sampled_from([rtp, rtcp]))
def test_any_order_inside_the_window_gives_the_same_packets(
    suite: Suite, start: int, order: list[int], kind: object
) -> None:
    key = master_key(suite)
    clear = [rtp(start + n, bytes([n])) if kind is rtp else rtcp(filler=n) for n in range(64)]
    protected = list(protect_all(Sender(suite, key), clear))
    receiver = Receiver(suite, [key])
    assert receiver.unprotect(protected[0]) == clear[0]
    got = list(unprotect_all(receiver, (protected[n] for n in order)))
    assert got == [clear[n] for n in order]
    for each in unprotect_all(receiver, protected):
        assert isinstance(each, Replayed)


def test_a_packet_from_before_the_first_one_is_late_and_not_replayed() -> None:
    early, first = protect_all(Sender(SUITE, KEY), [rtp(500), rtp(510)])
    receiver = Receiver(SUITE, [KEY])
    receiver.unprotect(first)
    assert receiver.unprotect(early) == rtp(500)


@pytest.mark.parametrize("window", [64, 128, 32768])
def test_the_window_ends_where_it_says(window: int) -> None:
    sender = Sender(SUITE, KEY)
    protected = list(protect_all(sender, (rtp(n) for n in range(window + 1))))
    receiver = Receiver(SUITE, [KEY], window=window)
    receiver.unprotect(protected[-1])
    with pytest.raises(Replayed, match="wider window"):
        receiver.unprotect(protected[0])
    assert receiver.unprotect(protected[1]) == rtp(1)


def test_a_replay_is_told_from_a_forgery() -> None:
    protected = Sender(SUITE, KEY).protect(rtp(1))
    receiver = Receiver(SUITE, [KEY])
    receiver.unprotect(protected)
    with pytest.raises(Replayed):
        receiver.unprotect(protected)
    with pytest.raises(Refused, match="does not verify") as caught:
        receiver.unprotect(protected[:-1] + bytes([protected[-1] ^ 1]))
    assert not isinstance(caught.value, Replayed)


def test_a_batch_has_errors_in_the_place_of_bad_packets() -> None:
    good = list(protect_all(Sender(SUITE, KEY), [rtp(1), rtcp(), rtp(2)]))
    forged = good[1][:-1] + bytes([good[1][-1] ^ 1])
    batch = [good[0], b"", good[0], forged, good[1], good[2]]
    got = list(unprotect_all(Receiver(SUITE, [KEY]), batch))
    assert [got[0], got[4], got[5]] == [rtp(1), rtcp(), rtp(2)]
    assert [type(got[1]), type(got[2]), type(got[3])] == [WireError, Duplicate, Unverified]


@pytest.mark.parametrize("packet", [rtp(1, csrcs=(1, 2), extension=bytes(8)), rtcp()])
@EVERY
def test_a_packet_cut_anywhere_raises_nothing_but_mikey_errors(each: Suite, packet: bytes) -> None:
    key = master_key(each, mki=b"\x01\x02\x03")
    protected = Sender(each, key, mki=True).protect(packet)
    receiver = Receiver(each, [key])
    # With AES-GCM the MKI comes last: without just that, the packet is one without MKI.
    whole = len(protected) - len(key.mki) if each.cipher is Cipher.AES_GCM else len(protected)
    for length in {*range(len(protected))} - {whole}:
        with pytest.raises(MikeyError):
            receiver.unprotect(protected[:length])
    assert receiver.highest == {}
    assert receiver.unprotect(protected) == packet


@EVERY
def test_a_packet_without_room_for_the_tag_is_unreadable(each: Suite) -> None:
    for packet in (
        rtp(1, b"") + bytes(each.rtp_tag_length - 1),
        rtcp(0) + bytes(4 + each.rtcp_tag_length - 1),
    ):
        with pytest.raises(WireError, match="authentication tag"):
            Receiver(each, [master_key(each)]).unprotect(packet)


def test_a_header_that_reaches_into_the_tag_is_unreadable_though_authentic() -> None:
    cut = rtp(1, b"", extension=bytes(4))[:-4]
    sealed = rtp_sealer(SUITE, KEY, b"")(cut, len(cut), SSRC, 1)
    with pytest.raises(WireError, match="authentication tag"):
        Receiver(SUITE, [KEY]).unprotect(sealed)


@given(suites, st.lists(st.binary(max_size=60), max_size=20))
def test_noise_raises_nothing_but_mikey_errors(suite: Suite, noise: list[bytes]) -> None:
    receiver = Receiver(suite, [master_key(suite), master_key(suite, mki=b"\x01")])
    assert all(isinstance(each, MikeyError) for each in unprotect_all(receiver, noise))
    assert receiver.highest == {}


@EVERY
@pytest.mark.parametrize("mki", [False, True])
def test_the_key_is_found_with_and_without_mki(each: Suite, mki: bool) -> None:
    old, new = master_key(each, 2, b"\x01"), master_key(each, 3, b"\x02")
    receiver = Receiver(each, [old, new])
    first, second = Sender(each, old, mki=mki), Sender(each, new, mki=mki)
    for number, sender in enumerate((first, second, first, second)):
        assert receiver.unprotect(sender.protect(rtp(number))) == rtp(number)
    # The SRTCP index goes on over a change of keys (RFC 3711 3.4).
    assert receiver.unprotect(first.protect(rtcp())) == rtcp()
    goes_on = Sender(each, new, mki=mki, highest=first.highest)
    assert receiver.unprotect(goes_on.protect(rtcp())) == rtcp()


def test_octets_that_look_like_an_mki_are_only_one_if_the_tag_says_so() -> None:
    protected = Sender(SUITE, KEY).protect(rtp(1))
    looks_like_it = MasterKey(KEY.key, KEY.salt, protected[-12:-10])
    assert Receiver(SUITE, [looks_like_it]).unprotect(protected) == rtp(1)


def test_an_unknown_key_is_refused_and_no_key_is_wrong_usage() -> None:
    with pytest.raises(Refused, match=r"0xcafebabe.*7.*check the key"):
        Receiver(SUITE, [OLD, NEW]).unprotect(Sender(SUITE, KEY).protect(rtp(7)))
    with pytest.raises(UsageError, match="at least one"):
        Receiver(SUITE, [])


def test_only_allowed_ssrcs_are_let_in() -> None:
    sender = Sender(SUITE, KEY)
    receiver = Receiver(SUITE, [KEY], ssrcs=frozenset({SSRC}))
    assert receiver.unprotect(sender.protect(rtp(1))) == rtp(1)
    assert receiver.unprotect(sender.protect(rtcp())) == rtcp()
    for packet in (rtp(1, ssrc=5), rtcp(ssrc=5)):
        with pytest.raises(Refused, match="0x00000005"):
            receiver.unprotect(sender.protect(packet))


@EVERY
def test_who_joins_late_finds_the_roc_or_is_told(each: Suite) -> None:
    key = master_key(each)
    sender = Sender(each, key, highest={SSRC: Highest((7 << 16) + 99)})
    protected, next_one = protect_all(sender, [rtp(100), rtp(101)])
    told, found = Receiver(each, [key], roc={SSRC: 7}), Receiver(each, [key])
    for receiver in (told, found):
        assert receiver.unprotect(protected) == rtp(100)
        assert receiver.unprotect(next_one) == rtp(101)
        assert receiver.highest == {SSRC: Highest((7 << 16) + 101)}
    assert told.notes.take() == []
    assert ["the ROC is 7 and not 0" in note for note in found.notes.take()] == [True]


@pytest.mark.parametrize(("far", "given"), [(256, 0), (300, 556), (1000, 900)])
def test_the_roc_is_found_within_reach(far: int, given: int) -> None:
    protected = Sender(SUITE, KEY, highest={SSRC: Highest((far << 16) + 9)}).protect(rtp(10))
    assert Receiver(SUITE, [KEY], roc={SSRC: given}).unprotect(protected) == rtp(10)


def test_the_search_for_a_roc_is_bounded_and_never_given_up() -> None:
    foreign = Sender(SUITE, OLD).protect(rtp(10))
    receiver = Receiver(SUITE, [KEY], roc={SSRC: 1000}, budget=SearchBudget(0))
    reached = [far_tried(receiver, foreign) for _ in range(1024)]
    assert reached[:4] == [256] * 4
    assert sum(reached[512:]) / 512 < 6
    # A stream that begins behind all of them is found, the later the farther its ROC is away.
    for far in (1, 3, 200):
        receiver = Receiver(SUITE, [KEY], roc={SSRC: 1000}, budget=SearchBudget(0))
        for _ in range(60):
            far_tried(receiver, foreign)
        stream = protect_all(Sender(SUITE, KEY, roc={SSRC: 1000 + far}), map(rtp, range(2 * 256)))
        got = list(unprotect_all(receiver, stream))
        found = [not isinstance(each, MikeyError) for each in got].index(True)
        assert found < 2 * far
        assert got[found:] == [rtp(n) for n in range(found, 2 * 256)]


def far_tried(receiver: Receiver, packet: bytes) -> int:
    """How many ROCs around the likely one are tried for a packet that never verifies."""
    with pytest.raises(Refused, match="does not verify") as caught:
        receiver.unprotect(packet)
    return int(str(caught.value).rpartition(" ")[2].rstrip(")")) - 1000


def test_a_tag_so_short_that_a_wrong_roc_would_pass_is_not_searched_with() -> None:
    short = adapted(SUITE, tag_length=1)
    late = Sender(short, KEY, roc={SSRC: 200})
    receiver = Receiver(short, [KEY])
    outcomes = [receiver_takes(receiver, late.protect(rtp(n))) for n in range(20)]
    assert outcomes.count(True) <= 2


def receiver_takes(receiver: Receiver, packet: bytes) -> bool:
    try:
        receiver.unprotect(packet)
    except Refused:
        return False
    return True


def test_a_replay_that_the_search_finds_leaves_no_note() -> None:
    sender, receiver = Sender(SUITE, KEY), Receiver(SUITE, [KEY])
    old = [sender.protect(rtp(n)) for n in range(1, 5)]
    for sequence in (0x7000, 0xE000, 0x15000, 0x17000):
        newest = sender.protect(rtp(sequence))
    for packet in (*old, newest):
        receiver.unprotect(packet)
    receiver.notes.take()
    for packet in old:
        with pytest.raises(Replayed):
            receiver.unprotect(packet)
    assert receiver.notes.take() == []


def test_without_a_tag_the_mki_has_to_be_right_where_there_is_one() -> None:
    bare = adapted(SUITE, rtp_authenticated=False)
    protected = Sender(bare, NEW, mki=True).protect(rtp(1))
    receiver = Receiver(bare, [OLD, NEW], mki=True)
    with pytest.raises(Refused, match="no key has the MKI"):
        receiver.unprotect(protected[:-1] + b"\x09")
    assert receiver.highest == {}
    assert receiver.unprotect(protected) == rtp(1)
    assert ["nothing verifies RTP" in note for note in receiver.notes.take()] == [True]
    assert receiver.unprotect(Sender(bare, OLD, mki=True).protect(rtp(2))) == rtp(2)


@EVERY
def test_an_mki_is_not_asked_for_where_a_tag_tells_the_key(each: Suite) -> None:
    key = master_key(each, mki=b"\x01")
    receiver = Receiver(each, [key], mki=True)
    for packet in (rtp(1), rtcp()):
        assert receiver.unprotect(Sender(each, key).protect(packet)) == packet


def test_a_stream_goes_on_after_a_gap_of_more_than_half_the_range() -> None:
    sender = Sender(SUITE, KEY)
    receiver = Receiver(SUITE, [KEY])
    assert receiver.unprotect(sender.protect(rtp(1))) == rtp(1)
    for sequence in (0x7000, 0xE000):
        sender.protect(rtp(sequence))
    for sequence in (0x5000, 0xA000):
        packet = sender.protect(rtp(sequence))
    assert receiver.unprotect(packet) == rtp(0xA000)
    assert receiver.highest == {SSRC: Highest(0x1A000)}


# --- the life of a key --------------------------------------------------------------------------


NEARLY_RTP, NEARLY_RTCP = (1 << 48) // 16 * 15, (1 << 31) // 16 * 15


@pytest.mark.parametrize("ahead", [0, 1, 1000])
def test_a_key_that_is_nearly_worn_out_is_told_of_once(ahead: int) -> None:
    last = Highest(NEARLY_RTP - 3, NEARLY_RTCP - 2 + ahead)
    sender = Sender(SUITE, KEY, highest={SSRC: last})
    receiver = Receiver(SUITE, [KEY], roc={SSRC: last.rtp >> 16})
    receiver.unprotect(sender.protect(rtp(NEARLY_RTP - 2)))
    assert sender.notes.take() == receiver.notes.take() == []
    packets = [rtp(NEARLY_RTP + ahead), rtcp(), rtp(NEARLY_RTP + ahead + 1), rtcp()]
    for protected in map(sender.protect, packets):
        receiver.unprotect(protected)
    for end in (sender, receiver):
        notes = end.notes.take()
        assert ["SRTP" in note for note in notes if "15 of 16" in note] == [True, False]
        assert len(notes) == 2


def test_the_lifetime_of_a_key_ends_with_its_packets() -> None:
    short = MasterKey(KEY.key, KEY.salt, lifetime=4)
    sender, receiver = Sender(SUITE, KEY), Receiver(SUITE, [short])
    packets = [sender.protect(rtp(n)) for n in range(6)]
    control = [sender.protect(rtcp()) for _ in range(5)]
    for number in range(4):
        assert receiver.unprotect(packets[number]) == rtp(number)
        receiver.unprotect(control[number])
    for packet in (packets[4], control[4]):
        with pytest.raises(Refused, match=r"4 SRTC?P packets of its lifetime"):
            receiver.unprotect(packet)
    assert len(receiver.notes.take()) == 2


def test_a_roc_out_of_range_is_wrong_usage() -> None:
    for roc in (-1, 1 << 32):
        with pytest.raises(UsageError, match="ROC"):
            Receiver(SUITE, [KEY], roc={SSRC: roc})
    with pytest.raises(UsageError, match="window"):
        Receiver(SUITE, [KEY], window=63)


@EVERY
def test_late_packets_from_before_a_wrap_keep_their_roc(each: Suite) -> None:
    key = master_key(each)
    source = random.Random(11)
    clear = [rtp(0xFFF0 + n, bytes([n])) for n in range(40)]
    protected = list(protect_all(Sender(each, key), clear))
    order = sorted(range(40), key=lambda n: n + source.uniform(0, 20) * bool(n))
    receiver = Receiver(each, [key])
    assert list(unprotect_all(receiver, (protected[n] for n in order))) == [clear[n] for n in order]


def test_a_high_sequence_number_in_roc_0_is_ahead_and_not_behind() -> None:
    receiver = Receiver(SUITE, [KEY])
    receiver.unprotect(Sender(SUITE, KEY).protect(rtp(10)))
    assert receiver.unprotect(Sender(SUITE, KEY).protect(rtp(0xFFF0))) == rtp(0xFFF0)


@pytest.mark.parametrize("sequence", [0, 1])
def test_after_the_last_index_comes_nothing(sequence: int) -> None:
    last = Sender(SUITE, KEY, highest={SSRC: Highest((1 << 48) - 2)}).protect(rtp(0xFFFF))
    receiver = Receiver(SUITE, [KEY], roc={SSRC: (1 << 32) - 1})
    receiver.unprotect(last)
    with pytest.raises(Refused, match="new key"):
        receiver.unprotect(Sender(SUITE, KEY).protect(rtp(sequence)))
