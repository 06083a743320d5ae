"""Offers and their answers in SIP (RFC 3264): which ends a media line connects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

from mikeytool.capture.carrier import Carrier
from mikeytool.capture.frames import destination_of, source_of
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.sdp import Section


class End(NamedTuple):
    """One end of a media line: the address and port to which RTP is sent, and RTCP.

    Both are as `frames.destination_of` gives them, 4 or 16 octets of address and 2 of port,
    and are the same with rtcp-mux. `frames.endpoint` makes text of them.
    """

    rtp: bytes
    rtcp: bytes

    @classmethod
    def at(cls, address: bytes | str, port: int, rtcp_port: int) -> End | None:
        """The end at an address; None for a host name, an unspecified address or port 0."""
        try:
            packed = ip_address(address).packed
        except ValueError:
            return None
        if not any(packed) or not port:
            return None
        return cls(packed + port.to_bytes(2), packed + (rtcp_port or port).to_bytes(2))


class Description(NamedTuple):
    """A session description, the session level first, and where and when it was sent."""

    sections: list[Section]
    call: str
    moment: Moment


class KeyedMedia(NamedTuple):
    """A part of signalling that may hold keys, and the media line and ends that they are for.

    `owner` is the end that sent the part, `peer` the other one; None where it is not known.
    """

    section: Section
    medium: Section | None
    owner: End | None
    peer: End | None
    call: str
    moment: Moment


MAX_MEDIA = 64
"""Media lines of one description that are looked at."""
MAX_SIDES = 8
"""Offers, and answers, of one exchange that are matched with each other."""

FindEnd = Callable[[Section], End | None]


def match_ends(description: Description, owner: FindEnd, peer: FindEnd) -> Iterator[KeyedMedia]:
    """Give every media line of a description twice: for its own keys and for the session's."""
    session, *media = description.sections
    for medium in media[:MAX_MEDIA]:
        for section in (session, medium):
            yield KeyedMedia(
                section, medium, owner(medium), peer(medium), description.call, description.moment
            )
    if not media:
        yield KeyedMedia(session, None, None, None, description.call, description.moment)


def end_of(section: Section) -> End | None:
    """The end to which media for the sender of a description goes."""
    return End.at(section.address, section.port, section.rtcp_port)


class _Exchange:
    """Offers and answers that share Call-ID and CSeq; more than one when a call forks."""

    def __init__(self) -> None:
        self.offers: list[Description] = []
        self.answers: list[Description] = []
        self.offered_in_response = False

    def add(self, carrier: Carrier, description: Description) -> None:
        """Take a description; a repetition is ignored."""
        in_response = carrier.status is not None
        if not self.offers:
            self.offered_in_response = in_response
        same_side = in_response == self.offered_in_response
        known = self.offers if same_side else self.answers
        new = all(one.sections != description.sections for one in known)
        if new and len(known) < MAX_SIDES:
            known.append(description)

    def keyed_media(self) -> Iterator[KeyedMedia]:
        """The media lines of each description, with the ends of each that answers it."""
        for these, those in ((self.offers, self.answers), (self.answers, self.offers)):
            for one in these:
                if not those:
                    yield from match_ends(one, end_of, lambda _: None)
                for other in those:
                    yield from match_ends(one, end_of, partial(_same_medium, other))


def _same_medium(other: Description, medium: Section) -> End | None:
    """The end of the same media line in the other description (RFC 3264 6)."""
    if medium.number >= len(other.sections):
        return None
    return end_of(other.sections[medium.number])


_Key = tuple[str, str, frozenset[bytes]]


class Offers:
    """Takes the descriptions in SIP messages and matches answers with offers.

    They have one Call-ID and CSeq number and went between the same two hosts: a proxy on the
    way may have put other addresses into the description.
    """

    def __init__(self) -> None:
        self._exchanges: dict[_Key, _Exchange] = {}
        self._last: dict[tuple[str, str], _Exchange] = {}

    def add(self, carrier: Carrier, flow: bytes, description: Description) -> None:
        """Take a description."""
        hosts = frozenset((source_of(flow)[:-2], destination_of(flow)[:-2]))
        key = (description.call, carrier.value("cseq").partition(" ")[0], hosts)
        exchange = self._exchanges.get(key) or self._acknowledged(carrier, key)
        if exchange is None:
            exchange = self._exchanges[key] = self._last[key[:2]] = _Exchange()
        exchange.add(carrier, description)

    def keyed_media(self) -> Iterator[KeyedMedia]:
        """The media lines of all descriptions, with both ends where both are known."""
        for exchange in self._exchanges.values():
            yield from exchange.keyed_media()

    def _acknowledged(self, carrier: Carrier, key: _Key) -> _Exchange | None:
        """The exchange that an ACK or PRACK answers, which has another key.

        An ACK need not go the way of the INVITE; a PRACK has its own CSeq and names the one
        of the response that it acknowledges (RFC 3262 7.2).
        """
        if carrier.status is not None or carrier.method not in ("ACK", "PRACK"):
            return None
        number = key[1]
        if carrier.method == "PRACK":
            number = (carrier.value("rack").split()[1:2] or [""])[0]
        exchange = self._last.get((key[0], number))
        return exchange if exchange is not None and exchange.offered_in_response else None
