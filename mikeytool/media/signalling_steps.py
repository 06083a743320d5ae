"""What SIP and RTSP messages do to a call: offers and answers with their keys, refusals, the end.

steps = SignallingSteps()
messages = list(find_captured_messages(file, watch=steps.begin()))
for step in steps.in_order(): print(step.text, step.result)
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import chain
from typing import NamedTuple

from mikeytool.capture.body import parts_of
from mikeytool.capture.carrier import SDP_MEDIA_TYPE, Carrier
from mikeytool.capture.sdp import Section, read_sdp
from mikeytool.capture.signalling import Signal
from mikeytool.media.dialogs import METHODS, Dialogs, SipMessage
from mikeytool.media.signalling_bounds import MAX_SIGNALLING, Bounds, Room, bounded, size_of
from mikeytool.wire.errors import WireError

MAX_STEPS = 1 << 14
"""The most messages that are kept; more are only counted."""
_RTSP_METHODS = frozenset(("DESCRIBE", "ANNOUNCE", "SETUP", "PLAY", "RECORD", "TEARDOWN"))
_PARAMETERS = frozenset(("SET_PARAMETER", "GET_PARAMETER"))
_ENDS = frozenset(("BYE", "CANCEL", "TEARDOWN"))
_MOST_MEDIA = 4
_MOST_TAGS = 4
_CHALLENGES = (401, 407)
_PARAMETER = re.compile(rb"(?mi)^(?:keymgmt|mikey)[ \t]*:")


class Step(NamedTuple):
    """A message of a call.

    `file` counts the captures from 1. `source` and `destination` are addresses and ports as text.
    `call` is the Call-ID, or the session of RTSP. `text` names the message and the keys of each
    medium, never the keys themselves: "INVITE: audio SDES 1,2". `result` is "offer", "answer",
    "again" for a description that was sent before, "challenge", "refused", "end", or empty.
    """

    file: int
    frame: int
    source: str
    destination: str
    call: str
    text: str
    result: str


class SignallingSteps:
    """Takes the signals of captures. `file` is the number of the one that is read, from 1."""

    def __init__(self) -> None:
        self.file = 0
        self.left_out = 0
        self._bounds = Bounds()
        self._room = Room(MAX_SIGNALLING, "the messages of calls", self._bounds)
        self._steps: list[Step] = []
        self._messages: list[tuple[int, SipMessage]] = []
        self._requests: dict[tuple[str, str, str], str] = {}

    def begin(self) -> Callable[[Signal], bool]:
        """Begin another capture; returns what takes its signals."""
        self.file += 1
        self._requests.clear()
        return self.add

    def add(self, signal: Signal) -> bool:
        """Take a signal; returns whether it is a step."""
        carrier = signal.carrier
        if isinstance(carrier, WireError) or carrier.protocol not in ("SIP", "RTSP"):
            return False
        sections = bounded(_sections(carrier), self._bounds)
        method = carrier.method if carrier.protocol == "SIP" else self._rtsp_method(signal, carrier)
        if not _is_step(carrier, method, sections):
            return False
        texts = chain.from_iterable(carrier.fields.values())
        if len(self._steps) >= MAX_STEPS or not self._room.takes(size_of(sections, texts)):
            self.left_out += 1
            return True
        call = carrier.value("call-id" if carrier.protocol == "SIP" else "session")
        status = "" if carrier.status is None else f"{carrier.status} "
        described = "; ".join(_described(carrier, sections))
        self._steps.append(
            Step(
                self.file,
                signal.moment.frame,
                signal.source,
                signal.destination,
                call.partition(";")[0].strip(),
                f"{status}{method}" + f": {described}" * bool(described),
                _result(carrier, method),
            )
        )
        if carrier.protocol == "SIP":
            message = SipMessage.of(carrier, signal.flow, signal.moment, sections)
            self._messages.append((self.file, message))
        return True

    def in_order(self) -> list[Step]:
        """The steps of each file in order of frames, with what is offer and what answer."""
        roles: dict[tuple[int, int], str] = {}
        dialogs: dict[int, Dialogs] = {}
        for file, message in sorted(self._messages, key=lambda one: (one[0], one[1].moment.frame)):
            dialogs.setdefault(file, Dialogs(self._bounds)).add(message)
            if message.sections:
                roles[file, message.moment.frame] = "again"
        for file, calls in dialogs.items():
            for negotiation in calls.negotiations():
                roles[file, negotiation.offer.moment.frame] = "offer"
                if negotiation.answer is not None:
                    roles[file, negotiation.answer.moment.frame] = "answer"
        found = [
            step._replace(result=step.result or roles.get((step.file, step.frame), ""))
            for step in self._steps
        ]
        return sorted(found, key=lambda step: (step.file, step.frame))

    def _rtsp_method(self, signal: Signal, carrier: Carrier) -> str:
        """The method of an RTSP message; a response has that of its request."""
        source, destination, cseq = signal.source, signal.destination, carrier.value("cseq")
        if carrier.status is not None:
            return self._requests.pop((destination, source, cseq), "")
        is_shown = carrier.method not in _PARAMETERS or carrier.body
        if is_shown and len(self._requests) < MAX_STEPS:
            self._requests[source, destination, cseq] = carrier.method
        return carrier.method


def _is_step(carrier: Carrier, method: str, sections: list[Section]) -> bool:
    if carrier.protocol == "SIP":
        return method in METHODS and carrier.status != 100
    if method in _PARAMETERS:  # also sent to keep a session alive
        return bool(carrier.body) or carrier.status is not None
    return method in _RTSP_METHODS or bool(sections or "keymgmt" in carrier.fields)


def _result(carrier: Carrier, method: str) -> str:
    status = carrier.status or 0
    if status in _CHALLENGES:
        return "challenge"
    if status >= 300:
        return "refused"
    return "end" if method in _ENDS and not status else ""


def _sections(carrier: Carrier) -> list[Section]:
    try:
        for part in parts_of(carrier):
            if part.content_type == SDP_MEDIA_TYPE:
                return read_sdp(part.content)
    except WireError:
        pass
    return []


def _described(carrier: Carrier, sections: list[Section]) -> Iterator[str]:
    """The media of a description, and what kind of keys each has."""
    media = sections[1:]
    for one in media[:_MOST_MEDIA]:
        # In RTSP, SETUP has the ports.
        is_closed = carrier.protocol == "SIP" and not (one.port or one.bundle_only)
        yield f"{one.kind or '?'} {'port 0' if is_closed else _keys(one, sections[0])}"
    if len(media) > _MOST_MEDIA:
        yield f"and {len(media) - _MOST_MEDIA} more"
    if "keymgmt" in carrier.fields or _PARAMETER.search(carrier.body):
        yield "MIKEY"


def _keys(section: Section, session: Section) -> str:
    kinds = ["MIKEY"] if section.specs or session.specs else []
    if section.cryptos:
        kinds.append(f"SDES {','.join(_tags(section.cryptos))}")
    kinds += dict.fromkeys((*section.keyed_by, *session.keyed_by))
    return " or ".join(kinds) or "no keys"


def _tags(cryptos: list[str]) -> Iterator[str]:
    """The tags of crypto lines, which an answer chooses by."""
    for content in cryptos[:_MOST_TAGS]:
        tag = content.partition(" ")[0]
        yield tag if tag.isascii() and tag.isdigit() and len(tag) < 10 else "?"
    if len(cryptos) > _MOST_TAGS:
        yield "…"
