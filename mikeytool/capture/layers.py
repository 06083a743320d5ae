"""Headers around an IP packet that contain its length, and have to change with it.

A `Layer` is recorded for each of them while a frame is read from the outside in; `enclose` corrects
lengths and checksums from the inside out.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from mikeytool.wire.errors import WireError

_LONGEST = 0xFFFF
_GRE_CHECKSUM, _GRE_SEQUENCE, _GRE_ACKNOWLEDGMENT = 0x8000, 0x1000, 0x0080
_HAS_FCS = 0x10


WORTH_FOLDING = 400
"""The octets from which on `folded` saves more than it costs."""
_HALF, _QUARTER, _EIGHTH = 4800, 2400, 1200  # bits of a packet of 1,200 octets; whole words
_HALF_MASK, _QUARTER_MASK, _EIGHTH_MASK = (1 << 4800) - 1, (1 << 2400) - 1, (1 << 1200) - 1


class Layer(NamedTuple):
    """A header at offset `at` of a record; `fix` corrects it in a changed frame.

    `fix` takes the frame and the offset in it. `network` is the offset of the IP header below, for
    UDP only.
    """

    fix: Callable[[bytearray, int, int], None]
    at: int
    network: int = 0


def enclose(frame: bytes, start: int, layers: Sequence[Layer]) -> bytes:
    """Correct the headers around an IP packet that ends with the frame.

    `start` is the offset of the frame in the record in which the layers were noted. Raises
    WireError if the new length does not fit in a header.
    """
    changed = bytearray(frame)
    for fix, at, network in reversed(layers):
        fix(changed, at - start, network - start)
    return bytes(changed)


def words_sum(octets: bytes) -> int:
    """The sum of octets as 16-bit words in one's complement, modulo 2^16 - 1 (RFC 1071).

    That is the number they make, modulo 2^16 - 1.
    """
    (found,) = words_sums((octets,))
    return found


def words_sums(packets: Sequence[bytes]) -> list[int]:
    """`words_sum` of each of some octets, all of one length."""
    # Octets become a number faster from the last to the first, which exchanges the octets of the
    # sum; and an odd last octet is then a word with a zero behind it.
    number = int.from_bytes
    if len(packets[0]) <= WORTH_FOLDING:
        return [number(each, "little") % 0xFFFF * 256 % 0xFFFF for each in packets]
    return [folded(number(each, "little")) % 0xFFFF * 256 % 0xFFFF for each in packets]


def folded(words: int) -> int:
    """A shorter number with the same remainder modulo 2^16 - 1, which divides faster."""
    words = (words >> _HALF) + (words & _HALF_MASK)
    words = (words >> _QUARTER) + (words & _QUARTER_MASK)
    return (words >> _EIGHTH) + (words & _EIGHTH_MASK)


def checksum(octets: bytes | bytearray, start: int = 0) -> int:
    """The Internet checksum (RFC 1071) of octets, with a number added to their sum."""
    words = int.from_bytes(octets + b"\0" * (len(octets) & 1), "big")
    return -(words + start) % 0xFFFF


def fix_ipv4(frame: bytearray, at: int, _network: int) -> None:
    """Total length and header checksum (RFC 791 3.1); a length of 0 stays."""
    if frame[at + 2 : at + 4] == b"\0\0":
        return
    _put(frame, at + 2, len(frame) - at)
    header = (frame[at] & 0x0F) * 4
    _put(frame, at + 10, 0)
    _put(frame, at + 10, checksum(frame[at : at + header]))


def fix_ipv6(frame: bytearray, at: int, _network: int) -> None:
    """Payload length (RFC 8200 3); 0 stays."""
    if frame[at + 4 : at + 6] != b"\0\0":
        _put(frame, at + 4, len(frame) - at - 40)


def fix_udp(frame: bytearray, at: int, network: int) -> None:
    """Length and checksum (RFC 768); an absent checksum stays absent, as in tunnels (RFC 6935)."""
    size = len(frame) - at
    _put(frame, at + 4, size)
    if frame[at + 6 : at + 8] == b"\0\0":
        return
    _put(frame, at + 6, 0)
    _put(frame, at + 6, checksum(frame[at:], _pseudo(frame, network, 17, size)) or 0xFFFF)


def fix_tcp(frame: bytearray, at: int, network: int) -> None:
    """The checksum (RFC 9293 3.1)."""
    _put(frame, at + 16, 0)
    pseudo = _pseudo(frame, network, 6, len(frame) - at)
    _put(frame, at + 16, checksum(frame[at:], pseudo))


def _pseudo(frame: bytearray, network: int, protocol: int, size: int) -> int:
    """The pseudo header, added up."""
    is_v4 = frame[network] >> 4 == 4
    addresses = frame[network + 12 : network + 20] if is_v4 else frame[network + 8 : network + 40]
    return int.from_bytes(addresses, "big") + protocol + size


def fix_gre(frame: bytearray, at: int, _network: int) -> None:
    """The checksum of RFC 2784, or the payload length of RFC 2637."""
    (flags,) = struct.unpack_from("!H", frame, at)
    if flags & 7:
        header = 8 + 4 * bool(flags & _GRE_SEQUENCE) + 4 * bool(flags & _GRE_ACKNOWLEDGMENT)
        _put(frame, at + 4, len(frame) - at - header)
    elif flags & _GRE_CHECKSUM:
        _put(frame, at + 4, 0)
        _put(frame, at + 4, checksum(frame[at:]))


def fix_length(frame: bytearray, at: int, _network: int) -> None:
    """A length of two octets that counts what follows it: IEEE 802.3, and PPPoE (RFC 2516)."""
    _put(frame, at, len(frame) - at - 2)


def fix_gtp(frame: bytearray, at: int, _network: int) -> None:
    """The length of GTP-U (TS 29.281 5.1), which counts what follows the first 8 octets."""
    _put(frame, at + 2, len(frame) - at - 8)


def fix_l2tp(frame: bytearray, at: int, _network: int) -> None:
    """The length of an L2TP message (RFC 2661 3.1), which counts the two octets before it too."""
    _put(frame, at, len(frame) - at + 2)


def fix_netlink(frame: bytearray, at: int, _network: int) -> None:
    """The length of an attribute of Linux netlink, in the order of the machine: little endian."""
    struct.pack_into("<H", frame, at, len(frame) - at)


def fix_radiotap(frame: bytearray, at: int, _network: int) -> None:
    """The flags of radiotap: a changed frame has no frame check sequence."""
    frame[at] &= ~_HAS_FCS


def _put(frame: bytearray, at: int, number: int) -> None:
    if not 0 <= number <= _LONGEST:
        raise WireError(f"a packet of {number} octets is longer than what encloses it can say")
    struct.pack_into("!H", frame, at, number)
