"""What goes over the loopback, captured by dumpcap."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.peers.programs import missing, need

LOCAL = "127.0.0.1"
SECONDS = 30  # until a test gives up


def until(ready: object, what: str) -> None:
    """Wait until a function gives something true."""
    end = time.monotonic() + SECONDS
    while not ready():  # type: ignore[operator]
        assert time.monotonic() < end, f"no {what} after {SECONDS} seconds"
        time.sleep(0.02)


@contextmanager
def captured(path: Path, what: str) -> Iterator[None]:
    """Capture what fits a filter on the loopback while the block runs.

    Datagrams with a word of their own say that the capture has begun, and that it has all.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as marker:
        marker.bind((LOCAL, 0))
        port = marker.getsockname()[1]
        words = f"({what}) or port {port}"
        command = [need("dumpcap"), "-q", "-i", "lo", "-w", str(path), "-f", words]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as ran:

            def passes(word: bytes) -> bool:
                if ran.poll() is not None:
                    assert ran.stderr is not None
                    missing(f"the right to capture ({ran.stderr.read().decode().strip()})")
                marker.sendto(word, (LOCAL, port))
                return path.exists() and word in path.read_bytes()

            try:
                for at in range(2):
                    word = secrets.token_bytes(16)
                    until(lambda: passes(word), "packet in the capture")  # noqa: B023
                    if at == 0:
                        yield
            finally:
                ran.send_signal(signal.SIGINT)


@contextmanager
def running(command: list[str | Path], log: Path, **variables: str) -> Iterator[None]:
    """Run a program while the block runs; what it prints goes into a file."""
    with log.open("wb") as out, subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
        env={**os.environ, **variables},
    ) as ran:  # fmt: skip
        try:
            yield
        finally:
            ran.kill()
