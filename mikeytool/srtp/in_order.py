"""The packets of a stream that come one after the other, for a reader that takes many at a time."""

from __future__ import annotations

from array import array

from mikeytool.srtp.index import Packets
from mikeytool.srtp.interface import RtpOpener, Run, RunOpener
from mikeytool.srtp.stream import Stream


class InOrder:
    """What `Receiver.unprotect` needs of a stream for the packet that comes next.

    A packet with a plain header and index `next` is opened with
    `open_(packet, RTP_HEADER, ssrc, next)`, which gives None if it does not verify. If it does, it
    is recorded with `hashes[next & mask] = hash(packet[proof:])` and `next += 1`. Many alike are
    opened with `open_run`, unless `opens_runs` is False. `save` tells the receiver; nothing else
    may be done with the receiver before that.
    """

    __slots__ = (
        "_open_run", "_packets", "_stream", "hashes", "mask", "next", "open_", "opens_runs",
        "proof", "ssrc",
    )  # fmt: skip

    def __init__(
        self,
        stream: Stream,
        packets: Packets,
        open_: RtpOpener,
        open_run: RunOpener | None,
        proof: int,
    ) -> None:
        self._stream = stream
        self._packets = packets
        self.ssrc = stream.ssrc
        self.open_ = open_
        self._open_run = open_run
        self.opens_runs = open_run is not None
        self.proof = proof
        self.next = packets.next
        self.hashes = packets.hashes
        self.mask = packets.mask

    def open_run(self, data: bytes, at: int, stride: int, head: int, packets: int) -> list[bytes]:
        """Open and record packets that begin with index `next`; all is as in `Run`.

        Returns the clear packets, up to the first that does not verify.
        """
        if self._open_run is None:
            return []
        run = Run(data, at, stride, head, packets, self.ssrc, self.next)
        clear = self._open_run(run)
        self.next += len(clear)
        # Only the newest are remembered.
        remembered, size = self.mask + 1, stride - head
        newest = min(len(clear), remembered)
        proof = max(0, size + self.proof) if self.proof else 0
        run = run._replace(at=at + stride * (len(clear) - newest), packets=newest)
        hashes = array("q", [hash(end) for (end,) in run.slices(f"{proof}x{size - proof}s")])
        place = (self.next - newest) & self.mask
        room = remembered - place
        self.hashes[place : place + newest] = hashes[:room]
        self.hashes[: max(0, newest - room)] = hashes[room:]
        return clear

    def save(self) -> int:
        """Tell the receiver which packets were opened; returns how many."""
        count = self.next - self._packets.next
        if self._stream.window is not None:
            self._stream.window.next = self._packets.next = self.next
        self._stream.received += count
        return count
