"""Keys in the signalling of a capture, with the media that they are for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Literal

from mikeytool.capture.body import parts_of
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.keymgmt import message_of
from mikeytool.capture.record import Record
from mikeytool.capture.sdp import SDP_MEDIA_TYPE, Section, read_sdp
from mikeytool.capture.signalling import Signal, signals
from mikeytool.media.offers import Description, End, KeyedMedia, Offers, end_of, match_ends
from mikeytool.media.rtsp_sessions import RtspSessions
from mikeytool.wire.errors import WireError
from mikeytool.wire.masked_repr import masked_repr

MAX_EARLIER = 16
"""Messages of one crypto session bundle that are kept."""
MAX_KEYS = 16
"""Keys of one part of a description; more are not looked at."""
_CSB_ID = slice(4, 8)  # in the common header (RFC 3830 6.1)


@masked_repr
@dataclass(frozen=True, slots=True)
class SignalledKey:
    """An a=crypto line or MIKEY message, and the media that it is for.

    `content` is the value of a=crypto without `crypto:` (a str: "1 AES_CM_128_HMAC_SHA1_80
    inline:…"), or a MIKEY message (bytes), as it was sent: nothing in it has been verified.
    `earlier` are the MIKEY messages with its CSB ID that were captured before it, oldest
    first, each once; for a response they include its initial message. Printing masks both.

    `owner` is the end whose description this is, `peer` the other end; each is None where
    nothing tells it: no answer in the capture, a host name, port 0, media interleaved into an
    RTSP connection. An a=crypto line keys what goes from `owner` to `peer` (RFC 4568 5.1). A
    MIKEY message may key both directions; in RTSP each side sends its own. One at session
    level comes once for each media line. An announcement (SAP) has no owner: its key is for
    everything that goes to `peer`.

    `frame` (from 1) and `time` (Unix nanoseconds or None) are those of the signalling, `call`
    is the Call-ID or RTSP session, `level` "session level", "media 1 (audio)" or "KeyMgmt
    header", `media` the position of the media line in the description, from 1 (0 when there is
    none), `kind` its first word.
    """

    content: str | bytes = field(repr=False)
    earlier: tuple[bytes, ...] = field(repr=False)
    owner: End | None
    peer: End | None
    frame: int
    time: int | None
    protocol: Literal["SIP", "RTSP", "SAP"]
    call: str
    level: str
    media: int
    kind: str


def signalled_keys_in(records: Iterable[Record]) -> list[SignalledKey]:
    """Find the keys in the signalling of a capture, in the order of its frames.

    `records` are those of a capture file, `open_capture(file)`; of a broken one the keys
    before the fault are found. An offer with several answers (forking) gives one key for
    each.
    """
    reader = _Reader()
    try:
        for signal in signals(records):
            reader.add(signal)
    except WireError:
        pass  # reading the file for its media meets the same fault
    return reader.keys()


class _Reader:
    """Takes signals, and matches them when the last has come."""

    def __init__(self) -> None:
        self._described: list[tuple[Signal, Carrier, list[Section]]] = []
        self._bundles = _Bundles()

    def add(self, signal: Signal) -> None:
        """Take a signal."""
        carrier = signal.carrier
        if isinstance(carrier, WireError):
            return
        sections: list[Section] = []
        try:
            for found in messages_in(carrier):
                if isinstance(found.message, bytes):
                    self._bundles.add(found.message)
            for part in parts_of(carrier):
                if part.content_type == SDP_MEDIA_TYPE and not sections:
                    sections = read_sdp(part.content)
        except WireError:
            pass  # a body that cannot be read has no keys for us
        if sections or (carrier.protocol == "RTSP" and "transport" in carrier.fields):
            without = replace(carrier, body=b"")
            self._described.append((signal._replace(carrier=without), without, sections))

    def keys(self) -> list[SignalledKey]:
        """Every key, once for the same media, in the order of frames."""
        offers, rtsp = Offers(), RtspSessions()
        announced: list[KeyedMedia] = []
        # Each side of a TCP connection is read for itself, and may be ahead of the other.
        for signal, carrier, sections in sorted(self._described, key=lambda one: one[0].moment[0]):
            if carrier.protocol == "RTSP":
                rtsp.add(carrier, signal.flow, signal.moment, sections)
            elif carrier.protocol == "SIP":
                description = Description(sections, carrier.value("call-id"), signal.moment)
                offers.add(carrier, signal.flow, description)
            elif carrier.protocol == "SAP":
                description = Description(sections, signal.source, signal.moment)
                announced += match_ends(description, lambda _: None, end_of)
        found = [
            *self._expand("SIP", offers.keyed_media()),
            *self._expand("RTSP", rtsp.keyed_media()),
            *self._expand("SAP", announced),
        ]
        found.sort(key=lambda key: key.frame)
        once = {(key.content, key.owner, key.peer, key.call): key for key in reversed(found)}
        return list(reversed(once.values()))

    def _expand(
        self, protocol: Literal["SIP", "RTSP", "SAP"], media: Iterable[KeyedMedia]
    ) -> Iterator[SignalledKey]:
        for one in media:
            for content in islice(_contents(one.section), MAX_KEYS):
                yield SignalledKey(
                    content=content,
                    earlier=() if isinstance(content, str) else self._bundles.before(content),
                    owner=one.owner,
                    peer=one.peer,
                    frame=one.moment.frame,
                    time=one.moment.time,
                    protocol=protocol,
                    call=one.call,
                    level=one.section.level,
                    media=one.medium.number if one.medium else 0,
                    kind=one.medium.kind if one.medium else "",
                )


def _contents(section: Section) -> Iterator[str | bytes]:
    """The keys in a part of signalling that can be read."""
    for spec in section.specs:
        try:
            message = message_of(spec)
        except WireError:
            continue
        if message is not None:
            yield message
    yield from section.cryptos


class _Bundles:
    """Remembers messages by CSB ID: the initial message of a response came before it."""

    def __init__(self) -> None:
        self._messages: dict[bytes, list[bytes]] = {}

    def add(self, message: bytes) -> None:
        """Take a message, in the order of the capture."""
        known = self._messages.setdefault(message[_CSB_ID], [])
        if message not in known and len(known) < MAX_EARLIER:
            known.append(message)

    def before(self, message: bytes) -> tuple[bytes, ...]:
        """The messages with its CSB ID before its first appearance, oldest first, each once."""
        known = self._messages.get(message[_CSB_ID], [])
        return tuple(known[: known.index(message)] if message in known else known)
