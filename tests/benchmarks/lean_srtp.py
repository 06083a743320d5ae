"""The loop that `srtp decrypt` is compared with: dpkt's reader and writer, and libsrtp.

    python -m tests.benchmarks.lean_srtp SOURCE TARGET KEY PROFILE

It does nothing else: lengths and checksums of IP and UDP stay as they were, streams are not
counted, and a packet that does not verify ends it.
"""

from __future__ import annotations

import sys

import dpkt
from pylibsrtp import Policy, Session

HEADERS = 42  # octets of Ethernet, IPv4 and UDP


def main(source: str, target: str, key: str, profile: str) -> None:
    """Decrypt a capture."""
    session = Session(
        Policy(key=bytes.fromhex(key), ssrc_type=Policy.SSRC_ANY_INBOUND, srtp_profile=int(profile))
    )
    with open(source, "rb") as file, open(target, "wb") as out:  # noqa: PTH123 - as one writes it
        writer = dpkt.pcap.Writer(out, snaplen=65535)
        for time, frame in dpkt.pcap.Reader(file):
            writer.writepkt(frame[:HEADERS] + session.unprotect(frame[HEADERS:]), time)


if __name__ == "__main__":
    main(*sys.argv[1:])
