"""The calls in a capture: every key that its signalling sets up.

    for key in read_calls(open_capture(file)).keys: print(key.name, key.taken)

SIP dialogs, RTSP sessions and announcements all come out as `SignalledKey`s.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from mikeytool.capture.body import parts_of
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.endpoints import endpoint, source_of
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.record import Record
from mikeytool.capture.sdp import SDP_MEDIA_TYPE, Section, read_sdp
from mikeytool.capture.signalling import Signal, signals
from mikeytool.capture.turn import OtherAddresses
from mikeytool.media.dialogs import FOREVER, METHODS, Description, Dialogs, SipMessage
from mikeytool.media.ends import Ends, joined
from mikeytool.media.rtsp_sessions import RtspSessions
from mikeytool.media.signalled_keys import SignalledKey, announced, negotiated
from mikeytool.wire.errors import WireError
from mikeytool.wire.message_types import KMS_EXCHANGES

MAX_SIGNALLED = 1 << 18
"""The most keys kept for one capture."""
MAX_EARLIER = 16
"""The most messages kept for one crypto session bundle."""
MAX_KMS_MESSAGES = 1 << 12
"""The most messages with a KMS that are kept."""
_CSB_ID = slice(4, 8)  # in the common header (RFC 3830 6.1)


class Calls(NamedTuple):
    """What the signalling of a capture sets up.

    `keys` are in order of the frames that carry their keys. `kms_messages` are the MIKEY
    messages with a KMS, which may hold keys of tickets. `left_out` counts what exceeded the bounds.
    `times` has the time of each frame.
    """

    keys: list[SignalledKey]
    kms_messages: list[bytes]
    left_out: int
    times: dict[int, int | None]

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
        for signal in signals(records, reader.addresses):
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
        self._bundles = _Bundles()
        self._kms: list[bytes] = []
        self.addresses = OtherAddresses()

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
                    sections = read_sdp(part.content)
        except WireError:
            pass  # a body that cannot be read has no keys for us
        message: SipMessage | Carrier = carrier
        if carrier.protocol == "SIP":
            if carrier.method not in METHODS:
                return
            message = SipMessage.of(carrier, signal.flow, signal.moment, sections)
        elif not (carrier.protocol == "RTSP" or (carrier.protocol == "SAP" and sections)):
            return
        self._described.append(_Described(signal.moment, message, signal.flow, sections))

    def calls(self) -> Calls:
        """Every key, in order of frames."""
        dialogs, rtsp = Dialogs(), RtspSessions()
        found: list[SignalledKey] = []
        # Each side of a TCP connection is read separately, and may be ahead of the other.
        self._described.sort(key=lambda one: one.moment.frame)
        for moment, message, flow, sections in self._described:
            if isinstance(message, SipMessage):
                dialogs.add(message)
            elif message.protocol == "RTSP":
                rtsp.add(message, flow, moment, sections)
            else:
                found += announced(Description(sections, moment), endpoint(source_of(flow)))
        for negotiation in dialogs.negotiations():
            found += negotiated(negotiation)
        found += rtsp.keys()
        found.sort(key=lambda key: (key.frame, key.media, key.line))
        kept = list(_useful(found))
        left_out = dialogs.left_out + max(len(kept) - MAX_SIGNALLED, 0)
        del kept[MAX_SIGNALLED:]
        for key in kept:
            if isinstance(key.content, bytes):
                key.earlier = self._bundles.before(key.content)
            key.sources = self._with_ends_behind(key.sources)
            key.destinations = self._with_ends_behind(key.destinations)
        times = {one.moment.frame: one.moment.time for one in self._described}
        return Calls(kept, self._kms, left_out, times)

    def _with_ends_behind(self, ends: Ends) -> Ends:
        behind = self.addresses.ends_behind(ends)
        return joined((*ends, *behind)) if behind else ends

    def _take(self, message: bytes) -> None:
        self._bundles.add(message)
        if len(message) > 1 and message[1] in KMS_EXCHANGES and len(self._kms) < MAX_KMS_MESSAGES:
            self._kms.append(message)


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

    def __init__(self) -> None:
        self._messages: dict[bytes, list[bytes]] = {}

    def add(self, message: bytes) -> None:
        """Take a message, in the order of the capture."""
        known = self._messages.setdefault(message[_CSB_ID], [])
        if message not in known and len(known) < MAX_EARLIER:
            known.append(message)

    def before(self, message: bytes) -> tuple[bytes, ...]:
        """The messages with the same CSB ID that came before it, oldest first, each once."""
        known = self._messages.get(message[_CSB_ID], [])
        return tuple(known[: known.index(message)] if message in known else known)
