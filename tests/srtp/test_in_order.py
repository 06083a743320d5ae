"""Many packets opened at once come to what one after the other comes to."""

from __future__ import annotations

import random

import pytest

from mikeytool.srtp import Receiver, Sender, suite
from mikeytool.srtp.in_order import InOrder
from mikeytool.srtp.index import Duplicate, Replayed, TooLate
from mikeytool.wire.errors import MikeyError

from .media import SSRC, master_key, rtp

HEAD = 58
FIRST = 65000  # the sequence numbers wrap after 536 packets
NAMES = (
    "AES_CM_128_HMAC_SHA1_80",
    "AES_256_CM_HMAC_SHA1_32",
    "AEAD_AES_128_GCM",
    "AEAD_AES_128_GCM_8",
)


def clear_packets(count: int, size: int = 160) -> list[bytes]:
    rng = random.Random(count)
    return [rtp(FIRST + n, rng.randbytes(size)) for n in range(count)]


def ready(receiver: Receiver) -> InOrder:
    state = receiver.in_order(SSRC, "", "")
    assert state is not None
    return state


def opened(state: InOrder, packets: list[bytes]) -> list[bytes]:
    """Packets opened in records of which they are the end."""
    data = b"head of the file" + b"".join(bytes(HEAD) + each for each in packets)
    return state.open_run(data, 16, HEAD + len(packets[0]), HEAD, len(packets))


def world(name: str, mki: bytes, count: int) -> tuple[Receiver, list[bytes], list[bytes]]:
    """A receiver that has the first packet; clear packets, and as they are sent."""
    key = master_key(suite(name), mki=mki)
    sender = Sender(suite(name), key, mki=bool(mki))
    clear = clear_packets(count)
    sent = [sender.protect(each) for each in clear]
    receiver = Receiver(suite(name), [key])
    receiver.unprotect(sent[0])
    return receiver, clear, sent


@pytest.mark.parametrize("mki", [b"", b"\7", b"long MKI"])
@pytest.mark.parametrize("name", NAMES)
def test_a_run_ends_at_the_first_packet_that_does_not_verify(name: str, mki: bytes) -> None:
    _, clear, sent = world(name, mki, 20)
    size = len(sent[0])
    for place in (1, 5, 20, size - 17, size - 11, size - 4, size - 1):
        receiver, _, _ = world(name, mki, 1)
        wrong = bytearray(sent[13])
        wrong[place] ^= 0x10
        state = ready(receiver)
        run = [*sent[1:13], bytes(wrong), *sent[14:]]
        assert opened(state, run) == clear[1:13]
        assert opened(state, run[12:]) == []
        assert state.save() == 12
        assert receiver.unprotect(sent[13]) == clear[13]
        with pytest.raises(MikeyError):
            receiver.unprotect(bytes(wrong))


@pytest.mark.parametrize("name", NAMES)
def test_copies_of_a_run_are_known(name: str) -> None:
    """The newest 1,024 are remembered, wherever in memory the run began and ended."""
    for begin, end in ((2, 500), (400, 536), (537, 1200), (700, 3000)):
        receiver, clear, sent = world(name, b"", 3000)
        for each in sent[1:begin]:
            receiver.unprotect(each)
        if end > 536 > begin:
            for each in sent[begin : (begin := 537)]:
                receiver.unprotect(each)
        state = ready(receiver)
        assert opened(state, sent[begin:end]) == clear[begin:end]
        assert state.save() == end - begin
        for n in (end - 1, end - 63, max(end - 1024, 1)):
            with pytest.raises(Duplicate) as raised:
                receiver.unprotect(sent[n])
            assert raised.value.clear == clear[n]
        if end > 1025:
            with pytest.raises(TooLate) as late:
                receiver.unprotect(sent[end - 1025])
            assert not isinstance(late.value, Duplicate)
        stream = receiver.streams[SSRC, ""]
        assert (stream.received, stream.lost, stream.late) == (end, 0, 0)


def test_suites_without_runs_say_so() -> None:
    for name in ("F8_128_HMAC_SHA1_80", "NULL_HMAC_SHA1_80"):
        receiver, _, sent = world(name, b"", 20)
        state = ready(receiver)
        assert not state.opens_runs
        assert opened(state, sent[1:]) == []
        receiver.unprotect(sent[1])
        with pytest.raises(Replayed):
            receiver.unprotect(sent[1])
