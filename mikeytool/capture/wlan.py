"""Wireless LANs: IEEE 802.11 data frames, and the headers that capture programs put before them."""

from __future__ import annotations

import struct

from mikeytool.capture.encapsulations import LLC, Found, Next
from mikeytool.capture.layers import Layer, fix_radiotap

_DATA = 2
_NO_DATA, _QOS = 0x40, 0x80  # in the first octet of a data frame
_ORDER, _PROTECTED, _BOTH_DS = 0x80, 0x40, 0x03  # in the second
_A_MSDU = 0x80
_TSFT, _FLAGS, _MORE = 1 << 0, 1 << 1, 1 << 31
_PADDED = 0x20
_MOST_BITMAPS = 32


def ieee_802_11(raw: bytes, at: int, end: int, _layers: list[Layer], padded: int = 1) -> Found:
    """A data frame (IEEE 802.11 9.3.2), its header padded to a multiple of some octets."""
    if end - at < 24 or raw[at] >> 2 & 3 != _DATA or raw[at] & _NO_DATA:
        return None
    kind, flags = raw[at], raw[at + 1]
    size = 24
    if flags & _BOTH_DS == _BOTH_DS:
        size += 6
    if flags & _PROTECTED:
        return "802.11 frames that are encrypted"
    if kind & _QOS:
        if end - at < size + 2:
            return None
        if raw[at + size] & _A_MSDU:
            return "802.11 A-MSDU"
        size += 2
        if flags & _ORDER:
            size += 4
    return Next(LLC, at + size + -size % padded, end)


def radiotap(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """A radiotap header, and the frame behind it."""
    if end - at < 8:
        return None
    (length,) = struct.unpack_from("<H", raw, at + 2)
    behind = at + length
    fields = at + 4
    for _ in range(_MOST_BITMAPS):
        if fields + 4 > min(behind, end):
            return None
        (present,) = struct.unpack_from("<I", raw, fields)
        fields += 4
        if not present & _MORE:
            break
    (present,) = struct.unpack_from("<I", raw, at + 4)
    if not present & _FLAGS:
        return ieee_802_11(raw, behind, end, layers)
    if present & _TSFT:
        fields += -(fields - at) % 8 + 8
    if fields >= min(behind, end):
        return None
    layers.append(Layer(fix_radiotap, fields))
    padded = 4 if raw[fields] & _PADDED else 1
    return ieee_802_11(raw, behind, end, layers, padded)


def prism(raw: bytes, at: int, end: int, layers: list[Layer]) -> Found:
    """The header of Prism cards or of AVS, which has its length in its own byte order."""
    if end - at < 8:
        return None
    order = ">" if raw[at : at + 2] == b"\x80\x21" else "<"
    (length,) = struct.unpack_from(f"{order}I", raw, at + 4)
    return ieee_802_11(raw, at + length, end, layers)
