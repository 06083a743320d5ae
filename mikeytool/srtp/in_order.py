"""The packets of a stream that come one after the other, for a reader that takes many at a time."""

from __future__ import annotations

from mikeytool.srtp.index import Packets
from mikeytool.srtp.interface import RtpOpener
from mikeytool.srtp.stream import Stream


class InOrder:
    """What `Receiver.unprotect` needs of a stream for the packet that comes next.

    A packet with a plain header and index `next` is opened with
    `open_(packet, RTP_HEADER, ssrc, next)`, which gives None if it does not verify. If it does, it
    is recorded with `hashes[next & mask] = hash(packet[proof:])` and `next += 1`. `save` tells the
    receiver; nothing else may be done with the receiver before that.
    """

    __slots__ = ("_packets", "_stream", "hashes", "mask", "next", "open_", "proof", "ssrc")

    def __init__(self, stream: Stream, packets: Packets, open_: RtpOpener, proof: int) -> None:
        self._stream = stream
        self._packets = packets
        self.ssrc = stream.ssrc
        self.open_ = open_
        self.proof = proof
        self.next = packets.next
        self.hashes = packets.hashes
        self.mask = packets.mask

    def save(self) -> int:
        """Tell the receiver which packets were opened; returns how many."""
        count = self.next - self._packets.next
        if self._stream.window is not None:
            self._stream.window.next = self._packets.next = self.next
        self._stream.received += count
        return count
