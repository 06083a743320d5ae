from __future__ import annotations

import random

import pytest

from mikeytool.srtp import MasterKey, Receiver, Replayed, Sender, suite
from mikeytool.srtp.handover import Run, accepted, take_over

from .media import SSRC, master_key, rtcp, rtp

SUITE = suite("AES_CM_128_HMAC_SHA1_80")
KEY = master_key(SUITE)


def runs_of(receiver: Receiver, packets: list[bytes], source: str = "") -> list[Run] | None:
    receiver.journal = []
    for packet in packets:
        receiver.unprotect(packet, source)
    return accepted(receiver)


def two() -> tuple[Receiver, Receiver, Sender]:
    """Two receivers that have seen the same first packets, and their sender."""
    sender = Sender(SUITE, KEY)
    first = [sender.protect(rtp(1)), sender.protect(rtcp())]
    receivers = [Receiver(SUITE, [KEY]) for _ in range(2)]
    for receiver in receivers:
        for packet in first:
            receiver.unprotect(packet)
    return receivers[0], receivers[1], sender


def test_what_another_has_taken_in_is_taken_over() -> None:
    main, other, sender = two()
    sent = {n: sender.protect(rtp(n)) for n in range(2, 2000)}
    control = [sender.protect(rtcp()) for _ in range(3)]
    lost = set(random.Random(1).sample(range(3, 1999), 90))
    come = [packet for n, packet in sent.items() if n not in lost]
    runs = runs_of(other, [*come, *control])
    assert runs is not None
    assert take_over([(main, run) for run in runs])
    assert main.highest == other.highest
    stream = main.streams[SSRC, ""]
    assert (stream.received, stream.lost) == (1999 - 90, 90)
    for packet in (come[-1], come[-60], control[-1]):
        with pytest.raises(Replayed):
            main.unprotect(packet)
    late = max(lost)
    assert main.unprotect(sent[late]) == rtp(late)


def test_what_is_not_in_rising_order_is_no_run() -> None:
    _, other, sender = two()
    second, third = sender.protect(rtp(2)), sender.protect(rtp(3))
    assert runs_of(other, [third, second]) is None


def test_nothing_is_taken_over_that_does_not_simply_follow() -> None:
    main, other, sender = two()
    packets = [sender.protect(rtp(n)) for n in (2, 3)]
    runs = runs_of(other, packets)
    assert runs is not None
    (run,) = runs
    before = main.highest
    unknown = Receiver(SUITE, [KEY])
    assert not take_over([(main, run), (unknown, run)])
    assert not take_over([(main, run._replace(source="elsewhere"))])
    assert not take_over([(main, run._replace(key=1))])
    assert main.highest == before
    main.unprotect(packets[0])
    assert not take_over([(main, run)])
    assert main.unprotect(packets[1]) == rtp(3)


def test_receivers_that_count_or_cannot_tell_are_not_shared() -> None:
    assert Receiver(SUITE, [KEY]).is_shareable
    assert not Receiver(SUITE, [MasterKey(KEY.key, KEY.salt, lifetime=9)]).is_shareable
