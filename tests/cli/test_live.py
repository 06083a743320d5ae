"""What comes through a pipe is shown while the pipe is open."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.capture import carriers, network
from tests.cli.shell import BIN
from tests.support import vectors

MESSAGE = vectors("exchanges")[0]["TRANSFER_INIT"]
INVITES = [
    carriers.sip(carriers.INVITE, carriers.sdp(attribute))
    for attribute in (carriers.key_mgmt(bytes.fromhex(MESSAGE)), "a=key-mgmt:mikey AQAF!!!")
]


@contextmanager
def decoding(folder: Path, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [BIN / "mikeytool", "decode", "--json", *options, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
    ) as process:
        yield process


def test_a_capture_that_is_running(tmp_path: Path) -> None:
    with decoding(tmp_path) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(network.pcap([network.udp(one) for one in INVITES]))
        process.stdin.flush()
        first, second = (json.loads(process.stdout.readline()) for _ in range(2))
        assert first["csb_id"] == f"0x{MESSAGE[8:16]}"
        assert "base64" in second["error"]
        assert process.stderr.readline().startswith(b"mikeytool: frame 2, SIP INVITE")
        process.stdin.close()
        assert process.stderr.read() == b""
    assert process.returncode == 3


def test_lines_that_are_still_written(tmp_path: Path) -> None:
    """An error that comes again is counted at the end."""
    with decoding(tmp_path, "--lines", "-q") as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdin.write(f"{MESSAGE}\n{MESSAGE[:40]}\n".encode())
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["csb_id"] == f"0x{MESSAGE[8:16]}"
        assert process.stderr.readline().startswith(b"mikeytool: line 2: ")
        process.stdin.write(f"{MESSAGE[:40]}\n".encode() * 2)
        process.stdin.close()
        assert process.stderr.read().endswith(b" (2 more times)\n")
    assert process.returncode == 3
