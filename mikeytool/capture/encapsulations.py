"""What lies between the link and the IP packet of interest: tags, tunnels, mirrored traffic.

One table lists every supported encapsulation by EtherType; two more lead into it, by IP protocol
and by UDP port. A step reads one header. It takes the record, the offset after the type that led to
it, and the end of its content, and returns what comes next. A text means that the header is known
but cannot be read; None means that it is something else. Headers with the length of the packet are
recorded as `Layer`s.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from mikeytool.capture.layers import Layer, fix_gre, fix_gtp, fix_l2tp, fix_length

IP = 0x0800
"""EtherType of IPv4; here also of IPv6, since the first four bits tell them apart."""
IPV6 = 0x86DD
TRANSPARENT_ETHERNET = 0x6558
PPP = 0x880B
PPPOE = 0x8864
MPLS = 0x8847
ERSPAN_2, ERSPAN_3 = 0x88BE, 0x22EB
LLC = -1
"""Used instead of an EtherType for IEEE 802.2."""
SHORTEST_TYPE = 0x0600
"""The lowest EtherType; a lower number is a length (IEEE 802.3)."""

_MOST_LABELS = 16
_MOST_GTP_EXTENSIONS = 16
_u16 = struct.Struct("!H").unpack_from


class Next(NamedTuple):
    """What comes next: its EtherType, its offset in the record, and where it ends."""

    kind: int
    at: int
    end: int


Found = Next | str | None
Step = Callable[[bytes, int, int, list[Layer]], Found]


def ethernet(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """An Ethernet frame from its destination address on."""
    return typed(raw, at + 12, end, layers)


def typed(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """An EtherType, or a length followed by 802.2."""
    if end - at < 2:
        return None
    (kind,) = _u16(raw, at)
    if kind >= SHORTEST_TYPE:
        return Next(kind, at + 2, end)
    layers.append(Layer(fix_length, at))
    return Next(LLC, at + 2, min(end, at + 2 + kind))


def _tag(size: int) -> Step:
    """A tag of `size` octets after its type, followed by another type."""
    return lambda raw, at, end, layers: typed(raw, at + size, end, layers)


def _llc(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """IEEE 802.2, with SNAP (RFC 1042) or IP's own number."""
    if raw[at : at + 3] == b"\xaa\xaa\x03" and end - at >= 8:
        (kind,) = _u16(raw, at + 6)
        return Next(kind, at + 8, end) if raw[at + 3 : at + 6] in (b"\0\0\0", b"\0\0\xf8") else None
    return Next(IP, at + 3, end) if raw[at : at + 3] == b"\x06\x06\x03" else None


