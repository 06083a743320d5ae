"""Writes G.711 media as WAV: every packet at the place that its timestamp gives it.

`SoundFile` collects the samples of one stream in a file without a header; `write_wav` makes the WAV
file of it. Samples are 16 bits, as ITU-T G.711 expands them.
"""

from __future__ import annotations

import wave
from collections.abc import Mapping
from pathlib import Path

from mikeytool.capture.sdp import G711
from mikeytool.srtp.packet import is_rtcp, parse_rtp
from mikeytool.wire.errors import WireError

STATIC: Mapping[int, G711] = {0: G711("PCMU", 8000, 1), 8: G711("PCMA", 8000, 1)}
"""The payload types of G.711 that need no signalling (RFC 3551 6)."""
MOST_OCTETS = 1 << 31
"""The most octets in a file, which is 37 hours at 8,000 Hz."""
MOST_SILENCE = 24 * 3600
"""The most seconds of silence in all files; gaps beyond that are closed."""

_WIDTH = 2  # octets in a sample
_FIRST = 16
"""After this many packets the earliest one is known, and the file begins with it."""
_LONG_GAP = 60  # seconds; a longer gap has to be one on the clock of the capture too
_TOLERANCE = 10  # seconds
_LATE = 2  # seconds; a packet further back begins a new count
_CHUNK = 1 << 20
_MODULUS, _HALF = 1 << 32, 1 << 31


class Silence:
    """How many seconds of silence may still be written, and whether a gap was closed."""

    def __init__(self, seconds: float = MOST_SILENCE) -> None:
        self._left = seconds
        self.is_short = False

    def take(self, seconds: float) -> bool:
        """Use some of it; False if there is not enough."""
        if seconds > self._left:
            self.is_short = True
            return False
        self._left -= seconds
        return True


class SoundFile:
    """The samples of one stream; those not written yet take `size` octets."""

    def __init__(self, path: Path, codec: G711, silence: Silence) -> None:
        self._path = path
        self._codec = codec
        self._frame = _WIDTH * codec.channels
        self._silence = silence
        self._pieces: list[tuple[int, bytes]] = []
        self._is_begun = False
        self._base = 0
        self._end = 0
        self._last: tuple[int, int, int | None] | None = None
        self.size = 0
        self.left_out = 0
        """How many packets are left out: another rate, or beyond MOST_OCTETS."""

    @classmethod
    def of(
        cls, packet: bytes, codecs: Mapping[int, G711], path: Path, silence: Silence
    ) -> SoundFile | None:
        """Open the file of a stream with its first packet of G.711; None for other packets."""
        codec = None if is_rtcp(packet) else codecs.get(packet[1] & 0x7F)
        return None if codec is None else cls(path, codec, silence)

    def add(self, packet: bytes, time: int | None, codecs: Mapping[int, G711]) -> None:
        """Take a packet of the stream, and the time when it was captured, in nanoseconds."""
        codec = None if is_rtcp(packet) else codecs.get(packet[1] & 0x7F)
        if codec is None:
            return
        if codec[1:] != self._codec[1:]:
            self.left_out += 1
            return
        try:
            octets = _payload(packet)
        except WireError:
            return
        at = self._place(int.from_bytes(packet[4:8]), time)
        self._pieces.append((at, _expanded(codec.law, octets)))
        self.size += len(octets) * _WIDTH
        self._end = max(self._end, at + len(octets) // self._codec.channels)
        if not self._is_begun and len(self._pieces) == _FIRST:
            self._begin()

    def _place(self, timestamp: int, time: int | None) -> int:
        """The frame at which a packet begins, relative to the first packet that came.

        A jump that the clock of the capture does not confirm is no gap, and a jump back is no late
        packet: the sender counts from another number, as in another call from the same ports, and
        the sound goes on behind what came before.
        """
        if self._last is None:
            at = 0
        else:
            before, place, then = self._last
            ahead = (timestamp - before + _HALF) % _MODULUS - _HALF
            at = place + ahead
            seconds = ahead / self._codec.rate
            if seconds < -_LATE:
                at = self._end
            elif seconds > _LONG_GAP:
                elapsed = None if time is None or then is None else (time - then) / 1e9
                is_gap = elapsed is not None and abs(elapsed - seconds) <= max(
                    _TOLERANCE, elapsed / 10
                )
                at = at if is_gap else self._end
            gap = at - self._end
            if gap > 0 and not self._silence.take(gap / self._codec.rate):
                at = self._end
        self._last = timestamp, at, time
        return at

    def _begin(self) -> None:
        self._is_begun = True
        self._base = min(at for at, _ in self._pieces)

    def flush(self) -> None:
        """Write what is held."""
        if not self._pieces:
            return
        if not self._is_begun:
            self._begin()
        self._path.touch()
        with self._path.open("r+b") as file:
            for place, samples in self._pieces:
                at = (place - self._base) * self._frame
                if at + len(samples) > MOST_OCTETS:
                    self.left_out += 1
                    continue
                file.seek(max(at, 0))
                file.write(samples[max(-at, 0) :])
        self._pieces.clear()
        self.size = 0

    def write_wav(self, path: Path) -> None:
        """Write the WAV file, and remove the one with the samples."""
        self.flush()
        with self._path.open("rb") as source, wave.open(str(path), "wb") as out:
            out.setnchannels(self._codec.channels)
            out.setsampwidth(_WIDTH)
            out.setframerate(self._codec.rate)
            # Known in advance, so that the header need not be corrected.
            out.setnframes(self._path.stat().st_size // self._frame)
            while chunk := source.read(_CHUNK):
                out.writeframesraw(chunk)
        self._path.unlink()


def _payload(packet: bytes) -> bytes:
    """The payload of an RTP packet without its padding (RFC 3550 5.1)."""
    _, _, start = parse_rtp(packet)
    end = len(packet)
    if packet[0] & 0x20 and end > start:
        end -= packet[-1]
    return packet[start:end] if end > start else b""


def _expanded(law: str, octets: bytes) -> bytes:
    return b"".join(map((_PCMU if law == "PCMU" else _PCMA).__getitem__, octets))


def _from_ulaw(octet: int) -> int:
    octet = ~octet & 0xFF
    size = (((octet & 0x0F) << 3) + 0x84 << (octet >> 4 & 7)) - 0x84
    return -size if octet & 0x80 else size


def _from_alaw(octet: int) -> int:
    octet ^= 0x55
    size, segment = (octet & 0x0F) << 4, octet >> 4 & 7
    size = size + 0x108 << segment - 1 if segment else size + 8
    return size if octet & 0x80 else -size


_PCMU = [_from_ulaw(octet).to_bytes(_WIDTH, "little", signed=True) for octet in range(256)]
_PCMA = [_from_alaw(octet).to_bytes(_WIDTH, "little", signed=True) for octet in range(256)]
