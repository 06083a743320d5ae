"""Encrypted header extensions and CSRCs (Cryptex, RFC 9335).

The "defined by profile" field marks such a packet: 0xC0DE stands for 0xBEDE, and 0xC2DE for 0x1000.
The extension's 4-octet header and the fixed header stay readable. Everything else is encrypted in
one piece, CSRCs first.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mikeytool.srtp.interface import Crypt, RtpOpener, RtpSealer
from mikeytool.srtp.packet import RTP_HEADER

F = TypeVar("F")

EXTENSION_HEADER = 4
HAS_EXTENSION = 0x10
_ENCRYPTED_FORMS = {b"\xbe\xde": b"\xc0\xde", b"\x10\x00": b"\xc2\xde"}
_CLEAR_FORMS = {encrypted: clear for clear, encrypted in _ENCRYPTED_FORMS.items()}


def is_cryptex(packet: bytes) -> bool:
    """Whether the complete header of an RTP packet has the mark of Cryptex."""
    return bool(packet[0] & HAS_EXTENSION) and _profile(packet) in _CLEAR_FORMS


def marked(packet: bytes) -> bytes | None:
    """An RTP packet with the mark of Cryptex, for a sealer; None if there is nothing to mark.

    There is nothing to mark without CSRCs and extension, or if the extension is not one of RFC
    8285. A packet with CSRCs alone gets an empty extension (5.1).
    """
    at = _profile_at(packet)
    if packet[0] & HAS_EXTENSION:
        form = _ENCRYPTED_FORMS.get(_profile(packet))
        return None if form is None else packet[:at] + form + packet[at + 2 :]
    if at == RTP_HEADER:
        return None
    first = bytes([packet[0] | HAS_EXTENSION])
    return first + packet[1:at] + b"\xc0\xde\0\0" + packet[at:]


def _unmarked(packet: bytes) -> bytes:
    """An opened packet with the RFC 8285 profile of its extension restored."""
    at = _profile_at(packet)
    return packet[:at] + _CLEAR_FORMS[packet[at : at + 2]] + packet[at + 2 :]


def unmarking(open_: RtpOpener) -> RtpOpener:
    """Make an opener that removes the mark from the packets that another one opens."""

    def open_unmarked(packet: bytes, start: int, ssrc: int, index: int) -> bytes | None:
        opened = open_(packet, start, ssrc, index)
        return None if opened is None else _unmarked(opened)

    return open_unmarked


def crypt_header(crypt: Crypt) -> Crypt:
    """Make a cipher for everything after the fixed header except the extension's header."""

    def crypt_all(packet: bytes, ssrc: int, index: int, data: bytes) -> bytes:
        csrcs = _profile_at(packet) - RTP_HEADER
        behind = csrcs + EXTENSION_HEADER
        done = crypt(packet, ssrc, index, data[:csrcs] + data[behind:])
        return done[:csrcs] + data[csrcs:behind] + done[csrcs:]

    return crypt_all


def from_fixed_header(process: Callable[[bytes, int, int, int], F]) -> Callable[..., F]:
    """Make a sealer or opener that always begins after the fixed header."""

    def from_there(packet: bytes, start: int, ssrc: int, index: int) -> F:
        return process(packet, RTP_HEADER, ssrc, index)

    return from_there


def aead_sealer(seal: RtpSealer) -> RtpSealer:
    """Wrap the usual AES-GCM sealer, so that it sees the packet as in figure 2."""

    def seal_all(packet: bytes, start: int, ssrc: int, index: int) -> bytes:
        sealed = seal(_swapped(packet), RTP_HEADER + EXTENSION_HEADER, ssrc, index)
        return _swapped_back(sealed)

    return seal_all


def aead_opener(open_: RtpOpener) -> RtpOpener:
    """Wrap the usual AES-GCM opener in the same way."""

    def open_all(packet: bytes, start: int, ssrc: int, index: int) -> bytes | None:
        opened = open_(_swapped(packet), RTP_HEADER + EXTENSION_HEADER, ssrc, index)
        return None if opened is None else _swapped_back(opened)

    return open_all


def _swapped(packet: bytes) -> bytes:
    """Move the extension's header before the CSRCs, so that the encrypted part is in one piece."""
    at = _profile_at(packet)
    behind = at + EXTENSION_HEADER
    return packet[:RTP_HEADER] + packet[at:behind] + packet[RTP_HEADER:at] + packet[behind:]


def _swapped_back(packet: bytes) -> bytes:
    at, behind = _profile_at(packet), RTP_HEADER + EXTENSION_HEADER
    after = at + EXTENSION_HEADER
    return packet[:RTP_HEADER] + packet[behind:after] + packet[RTP_HEADER:behind] + packet[after:]


def _profile_at(packet: bytes) -> int:
    return RTP_HEADER + 4 * (packet[0] & 0x0F)


def _profile(packet: bytes) -> bytes:
    at = _profile_at(packet)
    return packet[at : at + 2]
