"""Calls between other people's programs, captured: what the peer heard comes out in the clear."""

from __future__ import annotations

import math
import random
import secrets
import socket
import struct
import subprocess
import wave
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pylibsrtp import Policy, Session

from mikeytool.media import Report, decrypt_capture
from tests.peers.loopback import LOCAL, SECONDS, captured, running, until
from tests.peers.programs import missing, need, run

PROGRAM = Path(__file__).with_name("rtsp_server.py")
DEBIAN_PYTHON = "/usr/bin/python3"  # the one that python3-gi is for
MODULES = Path("/usr/lib/baresip/modules")


def split(capture: Path, folder: Path) -> tuple[Report, list[bytes]]:
    """The report of a capture, and the sounds in it, the longest first."""
    report = decrypt_capture(capture, None, split=folder)
    sounds = []
    for path in folder.glob("*.wav"):
        with wave.open(str(path)) as file:
            sounds.append(bytes(file.readframes(file.getnframes())))
    return report, sorted(sounds, key=len, reverse=True)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_gstreamer_speaks_rtsp_with_mikey(tmp_path: Path, transport: str) -> None:
    """Over UDP, and interleaved; GStreamer's own client says what the sound is."""
    log, heard, capture = tmp_path / "port", tmp_path / "heard", tmp_path / "call.pcapng"
    client = need("gst-launch-1.0")
    found = subprocess.run([DEBIAN_PYTHON, "-c", "import gi"], capture_output=True, check=False)
    if found.returncode:
        missing("python3-gi")
    with running([DEBIAN_PYTHON, PROGRAM], log):
        until(lambda: log.read_bytes().endswith(b"\n"), "port of the server")
        port = int(log.read_text())
        with captured(capture, f"port {port} or udp portrange 10000-65535"):
            ran = subprocess.run(
                [
                    client, "-q", "rtspsrc", f"location=rtsp://{LOCAL}:{port}/sound",
                    f"protocols={transport}", "latency=0", "!", "rtppcmudepay", "!", "mulawdec",
                    "!", "filesink", f"location={heard}",
                ],
                check=False, timeout=SECONDS, capture_output=True,
            )  # fmt: skip
    # It may fail at the end, when the server closes the connection before it does.
    assert len(heard.read_bytes()) == 2 * 160 * 25, ran.stderr
    report, (sound,) = split(capture, tmp_path / "streams")
    assert not report.errors
    assert sound == heard.read_bytes()


def _serve(server: socket.socket, line: str, packets: list[bytes]) -> None:
    """Answer one RTSP client, and send it packets interleaved with RTSP (RFC 2326 10.12)."""
    description = (
        f"v=0\r\no=- 1 1 IN IP4 {LOCAL}\r\ns=-\r\nc=IN IP4 {LOCAL}\r\nt=0 0\r\n"
        f"m=audio 0 RTP/SAVP 0\r\na=control:sound\r\n{line}\r\n"
    )
    server.settimeout(SECONDS)
    client, _ = server.accept()
    with client, client.makefile("rb") as requests:
        while start := requests.readline().split():
            fields = {}
            while (field := requests.readline().strip()) != b"":
                name, _, value = field.decode().partition(":")
                fields[name.lower()] = value.strip()
            method = start[0].decode()
            more = {
                "SETUP": "Transport: RTP/SAVP/TCP;unicast;interleaved=0-1\r\n",
                "DESCRIBE": "Content-Type: application/sdp\r\n"
                f"Content-Length: {len(description)}\r\n",
            }.get(method, "")
            body = description if method == "DESCRIBE" else ""
            reply = f"RTSP/1.0 200 OK\r\nCSeq: {fields['cseq']}\r\nSession: 1\r\n{more}\r\n{body}"
            client.sendall(reply.encode())
            if method == "PLAY":
                for packet in packets:
                    client.sendall(b"$\0" + len(packet).to_bytes(2) + packet)
                return


