"""The messages in a capture that may carry keys: SIP, RTSP, HTTP, SAP, bare MIKEY.

    for signal in signals(open_capture(file)): ...

The content of a packet identifies its protocol. On the ports of MIKEY (2269) and SAP (9875), broken
packets count as that protocol too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Literal, NamedTuple

from mikeytool.capture.carrier import START, Carrier, read_message
from mikeytool.capture.endpoints import destination_of, endpoint, source_of
from mikeytool.capture.exported_pdu import is_exported_from_tcp
from mikeytool.capture.fragments import Fragments
from mikeytool.capture.frames import UDP, Datagram, Fragment, find_datagram, why_unread
from mikeytool.capture.link_types import EXPORTED_PDU
from mikeytool.capture.reassembly import Moment, StreamReader, TcpStreams
from mikeytool.capture.record import NO_PACKET, Record
from mikeytool.capture.sap import looks_like_sap, read_sap
from mikeytool.capture.tcp_streams import MikeyStream, TextStream, whole_message
from mikeytool.capture.turn import OtherAddresses
from mikeytool.capture.websocket import is_sip_in_frame
from mikeytool.wire.errors import WireError
from mikeytool.wire.registry import MIKEY_VERSION

# In the form that they have in a flow. The port of MIKEY is for UDP and TCP (RFC 3830 10).
_MIKEY_PORT = ((2269).to_bytes(2),)
_SAP_PORT = ((9875).to_bytes(2),)
_PORTS = _MIKEY_PORT + _SAP_PORT


class Signal(NamedTuple):
    """A message that may carry keys, or why it cannot be read, and its place in the capture.

    `moment` belongs to its last octet; `flow` is as in `frames.Datagram`.
    """

    carrier: Carrier | WireError
    moment: Moment
    flow: bytes
    transport: Literal["UDP", "TCP"]

    @property
    def source(self) -> str:
        """Address and port of the sender."""
        return endpoint(source_of(self.flow))

    @property
    def destination(self) -> str:
        """Address and port of the receiver."""
        return endpoint(destination_of(self.flow))


class Signalling:
    """Takes the records of a capture one by one and returns the messages in them."""

    def __init__(self, addresses: OtherAddresses | None = None) -> None:
        """Take what collects the addresses in STUN and TURN, if anything does."""
        self._addresses = addresses
        self._frames = self._udp = self._tcp = 0
        self._counts: Counter[str] = Counter()
        self.unread: Counter[str] = Counter()
        """Counts frames that are not read, by kind."""
        self.cut = 0
        """Counts the SIP and RTSP messages of which the capture has not everything."""
        self._signals: list[Signal] = []
        self._fragments = Fragments()
        self._streams = TcpStreams(self._open_reader)

    @property
    def seen(self) -> Counter[str]:
        """How many frames, UDP and TCP packets, IP fragments, SIP or RTSP messages, … were seen.

        Packets "cut short" are incomplete in the capture. "TCP streams given up" and "fragmented
        packets given up" exceeded the limits.
        """
        packets = Counter(frames=self._frames, UDP=self._udp, TCP=self._tcp)
        packets["TCP streams given up"] = self._streams.given_up
        packets["fragmented packets given up"] = self._fragments.given_up
        return packets + self._counts

    def add(self, record: Record) -> list[Signal]:
        """Take a record; returns the messages that it completes."""
        if record.link == NO_PACKET:
            return []
        self._frames += 1
        raw = record.raw
        found = find_datagram(record.link, raw, record.start, record.end)
        if isinstance(found, Fragment):
            self._counts["IP fragments"] += 1
            whole = self._fragments.add(raw, found)
            raw, found = whole or (b"", None)
        if found is None:
            if raw is record.raw:
                self._note_unread(record)
            return []
        if found.cut:
            self._counts["cut short"] += 1
            self.cut += found.protocol == UDP and _begins_call(raw[found.start : found.end])
        if found.protocol != UDP:
            self._tcp += 1
            if self._addresses is not None:
                self._addresses.add(found.flow, raw[found.start : found.end])
            self._streams.add(raw, found, Moment(record.number, record.time))
            return self._take()
        self._udp += 1
        # Media, which most datagrams are, begins with an octet of 128 to 191 (RFC 7983).
        start = found.start
        if start == found.end or (raw[start] >= 0x80 and not _is_for(found.flow, _PORTS)):
            return []
        is_tcp = record.link == EXPORTED_PDU and is_exported_from_tcp(raw, record.start, record.end)
        self._datagram(raw, found, Moment(record.number, record.time), "TCP" if is_tcp else "UDP")
        return self._take()

    def _note_unread(self, record: Record) -> None:
        name = why_unread(record.link, record.raw, record.start, record.end)
        if name:
            self.unread[name] += 1

    def end(self) -> list[Signal]:
        """Return the messages that are incomplete at the end of the capture."""
        self._streams.end()
        return self._take()

    def _take(self) -> list[Signal]:
        taken = self._signals
        if taken:
            self._signals = []
        return taken

    def _emit(
        self,
        flow: bytes,
        transport: Literal["UDP", "TCP"],
        carrier: Carrier | WireError,
        moment: Moment,
    ) -> None:
        if isinstance(carrier, Carrier):
            self._counts[carrier.protocol] += 1
            if transport == "TCP" and carrier.protocol in ("SIP", "RTSP"):
                self.cut += carrier.is_incomplete
        self._signals.append(Signal(carrier, moment, flow, transport))

    def _datagram(
        self, raw: bytes, found: Datagram, moment: Moment, transport: Literal["UDP", "TCP"]
    ) -> None:
        carrier: Carrier | WireError | None
        data = raw[found.start : found.end]
        if self._addresses is not None:
            self._addresses.add(found.flow, data)
        try:
            carrier = _read_datagram(data, found.flow)
        except WireError as error:
            carrier = error
        if carrier is not None:
            self._emit(found.flow, transport, carrier, moment)

    def _open_reader(self, flow: bytes, first: bytes) -> StreamReader:
        emit = partial(self._emit, flow, "TCP")
        on_port = _is_for(flow, _MIKEY_PORT)
        if first[0] == MIKEY_VERSION or (on_port and not START.match(first)):
            return MikeyStream(emit, strict=not on_port)
        return TextStream(emit, is_websocket=is_sip_in_frame(first))


def signals(records: Iterable[Record], signalling: Signalling | None = None) -> Iterator[Signal]:
    """Find the messages in the records of a capture, each when it is complete.

    `signalling` takes the records. Raises what iterating over the records raises, after the
    messages before it.
    """
    signalling = signalling or Signalling()
    try:
        for record in records:
            yield from signalling.add(record)
    except WireError:
        yield from signalling.end()
        raise
    yield from signalling.end()


def _begins_call(data: bytes) -> bool:
    """Whether octets are the beginning of a SIP or RTSP message."""
    match = START.match(data.lstrip(b"\r\n"))
    return match is not None and b"HTTP/" not in match[0]


def _is_for(flow: bytes, ports: tuple[bytes, ...]) -> bool:
    """Whether a flow goes from or to one of these ports."""
    return flow[-2:] in ports or flow[-4:-2] in ports


def _read_datagram(data: bytes, flow: bytes) -> Carrier | None:
    """Read the message in a UDP datagram; None without any.

    Raises WireError for a SAP packet that cannot be read.
    """
    if START.match(data.lstrip(b"\r\n")):
        return read_message(data)
    if _is_for(flow, _MIKEY_PORT):
        return Carrier("MIKEY", body=data)
    if _is_for(flow, _SAP_PORT) or looks_like_sap(data):
        return read_sap(data)
    if data[0] == MIKEY_VERSION and whole_message(data) == len(data):
        return Carrier("MIKEY", body=data)
    return None
