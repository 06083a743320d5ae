"""A record of a capture file, and the base of the readers of such files.

A reader is made from an open binary file. Iterating over it gives `Record`s in the order of
the file: one for each packet, and in pcapng also for each block that is no packet:

    for record in open_capture(file):             # mikeytool.capture.capture_files
        found = find_datagram(record.link, record.raw, record.start, record.end)  # .frames

The file is read in large blocks and never held in memory whole. If it is broken or cut short,
iteration yields every record before the fault and then raises a WireError; its `offset` is the
octet of the file at which the faulty record begins. `rewritten` makes the octets of a record with
another frame in it; a copy of a file is `head`, then `kept` or `rewritten` of each record.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, NamedTuple

from mikeytool.wire.errors import WireError

READ_SIZE = 1 << 19
"""Octets read from the file at once."""
LONGEST_RECORD = 1 << 24
"""Octets. A longer record means a broken length. This bounds memory."""
ROOMY = 1 << 18
"""The snapshot length of a copy if its packets may outgrow that of the file."""

BATCH_SIZE = 1 << 21
"""The most octets in the records of one batch."""

NO_PACKET = -1
"""Used instead of a link type for a pcapng block without a packet."""
BARE_PACKET = -2
"""Used instead of a link type if the frame is an RTP or RTCP packet without lower headers."""


class Record(NamedTuple):
    """A packet in the form that the file has.

    `number` counts packets from 1, as Wireshark does (0 if `link` is NO_PACKET). `time` is in
    Unix nanoseconds, None if the file has none. `link` is the LINKTYPE number. `raw` is
    the whole record, headers included, and `raw[start:end]` the frame. `wire` is the length
    in octets that the frame had on the wire, which is more than `end - start` if it was cut short.
    """

    number: int
    time: int | None
    link: int
    raw: bytes
    start: int
    end: int
    wire: int

    @property
    def frame(self) -> bytes:
        """The octets of the frame."""
        return self.raw[self.start : self.end]


class Capture(ABC):
    """A reader of one kind of capture file; `head` is what the file has before its records."""

    head: bytes = b""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._data = b""
        self._base = 0  # the offset of _data in the file

    @abstractmethod
    def __iter__(self) -> Iterator[Record]:
        """The records; raises WireError at the end if the file is broken there."""

    def kept(self, record: Record) -> bytes:
        """Return the original octets of a record."""
        return record.raw

    @abstractmethod
    def rewritten(self, record: Record, frame: bytes) -> bytes:
        """Return the octets of a record of this file with another frame in place of its own."""

    def _fill(self, used: int, wanted: int = 0) -> bool:
        """Drop the first `used` octets of `_data` and read on; returns whether there was more.

        Reads on until `_data` has `wanted` octets, if the file has them; of a pipe, what is there.
        """
        rest = self._data[used:]
        self._data = b""
        missing = wanted - len(rest)
        read = getattr(self._file, "read1", self._file.read)
        more = read(max(READ_SIZE, missing))
        while len(more) < missing and (piece := read(missing - len(more))):
            more += piece
        self._data = rest + more if rest else more
        self._base += used
        return bool(more)

    def _need_header(self, length: int) -> None:
        """Have at least `length` octets in `_data`; raises WireError if the file ends first."""
        while len(self._data) < length:
            if not self._fill(0):
                raise self._broken(0, "the file ends inside its header; copy the file again")

    def _cut_short(self) -> WireError:
        return self._broken(
            0, "the file ends inside this record; it was cut off, everything before it is whole"
        )

    def _broken(self, at: int, text: str) -> WireError:
        """Make the error about octet `at` of `_data`."""
        return WireError(text, payload="capture file", offset=self._base + at)


def batches(
    records: Iterable[Record], count: int, waits: Callable[[], bool]
) -> Iterator[tuple[list[Record], bool]]:
    """Group records into batches of up to `count` records and BATCH_SIZE octets.

    A longer record is a batch by itself. A batch ends too when `waits` says that no more comes for
    now, and is given with that.

    Raises what iterating over the records raises, after the batch before it.
    """
    batch: list[Record] = []
    size = 0
    try:
        for record in records:
            if batch and (len(batch) == count or size + len(record.raw) > BATCH_SIZE):
                yield batch, False
                batch, size = [], 0
            batch.append(record)
            size += len(record.raw)
            if waits():
                yield batch, True
                batch, size = [], 0
    except WireError:
        if batch:
            yield batch, False
        raise
    if batch:
        yield batch, False


def make_record(fields: tuple[int, int | None, int, bytes, int, int, int]) -> Record:
    """Make a Record of its fields in order; quicker than the constructor."""
    return tuple.__new__(Record, fields)
