"""Which key a packet goes to, decided once for all packets of an SSRC in a flow."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from mikeytool.capture.frames import UDP, Datagram, destination_of, endpoint, find, source_of
from mikeytool.capture.record import Record
from mikeytool.media.flows import FlowFilter
from mikeytool.media.handlers import Handler, Process
from mikeytool.media.report import Report, Row
from mikeytool.srtp import Clash, Replayed
from mikeytool.wire.errors import MikeyError, Refused

_MOST_LANES = 1 << 14
_TRIES = 16
"""Packets of a flow on which keys are tried that are for another flow."""
_SHOWN = 8


class Lane:
    """Packets of one SSRC from one place to another, and what they go through.

    `process` is None while it is not known which handler opens them, or if none is to.
    """

    __slots__ = (
        "candidates", "destination", "keyed", "process", "refusal", "row", "source", "tries",
    )  # fmt: skip

    def __init__(self, row: Row, source: str, destination: str) -> None:
        self.row = row
        self.source = source
        self.destination = destination
        self.process: Process | None = None
        self.candidates: list[Handler] = []
        self.refusal = ""
        self.tries = _TRIES
        self.keyed = -1  # how many places had keys when this was decided


class Lanes:
    """The lanes of a run. `known` has them by flow and SSRC, both as octets."""

    def __init__(
        self,
        handlers: Sequence[Handler],
        flows: FlowFilter,
        only: frozenset[int] | None,
        report: Report,
    ) -> None:
        self.known: dict[bytes, Lane] = {}
        self._handlers = handlers
        self._flows = flows
        self._only = only
        self._report = report
        self._keyed: set[bytes] = set()  # places that a packet with a key came from or went to

    def add(self, flow: bytes, ssrc: bytes) -> Lane:
        """The lane of an SSRC that was not in this flow before."""
        source = endpoint(source_of(flow)) if flow else ""
        destination = endpoint(destination_of(flow)) if flow else ""
        lane = Lane(self._report.row(int.from_bytes(ssrc), destination), source, destination)
        if len(self.known) < _MOST_LANES:
            self.known[flow + ssrc] = lane
        return lane

    def decide(
        self, lane: Lane, flow: bytes, ssrc: bytes, batch: Iterable[Record]
    ) -> Process | None:
        """What a packet of a lane goes through; None to leave it as it is.

        `batch` are packets around it, which tell whether there are keys for its flow. Raises
        Refused for an SSRC that is not allowed where there are.
        """
        if lane.keyed != len(self._keyed):
            lane.candidates = self._candidates(flow, ssrc)
            if lane.candidates and flow:
                self._keyed.update((source_of(flow), destination_of(flow)))
            elif flow and lane.keyed < 0:
                self._look_ahead(batch)
            lane.refusal = "" if lane.candidates else self._refusal(flow, ssrc)
            lane.keyed = len(self._keyed)
        if len(lane.candidates) == 1:
            return _settle(lane, lane.candidates[0])
        if lane.candidates:
            return _attempt(lane)
        if lane.refusal:
            raise Refused(lane.refusal)
        guesses = self._guesses(ssrc) if lane.tries and self._flows.accepts(flow) else []
        return _guess(lane, guesses) if guesses else None

    def _candidates(self, flow: bytes, ssrc: bytes) -> list[Handler]:
        """The handlers whose packet this may be; one that names the SSRC goes before others."""
        number = int.from_bytes(ssrc)
        if self._only is not None and number not in self._only:
            return []
        found = [each for each in self._of_flow(flow) if each.takes(number)]
        return [each for each in found if each.ssrcs is not None] or found

    def _guesses(self, ssrc: bytes) -> list[Handler]:
        """The handlers that are for other flows and may open the packet all the same."""
        number = int.from_bytes(ssrc)
        if self._only is not None and number not in self._only:
            return []
        return [each for each in self._handlers if each.guess and each.takes(number)]

    def _of_flow(self, flow: bytes) -> list[Handler]:
        if not self._flows.accepts(flow):
            return []
        end = destination_of(flow) if flow else b""
        return [each for each in self._handlers if each.ends is None or end in each.ends]

    def _look_ahead(self, batch: Iterable[Record]) -> None:
        """Find the places with keys among the packets of a batch, those to come included."""
        for _, _, link, raw, start, end, _ in batch:
            found = find(link, raw, start, end)
            if isinstance(found, Datagram) and found.protocol == UDP:
                packet = raw[found.start : found.end]
                if len(packet) < 12 or packet[0] & 0xC0 != 0x80:
                    continue
                at = 4 if 192 <= packet[1] <= 223 else 8
                if self._candidates(found.flow, packet[at : at + 4]):
                    self._keyed.update((source_of(found.flow), destination_of(found.flow)))

    def _refusal(self, flow: bytes, ssrc: bytes) -> str:
        """Why an SSRC is turned away where its flow has keys; empty where it has none."""
        handlers = self._of_flow(flow)
        has_keys = handlers and (
            not flow
            or self._flows.chooses
            or any(each.ends is not None for each in handlers)
            or not self._keyed.isdisjoint((source_of(flow), destination_of(flow)))
        )
        if not has_keys:
            return ""
        allowed = self._only or {one for each in handlers if each.name for one in each.ssrcs or ()}
        shown = ", ".join(f"{one:#010x}" for one in sorted(allowed)[:_SHOWN])
        more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
        return f"SSRC 0x{ssrc.hex()} is not allowed; allowed is {shown or 'none'}{more}"


def _settle(lane: Lane, handler: Handler) -> Process:
    lane.process = handler.process
    lane.row.key = handler.name
    return handler.process


def _attempt(lane: Lane) -> Process:
    """Tries the candidates: the first that opens a packet stays."""

    def attempt(packet: bytes, source: str, destination: str) -> bytes | None:
        failure: MikeyError | None = None
        for each in lane.candidates:
            try:
                done = each.process(packet, source, destination)
            except (Replayed, Clash):
                raise
            except MikeyError as error:
                failure = failure or error
                continue
            _settle(lane, each)
            return done
        raise failure or Refused("no key opens it")

    return attempt


def _guess(lane: Lane, guesses: Sequence[Handler]) -> Process:
    """Tries keys that are for other flows; a packet that none opens is left alone."""

    def attempt(packet: bytes, source: str, destination: str) -> bytes | None:
        lane.tries -= 1
        for each in guesses:
            try:
                done = each.process(packet, source, destination)
            except MikeyError:
                continue
            _settle(lane, each)
            return done
        return None

    return attempt
