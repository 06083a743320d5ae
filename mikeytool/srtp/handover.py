"""Packets that another process has verified for a receiver, taken over by it.

A process that was forked with a copy of a `Receiver` verifies and decrypts some packets, and
`accepted` tells what it let in. The receiver that has all of the indices takes that over with
`take_over`, if nothing about it is special: then it would have let the same packets in.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import NamedTuple

from mikeytool.srtp.context import nearly
from mikeytool.srtp.index import RTCP_INDICES, RTP_INDICES
from mikeytool.srtp.receiver import Receiver
from mikeytool.srtp.stream import Stream


class Run(NamedTuple):
    """RTP or RTCP packets of one stream under one key, in rising order of their indices.

    `key` is the number of the master key, `hashes` are those of the packets.
    """

    ssrc: int
    destination: str
    source: str
    key: int
    is_rtcp: bool
    indices: array[int]
    hashes: array[int]


def accepted(receiver: Receiver) -> list[Run] | None:
    """What the receiver has let in since its journal was begun; None if not in rising order."""
    runs: dict[tuple[Stream, int, bool], Run] = {}
    for stream, index, key, packet, is_rtcp in receiver.journal or ():
        run = runs.get((stream, key, is_rtcp))
        if run is None:
            run = runs[stream, key, is_rtcp] = Run(
                stream.ssrc, stream.destination, stream.source, key, is_rtcp, array("Q"), array("q")
            )
        elif index <= run.indices[-1]:
            return None
        run.indices.append(index)
        run.hashes.append(packet)
    # Two keys or two sources of a stream, or one SSRC at two places: in which order?
    if len({(run.ssrc, run.is_rtcp) for run in runs.values()}) < len(runs):
        return None
    return list(runs.values())


def take_over(runs: Iterable[tuple[Receiver, Run]]) -> bool:
    """Record the packets of runs that were accepted elsewhere, each with its receiver.

    Does nothing and returns False unless every packet is of a stream that its receiver knows,
    from the same source, and comes after all of that stream and SSRC.
    """
    known = []
    for receiver, run in runs:
        stream = receiver.streams.get((run.ssrc, run.destination))
        if stream is None or not _follows(stream, run):
            return False
        known.append((stream, run))
    for stream, run in known:
        _record(stream, run)
    return True


def _follows(stream: Stream, run: Run) -> bool:
    window = stream.rtcp if run.is_rtcp else stream.window
    packets = (stream.control if run.is_rtcp else stream.packets).get(run.key)
    limit = nearly(RTCP_INDICES if run.is_rtcp else RTP_INDICES)
    return (
        window is not None
        and packets is not None
        and stream.source == packets.source == run.source
        and run.indices[0] >= max(window.next, packets.next)
        and run.indices[-1] < limit
    )


def _record(stream: Stream, run: Run) -> None:
    window = stream.rtcp if run.is_rtcp else stream.window
    packets = (stream.control if run.is_rtcp else stream.packets)[run.key]
    if window is None:
        return
    for index, packet in zip(run.indices, run.hashes, strict=True):
        if index == window.next == packets.next:
            window.next = packets.next = index + 1
            packets.hashes[index & packets.mask] = packet
        else:
            window.accept(index)
            packets.note(index, packet, run.source)
    if not run.is_rtcp:
        stream.received += len(run.indices)
