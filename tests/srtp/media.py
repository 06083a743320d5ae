"""Packets and keys that the tests of this folder share."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterable, Iterator

from hypothesis import strategies as st

from mikeytool.srtp import SUITES, MasterKey, Receiver, Sender, Suite
from mikeytool.wire.errors import MikeyError

SSRC = 0xCAFEBABE


def master_key(suite: Suite, seed: int = 1, mki: bytes = b"") -> MasterKey:
    source = random.Random(seed)
    return MasterKey(source.randbytes(suite.key_length), source.randbytes(suite.salt_length), mki)


def rtp(
    sequence: int,
    payload: bytes = b"twenty milliseconds!",
    *,
    ssrc: int = SSRC,
    csrcs: tuple[int, ...] = (),
    extension: bytes | None = None,
    padding: int = 0,
    marker: bool = False,
) -> bytes:
    first = 0x80 | bool(padding) << 5 | (extension is not None) << 4 | len(csrcs)
    second = marker << 7 | 8
    header = struct.pack(
        "!BBHII", first, second, sequence & 0xFFFF, 160 * (sequence & 0xFFFF), ssrc
    )
    header += b"".join(struct.pack("!I", each) for each in csrcs)
    if extension is not None:
        header += struct.pack("!HH", 0xBEDE, len(extension) // 4) + extension
    return header + payload + (bytes(padding - 1) + bytes([padding]) if padding else b"")


def rtcp(words: int = 5, *, ssrc: int = SSRC, kind: int = 200, filler: int = 0x5A) -> bytes:
    return struct.pack("!BBHI", 0x80, kind, 1 + words, ssrc) + bytes([filler]) * (4 * words)


def random_rtp(source: random.Random, sequence: int, ssrc: int = SSRC) -> bytes:
    return rtp(
        sequence,
        source.randbytes(source.randrange(0, 300)),
        ssrc=ssrc,
        csrcs=tuple(source.getrandbits(32) for _ in range(source.choice((0, 0, 1, 15)))),
        extension=source.choice((None, None, b"", source.randbytes(4 * source.randrange(9)))),
        padding=source.choice((0, 0, 1, 4, 255)),
        marker=source.random() < 0.5,
    )


suites = st.sampled_from(list(SUITES.values()))
words = st.integers(0, 0xFFFF_FFFF)
rtp_packets = st.builds(
    rtp,
    st.integers(0, 0xFFFF),
    st.binary(max_size=200),
    ssrc=words,
    csrcs=st.lists(words, max_size=15).map(tuple),
    extension=st.none() | st.binary(max_size=32).map(lambda data: data[: len(data) // 4 * 4]),
    padding=st.integers(0, 255),
    marker=st.booleans(),
)
rtcp_packets = st.builds(
    rtcp,
    st.integers(0, 40),
    ssrc=words,
    kind=st.integers(192, 223),
    filler=st.integers(0, 255),
)
packets = rtp_packets | rtcp_packets


def protect_all(sender: Sender, packets: Iterable[bytes]) -> Iterator[bytes]:
    """Protect packets one after the other."""
    return map(sender.protect, packets)


def unprotect_all(receiver: Receiver, packets: Iterable[bytes]) -> Iterator[bytes | MikeyError]:
    """Unprotect packets one after the other; the error of one that fails is in its place."""
    for packet in packets:
        try:
            yield receiver.unprotect(packet)
        except MikeyError as error:
            yield error
