"""Captures decrypted, beside the lean loop of dpkt and libsrtp over the same file, and the bound.

Run with `python -m tests.benchmarks.bench_srtp`. Both are whole processes that read a pcap file of
SRTP in UDP, verify and decrypt every packet, and write a pcap file (see `lean_srtp`). The two take
turns, so that what else the machine does falls on both; the ratio is the median of the rounds, of
the time that passes and of the time of the processor. The bound is what the cryptography alone
takes: the same octets through OpenSSL's AES-CTR and SHA-1, in one call each.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import dpkt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from pylibsrtp import Policy, Session

from mikeytool.srtp import MasterKey, Suite, suite
from tests.benchmarks.bench_decode import MIKEYTOOL, environment
from tests.benchmarks.lean_srtp import HEADERS
from tests.support import TESTS

ROUNDS = 5
KINDS = (("audio", 160, 120_000), ("video", 1200, 40_000))
AIM = 1.2
PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
}


class Took(NamedTuple):
    """What a process took, in seconds."""

    passed: float
    processor: float


def main() -> None:
    """Print every ratio."""
    with tempfile.TemporaryDirectory() as name:
        for kind, size, packets in KINDS:
            for profile in PROFILES:
                _measure(Path(name), kind, size, packets, suite(profile))


def _measure(folder: Path, kind: str, size: int, packets: int, chosen: Suite) -> None:
    source, key = folder / "srtp.pcap", _key(chosen)
    write_capture(source, chosen, packets, size)
    ours, theirs = folder / "ours.pcap", folder / "theirs.pcap"
    octets = (key.key + key.salt).hex()
    commands = (
        [str(MIKEYTOOL), "srtp", "decrypt", "-q", "--force", str(source), "-o", str(ours),
         "--suite", chosen.name, "--key", octets],
        [sys.executable, "-m", "tests.benchmarks.lean_srtp", str(source), str(theirs),
         octets, str(PROFILES[chosen.name])],
    )  # fmt: skip
    # The first round also proves that both do the whole work.
    for command in commands:
        took(command)
    assert _payloads(ours) == _payloads(theirs)
    pairs = [(took(commands[0]), took(commands[1])) for _ in range(ROUNDS)]
    bound = min(_seconds(lambda: _bound(packets * size)) for _ in range(3))
    mine, other = (median(each.passed for each in column) for column in zip(*pairs, strict=True))
    passed = median(other.passed / mine.passed for mine, other in pairs)
    processor = median(other.processor / mine.processor for mine, other in pairs)
    print(
        f"{kind:5} {size:4} octets, {chosen.name:23}: mikeytool {packets / mine:9,.0f}/s, "
        f"lean loop {packets / other:9,.0f}/s, ratio {passed:.2f}, of the processor's time "
        f"{processor:.2f} (aim {AIM}), bound {packets / bound:11,.0f}/s"
    )


def took(command: list[str]) -> Took:
    """Run a command."""
    start = perf_counter()
    process = subprocess.Popen(command, cwd=TESTS.parent, env=environment())
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return Took(perf_counter() - start, usage.ru_utime + usage.ru_stime)


def _payloads(path: Path) -> list[bytes]:
    with path.open("rb") as file:
        return [frame[HEADERS:] for _, frame in dpkt.pcap.Reader(file)]


def write_capture(path: Path, chosen: Suite, packets: int, size: int) -> None:
    """A pcap file of one stream, protected by libsrtp."""
    key, source = _key(chosen), random.Random(3711)
    session = Session(
        Policy(key=key.key + key.salt, ssrc_type=Policy.SSRC_ANY_OUTBOUND,
               srtp_profile=PROFILES[chosen.name])
    )  # fmt: skip
    out = io.BytesIO()
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for number in range(packets):
        header = struct.pack("!BBHII", 0x80, 8, number & 0xFFFF, number * size, 0xDECAFBAD)
        udp = dpkt.udp.UDP(
            sport=5004, dport=5006, data=session.protect(header + source.randbytes(size))
        )
        udp.ulen = len(udp)
        ip = dpkt.ip.IP(src=b"\n\0\0\1", dst=b"\n\0\0\2", p=17, data=udp)
        ip.len = len(ip)
        frame = bytes(dpkt.ethernet.Ethernet(src=bytes(6), dst=bytes(6), data=ip))
        out.write(struct.pack("<IIII", number // 50, number % 50 * 20000, len(frame), len(frame)))
        out.write(frame)
    path.write_bytes(out.getvalue())


def _bound(octets: int) -> None:
    data = bytes(octets)
    Cipher(AES(bytes(16)), CTR(bytes(16))).encryptor().update(data)
    hashlib.sha1(data).digest()


def _key(chosen: Suite) -> MasterKey:
    return MasterKey(bytes(range(chosen.key_length)), bytes(range(16, 16 + chosen.salt_length)))


def _seconds(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return perf_counter() - start


if __name__ == "__main__":
    main()
