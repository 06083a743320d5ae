"""The one pass over usual packets comes to what the general path comes to, and to what was sent.

Captures of streams encrypted by libsrtp, and of random calls, are changed at random: records are
repeated, dropped, exchanged, cut short or padded, and octets of headers and payloads are changed.
"""

from __future__ import annotations

import io
import random
import struct
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from pylibsrtp import Policy, Session

from mikeytool.media import Settings, decrypt_capture
from mikeytool.media.usual_packets import UsualPackets
from mikeytool.srtp import Crypto, MasterKey, suite
from mikeytool.srtp.in_order import InOrder
from mikeytool.srtp.roc_search import SearchBudget
from tests.capture.network import Ends, checksum, udp
from tests.media.random_calls import SUITES, Scene

ENDS = Ends("192.0.2.1", 5004, "192.0.2.2", 5006)
HEADERS = {1: bytes(12) + b"\x08\0", 101: b"", 113: bytes(14) + b"\x08\0"}
SIZES = (0, 1, 20, 160, 161, 391, 392, 500, 1199, 1200)


class Record(NamedTuple):
    """A frame, its length on the wire, and its time in microseconds."""

    frame: bytes
    wire: int
    time: int

    def octets(self, order: str) -> bytes:
        """It as a pcap file has it."""
        seconds, rest = divmod(self.time, 10**6)
        return struct.pack(f"{order}IIII", seconds, rest, len(self.frame), self.wire) + self.frame


