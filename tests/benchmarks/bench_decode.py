"""Reading messages, against tshark: a whole process for one message, and many in one."""

from __future__ import annotations

import base64
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from mikeytool.exchange.session import DEFAULT_SALT_LENGTH
from mikeytool.srtp import suite
from mikeytool.srtp.security_policy import policy_for
from mikeytool.wire.header import HDR, SrtpIdEntry
from mikeytool.wire.message import Message, build_chain
from mikeytool.wire.payloads import KEMAC, RAND, KeyData, T
from tests.support import vectors

MIKEYTOOL = Path(sys.executable).parent / "mikeytool"


def camera_message(number: int) -> bytes:
    """A message as RTSP cameras send it: everything in it can be read without a key."""
    entry = SrtpIdEntry(policy_no=0, ssrc=number, roc=0)
    key = KeyData(type=3, kv=0, key=number.to_bytes(16), salt=bytes(DEFAULT_SALT_LENGTH))
    header = HDR(data_type=0, prf=0, csb_id=number, cs_id_map_type=0, cs_id_map=[entry])
    return Message(
        header,
        [
            T(ts_type=0, ts_value=(0xEC9A52F1 << 32 | number).to_bytes(8)),
            RAND(rand=number.to_bytes(16)),
            policy_for(suite("AES_CM_128_HMAC_SHA1_80"), 0),
            KEMAC(encr_alg=0, encr_data=build_chain([key])),
        ],
    ).build()


def ticket_messages() -> list[bytes]:
    """Every message of the known exchanges; tshark reads no further than T in most."""
    return [
        bytes.fromhex(value)
        for case in vectors("exchanges")
        for name, value in case.items()
        if name.isupper() and value
    ]


def write_pcap(path: Path, messages: list[bytes]) -> None:
    """A capture with a UDP packet for each message, from and to port 2269 on loopback."""
    with path.open("wb") as out:
        out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 101))
        for number, message in enumerate(messages):
            udp = struct.pack(">HHHH", 2269, 2269, 8 + len(message), 0) + message
            size, here = 20 + len(udp), bytes([127, 0, 0, 1])
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, size, 0, 0, 64, 17, 0, here, here) + udp
            out.write(struct.pack("<IIII", number, 0, len(ip), len(ip)) + ip)


def environment() -> dict[str, str]:
    """That of a command: an installed package has its byte code, which some machines forbid."""
    return {n: v for n, v in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}


def seconds(command: list[str]) -> float:
    """How long a command takes, its output thrown away."""
    start = time.perf_counter()
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True, env=environment()
    )
    return time.perf_counter() - start


def compare(title: str, ours: list[str], theirs: list[str], rounds: int, count: int) -> None:
    """Run two commands in turn and print the medians and their ratio."""
    seconds(ours), seconds(theirs)  # warms the caches of both
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    mine, other = (statistics.median(column) for column in zip(*pairs, strict=True))
    if count == 1:
        print(f"{title}: mikeytool {mine:.3f} s, tshark {other:.3f} s,"
              f" ratio of times {mine / other:.2f} (aim: at most 0.6)")  # fmt: skip
    else:
        print(f"{title}: mikeytool {count / mine:,.0f}/s, tshark {count / other:,.0f}/s,"
              f" ratio {other / mine:.2f} (aim: at least 1)")  # fmt: skip


def memory(text: Path, longer: Path, times: int) -> None:
    """Print how much more memory it takes to read a file that is longer by some times."""
    with longer.open("wb") as out:
        for _ in range(times):
            out.write(text.read_bytes())
    short, long = (peak([str(MIKEYTOOL), "decode", "--json", str(path)]) for path in (text, longer))
    print(f"memory for a file {times} times as long: {long / short:.2f} times as much"
          f" ({long >> 10} MiB; aim: below 1.2)")  # fmt: skip


def peak(command: list[str]) -> int:
    """The most memory that a command ever has, in KiB, its output thrown away."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{command} failed")
    return usage.ru_maxrss


def main(count: int = 20_000) -> None:
    """Print the comparisons."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        one, many, text = folder / "one.pcap", folder / "many.pcap", folder / "many.txt"
        line = base64.b64encode(camera_message(1)).decode()
        write_pcap(one, [camera_message(1)])
        compare("decode of one line, whole process", [str(MIKEYTOOL), "decode", line],
                ["tshark", "-r", str(one), "-V"], 9, 1)  # fmt: skip
        for title, messages in (
            ("cameras' messages", [camera_message(number) for number in range(count)]),
            ("ticket messages", (ticket_messages() * count)[:count]),
        ):
            write_pcap(many, messages)
            text.write_text("".join(base64.b64encode(one).decode() + "\n" for one in messages))
            compare(f"decode --json of {count:,} {title}",
                    [str(MIKEYTOOL), "decode", "--json", str(text)],
                    ["tshark", "-r", str(many), "-T", "json"], 3, count)  # fmt: skip
        long = folder / "long.txt"
        memory(text, long, 10)


if __name__ == "__main__":
    main()
