"""Streams told apart by destination, their sources, clashes, and counts."""

from __future__ import annotations

import pytest

from mikeytool.srtp import SUITES, Clash, Receiver, Replayed, Sender, Suite, suite
from mikeytool.srtp.index import Duplicate, Excluded, TooLate
from mikeytool.srtp.stream import Stream
from mikeytool.wire.errors import Refused
from tests.srtp.media import protect_all

from .media import SSRC, master_key, rtcp, rtp

SUITE = suite("AES_CM_128_HMAC_SHA1_80")
KEY = master_key(SUITE)
OLD = master_key(SUITE, 2, b"\x01")
NEW = master_key(SUITE, 3, b"\x02")
EVERY = pytest.mark.parametrize("each", SUITES.values(), ids=lambda each: each.name)


def test_index_and_replay_are_kept_for_each_destination() -> None:
    protected = list(protect_all(Sender(SUITE, KEY), [rtp(1), rtp(2)]))
    receiver = Receiver(SUITE, [KEY])
    for destination in ("left", "right"):
        for number, packet in enumerate(protected, 1):
            assert receiver.unprotect(packet, "source", destination) == rtp(number)
        with pytest.raises(Replayed):
            receiver.unprotect(protected[0], "source", destination)
    assert set(receiver.streams) == {(SSRC, "left"), (SSRC, "right")}
    assert any("captured twice" in note for note in receiver.notes.take())


@EVERY
@pytest.mark.parametrize("destinations", [("one", "one"), ("one", "other")])
def test_two_packets_of_one_index_clash(each: Suite, destinations: tuple[str, str]) -> None:
    key = master_key(each)
    receiver = Receiver(each, [key])
    mine, theirs = (Sender(each, key).protect(rtp(1, payload)) for payload in (b"mine", b"them"))
    receiver.unprotect(mine, "192.0.2.1:5004", destinations[0])
    with pytest.raises(Clash, match=r"index 1 .*from 192\.0\.2\.1:5004 and from 192\.0\.2\.9:7"):
        receiver.unprotect(theirs, "192.0.2.9:7", destinations[1])
    assert receiver.streams[SSRC, "one"].source == "192.0.2.1:5004"


def test_rtcp_of_one_index_clashes_too() -> None:
    receiver = Receiver(SUITE, [KEY])
    receiver.unprotect(Sender(SUITE, KEY).protect(rtcp(filler=1)), "a")
    with pytest.raises(Clash, match=r"SRTCP .*index 0"):
        receiver.unprotect(Sender(SUITE, KEY).protect(rtcp(filler=2)), "b")


def test_one_index_under_two_keys_is_a_replay_and_no_clash() -> None:
    receiver = Receiver(SUITE, [OLD, NEW])
    receiver.unprotect(Sender(SUITE, OLD).protect(rtp(1, b"old")))
    with pytest.raises(Replayed):
        receiver.unprotect(Sender(SUITE, NEW).protect(rtp(1, b"new")))


def test_a_stream_may_move_to_another_source_unless_it_is_owned() -> None:
    packets = list(protect_all(Sender(SUITE, KEY), [rtp(1), rtp(2), rtp(3)]))
    free, owned = Receiver(SUITE, [KEY]), Receiver(SUITE, [KEY], owned=True)
    for receiver in (free, owned):
        receiver.unprotect(packets[0], "first")
    free.unprotect(packets[1], "second")
    assert [("from first" in note, "from second" in note) for note in free.notes.take()] == [
        (True, True)
    ]
    with pytest.raises(Clash, match="belongs to first, from second"):
        owned.unprotect(packets[1], "second")
    assert owned.unprotect(packets[1], "first") == rtp(2)


def test_an_ssrc_may_be_barred() -> None:
    receiver = Receiver(SUITE, [KEY], barred=frozenset({SSRC}))
    sender = Sender(SUITE, KEY)
    for packet in (rtp(1), rtcp()):
        with pytest.raises(Refused, match="this end's own"):
            receiver.unprotect(sender.protect(packet))
    assert receiver.unprotect(sender.protect(rtp(1, ssrc=5))) == rtp(1, ssrc=5)


