"""What work on media costs as it grows; a part of `python -m tests.benchmarks --growth`.

Each table has the size of the work and the seconds that it takes, in all and for each unit. On a
straight line the last column stays as it is, or falls.
"""

from __future__ import annotations

import gc
import io
import struct
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator
from time import process_time

from pylibsrtp import Policy, Session

from mikeytool.media import Settings, decrypt_capture, list_streams
from mikeytool.srtp import Crypto, MasterKey, suite
from mikeytool.srtp.roc_search import SearchBudget
from tests.capture.carriers import lines
from tests.capture.network import Ends, pcap, udp

SUITE = "AES_CM_128_HMAC_SHA1_80"
CALLS = (10, 50, 200, 500, 1_000, 2_000)
KEYS = (1, 10, 100, 300, 1_000)
STREAMS = (1, 10, 100, 1_000, 4_000, 10_000, 50_000)
EACH = 10
"""Packets of a stream, and in each direction of a call."""
TOGETHER = 100
"""Streams that one session of libsrtp encrypts."""


def main() -> None:
    """Print every table."""
    table("calls in a capture, 20 packets each: srtp decrypt", CALLS, _calls)
    table("keys given, of which one opens a stream of 2,000 packets: srtp decrypt", KEYS, _keys)
    table("streams of 10 packets with one key: srtp decrypt", STREAMS, _streams)
    table("streams of 10 packets: srtp info", STREAMS, _listed)


def table(title: str, sizes: Iterable[int], prepare: Callable[[int], Callable[[], object]]) -> None:
    """Print a table; `prepare` makes the work of a size."""
    print(title)
    for size in sizes:
        work = prepare(size)
        gc.collect()
        start = process_time()
        work()
        took = process_time() - start
        print(f"  {size:7,} {took:9.3f} s {1e6 * took / size:11,.1f} us each", flush=True)


def _key(number: int) -> bytes:
    return number.to_bytes(4) + bytes(26)


def _sender(number: int) -> Session:
    return Session(
        Policy(
            key=_key(number),
            ssrc_type=Policy.SSRC_ANY_OUTBOUND,
            srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
        )
    )


def _crypto(number: int) -> Crypto:
    key = _key(number)
    return Crypto(suite(SUITE), (MasterKey(key[:16], key[16:]),))


def _rtp(number: int, sequence: int) -> bytes:
    return struct.pack("!BBHII", 0x80, 8, sequence, 160 * sequence, number + 1) + bytes(160)


def _ends(number: int) -> Ends:
    block = f"10.{number >> 8}.{number & 255}"
    return Ends(f"{block}.1", 4000, f"{block}.2", 5000)


def _calls(count: int) -> Callable[[], object]:
    """Calls side by side: each is set up, then all talk, packet by packet."""
    packets = [packet for number in range(count) for packet in _set_up(number)]
    there = [_sender(2 * number) for number in range(count)]
    back = [_sender(2 * number + 1) for number in range(count)]
    for sequence in range(1, EACH + 1):
        for number in range(count):
            ends = _ends(number)
            packets.append(udp(there[number].protect(_rtp(2 * number, sequence)), ends))
            packets.append(udp(back[number].protect(_rtp(2 * number + 1, sequence)), ends.back))
    return _decryption(packets, None, 2 * count * EACH)


def _set_up(number: int) -> Iterator[bytes]:
    ends = _ends(number)._replace(sport=5060, dport=5060)
    for start, who, port, key, each in (
        ("INVITE sip:b@example.com SIP/2.0", ends.source, 4000, 2 * number, ends),
        ("SIP/2.0 200 OK", ends.destination, 5000, 2 * number + 1, ends.back),
    ):
        body = lines(
            "v=0", "o=- 1 1 IN IP4 192.0.2.1", "s=-", f"c=IN IP4 {who}", "t=0 0",
            f"m=audio {port} RTP/SAVP 8",
            f"a=crypto:1 {SUITE} inline:{b64encode(_key(key)).decode()}",
        )  # fmt: skip
        head = lines(
            start, "Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK1", "From: <sip:a@example.com>;tag=a",
            "To: <sip:b@example.com>" + ";tag=b" * start.startswith("SIP"), f"Call-ID: {number}",
            "CSeq: 1 INVITE", "Content-Type: application/sdp", f"Content-Length: {len(body)}", "",
        )  # fmt: skip
        yield udp(head + body, each)


def _keys(count: int) -> Callable[[], object]:
    """The last of the keys opens the packets; each takes its turn until it is found."""
    sender = _sender(count - 1)
    packets = [udp(sender.protect(_rtp(0, n)), _ends(0)) for n in range(1, 200 * EACH + 1)]
    return _decryption(packets, [_crypto(number) for number in range(count)], 0)


def _streams(count: int) -> Callable[[], object]:
    packets = list(_side_by_side(count))
    return _decryption(packets, [_crypto(0)], count * EACH)


def _listed(count: int) -> Callable[[], object]:
    data = io.BytesIO(pcap(_side_by_side(count)))
    return lambda: list_streams(data)


def _side_by_side(count: int) -> Iterator[bytes]:
    """The packets of many streams in turn, encrypted with one key."""
    # libsrtp looks through all streams of a session for each packet.
    senders = [_sender(0) for _ in range(0, count, TOGETHER)]
    for sequence in range(1, EACH + 1):
        for number in range(count):
            sender = senders[number // TOGETHER]
            yield udp(sender.protect(_rtp(number, sequence)), _ends(number & 0xFFFF))


def _decryption(packets: list[bytes], keys: list[Crypto] | None, least: int) -> Callable[[], None]:
    """The decryption of packets, of which at least so many have to come out clear."""
    data = io.BytesIO(pcap(packets))

    def work() -> None:
        settings = Settings(search_budget=SearchBudget(1 << 10))
        report = decrypt_capture(data, io.BytesIO(), keys, settings=settings)
        done = sum(each.done for each in report.streams)
        if done < least:
            raise SystemExit(f"{done} of {least} packets are decrypted")

    return work


if __name__ == "__main__":
    main()
