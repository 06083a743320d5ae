from __future__ import annotations

import itertools

import pytest

from mikeytool.capture.fragments import MAX_PACKETS, MAX_PIECES, MAX_WAIT, Fragments
from mikeytool.capture.frames import Fragment, find_datagram
from mikeytool.capture.link_types import RAW
from tests.capture import network
from tests.capture.network import ALICE, ALICE6, BOB, BOB6

PAYLOAD = bytes(range(256)) * 4


def pieces(size: int = 200, *, v6: bool = False, ident: int = 7) -> list[bytes]:
    ends = (ALICE6, BOB6) if v6 else (ALICE, BOB)
    datagram = network.udp_datagram(ends[0], 5060, ends[1], 5061, PAYLOAD)
    return network.fragments(*ends, datagram, size, ident=ident)


def add(fragments: Fragments, packet: bytes) -> bytes | None:
    """The UDP payload that a packet makes whole."""
    fragment = find_datagram(RAW, packet, 0, len(packet))
    assert isinstance(fragment, Fragment)
    whole = fragments.add(packet, fragment)
    if whole is None:
        return None
    raw, datagram = whole
    assert datagram.source.endswith(":5060")
    assert datagram.destination.endswith(":5061")
    return raw[datagram.start : datagram.end]


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_pieces_in_any_order_make_the_packet(order: tuple[int, ...], v6: bool) -> None:
    fragments = Fragments()
    cut = pieces(400, v6=v6)
    *early, last = [add(fragments, cut[at]) for at in order]
    assert early == [None] * 2
    assert last == PAYLOAD


def test_a_repeated_piece_is_no_harm() -> None:
    fragments = Fragments()
    first, *rest = pieces()
    assert [add(fragments, one) for one in (first, first, *rest)][-1] == PAYLOAD


def test_packets_are_kept_apart_by_identification() -> None:
    fragments = Fragments()
    mixed = zip(pieces(ident=1), pieces(ident=2), strict=True)
    whole = [add(fragments, one) for pair in mixed for one in pair]
    assert whole[-2:] == [PAYLOAD, PAYLOAD]


@pytest.mark.parametrize("shift", [-8, 8])
def test_overlapping_pieces_throw_the_packet_away(shift: int) -> None:
    cut = pieces(200)
    head = find_datagram(RAW, cut[1], 0, len(cut[1]))
    assert isinstance(head, Fragment)
    moved = (head.offset + shift) // 8 | 0x2000
    other = cut[1][:6] + moved.to_bytes(2) + cut[1][8:]
    fragments = Fragments()
    assert [add(fragments, one) for one in (cut[0], cut[1], other, *cut[2:])] == [None] * 7


def test_two_different_ends_throw_the_packet_away() -> None:
    cut = pieces(200)
    head = find_datagram(RAW, cut[2], 0, len(cut[2]))
    assert isinstance(head, Fragment)
    early_end = cut[2][:6] + (head.offset // 8).to_bytes(2) + cut[2][8:]
    fragments = Fragments()
    assert add(fragments, cut[-1]) is None
    assert add(fragments, early_end) is None
    assert [add(fragments, one) for one in cut[:-1]] == [None] * (len(cut) - 1)


def test_a_cut_piece_ends_the_packet() -> None:
    first, *rest = pieces()
    short = find_datagram(RAW, first[:-1], 0, len(first) - 1)
    assert isinstance(short, Fragment)
    assert short.cut
    fragments = Fragments()
    assert fragments.add(first[:-1], short) is None
    assert [add(fragments, one) for one in rest] == [None] * len(rest)


def test_too_many_pieces_are_not_put_together() -> None:
    large = network.udp_datagram(ALICE, 5060, BOB, 5061, bytes(8 * MAX_PIECES))
    fragments = Fragments()
    assert {add(fragments, one) for one in network.fragments(ALICE, BOB, large, 8)} == {None}


def test_the_oldest_packet_gives_way() -> None:
    fragments = Fragments()
    first, *rest = pieces(ident=1)
    add(fragments, first)
    for ident in range(2, MAX_PACKETS + 2):
        add(fragments, pieces(ident=ident)[0])
    assert {add(fragments, one) for one in rest} == {None}


def test_a_packet_does_not_wait_for_ever() -> None:
    fragments = Fragments()
    first, *rest = pieces(ident=1)
    add(fragments, first)
    other = pieces(ident=2)[0]
    for _ in range(MAX_WAIT + 1):
        add(fragments, other)
    assert {add(fragments, one) for one in rest} == {None}


def test_tcp_in_fragments_is_found() -> None:
    segment = network.tcp(PAYLOAD, 7)[20:]
    cut = network.fragments(ALICE, BOB, segment, 512, protocol=6)
    fragments = Fragments()
    whole = None
    for one in cut:
        fragment = find_datagram(RAW, one, 0, len(one))
        assert isinstance(fragment, Fragment)
        whole = fragments.add(one, fragment)
    assert whole is not None
    raw, datagram = whole
    assert (datagram.protocol, raw[datagram.start : datagram.end]) == (6, PAYLOAD)
