"""Packets of a file through senders or receivers, and back into a file of the same kind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mikeytool.capture.frames import UDP, Datagram, find, with_payload
from mikeytool.capture.packet_lines import NO_LINE, PacketLines
from mikeytool.capture.record import BARE_PACKET, NO_PACKET, Capture, Record
from mikeytool.media.demux import Lanes
from mikeytool.media.flows import FlowFilter, is_other_protocol, other_protocol
from mikeytool.media.handlers import Handler
from mikeytool.media.report import Report, Row
from mikeytool.wire.errors import MikeyError, Refused, WireError

BATCH = 1024
"""Packets that are read, processed and written at once."""
_CUT = "the capture has only the beginning of it; capture with a longer snaplen"


class Traffic:
    """A run of `srtp encrypt` or `srtp decrypt` over one file."""

    def __init__(
        self,
        capture: Capture,
        handlers: Sequence[Handler],
        flows: FlowFilter,
        only: frozenset[int] | None,
        on_error: str,
        report: Report,
    ) -> None:
        self._capture = capture
        self._on_error = on_error
        self._report = report
        self._lanes = Lanes(handlers, flows, only, report)
        self._is_text = isinstance(capture, PacketLines)
        self._stopped = False

    def run(self) -> Iterator[bytes]:
        """The octets to write, a batch at a time; raises WireError at the end of a broken file.

        Each batch is complete in the report before it is given out.
        """
        yield self._capture.head
        for batch in self._batches():
            yield self._process(batch)
            if self._stopped:
                return
        if self._fault is not None:
            raise self._fault

    def _batches(self) -> Iterator[list[Record]]:
        """The records in lists; what is wrong at the end of the file goes to `_fault`."""
        self._fault: WireError | None = None
        batch: list[Record] = []
        try:
            for record in self._capture:
                batch.append(record)
                if len(batch) == BATCH:
                    yield batch
                    batch = []
        except WireError as error:
            self._fault = error
        if batch:
            yield batch

    def _process(self, batch: list[Record]) -> bytes:
        out: list[bytes] = []
        lanes = self._lanes.known
        kept, rewritten = self._capture.kept, self._capture.rewritten
        for record in batch:
            if self._stopped:
                break
            _, _, link, raw, start, end, wire = record
            if link == BARE_PACKET:
                datagram, flow = None, b""
            else:
                found = find(link, raw, start, end)
                if found.__class__ is not Datagram or found[0] != UDP:
                    self._other(record, out)
                    continue
                datagram = found
                _, flow, _, _, start, end, _ = datagram
            # RTP and RTCP have version 2 (RFC 7983 7); the SSRC of RTCP comes earlier.
            at = start + (4 if end - start > 1 and 192 <= raw[start + 1] <= 223 else 8)
            if end < at + 4 or raw[start] & 0xC0 != 0x80:
                self._no_media(record, raw[start:end], out)
                continue
            ssrc = raw[at : at + 4]
            lane = lanes.get(flow + ssrc)
            if lane is None:
                lane = self._lanes.add(flow, ssrc)
            row = lane.row
            row.packets += 1
            process = lane.process
            try:
                if process is None:
                    process = self._lanes.decide(lane, flow, ssrc, batch)
                if process is not None and (
                    wire > record[5] - record[4] or (datagram and datagram.cut)
                ):
                    raise Refused(_CUT)
                done = process and process(raw[start:end], lane.source, lane.destination)
                if done is None:
                    row.skipped += 1
                    out.append(kept(record))
                    continue
                if datagram is not None:
                    done = with_payload(raw, record[4], datagram, done)
                out.append(rewritten(record, done))
                row.done += 1
            except MikeyError as error:
                self._failed(record, row, error, out)
        return b"".join(out)

    # --- what does not go through ----------------------------------------------------------------

    def _other(self, record: Record, out: list[bytes]) -> None:
        """A record that holds no UDP datagram."""
        if record.link == NO_LINE:
            self._report.unreadable(record.number, "a packet in hex or base64 is expected")
            self._stopped = self._on_error == "stop"
            return
        if record.link != NO_PACKET:
            self._report.others["other"] += 1
        out.append(self._capture.kept(record))

    def _no_media(self, record: Record, packet: bytes, out: list[bytes]) -> None:
        """A UDP datagram or a line that is neither RTP nor RTCP."""
        if self._is_text and not is_other_protocol(packet):
            self._report.unreadable(record.number, _why_no_media(packet), counted=True)
            if self._on_error == "keep":
                out.append(self._capture.kept(record))
            self._stopped = self._on_error == "stop"
            return
        self._report.others[other_protocol(packet[0]) if packet else "other"] += 1
        out.append(self._capture.kept(record))

    def _failed(self, record: Record, row: Row, error: MikeyError, out: list[bytes]) -> None:
        self._report.failed(record.number, row, error, is_text=self._is_text)
        if self._on_error == "keep":
            out.append(self._capture.kept(record))
        self._stopped = self._on_error == "stop"


def _why_no_media(packet: bytes) -> str:
    if len(packet) < 12:
        return f"{len(packet)} octets are no RTP or RTCP packet; leave the line out"
    return f"version {packet[0] >> 6} where RTP and RTCP have 2; leave the packet out"
