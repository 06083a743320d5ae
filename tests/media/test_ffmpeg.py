"""ffmpeg at the other end, over the loopback: it sends SRTP, and it receives SRTP."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from mikeytool.srtp import Crypto, Receiver, Sender, parse_crypto, parse_rtcp
from tests.peers.programs import need
from tests.srtp.media import rtp

LINE = "a=crypto:1 {} inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSoj"
KEY = LINE.rpartition(":")[2]
LOCAL = "127.0.0.1"
SECONDS = 30  # until a test gives up
FRAME = 160
SUITES = [
    # The name in SDP, and the one that makes ffmpeg give RTCP a tag of 80 bits.
    ("AES_CM_128_HMAC_SHA1_80", "SRTP_AES128_CM_HMAC_SHA1_80"),
    ("AES_CM_128_HMAC_SHA1_32", "SRTP_AES128_CM_HMAC_SHA1_32"),
]


@pytest.fixture
def ports() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Sockets on an even port, for RTP, and on the one after it, for RTCP."""
    for _ in range(100):
        with closing(_bound(0)) as media:
            port = media.getsockname()[1]
            try:
                control = None if port % 2 else _bound(port + 1)
            except OSError:
                continue
            if control is not None:
                with closing(control):
                    yield media, control
                return
    pytest.fail("no two free ports")


def _bound(port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((LOCAL, port))
    except OSError:
        made.close()
        raise
    return made


def received(from_: socket.socket, *, first: float) -> Iterator[bytes]:
    """What has come; the first packet is waited for."""
    from_.settimeout(first)
    try:
        while True:
            yield from_.recv(2048)
            from_.settimeout(0.2)
    except TimeoutError:
        return


@pytest.mark.parametrize(("name", "theirs"), SUITES)
def test_what_ffmpeg_sends_is_read_here(
    tmp_path: Path, ports: tuple[socket.socket, socket.socket], name: str, theirs: str
) -> None:
    sound = random.Random(1).randbytes(50 * FRAME)
    source = tmp_path / "sound.al"
    source.write_bytes(sound)
    media, control = ports
    done = subprocess.run(
        [
            need("ffmpeg"), "-nostdin", "-v", "error", "-f", "alaw", "-ar", "8000", "-ac", "1",
            "-i", source, "-c:a", "copy", "-f", "rtp", "-srtp_out_suite", theirs,
            "-srtp_out_params", KEY, f"srtp://{LOCAL}:{media.getsockname()[1]}",
        ],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    crypto = parse_crypto(LINE.format(name))
    # The line that ffmpeg prints for the receiver says the same.
    (printed,) = [each for each in done.stdout.decode().splitlines() if "crypto" in each]
    assert parse_crypto(printed.replace(theirs, name)) == crypto
    receiver = Receiver(crypto.suite, crypto.keys)
    packets = [receiver.unprotect(each) for each in received(media, first=SECONDS)]
    assert b"".join(each[12:] for each in packets) == sound
    ssrc = int.from_bytes(packets[0][8:12])
    reports = [receiver.unprotect(each) for each in received(control, first=SECONDS)]
    assert reports
    assert {parse_rtcp(each) for each in reports} == {ssrc}


@pytest.mark.parametrize(("name", "theirs"), SUITES)
def test_ffmpeg_reads_what_is_sent_here(
    tmp_path: Path, ports: tuple[socket.socket, socket.socket], name: str, theirs: str
) -> None:
    crypto = parse_crypto(LINE.format(name))
    frames = 40
    media, control = ports
    port = media.getsockname()[1]
    media.close()
    control.close()
    description = tmp_path / "call.sdp"
    description.write_text(
        f"v=0\r\no=- 0 0 IN IP4 {LOCAL}\r\ns=-\r\nc=IN IP4 {LOCAL}\r\nt=0 0\r\n"
        f"m=audio {port} RTP/SAVP 8\r\n{crypto.line()}\r\n"
    )
    heard = tmp_path / "heard.al"
    command = [
        need("ffmpeg"), "-nostdin", "-v", "error", "-protocol_whitelist", "file,udp,rtp,srtp",
        "-i", str(description), "-c:a", "copy", "-frames:a", str(frames), "-f", "alaw", str(heard),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as program:
        try:
            sound = _send_until_done(program, crypto, port)
        finally:
            program.kill()
        assert program.returncode == 0, program.communicate()[0].decode(errors="replace")
    got = heard.read_bytes()
    # What was sent before ffmpeg listened is lost; after that nothing is.
    assert len(got) == frames * FRAME
    assert got in sound


def _send_until_done(program: subprocess.Popen[bytes], crypto: Crypto, port: int) -> bytes:
    source = random.Random(2)
    sender = Sender(crypto.suite, crypto.keys[0])
    sound = []
    with closing(_bound(0)) as out:
        end = time.monotonic() + SECONDS
        while program.poll() is None and time.monotonic() < end:
            sound.append(source.randbytes(FRAME))
            out.sendto(sender.protect(rtp(len(sound), sound[-1])), (LOCAL, port))
            time.sleep(0.005)
    return b"".join(sound)
