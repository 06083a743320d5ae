"""The interface of a cipher's module: four functions that make sealers and openers.

A sealer turns a clear packet into a protected one, and an opener does the reverse. They know where
their transform puts tag and MKI; the caller handles indices, replay and SSRCs. They are closures
over a cipher and an HMAC. These are set up only once, since the setup takes longer than a packet.
An opener returns None unless the packet has room for MKI and tag and both are right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from mikeytool.srtp.kdf import SessionKeys

# Packet, length of the header in octets, SSRC, index; the ROC is the index shifted right by 16.
RtpSealer = Callable[[bytes, int, int, int], bytes]
RtpOpener = Callable[[bytes, int, int, int], bytes | None]
# Packet, SSRC, and for a sealer the index; an opener reads the index and returns it too.
RtcpSealer = Callable[[bytes, int, int], bytes]
RtcpOpener = Callable[[bytes, int], tuple[bytes, int] | None]
# Packet, SSRC, index, and the part of the packet to encrypt or decrypt.
Crypt = Callable[[bytes, int, int, bytes], bytes]


class Transform(Protocol):
    """The module of a cipher; lengths are in octets, `mki` may be empty."""

    def rtp_sealer(self, keys: SessionKeys, tag_length: int, mki: bytes) -> RtpSealer:
        """Make the sealer of RTP packets."""

    def rtp_opener(self, keys: SessionKeys, tag_length: int, mki: bytes) -> RtpOpener:
        """Make the opener of SRTP packets."""

    def rtcp_sealer(self, keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpSealer:
        """Make the sealer of RTCP packets."""

    def rtcp_opener(self, keys: SessionKeys, tag_length: int, mki: bytes) -> RtcpOpener:
        """Make the opener of SRTCP packets."""
