from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.srtp import Replayed
from mikeytool.srtp.index import Known, Packets, ReplayWindow, check_window, estimate
from mikeytool.wire.errors import UsageError


def appendix_a(roc: int, s_l: int, seq: int) -> int:
    """RFC 3711 appendix A, step for step; -1 in place of 2^32 - 1 before ROC 0."""
    v = roc
    if s_l < 32768:
        if seq - s_l > 32768:
            v = roc - 1
    elif s_l - 32768 > seq:
        v = roc + 1
    return seq + v * 65536


@given(st.integers(0, 0xFFFF_FFFF), st.integers(0, 0xFFFF), st.integers(0, 0xFFFF))
def test_the_estimate_is_that_of_appendix_a(roc: int, last: int, sequence: int) -> None:
    assert estimate(roc << 16 | last, sequence) == appendix_a(roc, last, sequence)


@pytest.mark.parametrize("last", [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF])
def test_the_estimate_at_half_the_range(last: int) -> None:
    for sequence in range(0x10000):
        assert estimate(3 << 16 | last, sequence) == appendix_a(3, last, sequence)


class Remembering:
    """A replay list without a window: every index, kept."""

    def __init__(self, size: int, first: int) -> None:
        self.size = size
        self.seen = {first}

    def takes(self, index: int) -> bool:
        if index in self.seen or index <= max(self.seen) - self.size:
            return False
        self.seen.add(index)
        return True


@given(
    st.sampled_from([64, 65, 200]),
    st.integers(0, 1000),
    st.lists(st.integers(0, 1000), max_size=80),
)
def test_the_window_takes_what_a_full_memory_takes(size: int, first: int, after: list[int]) -> None:
    window, model = ReplayWindow(size, first), Remembering(size, first)
    for index in after:
        assert accepted(window, index) == model.takes(index)
        assert window.next == max(model.seen) + 1


def test_a_long_lossy_stream_keeps_the_window_right() -> None:
    source = random.Random(3)
    window, model = ReplayWindow(64, 0), Remembering(64, 0)
    for step in range(1, 5000):
        index = max(0, 3 * step + source.randrange(-90, 4))
        assert accepted(window, index) == model.takes(index)


def test_a_jump_over_all_indices_is_quick() -> None:
    window = ReplayWindow(64, 0)
    window.accept((1 << 31) - 1)
    assert not accepted(window, (1 << 31) - 65)
    assert accepted(window, (1 << 31) - 64)


@pytest.mark.parametrize("size", [-1, 0, 63])
def test_windows_that_are_too_small_are_wrong_usage(size: int) -> None:
    with pytest.raises(UsageError, match="64 or more"):
        check_window(size)


def test_a_window_of_any_size_takes_bounded_memory() -> None:
    check_window(10**30)
    window = ReplayWindow(10**30, 5)
    assert accepted(window, 1 << 40)
    assert accepted(window, (1 << 40) - 0x7FFF)
    assert not accepted(window, (1 << 40) - 0x8000)


@given(st.integers(0, 5000), st.lists(st.integers(0, 5000), max_size=80))
def test_packets_are_known_again_wherever_they_were_sent(first: int, after: list[int]) -> None:
    packets = Packets(1024, first, "a")
    noted: set[int] = set()
    highest = first - 1
    for index in after:
        packet = hash(index.to_bytes(20))
        known = packets.known(index, packet)
        if index <= highest - 1024:
            assert known is Known.FORGOTTEN
        elif index in noted:
            assert known is Known.SAME
            assert packets.known(index, hash(b"another")) is Known.OTHER
        else:
            assert known is Known.NEW
        packets.note(index, packet, "b")
        highest = max(highest, index)
        if index > highest - 1024:
            noted.add(index)


def accepted(window: ReplayWindow, index: int) -> bool:
    try:
        window.accept(index)
    except Replayed:
        return False
    return True
