"""Tags that carry the rollover counter (RFC 4771).

The tag of a packet whose sequence number is a multiple of the rate begins with the ROC of its
sender. The usual MAC over the packet and the ROC follows, except in mode 3. With AES-GCM the ROC
follows everything else, and the cipher's own tag verifies it, since it is part of the IV (RFC 7714
7.1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mikeytool.srtp.interface import RtpOpener, RtpSealer
from mikeytool.srtp.suites import ROC_LENGTH, Cipher, Suite

F = TypeVar("F", RtpSealer, RtpOpener)


def rtp_sealer(suite: Suite, usual: Callable[[int], RtpSealer]) -> RtpSealer:
    """Make the sealer of RTP packets; `usual` makes one without ROC for a given tag length."""
    carrying, plain, mac, rate = _parts(suite, usual)

    def seal(packet: bytes, start: int, ssrc: int, index: int) -> bytes:
        if (index & 0xFFFF) % rate:
            return plain(packet, start, ssrc, index)
        sealed = carrying(packet, start, ssrc, index)
        at = len(sealed) - mac
        return sealed[:at] + (index >> 16).to_bytes(ROC_LENGTH, "big") + sealed[at:]

    return seal


def rtp_opener(suite: Suite, usual: Callable[[int], RtpOpener]) -> RtpOpener:
    """Make the opener of SRTP packets; a packet that carries a ROC is opened only with that ROC."""
    carrying, plain, mac, rate = _parts(suite, usual)

    def open_(packet: bytes, start: int, ssrc: int, index: int) -> bytes | None:
        if (index & 0xFFFF) % rate:
            return plain(packet, start, ssrc, index)
        at = len(packet) - mac - ROC_LENGTH
        if at < start or int.from_bytes(packet[at : at + ROC_LENGTH], "big") != index >> 16:
            return None
        return carrying(packet[:at] + packet[at + ROC_LENGTH :], start, ssrc, index)

    return open_


def carried_roc(suite: Suite, packet: bytes, sequence: int) -> int | None:
    """The ROC that a packet carries; None if its sequence number rules one out."""
    rcc = suite.rcc
    if rcc is None or sequence % rcc.rate:
        return None
    at = len(packet) - _mac_length(suite) - ROC_LENGTH
    return int.from_bytes(packet[at : at + ROC_LENGTH], "big") if at > 0 else None


def behind_mki(suite: Suite, sequence: int) -> int:
    """The number of octets after the MKI in an RTP packet with that sequence number."""
    own = 0 if suite.cipher is Cipher.AES_GCM else suite.rtp_tag_length
    if suite.rcc is None:
        return own
    if sequence % suite.rcc.rate == 0:
        return suite.rcc.tag_length
    return suite.rcc.tag_length if suite.rcc.mode == 2 else 0


def _mac_length(suite: Suite) -> int:
    """The number of octets after the ROC."""
    return 0 if suite.rcc is None or suite.cipher is Cipher.AES_GCM else suite.rcc.mac_length


def _parts(suite: Suite, usual: Callable[[int], F]) -> tuple[F, F, int, int]:
    """The functions for packets with and without ROC, the octets after the ROC, and the rate."""
    rcc = suite.rcc
    assert rcc is not None  # noqa: S101
    mac = _mac_length(suite)
    if suite.cipher is Cipher.AES_GCM:
        each = usual(suite.rtp_tag_length)
        return each, each, mac, rcc.rate
    return usual(mac), usual(rcc.tag_length if rcc.mode == 2 else 0), mac, rcc.rate
