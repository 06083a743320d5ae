"""Streams of a capture, listed in bounded memory and at the same cost for each packet."""

from __future__ import annotations

import io
import struct
from unittest import mock

from mikeytool.media import list_streams, stream_list
from tests.capture.network import Ends, pcap, udp


def rtp(ssrc: int, sequence: int) -> bytes:
    ends = Ends("192.0.2.1", 5004, "192.0.2.2", 5006)
    return udp(struct.pack("!BBHII", 0x80, 8, sequence, 0, ssrc) + bytes(20), ends)


def test_more_streams_than_are_listed() -> None:
    """In turn, so that each has its second packet long after its first."""
    packets = [rtp(ssrc, sequence) for sequence in range(8) for ssrc in range(60)]
    with mock.patch.object(stream_list, "_MOST_STREAMS", 16):
        found = list_streams(io.BytesIO(pcap(packets)))
    assert len(found.streams) == 16
    counted = sum(each.packets for each in found.streams) + sum(found.others.values())
    assert counted == len(packets)


def test_streams_of_one_packet_make_room() -> None:
    packets = [rtp(ssrc, 1) for ssrc in range(40)]
    packets += [rtp(1000 + ssrc, sequence) for sequence in range(2) for ssrc in range(10)]
    with (
        mock.patch.object(stream_list, "_MOST_STREAMS", 16),
        mock.patch.object(stream_list, "_LONGEST_WAIT", 20),
    ):
        found = list_streams(io.BytesIO(pcap(packets)))
    assert sorted(each.ssrc for each in found.streams) == [1000 + ssrc for ssrc in range(10)]


def test_a_packet_of_another_stream_does_not_look_through_all() -> None:
    packets = [rtp(ssrc, sequence) for ssrc in range(64) for sequence in range(2)]
    packets += [rtp(1000 + ssrc, 1) for ssrc in range(200)]
    looked = 0

    class Counted(stream_list.StreamSummary):
        @property
        def is_sure(self) -> bool:
            nonlocal looked
            looked += 1
            return super().is_sure

    with (
        mock.patch.object(stream_list, "_MOST_STREAMS", 64),
        mock.patch.object(stream_list, "_LONGEST_WAIT", 0),
        mock.patch.object(stream_list, "StreamSummary", Counted),
    ):
        found = list_streams(io.BytesIO(pcap(packets)))
    assert len(found.streams) == 64
    assert looked <= 64
