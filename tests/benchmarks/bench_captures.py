"""Finding and reading the messages of a capture, against tshark on the same file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tests.benchmarks.bench_decode import MIKEYTOOL, camera_message, compare, ticket_messages
from tests.capture import network
from tests.capture.carriers import INVITE, key_mgmt, sdp, sip
from tests.capture.network import CLIENT, Ends, stream, udp


def calls(count: int) -> list[bytes]:
    """INVITEs, each with a TRANSFER_INIT."""
    messages = ticket_messages()
    return [
        sip(INVITE, sdp(key_mgmt(messages[at % len(messages)])), call_id=f"{at}@example.com")
        for at in range(count)
    ]


def captures(count: int) -> dict[str, list[bytes]]:
    """The packets of each capture, which have `count` messages."""
    return {
        "bare messages": [udp(camera_message(at), Ends(dport=2269)) for at in range(count)],
        "SIP over UDP": [udp(call) for call in calls(count)],
        "SIP over TCP": stream(b"".join(calls(count)), 1448, 1, CLIENT),
    }


def main(count: int = 1_000) -> None:
    """Print the comparisons."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "capture.pcap"
        for title, packets in captures(count).items():
            path.write_bytes(network.pcap(packets))
            compare(
                f"decode --json of {count:,} {title}",
                [str(MIKEYTOOL), "decode", "--json", str(path)],
                ["tshark", "-r", str(path), "-T", "json"],
                3,
                count,
            )


if __name__ == "__main__":
    main()
