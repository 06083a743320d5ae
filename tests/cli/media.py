"""Captures of media and keys for them, for the tests of `srtp`."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from mikeytool.capture.capture_files import open_capture
from mikeytool.srtp import MasterKey, Sender, suite
from tests.capture import wires
from tests.capture.wires import ethernet, ipv4, ipv6, packed, udp
from tests.cli.shell import Shell
from tests.support import SHARED

SUITE = suite("AES_CM_128_HMAC_SHA1_80")
KEYS = [bytes([n]) * 30 for n in range(4)]
CAPTURE = SHARED / "data/marseillaise-srtp.pcap"


def sender(number: int = 0) -> Sender:
    return Sender(SUITE, MasterKey(KEYS[number][:16], KEYS[number][16:]))


def frame(payload: bytes, source: int = 1, port: int = 5006, v6: bool = False) -> bytes:
    """A frame to a port, from one of several sources."""
    if v6:
        pair_6 = (f"2001:db8::{source}", wires.DESTINATION_6)
        return ethernet(ipv6(udp(payload, packed(*pair_6), (5004, port)), addresses=pair_6), 0x86DD)
    pair = (f"192.0.2.{source}", wires.DESTINATION)
    return ethernet(ipv4(udp(payload, packed(*pair), (5004, port)), addresses=pair), 0x0800)


def write(shell: Shell, name: str, frames: list[bytes]) -> None:
    shell.path(name).write_bytes(wires.pcap(frames))


def frames_of(shell: Shell, name: str) -> list[bytes]:
    with shell.path(name).open("rb") as file:
        return [record.frame for record in open_capture(file)]


def decrypt(
    shell: Shell, options: str = "", code: int = 0, *, key: str | None = None
) -> list[dict[str, Any]]:
    """Decrypt the file `in` to `out`; gives the rows of the report."""
    given = f"--key {KEYS[0].hex()}" if key is None else key
    ran = shell.run(f"mikeytool srtp decrypt in -o out --force --report report {given} {options}")
    assert ran.code == code, ran.err
    rows: list[dict[str, Any]] = json.loads(shell.path("report").read_text())["streams"]
    return rows


def counts(row: dict[str, Any], *names: str) -> tuple[int, ...]:
    return tuple(row[name] for name in names)


def sdes_line(number: int, name: str = "AES_CM_128_HMAC_SHA1_80") -> str:
    """A key as SDP has it."""
    return f"{name} inline:{b64encode(KEYS[number]).decode()}"
