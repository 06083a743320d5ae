"""libsrtp at the other end: what it protects is read here, and the other way round.

It has AES-CM with 128-bit keys and AES-GCM; the tests of each cipher have the RFCs' vectors
and packets laid out by hand for the others.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from pylibsrtp import Error, Policy, Session

from mikeytool.srtp import Receiver, Sender, Suite, is_rtcp, suite
from mikeytool.wire.errors import MikeyError
from tests.srtp.media import protect_all, unprotect_all

from .media import master_key, random_rtp, rtcp

EACH = pytest.mark.parametrize(
    ("name", "profile"),
    [
        ("AES_CM_128_HMAC_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
        ("AES_CM_128_HMAC_SHA1_32", Policy.SRTP_PROFILE_AES128_CM_SHA1_32),
        ("AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
        ("AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM),
    ],
)
WINDOW = 128  # of libsrtp for SRTCP, which cannot be changed


def peer(suite: Suite, profile: int, direction: int) -> Any:
    key = master_key(suite)
    policy = Policy(key=key.key + key.salt, ssrc_type=direction, srtp_profile=profile)
    policy.window_size = WINDOW
    return Session(policy)


def conversation(steps: tuple[int, ...] = (1, 1, 1, 2, 5), seed: int = 5) -> list[bytes]:
    """Packets of three SSRCs, RTP over wraps of the sequence number and with losses, and RTCP."""
    source = random.Random(seed)
    batch = []
    sequence = 0xFF00
    for _ in range(600):
        sequence += source.choice(steps)
        ssrc = source.randrange(1, 4)
        batch.append(random_rtp(source, sequence, ssrc))
        if source.random() < 0.2:
            first = rtcp(source.randrange(20), ssrc=ssrc, kind=source.choice((200, 201)))
            more = [rtcp(source.randrange(9), ssrc=9, kind=kind) for kind in (202, 203, 204, 206)]
            batch.append(first + b"".join(more[: source.randrange(5)]))
    assert sequence > 0x10100
    return batch


# The second goes through many values of the ROC.
CONVERSATIONS = pytest.mark.parametrize("steps", [(1, 1, 1, 2, 5), (1, 300, 2000)])


@EACH
@CONVERSATIONS
def test_the_peer_reads_what_is_protected_here(
    name: str, profile: int, steps: tuple[int, ...]
) -> None:
    session = peer(suite(name), profile, Policy.SSRC_ANY_INBOUND)
    sender = Sender(suite(name), master_key(suite(name)))
    for packet in conversation(steps):
        protected = sender.protect(packet)
        read = session.unprotect_rtcp if is_rtcp(packet) else session.unprotect
        assert read(protected) == packet


@EACH
@CONVERSATIONS
def test_what_the_peer_protects_is_read_here(
    name: str, profile: int, steps: tuple[int, ...]
) -> None:
    session = peer(suite(name), profile, Policy.SSRC_ANY_OUTBOUND)
    clear = conversation(steps)
    protected = [
        session.protect_rtcp(packet) if is_rtcp(packet) else session.protect(packet)
        for packet in clear
    ]
    receiver = Receiver(suite(name), [master_key(suite(name))])
    assert list(unprotect_all(receiver, protected)) == clear
    if len(steps) == 3:
        assert max(highest.rtp for highest in receiver.highest.values()) >> 16 > 5


@EACH
@CONVERSATIONS
def test_both_protect_rtp_to_the_same_octets(
    name: str, profile: int, steps: tuple[int, ...]
) -> None:
    session = peer(suite(name), profile, Policy.SSRC_ANY_OUTBOUND)
    clear = [packet for packet in conversation(steps) if not is_rtcp(packet)]
    sender = Sender(suite(name), master_key(suite(name)))
    assert list(protect_all(sender, clear)) == [session.protect(packet) for packet in clear]


@EACH
@pytest.mark.parametrize("seed", range(5))
def test_both_take_and_refuse_the_same_packets(name: str, profile: int, seed: int) -> None:
    source = random.Random(seed)
    sender = Sender(suite(name), master_key(suite(name)))
    arriving = [(source.gauss(n, 30), p) for n, p in enumerate(map(sender.protect, conversation()))]
    # A first packet of each source in time: before it nothing says what is late.
    arriving[:20] = [(-1000 + n, packet) for n, (_, packet) in enumerate(arriving[:20])]
    arriving += [(source.gauss(n, 30), p) for n, p in arriving if source.random() < 0.2]
    arriving += [(n + 1, flipped(source, p)) for n, p in arriving if source.random() < 0.1]
    arriving.sort(key=lambda pair: pair[0])
    session = peer(suite(name), profile, Policy.SSRC_ANY_INBOUND)
    receiver = Receiver(suite(name), [master_key(suite(name))], window=WINDOW)
    taken = 0
    for _, packet in arriving:
        read = session.unprotect_rtcp if is_rtcp(packet) else session.unprotect
        try:
            expected = read(packet)
        except Error:
            with pytest.raises(MikeyError):
                receiver.unprotect(packet)
        else:
            assert receiver.unprotect(packet) == expected
            taken += 1
    assert len(arriving) / 2 < taken < len(arriving)


def flipped(source: random.Random, packet: bytes) -> bytes:
    """The packet with one bit changed."""
    bit = source.randrange(8 * len(packet))
    return (int.from_bytes(packet) ^ 1 << bit).to_bytes(len(packet))