def _mpls(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """A stack of labels (RFC 3032), then IP, or Ethernet with or without a control word."""
    for _ in range(_MOST_LABELS):
        if end - at < 5:
            return None
        is_last = raw[at + 2] & 1
        at += 4
        if is_last:
            nibble = raw[at] >> 4
            if nibble in (4, 6):
                return Next(IP, at, end)
            return ethernet(raw, at + 4 if nibble == 0 else at, end, layers)
    return None


def _pppoe(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """The session stage of PPPoE (RFC 2516 5)."""
    if end - at < 6 or raw[at] != 0x11 or raw[at + 1]:
        return None
    (length,) = _u16(raw, at + 4)
    layers.append(Layer(fix_length, at + 4))
    return Next(PPP, at + 6, min(end, at + 6 + length))


def _ppp(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """PPP (RFC 1661 2), with or without address and control, with protocols of 1 or 2 octets."""
    if raw[at : at + 2] == b"\xff\x03":
        at += 2
    if end - at < 3:
        return None
    if raw[at] & 1:
        protocol, at = raw[at], at + 1
    else:
        (protocol,) = _u16(raw, at)
        at += 2
    kind = {0x0021: IP, 0x0057: IP, 0x0281: MPLS}.get(protocol)
    return None if kind is None else Next(kind, at, end)


def _gre(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """GRE (RFC 2784, 2890) and the GRE of PPTP (RFC 2637 4.1)."""
    if end - at < 4:
        return None
    flags, kind = struct.unpack_from("!HH", raw, at)
    layers.append(Layer(fix_gre, at))
    has_sequence = bool(flags & 0x1000)
    if flags & 7 == 1:
        behind = at + 8 + 4 * has_sequence + 4 * bool(flags & 0x0080)
    elif flags & 0x4007:  # source routing (RFC 1701), or another version
        return None
    else:
        behind = at + 4 + 4 * (bool(flags & 0x8000) + bool(flags & 0x2000) + has_sequence)
    if kind == ERSPAN_2 and not has_sequence:
        kind = TRANSPARENT_ETHERNET  # type I has no header
    return Next(kind, behind, end)


def _erspan_3(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """ERSPAN type III, with a platform-specific header if a bit says so."""
    if end - at < 12:
        return None
    (bits,) = _u16(raw, at + 10)
    kind = {0: TRANSPARENT_ETHERNET, 2: IP}.get(bits >> 10 & 0x1F)
    return None if kind is None else Next(kind, at + 12 + 8 * (bits & 1), end)


def _vxlan(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """VXLAN (RFC 7348 5)."""
    return Next(TRANSPARENT_ETHERNET, at + 8, end) if raw[at] == 0x08 else None


def _vxlan_gpe(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """VXLAN-GPE, which names the protocol inside."""
    if end - at < 8 or raw[at] & 0xCC != 0x0C:
        return None
    kind = {1: IP, 2: IP, 3: TRANSPARENT_ETHERNET, 5: MPLS}.get(raw[at + 3])
    return None if kind is None else Next(kind, at + 8, end)


def _geneve(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """Geneve (RFC 8926 3.4)."""
    if end - at < 8 or raw[at] >> 6:
        return None
    (kind,) = _u16(raw, at + 2)
    return Next(kind, at + 8 + 4 * (raw[at] & 0x3F), end)


def _gtp(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """A user packet in GTP-U (TS 29.281 5)."""
    if end - at < 8 or raw[at] >> 4 != 3 or raw[at + 1] != 255:
        return None
    (length,) = _u16(raw, at + 2)
    stop = min(end, at + 8 + length)
    layers.append(Layer(fix_gtp, at))
    if not raw[at] & 7:
        return Next(IP, at + 8, stop)
    behind = at + 12
    following = raw[at + 11] if raw[at] & 4 and behind <= stop else 0
    for _ in range(_MOST_GTP_EXTENSIONS):
        if not following:
            return Next(IP, behind, stop)
        size = raw[behind] * 4 if behind < stop else 0
        if not size or behind + size > stop:
            return None
        behind += size
        following = raw[behind - 1]
    return None


def _tzsp(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """Ethernet that a router or an access point mirrors in TZSP."""
    if raw[at : at + 1] != b"\x01" or raw[at + 2 : at + 4] != b"\0\x01":
        return None
    at += 4
    while at < end and raw[at] != 1:
        at += 1 if raw[at] == 0 or at + 1 >= end else 2 + raw[at + 1]
    return Next(TRANSPARENT_ETHERNET, at + 1, end)


def _l2tp(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """PPP in a data message of L2TP (RFC 2661 3.1)."""
    if end - at < 6 or raw[at + 1] & 0x0F != 2 or raw[at] & 0x80:
        return None
    has_length, has_sequence, has_offset = (raw[at] & bit for bit in (0x40, 0x08, 0x02))
    behind = at + 6
    if has_length:
        layers.append(Layer(fix_l2tp, at + 2))
        behind += 2
    behind += 4 * bool(has_sequence)
    if has_offset:
        behind += 2 + (_u16(raw, behind)[0] if end - behind >= 2 else 0)
    return Next(PPP, behind, end)


def _l2tp_3(_raw: bytes, _at: int, _end: int, _layers: list[Layer]) -> Found:
    return "L2TPv3"  # the length of its cookie is in no packet (RFC 3931 4.1.2.1)


def _teredo(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """IPv6 behind an authentication and an origin indication, or neither (RFC 4380 5.1.1)."""
    if raw[at : at + 2] == b"\0\1" and end - at >= 4:
        at += 13 + raw[at + 2] + raw[at + 3]
    if raw[at : at + 2] == b"\0\0":
        at += 8
    return Next(IPV6, at, end) if end - at >= 40 and raw[at] >> 4 == 6 else None


def _capwap(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """Ethernet in a data message of CAPWAP (RFC 5415 4.3); 802.11 in it is only named."""
    if raw[at : at + 4] == b"\1\0\0\0":
        return "CAPWAP in DTLS"
    if end - at < 8 or raw[at]:
        return None
    size = (raw[at + 1] >> 3) * 4
    (bits,) = _u16(raw, at + 2)
    if size < 8:
        return None
    if bits & 0x80:
        return "CAPWAP fragments"
    return "802.11 in CAPWAP" if bits & 0x100 else Next(TRANSPARENT_ETHERNET, at + size, end)


def _macsec(_raw: bytes, _at: int, _end: int, _layers: list[Layer]) -> Found:
    return "MACsec"


def _esp(_raw: bytes, _at: int, _end: int, _layers: list[Layer]) -> Found:
    return "ESP"  # encrypted, with keys that are in no packet (RFC 4303)


ENCAPSULATIONS: dict[int, Step] = {
    0x8100: _tag(2),  # IEEE 802.1Q
    0x88A8: _tag(2),  # 802.1ad
    0x9100: _tag(2),
    0x9200: _tag(2),
    0x893F: _tag(6),  # 802.1BR
    0x8926: _tag(4),  # VN-Tag
    0x88E7: lambda raw, at, end, layers: ethernet(raw, at + 4, end, layers),  # 802.1ah
    0x88E5: _macsec,
    LLC: _llc,
    MPLS: _mpls,
    0x8848: _mpls,
    PPPOE: _pppoe,
    PPP: _ppp,
    TRANSPARENT_ETHERNET: ethernet,
    ERSPAN_2: lambda raw, at, end, layers: ethernet(raw, at + 8, end, layers),
    ERSPAN_3: _erspan_3,
}
"""By EtherType."""

IP_TUNNELS: dict[int, Step] = {
    4: lambda _raw, at, end, _layers: Next(IP, at, end),  # RFC 2003
    41: lambda _raw, at, end, _layers: Next(IP, at, end),  # RFC 2473, RFC 4213
    47: _gre,
    50: _esp,
    97: lambda raw, at, end, layers: ethernet(raw, at + 2, end, layers),  # RFC 3378
    115: _l2tp_3,
    137: _mpls,  # RFC 4023
}
"""By IP protocol."""

UDP_TUNNELS: dict[bytes, Step] = {
    port.to_bytes(2): step
    for port, step in (
        (1701, _l2tp),
        (2152, _gtp),
        (3544, _teredo),
        (4789, _vxlan),
        (8472, _vxlan),  # the port used before it had its own
        (4790, _vxlan_gpe),
        (5247, _capwap),
        (6081, _geneve),
        (6635, _mpls),  # RFC 7510
        (37008, _tzsp),
    )
}
"""By destination port. None of their headers begins like RTP, with an octet of 128 or more."""

UDP_SERVERS = {port: UDP_TUNNELS[port] for port in (b"\x0d\xd8", b"\x14\x7f")}
"""By source port: those whose other end has any port, Teredo and CAPWAP."""
