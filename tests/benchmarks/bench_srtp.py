"""Captures decrypted, beside a loop of dpkt and libsrtp over the same file, and the bound.

Run with `python -m tests.benchmarks.bench_srtp`. Both read a pcap file of SRTP in UDP, verify
and decrypt every packet, and write a pcap file with lengths and checksums made right. The two
take turns, so that what else the machine does falls on both; the ratio is the median of the
rounds. The bound is what the cryptography alone takes: the same octets through OpenSSL's
AES-CTR and SHA-1, in one call each.
"""

from __future__ import annotations

import hashlib
import io
import random
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import dpkt
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from pylibsrtp import Policy, Session

from mikeytool.media import decrypt_capture
from mikeytool.srtp import Crypto, MasterKey, Suite, suite

ROUNDS = 5
KINDS = (("audio", 160, 20_000, 1.5), ("video", 1200, 10_000, 1.0))
PROFILES = {
    "AES_CM_128_HMAC_SHA1_80": Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    "AEAD_AES_128_GCM": Policy.SRTP_PROFILE_AEAD_AES_128_GCM,
}


def main() -> None:
    """Print every ratio."""
    with tempfile.TemporaryDirectory() as name:
        for kind, size, packets, aim in KINDS:
            for profile in PROFILES:
                _measure(Path(name), kind, size, packets, aim, suite(profile))


def _measure(folder: Path, kind: str, size: int, packets: int, aim: float, chosen: Suite) -> None:
    source = folder / "srtp.pcap"
    write_capture(source, chosen, packets, size)
    ours, theirs = folder / "ours.pcap", folder / "theirs.pcap"
    work = (lambda: decrypt(source, ours, chosen), lambda: peer(source, theirs, chosen))
    # The first round also proves that both do the whole work.
    _seconds(work[0]), _seconds(work[1])
    assert ours.read_bytes() == theirs.read_bytes()
    pairs = [(_seconds(work[0]), _seconds(work[1])) for _ in range(ROUNDS)]
    bound = min(_seconds(lambda: _bound(packets * size)) for _ in range(3))
    mine, other = (median(column) for column in zip(*pairs, strict=True))
    ratio = median(other / mine for mine, other in pairs)
    print(
        f"{kind:5} {size:4} octets, {chosen.name:23}: mikeytool {packets / mine:9,.0f}/s, "
        f"dpkt and pylibsrtp {packets / other:9,.0f}/s, ratio {ratio:.2f} (aim {aim}), "
        f"bound {packets / bound:11,.0f}/s"
    )


def decrypt(source: Path, target: Path, chosen: Suite) -> None:
    """Decrypt a capture as `srtp decrypt` does."""
    report = decrypt_capture(source, target, [Crypto(chosen, (_key(chosen),))])
    assert not report.errors


def peer(source: Path, target: Path, chosen: Suite) -> None:
    """Decrypt a capture with dpkt and libsrtp."""
    key = _key(chosen)
    session = Session(
        Policy(key=key.key + key.salt, ssrc_type=Policy.SSRC_ANY_INBOUND,
               srtp_profile=PROFILES[chosen.name])
    )  # fmt: skip
    with source.open("rb") as file, target.open("wb") as out:
        writer = dpkt.pcap.Writer(out, snaplen=65535)
        for time, frame in dpkt.pcap.Reader(file):
            ethernet = dpkt.ethernet.Ethernet(frame)
            ip = ethernet.data
            udp = ip.data
            udp.data = session.unprotect(udp.data)
            udp.ulen = 8 + len(udp.data)
            ip.len = 20 + udp.ulen
            # Made anew where they are 0.
            ip.sum = udp.sum = 0
            writer.writepkt(bytes(ethernet), time)


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
