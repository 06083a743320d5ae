"""Media in other transports than UDP, and captures whose link or tunnel hides it."""

from __future__ import annotations

import gzip
import io
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest

from mikeytool.capture import find_captured_messages, open_capture
from mikeytool.capture.gzip_files import Unpacked
from mikeytool.capture.record import Record
from mikeytool.media import Settings, decrypt_capture, list_streams
from mikeytool.media.report import Report
from mikeytool.srtp import parse_crypto, suite
from mikeytool.wire.errors import WireError
from tests.capture import wires
from tests.capture.network import CLIENT, SYN, Ends, tcp
from tests.capture.wires import ethernet, ipv4, packed, udp
from tests.peers.programs import need, run

CAPTURES = Path(__file__).parent / "captures"
HERE, SERVER, PEER = "192.0.2.1", "192.0.2.99", "198.51.100.7"
SSRC = 0xAAAA0001
LINE = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwd"
CRYPTO = parse_crypto(LINE)


def shown(capture: bytes, folder: Path, *options: str) -> list[list[str]]:
    file = folder / "shown.pcap"
    file.write_bytes(capture)
    return [line.split("\t") for line in
            run(["tshark", "-r", str(file), *options]).decode().splitlines()]  # fmt: skip


def decrypted(capture: bytes, **settings: object) -> tuple[bytes, Report]:
    out = io.BytesIO()
    report = decrypt_capture(
        io.BytesIO(capture),
        out,
        [CRYPTO],
        settings=Settings(**settings),  # type: ignore[arg-type]
    )
    return out.getvalue(), report


def payload(number: int, size: int = 40) -> bytes:
    return f"packet {number} ".encode().ljust(size, b".")


def rtp(number: int, size: int = 40) -> bytes:
    return struct.pack("!BBHII", 0x80, 0, number, number * 160, SSRC) + payload(number, size)


class Sender:
    """Protects the packets of one stream."""

    def __init__(self) -> None:
        from mikeytool.srtp import Sender as Protector

        self._sender = Protector(suite(CRYPTO.suite.name), CRYPTO.keys[0])

    def __call__(self, number: int, size: int = 40) -> bytes:
        return self._sender.protect(rtp(number, size))


@pytest.mark.parametrize("name", ["gre", "radiotap"])
def test_info_lists_what_tshark_lists(name: str) -> None:
    need("tshark")
    file = CAPTURES / f"{name}.pcap"
    table = run(["tshark", "-q", "-r", str(file), "-z", "rtp,streams"]).decode()
    theirs = {
        (f"{words[2]}:{words[3]}", f"{words[4]}:{words[5]}", words[6].lower(), int(words[8]))
        for words in (line.split() for line in table.splitlines())
        if len(words) > 9 and words[6].startswith("0x")
    }
    streams = list_streams(file).streams
    assert {(s.source, s.destination, f"{s.ssrc:#010x}", s.packets) for s in streams} == theirs
    assert len(theirs) == 2


@pytest.mark.parametrize("name", ["gre", "radiotap"])
def test_what_was_in_a_tunnel_is_decrypted_there(name: str, tmp_path: Path) -> None:
    need("tshark")
    out = io.BytesIO()
    report = decrypt_capture(CAPTURES / f"{name}.pcap", out)
    assert [(each.packets, each.done) for each in report.streams] == [(20, 20)] * 2
    fields = ["-Y", "rtp", "-T", "fields", "-e", "rtp.payload"]
    rows = shown(out.getvalue(), tmp_path, *fields)
    assert len(rows) == 40
    assert all(row[0].startswith("d5" * 100) and len(row[0]) == 320 for row in rows)


def test_media_in_an_rtsp_connection(tmp_path: Path) -> None:
    need("tshark")
    out = io.BytesIO()
    report = decrypt_capture(CAPTURES / "unifi-AVP.pcap", out)
    assert {each.destination: each.done for each in report.streams} == {
        "192.0.2.10:40000 channel 0": 5,
        "192.0.2.10:5000": 5,
    }
    assert report.notes == [
        "RTSP interleaved: 5 packets written as UDP datagrams between the ends of the connection"
    ]
    fields = ["-T", "fields", "-e", "udp.srcport", "-e", "udp.dstport", "-e", "rtp.payload"]
    rows = shown(out.getvalue(), tmp_path, "-d", "udp.port==554,rtp", "-Y", "rtp", *fields)
    inside = [bytes.fromhex(row[2]) for row in rows if row[0] == "554"]
    beside = [bytes.fromhex(row[2]) for row in rows if row[0] == "6000"]
    assert [each[:6] for each in inside] == [b"video%d" % number for number in range(5)]
    assert [each[:6] for each in beside] == [b"audio%d" % number for number in range(5)]
    # The RTSP messages are what they were.
    kept = ["-Y", "rtsp", "-T", "fields", "-e", "tcp.payload"]
    before = shown(
        (CAPTURES / "unifi-AVP.pcap").read_bytes(), tmp_path, *kept, "-Y", "rtsp && !rtp"
    )
    assert shown(out.getvalue(), tmp_path, *kept) == before


