"""Which session descriptions belong together: offer and answer (RFC 3264) in SIP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import ip_address
from typing import NamedTuple

from mikeytool.capture.carrier import Carrier
from mikeytool.capture.frames import destination_of, source_of
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.sdp import Section


class Place(NamedTuple):
    """Where one side of a call takes media: address and port of RTP and of RTCP.

    Both are as `frames.destination_of` gives them, 4 or 16 octets of address and 2 of port,
    and are the same with rtcp-mux. `frames.endpoint` makes text of them.
    """

    rtp: bytes
    rtcp: bytes

    @classmethod
    def at(cls, address: bytes | str, port: int, rtcp_port: int) -> Place | None:
        """The place of an address; None for a host name, an unspecified address or port 0."""
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


class Laid(NamedTuple):
    """A part of signalling that may hold keys, and the medium and places that they are for."""

    section: Section
    medium: Section | None
    owner: Place | None
    peer: Place | None
    call: str
    moment: Moment


MAX_MEDIA = 64
"""Media of one description that are laid to places."""
MAX_SIDES = 8
"""Offers, and answers, of one exchange that are laid to each other."""

FindPlace = Callable[[Section], Place | None]


def lay(description: Description, owner: FindPlace, peer: FindPlace) -> Iterator[Laid]:
    """Every medium of a description, with the session level and with its own part."""
    session, *media = description.sections
    for medium in media[:MAX_MEDIA]:
        for section in (session, medium):
            yield Laid(
                section, medium, owner(medium), peer(medium), description.call, description.moment
            )
    if not media:
        yield Laid(session, None, None, None, description.call, description.moment)


def place_of(section: Section) -> Place | None:
    """Where the sender of a description takes a medium."""
    return Place.at(section.address, section.port, section.rtcp_port)


class _Exchange:
    """Offers and answers that share Call-ID and CSeq; more than one when a call forks."""

    def __init__(self) -> None:
        self.offers: list[Description] = []
        self.answers: list[Description] = []
        self.offered_in_response = False

    def add(self, carrier: Carrier, description: Description) -> None:
        """Take a description; the same again is passed over."""
        in_response = carrier.status is not None
        if not self.offers:
            self.offered_in_response = in_response
        same_side = in_response == self.offered_in_response
        known = self.offers if same_side else self.answers
        new = all(one.sections != description.sections for one in known)
        if new and len(known) < MAX_SIDES:
            known.append(description)

    def laid(self) -> Iterator[Laid]:
        """What the descriptions hold, each laid to each that it belongs to."""
        for these, those in ((self.offers, self.answers), (self.answers, self.offers)):
            for one in these:
                if not those:
                    yield from lay(one, place_of, lambda _: None)
                for other in those:
                    yield from lay(one, place_of, partial(_same_medium, other))


def _same_medium(other: Description, medium: Section) -> Place | None:
    """The place of a medium in the other description, which has as many of them."""
    if medium.number >= len(other.sections):
        return None
    return place_of(other.sections[medium.number])


_Key = tuple[str, str, frozenset[bytes]]


class Offers:
    """Takes the descriptions in SIP messages and says which answer which.

    What belongs together has one Call-ID and CSeq number and went between the same two
    hosts: a proxy on the way may have put other addresses into the description.
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

    def laid(self) -> Iterator[Laid]:
        """What the descriptions hold, with both sides of each exchange."""
        for exchange in self._exchanges.values():
            yield from exchange.laid()

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
