"""What comes through a pipe is shown while the pipe is open."""

from __future__ import annotations

import base64
import json
import os
import select
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from mikeytool.capture.live_input import PAUSE
from mikeytool.wire.describe import describe
from mikeytool.wire.message import Message
from tests.capture import carriers, network, wires
from tests.cli.shell import BIN
from tests.support import vectors

MESSAGE = vectors("exchanges")[0]["TRANSFER_INIT"]
INVITES = [
    carriers.sip(carriers.INVITE, carriers.sdp(attribute))
    for attribute in (carriers.key_mgmt(bytes.fromhex(MESSAGE)), "a=key-mgmt:mikey AQAF!!!")
]


KEY = bytes(range(30)).hex()
MEDIA = "8000{:04x}000000a01111111168656c6c6f20626f62"


def decoding(folder: Path, *options: str) -> AbstractContextManager[subprocess.Popen[bytes]]:
    return running(folder, "decode", "--json", *options)


@contextmanager
def running(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [BIN / "mikeytool", *words, "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "COLUMNS"},
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


@contextmanager
def talking(process: subprocess.Popen[bytes], *texts: bytes) -> Iterator[Callable[[], bytes]]:
    """Write the first text, and each other before a line is read, while the input stays open."""
    assert process.stdin
    assert process.stdout
    out, left = process.stdout, list(texts)

    def say() -> None:
        if left:
            assert process.stdin
            process.stdin.write(left.pop(0))
            process.stdin.flush()

    def line() -> bytes:
        read = out.readline()
        say()
        return read

    say()
    yield line
    process.stdin.close()
    out.read()


CAPTURE = network.pcap([network.udp(INVITES[0])])
AGAIN = network.pcap([network.udp(INVITES[0])])[24:]
PACKETS = [network.udp(bytes.fromhex(MEDIA.format(number))) for number in range(3)]
LINE = f"{MESSAGE}\n".encode()
DESCRIBED = json.dumps(describe(Message.parse(bytes.fromhex(MESSAGE)))).encode() + b"\n"


def test_an_only_message_does_not_wait_for_another(tmp_path: Path) -> None:
    for words, text in (
        (["decode", "--json"], CAPTURE),
        (["decode", "--json"], LINE),
        (["decode"], LINE),
        (["decode", "--hex"], CAPTURE),
        (["lint", "--json"], LINE),
        (["lint"], CAPTURE),
    ):
        with running(tmp_path, *words) as process, talking(process, text) as line:
            assert line().strip(), words
            assert process.poll() is None
        assert process.returncode in (0, 1)


def test_messages_in_the_midst_of_media(tmp_path: Path) -> None:
    """Nothing in the traffic is a pause, yet what came before is given."""
    media = network.pcap(PACKETS)[24:]
    with decoding(tmp_path) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(CAPTURE)
        ready: list[int] = []
        for _ in range(600):
            process.stdin.write(media)
            process.stdin.flush()
            if ready := select.select([process.stdout.fileno()], [], [], 0.05)[0]:
                break
        assert ready
        assert json.loads(process.stdout.readline())["frame"] == 1
        process.stdin.close()
    assert process.returncode == 0


def test_a_list_grows_with_its_capture(tmp_path: Path) -> None:
    with running(tmp_path, "decode") as process, talking(process, CAPTURE) as line:
        assert process.stdin
        assert line().split()[:3] == [b"#", b"frame", b"time"]
        first = line()
        assert first.split()[:2] == [b"1", b"1"]
        process.stdin.write(AGAIN)
        process.stdin.flush()
        second = line()
        assert second.split()[:2] == [b"2", b"2"]
        assert second.split()[3:] == first.split()[3:]
        assert process.poll() is None
    assert process.returncode == 0


def test_a_log_that_grows(tmp_path: Path) -> None:
    """Words may come before and behind a message; the lines are those of the whole input."""
    wrapped = base64.b64encode(bytes.fromhex(MESSAGE))
    begin, end = wrapped[:64] + b"\n", wrapped[64:128] + b"\n" + wrapped[128:] + b"\n"
    texts = [b"a first line\n" + LINE, b"more\nand more\na=key-mgmt:mikey AQAF!!\n" + LINE]
    with decoding(tmp_path, "-q") as process, talking(process, *texts) as line:
        assert process.stdin
        assert process.stderr
        assert json.loads(line())["csb_id"] == f"0x{MESSAGE[8:16]}"
        assert b"error" in line()
        assert json.loads(line())["csb_id"] == f"0x{MESSAGE[8:16]}"
        assert b"line 5" in process.stderr.readline()
        process.stdin.write(begin)
        process.stdin.flush()
        time.sleep(3 * PAUSE)
        process.stdin.write(end)
        process.stdin.flush()
        assert json.loads(line())["csb_id"] == f"0x{MESSAGE[8:16]}"
    assert process.returncode == 3


def test_descriptions_are_encoded_as_they_come(tmp_path: Path) -> None:
    with (
        running(tmp_path, "encode", "-f", "hex") as process,
        talking(process, DESCRIBED) as line,
    ):
        assert line() == LINE
        assert process.poll() is None
    assert process.returncode == 0


def test_media_is_decrypted_as_it_comes(tmp_path: Path) -> None:
    packets = [f"{MEDIA.format(number)}\n".encode() for number in range(3)]
    with running(tmp_path, "srtp", "encrypt", "-q", "--key", KEY) as encrypting:
        protected = encrypting.communicate(b"".join(packets))[0].splitlines(keepends=True)
    with (
        running(tmp_path, "srtp", "decrypt", "-q", "--key", KEY) as process,
        talking(process, *protected) as line,
    ):
        assert [line() for _ in packets] == packets
        assert process.poll() is None
    assert process.returncode == 0


def pcapng(packets: list[bytes]) -> bytes:
    """A pcapng file of packets without a link layer."""
    return wires.many_links([(101, one) for one in packets])


@pytest.mark.parametrize("kind", [network.pcap, pcapng])
def test_a_capture_is_decrypted_as_it_comes(
    tmp_path: Path, kind: Callable[[list[bytes]], bytes]
) -> None:
    whole = kind(PACKETS)
    part = whole[: len(whole) - len(kind(PACKETS[:2])) + len(kind([PACKETS[0]]))]
    with running(tmp_path, "srtp", "encrypt", "-q", "--key", KEY) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(part)
        process.stdin.flush()
        first = b""
        while len(first) < len(part):
            first += os.read(process.stdout.fileno(), 1 << 16)
        process.stdin.write(whole[len(part) :])
        process.stdin.close()
        first += process.stdout.read()
    assert process.returncode == 0
    (tmp_path / "whole").write_bytes(whole)
    command = [str(BIN / "mikeytool"), "srtp", "encrypt", "-q", "--key", KEY, "whole"]
    assert first == subprocess.run(command, cwd=tmp_path, capture_output=True).stdout


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["decode", "--json"], LINE),
        (["decode"], CAPTURE),
        (["encode"], DESCRIBED),
        (["srtp", "encrypt", "--key", KEY], f"{MEDIA.format(1)}\n".encode()),
    ],
)
def test_who_reads_goes_away(tmp_path: Path, words: list[str], text: bytes) -> None:
    with running(tmp_path, *words) as process:
        assert process.stdin
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        process.stdin.write(text)
        process.stdin.flush()
        assert process.wait() == 141
        assert b"mikeytool:" not in process.stderr.read()
