"""Session descriptions (RFC 8866): the keys in them, and the addresses of their media."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from mikeytool.capture.keymgmt import Spec, read_attribute
from mikeytool.wire.errors import WireError
from mikeytool.wire.masked_repr import masked_repr

_MEDIA = re.compile(r"m=([A-Za-z]{1,20})[ \t]+(?:(\d{1,5})(?:/\d{1,5})?[ \t]+([A-Za-z/]{1,40}))?")
_MEDIA_NAME = re.compile(r"m=([a-z]{1,20})[ \t]")
_CONNECTION = re.compile(r"c=IN[ \t]+IP[46][ \t]+([0-9A-Za-z.:-]{1,255})")
_RTCP = re.compile(r"a=rtcp:(\d{1,5})(?:[ \t]+IN[ \t]+IP[46][ \t]+([0-9A-Za-z.:-]{1,255}))?")
# RFC 8839 5.1: foundation, component, transport, priority, address, port; where it is behind.
_CANDIDATE = re.compile(
    r"a=candidate:\S{1,32} \d{1,3} (?:UDP|TCP) \d{1,10} (\S{1,255}) (\d{1,5})"
    r"(?:.{0,64}? raddr (\S{1,255}) rport (\d{1,5}))?",
    re.I,
)
_DISCARD = 9
"""The port of candidates that accept no connections (RFC 6544 4.5)."""
_GROUP = re.compile(r"a=group:BUNDLE((?: \S{1,255}){1,64})")
_SSRC = re.compile(r"a=ssrc:(\d{1,10})")
_KEYED_BY = re.compile(r"a=(fingerprint|zrtp-hash):")
_KEYING = {"fingerprint": "DTLS", "zrtp-hash": "ZRTP"}
_HIDDEN = re.compile(r"a=extmap:\S{1,20} urn:ietf:params:rtp-hdrext:encrypt ")
_G711 = re.compile(r"a=rtpmap:(\d{1,3})[ \t]+(PCM[UA])/(\d{1,6})(?:/([1-8]))?", re.I)
MAX_CANDIDATES = 32
"""The most ICE candidates, and SSRCs, used of one section. One more is kept, to tell that."""
MAX_SECTIONS = 1024
"""The most media lines of a description; one with more is not read."""
_CRYPTO = re.compile(r"a=(?:acap:\d+[ \t]+)?crypto:(.*)")
SESSION_LEVEL = "session level"


def media_level(number: int, line: str) -> str:
    """Name the part of a description after an m= line, by its position from 1."""
    name = _MEDIA_NAME.match(line)
    return f"media {number}" + (f" ({name[1]})" if name else "")


class G711(NamedTuple):
    """A payload type of G.711: its law, "PCMU" or "PCMA", its rate in Hz and its channels."""

    law: str
    rate: int
    channels: int


@masked_repr
@dataclass(slots=True)
class Section:
    """The session level, or a media line (m=) with the lines after it.

    `number` counts the media lines from 1; the session level is 0. `address` comes from its c=
    line, or else from the session's; it is empty without one; ports are 0 when absent. `transport`
    is the protocol of the media line, "RTP/SAVP". With `mux` (a=rtcp-mux) RTCP may come on the port
    of RTP, and `rtcp_port` is the same. `candidates` are addresses and ports of ICE, `ssrcs` those
    of a=ssrc, `codecs` the payload types of G.711 in a=rtpmap. `keyed_by` names what agrees on
    keys beside the media: DTLS (RFC 5763), ZRTP (RFC 6189). `hides_extensions` says that it offers
    encrypted header extensions (RFC 6904). `is_cut` says at session level that lines behind those
    read are missing. `mid` names the medium; the
    `bundles` of the session level have the names of media that share a transport (RFC 9143).
    `specs` are its a=key-mgmt attributes, `cryptos` the values
    of its a=crypto ones, which are masked when printed, since they may have keys in the clear.
    """

    level: str
    number: int = 0
    kind: str = ""
    address: str = ""
    port: int = 0
    rtcp_port: int = 0
    rtcp_address: str = ""
    transport: str = ""
    mux: bool = False
    bundle_only: bool = False
    mid: str = ""
    bundles: list[list[str]] = field(default_factory=list)
    candidates: list[tuple[str, int]] = field(default_factory=list)
    ssrcs: list[int] = field(default_factory=list)
    codecs: dict[int, G711] = field(default_factory=dict)
    keyed_by: list[str] = field(default_factory=list)
    hides_extensions: bool = False
    is_cut: bool = False
    control: str = ""
    specs: list[Spec] = field(default_factory=list, repr=False)
    cryptos: list[str] = field(default_factory=list, repr=False)


def read_sdp(data: bytes) -> list[Section]:
    """Read a session description into its sections, the session level first.

    Raises WireError if it has too many.
    """
    session = Section(SESSION_LEVEL)
    sections = [session]
    for line in _lines(data):
        if line.startswith("m="):
            if len(sections) > MAX_SECTIONS:
                raise WireError(f"a description of more than {MAX_SECTIONS} media; not read")
            sections.append(_medium(line, len(sections), session))
        else:
            _take(sections[-1], line)
    return sections


def _lines(data: bytes) -> Iterator[str]:
    return (line.strip() for line in data.decode("utf-8", "replace").split("\n"))


def _medium(line: str, number: int, session: Section) -> Section:
    section = Section(media_level(number, line), number, address=session.address)
    match = _MEDIA.match(line)
    if match is not None:
        section.kind = match[1].lower()
        section.port = _port(match[2])
        section.transport = (match[3] or "").upper()
        section.rtcp_port = min(section.port + 1, 65535) if section.port else 0
    return section


def _take(section: Section, line: str) -> None:
    """Read a line of a section."""
    if line[:2] not in ("a=", "c="):
        return
    if (spec := read_attribute(line)) is not None:
        section.specs.append(spec)
    elif match := _CRYPTO.match(line):
        section.cryptos.append(match[1].strip())
    elif match := _CONNECTION.match(line):
        section.address = match[1]
    elif match := _RTCP.match(line):
        section.rtcp_port = _port(match[1])
        section.rtcp_address = match[2] or ""
    elif line == "a=rtcp-mux":
        section.rtcp_port = section.port
        section.mux = True
    elif line == "a=bundle-only":
        section.bundle_only = True
    elif line.startswith("a=mid:"):
        section.mid = line.removeprefix("a=mid:").strip()
    elif match := _GROUP.match(line):
        section.bundles.append(match[1].split())
    elif match := _CANDIDATE.match(line):
        for address, digits in (match.group(1, 2), match.group(3, 4)):
            port = _port(digits)
            if len(section.candidates) <= MAX_CANDIDATES and port not in (0, _DISCARD):
                section.candidates.append((address, port))
    elif match := _SSRC.match(line):
        _take_ssrc(section, int(match[1]))
    elif match := _KEYED_BY.match(line):
        if (name := _KEYING[match[1]]) not in section.keyed_by:
            section.keyed_by.append(name)
    elif _HIDDEN.match(line):
        section.hides_extensions = True
    elif match := _G711.match(line):
        if int(match[1]) < 128 and int(match[3]):
            section.codecs[int(match[1])] = G711(
                match[2].upper(), int(match[3]), int(match[4] or 1)
            )
    elif line.startswith("a=control:"):
        section.control = line.removeprefix("a=control:").strip()


def _take_ssrc(section: Section, ssrc: int) -> None:
    if ssrc < 1 << 32 and ssrc not in section.ssrcs and len(section.ssrcs) <= MAX_CANDIDATES:
        section.ssrcs.append(ssrc)


def _port(digits: str | None) -> int:
    port = int(digits or 0)
    return port if port < 65536 else 0
