"""Rewrites signalling that is spread over several records: TCP segments and IP fragments.

Nothing changes its length, so each record keeps its place and its size. What is spread over two
batches of records stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from mikeytool.capture.fragments import Fragments
from mikeytool.capture.frame_payloads import with_octets
from mikeytool.capture.frames import UDP, Datagram, Fragment
from mikeytool.capture.layers import checksum
from mikeytool.capture.record import Capture, Record
from mikeytool.media.descriptions import ClearDescriptions

_TAIL = 2048
"""How many octets before a segment are looked at again with it."""
_MOST_STREAMS = 1024
_MODULUS = 1 << 32


@dataclass(slots=True)
class _Piece:
    """A segment, and its place in the output."""

    record: Record
    found: Datagram
    place: int
    octets: bytes


@dataclass(slots=True)
class _Stream:
    """The last segments of one direction of a connection, which follow each other.

    `is_meant` says whether the first begins in a message of a call with keys, `goes_on` whether the
    next does.
    """

    following: int = -1
    pieces: list[_Piece] = field(default_factory=list)
    is_meant: bool = False
    goes_on: bool = False


class SplitSignalling:
    """Rewrites the segments and fragments of one file, a batch of records at a time."""

    def __init__(self, capture: Capture, descriptions: ClearDescriptions) -> None:
        self._capture = capture
        self._descriptions = descriptions
        self._streams: dict[bytes, _Stream] = {}
        self._fragments = Fragments()
        self._packets: dict[bytes, list[tuple[Record, Fragment, int]]] = {}

    def begin_batch(self) -> None:
        """Forget the places in the output."""
        self._packets.clear()
        for stream in self._streams.values():
            stream.pieces.clear()
            stream.is_meant = stream.goes_on

    def add_segment(self, record: Record, found: Datagram, out: list[bytes]) -> bytes:
        """Take a segment of SIP or RTSP, the last record in the output; may change it and others.

        Returns the frame that it has now.
        """
        if found.flow not in self._streams and len(self._streams) >= _MOST_STREAMS:
            del self._streams[next(iter(self._streams))]
        stream = self._streams.setdefault(found.flow, _Stream())
        octets = record.raw[found.start : found.end]
        seq = int.from_bytes(record.raw[found.transport + 4 : found.transport + 8])
        if seq != stream.following:
            stream.pieces.clear()
            stream.is_meant = stream.goes_on
        stream.following = (seq + len(octets)) % _MODULUS
        stream.pieces.append(_Piece(record, found, len(out) - 1, octets))
        whole = b"".join(piece.octets for piece in stream.pieces)
        changed = self._descriptions.text(whole, is_meant=stream.is_meant)
        at, frame = 0, record.frame
        for piece in stream.pieces:
            new = changed.text[at : at + len(piece.octets)]
            if new != piece.octets:
                _, _, _, raw, start, end, _ = piece.record
                frame = with_octets(raw, start, end, piece.found, new)
                out[piece.place] = self._capture.rewritten(piece.record, frame)
                piece.octets = new
            at += len(new)
        stream.goes_on = changed.is_meant_at(len(whole))
        gone = 0
        while len(whole) - gone - len(stream.pieces[0].octets) > _TAIL:
            gone += len(stream.pieces.pop(0).octets)
        stream.is_meant = changed.is_meant_at(gone)
        return frame

    def add_fragment(self, record: Record, found: Fragment, out: list[bytes]) -> None:
        """Take a fragment, the last record in the output; may change it and others."""
        packets = self._packets.setdefault(found.key, [])
        packets.append((record, found, len(out) - 1))
        done = self._fragments.add(record.raw, found)
        if done is None:
            return
        whole, datagram = done
        pieces = self._packets.pop(found.key)
        size = sum(one.end - one.start for _, one, _ in pieces)
        if datagram.protocol != UDP or datagram.transport or size != len(whole):
            return  # another packet inside, or not all of it in this batch
        text = whole[datagram.start : datagram.end]
        clear = self._descriptions.text(text).text
        if clear == text:
            return
        whole = _with_checksum(whole[: datagram.start] + clear, found.addresses)
        for each, one, place in pieces:
            piece = whole[one.offset : one.offset + one.end - one.start]
            frame = each.raw[each.start : one.start] + piece + each.raw[one.end : each.end]
            out[place] = self._capture.rewritten(each, frame)


def _with_checksum(datagram: bytes, addresses: bytes) -> bytes:
    """A UDP datagram with the right checksum (RFC 768), if it has one."""
    if datagram[6:8] == b"\0\0":
        return datagram
    pseudo = int.from_bytes(addresses) + UDP + len(datagram)
    blank = datagram[:6] + b"\0\0" + datagram[8:]
    return datagram[:6] + (checksum(blank, pseudo) or 0xFFFF).to_bytes(2) + datagram[8:]
