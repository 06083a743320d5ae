"""The calls in a capture: every key that its signalling sets up.

    for key in read_calls(open_capture(file)).keys: print(key.name, key.taken)

SIP dialogs, RTSP sessions and announcements all come out as `SignalledKey`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from types import MappingProxyType
from typing import NamedTuple

from mikeytool.capture.body import parts_of
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.carrier import SDP_MEDIA_TYPE, Carrier
from mikeytool.capture.endpoints import endpoint, source_of
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.record import Record
from mikeytool.capture.sdp import Section, read_sdp
from mikeytool.capture.signalling import Signal, Signalling, signals
from mikeytool.capture.turn import OtherAddresses
from mikeytool.media.dialogs import FOREVER, METHODS, Description, Dialogs, SipMessage
from mikeytool.media.ends import MAX_ENDS, Ends, joined
from mikeytool.media.rtsp_sessions import RtspSessions
from mikeytool.media.signalled_keys import SignalledKey, announced, negotiated
from mikeytool.media.signalling_bounds import (
    MAX_KEYS_KEPT,
    MAX_MIKEY,
    MAX_SIGNALLING,
    Bounds,
    Room,
    bounded,
    size_of,
)
from mikeytool.wire.errors import WireError
from mikeytool.wire.message_types import KMS_EXCHANGES
from mikeytool.wire.printable import number_of

MAX_EARLIER = 16
"""The most messages kept for one crypto session bundle."""
MAX_KMS_MESSAGES = 1 << 12
"""The most messages with a KMS that are kept."""
_CSB_ID = slice(4, 8)  # in the common header (RFC 3830 6.1)

# Measured, in octets of memory: what each takes beside its texts and sections.
_MESSAGE = 1500
_TRANSACTION = 3500
_KEY = 1200
_MIKEY = 300


class Calls(NamedTuple):
    """What the signalling of a capture sets up.

    `keys` are in order of the frames that carry their keys. `kms_messages` are the MIKEY
    messages with a KMS, which may hold keys of tickets. `left_out` has a line for each bound that
    was met, and one for what else is not used. `times` has the time of each frame. `unread` counts
    the frames that are not read, by kind. `is_described` says that there is signalling at all.
    `keyed_by` names what agrees on keys beside media, as DTLS, so that they are not in it.
    """

    keys: list[SignalledKey]
    kms_messages: list[bytes]
    left_out: list[str]
    times: dict[int, int | None]
    unread: Mapping[str, int] = MappingProxyType({})
    is_described: bool = True
    keyed_by: Sequence[str] = ()

    def count_by_time(self) -> None:
        """Turn positions into times, for media in another file; keys without a time come first."""

        def time_of(frame: int) -> int:
            return self.times.get(frame) or 1

        for key in self.keys:
            key.at = time_of(key.frame)
            key.taken = key.taken and time_of(key.taken)
            key.ended = key.ended if key.ended == FOREVER else time_of(key.ended)


def read_calls(records: Iterable[Record]) -> Calls:
    """Read the signalling of a capture, `open_capture(file)`, to its end.

    If the file is broken, everything before the fault is still used.
    """
    reader = _Reader()
    try:
        for signal in signals(records, reader.signalling):
            reader.add(signal)
    except WireError:
        pass  # reading the packets meets the same fault and reports it
    return reader.calls()


class _Described(NamedTuple):
    """A message with the description in its body, if it has one."""

    moment: Moment
    message: SipMessage | Carrier
    flow: bytes
    sections: list[Section]


class _Reader:
    """Collects signals, and works out at the end which ones belong together."""

    def __init__(self) -> None:
        self._described: list[_Described] = []
        self._bounds = Bounds()
        self._room = Room(MAX_SIGNALLING, "the messages of calls", self._bounds)
        self._bundles = _Bundles(self._bounds)
        self._kms: list[bytes] = []
        self._addresses = OtherAddresses()
        self.signalling = Signalling(self._addresses)
        self._kms_room = Room(MAX_MIKEY, "messages with a KMS", self._bounds)
        self._announced: dict[bytes, list[Section]] = {}

    def add(self, signal: Signal) -> None:
        """Take a signal."""
        carrier = signal.carrier
        if isinstance(carrier, WireError):
            return
        sections: list[Section] = []
        try:
            for found in messages_in(carrier):
                if isinstance(found.message, bytes):
                    self._take(found.message)
            for part in parts_of(carrier):
                if part.content_type == SDP_MEDIA_TYPE and not sections:
                    sections = bounded(_description(part.content, carrier), self._bounds)
        except WireError as error:
            # What cannot be read has no keys for us.
            self._bounds.leave_out(f"in a message, {error}")
        if carrier.protocol == "SIP":
            self._add_sip(signal, carrier, sections)
        elif carrier.protocol == "RTSP":
            self._add_rtsp(signal, carrier, sections)
        elif carrier.protocol == "SAP":
            self._add_sap(signal, carrier, sections)

    def _add_sip(self, signal: Signal, carrier: Carrier, sections: list[Section]) -> None:
        if carrier.method in METHODS and carrier.status != 100:
            message = SipMessage.of(carrier, signal.flow, signal.moment, sections)
            self._keep(signal, message, sections)

    def _add_rtsp(self, signal: Signal, carrier: Carrier, sections: list[Section]) -> None:
        """Keep an RTSP message, unless it only keeps a session alive."""
        has_keys = bool(carrier.body) or "keymgmt" in carrier.fields
        if has_keys or carrier.method != "OPTIONS":
            self._keep(signal, carrier, sections)

    def _add_sap(self, signal: Signal, carrier: Carrier, sections: list[Section]) -> None:
        """Keep an announcement, unless it is the last one again: it comes every few seconds."""
        is_new = sections != self._announced.get(signal.flow, [])
        if is_new and self._keep(signal, replace(carrier, body=b""), sections):
            self._announced[signal.flow] = sections

    def _keep(self, signal: Signal, message: SipMessage | Carrier, sections: list[Section]) -> bool:
        """Keep a message until the end of the capture, and return whether there is room for it."""
        if isinstance(message, SipMessage):
            begins = message.status is None and message.method not in ("ACK", "BYE")
            fixed = _TRANSACTION if begins else _MESSAGE
            texts = [message.call, message.via, message.from_tag, message.to_tag, *message.rack]
        else:
            fixed = _MESSAGE
            texts = [message.target, *chain.from_iterable(message.fields.values())]
            fixed += len(message.body)
        if not self._room.takes(fixed + size_of(sections, texts)):
            return False
        self._described.append(_Described(signal.moment, message, signal.flow, sections))
        return True

    def calls(self) -> Calls:
        """Every key, in order of frames."""
        found = list(self._within_bounds(self._keys()))
        found.sort(key=lambda key: (key.frame, key.media, key.line))
        kept = list(_useful(found))
        for key in kept:
            if isinstance(key.content, bytes):
                key.earlier = self._bundles.before(key.content)
            key.sources = self._with_ends_behind(key.sources)
            key.destinations = self._with_ends_behind(key.destinations)
        if self.signalling.cut:
            self._bounds.leave_out(
                f"{number_of(self.signalling.cut, 'message')} of calls, incomplete; the capture"
                " lacks packets or has a short snaplen", 0
            )  # fmt: skip
        times = {one.moment.frame: one.moment.time for one in self._described}
        sections = [section for one in self._described for section in one.sections]
        if any(section.hides_extensions for section in sections):
            self._bounds.leave_out(
                "header extensions of RFC 6904 are offered; they stay encrypted", 0
            )
        return Calls(kept, self._kms, self._bounds.notes(), times, self.signalling.unread,
                     is_described=bool(self._described), keyed_by=keyings(sections))  # fmt: skip

    def _keys(self) -> Iterator[SignalledKey]:
        dialogs, rtsp = Dialogs(self._bounds), RtspSessions(self._bounds)
        # Each side of a TCP connection is read separately, and may be ahead of the other.
        self._described.sort(key=lambda one: one.moment.frame)
        for moment, message, flow, sections in self._described:
            if isinstance(message, SipMessage):
                dialogs.add(message)
            elif message.protocol == "RTSP":
                rtsp.add(message, flow, moment, sections)
            else:
                yield from announced(Description(sections, moment), endpoint(source_of(flow)))
        for negotiation in dialogs.negotiations():
            yield from negotiated(negotiation)
        yield from rtsp.keys()

    def _within_bounds(self, keys: Iterator[SignalledKey]) -> Iterator[SignalledKey]:
        left = MAX_KEYS_KEPT
        for key in keys:
            left -= _KEY + (len(key.content) if isinstance(key.content, bytes) else 0)
            if left < 0:
                self._bounds.leave_out(
                    f"the keys in the messages of calls take more than {MAX_KEYS_KEPT >> 20} MB of"
                    " memory; the rest is left out", 0
                )  # fmt: skip
                return
            if max(len(key.sources), len(key.destinations)) == MAX_ENDS:
                text = f"one side of a call has {MAX_ENDS} addresses and ports or more"
                self._bounds.leave_out(f"{text}; the first {MAX_ENDS} are used", 0)
            yield key

    def _with_ends_behind(self, ends: Ends) -> Ends:
        behind = self._addresses.ends_behind(ends)
        return joined((*ends, *behind)) if behind else ends

    def _take(self, message: bytes) -> None:
        self._bundles.add(message)
        if len(message) > 1 and message[1] in KMS_EXCHANGES:
            if len(self._kms) >= MAX_KMS_MESSAGES:
                self._bounds.leave_out(
                    f"there are more than {MAX_KMS_MESSAGES} messages with a KMS"
                )
            elif self._kms_room.takes(len(message)):
                self._kms.append(message)


def _description(content: bytes, carrier: Carrier) -> list[Section]:
    """The sections of a description, without its last line if that was cut off."""
    if carrier.is_incomplete:
        content = content[: content.rfind(b"\n") + 1]
    sections = read_sdp(content)
    sections[0].is_cut = carrier.is_incomplete
    return sections


def keyings(sections: Iterable[Section]) -> list[str]:
    """What agrees on keys beside the media of descriptions, each once."""
    return list(dict.fromkeys(name for section in sections for name in section.keyed_by))


def _useful(found: list[SignalledKey]) -> Iterator[SignalledKey]:
    """Drop keys that only repeat the last key for the same ends.

    An entry without keys counts only if its call has other entries with keys.
    """
    keyed = {key.call for key in found if key.content is not None}
    last: dict[tuple[object, ...], SignalledKey] = {}
    for key in found:
        if key.content is None and key.call not in keyed:
            continue
        ends = key.sources, key.destinations
        place = (key.call, key.media, key.line, *ends)
        before = last.get(place)
        if before is not None and _says_same(before, key):
            if key.ended > before.ended:
                before.ended, before.end = key.ended, key.end
            continue
        last[place] = key
        yield key


def _says_same(before: SignalledKey, key: SignalledKey) -> bool:
    return (
        before.content == key.content
        and bool(before.taken) == bool(key.taken)
        and before.declined == key.declined
        and before.ended >= key.begins
    )


class _Bundles:
    """Remembers messages by CSB ID, so that an answer can be matched with earlier messages."""

    def __init__(self, bounds: Bounds) -> None:
        self._messages: dict[bytes, list[bytes]] = {}
        self._bounds = bounds
        self._room = Room(MAX_MIKEY, "MIKEY messages", bounds)

    def add(self, message: bytes) -> None:
        """Take a message, in the order of the capture."""
        known = self._messages.get(message[_CSB_ID], [])
        if message in known:
            return
        if len(known) >= MAX_EARLIER:
            self._bounds.leave_out(f"a CSB ID has more than {MAX_EARLIER} messages")
        elif self._room.takes(_MIKEY + len(message)):
            self._messages[message[_CSB_ID]] = [*known, message]

    def before(self, message: bytes) -> tuple[bytes, ...]:
        """The messages with the same CSB ID that came before it, oldest first, each once."""
        known = self._messages.get(message[_CSB_ID], [])
        return tuple(known[: known.index(message)] if message in known else known)
