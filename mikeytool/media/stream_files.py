"""A file for each decrypted stream of a capture, and WAV files of those in G.711.

    with StreamFiles(folder, packets) as files:
        files.add(route, record, octets, packet)
        files.finish(report)

The files are written into a temporary folder and get their names in `finish`; if the block ends
earlier, nothing is left behind. None is kept open, so there may be thousands.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mikeytool.capture.endpoints import destination_of, endpoint, source_of
from mikeytool.capture.pcap import Pcap
from mikeytool.capture.pcapng import MAGIC, Pcapng
from mikeytool.capture.record import Record
from mikeytool.capture.rtpdump import Rtpdump
from mikeytool.capture.sdp import G711
from mikeytool.media.demux import Route
from mikeytool.media.packet_files import PacketFile
from mikeytool.media.report import Report
from mikeytool.media.sound_files import MOST_OCTETS, MOST_SILENCE, STATIC, Silence, SoundFile
from mikeytool.wire.errors import StateError, UsageError
from mikeytool.wire.printable import number_of

MAX_FILES = 8192
"""The most streams with a file."""
_MAX_HELD = 1 << 22
"""Octets that are held before they are written."""
_EXTENSIONS = {Pcap: "pcap", Pcapng: "pcapng", Rtpdump: "rtpdump"}
_INTERFACE = (b"\0\0\0\1", b"\1\0\0\0")  # type of a pcapng block, in both byte orders
_SAFE = str.maketrans({":": "-", " ": "-", "[": None, "]": None})


class _Stream:
    """The files of one SSRC in one flow; `blocks` counts the pcapng blocks written to it."""

    __slots__ = ("blocks", "held", "name", "section", "sound")

    def __init__(self, name: str) -> None:
        self.name = name
        self.held: list[bytes] = []
        self.sound: SoundFile | None = None
        self.section = -1
        self.blocks = 0


class StreamFiles:
    """Writes decrypted packets into a folder, each into the file of its stream."""

    def __init__(self, folder: Path, packets: PacketFile, *, force: bool = False) -> None:
        """Take the folder, which is made if it is missing; `force` replaces files in it.

        Raises StateError if no file can be written there.
        """
        self._folder = folder
        self._packets = packets
        self._force = force
        self._extension = _EXTENSIONS.get(type(packets.capture), "txt")
        self._streams: dict[bytes, _Stream] = {}
        self._held = 0
        self._left_out = 0
        self._silence = Silence()
        self._section, self._blocks = 0, [packets.capture.head]
        if folder.exists() and not folder.is_dir():
            raise StateError(f"{folder}: it is not a folder; choose another name")
        try:
            self._temporary = Path(
                tempfile.mkdtemp(
                    prefix=".split.", dir=folder if folder.exists() else folder.absolute().parent
                )
            )
        except OSError as error:
            raise StateError(f"{folder}: {error.strerror}") from None

    def __enter__(self) -> StreamFiles:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._temporary, ignore_errors=True)

    def add_block(self, record: Record) -> None:
        """Take a block without a packet: sections and interfaces are written to every file."""
        if record.raw[:4] == MAGIC:
            self._section, self._blocks = self._section + 1, [record.raw]
        elif record.raw[:4] in _INTERFACE:
            self._blocks.append(record.raw)

    def add(self, route: Route, record: Record, octets: bytes, packet: bytes) -> None:
        """Take a decrypted packet of a route, and its octets in the output.

        Raises StateError if its file is there already or cannot be written, and UsageError if it
        is the input.
        """
        key = route.flow + route.ssrc
        stream = self._streams.get(key)
        if stream is None:
            if len(self._streams) >= MAX_FILES:
                self._left_out += 1
                return
            stream = self._streams[key] = _Stream(self._free(_name(route), self._extension))
        if stream.section != self._section:
            stream.section, stream.blocks = self._section, 0
        if stream.blocks < len(self._blocks):
            stream.held += self._blocks[stream.blocks :]
            stream.blocks = len(self._blocks)
        stream.held.append(octets)
        self._held += len(octets)
        self._add_sound(stream, packet, record.time, _codecs(route))
        if self._held > _MAX_HELD:
            self._flush()

    def _add_sound(
        self, stream: _Stream, packet: bytes, time: int | None, codecs: Mapping[int, G711]
    ) -> None:
        sound = stream.sound
        if sound is None:
            raw = self._temporary / f"{stream.name}.samples"
            sound = stream.sound = SoundFile.of(packet, codecs, raw, self._silence)
            if sound is None:
                return
            self._free(stream.name, "wav")
        before = sound.size
        sound.add(packet, time, codecs)
        self._held += sound.size - before

    def _free(self, name: str, extension: str) -> str:
        """The name, if a file with it may be written."""
        path = self._folder / f"{name}.{extension}"
        if path.exists():
            if self._packets.is_at(path):
                raise UsageError(f"{path}: it is the input; choose another folder")
            if not self._force:
                raise StateError(f"{path}: it exists already; choose another folder or add --force")
        return name

    def _flush(self) -> None:
        try:
            for stream in self._streams.values():
                if stream.held:
                    with self._written(stream, self._extension).open("ab") as file:
                        file.writelines(stream.held)
                    stream.held.clear()
                if stream.sound is not None:
                    stream.sound.flush()
        except OSError as error:
            raise StateError(f"{self._folder}: {error.strerror}") from None
        self._held = 0

    def _written(self, stream: _Stream, extension: str) -> Path:
        return self._temporary / f"{stream.name}.{extension}"

    def finish(self, report: Report) -> None:
        """Give the files their names; the report says how many there are, and what is left out."""
        self._flush()
        sounds = [each for each in self._streams.values() if each.sound is not None]
        try:
            for stream in sounds:
                if stream.sound is not None:
                    stream.sound.write_wav(self._written(stream, "wav"))
            self._move()
        except OSError as error:
            raise StateError(f"{self._folder}: {error.strerror}") from None
        if self._streams:
            more = f", {len(sounds)} of them as WAV too" if sounds else ""
            streams = number_of(len(self._streams), "stream")
            report.add_note(f"{self._folder}: {streams} written{more}")
        short = sum(each.sound.left_out for each in sounds if each.sound is not None)
        if short:
            report.tell_not_done(
                f"--split: {number_of(short, 'packet')} in no WAV file; a file has one rate and "
                f"at most"
                f" {MOST_OCTETS >> 30} GiB"
            )
        if self._silence.is_short:
            report.tell_not_done(
                f"--split: the WAV files have {MOST_SILENCE // 3600} hours of silence together, and"
                " may not have more; further gaps are closed"
            )
        if self._left_out:
            report.tell_not_done(
                f"--split: {number_of(self._left_out, 'packet')} in no file; the first "
                f"{MAX_FILES} streams"
                " have one"
            )

    def _move(self) -> None:
        """Move all files into the folder; if that fails, none of them is new there."""
        made = not self._folder.exists()
        if self._streams and made:
            self._folder.mkdir()
        moved: list[Path] = []
        try:
            for path in sorted(self._temporary.iterdir()):
                final = self._folder / path.name
                if not final.exists():
                    moved.append(final)
                path.replace(final)
        except OSError:
            for final in moved:
                final.unlink(missing_ok=True)
            if made:
                self._folder.rmdir()
            raise


def _name(route: Route) -> str:
    """A name of SSRC and ends that every file system takes; colons become hyphens."""
    if not route.flow:
        return f"0x{route.ssrc.hex()}"
    ends = (endpoint(each(route.flow)).translate(_SAFE) for each in (source_of, destination_of))
    return "_".join((f"0x{route.ssrc.hex()}", *ends))


def _codecs(route: Route) -> Mapping[int, G711]:
    """The payload types of G.711 in a route."""
    key = None if route.context is None else route.context.signalled
    return {**STATIC, **key.codecs} if key is not None and key.codecs else STATIC
