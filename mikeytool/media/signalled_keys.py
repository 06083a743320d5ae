"""Signalled keys: the keys for what one end sends on one media line, and their validity.

`negotiated` makes them from an offer and its answer (RFC 4568 5.1, RFC 4567 3.1, RFC 8643).
Nothing here opens a key: `content` is the text or message from the signalling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal

from mikeytool.capture.endpoints import destination_of, source_of
from mikeytool.capture.keymgmt import message_of
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.sdp import G711, Section
from mikeytool.media.dialogs import FOREVER, Description, Negotiation
from mikeytool.media.ends import Ends, ends_of, joined
from mikeytool.wire.errors import WireError
from mikeytool.wire.masked_repr import masked_repr

Protocol = Literal["SIP", "RTSP", "SAP", "SDP"]


class Standing(Enum):
    """The state of a signalled key."""

    OFFERED = "offered"
    IN_USE = "in use"
    REPLACED = "replaced"
    DECLINED = "declined"


@masked_repr
@dataclass(slots=True, eq=False)
class SignalledKey:
    """Keys for what one end sends on one media line.

    `content` is the value of a=crypto without `crypto:` (a str), a MIKEY message (bytes), or
    None where the two sides agreed on media without keys. `earlier` are the MIKEY messages
    with its CSB ID that were captured before it, oldest first.

    Packets go from one of `sources` to one of `destinations` (see `mikeytool.media.ends`);
    with `both_ways` the keys may also protect packets in the other direction. `ssrcs` are the SSRCs
    that the signalling names for the sender.

    `frame` and `time` belong to the message that carries the keys. `call` is its Call-ID or RTSP
    session. `level` is "session level", "media 1 (audio)" or another place that held them. `line`
    is the position of an a=crypto line within its media line, from 1, else 0. `transport` is the
    protocol of the media line, such as "RTP/SAVP".

    `at` is the position of its message. The keys are in use from position `taken` until `ended`; a
    `taken` of 0 means that no answer accepted them. Positions are frames, or times in Unix
    nanoseconds if signalling and media are in different files. `declined` says why they are never
    used: "488", "port 0", "no key in the answer". `codecs` are the payload types of G.711 that the
    media line names.
    """

    content: str | bytes | None = field(repr=False)
    protocol: Protocol
    call: str
    frame: int
    time: int | None
    level: str
    media: int = 0
    kind: str = ""
    line: int = 0
    transport: str = ""
    sources: Ends = ()
    destinations: Ends = ()
    both_ways: bool = False
    ssrcs: tuple[int, ...] = ()
    taken: int = 0
    ended: int = FOREVER
    end: str = ""
    at: int = 0
    declined: str = ""
    codecs: Mapping[int, G711] = field(default_factory=dict)
    earlier: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Use frames as positions, unless others are given."""
        self.at = self.at or self.frame

    @property
    def name(self) -> str:
        """The name used in reports: "SIP frame 12, media 1 (audio), line 2"."""
        line = f", line {self.line}" if self.line else ""
        frame = f" frame {self.frame}" if self.frame else ""
        return f"{self.protocol}{frame}, {self.level}{line}"

    @property
    def begins(self) -> int:
        """The position at which it begins: that of the answer, or else of its own message."""
        return self.taken or self.at

    def fits(self, flow: bytes) -> bool:
        """Whether one end of a flow, address and port, is one of its own ends."""
        source, destination = source_of(flow), destination_of(flow)
        if destination in self.destinations or source in self.sources:
            return True
        return self.both_ways and (destination in self.sources or source in self.destinations)

    def standing(self, frame: int) -> Standing:
        """Its state at a frame, according to its own negotiation."""
        if self.declined:
            return Standing.DECLINED
        if self.taken and self.taken <= frame:
            return Standing.IN_USE if frame < self.ended else Standing.REPLACED
        return Standing.OFFERED


def negotiated(negotiation: Negotiation) -> Iterator[SignalledKey]:
    """The keys of an offer with its answer, if it has one.

    Media agreed on without keys are included, without `content`.
    """
    offer, answer = negotiation.offer, negotiation.answer
    yield from _session_level(negotiation, offer, answer)
    if answer is not None:
        yield from _session_level(negotiation, answer, offer)
    for section in offer.sections[1:]:
        yield from _Line(negotiation, section).keys()
    if answer is not None:
        yield from _beyond(negotiation, answer)


def _beyond(negotiation: Negotiation, answer: Description) -> Iterator[SignalledKey]:
    """The keys of an answer to media lines of which the capture has no offer.

    An answer has as many media lines as its offer (RFC 3264 6), so that was captured in part.
    """
    for section in answer.sections[len(negotiation.offer.sections) :]:
        base = _base(negotiation, answer, section)
        base.sources, base.both_ways = _ends(answer, section), not section.cryptos
        if _is_closed(answer, section):
            base.declined = "port 0"
        else:
            base.taken = negotiation.taken
        yield from _of_section(base, section, _cryptos(answer, section))


