"""Packets a second, protected and unprotected, beside libsrtp doing the same packets.

Run with `python -m tests.benchmarks.bench_srtp`. AES-CM and AES-GCM are measured, the ciphers
that libsrtp has too. The two take turns, so that what else the machine does falls on both;
the ratio is the median of the rounds.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter
from typing import NamedTuple

from pylibsrtp import Policy, Session

from mikeytool.srtp import MasterKey, Receiver, Sender, Suite, suite

PACKETS = 20_000
ROUNDS = 9
PAYLOAD = 160  # octets: 20 ms of G.711
PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
}


class Result(NamedTuple):
    """Medians over the rounds: packets a second of each, and of the ratios of each round."""

    name: str
    ours: float
    peer: float
    ratio: float

    def __str__(self) -> str:
        return (
            f"{self.name:33}: ours {self.ours:9,.0f}/s, pylibsrtp {self.peer:9,.0f}/s, "
            f"ratio {self.ratio:.2f}"
        )


def run(packets: int = PACKETS, rounds: int = ROUNDS) -> list[Result]:
    """Measure both directions of each suite; a round starts with fresh contexts on both sides."""
    return [result for name in PROFILES for result in _run(suite(name), packets, rounds)]


def main() -> None:
    for result in run():
        print(result)


def _run(suite: Suite, packets: int, rounds: int) -> list[Result]:
    clear = _packets(packets)
    protected = list(_sender(suite).protect_all(clear))
    return [
        _compare(
            f"{suite.name} protect",
            rounds,
            lambda: list(_sender(suite).protect_all(clear)),
            lambda: list(map(_peer(suite, Policy.SSRC_ANY_OUTBOUND).protect, clear)),
            protected,
        ),
        _compare(
            f"{suite.name} unprotect",
            rounds,
            lambda: list(_receiver(suite).unprotect_all(protected)),
            lambda: list(map(_peer(suite, Policy.SSRC_ANY_INBOUND).unprotect, protected)),
            clear,
        ),
    ]


def _compare(
    name: str,
    rounds: int,
    ours: Callable[[], Sequence[object]],
    peer: Callable[[], Sequence[object]],
    expected: Sequence[bytes],
) -> Result:
    # The first round also proves that both do the whole work.
    assert ours() == expected
    assert peer() == expected
    pairs = [(_seconds(ours), _seconds(peer)) for _ in range(rounds)]
    count = len(expected)
    return Result(
        name,
        median(count / mine for mine, _ in pairs),
        median(count / other for _, other in pairs),
        median(other / mine for mine, other in pairs),
    )


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


def _packets(count: int) -> list[bytes]:
    source = random.Random(3711)
    return [
        struct.pack("!BBHII", 0x80, 8, number & 0xFFFF, number * PAYLOAD, 0xDECAFBAD)
        + source.randbytes(PAYLOAD)
        for number in range(count)
    ]


def _master_key(suite: Suite) -> MasterKey:
    return MasterKey(bytes(range(suite.key_length)), bytes(range(16, 16 + suite.salt_length)))


def _sender(suite: Suite) -> Sender:
    return Sender(suite, _master_key(suite))


def _receiver(suite: Suite) -> Receiver:
    return Receiver(suite, [_master_key(suite)])


def _peer(suite: Suite, direction: int) -> Session:
    key = _master_key(suite)
    return Session(
        Policy(key=key.key + key.salt, ssrc_type=direction, srtp_profile=PROFILES[suite.name])
    )


if __name__ == "__main__":
    main()