def test_turn_channels_without_their_binding(tmp_path: Path) -> None:
    need("tshark")
    out = io.BytesIO()
    report = decrypt_capture(CAPTURES / "turn-channeldata.pcap", out)
    assert [each.done for each in report.streams] == [2]
    rows = shown(out.getvalue(), tmp_path, "-Y", "rtp", "-T", "fields", "-e", "rtp.payload")
    clear = [b"packet %02d of speech" % number for number in (1, 2)]
    assert [bytes.fromhex(row[0]) for row in rows] == clear


def test_sip_is_called_sip() -> None:
    found = list_streams(CAPTURES / "sipmethods.pcap")
    assert (found.streams, dict(found.others)) == ([], {"SIP": 14})


def test_an_exported_pdu_is_one_invite() -> None:
    with (CAPTURES / "upper.pcap").open("rb") as file:
        (message,) = find_captured_messages(file)
    facts = message.facts
    assert (message.method, facts["transport"]) == ("SIP INVITE", "TCP")
    assert (facts["source"], facts["destination"]) == ("192.0.2.1:40000", "192.0.2.2:5061")


# --- gzip ------------------------------------------------------------------------------------


def records(data: bytes) -> list[Record]:
    return list(open_capture(io.BytesIO(data)))


def test_gzipped_captures() -> None:
    packed_ = (CAPTURES / "capture.pcap.gz").read_bytes()
    plain = gzip.decompress(packed_)
    assert records(packed_) == records(plain)
    # Several members, and zeros behind them, are one file.
    assert records(gzip.compress(plain[:700]) + gzip.compress(plain[700:]) + bytes(9)) == records(
        plain
    )
    report = decrypt_capture(CAPTURES / "capture.pcap.gz", io.BytesIO())
    assert sorted(each.done for each in report.streams) == [1, 30, 30]


