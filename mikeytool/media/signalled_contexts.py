"""Contexts for the media in a capture, from the signalling in the same capture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mikeytool import decode
from mikeytool.capture.capture_files import is_capture, open_capture, read_head
from mikeytool.capture.link_types import unread_frames
from mikeytool.capture.other_kinds import refuse_other_kind
from mikeytool.capture.record import Record
from mikeytool.capture.sdp import read_sdp
from mikeytool.client.session_files import SessionFile
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.recover import recover_session
from mikeytool.exchange.session import Session
from mikeytool.exchange.update import observed_update
from mikeytool.media.calls import Calls, keyings, read_calls
from mikeytool.media.choosing import KeyIndex
from mikeytool.media.contexts import ReceiverContext, crypto_receiver
from mikeytool.media.descriptions import ClearDescriptions
from mikeytool.media.dialogs import FOREVER
from mikeytool.media.mikey_contexts import mikey_receivers, srtp_keys
from mikeytool.media.packet_files import NoSignalledKeyError, PacketFile
from mikeytool.media.receiver_demux import Candidates
from mikeytool.media.report import Report
from mikeytool.media.session_contexts import receivers_of_session
from mikeytool.media.settings import Settings
from mikeytool.media.signalled_keys import SignalledKey, described
from mikeytool.media.signalling_bounds import Bounds, bounded
from mikeytool.srtp import sdes
from mikeytool.srtp.suites import Cipher
from mikeytool.wire.errors import MikeyError, Refused, StateError, UsageError, WireError
from mikeytool.wire.message import Message
from mikeytool.wire.message_types import KEYS_IN_ANSWER, TRANSFERS, is_update, is_update_of
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import DataType

_LONGEST_DESCRIPTION = 1 << 18
_DESCRIPTION = re.compile(rb"(?m)^m=\w")
_MOST_UNUSED = 10
_LAST = FOREVER - 1
_DECLINED = 3
"""How many declined keys are named."""
_SSRCS = 3
"""How many SSRCs of a key are named."""


class ContextsOfCalls:
    """The contexts of the calls in a capture, found by the ends of a flow."""

    def __init__(
        self,
        calls: Calls,
        settings: Settings,
        ring: KeyRing | None,
        report: Report,
        *,
        by_time: bool = False,
    ) -> None:
        """Open every key; the report lists the unusable ones."""
        self._keys = calls.keys
        self._by_time = by_time
        self._settings = settings
        self._ring = ring
        self._kms_messages = calls.kms_messages
        self._answered = {one for key in calls.keys for one in key.earlier}
        self._opened: dict[SignalledKey, list[ReceiverContext]] = {}
        self._sessions: dict[tuple[bytes, ...], Session] = {}
        self._unused: dict[SignalledKey, str] = {}
        self.is_empty = True
        for key in calls.keys:
            if key.content is not None:
                self._open(key)
        self._tell_unused(report)
        _settle_guesses(self._opened)
        _mark_shared_tags(self._opened)
        self._index = KeyIndex(calls.keys)

    def position(self, record: Record) -> int:
        """The position of a packet relative to the keys."""
        if not self._by_time:
            return record.number
        return _LAST if record.time is None else record.time

    def candidates(self, flow: bytes, ssrc: bytes, position: int) -> Candidates:
        """The contexts whose ends fit a flow, the likeliest at a position first."""
        if not flow:
            return Candidates((), (), None)
        keys = self._index.candidates(flow, ssrc, position)
        number = int.from_bytes(ssrc)
        contexts: list[ReceiverContext] = []
        near: list[ReceiverContext] = []
        next_change: int | None = None
        for key in keys:
            if key.begins > position:
                next_change = min(next_change or key.begins, key.begins)
            for context in self._opened.get(key, ()):
                if context.takes(number):
                    contexts.append(context)
                    if key.fits(flow):
                        near.append(context)
        first = keys[0] if keys else None
        is_plain, unused = False, ""
        if first is not None and first.fits(flow) and 0 < first.taken <= position:
            is_plain = not self._opened.get(first)
            unused = f"{first.name}: {self._unused[first]}" if first in self._unused else ""
        if not contexts and not unused:
            unused = next(
                filter(None, (self._of_others(key) for key in keys if key.fits(flow))), ""
            )
        contexts.sort(key=_verifies_not)
        return Candidates(contexts, near, next_change, is_plain=is_plain, unused=unused)

    def _of_others(self, key: SignalledKey) -> str:
        """Which SSRCs a key is for, if it is not for all."""
        ssrcs = {ssrc for context in self._opened.get(key, ()) for ssrc in context.ssrcs or ()}
        shown = ", ".join(f"{ssrc:#010x}" for ssrc in sorted(ssrcs)[:_SSRCS])
        return f"{key.name} is for SSRC {shown}" + ", …" * (len(ssrcs) > _SSRCS) if ssrcs else ""

    def strangers(self, flow: bytes, ssrc: bytes, position: int) -> Iterator[ReceiverContext]:
        """Contexts whose ends do not fit, for a flow that may come from behind a NAT."""
        number = int.from_bytes(ssrc)
        for key in self._index.strangers(flow, position) if flow else self._keys:
            for context in self._opened.get(key, ()):
                if context.verifies and context.takes(number):
                    yield context

    @property
    def descriptions(self) -> ClearDescriptions:
        """The rewriter that marks media as clear in the signalling of calls with keys."""
        keyed = [key for key in self._keys if not key.declined and self._opened.get(key)]
        return ClearDescriptions(
            {key.call for key in keyed if key.protocol == "SIP"},
            has_rtsp=any(key.protocol == "RTSP" for key in keyed),
        )

    def why_nothing(self) -> str:
        """Why none of the keys opened a packet."""
        declined = [key for key in self._keys if key.declined]
        usable = sum(bool(self._opened.get(key)) and not key.declined for key in self._keys)
        if usable:
            which = f"none of the {usable} keys" if usable > 1 else "no key"
            return f"{which} in the signalling opens a packet of the capture"
        named = "; ".join(f"{key.name}: {key.declined}" for key in declined[:_DECLINED])
        more = len(declined) - _DECLINED
        return f"no key in the signalling is in use: {named}" + f" and {more} more" * (more > 0)

    def _tell_unused(self, report: Report) -> None:
        """Report unusable keys; report declined keys only if there is no other key."""
        unused = [
            f"{key.protocol} in frame {key.frame}, {key.level}: {text}"
            for key, text in self._unused.items()
            if self.is_empty or not key.declined
        ]
        for text in unused[:_MOST_UNUSED]:
            report.count_unused_key(text)
        if len(unused) > _MOST_UNUSED:
            more = number_of(len(unused) - _MOST_UNUSED, "key")
            report.count_unused_key(f"{more} more cannot be used")

    def _open(self, key: SignalledKey) -> None:
        try:
            found = list(self._contexts(key))
        except MikeyError as error:
            self._unused[key] = str(error)
            return
        for context in found:
            context.signalled = key
        self._opened[key] = found
        self.is_empty = self.is_empty and not found

    def _contexts(self, key: SignalledKey) -> Iterator[ReceiverContext]:
        content = key.content
        if isinstance(content, str):
            yield crypto_receiver(key.name, sdes.parse_crypto(f"crypto:{content}"), self._settings)
            return
        if content is None or key.declined:
            return
        message = Message.parse(content)
        if message.header.data_type in TRANSFERS:
            yield from self._of_ticket(key, content)
            return
        if message.header.data_type in KEYS_IN_ANSWER and content in self._answered:
            return
        initial = decode(key.earlier[0]) if key.earlier else None
        yield from mikey_receivers(
            key.name, srtp_keys(message, self._ring, initial), self._settings
        )

    def _of_ticket(self, key: SignalledKey, content: bytes) -> Iterator[ReceiverContext]:
        """The contexts for a MIKEY-TICKET exchange, made once for both of its messages."""
        if self._ring is None:
            raise UsageError("a MIKEY-TICKET exchange; --keys FILE opens it")
        if _type(content) == DataType.TRANSFER_INIT and content in self._answered:
            return
        transfers = tuple(one for one in (*key.earlier, content) if _type(one) in TRANSFERS)
        session = self._session(transfers, self._ring)
        yield from receivers_of_session(
            Path(key.name), SessionFile(session=session), self._settings
        )

    def _session(self, transfers: tuple[bytes, ...], ring: KeyRing) -> Session:
        """The session after these messages of its bundle, updates among them (RFC 6043 5.2)."""
        answer = None
        *before, last = transfers
        if _type(last) == DataType.TRANSFER_RESP:
            inits = [at for at, one in enumerate(before) if _type(one) == DataType.TRANSFER_INIT]
            if not inits:
                raise UsageError("a TRANSFER_RESP whose TRANSFER_INIT is not in the capture")
            *before, last, answer = [*before[: inits[-1] + 1], last]
        message = Message.parse(last)
        repeats = any(is_update_of(message, Message.parse(one)) for one in before)
        if not repeats and not is_update(message):
            return recover_session(last, answer, ring, self._kms_messages)
        if not before:
            raise UsageError("an update of a session whose messages are not in the capture")
        known = tuple(before)
        if known not in self._sessions:
            self._sessions[known] = self._session(known, ring)
        return observed_update(self._sessions[known], last, answer)


def contexts_of_calls(
    packets: PacketFile,
    settings: Settings,
    ring: KeyRing | None,
    report: Report,
    signalling: Path | None = None,
) -> ContextsOfCalls:
    """The contexts that decrypt the media of a capture with the keys in its signalling.

    SDES lines and MIKEY messages with keys in the clear need no other key; `ring` opens the
    rest, MIKEY-TICKET exchanges among them. The capture is read once for this and then rewound,
    unless `signalling` names another file with the keys. The report lists keys that cannot be used.
    Raises NoSignalledKeyError if no key can, and Refused if frames that are not read may have one.
    """
    if signalling is None:
        calls = read_calls(packets.capture)
        packets.rewind()
    else:
        calls = calls_in(signalling)
    by_time = signalling is not None
    found = ContextsOfCalls(calls, settings, ring, report, by_time=by_time)
    for note in calls.left_out:
        report.add_note(note)
    if found.is_empty and calls.unread:
        raise Refused(
            "nothing was decrypted: the signalling has no key that can be used; not read: "
            + unread_frames(calls.unread)
        )
    if found.is_empty:
        raise NoSignalledKeyError(_why_no_key(calls, str(signalling or "the capture")))
    return found


def _why_no_key(calls: Calls, where: str) -> str:
    if not calls.is_described:
        return f"{where} has no SIP, RTSP or SAP; --signalling FILE takes it from elsewhere"
    if calls.keyed_by:
        name, whose = (
            ("DTLS-SRTP", "what the DTLS exporter of either end gave")
            if "DTLS" in calls.keyed_by
            else (calls.keyed_by[0], "the SRTP keys of either end")
        )
        return (
            f"{where} has calls with {name}, whose keys are not in the signalling; --key takes"
            f" {whose}"
        )
    return f"{where} has signalling, but no key in it that can be used"


def calls_in(path: Path) -> Calls:
    """The calls in a file of signalling: a capture, or a session description.

    Raises StateError for a file that cannot be opened, WireError for one that is neither.
    """
    try:
        with path.open("rb") as file:
            head, rejoined = read_head(file)
            if is_capture(head):
                calls = read_calls(open_capture(rejoined))
                calls.count_by_time()
                return calls
            text = rejoined.read(_LONGEST_DESCRIPTION)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from None
    if not _DESCRIPTION.search(text):
        refuse_other_kind(head)
        raise WireError(f"{path}: neither a capture nor a session description")
    bounds = Bounds()
    sections = bounded(read_sdp(text), bounds)
    keyed_by = keyings(sections)
    return Calls(list(described(sections)), [], bounds.notes(), {}, keyed_by=keyed_by)


def _settle_guesses(opened: dict[SignalledKey, list[ReceiverContext]]) -> None:
    """Among lines with the same key and no answer to choose one, keep only the AES-CM line.

    All these ciphers derive the same HMAC-SHA1 key, so a tag does not tell which one was meant.
    """
    alike: dict[tuple[object, ...], list[SignalledKey]] = {}
    for key, contexts in opened.items():
        if not (key.declined or isinstance(key.content, bytes)) and key.line:
            if key.taken and key.protocol == "SIP":
                continue
            for context in contexts:
                place = (key.protocol, key.call, key.frame, key.media, context.master_keys)
                alike.setdefault((*place, context.suite.rtp_tag_length), []).append(key)
    for keys in alike.values():
        if len(keys) > 1:
            for key in keys:
                meant = [each for each in opened[key] if _is_usual(each)]
                for context in meant:
                    context.is_guess = True
                opened[key] = meant


def _mark_shared_tags(opened: dict[SignalledKey, list[ReceiverContext]]) -> None:
    """Mark the contexts of a call whose packets verify under several ciphers.

    A re-INVITE may change the cipher alone: then the frame says which one a packet has. Without
    tags the frame always does.
    """
    alike: dict[tuple[object, ...], list[ReceiverContext]] = {}
    for key, contexts in opened.items():
        for context in contexts if not key.declined else ():
            suite, keys = context.suite, context.master_keys if context.verifies else ()
            tags = suite.auth_key_length, suite.rtp_tag_length
            alike.setdefault((key.call, keys, *tags), []).append(context)
    for some in alike.values():
        kinds = {(each.suite, each.master_keys) for each in some}
        for context in some:
            context.shares_tags = len(kinds) > 1


def _is_usual(context: ReceiverContext) -> bool:
    suite = context.suite
    return suite.cipher in (Cipher.AES_CM, Cipher.AES_GCM) and suite.protects


def _verifies_not(context: ReceiverContext) -> bool:
    return not context.verifies


def _type(message: bytes) -> int:
    return message[1] if len(message) > 1 else -1