def test_ffmpeg_takes_the_same_sound_from_an_rtsp_connection(tmp_path: Path) -> None:
    """libsrtp encrypts, ffmpeg decrypts, and so does the capture of the connection."""
    heard, capture = tmp_path / "heard", tmp_path / "call.pcapng"
    key = random.Random(4).randbytes(30)
    line = f"a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{b64encode(key).decode()}"
    one = Session(Policy(
        key=key, ssrc_type=Policy.SSRC_ANY_OUTBOUND,
        srtp_profile=Policy.SRTP_PROFILE_AES128_CM_SHA1_80,
    ))  # fmt: skip
    payloads = [random.Random(n).randbytes(160) for n in range(50)]
    packets = [
        one.protect(struct.pack("!BBHII", 0x80, 0, n, 160 * n, 7) + payload)
        for n, payload in enumerate(payloads)
    ]
    with socket.create_server((LOCAL, 0)) as server:
        port = server.getsockname()[1]
        with captured(capture, f"tcp port {port}"), ThreadPoolExecutor(1) as pool:
            served = pool.submit(_serve, server, line, packets)
            done = run([
                need("ffmpeg"), "-nostdin", "-v", "error", "-rtsp_transport", "tcp", "-i",
                f"rtsp://{LOCAL}:{port}/", "-f", "s16le", str(heard),
            ])  # fmt: skip
            served.result()
    assert not done
    report, (sound,) = split(capture, tmp_path / "streams")
    assert not report.errors
    assert sound == heard.read_bytes()
    assert len(sound) == 2 * 160 * 50


def _ports(count: int) -> list[int]:
    """Free ports, apart from each other and below those that a system gives to anybody."""
    found: list[int] = []
    while len(found) < count:
        port = secrets.randbelow(600) * 16 + 20_000
        if port not in found and _is_free(port):
            found.append(port)
    return found


def _is_free(port: int) -> bool:
    """SIP takes the port of both UDP and TCP."""
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as made:
            try:
                made.bind((LOCAL, port))
            except OSError:
                return False
    return True


def _phone(folder: Path, name: str, port: int, media: int, tone: Path) -> list[str | Path]:
    """The command of a phone that answers every call with a sound."""
    folder.mkdir()
    lines = [
        "poll_method select", f"sip_listen {LOCAL}:{port}", f"rtp_ports {media}-{media + 10}",
        f"audio_player aufile,{folder}/heard.wav", f"audio_source aufile,{tone}",
        "audio_alert none", "ausrc_srate 8000", "auplay_srate 8000", "ausrc_channels 1",
        "auplay_channels 1", f"module_path {MODULES}", "module g711.so", "module aufile.so",
        "module srtp.so", "module_app account.so", "module_app menu.so",
    ]  # fmt: skip
    (folder / "config").write_text("\n".join(lines) + "\n")
    (folder / "accounts").write_text(
        f"<sip:{name}@{LOCAL}:{port}>;regint=0;mediaenc=srtp-mand;answermode=auto;"
        "audio_codecs=PCMU/8000/1\n"
    )
    (folder / "contacts").touch()
    return [need("baresip"), "-f", folder]


def test_baresip_calls_with_sdes(tmp_path: Path) -> None:
    """It sends RTCP in the clear too, before the keys are there and at the end."""
    tone, capture = tmp_path / "tone.wav", tmp_path / "call.pcapng"
    samples = [round(8000 * math.sin(n / 7)) for n in range(4000)]
    with wave.open(str(tone), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    alice, bob, there, back = _ports(4)
    callee = _phone(tmp_path / "bob", "bob", bob, back, tone)
    caller = _phone(tmp_path / "alice", "alice", alice, there, tone)
    log = tmp_path / "bob.log"
    ranges = " or ".join(f"udp portrange {port}-{port + 15}" for port in (there, back))
    with captured(capture, f"udp port {alice} or udp port {bob} or {ranges}"), running(callee, log):
        until(lambda: b"baresip is ready" in log.read_bytes(), "phone that answers")
        subprocess.run(
            [*caller, "-t", "1", "-e", f"/dial sip:bob@{LOCAL}:{bob}"],
            check=True, timeout=SECONDS, capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    report, sounds = split(capture, tmp_path / "streams")
    assert not report.errors
    assert any("RTCP in the clear" in note for note in report.notes)
    # Both play the tone, which μ-law brings within 4 percent.
    assert len(sounds) == 2
    for sound in sounds:
        heard = struct.unpack(f"<{len(sound) // 2}h", sound)
        assert len(heard) >= 2000
        assert all(abs(a - b) <= 20 + abs(b) / 25 for a, b in zip(heard, samples, strict=False))
