"""The streams of a receiver: each is an SSRC at a destination (RFC 3711 3.2.3)."""

from __future__ import annotations

from mikeytool.srtp.index import Highest, Packets, ReplayWindow


class Stream:
    """Indices and counts of one stream.

    `received` counts the accepted RTP packets, and `late` the ones among them that came after a
    packet with a higher index. `source` is where the last packet came from. `window` is None before
    the first RTP packet. `packets` has the RTP packets of the SSRC, by key number, and `control`
    the RTCP packets.
    """

    __slots__ = (
        "control", "destination", "first", "late", "packets", "received", "rtcp", "source",
        "ssrc", "window",
    )  # fmt: skip

    def __init__(self, ssrc: int, source: str, destination: str) -> None:
        self.ssrc = ssrc
        self.source = source
        self.destination = destination
        self.received = 0
        self.late = 0
        self.first = 0
        self.window: ReplayWindow | None = None
        self.rtcp: ReplayWindow | None = None
        self.packets: dict[int, Packets] = {}
        self.control: dict[int, Packets] = {}

    @property
    def highest(self) -> Highest:
        """The highest indices received."""
        return Highest(
            self.window.next - 1 if self.window else -1, self.rtcp.next - 1 if self.rtcp else -1
        )

    @property
    def roc(self) -> int | None:
        """The current rollover counter, None before the first RTP packet."""
        return None if self.window is None else (self.window.next - 1) >> 16

    @property
    def lost(self) -> int:
        """The number of RTP packets between the first and the highest that never arrived."""
        return self.window.next - self.first - self.received if self.window else 0

    def record_rtp(self, index: int, size: int) -> None:
        """Record an RTP packet in a replay window of `size`; raises Replayed."""
        if self.window is None:
            self.window = ReplayWindow(size, index)
            self.first = index
        else:
            late = index < self.window.next
            self.window.accept(index)
            self.late += late
            self.first = min(self.first, index)
        self.received += 1

    def record_rtcp(self, index: int, size: int) -> None:
        """Record an RTCP packet in a replay window of `size`; raises Replayed."""
        if self.rtcp is None:
            self.rtcp = ReplayWindow(size, index)
        else:
            self.rtcp.accept(index)
