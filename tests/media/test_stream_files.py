"""A file for each stream, and what ffmpeg hears in the WAV files."""

from __future__ import annotations

import io
import random
import struct
import wave
from collections.abc import Sequence
from pathlib import Path

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.media import Report, decrypt_capture, stream_files
from mikeytool.media.sound_files import Silence
from mikeytool.srtp import parse_crypto
from mikeytool.wire.errors import StateError, UsageError
from tests.capture import wires
from tests.capture.network import ALICE, ALICE6, BOB, BOB6, Ends, pcap, tcp, udp
from tests.cli.shell import Shell
from tests.media.dialogues import ACK, INVITE, OK, A, B, answer, message, sdp
from tests.media.test_receiver_demux import THERE, keys, media, sender
from tests.peers.programs import need, run
from tests.srtp.media import rtcp, rtp

CALL = [INVITE, OK, ACK]
ONE = "0xcafebabe_192.0.2.1-4000_192.0.2.2-5000"
TWO = "0xcafebabe_192.0.2.2-5000_192.0.2.1-4000"


def sound(sequence: int, timestamp: int, kind: int, payload: bytes) -> bytes:
    """An RTP packet of a payload type."""
    head = struct.pack("!BBHI", 0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF)
    return head + b"\xca\xfe\xba\xbe" + payload


def split(packets: Sequence[bytes], folder: Path, *, force: bool = False) -> Report:
    return decrypt_capture(io.BytesIO(pcap(packets)), None, split=folder, force=force)


def protected(packets: Sequence[bytes], line: str = A, ends: Ends = THERE) -> list[bytes]:
    one = sender(line)
    return [udp(one.protect(each), ends) for each in packets]


def heard(path: Path) -> bytes:
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        return bytes(file.readframes(file.getnframes()))


def decoded(law: str, octets: bytes) -> bytes:
    """What ffmpeg makes of G.711."""
    return run(
        [need("ffmpeg"), "-v", "error", "-f", law, "-i", "-", "-f", "s16le", "-"], octets
    )  # fmt: skip


def test_each_stream_has_a_file_and_a_wav_file_as_ffmpeg_decodes_it(tmp_path: Path) -> None:
    source = random.Random(1)
    there = [source.randbytes(160) for _ in range(40)]
    back = [bytes(range(256)) for _ in range(30)]
    # The sequence number and the timestamp wrap, and one packet overtakes the first.
    one, two, *rest = protected([sound(65530 + n, 160 * n - 480, 8, there[n]) for n in range(40)])
    packets = [
        *CALL,
        two,
        one,
        *rest,
        *protected([sound(n, 256 * n, 0, back[n]) for n in range(30)], B, THERE.back),
        *media(None, 1, 2, ends=Ends(ALICE, 7000, BOB, 7002)),
    ]
    report = split(packets, tmp_path / "out")
    assert not report.errors
    assert f"{tmp_path}/out: 2 streams written, 2 of them as WAV too" in report.notes
    names = sorted(each.name for each in (tmp_path / "out").iterdir())
    assert names == [f"{ONE}.pcap", f"{ONE}.wav", f"{TWO}.pcap", f"{TWO}.wav"]
    assert heard(tmp_path / f"out/{ONE}.wav") == decoded("alaw", b"".join(there))
    assert heard(tmp_path / f"out/{TWO}.wav") == decoded("mulaw", b"".join(back))
    with (tmp_path / f"out/{TWO}.pcap").open("rb") as file:
        found = [record.frame[14:] for record in open_capture(file)]
    assert found == [udp(sound(n, 256 * n, 0, back[n]), THERE.back) for n in range(30)]


