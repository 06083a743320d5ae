"""The media lines of a session description and their CS IDs (RFC 4567 7.1).

Each media line has two consecutive CS IDs, one for each direction: 1 and 2 for the first, 3 and 4
for the second. Streams that are sent or received alone have both as well, since RTCP goes both
ways.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from mikeytool.capture.sdp import SESSION_LEVEL, Section, read_sdp
from mikeytool.capture.sdp_message import SdpPlace
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.wire.errors import UsageError
from mikeytool.wire.protocol_list import Carried
from mikeytool.wire.registry import ProtType

MOST = 127
"""How many media lines there are CS IDs for, which have 8 bits."""


class Purpose(StrEnum):
    """What a media line is for; in a conference each purpose has a key of its own."""

    AUDIO = "audio"
    VIDEO = "video"
    FLOOR = "floor"
    EVENTS = "events"

    @property
    def protocol(self) -> ProtType:
        """The Prot type of the purpose's crypto sessions."""
        return _PROTOCOLS.get(self, ProtType.SRTP)


_PROTOCOLS = {Purpose.FLOOR: ProtType.TLS_PSK, Purpose.EVENTS: ProtType.CMS}


def cs_ids(number: int) -> tuple[int, int]:
    """Return the CS IDs of a media line; the first media line has number 1."""
    return 2 * number - 1, 2 * number


@dataclass(frozen=True, slots=True)
class MediaLine:
    """A media line; `number` counts from 1.

    `purpose` is None for what has no keys from MIKEY. `ssrc` is that of its a=ssrc attribute.
    """

    number: int
    purpose: Purpose | None
    is_declined: bool = False
    ssrc: int | None = None


_STANDARD = tuple(MediaLine(number, purpose) for number, purpose in enumerate(Purpose, 1))


def media_lines(place: SdpPlace | None) -> list[MediaLine] | None:
    """Return the media lines of a description into which a message goes; None without one.

    For a message in a media section that is this media line alone. Raises UsageError if there are
    more than there are CS IDs, and for a media line with several SSRCs.
    """
    if place is None:
        return None
    before = place.lines[: place.at]
    level = sum(line.strip().startswith(b"m=") for line in before)
    _, *sections = read_sdp(b"\n".join(place.lines))
    if len(sections) > MOST:
        raise UsageError(f"--sdp: {len(sections)} media lines; there are CS IDs for {MOST}")
    return [
        MediaLine(one.number, _purpose(one), is_declined=not one.port, ssrc=_ssrc(one))
        for one in sections
        if level in (0, one.number)
    ]


def described_lines(carried: Carried | None) -> list[MediaLine]:
    """Return the media lines of the description around a message, without SSRCs; none without it.

    For a message in a media section that is this media line alone.
    """
    if carried is None:
        return []
    _, *sections = read_sdp("\n".join(["v=0", *carried.description.media]).encode())
    return [
        MediaLine(one.number, _purpose(one), is_declined=not one.port)
        for one in sections
        if carried.level in (SESSION_LEVEL, one.level)
    ]


def _purpose(section: Section) -> Purpose | None:
    if section.kind in ("audio", "video") and "RTP/" in section.transport:
        return Purpose(section.kind)
    if section.transport.endswith("/BFCP"):
        return Purpose.FLOOR
    return Purpose.EVENTS if section.transport.endswith("/MSRP") else None


def _ssrc(section: Section) -> int | None:
    if len(section.ssrcs) > 1:
        raise UsageError(
            f"--sdp: {section.level} has {len(section.ssrcs)} SSRCs, and a crypto session has one;"
            " leave them out and say which with --cs purpose=NAME,ssrc=SSRC"
        )
    return next(iter(section.ssrcs), None)


@dataclass(frozen=True, slots=True)
class LineUp:
    """The media lines that one end knows, to find the CS IDs of streams.

    `lines` is None without a description; the place of a purpose is then that in a conference that
    has them all.
    `starts` is whether it starts the exchange: it then sends in the first crypto session of each
    media line. `present` are the crypto sessions that there are, with whether it sends in them.
    """

    lines: Sequence[MediaLine] | None = None
    starts: bool = True
    present: Mapping[int, bool] = field(default_factory=dict)

    def cs_id(self, purpose: Purpose, *, send: bool) -> int:
        """Return the CS ID of the stream of a purpose. Raises UsageError if it is ambiguous."""
        lines = _STANDARD if self.lines is None else self.lines
        fitting = [one for one in lines if one.purpose == purpose and not one.is_declined]
        if len(fitting) != 1:
            raise UsageError(
                f"--cs purpose={purpose}: there are {len(fitting)} such media lines; say which"
                " crypto session with id=N, 1 and 2 for the first media line, 3 and 4 for the"
                " second"
            )
        return self._of_line(fitting[0].number, purpose, send=send)

    def _of_line(self, number: int, purpose: Purpose, *, send: bool) -> int:
        first, second = cs_ids(number)
        order = (first, second)
        if purpose.protocol == ProtType.SRTP and send != self.starts:
            order = (second, first)
        same = [one for one in order if self.present.get(one) == send]
        free = [one for one in order if one not in self.present]
        for cs_id in (*same, *free):
            return cs_id
        raise UsageError(
            f"--cs purpose={purpose}: both crypto sessions of its media line are there already"
        )

    def streams(self) -> list[CsSpec]:
        """Return the crypto sessions of the media lines of a description that are not there yet.

        There are none for who answers: the offer has them.
        """
        made: list[CsSpec] = []
        for one in self.lines if self.lines and self.starts else ():
            is_new = not self.present.keys() & {*cs_ids(one.number)}
            if one.purpose is None or one.is_declined or not is_new:
                continue
            made.append(self._stream(one, one.purpose, send=True))
            if one.purpose.protocol == ProtType.SRTP:
                made.append(self._stream(one, one.purpose, send=False))
        return made

    def _stream(self, line: MediaLine, purpose: Purpose, *, send: bool) -> CsSpec:
        return CsSpec(
            send=send,
            cs_id=self._of_line(line.number, purpose, send=send),
            ssrc=line.ssrc if send and purpose.protocol == ProtType.SRTP else None,
            protocol=purpose.protocol.value,
        )
