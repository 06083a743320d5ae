"""What the strict reading of a text found, and what a search finds in it, put together."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import replace
from itertools import pairwise
from operator import itemgetter

from mikeytool.capture.body import parts_of
from mikeytool.capture.carrier import END_OF_HEAD, START, read_head
from mikeytool.capture.encoding import begins_like_message, is_whole
from mikeytool.capture.extract import Extracted, Extraction
from mikeytool.capture.strict_text import FoundMessage, ReadItem
from mikeytool.wire.errors import WireError

_BINARY = re.compile(rb"(?i)application/mikey")
_PACKET = re.compile(rb"(?m)^.{0,64}\bIP6? (?:\S+ > \S+: |\(tos|\(class|\(flow)")
"""A line that names a packet, as those that print captures write it."""
_MOST_CARRIERS = 256
_KEYS = (16, 24, 30, 32, 44, 46, 64)
"""The lengths of keys in octets, some with their salt."""


def search(
    data: bytes, read: Sequence[ReadItem], *, passed_over: bool
) -> list[FoundMessage | WireError]:
    """Give the messages in a text, and errors: those in a batch, and of what names itself.

    Raises WireError for a text in which neither reading finds a message; gives nothing if the
    strict reading knows best why. `passed_over` says that it skipped lines.
    """
    extraction = Extraction(data.decode("utf-8", "replace"))
    beside = [one for one in read if not _is_framed(one, extraction)]
    found = _put_together(extraction.found, beside)
    found += _in_bodies(data, {one.message for one in found if isinstance(one, FoundMessage)})
    if found or not read:
        return found
    if extraction.framed and not beside:
        raise WireError("no MIKEY message is in the frames whose octets this text shows")
    reason = _lost(data) if extraction.cut is None else None
    if len(read) == 1 and (read[0].kind != "other" or not (reason or extraction.cut)):
        return [_named(read[0].item)]
    begun = [
        one.item
        for one in read
        if isinstance(one.item, FoundMessage) and begins_like_message(one.item.message)
    ]
    if 2 * len(begun) >= len(read) and not passed_over:
        return [one.item for one in read]
    if extraction.cut is not None:
        raise WireError(f"a MIKEY message begins in this text and breaks off: {extraction.cut}")
    if reason is not None:
        raise WireError(reason)
    raise WireError(
        f"no MIKEY message is in these {read[-1].last} lines; give a line with key-mgmt:mikey or"
        " prot=mikey, or a message in base64 or hex"
    )


def _lost(data: bytes) -> str | None:
    """Tell why a text has lost octets, if it has; None if it may have none."""
    if "\ufffd".encode() in data:
        return (
            "no MIKEY message is in this text, and octets were lost where U+FFFD is now: they were"
            " taken for text; copy the octets in hex or base64"
        )
    if _PACKET.search(data):
        return (
            "no MIKEY message is in this text: it names packets, or has dots for octets that cannot"
            " be shown; print them in hex, as tcpdump -x does, or give the capture"
        )
    return None


def _is_framed(one: ReadItem, extraction: Extraction) -> bool:
    """Tell whether something read strictly is in a dumped frame, or shown as it is there."""
    if not extraction.framed:
        return False
    in_lines = not extraction.framed.isdisjoint(range(one.first, one.last + 1))
    messages = [each.content for each in extraction.found if isinstance(each.content, bytes)]
    broken = isinstance(one.item, WireError) or any(
        each.startswith(one.item.message[:-1]) for each in messages
    )
    return in_lines or (bool(messages) and broken)


def _put_together(
    extracted: Sequence[Extracted], read: Sequence[ReadItem]
) -> list[FoundMessage | WireError]:
    """Give what was extracted, and what was read strictly in other lines."""
    is_batch = _is_batch(read)
    strict: dict[int, list[ReadItem]] = {}
    for one in read:
        for number in range(one.first, one.last + 1):
            strict.setdefault(number, []).append(one)
    placed: list[tuple[int, FoundMessage | WireError]] = []
    covered: set[int] = set()
    for found in extracted:
        known = _known(found, strict.get(found.first, ()))
        item = _item_of(found) if known is None else known.item
        placed.append((found.first, item))
        first = found.first if known is None else known.first
        covered.update(range(first, found.last + 1))
    placed += [
        (one.first, one.item)
        for one in read
        if (is_batch or one.kind == "header") and covered.isdisjoint(range(one.first, one.last + 1))
    ]
    return [item for _, item in sorted(placed, key=itemgetter(0))]


def _known(found: Extracted, beside: Sequence[ReadItem]) -> ReadItem | None:
    """Find the same message among what was read strictly, where it has its place in the SDP."""
    for one in beside:
        if not isinstance(one.item, FoundMessage):
            continue
        if one.item.message == found.content or (
            one.kind == "header" and isinstance(found.content, WireError)
        ):
            return one
    return None


def _is_batch(read: Sequence[ReadItem]) -> bool:
    """Tell whether a text is one message a line, so that a line without one is an error.

    Words around a message are none, if there are at least as many lines of them as of messages.
    """
    good = sum(
        isinstance(one.item, FoundMessage)
        and one.kind == "encoded"
        and begins_like_message(one.item.message)
        and is_whole(one.item.message)
        for one in read
    )
    bad = [one for one in read if isinstance(one.item, WireError) and one.kind != "header"]
    words = sum(one.kind == "other" for one in bad)
    return good > 0 and (len(bad) > words or good > words)


def _item_of(found: Extracted) -> FoundMessage | WireError:
    """Make an item of what was extracted, with its place in words."""
    lines = f"line {found.first}"
    if found.last > found.first:
        lines = f"lines {found.first} to {found.last}"
    where = f"{found.carrier}, {lines}" if found.carrier else lines
    where = f"{where}, in its octets" if found.is_inside else where
    if isinstance(found.content, WireError):
        return WireError(f"{where}: {found.content.text}")
    return FoundMessage(found.content, where, found.first)


def _in_bodies(data: bytes, known: Set[bytes]) -> Iterator[FoundMessage]:
    """Find binary messages in the bodies of SIP and RTSP messages that stand in a text."""
    if not _BINARY.search(data):
        return
    starts = [match.start() for match in START.finditer(data)][:_MOST_CARRIERS]
    for start, end in pairwise([*starts, len(data)]):
        head = END_OF_HEAD.search(data, start, end)
        carrier = read_head(data[start : head.end()]) if head else None
        if head is None or carrier is None:
            continue
        number = data.count(b"\n", 0, start) + 1
        try:
            for part in parts_of(replace(carrier, body=data[head.end() : end])):
                content = part.content.rstrip(b"\r\n")
                whole = next((one for one in (part.content, content) if is_whole(one)), None)
                if whole is not None and whole not in known:
                    yield FoundMessage(whole, f"body of {carrier.protocol}, line {number}", number)
        except WireError:
            continue  # what cannot be taken apart was searched as text


def _named(item: FoundMessage | WireError) -> FoundMessage | WireError:
    """Give what is the only thing in a text, or an error that says what it looks like."""
    if isinstance(item, FoundMessage) and len(item.message) in _KEYS and item.message[0] != 1:
        return WireError(
            f"this looks like a key, {len(item.message)} octets, and not like a message; give keys"
            " with --keys, --psk and the like, as file:PATH"
        )
    message = item.message if isinstance(item, FoundMessage) else b"\1"
    if message[:1] != b"\1" and not begins_like_message(b"\1" + message[1:]):
        return WireError(
            f"this is no MIKEY message: as hex or base64 its first octet is {message[0]},"
            " where the version 1 belongs; give a message in hex or base64, or a text with one"
        )
    return item