def test_loss_and_order_are_counted() -> None:
    sender = Sender(SUITE, KEY)
    packets = {n: sender.protect(rtp(0xFFFE + n)) for n in range(10)}
    receiver = Receiver(SUITE, [KEY])
    for number in (1, 0, 2, 5, 4, 9):
        receiver.unprotect(packets[number])
    stream = receiver.streams[SSRC, ""]
    assert (stream.received, stream.lost, stream.late, stream.roc) == (6, 4, 2, 1)


def test_the_streams_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mikeytool.srtp.receiver.MOST_STREAMS", 3)
    sender, receiver = Sender(SUITE, KEY), Receiver(SUITE, [KEY])
    for ssrc in range(3):
        receiver.unprotect(sender.protect(rtp(1, ssrc=ssrc)))
    with pytest.raises(Excluded, match="more than 3 streams"):
        receiver.unprotect(sender.protect(rtp(1, ssrc=3)))
    assert receiver.unprotect(sender.protect(rtp(2, ssrc=2))) == rtp(2, ssrc=2)


def test_of_many_streams_copies_are_told_for_64_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mikeytool.srtp.receiver._WELL_REMEMBERED", 1)
    sender, receiver = Sender(SUITE, KEY), Receiver(SUITE, [KEY])
    for ssrc in (1, 2):
        sent = [sender.protect(rtp(number, ssrc=ssrc)) for number in range(100)]
        for packet in sent:
            receiver.unprotect(packet)
        for number, known in ((99, True), (36, True), (35, False), (0, False)):
            with pytest.raises(Replayed) as raised:
                receiver.unprotect(sent[number])
            assert isinstance(raised.value, Duplicate) == (known or ssrc == 1), number


def test_packets_before_the_first_are_late_once() -> None:
    sender, receiver = Sender(SUITE, KEY), Receiver(SUITE, [KEY])
    sent = [sender.protect(rtp(number)) for number in range(100)]
    for number in (80, 79, 17, 81, 18):
        assert receiver.unprotect(sent[number]) == rtp(number)
    for number in (79, 17, 18, 80):
        with pytest.raises(Replayed):
            receiver.unprotect(sent[number])
    with pytest.raises(TooLate):
        receiver.unprotect(sent[16])


def test_an_ssrc_at_another_destination_goes_on_from_the_roc_that_it_reached() -> None:
    sender = Sender(SUITE, KEY, roc={SSRC: 1000})
    receiver = Receiver(SUITE, [KEY], roc={SSRC: 1000})
    receiver.unprotect(sender.protect(rtp(0)), "source", "one")
    for _ in range(300):
        for sequence in (0x5555, 0xAAAA, 0):
            packet = sender.protect(rtp(sequence))
            receiver.unprotect(packet, "source", "one")
    assert receiver.unprotect(sender.protect(rtp(1)), "source", "two") == rtp(1)
    assert receiver.streams[SSRC, "two"].roc == 1300
    assert receiver.notes.take() == []


def test_one_key_and_ssrc_for_two_streams_is_noted_where_it_cannot_be_compared_any_more() -> None:
    one, other = Sender(SUITE, KEY), Sender(SUITE, KEY)
    receiver = Receiver(SUITE, [KEY])
    for number in range(3000):
        receiver.unprotect(one.protect(rtp(number, b"one")), "first", "there")
    assert receiver.notes.take() == []
    for number in range(50):
        receiver.unprotect(other.protect(rtp(number, b"two")), "second", "elsewhere")
    (note,) = receiver.notes.take()
    assert "from first" in note
    assert "from second to elsewhere" in note
    assert "key stream" in note


def test_packets_in_order_are_not_late() -> None:
    stream = Stream(SSRC, "", "")
    for index, late in ((5, 0), (6, 0), (9, 0), (7, 1), (8, 2), (10, 2)):
        stream.record_rtp(index, 64)
        assert stream.late == late
    assert (stream.received, stream.lost, stream.first) == (6, 0, 5)
