"""pcapng files: sections, interfaces, and every kind of packet block.

    capture = Pcapng(file)
    for record in capture: ...          # see mikeytool.capture.record

Every block becomes a record, so that a copy has them all. Blocks without a packet (interfaces,
names, statistics, comments, unknown blocks) have the link type NO_PACKET. The format is
draft-ietf-opsawg-pcapng.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from mikeytool.capture.record import (
    LONGEST_RECORD,
    NO_PACKET,
    ROOMY,
    Capture,
    Record,
    make_record,
)
from mikeytool.wire.errors import WireError

MAGIC = b"\x0a\x0d\x0d\x0a"
_ORDERS = {b"\x1a\x2b\x3c\x4d": ">", b"\x4d\x3c\x2b\x1a": "<"}

_SECTION = 0x0A0D0D0A
_INTERFACE = 1
_OLD_PACKET = 2
_SIMPLE_PACKET = 3
_ENHANCED_PACKET = 6

_FRAME = 12  # octets of every block around its body: type, length, length again
_AHEAD = 28  # octets before the packet in enhanced and old packet blocks
_SIMPLE_AHEAD = 12
_MOST_INTERFACES = 1 << 16
_TIMES = range(1 << 63)  # to the year 2262; later times are ignored
_SHORTEST_SNAPLEN = 0xFFFF  # room for every IP packet

_END = 0
_EPB_HASH = 3
_IF_TSRESOL = 9
_IF_FCSLEN = 13
_IF_TSOFFSET = 14


class _Interface(NamedTuple):
    """Link type, snapshot length; a time in ns is ticks * factor // divisor + offset."""

    link: int
    snaplen: int
    factor: int
    divisor: int
    offset: int


class Pcapng(Capture):
    """A pcapng file.

    In a copy sections have no length, interfaces have room for packets that grow and announce
    no frame check sequence, and a changed packet has no hash; everything else is kept.
    """

    def __iter__(self) -> Iterator[Record]:
        """The records; raises WireError at the end if the file is broken there."""
        interfaces: list[_Interface] = []
        order = ""
        at, number = 0, 0
        while True:
            data, wanted = self._data, 0
            while len(data) - at >= _FRAME:
                if data[at : at + 4] == MAGIC:
                    order = self._order_of(at)
                    interfaces = []
                elif not order:
                    raise self._broken(at, "no section header; this is no pcapng file")
                kind, length = struct.unpack_from(f"{order}II", data, at)
                end = at + length
                if length < _FRAME or length % 4 or length > LONGEST_RECORD:
                    raise self._broken(
                        at, f"a block of {length} octets; the file is broken from here on"
                    )
                if end > len(data):
                    wanted = length
                    break
                raw = data[at:end]
                if raw[-4:] != raw[4:8]:
                    raise self._broken(
                        at, "a block's two lengths differ; the file is broken from here on"
                    )
                try:
                    record = _record(kind, order, raw, interfaces, number + 1)
                except WireError as error:
                    raise self._broken(at, error.text) from None
                number = record.number or number
                yield record
                at = end
            data = b""  # frees it before the next is read
            if not self._fill(at, wanted):
                break
            at = 0
        if self._data:
            raise self._cut_short()

    def _order_of(self, at: int) -> str:
        try:
            return _ORDERS[self._data[at + 8 : at + 12]]
        except KeyError:
            raise self._broken(
                at, "a section header without byte order; the file is broken from here on"
            ) from None

    def rewritten(self, record: Record, frame: bytes) -> bytes:
        """Return the octets of a record of this file with another frame in place of its own."""
        raw = record.raw
        # The type of a packet block shows the byte order in which it is written.
        order = ">" if raw[0] == 0 else "<"
        size = len(frame)
        padded = frame + bytes(-size % 4)
        if record.start == _SIMPLE_AHEAD:
            return _block(order, raw[:4], struct.pack(f"{order}I", size) + padded)
        options = raw[record.end + (record.start - record.end) % 4 : -4]
        if options:
            options = _without(order, options, _EPB_HASH)
        lengths = struct.pack(f"{order}II", size, size)
        return _block(order, raw[:4], raw[8:20] + lengths + padded + options)


