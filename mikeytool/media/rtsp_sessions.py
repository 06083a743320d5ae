"""The media and keys of RTSP sessions (RFC 2326, RFC 4567 3.2).

Keys are in the descriptions of DESCRIBE and ANNOUNCE, in KeyMgmt headers, and in bodies of
SET_PARAMETER and GET_PARAMETER, as `KeyMgmt:` lines or as the `mikey:` lines of cameras. A SETUP
names the two ends of a medium.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from mikeytool.capture.carried_messages import parameters_of
from mikeytool.capture.carrier import Carrier
from mikeytool.capture.endpoints import destination_of, source_of
from mikeytool.capture.keymgmt import KEYMGMT_HEADER, Spec, read_header_value
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.sdp import G711, Section
from mikeytool.media.dialogs import FOREVER
from mikeytool.media.ends import Ends, channel_end, end_at, joined
from mikeytool.media.signalled_keys import SignalledKey, messages_of
from mikeytool.media.signalling_bounds import Bounds, bounded

MAX_PENDING = 64
"""The most requests of a connection that wait for their response."""
MAX_KEPT = 256
"""The most parts with keys, and the most media, kept for one connection."""
MAX_PARTS = 1 << 14
"""The most parts with keys kept for all connections."""

_PARAMETER_METHODS = ("SET_PARAMETER", "GET_PARAMETER")


@dataclass(slots=True)
class _Transport:
    """The parameters of a Transport header that say where media goes (RFC 2326 12.39)."""

    parameters: dict[str, str]
    flags: set[str]

    @classmethod
    def of(cls, value: str) -> _Transport:
        """The first transport in the header; a response has only one."""
        parts = [part.strip() for part in value.partition(",")[0].split(";")]
        pairs = [part.partition("=") for part in parts if "=" in part]
        return cls(
            {name.lower(): given.strip('"') for name, _, given in pairs},
            {part.lower() for part in parts if "=" not in part},
        )

    def ends(self, side: bytes, ports: str, address: str) -> Ends:
        """The ends of one side of the connection, `side`, with the ports named by a parameter.

        Without ports they are the interleaved channels, or any port of that host.
        """
        given = self.parameters
        if "interleaved" in given:
            return joined(channel_end(side, each) for each in _numbers(given["interleaved"], 256))
        numbers = _numbers(given.get(ports, ""), 1 << 16)
        if len(numbers) == 1 and "rtcp-mux" not in self.flags:
            numbers.append(numbers[0] + 1)
        host = end_at(given[address], 1)[:-2] if address in given else b""
        return joined(end_at(host or side[:-2], each) for each in numbers) or (side[:-2],)

    @property
    def ssrcs(self) -> tuple[int, ...]:
        """The SSRC of the server, if it is given."""
        text = self.parameters.get("ssrc", "")
        try:
            return (int(text, 16),) if len(text) <= 8 else ()
        except ValueError:
            return ()


@dataclass(slots=True, eq=False)
class _Medium:
    """A medium that was set up: its URI, the ends of client and server, and when it ends."""

    uri: str
    session: str
    client: Ends
    server: Ends
    ssrcs: tuple[int, ...]
    frame: int
    ended: int = FOREVER
    end: str = ""


@dataclass(slots=True, eq=False)
class _Keyed:
    """A part of a message with keys, and its medium: a URI, or all media."""

    section: Section
    by_client: bool
    call: str
    moment: Moment
    uri: str = ""
    taken: int = 0
    declined: str = ""


@dataclass(slots=True, eq=False)
class _Request:
    """A request that waits for its response, the ends of its connection and its keys."""

    carrier: Carrier
    moment: Moment
    keyed: list[_Keyed] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _Connection:
    """The traffic of one connection between a client and a server."""

    client: bytes
    server: bytes
    requests: dict[str, _Request] = field(default_factory=dict)
    keyed: list[_Keyed] = field(default_factory=list)
    media: list[_Medium] = field(default_factory=list)
    codecs: dict[str, dict[int, G711]] = field(default_factory=dict)  # by control URI


class RtspSessions:
    """Takes the RTSP messages of a capture, in order of their frames."""

    def __init__(self, bounds: Bounds) -> None:
        self._connections: dict[bytes, _Connection] = {}
        self._bounds = bounds
        self._parts = 0

    def add(self, carrier: Carrier, flow: bytes, moment: Moment, sections: list[Section]) -> None:
        """Take a message and the description in its body, which may be empty."""
        is_request = carrier.status is None
        connection, by_client = self._connection(source_of(flow), destination_of(flow), is_request)
        cseq = f"{carrier.value('cseq')} {by_client == is_request}"
        if is_request:
            request = connection.requests[cseq] = _Request(carrier, moment)
            if len(connection.requests) > MAX_PENDING:
                del connection.requests[next(iter(connection.requests))]
                self._bounds.leave_out(f"more than {MAX_PENDING} requests of a connection wait")
        else:
            request = connection.requests.pop(cseq, _Request(carrier, moment))
        asked = request.carrier
        call = _session(carrier) or carrier.value("content-base") or asked.target
        found = self._within_bounds(
            connection, _keyed(carrier, asked, call, moment, sections, by_client=by_client)
        )
        connection.keyed += found
        for section in sections[1:]:
            if section.codecs and len(connection.codecs) < MAX_KEPT:
                connection.codecs[section.control] = section.codecs
        if is_request:
            request.keyed = found
            return
        self._respond(connection, request, carrier, moment, found)

    def _within_bounds(self, connection: _Connection, parts: Iterator[_Keyed]) -> list[_Keyed]:
        """The parts of a message for which there is room."""
        found: list[_Keyed] = []
        for part in parts:
            if len(connection.keyed) + len(found) >= MAX_KEPT:
                self._bounds.leave_out(f"a connection has more than {MAX_KEPT} parts with keys")
            elif self._parts >= MAX_PARTS:
                self._bounds.leave_out(f"RTSP messages have more than {MAX_PARTS} parts with keys")
            else:
                self._parts += 1
                part.section = bounded([part.section], self._bounds)[0]
                found.append(part)
        return found

    def keys(self) -> Iterator[SignalledKey]:
        """Every key, once for each medium that it covers."""
        for connection in self._connections.values():
            for request in connection.requests.values():
                if request.carrier.method == "SETUP":
                    self._set_up(connection, request, request.carrier, request.moment)
            for keyed in connection.keyed:
                yield from _signalled(connection, keyed)

    def _connection(
        self, source: bytes, destination: bytes, is_request: bool
    ) -> tuple[_Connection, bool]:
        """The connection between two ends, and whether the first is its client.

        The client is the end that sent the first request; later the server may send some too.
        """
        for client, server in ((source, destination), (destination, source)):
            known = self._connections.get(client + server)
            if known is not None:
                return known, client is source
        client, server = (source, destination) if is_request else (destination, source)
        made = self._connections[client + server] = _Connection(client, server)
        return made, is_request

    def _respond(
        self,
        connection: _Connection,
        request: _Request,
        carrier: Carrier,
        moment: Moment,
        found: list[_Keyed],
    ) -> None:
        """Apply a request, now that its response is known."""
        status = carrier.status or 0
        if status < 200:
            return
        for keyed in (*request.keyed, *found):
            if status < 300:
                keyed.taken = moment.frame
            else:
                keyed.declined = str(status)
        if status >= 300:
            return
        method = request.carrier.method
        if method == "SETUP" or (not method and "transport" in carrier.fields):
            self._set_up(connection, request, carrier, moment)
        elif method == "TEARDOWN":
            _tear_down(connection, request.carrier, moment.frame)

    def _set_up(
        self, connection: _Connection, request: _Request, carrier: Carrier, moment: Moment
    ) -> None:
        if len(connection.media) >= MAX_KEPT:
            self._bounds.leave_out(f"a connection sets up more than {MAX_KEPT} media")
        else:
            _set_up(connection, request, carrier, moment)


def _set_up(connection: _Connection, request: _Request, carrier: Carrier, moment: Moment) -> None:
    """Record a medium between the ends named in the response, or else in the request."""
    transport = _Transport.of(carrier.value("transport"))
    ports, address = "client_port", "destination"
    if "multicast" in transport.flags or "client_port" not in transport.parameters:
        ports = "port"
    for medium in connection.media:
        if medium.uri == request.carrier.target and medium.ended == FOREVER:
            medium.ended, medium.end = moment.frame, "SETUP"
    connection.media.append(
        _Medium(
            request.carrier.target,
            _session(carrier),
            transport.ends(connection.client, ports, address),
            transport.ends(connection.server, "server_port", "source"),
            transport.ssrcs,
            moment.frame,
        )
    )


def _tear_down(connection: _Connection, request: Carrier, frame: int) -> None:
    session = _session(request)
    for medium in connection.media:
        is_meant = medium.session in (session, "") and _controls(request.target, medium.uri)
        if is_meant and medium.ended == FOREVER:
            medium.ended, medium.end = frame, "TEARDOWN"


def _session(carrier: Carrier) -> str:
    return carrier.value("session").partition(";")[0].strip()


def _keyed(
    carrier: Carrier,
    request: Carrier,
    call: str,
    moment: Moment,
    sections: list[Section],
    *,
    by_client: bool,
) -> Iterator[_Keyed]:
    """The parts of a message that have keys."""
    for value in carrier.fields.get("keymgmt", ()):
        by_uri: dict[str, list[Spec]] = {}
        for spec in read_header_value(value):
            by_uri.setdefault(spec.uri, []).append(spec)
        for uri, specs in by_uri.items():
            section = Section(KEYMGMT_HEADER, specs=specs)
            of_setup = request.target if request.method == "SETUP" else ""
            yield _Keyed(section, by_client, call, moment, of_setup or uri)
    for section in sections:
        if section.specs or section.cryptos:
            # The only medium of a description need not name its control.
            named = section.control if len(sections) > 2 else ""
            yield _Keyed(section, by_client, call, moment, named if section.number else "")
    if carrier.body and request.method in _PARAMETER_METHODS:
        for level, specs in parameters_of(carrier.body):
            section = Section(level, specs=specs)
            yield _Keyed(section, by_client, call, moment, request.target)


def _signalled(connection: _Connection, keyed: _Keyed) -> Iterator[SignalledKey]:
    section = keyed.section
    media = [one for one in connection.media if _controls(keyed.uri, one.uri)]
    if not media and (not section.number or not section.control):
        media = connection.media
    if not media:
        media = [
            _Medium("", keyed.call, (connection.client[:-2],), (connection.server[:-2],), (), 0)
        ]
    for medium in media:
        if medium.ended <= keyed.moment.frame:
            continue
        codecs: dict[int, G711] = {}
        for control, some in connection.codecs.items():
            if _controls(control, medium.uri):
                codecs |= some
        base = SignalledKey(
            None, "RTSP", medium.session or keyed.call, keyed.moment.frame, keyed.moment.time,
            section.level, section.number, section.kind, transport=section.transport,
            sources=medium.server, destinations=medium.client, both_ways=True,
            ssrcs=medium.ssrcs, taken=keyed.taken and max(keyed.taken, medium.frame),
            ended=medium.ended, end=medium.end, declined=keyed.declined, codecs=codecs,
        )  # fmt: skip
        if keyed.by_client:
            base.sources, base.destinations, base.ssrcs = medium.client, medium.server, ()
        for message in messages_of(section):
            yield replace(base, content=message)
        for line, content in enumerate(section.cryptos, 1):
            yield replace(base, content=content, line=line)


def _controls(control: str, uri: str) -> bool:
    """Whether a control URI, which may be relative or shared, belongs to a medium."""
    if not control or control == "*":
        return True
    return (
        uri == control or uri.endswith(f"/{control}") or uri.startswith(control.rstrip("/") + "/")
    )


def _numbers(text: str, limit: int) -> list[int]:
    """The one or two numbers of `5000-5001`."""
    return [int(one) for one in text.split("-")[:2] if one.isdecimal() and int(one) < limit]
