"""Packets through the relay of a conference, beside the SRTP receiver that it uses and libsrtp.

Run with `python -m tests.benchmarks.bench_relay`. Three members send audio; each packet is verified
under the group key and its SSRC looked up, and the state file is asked each time whether it has
changed. The receiver and libsrtp open the same packets, and know nothing of members.
"""

from __future__ import annotations

import os
import struct
import tempfile
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from statistics import median
from time import process_time, time_ns

from pylibsrtp import Policy, Session

from mikeytool.conference import Relay, membership
from mikeytool.srtp import MasterKey, Receiver
from mikeytool.wire.errors import Refused
from tests.conference.room import Room
from tests.conference.test_ssrcs import SUITE, libsrtp
from tests.world import ALICE, BOB, CAROL

PACKETS = 30_000
ROUNDS = 5
AIM = 50_000
SOURCE = "192.0.2.1:40000"

Take = Callable[[bytes], object]


def audio(room: Room) -> list[bytes]:
    """Packets of three members in turn, 160 octets each."""
    streams = []
    for who in (ALICE, BOB, CAROL):
        ssrc, media = room.person(who).sends()[0]
        streams.append((ssrc, libsrtp(ssrc, media)))
    made = []
    for number in range(PACKETS):
        ssrc, sender = streams[number % 3]
        header = struct.pack("!BBHII", 0x80, 0, number // 3 + 1, number // 3 * 160, ssrc)
        made.append(sender.protect(header + bytes(160)))
    return made


def rate(make: Callable[[], Take], packets: Sequence[bytes], *, refused: bool = False) -> float:
    """Packets a second of the processor's time, the median of some rounds."""
    found = []
    for _ in range(ROUNDS):
        take, passed = make(), 0
        start = process_time()
        for packet in packets:
            with suppress(Refused):
                take(packet)
                passed += 1
        found.append(len(packets) / (process_time() - start))
        assert passed == (0 if refused else len(packets))
    return median(found)


def main() -> None:
    """Print the rates."""
    with tempfile.TemporaryDirectory() as folder, closing(Room(Path(folder))) as room:
        room.create(ALICE, BOB, CAROL)
        for who in (ALICE, BOB, CAROL):
            room.person(who).call_in()
        good = audio(room)
        _, media = room.person(ALICE).sends()[0]

        def relay() -> Take:
            taken = Relay(room.state, time_ns)
            return lambda packet: taken.take(packet, SOURCE)

        def receiver() -> Take:
            made = Receiver(SUITE, [MasterKey(media.key, media.salt, media.spi)])
            return lambda packet: made.unprotect(packet, SOURCE)

        def bound() -> Take:
            key = media.key + media.salt
            return Session(Policy(key=key, ssrc_type=Policy.SSRC_ANY_INBOUND)).unprotect

        passed, alone, lean = (rate(make, good) for make in (relay, receiver, bound))
        print(
            f"conference: a relay passes {passed:,.0f}/s (aim {AIM:,}), {passed / alone:.2f} of the"
            f" receiver's {alone:,.0f}/s; libsrtp {lean:,.0f}/s"
        )
        forged = [packet[:-1] + bytes([packet[-1] ^ 1]) for packet in good[: PACKETS // 3]]
        unknown = [packet[:8] + os.urandom(4) + packet[12:] for packet in good[: PACKETS // 3]]
        print(
            f"  refuses {rate(relay, forged, refused=True):9,.0f}/s with a wrong tag,"
            f" {rate(relay, unknown, refused=True):9,.0f}/s with an unknown SSRC", end="",
        )  # fmt: skip
        membership.dismiss(room.system, None, [BOB], deny=False)
        of_bob = good[1::3]
        print(f", {rate(relay, of_bob, refused=True):9,.0f}/s of somebody put out")


if __name__ == "__main__":
    main()
