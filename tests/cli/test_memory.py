"""Input that is made to take memory gets little of it, and what is left out is told."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator

import pytest

from mikeytool.wire.message import MAX_MESSAGE, MAX_PAYLOADS, Message
from tests.capture.network import BACK, THERE, pcap, udp
from tests.cli.shell import Shell

MOST = 100 << 20
"""Octets; the manual says about 50 MB and some times the longest record."""
KEY = "--suite AES_CM_128_HMAC_SHA1_80 --key " + "01" * 30
GENERAL_EXTENSION = bytes([21, 0, 0, 1, 0x78])
HEADER = bytes([1, 0, 21, 0]) + bytes(4) + bytes([0, 1])


def peak(shell: Shell, command: str) -> tuple[int, int, str]:
    """Exit code, most memory in octets, and error output of a command in a child."""
    code = (
        "import resource, subprocess, sys;"
        "ran = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL);"
        "most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss;"
        "print(ran.returncode, most)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, sys.executable, "-m", "mikeytool", *command.split()],
        cwd=shell.folder, env=shell.variables, capture_output=True, text=True, check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)),
    )  # fmt: skip
    returned, most = map(int, ran.stdout.split())
    return returned, most * 1024, ran.stderr


def invites() -> Iterator[bytes]:
    fields = "".join(f"x{n}:y\r\n" for n in range(6000))
    for n in range(300):
        text = (
            f"INVITE sip:b SIP/2.0\r\nCall-ID: {n}\r\nCSeq: 1 INVITE\r\n{fields}\r\n"
            "v=0\r\nm=audio 5004 RTP/SAVP 0\r\na=key-mgmt:mikey AQAFAA==\r\n"
        )
        yield udp(text.encode(), THERE)


@pytest.mark.parametrize("command", ["decode --json", "decode", "srtp decrypt -o out.pcap"])
def test_thousands_of_header_fields(shell: Shell, command: str) -> None:
    shell.path("in.pcap").write_bytes(pcap(invites()))
    _, most, _ = peak(shell, f"{command} in.pcap")
    assert most < MOST


@pytest.mark.parametrize("command", ["srtp info", f"srtp decrypt -o out.pcap {KEY}", "decode"])
def test_long_records(shell: Shell, command: str) -> None:
    with shell.path("in.pcap").open("wb") as file:
        one = pcap([b"\x45" + bytes(4 << 20)])
        file.write(one[:24])
        for _ in range(60):
            file.write(one[24:])
    _, most, _ = peak(shell, f"{command} in.pcap")
    assert most < MOST


@pytest.mark.parametrize("command", ["decode", "decode --json", "lint"])
def test_millions_of_payloads(shell: Shell, command: str) -> None:
    shell.path("message").write_bytes(HEADER + GENERAL_EXTENSION * (4 << 20))
    code, most, err = peak(shell, f"{command} message")
    assert code == 3
    assert "longer than 16 MB" in err
    shell.path("message").write_bytes(HEADER + GENERAL_EXTENSION * 150_000)
    code, most, err = peak(shell, f"{command} message")
    assert code == 3
    assert most < MOST
    assert err.count("\n") == 1


CRYPTO = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"


def dense_calls(count: int, media: int, keys: int) -> Iterator[bytes]:
    """Calls with as many keys as a datagram holds, each offered and answered."""
    specs = "a=key-mgmt:mikey AQAFAAAAAAAAAA==\r\n" * 16
    lines = "".join(f"{CRYPTO}{n:040}\r\n" for n in range(keys))
    sdp = f"v=0\r\n{specs}" + "".join(
        f"m=audio {6000 + 2 * n} RTP/SAVP 0\r\n{lines}" for n in range(media)
    )
    for n in range(count):
        common = (
            f"Via: SIP/2.0/UDP h;branch={n}\r\nFrom: <sip:a>;tag=a\r\nCall-ID: {n}\r\n"
            f"CSeq: 1 INVITE\r\nContent-Type: application/sdp\r\n"
        )
        yield udp(f"INVITE sip:b SIP/2.0\r\n{common}To: <sip:b>\r\n\r\n{sdp}".encode(), THERE)
        yield udp(f"SIP/2.0 200 OK\r\n{common}To: <sip:b>;tag=b\r\n\r\n{sdp}".encode(), BACK)


@pytest.mark.parametrize(("count", "media", "keys"), [(350, 40, 12), (8000, 1, 1)])
def test_calls_with_many_keys(shell: Shell, count: int, media: int, keys: int) -> None:
    shell.path("in.pcap").write_bytes(pcap(dense_calls(count, media, keys)))
    _, most, err = peak(shell, "srtp decrypt -o out.pcap in.pcap")
    assert most < MOST + (64 << 20)
    assert "the messages of calls take more than 64 MB of memory: " in err


def test_roles_and_decode_stop_at_a_number_of_payloads() -> None:
    message = Message.read(HEADER + GENERAL_EXTENSION * (MAX_PAYLOADS + 1))
    assert len(message.payloads) == MAX_PAYLOADS
    assert message.error is not None
    assert f"more than {MAX_PAYLOADS} payloads" in message.error.text
    assert message.raw == message.build()
    with pytest.raises(type(message.error), match=f"more than {MAX_MESSAGE} octets"):
        Message.read(HEADER + bytes(MAX_MESSAGE))