def test_signalling_names_other_payload_types(tmp_path: Path) -> None:
    """The numbers of what one end sends are those in the description of the other."""
    more = ["a=rtpmap:97 PCMA/16000/2", "a=rtpmap:98 PCMU/8000"]
    call = [
        message("INVITE", sdp(A, more=["a=rtpmap:97 pcmu/8000"])),
        message("200", answer(B, more=more), to="b"),
        ACK,
    ]
    payload = random.Random(2).randbytes(320)
    there = protected([sound(n, 160 * n, 97, payload) for n in range(4)])
    back = protected([sound(n, 320 * n, 97, payload) for n in range(4)], B, THERE.back)
    split([*call, *there, *back], tmp_path / "out")
    with wave.open(str(tmp_path / f"out/{ONE}.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (16000, 2)
        assert file.readframes(10**6) == decoded("alaw", payload * 4)
    assert heard(tmp_path / f"out/{TWO}.wav") == decoded("mulaw", payload * 4)


def test_gaps_are_silence_and_other_payloads_too(tmp_path: Path) -> None:
    packets = [
        sound(1, 1000, 0, b"\x01" * 160),
        sound(2, 1160, 13, b"\x40"),  # comfort noise
        sound(3, 1320, 101, bytes(4)),  # a key that was pressed
        sound(4, 1800, 8, b"\x02" * 160),
        # Padding is no sound; nor are a CSRC and a header extension.
        b"\xb1" + sound(5, 1960, 0, b"")[1:12] + bytes(4) + b"\xbe\xde\0\1abcd" + b"\x03" * 8
        + b"\0\0\0\4",
    ]  # fmt: skip
    split([*CALL, *protected(packets)], tmp_path)
    silence = bytes(2 * 640)
    after = decoded("alaw", b"\x02" * 160) + decoded("mulaw", b"\x03" * 8)
    assert heard(tmp_path / f"{ONE}.wav") == decoded("mulaw", b"\x01" * 160) + silence + after


def test_a_jump_that_the_clock_does_not_confirm_is_no_gap(tmp_path: Path) -> None:
    """The frames of these captures are a second apart."""
    jumps = [sound(n, 160 * n + 0x70000000 * (n > 20), 0, bytes([n]) * 160) for n in range(40)]
    split([*CALL, *protected(jumps)], tmp_path / "a")
    whole = b"".join(bytes([n]) * 160 for n in range(40))
    assert heard(tmp_path / f"a/{ONE}.wav") == decoded("mulaw", whole)
    # Another call, whose packets are counted from the beginning again.
    again = [sound(n, 160 * (n % 200), 0, bytes([n]) * 160) for n in range(250)]
    split([*CALL, *protected(again)], tmp_path / "b")
    whole = b"".join(bytes([n]) * 160 for n in range(250))
    assert heard(tmp_path / f"b/{ONE}.wav") == decoded("mulaw", whole)
    held = [sound(0, 0, 0, bytes(160)), sound(1, 70 * 8000, 0, bytes(160))]
    one, two = protected(held)
    split([*CALL, one, *media(None, *range(1, 70), ends=Ends(ALICE, 9, BOB, 9)), two], tmp_path)
    assert len(heard(tmp_path / f"{ONE}.wav")) == 2 * (70 * 8000 + 160)


def test_the_silence_of_all_files_is_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_files, "Silence", lambda: Silence(30))
    packets = protected([sound(n, 20 * 8000 * n, 0, bytes(160)) for n in range(3)])
    report = split([*CALL, *packets], tmp_path)
    assert len(heard(tmp_path / f"{ONE}.wav")) == 2 * (20 * 8000 + 160 + 160)
    assert report.failures == ["--split: the WAV files have 24 hours of silence together, and may"
                               " not have more; further gaps are closed"]  # fmt: skip


def test_a_stream_that_changes_its_rate_is_told(tmp_path: Path) -> None:
    call = [message("INVITE", sdp(A, more=["a=rtpmap:97 PCMU/16000"])), OK, ACK]
    packets = protected([sound(n, 160 * n, (0, 97)[n > 2], bytes(160)) for n in range(5)])
    report = split([*call, *packets], tmp_path)
    assert report.failures == [
        "--split: 2 packets in no WAV file; a file has one rate and at most 2 GiB"
    ]


def test_streams_beyond_the_bound_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_files, "MAX_FILES", 1)
    back = media(sender(B), 1, 2, 3, ends=THERE.back)
    report = split([*CALL, *media(sender(A), 1), *back], tmp_path)
    assert report.failures == ["--split: 3 packets in no file; the first 1 streams have one"]
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"{ONE}.pcap", f"{ONE}.wav"]


def test_files_are_replaced_only_on_request(tmp_path: Path) -> None:
    packets = [*CALL, *media(sender(A), 1, 2), *media(sender(B), 1, ends=THERE.back)]
    for name in (f"{TWO}.pcap", f"{ONE}.wav"):
        folder = tmp_path / name[:-4] / name[-3:]
        folder.mkdir(parents=True)
        (folder / name).write_text("mine")
        with pytest.raises(StateError, match="exists already; choose another folder or add"):
            split(packets, folder)
        assert [(each.name, each.read_text()) for each in folder.iterdir()] == [(name, "mine")]
        split(packets, folder, force=True)
        assert len(list(folder.iterdir())) == 4
        assert (folder / name).read_bytes() != b"mine"


def test_the_input_is_never_replaced(tmp_path: Path) -> None:
    source = tmp_path / f"{ONE}.pcap"
    source.write_bytes(pcap([*CALL, *media(sender(A), 1)]))
    before = source.read_bytes()
    with pytest.raises(UsageError, match="it is the input"):
        decrypt_capture(source, None, split=tmp_path, force=True)
    assert source.read_bytes() == before
    assert list(tmp_path.iterdir()) == [source]