def pcap(records: list[Record], link: int = 1, order: str = "<") -> bytes:
    head = struct.pack(f"{order}IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link)
    return head + b"".join(each.octets(order) for each in records)


def scene_records(seed: int) -> list[Record]:
    frames = [bytes(12) + b"\x08\0" + packet for packet, _, _ in Scene(seed, pairs=2).frames]
    return [Record(frame, len(frame), 10**15 + n * 5000) for n, frame in enumerate(frames)]


def rtp(rng: random.Random, sequence: int, ssrc: int) -> bytes:
    """An RTP packet, some with CSRCs, an extension or padding; or RTCP."""
    kind = rng.random()
    payload = rng.randbytes(rng.choice(SIZES))
    if kind < 0.03:
        return struct.pack("!BBHI", 0x80, 200, 6, ssrc) + rng.randbytes(20)
    head = struct.pack("!BHII", rng.choice((0, 0x80, 96, 127)), sequence, sequence * 160, ssrc)
    if kind < 0.06:
        return b"\x81" + head + bytes(4) + payload
    if kind < 0.09:
        return b"\x90" + head + b"\xbe\xde\0\1" + bytes(4) + payload
    return (b"\xa0" if kind < 0.12 else b"\x80") + head + payload


class Sent(NamedTuple):
    """A stream: its records, and its clear packets in frames."""

    records: list[Record]
    clear: list[bytes]


def stream_records(rng: random.Random, name: str, link: int) -> Sent:
    """Two SSRCs of a flow, across a wrap of the sequence numbers."""
    length, profile = SUITES[name]
    session = Session(
        Policy(key=bytes(range(length)), ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
    )
    records, clear = [], []
    next_of = {7: 65500, 8: 3}
    for n in range(120):
        ssrc = rng.choice((7, 8))
        packet = rtp(rng, next_of[ssrc] & 0xFFFF, ssrc)
        is_rtcp = packet[1] == 200
        next_of[ssrc] += not is_rtcp
        sealed = session.protect_rtcp(packet) if is_rtcp else session.protect(packet)
        frame = HEADERS[link] + udp(sealed, ENDS)
        records.append(Record(frame, len(frame), 10**15 + n * 20_000))
        clear.append(HEADERS[link] + udp(packet, ENDS))
    return Sent(records, clear)


def burst_records(rng: random.Random, name: str, link: int, ninth: int = 0x80) -> Sent:
    """Bursts of equal packets of a stream, across a wrap of the sequence numbers.

    The second octet of RTP is 0, and `ninth` in a packet of each.
    """
    length, profile = SUITES[name]
    session = Session(
        Policy(key=bytes(range(length)), ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile)
    )
    records: list[Record] = []
    clear = []
    next_of = {7: 65460, 8: 3}
    for ssrc, count, size in ((7, 60, 160), (8, 25, 161), (7, 40, 1200), (8, 20, 0), (7, 11, 392)):
        for n in range(count):
            sequence = next_of[ssrc] & 0xFFFF
            next_of[ssrc] += 1
            head = struct.pack("!BBHII", 0x80, ninth * (n == 9), sequence, sequence * 160, ssrc)
            packet = head + rng.randbytes(size)
            frames = [udp(session.protect(packet), ENDS), udp(packet, ENDS)]
            ident = rng.randbytes(2)
            frames = [HEADERS[link] + identified(each, ident, n % 50 != 3) for each in frames]
            records.append(Record(frames[0], len(frames[0]), 10**15 + len(records) * 20_000))
            clear.append(frames[1])
    return Sent(records, clear)


def identified(packet: bytes, ident: bytes, has_checksum: bool) -> bytes:
    """An IP packet with another identification, and perhaps no checksum of UDP."""
    head = packet[:4] + ident + packet[6:10] + b"\0\0" + packet[12:20]
    head = head[:10] + checksum(head).to_bytes(2) + head[12:]
    return head + packet[20:26] + (packet[26:28] if has_checksum else b"\0\0") + packet[28:]


def changed(rng: random.Random, records: list[Record], most: int) -> Iterator[Record]:
    """The records after some accidents."""
    records = list(records)
    for _ in range(rng.randint(0, most)):
        at = rng.randrange(len(records) - 1)
        frame, wire, time = records[at]
        accident = rng.randrange(8)
        if accident == 0:
            records[at], records[at + 1] = records[at + 1], records[at]
        elif accident == 1:
            records.insert(at + rng.randint(0, 5), records[at])
        elif accident == 2:
            del records[at]
        elif accident == 3:
            records[at] = Record(frame[: rng.randrange(len(frame))], wire, time)
        elif accident == 4:
            records[at] = Record(frame + bytes(6), wire + 6, time)
        else:
            place = (
                rng.randrange(min(len(frame), 70)) if accident < 7 else rng.randrange(len(frame))
            )
            octet = frame[place] ^ (1 << rng.randrange(8))
            records[at] = Record(frame[:place] + bytes([octet]) + frame[place + 1 :], wire, time)
    yield from records


def outcome(data: bytes, crypto: Crypto | None, on_error: Any) -> tuple[Any, ...]:
    """Everything that comes out of a run."""
    out = io.BytesIO()
    keys = None if crypto is None else [crypto]
    settings = Settings(on_error=on_error, search_budget=SearchBudget(64))
    report = decrypt_capture(io.BytesIO(data), out, keys, settings=settings)
    errors = [(type(each), str(each)) for each in report.errors]
    return out.getvalue(), report.json(), report.failures, errors, str(report.fault)


def crypto_of(name: str) -> Crypto:
    found = suite(name)
    octets = bytes(range(SUITES[name][0]))
    return Crypto(found, (MasterKey(octets[: found.key_length], octets[found.key_length :]),))


@pytest.mark.parametrize("link", HEADERS)
@pytest.mark.parametrize("name", SUITES)
def test_streams(name: str, link: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(f"{name} {link}")
    sent = stream_records(rng, name, link)
    data = pcap(sent.records, link)
    assert sum(taken(data, crypto_of(name), monkeypatch)) > 80
    times = [each.time for each in sent.records]
    clear = [Record(one, len(one), time) for one, time in zip(sent.clear, times, strict=True)]
    assert outcome(data, crypto_of(name), "stop")[0][24:] == pcap(clear, link)[24:]
    mutants = [
        pcap(list(changed(rng, sent.records, 12)), link, rng.choice("<>")) for _ in range(12)
    ]
    compare(mutants, crypto_of(name), monkeypatch)


@pytest.mark.parametrize("link", HEADERS)
@pytest.mark.parametrize("name", SUITES)
def test_bursts(name: str, link: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = random.Random(f"{name} {link}")
    sent = burst_records(rng, name, link)
    data = pcap(sent.records, link)
    runs: list[int] = []
    with monkeypatch.context() as patched:
        open_run = InOrder.open_run
        patched.setattr(InOrder, "open_run", lambda *run: note(runs, open_run(*run)))
        found = outcome(data, crypto_of(name), "stop")
    assert sum(runs) > 80
    assert max(runs) > 15
    times = [each.time for each in sent.records]
    clear = [Record(one, len(one), time) for one, time in zip(sent.clear, times, strict=True)]
    assert found[0][24:] == pcap(clear, link)[24:]
    like_rtcp = burst_records(rng, name, link, ninth=200).records
    compare([data, pcap(like_rtcp, link)], crypto_of(name), monkeypatch)
    mutants = [pcap(list(changed(rng, sent.records, 6)), link, rng.choice("<>")) for _ in range(12)]
    compare(mutants, crypto_of(name), monkeypatch)


def note(runs: list[int], clear: list[bytes]) -> list[bytes]:
    runs.append(len(clear))
    return clear


@pytest.mark.parametrize("seed", range(4))
def test_random_calls(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    records, rng = scene_records(seed), random.Random(seed)
    mutants = [pcap(list(changed(rng, records, 20))) for _ in range(4)]
    compare([pcap(records), *mutants], None, monkeypatch)


def test_a_datagram_without_checksum_stays_without() -> None:
    rng = random.Random(1)
    frames = [
        each.frame[:40] + b"\0\0" + each.frame[42:]
        for each in stream_records(rng, "AES_CM_128_HMAC_SHA1_80", 1).records
    ]
    data = pcap([Record(frame, len(frame), 10**15) for frame in frames])
    out = outcome(data, crypto_of("AES_CM_128_HMAC_SHA1_80"), "stop")[0]
    at, seen = 24, set()
    while at < len(out):
        (size,) = struct.unpack_from("<I", out, at + 8)
        assert checksum(out[at + 30 : at + 50]) == 0  # of the IP header
        seen.add(out[at + 56 : at + 58])
        at += 16 + size
    assert seen == {b"\0\0"}


def two_destinations(*, is_same: bool) -> bytes:
    """A stream that goes to two destinations in turn, as from either side of a relay.

    Its first packet is the same for both, the others are if `is_same`.
    """
    length, profile = SUITES["AES_CM_128_HMAC_SHA1_80"]
    policy = Policy(
        key=bytes(range(length)), ssrc_type=Policy.SSRC_ANY_OUTBOUND, srtp_profile=profile
    )
    sessions = [Session(policy), Session(policy)]
    records = []
    for n in range(20):
        head = struct.pack("!BBHII", 0x80, 0, 100 + n, n * 160, 7)
        for other, session in enumerate(sessions):
            packet = session.protect(head + bytes([0 if is_same or not n else other]) * 160)
            frame = HEADERS[1] + udp(packet, ENDS._replace(dport=5006 + 2 * other))
            records.append(Record(frame, len(frame), 10**15 + n * 20_000))
    return pcap(records)


def test_copies_for_another_destination_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    data, crypto = two_destinations(is_same=True), crypto_of("AES_CM_128_HMAC_SHA1_80")
    compare([data], crypto, monkeypatch)
    rows = outcome(data, crypto, "stop")[1]["streams"]
    counts = [(each["packets"], each["decrypted"], each["lost"]) for each in rows]
    assert counts == [(20, 20, 0)] * 2


def test_one_key_stream_for_two_destinations_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    data, crypto = two_destinations(is_same=False), crypto_of("AES_CM_128_HMAC_SHA1_80")
    compare([data], crypto, monkeypatch)
    rows = outcome(data, crypto, "drop")[1]["streams"]
    assert [(each["decrypted"], each["clashes"]) for each in rows] == [(20, 0), (1, 19)]


def taken(data: bytes, crypto: Crypto, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many packets the one pass took at a time."""
    counts: list[int] = []
    save = UsualPackets.save

    def counted(self: UsualPackets) -> None:
        counts.extend(one.state.next - one.state._packets.next for one in self._ready.values())
        save(self)

    with monkeypatch.context() as patched:
        patched.setattr(UsualPackets, "save", counted)
        outcome(data, crypto, "stop")
    return counts


def compare(captures: list[bytes], crypto: Crypto | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run each with and without the one pass."""
    for number, data in enumerate(captures):
        on_error = ("keep", "drop", "stop")[number % 3]
        found = outcome(data, crypto, on_error)
        with monkeypatch.context() as patched:
            patched.setattr(UsualPackets, "_find", lambda *_args: None)
            assert outcome(data, crypto, on_error) == found