def _record(kind: int, order: str, raw: bytes, interfaces: list[_Interface], number: int) -> Record:
    """Make the record of a block; interfaces are added to the list. Raises WireError."""
    if kind in (_ENHANCED_PACKET, _OLD_PACKET):
        if len(raw) < _AHEAD + 4:
            raise WireError("a packet block too short for its own fields; the file is broken here")
        which, high, low, length, wire = struct.unpack_from(f"{order}IIIII", raw, 8)
        if kind == _OLD_PACKET:
            (which,) = struct.unpack_from(f"{order}H", raw, 8)
        if which >= len(interfaces):
            raise WireError(f"a packet of interface {which}, which is not described before it")
        if length > len(raw) - _AHEAD - 4:
            raise WireError(f"a packet of {length} octets, longer than its block")
        link, _, factor, divisor, offset = interfaces[which]
        time: int | None = (high << 32 | low) * factor // divisor + offset
        if time not in _TIMES:
            time = None
        return make_record((number, time, link, raw, _AHEAD, _AHEAD + length, wire))
    if kind == _SIMPLE_PACKET:
        if not interfaces or len(raw) < _SIMPLE_AHEAD + 4:
            raise WireError("a simple packet block without interface or length; it is broken")
        (wire,) = struct.unpack_from(f"{order}I", raw, 8)
        link, snaplen = interfaces[0][:2]
        room = len(raw) - _SIMPLE_AHEAD - 4
        length = min(wire, room, snaplen or room)
        return make_record((number, None, link, raw, _SIMPLE_AHEAD, _SIMPLE_AHEAD + length, wire))
    if kind == _INTERFACE:
        raw = _add_interface(order, raw, interfaces)
    elif kind == _SECTION:
        if len(raw) < 28:
            raise WireError("a section header too short for its own fields; it is broken")
        raw = raw[:16] + b"\xff" * 8 + raw[24:]
    return make_record((0, None, NO_PACKET, raw, 0, 0, 0))


def _add_interface(order: str, raw: bytes, interfaces: list[_Interface]) -> bytes:
    """Add an interface to the list; returns its block for a copy."""
    if len(raw) < 20:
        raise WireError("an interface block too short for its own fields; it is broken")
    if len(interfaces) >= _MOST_INTERFACES:
        raise WireError(f"more than {_MOST_INTERFACES} interfaces in a section; it is broken")
    link, _, snaplen = struct.unpack_from(f"{order}HHI", raw, 8)
    factor, divisor, offset = 1000, 1, 0
    options = raw[16:-4]
    for code, value, _ in _options(order, options):
        if code == _IF_TSRESOL and len(value) == 1:
            exponent = value[0] & 0x7F
            factor, divisor = 10**9, 2**exponent if value[0] & 0x80 else 10**exponent
        elif code == _IF_TSOFFSET and len(value) == 8:
            offset = struct.unpack(f"{order}q", value)[0] * 10**9
    interfaces.append(_Interface(link, snaplen, factor, divisor, offset))
    if 0 < snaplen < _SHORTEST_SNAPLEN:
        snaplen = ROOMY
    body = struct.pack(f"{order}HHI", link, 0, snaplen)
    return _block(order, raw[:4], body + _without(order, options, _IF_FCSLEN))


def _options(order: str, data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield code, value and octets of each option, up to the first broken one."""
    at = 0
    while len(data) - at >= 4:
        code, length = struct.unpack_from(f"{order}HH", data, at)
        end = at + 4 + length + -length % 4
        if end > len(data):
            return
        yield code, data[at + 4 : at + 4 + length], data[at:end]
        if code == _END:
            return
        at = end


def _without(order: str, options: bytes, unwanted: int) -> bytes:
    """Leave out the options of one kind; broken ones stay as they are."""
    found = list(_options(order, options))
    if all(code != unwanted for code, _, _ in found):
        return options
    return b"".join(octets for code, _, octets in found if code != unwanted)


def _block(order: str, kind: bytes, body: bytes) -> bytes:
    length = struct.pack(f"{order}I", len(body) + _FRAME)
    return kind + length + body + length
