"""The link types of captures, with the headers that begin their frames.

The numbers are those of https://www.tcpdump.org/linktypes.html. A step is as in `encapsulations`,
but starts at the beginning of the frame.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping

from mikeytool.capture.encapsulations import (
    IP,
    LLC,
    PPP,
    PPPOE,
    Found,
    Next,
    Step,
    ethernet,
)
from mikeytool.capture.layers import Layer, fix_netlink
from mikeytool.capture.wlan import ieee_802_11, prism, radiotap

ETHERNET, RAW, LINUX_COOKED = 1, 101, 113
EXPORTED_PDU = 252
_u16 = struct.Struct("!H").unpack_from
_802_2 = 4  # in Linux cooked captures
_NFULA_PAYLOAD = 9
_MOST_ATTRIBUTES = 64


def _raw(_raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    return Next(IP, at, end)


def _loopback(_raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """BSD loopback: the address family, whose number depends on the system."""
    return Next(IP, at + 4, end)


def _cooked(kind_at: int, size: int) -> Step:
    """Linux cooked: a header of `size` octets with the EtherType at `kind_at`."""

    def step(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
        if end - at < size:
            return None
        (kind,) = _u16(raw, at + kind_at)
        return Next(LLC if kind == _802_2 else kind, at + size, end)

    return step


def _ppp(_raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    return Next(PPP, at, end)


def _pppoe(_raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    return Next(PPPOE, at, end)


def _cisco_hdlc(raw: bytes, at: int, end: int, _layers: list[Layer]) -> Found:
    """Address, control and EtherType; also PPP, which has another address."""
    if end - at < 4:
        return None
    if raw[at : at + 2] == b"\xff\x03":
        return Next(PPP, at, end)
    return Next(_u16(raw, at + 2)[0], at + 4, end)


def _ppi(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """Per-Packet Information: a header of some length, then a frame of another link type."""
    if end - at < 8:
        return None
    length, link = struct.unpack_from("<HI", raw, at + 2)
    step = None if link == _PPI else LINK_TYPES.get(link)
    return unread_link(link) if step is None else step(raw, at + length, end, layers)


def _nflog(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """Linux netfilter log: attributes, one of which is the packet."""
    at += 4
    for _ in range(_MOST_ATTRIBUTES):
        if end - at < 4:
            return None
        length, kind = struct.unpack_from("<HH", raw, at)
        if length < 4:
            return None
        if kind & 0x7FFF == _NFULA_PAYLOAD:
            layers.append(Layer(fix_netlink, at))
            return Next(IP, at + 4, min(end, at + length))
        at += length + -length % 4
    return None


_PPI = 192
_MOST_SHOWN = 8

LINK_TYPES: dict[int, Step] = {
    0: _loopback,
    ETHERNET: ethernet,
    9: _ppp,
    12: _raw,  # what some systems write for 101
    14: _raw,
    50: _ppp,
    51: _pppoe,
    RAW: _raw,
    104: _cisco_hdlc,
    105: ieee_802_11,
    108: _loopback,
    LINUX_COOKED: _cooked(14, 16),
    119: prism,
    127: radiotap,
    163: prism,
    _PPI: _ppi,
    228: _raw,
    229: _raw,
    239: _nflog,
    276: _cooked(0, 20),
}
"""The supported link types, except EXPORTED_PDU, which has no frames."""

_NAMES = {
    6: "Token Ring", 10: "FDDI", 107: "Frame Relay", 129: "Linux ARCNET", 138: "FireWire",
    147: "USER0", 148: "USER1", 149: "USER2", 177: "Linux LAPD", 187: "Bluetooth HCI H4",
    195: "IEEE 802.15.4", 201: "Bluetooth HCI", 220: "USB", 227: "CAN", 230: "IEEE 802.15.4",
    248: "SCTP", 249: "USBPcap", 253: "netlink", 258: "PKTAP",
}  # fmt: skip


def unread_link(link: int) -> str:
    """Name a link type that is not read."""
    name = _NAMES.get(link)
    return f"link type {link} ({name})" if name else f"link type {link}"


def unread_frames(counts: Mapping[str, int]) -> str:
    """Write how many frames of each kind are not read, the most frequent kind first."""
    return ", ".join(f"{count} {name}" for name, count in Counter(counts).most_common(_MOST_SHOWN))
