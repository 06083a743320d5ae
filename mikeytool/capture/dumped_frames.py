"""Frames of a network that a text shows in octets: they are read as those of a capture are.

So a message is found that is binary, or that comes in several segments or fragments, and addresses
are not taken for one. A frame is known by the header of IP in it: the checksum of IPv4, or the
type of the frame before it; what is before that header may be of any kind of network.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from mikeytool.capture.byte_rows import Row
from mikeytool.capture.encoding import begins_like_message, is_whole
from mikeytool.capture.plain_text import Line
from mikeytool.wire.errors import WireError

_RAW_IP = 101
"""The link type of frames that begin with IP."""
_PLACES = (0, 14, 18, 16, 20, 22, 4)
"""Where IP begins: alone, behind Ethernet with and without VLANs, Linux cooked, and loopback."""
_HEADERS = 96
"""Octets that have the headers in front, and that of IP."""
_SHORTEST_ROW = 8
"""The least octets in the first row of a frame."""
_LEAST = 28
"""The least octets of a frame that can hold anything: the headers of IPv4 and UDP."""
_LONG_HEX = re.compile(r"(?<![0-9A-Za-z])(?:[0-9A-Fa-f]{2}){28,}(?![0-9A-Za-z])")


class DumpedFrame(NamedTuple):
    """A frame from IP on, and its lines, from 1; `wire` is its length when it was sent."""

    first: int
    last: int
    octets: bytes
    wire: int


class DumpedMessage(NamedTuple):
    """A message in frames, and the lines of the one in which it ends."""

    message: bytes
    frame: DumpedFrame
    carrier: str


def frames_in(blocks: Iterable[Sequence[Row]], lines: Iterable[Line]) -> list[DumpedFrame]:
    """Find the frames in blocks of octets, and in lines with long hex; each line counts once."""
    found: dict[int, DumpedFrame] = {}
    for block in blocks:
        for frame in _in_block(block):
            found.setdefault(frame.first, frame)
    for line in lines:
        for match in _LONG_HEX.finditer(line.text):
            for frame in _in_block([Row(line.number, bytes.fromhex(match[0]))]):
                found.setdefault(frame.first, frame)
    ordered: list[DumpedFrame] = []
    for _, frame in sorted(found.items()):
        if not ordered or frame.first > ordered[-1].last:
            ordered.append(frame)
    return ordered


def _in_block(rows: Sequence[Row]) -> Iterator[DumpedFrame]:
    at = 0
    while at < len(rows):
        frame, used = _from_row(rows, at)
        if frame is not None:
            yield frame
        at += used


def _from_row(rows: Sequence[Row], at: int) -> tuple[DumpedFrame | None, int]:
    """Read the frame that begins with a row; gives it, and how many rows it takes."""
    if len(rows[at].octets) < _SHORTEST_ROW:
        return None, 1
    head = b""
    for row in rows[at : at + _HEADERS]:
        head += row.octets
        if len(head) >= _HEADERS:
            break
    start, length = _ip_in(head)
    if not length:
        return None, 1
    octets, used = b"", 0
    while at + used < len(rows) and len(octets) < start + length:
        octets += rows[at + used].octets
        used += 1
    octets = octets[start : start + length]
    if len(octets) < min(length, _LEAST):
        return None, 1
    return DumpedFrame(rows[at].number, rows[at + used - 1].number, octets, length), used


def _ip_in(head: bytes) -> tuple[int, int]:
    """Find IP in the first octets of a frame: where it begins, and its length; 0 without it."""
    for start in _PLACES:
        ip = head[start:]
        if len(ip) < 20:
            break
        version = ip[0] >> 4
        if version == 4:
            size = 4 * (ip[0] & 15)
            length = int.from_bytes(ip[2:4])
            if 20 <= size <= len(ip) and length >= _LEAST and _sum(ip[:size]) == 0xFFFF:
                return start, length
        if version == 6 and len(ip) >= 48 and _is_ipv6(head[:start], ip):
            return start, 40 + int.from_bytes(ip[4:6])
    return 0, 0


def _is_ipv6(before: bytes, ip: bytes) -> bool:
    """Tell whether octets are IPv6: what is before them says so, or lengths behind it agree."""
    if before:
        return b"\x86\xdd" in (before[-2:], before[:2])
    protocol, length = ip[6], ip[4:6]
    return (protocol == 17 and ip[44:46] == length) or (protocol == 6 and ip[52:53] >= b"\x50")


def _sum(header: bytes) -> int:
    """The sum of a header, as its checksum is made (RFC 791 3.1)."""
    total: int = sum(struct.unpack(f">{len(header) // 2}H", header))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def messages_in_frames(frames: Sequence[DumpedFrame]) -> list[DumpedMessage]:
    """Find the whole messages in frames, in order."""
    # Imported here, as below: few texts hold frames.
    from mikeytool.capture.captured_messages import find_captured_messages

    found: list[DumpedMessage] = []
    try:
        for one in find_captured_messages(io.BytesIO(_capture(frames))):
            if isinstance(one.content, bytes) and is_whole(one.content):
                frame = frames[one.signal.moment.frame - 1]
                found.append(DumpedMessage(one.content, frame, one.method))
    except WireError:
        pass  # nothing that can carry a message
    held = {one.frame for one in found}
    found += [one for frame in frames if frame not in held for one in _payload(frame)]
    return sorted(found, key=lambda one: one.frame.first)


def _capture(frames: Sequence[DumpedFrame]) -> bytes:
    """A capture file of the frames."""
    head = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 18, _RAW_IP)
    records = (
        struct.pack("<IIII", 0, 0, len(frame.octets), frame.wire) + frame.octets for frame in frames
    )
    return head + b"".join(records)


def _payload(frame: DumpedFrame) -> Iterator[DumpedMessage]:
    """Give the message that a datagram is, on whatever port."""
    from mikeytool.capture.frames import Datagram, find_datagram

    found = find_datagram(_RAW_IP, frame.octets, 0, len(frame.octets))
    if isinstance(found, Datagram):
        payload = frame.octets[found.start : found.end]
        if begins_like_message(payload) and is_whole(payload):
            yield DumpedMessage(payload, frame, "")
