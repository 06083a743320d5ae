"""libsrtp at the other end: what it protects is read here, and the other way round.

It has AES-CM with 128-bit keys and AES-GCM; the tests of each cipher have the RFCs' vectors
and packets laid out by hand for the others.
"""

from __future__ import annotations

import random
from typing import Any

import pytest
from pylibsrtp import Policy, Session

from mikeytool.srtp import Receiver, Sender, Suite, is_rtcp, suite

from .media import master_key, random_rtp, rtcp

PROFILES = [
    ("AES_CM_128_HMAC_SHA1_80", Policy.SRTP_PROFILE_AES128_CM_SHA1_80),
    ("AES_CM_128_HMAC_SHA1_32", Policy.SRTP_PROFILE_AES128_CM_SHA1_32),
    ("AEAD_AES_128_GCM", Policy.SRTP_PROFILE_AEAD_AES_128_GCM),
    ("AEAD_AES_256_GCM", Policy.SRTP_PROFILE_AEAD_AES_256_GCM),
]


def peer(suite: Suite, profile: int, direction: int) -> Any:
    key = master_key(suite)
    return Session(Policy(key=key.key + key.salt, ssrc_type=direction, srtp_profile=profile))


def conversation() -> list[bytes]:
    """Packets of three SSRCs, RTP over a wrap from ROC 0 to 1 and with losses, and RTCP."""
    source = random.Random(5)
    batch = []
    sequence = 0xFF00
    for _ in range(600):
        sequence += source.choice((1, 1, 1, 2, 5))
        ssrc = source.randrange(1, 4)
        batch.append(random_rtp(source, sequence, ssrc))
        if source.random() < 0.2:
            batch.append(rtcp(source.randrange(20), ssrc=ssrc, kind=source.choice((200, 201))))
    assert sequence > 0x10100
    return batch


@pytest.mark.parametrize(("name", "profile"), PROFILES)
def test_the_peer_reads_what_is_protected_here(name: str, profile: int) -> None:
    session = peer(suite(name), profile, Policy.SSRC_ANY_INBOUND)
    sender = Sender(suite(name), master_key(suite(name)))
    for packet in conversation():
        protected = sender.protect(packet)
        read = session.unprotect_rtcp if is_rtcp(packet) else session.unprotect
        assert read(protected) == packet


@pytest.mark.parametrize(("name", "profile"), PROFILES)
def test_what_the_peer_protects_is_read_here(name: str, profile: int) -> None:
    session = peer(suite(name), profile, Policy.SSRC_ANY_OUTBOUND)
    clear = conversation()
    protected = [
        session.protect_rtcp(packet) if is_rtcp(packet) else session.protect(packet)
        for packet in clear
    ]
    receiver = Receiver(suite(name), [master_key(suite(name))])
    assert list(receiver.unprotect_all(protected)) == clear


@pytest.mark.parametrize(("name", "profile"), PROFILES)
def test_both_protect_rtp_to_the_same_octets(name: str, profile: int) -> None:
    session = peer(suite(name), profile, Policy.SSRC_ANY_OUTBOUND)
    clear = [packet for packet in conversation() if not is_rtcp(packet)]
    sender = Sender(suite(name), master_key(suite(name)))
    assert list(sender.protect_all(clear)) == [session.protect(packet) for packet in clear]
