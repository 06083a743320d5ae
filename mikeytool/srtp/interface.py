"""The interface of a cipher's module: four functions that make sealers and openers.

A sealer turns a clear packet into a protected one, and an opener does the reverse. They know where
their transform puts tag and MKI; the caller handles indices, replay and SSRCs. They are closures
over a cipher and an HMAC. These are set up only once, since the setup takes longer than a packet.
An opener returns None unless the packet has room for MKI and tag and both are right.

The modules of the ciphers that most streams have also make an opener of many packets at once, where
they are alike: see `Run`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from mikeytool.srtp.kdf import SessionKeys

# Packet, length of the header in octets, SSRC, index; the ROC is the index shifted right by 16.
RtpSealer = Callable[[bytes, int, int, int], bytes]
RtpOpener = Callable[[bytes, int, int, int], bytes | None]
# Packet, SSRC, and for a sealer the index; an opener reads the index and returns it too.
RtcpSealer = Callable[[bytes, int, int], bytes]
RtcpOpener = Callable[[bytes, int], tuple[bytes, int] | None]
# Packet, SSRC, index, and the part of the packet to encrypt or decrypt.
Crypt = Callable[[bytes, int, int, bytes], bytes]


class Run(NamedTuple):
    """SRTP packets of one stream and one length, each at the end of a record of `stride` octets.

    The first record begins at `data[at]`, and each packet `head` octets after the beginning of its
    record. `packets` says how many there are. Each has the index after that of the one before,
    under the same ROC, and `first` is the first index. All have plain headers.
    """

    data: bytes
    at: int
    stride: int
    head: int
    packets: int
    ssrc: int
    first: int

    def slices(self, layout: str) -> Iterator[tuple[bytes, ...]]:
        """Parts of each packet; `layout` is a format of `struct` for a packet, with `s` and `x`."""
        records = memoryview(self.data)[self.at : self.at + self.packets * self.stride]
        return struct.iter_unpack(f"{self.head}x{layout}", records)

    def column(self, place: int) -> bytes:
        """The octet at one place of each packet."""
        stop = self.at + self.packets * self.stride
        return self.data[self.at + self.head + place : stop : self.stride]


# Returns the clear packets, up to the first that does not verify.
RunOpener = Callable[[Run], list[bytes]]


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
