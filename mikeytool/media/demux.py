"""Which key a packet goes to, decided once for all packets of an SSRC in a flow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mikeytool.capture.frames import (
    UDP,
    Datagram,
    destination_of,
    endpoint,
    find_datagram,
    source_of,
)
from mikeytool.capture.record import Record
from mikeytool.media.contexts import Context, Process
from mikeytool.media.report import Report, StreamReport
from mikeytool.media.settings import Settings
from mikeytool.srtp.index import Clash, Replayed
from mikeytool.wire.errors import MikeyError, Refused

_MOST_ROUTES = 1 << 14
_ATTEMPTS = 16
"""Packets of a flow on which keys are tried that are for another flow."""
_SHOWN = 8


class Route:
    """The packets of one SSRC in one flow, and what they go through.

    `process` is None while it is not known which context opens them, or if none is to.
    """

    __slots__ = (
        "attempts_left", "candidates", "decided_at", "destination", "process", "refusal",
        "report", "source",
    )  # fmt: skip

    def __init__(self, report: StreamReport, source: str, destination: str) -> None:
        self.report = report
        self.source = source
        self.destination = destination
        self.process: Process | None = None
        self.candidates: list[Context] = []
        self.refusal = ""
        self.attempts_left = _ATTEMPTS
        self.decided_at = -1  # how many ends had keys when this was decided


class Demux:
    """The routes of a run. `known` has them by flow and SSRC, both as octets."""

    def __init__(self, contexts: Sequence[Context], settings: Settings, report: Report) -> None:
        self.known: dict[bytes, Route] = {}
        self._contexts = contexts
        self._flows = settings.flows
        self._ssrcs = settings.ssrcs
        self._report = report
        self._ends_with_keys: set[bytes] = set()  # a packet with a key came from or went to them

    def add(self, flow: bytes, ssrc: bytes) -> Route:
        """Make the route of an SSRC that was not in this flow before."""
        source = endpoint(source_of(flow)) if flow else ""
        destination = endpoint(destination_of(flow)) if flow else ""
        report = self._report.stream(int.from_bytes(ssrc), destination)
        route = Route(report, source, destination)
        if len(self.known) < _MOST_ROUTES:
            self.known[flow + ssrc] = route
        return route

    def decide(
        self, route: Route, flow: bytes, ssrc: bytes, batch: Iterable[Record]
    ) -> Process | None:
        """Return what a packet of a route goes through; None to leave it as it is.

        `batch` are packets around it, which tell whether there are keys for its flow. Raises
        Refused for an SSRC that is not allowed where there are.
        """
        if route.decided_at != len(self._ends_with_keys):
            route.candidates = self._candidates(flow, ssrc)
            if route.candidates and flow:
                self._ends_with_keys.update((source_of(flow), destination_of(flow)))
            elif flow and route.decided_at < 0:
                self._look_ahead(batch)
            route.refusal = "" if route.candidates else self._refusal(flow, ssrc)
            route.decided_at = len(self._ends_with_keys)
        if len(route.candidates) == 1:
            return _settle(route, route.candidates[0])
        if route.candidates:
            return _try_each(route)
        if route.refusal:
            raise Refused(route.refusal)
        if not route.attempts_left or not self._flows.accepts(flow):
            return None
        strangers = self._from_elsewhere(ssrc)
        return _try_elsewhere(route, strangers) if strangers else None

    def _candidates(self, flow: bytes, ssrc: bytes) -> list[Context]:
        """The contexts whose packet this may be; one that names the SSRC goes before others."""
        number = int.from_bytes(ssrc)
        if self._ssrcs is not None and number not in self._ssrcs:
            return []
        found = [each for each in self._of_flow(flow) if each.takes(number)]
        return [each for each in found if each.ssrcs is not None] or found

    def _from_elsewhere(self, ssrc: bytes) -> list[Context]:
        """The contexts that are for other flows and may open the packet all the same."""
        number = int.from_bytes(ssrc)
        if self._ssrcs is not None and number not in self._ssrcs:
            return []
        return [each for each in self._contexts if each.try_elsewhere and each.takes(number)]

    def _of_flow(self, flow: bytes) -> list[Context]:
        if not self._flows.accepts(flow):
            return []
        end = destination_of(flow) if flow else b""
        return [each for each in self._contexts if each.ends is None or end in each.ends]

    def _look_ahead(self, batch: Iterable[Record]) -> None:
        """Find the ends with keys among the packets of a batch, those to come included."""
        for _, _, link, raw, start, end, _ in batch:
            found = find_datagram(link, raw, start, end)
            if isinstance(found, Datagram) and found.protocol == UDP:
                packet = raw[found.start : found.end]
                if len(packet) < 12 or packet[0] & 0xC0 != 0x80:
                    continue
                at = 4 if 192 <= packet[1] <= 223 else 8
                if self._candidates(found.flow, packet[at : at + 4]):
                    self._ends_with_keys.update((source_of(found.flow), destination_of(found.flow)))

    def _refusal(self, flow: bytes, ssrc: bytes) -> str:
        """Why an SSRC is turned away where its flow has keys; empty where it has none."""
        contexts = self._of_flow(flow)
        has_keys = contexts and (
            not flow
            or self._flows.chooses
            or any(each.ends is not None for each in contexts)
            or not self._ends_with_keys.isdisjoint((source_of(flow), destination_of(flow)))
        )
        if not has_keys:
            return ""
        named = {one for each in contexts if each.name for one in each.ssrcs or ()}
        allowed = self._ssrcs or named
        shown = ", ".join(f"{one:#010x}" for one in sorted(allowed)[:_SHOWN])
        more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
        return f"SSRC 0x{ssrc.hex()} is not allowed; allowed is {shown or 'none'}{more}"


def _settle(route: Route, context: Context) -> Process:
    route.process = context.process
    route.report.key = context.name
    return context.process


def _try_each(route: Route) -> Process:
    """Try the candidates: the first that opens a packet stays."""

    def attempt(packet: bytes, source: str, destination: str) -> bytes | None:
        failure: MikeyError | None = None
        for each in route.candidates:
            try:
                done = each.process(packet, source, destination)
            except (Replayed, Clash):
                raise
            except MikeyError as error:
                failure = failure or error
                continue
            _settle(route, each)
            return done
        raise failure or Refused("no key opens it")

    return attempt


def _try_elsewhere(route: Route, contexts: Sequence[Context]) -> Process:
    """Try keys that are for other flows; a packet that none opens is left alone."""

    def attempt(packet: bytes, source: str, destination: str) -> bytes | None:
        route.attempts_left -= 1
        for each in contexts:
            try:
                done = each.process(packet, source, destination)
            except MikeyError:
                continue
            _settle(route, each)
            return done
        return None

    return attempt