def test_without_a_decrypted_packet_there_is_no_folder(tmp_path: Path) -> None:
    report = split([*CALL, *media(sender(A.replace("WVN", "XVN")), 1)], tmp_path / "out")
    assert report.nothing
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.iterdir())


def test_a_file_in_place_of_the_folder_and_a_missing_parent(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError, match="it is not a folder"):
        split(CALL, tmp_path / "file")
    with pytest.raises(StateError, match="No such file"):
        split(CALL, tmp_path / "none/out")


def test_files_of_a_pcapng_describe_their_interfaces(tmp_path: Path) -> None:
    """Also a second section, whose interfaces have other link types."""
    one, two = sender(A), sender(B)

    def ether(packet: bytes) -> bytes:
        return bytes(12) + b"\x08\0" + packet

    first, second = (udp(one.protect(rtp(n)), THERE) for n in (1, 2))
    third = udp(two.protect(rtp(7)), THERE.back)
    source = b"".join([
        wires.section(), wires.interface(101), *map(wires.enhanced, [*CALL, first]),
        wires.interface(1), wires.enhanced(ether(third), which=1),
        wires.section(">"), wires.interface(1, order=">"),
        wires.enhanced(ether(second), order=">"),
    ])  # fmt: skip
    decrypt_capture(io.BytesIO(source), None, split=tmp_path)
    for name, packets in ((ONE, [udp(rtp(1), THERE), ether(udp(rtp(2), THERE))]),
                          (TWO, [ether(udp(rtp(7), THERE.back))])):  # fmt: skip
        with (tmp_path / f"{name}.pcapng").open("rb") as file:
            assert [each.frame for each in open_capture(file) if each.number] == packets


def test_names_of_ipv6_and_of_interleaved_channels(tmp_path: Path) -> None:
    ends = Ends(ALICE6, 4000, BOB6, 5000)
    source, control = sender(A), udp(sender(A).protect(rtcp()), Ends(ALICE6, 4001, BOB6, 5001))
    packets = [udp(source.protect(rtp(1)), ends), udp(source.protect(rtp(2)), ends), control]
    decrypt_capture(io.BytesIO(pcap(packets)), None, keys(A), split=tmp_path / "6")
    name = "0xcafebabe_2001-db8--1-4000_2001-db8--2-5000"
    assert sorted(each.name for each in (tmp_path / "6").iterdir()) == [
        f"{name}.pcap", f"{name}.wav", f"{name.replace('000', '001')}.pcap",
    ]  # fmt: skip
    framed = b"".join(
        b"$\0" + len(each).to_bytes(2) + each for each in map(sender(A).protect, (rtp(1), rtp(2)))
    )
    line = parse_crypto(f"crypto:{A}")
    decrypt_capture(
        io.BytesIO(pcap([tcp(framed, 1, Ends(ALICE, 554, BOB, 4000))])), None, [line],
        split=tmp_path / "t",
    )  # fmt: skip
    name = "0xcafebabe_192.0.2.1-554-channel-0_192.0.2.2-4000-channel-0"
    assert sorted(each.name for each in (tmp_path / "t").iterdir()) == [
        f"{name}.pcap", f"{name}.wav",
    ]  # fmt: skip
    with (tmp_path / f"t/{name}.pcap").open("rb") as file:
        clear = [udp(rtp(number), Ends(ALICE, 554, BOB, 4000)) for number in (1, 2)]
        found = [each.frame[14:] for each in open_capture(file)]
    assert [each[20:] for each in found] == [each[20:] for each in clear]


def test_the_command_needs_no_output(shell: Shell) -> None:
    shell.path("in").write_bytes(pcap([*CALL, *media(sender(A), 1, 2)]))
    ran = shell.run("mikeytool srtp decrypt in --split out")
    assert (ran.code, ran.out) == (0, "")
    assert "out: 1 stream written, 1 of them as WAV too" in ran.err
    assert shell.run("mikeytool srtp decrypt in --split out").code == 4
    assert shell.run("mikeytool srtp decrypt in --split out --force -o clear").code == 0
    clear = shell.path("clear").read_bytes()
    (line,) = [each.hex() for each in map(sender(A).protect, [rtp(1)])]
    shell.path("lines").write_text(line)
    key = A.split("inline:")[1]
    assert shell.run(f"mikeytool srtp decrypt lines --key {key} --split lined").code == 0
    assert shell.path("lined/0xcafebabe.txt").read_text() == rtp(1).hex() + "\n"
    assert shell.path(f"out/{ONE}.pcap").read_bytes()[24:] in clear
