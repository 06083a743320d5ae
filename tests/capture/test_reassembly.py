from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mikeytool.capture import reassembly
from mikeytool.capture.frames import Datagram, find_datagram
from mikeytool.capture.link_types import RAW
from mikeytool.capture.reassembly import PIECE, Moment, StreamReader, TcpStreams
from tests.capture.network import ACK, CLIENT, FIN, PSH, RST, SYN, Ends, stream, tcp

DATA = bytes(range(256)) * 3
GAP = b"<gap>"
END = b"<end>"


class Heard(StreamReader):
    """Writes down what it is given."""

    def __init__(self) -> None:
        self.said: list[bytes] = []
        self.frames: list[int] = []

    @property
    def held(self) -> int:
        return 0

    def feed(self, data: bytes, moment: Moment) -> None:
        self.said.append(data)
        self.frames.append(moment.frame)

    def lost(self) -> None:
        self.said.append(GAP)

    def end(self) -> None:
        self.said.append(END)

    @property
    def text(self) -> bytes:
        return b"".join(self.said)


class Streams:
    """TCP streams whose readers can be looked at, in order of their beginning."""

    def __init__(self) -> None:
        self.readers: list[Heard] = []
        self.streams = TcpStreams(self._open)
        self._frame = 0

    def _open(self, flow: bytes, first: bytes) -> Heard:
        self.readers.append(Heard())
        return self.readers[-1]

    def add(self, *packets: bytes) -> Streams:
        for packet in packets:
            self._frame += 1
            found = find_datagram(RAW, packet, 0, len(packet))
            assert isinstance(found, Datagram)
            self.streams.add(packet, found, Moment(self._frame, None))
        return self

    def heard(self) -> bytes:
        """What the only reader heard, up to now."""
        (reader,) = self.readers
        return reader.text

    def all(self) -> bytes:
        """What the only reader heard in all."""
        self.streams.end()
        return self.heard()


@pytest.mark.parametrize("seq", [1, 2**32 - 1, 2**32 - 300, 2**31])
@pytest.mark.parametrize("opened", [True, False])
def test_segments_make_the_stream(seq: int, opened: bool) -> None:
    assert Streams().add(*stream(DATA, 100, seq, opened=opened)).all() == DATA + END


@pytest.mark.parametrize("opened", [True, False])
@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_segments_in_any_order(order: tuple[int, ...], opened: bool) -> None:
    syn = [tcp(b"", 2**32 - 101, flags=SYN)] if opened else []
    segments = stream(DATA, 192, 2**32 - 100, opened=False)
    assert Streams().add(*syn, *(segments[at] for at in order)).all() == DATA + END


@given(
    st.lists(st.tuples(st.integers(0, 767), st.integers(1, 200)), max_size=30),
    st.integers(0, 2**32 - 1),
    st.randoms(use_true_random=False),
)
def test_repeated_and_overlapping_segments(
    extra: list[tuple[int, int]], seq: int, rng: random.Random
) -> None:
    cuts = [(at, 64) for at in range(0, len(DATA), 64)] + extra
    rng.shuffle(cuts)
    segments = [tcp(DATA[at : at + size], seq + at) for at, size in cuts]
    assert Streams().add(tcp(b"", seq - 1, flags=SYN), *segments).all() == DATA + END


def test_the_moment_is_when_all_octets_up_to_there_were_captured() -> None:
    streams = Streams().add(tcp(b"", 0, flags=SYN), tcp(b"cd", 3), tcp(b"ab", 1), tcp(b"ef", 5))
    assert streams.readers[0].frames == [3, 3, 4]


def test_what_came_first_counts() -> None:
    assert Streams().add(*stream(b"abcdef", 6, 1), tcp(b"XXXXXXg", 1)).all() == b"abcdefg" + END


def test_a_keepalive_is_no_data() -> None:
    streams = Streams().add(*stream(b"abc", 3, 1), tcp(b"\0", 3), tcp(b"", 3), tcp(b"def", 4))
    assert streams.all() == b"abcdef" + END


def test_a_gap_ends_when_the_capture_does() -> None:
    streams = Streams().add(*stream(b"abc", 3, 1), tcp(b"ghi", 7), tcp(b"jkl", 10))
    assert streams.heard() == b"abc"
    assert streams.all() == b"abc" + GAP + b"ghijkl" + END


def test_a_gap_ends_when_too_much_waits_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "MAX_SEGMENTS", 3)
    streams = Streams().add(*stream(b"abc", 3, 1), *(tcp(b"x", 5 + at) for at in range(3)))
    assert streams.heard() == b"abc"
    assert streams.add(tcp(b"y", 8)).heard() == b"abc" + GAP + b"xxxy"