def test_a_gzip_that_is_cut_gives_what_is_before() -> None:
    plain = (CAPTURES / "gre.pcap").read_bytes()
    packed_ = gzip.compress(plain)
    for cut in (len(packed_) // 2, len(packed_) - 9):
        seen: list[Record] = []
        with pytest.raises(WireError, match="cut off"):
            seen.extend(iter(open_capture(io.BytesIO(packed_[:cut]))))
    with pytest.raises(WireError, match="broken"):
        records(packed_[:200] + b"\xff" * 200)


def test_a_gzip_bomb_is_given_up() -> None:
    bomb = gzip.compress(bytes(1 << 27))
    unpacked = Unpacked(io.BytesIO(bomb))
    with pytest.raises(WireError, match="far more"):
        unpacked.readall()


# --- TCP and TURN ------------------------------------------------------------------------------


def segments(stream: bytes, ends: Ends, sizes: Iterable[int], *, syn: bool = True) -> list[bytes]:
    out = [tcp(b"", 999, ends, flags=SYN)] if syn else []
    at = 0
    for size in sizes:
        out.append(tcp(stream[at : at + size], 1000 + at, ends))
        at += size
    if at < len(stream):
        out.append(tcp(stream[at:], 1000 + at, ends))
    return out


def framed(protect: Sender, count: int) -> bytes:
    packets = [protect(number) for number in range(1, count + 1)]
    return b"".join(struct.pack("!H", len(each)) + each for each in packets)


def interleaved(protect: Sender, count: int, channel: int = 0) -> bytes:
    packets = [protect(number) for number in range(1, count + 1)]
    return b"".join(b"$" + struct.pack("!BH", channel, len(each)) + each for each in packets)


ANSWER = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 4\r\n\r\n$\0\xff\xff"
MIXED = [500, 33, 1, 1, 700]


@pytest.mark.parametrize("sizes", [[], [1] * 300, MIXED, [*MIXED, 3, 90, 90, 90, 90]])
@pytest.mark.parametrize("syn", [True, False])
@pytest.mark.parametrize("framing", ["RFC 4571", "RTSP interleaved"])
def test_media_leaves_tcp(framing: str, sizes: list[int], tmp_path: Path, *, syn: bool) -> None:
    need("tshark")
    protect = Sender()
    stream = framed(protect, 30)
    rest = b""
    if framing != "RFC 4571":
        rest = ANSWER * 2
        stream = ANSWER + interleaved(Sender(), 30) + ANSWER
    capture = wires.pcap(segments(stream, CLIENT, sizes, syn=syn), link=101)
    clear, report = decrypted(capture)
    assert [each.done for each in report.streams] == [30], report.failures
    assert report.notes[-1].startswith(f"{framing}: 30 packets")
    fields = ["udp.checksum.status", "udp.srcport", "udp.dstport", "udp.payload",
              "tcp.checksum.status", "tcp.seq_raw", "tcp.payload"]  # fmt: skip
    rows = shown(clear, tmp_path, "-o", "udp.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE",
                 "-o", "tcp.relative_sequence_numbers:FALSE", "-T", "fields",
                 *[word for each in fields for word in ("-e", each)])  # fmt: skip
    media = [row[1:4] for row in rows if row[0] == "1"]
    assert media == [["40000", "5060", rtp(number).hex()] for number in range(1, 31)]
    # What else was in the stream is there, at its place.
    left = [row[5:] for row in rows if row[4] == "1" and row[6]]
    if syn or sizes != [1] * 300:
        octets = b"".join(bytes.fromhex(text) for _, text in left)
        assert octets == rest
        for seq, text in left:
            at = int(seq) - 1000
            assert stream[at : at + len(text) // 2].hex() == text


def test_other_streams_stay() -> None:
    noise = bytes(range(256)) * 8
    for stream in (
        b"\0\x20" + noise,
        b"$" + noise,
        b"\x40\0\0\x30" + noise,
        b"\x16\x03\x01" + noise,
    ):
        capture = wires.pcap(segments(stream, CLIENT, MIXED), link=101)
        clear, report = decrypted(capture)
        assert clear == capture
        assert report.nothing
    assert report.others["TLS"] == 6


def stun(kind: int, *attributes: tuple[int, bytes]) -> bytes:
    body = b"".join(
        struct.pack("!HH", number, len(value)) + value + bytes(-len(value) % 4)
        for number, value in attributes
    )
    return struct.pack("!HHI", kind, len(body), 0x2112A442) + bytes(12) + body


def peer() -> tuple[int, bytes]:
    address = int.from_bytes(packed(PEER)) ^ 0x2112A442
    return 0x12, struct.pack("!BBHI", 0, 1, 7000 ^ 0x2112, address)


def relayed(data: bytes, *, back: bool = False) -> bytes:
    hosts, ports = (HERE, SERVER), (4000, 3478)
    if back:
        hosts, ports = hosts[::-1], ports[::-1]
    return ethernet(ipv4(udp(data, packed(*hosts), ports), addresses=hosts), 0x0800)


def channel_data(packet: bytes) -> bytes:
    return struct.pack("!HH", 0x4001, len(packet)) + packet + bytes(-len(packet) % 4)


BIND = stun(0x0009, (0x0C, b"\x40\x01\0\0"), peer())


@pytest.mark.parametrize("way", ["channel", "Send", "back", "Data"])
def test_turn_names_the_peer(way: str, tmp_path: Path) -> None:
    need("tshark")
    protect = Sender()
    packets = [protect(number, 41) for number in range(1, 9)]
    wrap = {
        "channel": lambda packet: relayed(channel_data(packet)),
        "back": lambda packet: relayed(channel_data(packet), back=True),
        "Send": lambda packet: relayed(stun(0x0016, peer(), (0x13, packet))),
        "Data": lambda packet: relayed(stun(0x0017, peer(), (0x13, packet)), back=True),
    }[way]
    clear, report = decrypted(wires.pcap([relayed(BIND), *map(wrap, packets)]))
    assert report.notes == ["TURN: 8 packets written as UDP datagrams between client and peer"]
    fields = ["ip.src", "udp.srcport", "ip.dst", "udp.dstport", "udp.payload"]
    good = ["-o", "udp.check_checksum:TRUE", "-Y", "udp.checksum.status==1 && !stun"]
    rows = shown(clear, tmp_path, *good, "-T", "fields", *[w for f in fields for w in ("-e", f)])
    ends = [HERE, "4000", PEER, "7000"]
    if way in ("back", "Data"):
        ends = [PEER, "7000", HERE, "4000"]
    assert rows == [[*ends, rtp(number, 41).hex()] for number in range(1, 9)]


def test_turn_over_tcp() -> None:
    protect = Sender()
    stream = BIND + b"".join(channel_data(protect(number, 41)) for number in range(1, 9))
    _, report = decrypted(wires.pcap(segments(stream, CLIENT, [7, 90]), link=101))
    assert [(each.done, each.destination) for each in report.streams] == [(8, f"{PEER}:7000")]


def test_one_line_says_what_is_not_read() -> None:
    _, report = decrypted(wires.pcap([b"frame"] * 3, link=147))
    assert report.failures == [
        "nothing was decrypted: there is no RTP or RTCP in UDP; not read: 3 link type 147 (USER0)"
    ]
    with pytest.raises(WireError, match=r"not read: 3 link type 147 \(USER0\)"):
        list(find_captured_messages(io.BytesIO(wires.pcap([b"frame"] * 3, link=147))))
    assert list_streams(io.BytesIO(wires.pcap([b"frame"] * 3, link=147))).others == {
        "link type 147 (USER0)": 3
    }


def test_no_streams_in_what_only_looks_like_them() -> None:
    llmnr = [bytes.fromhex("8002000000010000000000000570686f6e650000010001")] * 3
    guids = [bytes([0x80, n, 7 * n % 256, n]) + bytes([n] * 12) + b"\1\0" for n in range(100)]
    alone = [rtp(1), b"\x80\xc8\xff\xff" + bytes(24)]
    frames = [wires.udp_frame(each, (5355, 6346)) for each in (*llmnr, *guids, *alone)]
    assert list_streams(io.BytesIO(wires.pcap(frames))).streams == []
    sender_report = b"\x80\xc8\0\x06" + bytes(24)
    (stream,) = list_streams(io.BytesIO(wires.pcap([wires.udp_frame(sender_report)]))).streams
    assert stream.rtcp == 1
