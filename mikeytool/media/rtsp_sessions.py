"""RTSP sessions: which media line a SETUP is about, and where its media goes (RFC 2326)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from mikeytool.capture.carrier import Carrier
from mikeytool.capture.frames import destination_of, source_of
from mikeytool.capture.keymgmt import KEYMGMT_HEADER, read_header_value
from mikeytool.capture.reassembly import Moment
from mikeytool.capture.sdp import Section
from mikeytool.media.offers import Description, End, KeyedMedia, match_ends

MAX_PENDING = 64
"""Requests of a connection that wait for their response."""
MAX_KEPT = 64
"""Descriptions, KeyMgmt headers and media lines of one connection that are looked at."""


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

    def end(self, ports: str, address: str, host: bytes) -> End | None:
        """The end that these parameters name; `host` is its address on the connection."""
        first, _, second = self.parameters.get(ports, "").partition("-")
        if not (first.isdecimal() and int(first) < 65536):
            return None
        rtp = int(first)
        rtcp = int(second) if second.isdecimal() and int(second) < 65536 else min(rtp + 1, 65535)
        if "rtcp-mux" in self.flags:
            rtcp = rtp
        return End.at(self.parameters.get(address) or host, rtp, rtcp)


@dataclass(slots=True)
class _Medium:
    """A media line that was set up: its URI, and the ends at client and server."""

    uri: str
    call: str
    client: End | None
    server: End | None


@dataclass(slots=True)
class _Connection:
    """What went over one connection between a client and a server.

    `described` are the descriptions, each with whether the client sent it (ANNOUNCE);
    `headers` the KeyMgmt headers of SETUP, with whether the client sent them.
    """

    requests: dict[str, Carrier] = field(default_factory=dict)
    described: list[tuple[Description, bool]] = field(default_factory=list)
    headers: list[tuple[Section, str, Moment, bool]] = field(default_factory=list)
    media: dict[str, _Medium] = field(default_factory=dict)


class RtspSessions:
    """Takes RTSP messages and matches their keys with the media that was set up."""

    def __init__(self) -> None:
        self._connections: dict[bytes, _Connection] = {}

    def add(self, carrier: Carrier, flow: bytes, moment: Moment, sections: list[Section]) -> None:
        """Take a message and the description in its body, which may be empty."""
        by_client = carrier.status is None
        client, server = source_of(flow), destination_of(flow)
        if not by_client:
            client, server = server, client
        connection = self._connections.setdefault(client + server, _Connection())
        cseq = carrier.value("cseq")
        if by_client:
            connection.requests[cseq] = carrier
            if len(connection.requests) > MAX_PENDING:
                del connection.requests[next(iter(connection.requests))]
        request = connection.requests.get(cseq, carrier)
        session = carrier.value("session").partition(";")[0].strip()
        call = session or carrier.value("content-base") or request.target
        if sections and len(connection.described) < MAX_KEPT:
            connection.described.append((Description(sections, call, moment), by_client))
        if request.method != "SETUP":
            return
        for value in carrier.fields.get("keymgmt", ()):
            section = Section(KEYMGMT_HEADER, specs=read_header_value(value))
            if len(connection.headers) < MAX_KEPT:
                connection.headers.append((section, request.target, moment, by_client))
        if not by_client and len(connection.media) < MAX_KEPT:
            transport = _Transport.of(carrier.value("transport"))
            connection.media[request.target] = _Medium(
                request.target,
                call,
                transport.end("client_port", "destination", client[:-2]),
                transport.end("server_port", "source", server[:-2]),
            )

    def keyed_media(self) -> Iterator[KeyedMedia]:
        """The media lines that were described or set up, with the ends at client and server."""
        for connection in self._connections.values():
            for description, by_client in connection.described:
                yield from _media_of(connection, description, by_client)
            for section, uri, moment, by_client in connection.headers:
                medium = connection.media.get(uri)
                described = _described(connection, uri)
                if medium is None:
                    yield KeyedMedia(section, described, None, None, uri, moment)
                    continue
                owner, peer = medium.client, medium.server
                if not by_client:
                    owner, peer = peer, owner
                yield KeyedMedia(section, described, owner, peer, medium.call, moment)


def _media_of(
    connection: _Connection, description: Description, by_client: bool
) -> Iterator[KeyedMedia]:
    def ends(section: Section) -> tuple[End | None, End | None]:
        for medium in connection.media.values():
            if _is_control(section, medium.uri):
                return medium.client, medium.server
        return None, None

    mine, other = (0, 1) if by_client else (1, 0)
    yield from match_ends(description, lambda one: ends(one)[mine], lambda one: ends(one)[other])


def _described(connection: _Connection, uri: str) -> Section | None:
    """The media line that a URI controls."""
    for description, _ in reversed(connection.described):
        for section in description.sections[1:]:
            if _is_control(section, uri):
                return section
    return None


def _is_control(section: Section, uri: str) -> bool:
    """Whether a URI is the a=control of a media line, which may be relative (RFC 2326 C.1.1)."""
    control = section.control
    return bool(control) and (uri == control or uri.endswith(f"/{control}"))
