"""The MIKEY messages in a capture, each with what carried it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO, NamedTuple

from mikeytool.capture.capture_files import open_capture
from mikeytool.capture.carried_messages import messages_in
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.endpoints import destination_of, source_of
from mikeytool.capture.link_types import unread_frames
from mikeytool.capture.signalling import Signal, Signalling
from mikeytool.wire.errors import WireError
from mikeytool.wire.protocol_list import Carried
from mikeytool.wire.timestamp import FIRST_MOMENT, LAST_MOMENT, Timestamp

Json = dict[str, Any]
MAX_REQUESTS = 1 << 16
"""The most RTSP requests whose methods are remembered."""
_LONGEST_CSEQ = 64
MAX_HELD = 1 << 24
"""The most octets of messages, with their metadata, that are put in order at a time."""
_FACTS = 2048
"""How many octets are counted for the metadata of a message."""
MAX_NOTES = 10
"""The most notes about unreadable content; the rest is only counted."""
_PROTOCOLS = ("SIP", "RTSP", "HTTP", "SAP")


class CapturedMessage(NamedTuple):
    """A message in a capture, or why it cannot be read, and its place."""

    content: bytes | WireError
    carrier: Carrier
    signal: Signal
    level: str
    carried: Carried | None = None
    """The protocols in the session description that carried it, if one did."""

    @property
    def method(self) -> str:
        """What carried it: "SIP INVITE", "SIP 200 INVITE", "RTSP SETUP", "HTTP POST"."""
        status = "" if self.carrier.status is None else str(self.carrier.status)
        return " ".join(filter(None, (self.carrier.protocol, status, self.carrier.method)))

    @property
    def call_id(self) -> str:
        """The Call-ID of SIP or the Session of RTSP; empty without one."""
        name = "call-id" if self.carrier.protocol == "SIP" else "session"
        return self.carrier.value(name).partition(";")[0].strip()

    @property
    def where(self) -> str:
        """Where it was in the capture, for people."""
        frame = f"frame {self.signal.moment.frame}"
        return ", ".join(filter(None, (frame, self.method, self.level)))

    @property
    def facts(self) -> Json:
        """What `decode --json` adds to the description of the message."""
        carrier, signal = self.carrier, self.signal
        return {
            "frame": signal.moment.frame,
            "time": _time_json(signal.moment.time),
            "source": signal.source,
            "destination": signal.destination,
            "transport": signal.transport,
            "protocol": carrier.protocol,
            "method": carrier.method or None,
            "status": carrier.status,
            "call_id": self.call_id or None,
            "level": self.level or None,
        }


def _time_json(time: int | None) -> Json | None:
    """The time of a frame, with an NTP timestamp as its value; None where NTP has none."""
    if time is None or not FIRST_MOMENT <= time < LAST_MOMENT:
        return None
    return Timestamp.at(time).json


def find_captured_messages(
    source: BinaryIO,
    note: Callable[[str], None] = lambda _text: None,
    tick: Callable[[], None] = lambda: None,
    watch: Callable[[Signal], bool] = lambda _signal: False,
    waits: Callable[[], bool] = lambda: False,
) -> Iterator[CapturedMessage]:
    """Find every MIKEY message in a pcap or pcapng file, in the order of its frames.

    If there are very many, only each batch of them is in order; a note says so. So it is with what
    has come when `waits` says that there is no more for now.

    `note` is called with a sentence about each unreadable item, `tick` for each frame, `watch` with
    each message that may carry others; it returns whether it has a use for it. Raises WireError
    after the last message if the file is broken there, and if nothing has a use.
    """
    reader = _Reader(note, watch)
    fault = None
    try:
        for record in open_capture(source):
            tick()
            for signal in reader.signalling.add(record):
                reader.add(signal)
                if reader.is_full:
                    reader.parts += 1
                    yield from reader.messages()
            if reader.has_some and waits():
                yield from reader.messages()
    except WireError as error:
        fault = error
    for signal in reader.signalling.end():
        reader.add(signal)
    yield from reader.messages()
    reader.note_bounds()
    if fault is not None:
        raise fault
    if not (reader.count or reader.watched):
        raise _no_message(reader.signalling, reader.crypto)


class _Reader:
    """Takes signals and keeps the messages in them."""

    def __init__(self, note: Callable[[str], None], watch: Callable[[Signal], bool]) -> None:
        self._note = note
        self._watch = watch
        self.watched = 0
        self.signalling = Signalling()
        self._found: list[CapturedMessage] = []
        self._held = self.parts = 0
        self.count = 0
        self.crypto = 0
        self._unread = 0
        self._requests: dict[tuple[bytes, bytes, str], str] = {}

    def add(self, signal: Signal) -> None:
        """Take a signal; note unreadable content, since it may have held messages."""
        carrier = signal.carrier
        self.watched += self._watch(signal)
        try:
            if isinstance(carrier, WireError):
                raise carrier
            self._note_request(carrier, signal.flow)
            head = carrier.with_body(b"")
            seen = Signal(head, signal.moment, signal.flow, signal.transport)
            size = _FACTS + sum(len(one) for values in head.fields.values() for one in values)
            for one in messages_in(carrier):
                content = one.message
                self._found.append(CapturedMessage(content, head, seen, one.level, one.carried))
                self._held += size + (len(content) if isinstance(content, bytes) else 0)
                size = _FACTS
            if b"a=crypto:" in carrier.body:
                self.crypto += 1
        except WireError as error:
            self._unread += 1
            if self._unread <= MAX_NOTES:
                self._note(f"frame {signal.moment.frame}: {error}")

    @property
    def is_full(self) -> bool:
        """Whether the messages held have to be delivered now."""
        return self._held > MAX_HELD

    @property
    def has_some(self) -> bool:
        """Whether messages are held."""
        return bool(self._found)

    def note_bounds(self) -> None:
        """Note, at the end of the capture, what was left out and what is not in order."""
        if self._unread > MAX_NOTES:
            self._note(f"{self._unread - MAX_NOTES} more could not be read")
        if self.parts:
            self._note("very many messages: those of long TCP streams may come out of order")
        if self.count and self.signalling.unread:
            self._note(f"frames that are not read: {unread_frames(self.signalling.unread)}")
        seen = self.signalling.seen
        if short := seen["cut short"]:
            self._note(f"packets that were captured short: {short}; use a longer snaplen")
        for what in ("TCP streams", "fragmented packets"):
            if count := seen[f"{what} given up"]:
                self._note(f"{what} given up, because too many were open at once: {count}")

    def messages(self) -> Iterator[CapturedMessage]:
        """The messages that are held, in order of their frames."""
        found, self._found, self._held = self._found, [], 0
        self.count += len(found)
        found.sort(key=lambda one: one.signal.moment.frame)
        for one in found:
            carrier, flow = one.carrier, one.signal.flow
            if carrier.protocol == "RTSP" and carrier.status is not None:
                ends = destination_of(flow), source_of(flow)
                method = self._requests.get((*ends, carrier.value("cseq")), "")
                yield one._replace(carrier=replace(carrier, method=method))
            else:
                yield one

    def _note_request(self, carrier: Carrier, flow: bytes) -> None:
        """Remember the method of an RTSP request, which its response does not name."""
        if carrier.protocol != "RTSP" or carrier.status is not None:
            return
        cseq = carrier.value("cseq")
        if len(self._requests) < MAX_REQUESTS and len(cseq) <= _LONGEST_CSEQ:
            self._requests[source_of(flow), destination_of(flow), cseq] = carrier.method


def _no_message(signalling: Signalling, crypto: int) -> WireError:
    """Say what the capture holds instead of a message."""
    seen = signalling.seen
    if not seen["frames"]:
        return WireError("this capture has no frames; the capture before it may have failed")
    frames = f"{seen['frames']} frame{'' if seen['frames'] == 1 else 's'}"
    packets = [f"{seen[name]} {name}" for name in ("UDP", "TCP", "IP fragments") if seen[name]]
    text = f"no MIKEY message in this capture: {frames}"
    text += f", {', '.join(packets)}" if packets else ", none of them UDP or TCP"
    if signalling.unread:
        text += f"; not read: {unread_frames(signalling.unread)}"
    messages = [f"{seen[name]} {name}" for name in _PROTOCOLS if seen[name]]
    text += f"; messages: {', '.join(messages)}" if messages else "; no SIP, RTSP, HTTP or SAP"
    if crypto:
        text += f"; {crypto} with a=crypto, which is SDES (RFC 4568): srtp decrypt uses it"
    return WireError(text)