def described(sections: list[Section]) -> Iterator[SignalledKey]:
    """The keys of a description without offer and answer, for media from and to its ends."""
    for key in announced(Description(sections, Moment(0, None)), ""):
        yield replace(
            key, protocol="SDP", sources=key.destinations, destinations=(), both_ways=True, taken=1
        )


def announced(description: Description, call: str) -> Iterator[SignalledKey]:
    """The keys of a description that needs no answer (SAP), for all media to its ends."""
    session, *media = description.sections
    for section in media:
        base = _key("SAP", call, description, section)
        base.taken = description.moment.frame
        base.destinations = ends_of(section)
        for message in messages_of(session):
            yield replace(base, content=message, level=session.level)
        yield from _of_section(base, section, _cryptos(description, section))


class _Line:
    """A media line of an offer and the one that answers it."""

    def __init__(self, negotiation: Negotiation, offered: Section) -> None:
        self._negotiation = negotiation
        self._offered = offered
        self._answered = _opposite(negotiation.answer, offered)
        offer, answer = negotiation.offer, negotiation.answer
        self._offer = _base(negotiation, offer, offered)
        self._offer.sources = _ends(offer, offered)
        other = answer or negotiation.before
        self._offer.destinations = _ends(other, _opposite(other, offered))
        self._answer: SignalledKey | None = None
        if answer is not None and self._answered is not None:
            self._answer = _base(negotiation, answer, self._answered)
            self._answer.sources = self._offer.destinations
            self._answer.destinations = self._offer.sources
            # RFC 3264 6.1: what one end sends has the numbers of the other's description.
            mine, theirs = self._answered.codecs, self._offered.codecs
            if mine or theirs:
                self._offer.codecs, self._answer.codecs = theirs | mine, mine | theirs

    def keys(self) -> Iterator[SignalledKey]:
        """The keys of both sides; if neither has any and media flows, one entry without keys."""
        found = [*self._described(), *self._managed()]
        yield from found
        if self._answer is None or self._closed:
            return
        if all(each.declined for each in found) and not self._is_session_keyed:
            yield replace(self._answer, both_ways=True, taken=self._negotiation.taken)

    @property
    def _closed(self) -> str:
        """Why there is no media on this line; empty if there is."""
        offer, answer = self._negotiation.offer, self._negotiation.answer
        if answer is None:
            return self._negotiation.refusal
        if self._answered is None:
            return "" if self._is_cut else "port 0"
        if _is_closed(answer, self._answered):
            return "port 0"
        return "port 0" if _is_closed(offer, self._offered) else ""

    @property
    def _is_cut(self) -> bool:
        """Whether the capture lacks what the answer says of this line, or a part of that."""
        answer = self._negotiation.answer
        if answer is None or not answer.sections[0].is_cut:
            return False
        return self._answered is None or self._answered is answer.sections[-1]

    @property
    def _is_session_keyed(self) -> bool:
        descriptions = (self._negotiation.offer, self._negotiation.answer)
        return any(one is not None and one.sections[0].specs for one in descriptions)

    def _described(self) -> Iterator[SignalledKey]:
        """The keys of a=crypto lines: the tag in the answer chooses the line of the offer."""
        offered = _cryptos(self._negotiation.offer, self._offered)
        answered = _cryptos(self._negotiation.answer, self._answered)
        taken, closed = self._negotiation.taken, self._closed
        chosen = _chosen(offered, answered[0]) if answered else None
        for at, content in enumerate(offered):
            key = replace(self._offer, content=content, line=at + 1)
            if self._answer is None:
                key.declined = closed
            elif closed or not (answered or self._is_cut):
                key.declined = closed or "no key in the answer"
            elif at == chosen:
                key.taken = taken
            elif chosen is not None:
                key.declined = "another line was chosen"
            yield key
        for line, content in enumerate(answered, 1):
            if self._answer is not None:
                # An answer has one line; if it has more, the first is used.
                yield replace(self._answer, content=content, line=line, declined=closed,
                              taken=0 if closed or line > 1 else taken)  # fmt: skip

    def _managed(self) -> Iterator[SignalledKey]:
        """The keys of MIKEY messages, which may key both directions."""
        taken, closed = self._negotiation.taken, self._closed
        answered = list(messages_of(self._answered)) if self._answered is not None else []
        for message in messages_of(self._offered):
            key = replace(self._offer, content=message, both_ways=True)
            key.declined = closed or self._unmanaged(bool(answered))
            key.taken = 0 if key.declined else taken
            yield key
        for message in answered:
            if self._answer is not None:
                yield replace(self._answer, content=message, both_ways=True, declined=closed,
                              taken=0 if closed else taken)  # fmt: skip

    def _unmanaged(self, has_answer: bool) -> str:
        """Why a message in the offer keys nothing; not every message needs an answering one."""
        answered = self._answered
        if answered is None or has_answer or self._is_session_keyed_by_answer():
            return ""
        return "" if "SAVP" in answered.transport else "no key in the answer"

    def _is_session_keyed_by_answer(self) -> bool:
        answer = self._negotiation.answer
        return answer is not None and bool(answer.sections[0].specs)


