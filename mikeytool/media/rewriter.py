"""Passes a file's packets through senders or receivers into a file of the same kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from mikeytool.capture.frame_payloads import as_datagram, with_payload
from mikeytool.capture.frames import UDP, Datagram, Fragment, find_datagram, why_unread
from mikeytool.capture.media_in_tcp import CarriedPacket, Framing, MediaInTcp
from mikeytool.capture.packet_lines import NO_LINE, PacketLines
from mikeytool.capture.pcap import Block, Pcap
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.record import BARE_PACKET, NO_PACKET, Capture, Record, batches
from mikeytool.capture.turn import Turn
from mikeytool.media.carried_media import Carried, CarriedMedia
from mikeytool.media.demux import Demux, Route
from mikeytool.media.flows import TcpProtocols, is_other_protocol, other_protocol
from mikeytool.media.report import Report, StreamReport
from mikeytool.media.settings import Settings
from mikeytool.media.usual_packets import UsualPackets
from mikeytool.srtp.index import Duplicate
from mikeytool.wire.errors import MikeyError, WireError
from mikeytool.wire.printable import number_of

if TYPE_CHECKING:
    from mikeytool.media.descriptions import ClearDescriptions
    from mikeytool.media.split_signalling import SplitSignalling
    from mikeytool.media.stream_files import StreamFiles

BATCH = 1024
"""How many packets are read, processed and written at a time; a pcap file comes in blocks."""
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
        files: StreamFiles | None = None,
        *,
        waits: Callable[[], bool],
    ) -> None:
        self._waits = waits
        self._capture = capture
        self._descriptions = descriptions
        self._split: SplitSignalling | None = None
        if descriptions is not None:
            # Imported here: keys that are given need no signalling.
            from mikeytool.media.split_signalling import SplitSignalling

            self._split = SplitSignalling(capture, descriptions)
        self._files = files
        self._on_error = settings.on_error
        self._is_rtcp_plain = settings.is_rtcp_plain
        self._report = report
        self._demux = demux
        self._is_text = isinstance(capture, PacketLines)
        self._stopped = False
        self._protocols = TcpProtocols()
        self._turn = Turn()
        # Nothing is encrypted there: it takes a connection, which then has other octets.
        is_moved = report.verb == "decrypted"
        self._carried = CarriedMedia(capture, self._turn) if is_moved else None
        self._in_tcp = None if is_moved else MediaInTcp(self._turn)
        self._carried_counts: Counter[Framing] = Counter()
        self._usual: UsualPackets | None = None
        if isinstance(capture, Pcap) and self._carried is not None and files is None:
            self._usual = UsualPackets(capture, demux)

    def run(self) -> Iterator[bytes | None]:
        """The octets to write, a batch at a time; None when no more comes for now.

        Each batch is complete in the report before it is given out. The defect at the end of a
        broken file becomes the `fault` of the report.
        """
        yield self._capture.head
        before: Sequence[Record] | None = None
        for batch, waits in self._batches():
            if before is not None:
                yield self._process(before)
                if self._stopped:
                    return
            before = batch
            if waits:
                yield self._process(before)
                yield None
                if self._stopped:
                    return
                before = None
        if before is not None:
            yield self._process(before, is_last=True)
            if self._stopped:
                self._report.fault = None  # it comes later
        if self._in_tcp is not None:
            for packet in self._in_tcp.end():
                self._count_carried(packet)
        for framing, count in self._carried_counts.items():
            if self._carried is None:
                self._report.tell_not_done(
                    f"{framing}: {number_of(count, 'packet')} not encrypted; only RTP and RTCP"
                    " in UDP can be"
                )
                continue
            self._report.add_note(
                f"{framing}: {number_of(count, 'packet')} written as UDP datagrams between "
                f"{'client and peer' if framing == 'TURN' else 'the ends of the connection'}"
            )

    def _batches(self) -> Iterator[tuple[Sequence[Record], bool]]:
        """Give batches, each with whether no more comes for now."""
        try:
            if isinstance(self._capture, Pcap):
                for block in self._capture.blocks():
                    yield block, self._waits()
            else:
                yield from batches(self._capture, BATCH, self._waits)
        except WireError as error:
            # A run that stops at a failed packet before has not met it.
            self._report.fault = error

    def _process(self, batch: Sequence[Record], *, is_last: bool = False) -> bytes:
        out: list[bytes] = []
        routes = self._demux.known
        kept, rewritten = self._capture.kept, self._capture.rewritten
        plain_rtcp, files = self._is_rtcp_plain, self._files
        if self._split is not None:
            self._split.begin_batch()
        records: Iterable[Record] = batch
        if self._usual is not None and isinstance(batch, Block):
            records = self._usual.others(batch, out, lambda: self._stopped)
        for record in records:
            if self._stopped:
                break
            _, _, link, raw, start, end, wire = record
            if link == BARE_PACKET:
                datagram, flow = None, b""
            else:
                found = find_datagram(link, raw, start, end)
                if found.__class__ is not Datagram or found[0] != UDP:
                    self._other(record, found, batch, out)
                    continue
                datagram = found
                _, flow, _, _, start, end, _, _ = datagram
            # RTP and RTCP have version 2 (RFC 7983 7); the SSRC of RTCP comes earlier.
            at = start + (4 if end - start > 1 and 192 <= raw[start + 1] <= 223 else 8)
            if end < at + 4 or raw[start] & 0xC0 != 0x80:
                self._no_media(record, datagram, raw[start:end], batch, out)
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
            clear = done
            if datagram is not None:
                done = with_payload(raw, record[4], datagram, done)
            out.append(rewritten(record, done))
            if files is not None:
                files.add(route, record, out[-1], clear)
            stream.done += 1
            route.last_frame, route.last_time = record[0], record[1]
            if route.first_time is None:
                route.first_time = record[1]
        if self._carried is not None:
            if is_last:
                self._move(self._carried, self._carried.end(), batch)
            self._carried.finish(out)
        return b"".join(out)

    # --- what does not go through ----------------------------------------------------------------

    def _other(
        self,
        record: Record,
        found: Datagram | Fragment | None,
        batch: Sequence[Record],
        out: list[bytes],
    ) -> None:
        """A record that holds no UDP datagram."""
        if record.link == NO_LINE:
            self._report.count_unreadable(record.number, "a packet in hex or base64 is expected")
            self._stopped = self._on_error == "stop"
            return
        if isinstance(found, Datagram):
            self._segment(record, found, batch, out)
            return
        if record.link == NO_PACKET:
            if self._files is not None:
                self._files.add_block(record)
        else:
            unread = "" if found else why_unread(record.link, record.raw, record.start, record.end)
            self._report.others[unread or "other"] += 1
            if unread:
                self._report.unread[unread] += 1
        out.append(self._capture.kept(record))
        if self._split is not None and isinstance(found, Fragment):
            self._split.add_fragment(record, found, out)

    def _segment(
        self, record: Record, found: Datagram, batch: Sequence[Record], out: list[bytes]
    ) -> None:
        """A TCP segment: its signalling may change, and media may be moved out of it."""
        octets = record.raw[found.start : found.end]
        protocol = self._protocols.of(found.flow, octets)
        self._report.others[protocol] += 1
        frame = record.frame
        out.append(self._capture.kept(record))
        if self._split is not None and octets and not found.cut and protocol in ("SIP", "RTSP"):
            frame = self._split.add_segment(record, found, out)
        if self._carried is not None:
            packets = self._carried.add(record, found, frame, len(out) - 1)
            self._move(self._carried, packets, batch)
        if self._in_tcp is not None:
            for packet in self._in_tcp.add(record.raw, found, Moment(record.number, record.time)):
                self._count_carried(packet)

    def _move(
        self, carried: CarriedMedia, packets: Iterator[Carried], batch: Sequence[Record]
    ) -> None:
        """Take packets out of TCP, both decrypted and failed ones."""
        for packet, segment in packets:
            route, clear = self._carry(packet, segment.record, batch)
            if route is not None and (clear is not None or self._on_error != "keep"):
                octets = carried.move(packet, segment, clear)
                if clear is not None and self._files is not None:
                    self._files.add(route, segment.record, octets, clear)

    def _carry(
        self, packet: CarriedPacket, record: Record, batch: Sequence[Record]
    ) -> tuple[Route | None, bytes | None]:
        """The route of a packet in another transport if it is ours, and its decrypted form."""
        flow, octets = packet.flow, packet.packet
        at = 4 if 192 <= octets[1] <= 223 else 8
        ssrc = octets[at : at + 4]
        if len(ssrc) < 4:
            return None, None
        route = self._demux.known.get(flow + ssrc) or self._demux.add(flow, ssrc)
        route.looks_like_rtp = True  # two of them fit together
        route.report.packets += 1
        failure: MikeyError | None = None
        try:
            if route.process is not None:
                try:
                    done: bytes | None = route.process(octets, route.source, route.destination)
                except Duplicate:
                    raise
                except MikeyError as error:
                    failure = error
            if route.process is None or failure is not None:
                done = self._demux.process(route, octets, record, batch, failure)
        except Duplicate as error:
            route.report.duplicates += 1
            done = error.clear
        except MikeyError as error:
            self._report.count_failure(record.number, route.report, error)
            self._stopped = self._on_error == "stop"
            return route, None
        if done is None:
            route.report.skipped += 1
            return None, None
        route.report.done += 1
        self._carried_counts[packet.framing] += 1
        return route, done

    def _no_media(
        self,
        record: Record,
        datagram: Datagram | None,
        packet: bytes,
        batch: Sequence[Record],
        out: list[bytes],
    ) -> None:
        """A UDP datagram or a line that is neither RTP nor RTCP."""
        if self._is_text and not is_other_protocol(packet):
            self._report.count_unreadable(record.number, _why_no_media(packet), counted=True)
            if self._on_error == "keep":
                out.append(self._capture.kept(record))
            self._stopped = self._on_error == "stop"
            return
        if datagram is not None and not datagram.cut:
            relayed = self._turn.read(datagram.flow, packet)
            if relayed is not None and self._relayed(*relayed, record, datagram, batch, out):
                return
        self._report.others[other_protocol(packet)] += 1
        if self._descriptions is not None and datagram is not None and not datagram.cut:
            clear = self._descriptions.datagram(packet)
            if clear is not None:
                frame = with_payload(record.raw, record.start, datagram, clear)
                out.append(self._capture.rewritten(record, frame))
                return
        out.append(self._capture.kept(record))

    def _relayed(
        self,
        flow: bytes,
        packet: bytes,
        record: Record,
        datagram: Datagram,
        batch: Sequence[Record],
        out: list[bytes],
    ) -> bool:
        """A packet in a TURN datagram; returns False if the packet stays there."""
        if len(packet) < 8 or packet[0] >> 6 != 2:
            return False
        if self._carried is None:
            self._count_carried(CarriedPacket("TURN", flow, packet))
            return False
        route, clear = self._carry(CarriedPacket("TURN", flow, packet), record, batch)
        if route is not None and clear is not None:
            frame = as_datagram(record.raw, record.start, datagram, flow, clear)
            out.append(self._capture.rewritten(record, frame))
            if self._files is not None:
                self._files.add(route, record, out[-1], clear)
        elif route is None or self._on_error == "keep":
            out.append(self._capture.kept(record))
        return True

    def _count_carried(self, packet: CarriedPacket) -> None:
        """Count a packet in another transport that should be encrypted, and is not."""
        at = 4 if 192 <= packet.packet[1] <= 223 else 8
        if self._demux.takes(packet.flow, packet.packet[at : at + 4]):
            self._carried_counts[packet.framing] += 1

    def _failed(
        self, record: Record, stream: StreamReport, error: MikeyError, out: list[bytes]
    ) -> None:
        self._report.count_failure(record.number, stream, error)
        if self._on_error == "keep":
            out.append(self._capture.kept(record))
        self._stopped = self._on_error == "stop"


def _is_recent(route: Route, record: Record, behind: int) -> bool:
    """Whether a packet that came `behind` packets before another is less than a second older.

    The usual packet interval of its route gives its age.
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