def test_octets_that_wait_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "MAX_WAITING", 1000)
    streams = Streams().add(*stream(b"abc", 3, 1), tcp(bytes(900), 5), tcp(bytes(101), 905))
    assert streams.heard() == b"abc" + GAP + bytes(1001)


def test_a_segment_that_was_cut_leaves_a_gap_at_once() -> None:
    streams = Streams().add(tcp(b"", 0, flags=SYN))
    cut = tcp(b"abcdef", 1)[:-3]
    streams.add(cut, tcp(b"ghi", 7))
    assert streams.heard() == b"abc" + GAP + b"ghi"
    assert Streams().add(tcp(b"", 0, flags=SYN), cut, tcp(b"abcdef", 1)).heard() == b"abcdef"


def test_a_stream_without_its_syn_starts_when_enough_is_there() -> None:
    streams = Streams().add(*(tcp(b"x", at) for at in range(9, reassembly.MAX_START + 9)))
    assert streams.readers == []
    streams.add(tcp(b"a", 8), tcp(b"y", reassembly.MAX_START + 9))
    assert streams.heard() == b"a" + b"x" * reassembly.MAX_START + b"y"


def test_fin_and_rst_end_a_stream() -> None:
    syn = tcp(b"", 0, flags=SYN)
    assert Streams().add(syn, tcp(b"abc", 1, flags=FIN | ACK)).heard() == b"abc" + END
    late = Streams().add(syn, tcp(b"", 4, flags=FIN | ACK), tcp(b"abc", 1))
    assert late.heard() == b"abc" + END
    reset = Streams().add(syn, tcp(b"abc", 1), tcp(b"", 4, flags=RST))
    assert reset.heard() == b"abc" + END


def test_what_comes_again_behind_the_end_is_passed_over() -> None:
    last = tcp(b"def", 4, flags=FIN | ACK)
    streams = Streams().add(*stream(b"abc", 3, 1), last, last, tcp(b"abc", 1))
    assert streams.all() == b"abcdef" + END


def test_the_same_ports_again_are_another_stream() -> None:
    streams = Streams().add(*stream(b"abc", 3, 1), *stream(b"def", 3, 5000))
    streams.streams.end()
    assert [one.text for one in streams.readers] == [b"abc" + END, b"def" + END]


def test_a_repeated_syn_is_not() -> None:
    syn = tcp(b"", 0, flags=SYN)
    assert Streams().add(syn, syn, tcp(b"abc", 1), syn).all() == b"abc" + END


def test_far_older_numbers_are_another_stream() -> None:
    streams = Streams().add(*stream(b"abc", 3, 2**30), tcp(b"def", 9))
    streams.streams.end()
    assert [one.text for one in streams.readers] == [b"abc" + END, b"def" + END]


def test_far_newer_numbers_behind_the_end_are_another_stream() -> None:
    end = tcp(b"", 4, flags=RST)
    streams = Streams().add(*stream(b"abc", 3, 1), end, tcp(b"def", 2**30))
    streams.streams.end()
    assert [one.text for one in streams.readers] == [b"abc" + END, b"def" + END]


def test_directions_are_kept_apart() -> None:
    back = tcp(b"yes", 900, CLIENT.back)
    streams = Streams().add(*stream(b"abc", 3, 1), back)
    streams.streams.end()
    assert [one.text for one in streams.readers] == [b"abc" + END, b"yes" + END]


def test_the_stream_that_was_silent_for_longest_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "MAX_STREAMS", 2)
    streams = Streams()
    for port in (1, 2):
        streams.add(*stream(b"abc", 3, 1, Ends(sport=port)))
    streams.add(tcp(b"def", 4, Ends(sport=1)), *stream(b"abc", 3, 1, Ends(sport=3)))
    assert [one.text for one in streams.readers] == [b"abcdef", b"abc" + END, b"abc"]


def test_what_all_streams_hold_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reassembly, "MAX_HELD", 2 * (1000 + PIECE))
    streams = Streams()
    for port in range(1, 5):
        streams.add(*stream(b"abc", 3, 1, Ends(sport=port)), tcp(bytes(1000), 10, Ends(sport=port)))
    ended = [END in one.said for one in streams.readers]
    assert ended == [True, True, False, False]


def test_a_deaf_reader_is_given_no_more() -> None:
    streams = Streams().add(*stream(b"abc", 3, 1))
    streams.readers[0].finished = True
    streams.add(tcp(b"def", 4, flags=ACK | PSH), tcp(b"ghi", 7, flags=FIN))
    assert streams.all() == b"abc"
