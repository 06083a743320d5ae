"""Decides which key handles a packet, once for all packets of an SSRC in a flow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from mikeytool.capture.endpoints import destination_of, endpoint, source_of
from mikeytool.capture.frames import UDP, Datagram, find_datagram
from mikeytool.capture.link_types import unread_frames
from mikeytool.capture.record import Record
from mikeytool.media.contexts import Process, ReceiverContext, SenderContext
from mikeytool.media.report import Report, StreamReport
from mikeytool.media.settings import Settings
from mikeytool.wire.errors import MikeyError, Refused

MAX_ROUTES = 1 << 16
"""The most routes kept; beyond that, routes without recent packets are dropped."""
CUT = "the capture has only the beginning of it; capture with a longer snaplen"
_SHOWN = 8
_NEAR = 100  # sequence numbers
_END_OF_BATCH = 64
"""Packets at the end of a batch, whose successors have not been read yet."""


class Route:
    """The packets of one SSRC in one flow, and the function that processes them.

    `process` is None while the context is unknown, or if no context should open them. `misses`
    counts the packets since the last one that was opened. `next_change` is the frame at which
    another key comes into use, None for never. `first_time` and `last_time` are the times of the
    first and last packet opened, and `last_frame` is the frame number of the last.
    """

    __slots__ = (
        "context",
        "destination",
        "first_time",
        "flow",
        "last_frame",
        "last_time",
        "looks_like_rtp",
        "misses",
        "next_change",
        "process",
        "report",
        "seen_frame",
        "source",
        "ssrc",
        "strangers",
    )  # fmt: skip

    def __init__(
        self, report: StreamReport, flow: bytes, ssrc: bytes, source: str, destination: str
    ) -> None:
        self.report = report
        self.flow = flow
        self.ssrc = ssrc
        self.source = source
        self.destination = destination
        self.process: Process | None = None
        self.context: ReceiverContext | None = None
        self.misses = 0
        self.next_change: int | None = None
        self.looks_like_rtp = False
        self.strangers: list[ReceiverContext] | None = None
        self.first_time: int | None = None
        self.last_time: int | None = None
        self.last_frame = self.seen_frame = 0


class Demux(ABC):
    """The routes of a run. `known` maps flow and SSRC, both as octets, to a route."""

    def __init__(
        self,
        contexts: Sequence[SenderContext | ReceiverContext],
        settings: Settings,
        report: Report,
    ) -> None:
        self.known: dict[bytes, Route] = {}
        self._given = contexts
        self._flows = settings.flows
        self._ssrcs = settings.ssrcs
        self._report = report
        self._names_ssrcs = self._ssrcs is not None or any(each.ssrcs for each in contexts)
        self._ends_with_keys: set[bytes] = set()  # a packet with a key came from or went to them
        self._seen: Sequence[Record] | None = None
        self._batch: Sequence[Record] = ()
        self._near: dict[bytes, bool] = {}

    def add(self, flow: bytes, ssrc: bytes) -> Route:
        """Make the route of an SSRC that is new in this flow."""
        source = endpoint(source_of(flow)) if flow else ""
        destination = endpoint(destination_of(flow)) if flow else ""
        report = self._report.stream(int.from_bytes(ssrc), destination)
        route = Route(report, flow, ssrc, source, destination)
        if len(self.known) >= MAX_ROUTES:
            self._give_up()
        self.known[flow + ssrc] = route
        return route

    @abstractmethod
    def process(
        self,
        route: Route,
        packet: bytes,
        record: Record,
        batch: Sequence[Record],
        failure: MikeyError | None = None,
    ) -> bytes | None:
        """Process a packet of a route whose context is unknown; None leaves the packet as it is.

        `failure` is the error that the route's own context raised, if it has one. `batch` has the
        records around the packet's own. Raises MikeyError for a packet that fails.
        """

    def refuse_cut(self, route: Route, batch: Sequence[Record]) -> None:
        """Raise Refused for a packet that the capture cut short, if its flow has a key."""
        if route.process is not None or self._contexts(route, batch):
            raise Refused(CUT)

    def _contexts(
        self, route: Route, batch: Sequence[Record]
    ) -> list[SenderContext | ReceiverContext]:
        """The given contexts that cover a route; contexts that name the SSRC come first.

        Raises Refused if there are keys for the flow but none for the SSRC.
        """
        found = self._taking(route.flow, route.ssrc)
        if found:
            if self._names_ssrcs and route.flow:
                self._key_ends(route.flow)
            return found
        if self._names_ssrcs and route.flow:
            self._look_ahead(batch)
        refusal = self._refusal(route.flow, route.ssrc)
        if refusal:
            raise Refused(refusal)
        return []

    def takes(self, flow: bytes, ssrc: bytes) -> bool:
        """Whether a key covers an SSRC in a flow."""
        return bool(self._taking(flow, ssrc))

    def _taking(self, flow: bytes, ssrc: bytes) -> list[SenderContext | ReceiverContext]:
        number = int.from_bytes(ssrc)
        if not self._flows.accepts(flow) or not self._is_chosen_ssrc(number):
            return []
        found = [each for each in self._given if each.takes(number)]
        return [each for each in found if each.ssrcs is not None] or found

    def _is_chosen_ssrc(self, ssrc: int) -> bool:
        return self._ssrcs is None or ssrc in self._ssrcs

    def _key_ends(self, flow: bytes) -> None:
        self._ends_with_keys.update((source_of(flow), destination_of(flow)))

    def _look_ahead(self, batch: Sequence[Record]) -> None:
        """Find the ends with keys in the whole batch, including packets not yet processed."""
        if self._seen is batch:
            return
        self._seen = batch
        for flow, packet in _media(batch):
            if self._taking(flow, _ssrc(packet)):
                self._key_ends(flow)

    def _refusal(self, flow: bytes, ssrc: bytes) -> str:
        """Why an SSRC is refused although its flow has keys; empty if the flow has none."""
        has_keys = (
            self._given
            and self._flows.accepts(flow)
            and (
                not flow
                or self._flows.chooses
                or not self._ends_with_keys.isdisjoint((source_of(flow), destination_of(flow)))
            )
        )
        if not has_keys:
            return ""
        return self._not_allowed(ssrc)

    def _not_allowed(self, ssrc: bytes) -> str:
        named = {one for each in self._given if each.name for one in each.ssrcs or ()}
        allowed = self._ssrcs or named
        shown = ", ".join(f"{one:#010x}" for one in sorted(allowed)[:_SHOWN])
        more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
        return f"SSRC 0x{ssrc.hex()} is not allowed; allowed is {shown or 'none'}{more}"

    def _give_up(self) -> None:
        """Drop the routes without packets since the last call, and at least half of all.

        If it were fewer, many streams in turn would have all routes looked through for each packet.
        """
        routes = self.known
        idle_first = sorted(
            routes, key=lambda key: routes[key].last_frame != routes[key].seen_frame
        )
        idle = sum(route.last_frame == route.seen_frame for route in routes.values())
        for key in idle_first[: max(idle, MAX_ROUTES // 2)]:
            del routes[key]
        for route in self.known.values():
            route.seen_frame = route.last_frame

    def _looks_like_rtp(self, route: Route, record: Record, batch: Sequence[Record]) -> bool:
        """Whether the batch has another packet of the route that may follow this one.

        Such a packet has a nearby sequence number and the same payload type.
        """
        if route.looks_like_rtp or not route.flow:
            return True
        if self._batch is not batch:
            self._batch = batch
            self._near = _near(batch)
        route.looks_like_rtp = (
            self._near.get(route.flow + route.ssrc, False)
            or record.number > batch[-1].number - _END_OF_BATCH
        )
        return route.looks_like_rtp


class SenderDemux(Demux):
    """Encrypts: the SSRC of a packet determines its key."""

    def process(
        self,
        route: Route,
        packet: bytes,
        record: Record,
        batch: Sequence[Record],
        failure: MikeyError | None = None,
    ) -> bytes | None:
        """Process the first packet of a route, or a packet that no key covers."""
        if failure is not None:
            raise failure
        for context in self._contexts(route, batch):
            if isinstance(context, SenderContext):
                route.process = context.process
                self._report.count_key(route.report, context.name, record.number)
                return context.process(packet, route.source, route.destination)
        return None

    def finish(self) -> None:
        """If nothing was encrypted, report why."""
        report = self._report
        if report.errors or any(each.done for each in report.streams):
            return
        if report.streams:
            report.tell_nothing("the key is for none of the streams")
        else:
            more = f"; not read: {unread_frames(report.unread)}" if report.unread else ""
            report.tell_nothing(f"there is no RTP or RTCP in UDP{more}")


def _media(batch: Iterable[Record]) -> Iterable[tuple[bytes, bytes]]:
    """Flow and payload of every packet of a batch that begins as RTP and RTCP do."""
    for _, _, link, raw, start, end, _ in batch:
        found = find_datagram(link, raw, start, end)
        if isinstance(found, Datagram) and found.protocol == UDP:
            packet = raw[found.start : found.end]
            if len(packet) >= 12 and packet[0] & 0xC0 == 0x80:
                yield found.flow, packet


def _ssrc(packet: bytes) -> bytes:
    return packet[4:8] if 192 <= packet[1] <= 223 else packet[8:12]


def _near(batch: Sequence[Record]) -> dict[bytes, bool]:
    """For each RTP flow and SSRC in a batch: whether two of its packets may be consecutive."""
    found: dict[bytes, bool] = {}
    last: dict[bytes, tuple[int, int]] = {}
    for flow, packet in _media(batch):
        if 192 <= packet[1] <= 223:
            continue
        key = flow + packet[8:12]
        kind, sequence = packet[1] & 0x7F, int.from_bytes(packet[2:4])
        before = last.get(key)
        last[key] = kind, sequence
        if before is not None and before[0] == kind:
            ahead = (sequence - before[1]) & 0xFFFF
            found[key] = found.get(key, False) or min(ahead, 0x10000 - ahead) <= _NEAR
    return found