def _session_level(
    negotiation: Negotiation, mine: Description, other: Description | None
) -> Iterator[SignalledKey]:
    """The MIKEY keys at session level, for all media that are not closed."""
    session, *media = mine.sections
    if not session.specs:
        return
    base = _base(negotiation, mine, session)
    pairs = [(each, _opposite(other, each)) for each in media]
    if other is not None:
        pairs = [
            (one, two)
            for one, two in pairs
            if two is not None and not _is_closed(mine, one) and not _is_closed(other, two)
        ]
        is_managed = bool(other.sections[0].specs) or any(
            two is not None and (two.specs or "SAVP" in two.transport) for _, two in pairs
        )
        if not pairs:
            base.declined = "port 0"
        elif mine is negotiation.offer and not is_managed:
            base.declined = "no key in the answer"
        else:
            base.taken = negotiation.taken
    else:
        base.declined = negotiation.refusal
    base.sources = joined(end for one, _ in pairs for end in _ends(mine, one))
    base.destinations = joined(end for _, two in pairs for end in _ends(other, two))
    base.ssrcs = tuple(ssrc for one, _ in pairs for ssrc in one.ssrcs)
    base.codecs = {
        kind: codec for pair in pairs for one in pair if one for kind, codec in one.codecs.items()
    }
    for message in messages_of(session):
        yield replace(base, content=message, both_ways=True)


def _of_section(base: SignalledKey, section: Section, cryptos: list[str]) -> Iterator[SignalledKey]:
    """Yield a copy of `base` for each key of a section."""
    for message in messages_of(section):
        yield replace(base, content=message)
    for line, content in enumerate(cryptos, 1):
        yield replace(base, content=content, line=line)


def _cryptos(description: Description | None, section: Section | None) -> list[str]:
    """The a=crypto lines of a medium.

    Some write them at session level, where RFC 4568 5 has none; they are for media without any.
    """
    if description is None or section is None:
        return []
    return section.cryptos or description.sections[0].cryptos


def messages_of(section: Section) -> Iterator[bytes]:
    """The MIKEY messages of a section; unreadable ones are skipped."""
    for spec in section.specs:
        try:
            message = message_of(spec)
        except WireError:
            continue
        if message is not None:
            yield message


def _base(negotiation: Negotiation, description: Description, section: Section) -> SignalledKey:
    base = _key("SIP", negotiation.call, description, section)
    base.ended, base.end = negotiation.ended, negotiation.end
    return base


def _key(protocol: Protocol, call: str, description: Description, section: Section) -> SignalledKey:
    moment: Moment = description.moment
    return SignalledKey(
        None, protocol, call, moment.frame, moment.time, section.level, section.number,
        section.kind, transport=section.transport, ssrcs=tuple(section.ssrcs),
        codecs=section.codecs,
    )  # fmt: skip


def _opposite(other: Description | None, section: Section) -> Section | None:
    """The media line of the other description with the same position."""
    if other is None or section.number >= len(other.sections):
        return None
    return other.sections[section.number]


def _ends(description: Description | None, section: Section | None) -> Ends:
    if description is None or section is None:
        return ()
    return ends_of(section, _bundle(description, section))


def _bundle(description: Description, section: Section) -> Section | None:
    """The medium whose transport a medium shares: the first of its group (RFC 9143)."""
    group = _group(description, section)
    if not group or group[0] == section.mid:
        return None
    return next((each for each in description.sections[1:] if each.mid == group[0]), None)


def _group(description: Description, section: Section) -> list[str]:
    groups = description.sections[0].bundles
    return next((each for each in groups if section.mid and section.mid in each), [])


def _is_closed(description: Description, section: Section) -> bool:
    """Whether a medium is refused or removed; port 0 may also mean a shared transport."""
    return not (section.port or section.bundle_only or _group(description, section))


def _chosen(offered: list[str], answer: str) -> int | None:
    """The position of the line of an offer that a line of its answer chooses, by the tag.

    Some number their own line without regard to the offer: if the suite is only that of other
    lines, it chooses.
    """
    tags, suites = list(map(_tag, offered)), list(map(_suite, offered))
    by_tag = tags.index(_tag(answer)) if _tag(answer) in tags else None
    if by_tag is None or suites[by_tag] == _suite(answer) or _suite(answer) not in suites:
        return by_tag
    return suites.index(_suite(answer)) if suites.count(_suite(answer)) == 1 else None


def _suite(content: str) -> str:
    """The name of the suite of a crypto line."""
    return content.split(maxsplit=2)[1].upper() if len(content.split(maxsplit=2)) > 1 else ""


def _tag(content: str) -> str:
    """The tag of a crypto line, without the zeros that some write before it."""
    words = content.split(maxsplit=1)
    return words[0].lstrip("0") or "0" if words else ""
