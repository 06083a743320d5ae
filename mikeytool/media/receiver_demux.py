"""Finds the key that opens a packet by trying a bounded number of likely keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Protocol

from mikeytool.capture.link_types import unread_frames
from mikeytool.capture.record import Record
from mikeytool.media.contexts import ReceiverContext
from mikeytool.media.demux import CUT, Demux, Route
from mikeytool.media.report import Report
from mikeytool.media.settings import Settings
from mikeytool.srtp.index import Clash, Excluded, Replayed, Unverified, estimate
from mikeytool.srtp.packet import RTP_HEADER, is_clear_rtcp, is_rtcp
from mikeytool.wire.errors import MikeyError, Refused

MAX_TRIES = 8
"""The most contexts tried on one packet."""
_LIKELY = 6
"""How many of these are the same for each packet; the others take turns."""
MAX_RECEIVERS = 4096
"""The most receivers kept; beyond that, the longest idle ones are released."""
_ALL_TRIES = 16
"""The first 16 failing packets of a route are tried with every context, then one in 16."""
_G711 = (0, 8, 9)  # payload types of G.711 and G.722
_TEN_MS = 80  # octets of these in 10 ms
_TAGS = range(4, 27)
_NAMED = 2
"""After how many packets the report mentions that a route was left alone."""
_STRANGER_PACKETS = 4
"""The packets of a route that are tried with contexts of other ends."""
_SEARCHED = 2
"""How many contexts search for the ROC of a packet that no likely ROC verifies."""


class Candidates:
    """The contexts that may open the packets of a flow at a frame, the likeliest first.

    `near` are the contexts whose ends fit beyond doubt. `unused` says why the key that should open
    the packets cannot be used. `next_change` is the frame at which another context comes into use,
    None for never. `is_plain` means that the two sides agreed on media without keys, or with keys
    of an unknown kind.
    """

    __slots__ = ("contexts", "is_plain", "near", "next_change", "unused")

    def __init__(
        self,
        contexts: Sequence[ReceiverContext],
        near: Sequence[ReceiverContext],
        next_change: int | None,
        *,
        is_plain: bool = False,
        unused: str = "",
    ) -> None:
        self.contexts = contexts
        self.near = near
        self.next_change = next_change
        self.is_plain = is_plain
        self.unused = unused


class SignalledContexts(Protocol):
    """Contexts of the keys in the signalling, found by the ends of a flow."""

    def position(self, record: Record) -> int:
        """The position of a packet relative to the keys, in frames or in time."""

    def candidates(self, flow: bytes, ssrc: bytes, position: int) -> Candidates:
        """The contexts whose ends fit a flow."""

    def strangers(self, flow: bytes, ssrc: bytes, position: int) -> Iterator[ReceiverContext]:
        """Contexts whose ends do not fit, for a flow that may come from behind a NAT."""

    def why_nothing(self) -> str:
        """Why no key opened anything."""


class ReceiverDemux(Demux):
    """Decrypts: a packet belongs to the context that verifies it.

    A flow in which no packet has verified is left alone, unless the user chose it.
    """

    def __init__(
        self,
        given: Sequence[ReceiverContext],
        signalled: SignalledContexts | None,
        settings: Settings,
        report: Report,
        *,
        is_text: bool,
    ) -> None:
        """Take the given contexts, which apply to any flow, or the contexts of the signalling.

        In a text file every packet counts as chosen.
        """
        super().__init__(given, settings, report)
        self._receivers = given
        self._signalled = signalled
        self._rocs = settings.rocs
        self._is_text = is_text
        self._chosen = False
        self._open: dict[ReceiverContext, None] = {}  # in the order they were made

    def process(
        self,
        route: Route,
        packet: bytes,
        record: Record,
        batch: Sequence[Record],
        failure: MikeyError | None = None,
    ) -> bytes | None:
        """Try the contexts that may fit a packet; the route keeps the one that verifies it."""
        if self._is_final(route, failure):
            raise failure  # type: ignore[misc]
        if not self._flows.accepts(route.flow):
            return None
        self._chosen = self._chosen or self._is_chosen_ssrc(int.from_bytes(route.ssrc))
        position = self._position(record)
        if route.next_change is not None and position >= route.next_change:
            route.misses = 0
        route.misses += 1
        is_full = route.misses <= _ALL_TRIES or not route.misses % _ALL_TRIES
        candidates = None
        if is_full:
            candidates = self._candidates(route, position, batch)
            route.next_change = candidates.next_change
        opened, refused = self._try_all(route, packet, record, batch, candidates)
        if opened is not None:
            return opened
        failure = refused or failure
        if self._signalled is not None and is_clear_rtcp(packet) and not self._is_wanted(route):
            near = candidates is not None and candidates.near and not candidates.is_plain
            if near or route.context is not None:
                self._report.count_left("RTCP in the clear beside SRTP", _shown(route))
            return None
        if self._is_ours(route):
            if candidates is None:
                candidates = self._candidates(route, position, batch)
            if candidates.contexts and not candidates.is_plain:
                raise failure or Unverified("the tag does not verify under any key")
        if failure is not None:
            self._report.count_unopened(failure)
        if route.misses == _NAMED and route.context is None:
            self._name(route, packet, candidates)
        return None

    def _name(self, route: Route, packet: bytes, candidates: Candidates | None) -> None:
        """Report a route that is left alone although it looks encrypted."""
        near = [] if candidates is None else candidates.near
        if candidates is not None and candidates.unused:
            reason = candidates.unused
        elif any(each.signalled and "SAVP" in each.signalled.transport for each in near):
            reason = "the signalling says that they are SRTP, and none of its keys opens them"
        elif _is_longer_than_codec(packet):
            reason = "longer than their codec explains, as SRTP is; no key opens them"
        else:
            return
        self._report.count_left(reason, _shown(route))

    def refuse_cut(self, route: Route, batch: Sequence[Record]) -> None:
        """Raise Refused for a packet that the capture cut short, if its flow is ours."""
        if self._flows.accepts(route.flow):
            self._chosen = self._chosen or self._is_chosen_ssrc(int.from_bytes(route.ssrc))
            if self._is_ours(route):
                raise Refused(CUT)
            self._report.count_unopened(Refused(CUT))

    def _is_final(self, route: Route, failure: MikeyError | None) -> bool:
        """Whether a refusal by the route's own context is final, so that no other context is tried.

        It is final if a given key has verified the packet. In a call, a later offer may repeat the
        same keys for streams that start again.
        """
        return (
            isinstance(failure, Replayed | Clash | Excluded)
            and route.context is not None
            and route.context.signalled is None
        )

    def _is_ours(self, route: Route) -> bool:
        """Whether an unverified packet fails: the route was chosen, or has verified before."""
        return route.context is not None or self._is_wanted(route)

    def _is_wanted(self, route: Route) -> bool:
        """Whether the user chose the route, or gave its packets alone."""
        if self._is_text or self._flows.chooses:
            return True
        number = int.from_bytes(route.ssrc)
        return self._ssrcs is not None or any(
            number in (one.ssrcs or ()) for one in self._receivers
        )

    def _position(self, record: Record) -> int:
        return record.number if self._signalled is None else self._signalled.position(record)

    def _candidates(self, route: Route, position: int, batch: Sequence[Record]) -> Candidates:
        if self._signalled is None:
            given = [
                each for each in self._contexts(route, batch) if isinstance(each, ReceiverContext)
            ]
            return Candidates(given, given, None)
        found = self._signalled.candidates(route.flow, route.ssrc, position)
        if not self._is_chosen_ssrc(int.from_bytes(route.ssrc)):
            if found.near:
                raise Refused(self._not_allowed(route.ssrc))
            return Candidates((), (), None)
        return found

    # --- trying -----------------------------------------------------------------------------

    def _try_all(
        self,
        route: Route,
        packet: bytes,
        record: Record,
        batch: Sequence[Record],
        candidates: Candidates | None,
    ) -> tuple[bytes | None, MikeyError | None]:
        """The packet opened by the first context that can, or why the likeliest one cannot.

        A context that verifies a packet and refuses it, as a copy or a clash, is the right one if
        no other opens it.
        """
        refused: MikeyError | None = None
        verified: tuple[ReceiverContext, MikeyError] | None = None
        own = [route.context] if route.context is not None else []
        tried = 0
        if candidates is not None:
            for context in self._turn(route, record, candidates):
                if tried >= MAX_TRIES:
                    break
                tried += 1
                opened, error = self._try(context, route, packet, record)
                if opened is not None:
                    return opened, None
                refused = refused or error
                if context.verifies and isinstance(error, Replayed | Clash):
                    verified = verified or (context, error)
        if verified is not None:
            context, error = verified
            self._settle(route, context, record.number)
            return None, error
        near: Sequence[ReceiverContext] = ()
        if candidates is not None:
            # Few packets look like RTCP by chance.
            is_sure = is_rtcp(packet)
            near = (
                candidates.near if is_sure else self._searchable(route, record, batch, candidates)
            )
        searched = [*own, *(each for each in near if each not in own)]
        most = _SEARCHED if self._signalled is not None else MAX_TRIES
        for context in searched[:most]:
            opened, error = self._try(context, route, packet, record, search=True)
            if opened is not None:
                return opened, None
            if context in own or not own:
                refused = error or refused
        return None, refused

    def _turn(
        self, route: Route, record: Record, candidates: Candidates
    ) -> Iterator[ReceiverContext]:
        """The contexts to try on a packet: the likeliest ones, and some of the others in turn."""
        own = route.context
        tried = own if own is not None and not own.shares_tags else None
        others = [each for each in candidates.contexts if each is not tried]
        likely, rest = others[:_LIKELY], others[_LIKELY:]
        if len(others) > MAX_TRIES:
            at = (route.misses - 1) * (MAX_TRIES - _LIKELY) % len(rest)
            rest = rest[at:] + rest[:at]
        yield from likely
        yield from rest
        if self._signalled is None or route.context is not None:
            return
        if route.misses > _STRANGER_PACKETS or self._flows.chooses:
            return
        if route.strangers is None:
            known = set(map(id, candidates.contexts))
            found = self._signalled.strangers(route.flow, route.ssrc, self._position(record))
            new = (each for each in found if id(each) not in known)
            route.strangers = list(islice(new, _STRANGER_PACKETS * MAX_TRIES))
        taken, route.strangers = route.strangers[:MAX_TRIES], route.strangers[MAX_TRIES:]
        yield from taken

    def _searchable(
        self, route: Route, record: Record, batch: Sequence[Record], candidates: Candidates
    ) -> Sequence[ReceiverContext]:
        """The contexts for which an ROC search is worthwhile."""
        if self._signalled is not None or self._is_ours(route):
            return candidates.near
        return candidates.near if self._looks_like_rtp(route, record, batch) else ()

    def _try(
        self,
        context: ReceiverContext,
        route: Route,
        packet: bytes,
        record: Record,
        *,
        search: bool = False,
    ) -> tuple[bytes | None, MikeyError | None]:
        """The packet opened by a context, or why that fails."""
        if not context.verifies and not is_rtcp(packet) and not self._is_trusted(context, route):
            return None, Refused(
                f"{context.suite.name}: nothing verifies RTP packets, so the key does not tell "
                "which are its own; choose them with --flow, --port or --ssrc"
            )
        receiver = context.receiver
        self._use(context, self._position(record))
        number = int.from_bytes(route.ssrc)
        roc = self._roc_before(route, packet, context)
        for assumed in (roc, 0) if roc else (0,):
            if roc:
                receiver.assume_roc(number, assumed)
            receiver.searches = search
            try:
                opened = receiver.unprotect(packet, route.source, route.destination)
            except MikeyError as error:
                if isinstance(error, Replayed | Clash | Excluded) and context.signalled is None:
                    raise
                failure = error
                continue
            finally:
                receiver.searches = False
            self._settle(route, context, record.number)
            return opened, None
        return None, failure

    def _is_trusted(self, context: ReceiverContext, route: Route) -> bool:
        """Whether a context without verification may open the packets of a route."""
        if self._is_ours(route) and context.signalled is None:
            return True
        return context.signalled is not None and context.signalled.taken > 0

    def _roc_before(self, route: Route, packet: bytes, context: ReceiverContext) -> int:
        """The ROC under the previous key of the stream; a new key need not start at ROC 0."""
        before = route.context
        ssrc = int.from_bytes(route.ssrc)
        if before is None or before is context or is_rtcp(packet) or ssrc in self._rocs:
            return 0
        stream = before.receiver.streams.get((ssrc, route.destination))
        if stream is None or stream.window is None or len(packet) < 4:
            return 0
        return max(estimate(stream.window.next - 1, int.from_bytes(packet[2:4])), 0) >> 16

    # --- what is kept -----------------------------------------------------------------------

    def _settle(self, route: Route, context: ReceiverContext, frame: int) -> None:
        before = route.context
        if before is None or not before.has_keys_of(context):
            self._report.count_key(route.report, context.name, frame, is_guess=context.is_guess)
        route.context = context
        route.process = None if context.shares_tags else context.receiver.unprotect
        route.misses = 0
        route.strangers = None
        if route.flow:
            self._key_ends(route.flow)

    def _use(self, context: ReceiverContext, position: int) -> None:
        """Note that a context has a receiver; release some if there are too many."""
        self._open.setdefault(context)
        if len(self._open) > MAX_RECEIVERS:
            self._release(context, position)

    def _release(self, needed: ReceiverContext, position: int) -> None:
        """Release a quarter of the receivers, but not the one that is needed.

        Receivers of routes without packets since the last call go first, then receivers of ended
        calls, then the oldest.
        """
        busy = {one.context for one in self.known.values() if one.last_frame != one.seen_frame}

        def worth(context: ReceiverContext) -> tuple[bool, bool]:
            key = context.signalled
            is_needed = context is needed or context in busy
            return is_needed, key is None or position < key.ended

        gone = set(sorted(self._open, key=worth)[: MAX_RECEIVERS // 4]) - {needed}
        for route in self.known.values():
            route.seen_frame = route.last_frame
            if route.context in gone:
                route.process = route.context = None
                route.misses = 0
        for context in gone:
            self._report.given_up += bool(context.receiver.streams)
            self._report.take_streams(context.receiver)
            context.release()
            del self._open[context]

    def finish(self) -> None:
        """Report what the receivers know of their streams; if nothing was decrypted, report why."""
        for context in self._open:
            self._report.take_streams(context.receiver)
        streams = self._report.streams
        if self._report.errors or any(each.done for each in streams):
            return
        self._report.tell_nothing(self._why_nothing(bool(streams)))

    def _why_nothing(self, has_streams: bool) -> str:
        if not has_streams:
            unread = self._report.unread
            more = f"; not read: {unread_frames(unread)}" if unread else ""
            return f"there is no RTP or RTCP in UDP{more}"
        if not self._chosen:
            return "no RTP or RTCP packet is in the flows, or has the SSRC, that were chosen"
        if self._signalled is not None:
            first = self._report.unopened
            return self._signalled.why_nothing() + f"; {first}" * bool(first)
        return self._report.unopened or "no key is for what was chosen"

    def take_notes(self) -> None:
        """Report the notes that the receivers made since the last call."""
        for context in self._open:
            self._report.take_notes(context.receiver.notes)


def _shown(route: Route) -> str:
    return f"{route.report.name} to {route.destination}"


def _is_longer_than_codec(packet: bytes) -> bool:
    """Whether a G.711 or G.722 packet has extra octets at its end that may be a tag and MKI."""
    if is_rtcp(packet) or packet[0] & 0x1F or packet[1] & 0x7F not in _G711:
        return False
    size = len(packet) - RTP_HEADER
    return size > _TEN_MS and size % _TEN_MS in _TAGS
