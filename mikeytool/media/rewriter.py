"""Packets of a file through senders or receivers, and back into a file of the same kind."""

from __future__ import annotations

from collections.abc import Iterator

from mikeytool.capture.frames import (
    UDP,
    Datagram,
    Fragment,
    find_datagram,
    with_octets,
    with_payload,
)
from mikeytool.capture.packet_lines import NO_LINE, PacketLines
from mikeytool.capture.record import BARE_PACKET, NO_PACKET, Capture, Record, batches
from mikeytool.media.demux import Demux, Route
from mikeytool.media.descriptions import ClearDescriptions
from mikeytool.media.flows import is_other_protocol, other_protocol
from mikeytool.media.report import Report, StreamReport
from mikeytool.media.settings import Settings
from mikeytool.srtp.index import Duplicate
from mikeytool.wire.errors import MikeyError, WireError

BATCH = 1024
"""Packets that are read, processed and written at once."""
_SECOND = 10**9  # nanoseconds


class Rewriter:
    """Encrypts or decrypts the packets of one file."""

    def __init__(
        self,
        capture: Capture,
        demux: Demux,
        settings: Settings,
        report: Report,
        descriptions: ClearDescriptions | None = None,
    ) -> None:
        self._capture = capture
        self._descriptions = descriptions
        self._on_error = settings.on_error
        self._is_rtcp_plain = settings.is_rtcp_plain
        self._report = report
        self._demux = demux
        self._is_text = isinstance(capture, PacketLines)
        self._stopped = False

    def run(self) -> Iterator[bytes]:
        """The octets to write, a batch at a time.

        Each batch is complete in the report before it is given out. What is wrong at the end
        of a broken file is the `fault` of the report.
        """
        yield self._capture.head
        for batch in self._batches():
            yield self._process(batch)
            if self._stopped:
                return

    def _batches(self) -> Iterator[list[Record]]:
        try:
            yield from batches(self._capture, BATCH)
        except WireError as error:
            # A run that stops at a failed packet before has not met it.
            self._report.fault = error

    def _process(self, batch: list[Record]) -> bytes:
        out: list[bytes] = []
        routes = self._demux.known
        kept, rewritten = self._capture.kept, self._capture.rewritten
        plain_rtcp = self._is_rtcp_plain
        for record in batch:
            if self._stopped:
                break
            _, _, link, raw, start, end, wire = record
            if link == BARE_PACKET:
                datagram, flow = None, b""
            else:
                found = find_datagram(link, raw, start, end)
                if found.__class__ is not Datagram or found[0] != UDP:
                    self._other(record, found, out)
                    continue
                datagram = found
                _, flow, _, _, start, end, _, _ = datagram
            # RTP and RTCP have version 2 (RFC 7983 7); the SSRC of RTCP comes earlier.
            at = start + (4 if end - start > 1 and 192 <= raw[start + 1] <= 223 else 8)
            if end < at + 4 or raw[start] & 0xC0 != 0x80:
                self._no_media(record, datagram, raw[start:end], out)
                continue
            ssrc = raw[at : at + 4]
            route = routes.get(flow + ssrc)
            if route is None:
                route = self._demux.add(flow, ssrc)
            stream = route.report
            stream.packets += 1
            if plain_rtcp and at == start + 4:
                stream.skipped += 1
                out.append(kept(record))
                continue
            process = route.process
            packet = raw[start:end]
            is_cut = wire > record[5] - record[4] or (datagram is not None and datagram[6])
            try:
                done: bytes | None = None
                if is_cut:
                    self._demux.refuse_cut(route, batch)
                elif process is None:
                    done = self._demux.process(route, packet, record, batch)
                else:
                    try:
                        done = process(packet, route.source, route.destination)
                    except Duplicate:
                        raise
                    except MikeyError as error:
                        done = self._demux.process(route, packet, record, batch, error)
            except Duplicate as error:
                if self._is_text or not _is_recent(route, record, error.behind):
                    self._failed(record, stream, error, out)
                    continue
                stream.duplicates += 1
                done = error.clear
            except MikeyError as error:
                self._failed(record, stream, error, out)
                continue
            if done is None:
                stream.skipped += 1
                out.append(kept(record))
                continue
            if datagram is not None:
                done = with_payload(raw, record[4], datagram, done)
            out.append(rewritten(record, done))
            stream.done += 1
            route.last_frame, route.last_time = record[0], record[1]
            if route.first_time is None:
                route.first_time = record[1]
        return b"".join(out)

    # --- what does not go through ----------------------------------------------------------------

    def _other(self, record: Record, found: Datagram | Fragment | None, out: list[bytes]) -> None:
        """A record that holds no UDP datagram."""
        if record.link == NO_LINE:
            self._report.count_unreadable(record.number, "a packet in hex or base64 is expected")
            self._stopped = self._on_error == "stop"
            return
        if record.link != NO_PACKET:
            self._report.others["other"] += 1
        if isinstance(found, Datagram) and self._descriptions is not None:
            octets = record.raw[found.start : found.end]
            clear = self._descriptions.segment(found.flow, octets) if octets else None
            if clear is not None and not found.cut:
                frame = with_octets(record.raw, record.start, record.end, found, clear)
                out.append(self._capture.rewritten(record, frame))
                return
        out.append(self._capture.kept(record))

    def _no_media(
        self, record: Record, datagram: Datagram | None, packet: bytes, out: list[bytes]
    ) -> None:
        """A UDP datagram or a line that is neither RTP nor RTCP."""
        if self._is_text and not is_other_protocol(packet):
            self._report.count_unreadable(record.number, _why_no_media(packet), counted=True)
            if self._on_error == "keep":
                out.append(self._capture.kept(record))
            self._stopped = self._on_error == "stop"
            return
        self._report.others[other_protocol(packet[0]) if packet else "other"] += 1
        if self._descriptions is not None and datagram is not None and not datagram.cut:
            clear = self._descriptions.datagram(packet)
            if clear is not None:
                frame = with_payload(record.raw, record.start, datagram, clear)
                out.append(self._capture.rewritten(record, frame))
                return
        out.append(self._capture.kept(record))

    def _failed(
        self, record: Record, stream: StreamReport, error: MikeyError, out: list[bytes]
    ) -> None:
        self._report.count_failure(record.number, stream, error)
        if self._on_error == "keep":
            out.append(self._capture.kept(record))
        self._stopped = self._on_error == "stop"


def _is_recent(route: Route, record: Record, behind: int) -> bool:
    """Whether a packet that came `behind` packets before another is not a second older.

    How old it is the usual interval of its route tells.
    """
    first, last, now = route.first_time, route.last_time, record.time
    if first is None or last is None or now is None:
        return True
    interval = (last - first) // max(route.report.done - 1, 1)
    return abs(now - last) + behind * interval <= _SECOND


def _why_no_media(packet: bytes) -> str:
    if len(packet) < 12:
        return f"{len(packet)} octets are no RTP or RTCP packet; leave the line out"
    return f"version {packet[0] >> 6} where RTP and RTCP have 2; leave the packet out"
