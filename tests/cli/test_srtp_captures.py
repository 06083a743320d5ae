"""Media in capture files, through the command line."""

from __future__ import annotations

import json
import struct

import pytest

from mikeytool.srtp import MasterKey, Sender
from tests.capture import network, wires
from tests.capture.network import ALICE, BOB, Ends, pcap, tcp, udp
from tests.cli.media import (
    CAPTURE,
    KEYS,
    SUITE,
    counts,
    decrypt,
    frame,
    frames_of,
    sdes_line,
    sender,
    write,
)
from tests.cli.shell import Shell
from tests.media.dialogues import answer, message, sdp
from tests.peers.programs import need, run
from tests.srtp.media import rtcp, rtp
from tests.support import TESTS

MARSEILLAISE = "b64:aSBrbm93IGFsbCB5b3VyIGxpdHRsZSBzZWNyZXRz"


@pytest.mark.skipif(not CAPTURE.exists(), reason="../shared is absent")
def test_the_marseillaise_plays(shell: Shell) -> None:
    need("tshark")
    shell.ok(f"mikeytool srtp decrypt {CAPTURE} --key {MARSEILLAISE} -o clear.pcap --report r")
    (row,) = json.loads(shell.path("r").read_text())["streams"]
    assert counts(row, "packets", "decrypted", "failed", "lost") == (11888, 11888, 0, 0)
    options = ["-d", "udp.port==10000,rtp", "-q", "-z", "rtp,streams"]
    shown = run(["tshark", "-r", str(shell.path("clear.pcap")), *options]).decode()
    (stream,) = [line.split() for line in shown.splitlines() if "0xDEADBEEF" in line]
    assert stream[7:11] == ["g711A", "11888", "0", "(0.0%)"]
    checks = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE"]
    bad = ["-Y", "udp.checksum.status != 1 or ip.checksum.status != 1"]
    assert run(["tshark", "-r", str(shell.path("clear.pcap")), *checks, *bad]) == b""
    back = shell.run(f"mikeytool srtp encrypt clear.pcap --key {MARSEILLAISE} -q | cmp - {CAPTURE}")
    assert back.code == 0, back.out + back.err


@pytest.mark.parametrize("kind", ["pcap", "pcapng", "rtpdump"])
def test_encrypt_then_decrypt_is_the_identity_on_captures(shell: Shell, kind: str) -> None:
    clear = [rtp(n, bytes([n]) * n, csrcs=(1, 2), extension=bytes(8)) for n in range(1, 40)]
    clear = [*clear[:10], clear[12], clear[10], clear[11], *clear[13:], rtcp(), rtcp(9)]
    if kind == "pcap":
        data = wires.pcap([frame(each, v6=bool(n % 2)) for n, each in enumerate(clear)])
    elif kind == "pcapng":
        data = wires.section() + wires.interface() + wires.interface(101)
        for n, each in enumerate(clear):
            whole = frame(each)
            data += wires.enhanced(whole[14:] if n % 2 else whole, n, n % 2, wires.option(1, b"hi"))
    else:
        data = b"#!rtpplay1.0 192.0.2.1/5004\n" + struct.pack("!IIIHH", 1000, 5, 0, 5004, 0)
        for n, each in enumerate(clear):
            size = 0 if n >= 39 else len(each)
            data += struct.pack("!HHI", 8 + len(each), size, n) + each
    shell.path("clear").write_bytes(data)
    key = f"--key {KEYS[0].hex()} -q"
    shell.ok(f"mikeytool srtp encrypt clear -o secret {key}")
    shell.ok(f"mikeytool srtp decrypt secret -o again {key}")
    assert shell.path("again").read_bytes() == data
    secret = shell.path("secret").read_bytes()
    assert len(secret) >= len(data) + 10 * len(clear)
    assert shell.run(f"mikeytool srtp decrypt secret {key} | cmp - clear").code == 0


def test_many_flows_have_their_own_keys_and_directions(shell: Shell) -> None:
    there, back = sender(0), sender(1)
    frames = []
    for n in range(5):
        frames += [frame(there.protect(rtp(n, ssrc=1)), 1, 5006), frame(b"\0\1\0\0" * 5, 3, 5006)]
        frames += [frame(back.protect(rtp(n, ssrc=2)), 2, 6000), frame(rtp(n, ssrc=9), 3, 7000)]
    write(shell, "in", frames)
    lines = "".join(f" --sdes '{sdes_line(number)}'" for number in range(2))
    rows = decrypt(shell, "--port 5006 --port 6000", key=lines)
    found = {row["ssrc"]: counts(row, "packets", "decrypted", "skipped") for row in rows}
    assert found == {"0x00000001": (5, 5, 0), "0x00000002": (5, 5, 0), "0x00000009": (5, 0, 5)}
    clear = frames_of(shell, "out")
    assert clear[0::4] == [frame(rtp(n, ssrc=1), 1, 5006) for n in range(5)]
    assert clear[2::4] == [frame(rtp(n, ssrc=2), 2, 6000) for n in range(5)]
    assert clear[1::4] + clear[3::4] == frames[1::4] + frames[3::4]
    assert json.loads(shell.path("report").read_text())["others"] == {"STUN": 5}


def test_an_ssrc_that_is_not_allowed_fails_where_there_are_keys_and_is_skipped_elsewhere(
    shell: Shell,
) -> None:
    good, bad = sender(), sender(1)
    frames = [
        frame(bad.protect(rtp(1, ssrc=66)), 9, 5006), frame(good.protect(rtp(1, ssrc=1)), 1, 5006),
        frame(bad.protect(rtp(2, ssrc=66)), 9, 5006), frame(bad.protect(rtp(1, ssrc=67)), 9, 8000),
    ]  # fmt: skip
    write(shell, "in", frames)
    rows = {row["ssrc"]: row for row in decrypt(shell, "--ssrc 1", 1)}
    assert counts(rows["0x00000042"], "packets", "failed", "skipped") == (2, 2, 0)
    assert counts(rows["0x00000043"], "packets", "failed", "skipped") == (1, 0, 1)
    assert frames_of(shell, "out") == [frame(rtp(1, ssrc=1), 1, 5006), frames[3]]
    assert decrypt(shell, "--ssrc 1 --on-error keep", 1)
    assert frames_of(shell, "out") == [frames[0], frame(rtp(1, ssrc=1), 1, 5006), *frames[2:]]
    shell.path("out").unlink()
    assert decrypt(shell, "--ssrc 1 --on-error stop", 1)
    assert not shell.path("out").exists()


def test_a_clash_is_refused_with_both_sources(shell: Shell) -> None:
    frames = [
        frame(sender().protect(rtp(1, b"mine")), 1),
        frame(sender().protect(rtp(1, b"his")), 2),
    ]
    write(shell, "in", frames)
    ran = shell.fails(
        f"mikeytool srtp decrypt in -o out --force --key {KEYS[0].hex()} --report r", 1,
        "packet 2", "192.0.2.1:5004", "192.0.2.2:5004",
    )  # fmt: skip
    assert "clashes" in ran.err
    (row,) = json.loads(shell.path("r").read_text())["streams"]
    assert counts(row, "decrypted", "failed", "clashes", "replayed") == (1, 1, 1, 0)
    assert frames_of(shell, "out") == [frame(rtp(1, b"mine"), 1)]


def test_a_stream_that_moves_or_is_captured_twice_is_a_note(shell: Shell) -> None:
    one = sender()
    packets = [one.protect(rtp(n)) for n in range(4)]
    frames = [frame(packets[0], 1), frame(packets[0], 1), frame(packets[1], 2),
              frame(packets[1], 2, 9000), frame(packets[2], 2)]  # fmt: skip
    write(shell, "in", frames)
    ran = shell.run(f"mikeytool srtp decrypt in -o out --force --key {KEYS[0].hex()} --report r")
    assert ran.code == 0, ran.err
    assert "has moved, it came from 192.0.2.1:5004 and now from 192.0.2.2:5004" in ran.err
    assert "captured twice" in ran.err
    rows = {
        row["destination"][-4:]: row for row in json.loads(shell.path("r").read_text())["streams"]
    }
    names = ("packets", "decrypted", "duplicates", "replayed", "clashes")
    assert counts(rows["5006"], *names) == (4, 4, 1, 0, 0)
    assert counts(rows["9000"], *names) == (1, 1, 0, 0, 0)
    clear = frames_of(shell, "out")
    assert clear[:2] == [frame(rtp(0), 1)] * 2
    # A copy that comes much later is a replay, and left out.
    late = [frame(packets[0], 1), *[frame(b"\0\1\0\0" * 5)] * 5, frame(packets[0], 1)]
    shell.path("in").write_bytes(network.pcap([each[14:] for each in late]))
    (row,) = decrypt(shell)
    assert counts(row, *names) == (2, 1, 0, 1, 0)
    assert len(frames_of(shell, "out")) == 6


def test_loss_order_roc_and_rtcp_are_reported(shell: Shell) -> None:
    one = sender()
    packets = {n: one.protect(rtp(0xFFFC + n)) for n in range(10)}
    order = [0, 1, 3, 2, 4, 8]
    frames = [frame(packets[n]) for n in order] + [frame(one.protect(rtcp()))]
    write(shell, "in", frames)
    (row,) = decrypt(shell)
    assert counts(row, "packets", "decrypted", "lost", "out_of_order", "roc") == (7, 7, 3, 1, 1)


def test_a_packet_that_is_too_late_fails_and_a_wider_window_takes_it(shell: Shell) -> None:
    one = sender()
    packets = [frame(one.protect(rtp(n))) for n in range(100)]
    write(shell, "in", [packets[1], *packets[3:], packets[2]])
    (row,) = decrypt(shell, code=1)
    assert counts(row, "decrypted", "replayed", "failed", "lost") == (98, 1, 0, 1)
    (row,) = decrypt(shell, "--window 128")
    assert counts(row, "decrypted", "replayed", "lost", "out_of_order") == (99, 0, 0, 1)


def test_a_packet_that_was_cut_short_is_told(shell: Shell) -> None:
    whole = frame(sender().protect(rtp(1)))
    shell.path("in").write_bytes(wires.pcap([whole[:60]], wire=len(whole) - 60))
    key = f"--key {KEYS[0].hex()}"
    ran = shell.fails(f"mikeytool srtp decrypt in -o out --force {key}", 1, "snaplen")
    shell.fails(f"mikeytool srtp decrypt in -o out {key} --port 5006", 1, "packet 1", "snaplen")
    ran = shell.fails(f"mikeytool srtp decrypt in -o out --force {key} --port 9", 1, "chosen")
    assert len(ran.err.splitlines()) == 3
    assert not shell.path("out").exists()


def test_a_broken_file_gives_what_is_before_the_fault(shell: Shell) -> None:
    one = sender()
    data = wires.pcap([frame(one.protect(rtp(n))) for n in range(3)])
    shell.path("in").write_bytes(data[:-1])
    shell.fails(f"mikeytool srtp decrypt in -o out --force --key {KEYS[0].hex()}", 3, "octet 224")
    assert frames_of(shell, "out") == [frame(rtp(0)), frame(rtp(1))]


def test_the_output_is_never_the_input(shell: Shell) -> None:
    write(shell, "in", [frame(sender().protect(rtp(1)))])
    key = f"--key {KEYS[0].hex()}"
    shell.ok(f"cat in | mikeytool srtp decrypt {key} > out")
    assert frames_of(shell, "out") == [frame(rtp(1))]
    before = shell.path("in").read_bytes()
    shell.path("link").symlink_to("in")
    shell.path("hard").hardlink_to(shell.path("in"))
    for name in ("in", "./in", "link", "hard"):
        for force in ("", "--force"):
            shell.fails(f"mikeytool srtp decrypt in -o {name} {force} {key}", 2, "reads this file")
    shell.fails(f"mikeytool srtp decrypt in --report in {key}", 2, "reads this file")
    shell.fails(f"cat in | mikeytool srtp decrypt - -o out {key}", 4, "exists already")
    assert shell.path("in").read_bytes() == before


def test_one_flow_is_chosen(shell: Shell) -> None:
    one = sender()
    frames = [frame(one.protect(rtp(1)), 1), frame(one.protect(rtp(1, ssrc=5)), 2),
              frame(one.protect(rtp(1, ssrc=6)), 3, v6=True)]  # fmt: skip
    write(shell, "in", frames)
    decrypt(shell, f"--flow '192.0.2.1:5004>{wires.DESTINATION}:5006'")
    assert frames_of(shell, "out") == [frame(rtp(1), 1), *frames[1:]]
    decrypt(shell, f"--flow '[2001:db8::3]:5004>[{wires.DESTINATION_6}]:5006'")
    assert frames_of(shell, "out") == [*frames[:2], frame(rtp(1, ssrc=6), 3, v6=True)]
    for wrong in ("1.2.3.4:5", "x:1>y:2", "1.2.3.4:5>[::1]:6", "1.2.3.4:99999>1.2.3.4:1"):
        shell.fails(
            f"mikeytool srtp decrypt in --key {KEYS[0].hex()} --flow '{wrong}'", 2, "--flow"
        )


def test_lines_that_are_no_packets_stop_or_go(shell: Shell) -> None:
    good = sender().protect(rtp(1)).hex()
    stun = (b"\0\1\0\0\x21\x12\xa4\x42" + bytes(12)).hex()
    shell.path("in").write_text(f"{stun}\nnonsense!\n8000\n{good}\n")
    decrypt(shell, code=3)
    assert shell.path("out").read_text().split() == [stun, rtp(1).hex()]
    decrypt(shell, "--on-error keep", code=3)
    assert shell.path("out").read_text().split() == [stun, "8000", rtp(1).hex()]
    shell.path("out").unlink()
    shell.run(f"mikeytool srtp decrypt in -o out --on-error stop --key {KEYS[0].hex()}")
    assert not shell.path("out").exists()


def test_what_begins_like_rtp_on_a_port_of_dns_is_left_alone(shell: Shell) -> None:
    frames = [frame(b"\x81" * 40, port=53), frame(sender().protect(rtp(1)))]
    write(shell, "in", frames)
    assert [row["packets"] for row in decrypt(shell)] == [1, 1]
    assert frames_of(shell, "out") == [frames[0], frame(rtp(1))]


def test_the_roc_is_found_in_the_middle_of_a_stream_and_reported(shell: Shell) -> None:
    key = MasterKey(KEYS[0][:16], KEYS[0][16:])
    late = Sender(SUITE, key, highest={0xCAFEBABE: (5 << 16, -1)})  # type: ignore[dict-item]
    write(shell, "in", [frame(late.protect(rtp(n))) for n in (1, 2)])
    (row,) = decrypt(shell)
    assert (row["roc"], row["decrypted"]) == (5, 2)
    report = json.loads(shell.path("report").read_text())
    assert ["the ROC is 5 and not 0" in note for note in report["notes"]] == [True]
    (row,) = decrypt(shell, "--roc 0xcafebabe=5")
    assert json.loads(shell.path("report").read_text())["notes"] == []


def test_the_streams_are_listed_without_a_key(shell: Shell) -> None:
    one = sender()
    packets = [one.protect(rtp(0xFFFE + n)) for n in range(6) if n != 3]
    frames = [frame(each) for each in packets] + [frame(one.protect(rtcp()), port=5007)]
    write(shell, "in", [*frames, frame(b"\0\1\0\0" * 5)])
    shown = json.loads(shell.ok("mikeytool srtp info in --json"))
    (stream,) = shown["streams"]
    expected = {
        "ssrc": "0xcafebabe", "source": "192.0.2.1:5004", "destination": "198.51.100.2:5006",
        "packets": 5, "payload_types": [8], "first_seq": 0xFFFE, "last_seq": 3, "lost": 1,
        "rtcp": 1, "first": "1970-01-01T00:16:40.000000Z",
    }  # fmt: skip
    assert {name: stream[name] for name in expected} == expected
    assert shown["others"] == {"STUN": 1}
    assert "0xcafebabe" in shell.ok("cat in | mikeytool srtp info")
    shell.path("in").write_bytes(shell.path("in").read_bytes()[:-1])
    assert "0xcafebabe" in shell.fails("mikeytool srtp info in", 3, "octet").out


def test_a_report_fits_a_narrow_terminal(shell: Shell) -> None:
    write(shell, "in", [frame(sender().protect(rtp(1)), v6=True)])
    ran = shell.run(f"mikeytool srtp decrypt in -o out --force --key {KEYS[0].hex()}", COLUMNS="80")
    assert max(map(len, ran.err.splitlines())) <= 80
    assert "[2001:db8::2]:5006" in ran.err


def test_keys_that_do_not_fit_are_explained(shell: Shell) -> None:
    write(shell, "in", [frame(sender().protect(rtp(1)))])
    for options, words in (
        ("", "signalling"),
        (f"--key {'00' * 16}", "without a salt"),
        (f"--key {'00' * 46}", "use AES_256_CM_HMAC_SHA1_80"),
        (f"--suite AEAD_AES_128_GCM --key {'00' * 30}", "AES-GCM has a salt of 12"),
        (f"--key {'00' * 30} --sdes x", "one form"),
        ("--suite AES_CM_128_HMAC_SHA1_80", "go with --key"),
        ("--sdes 'AES_CM_128_HMAC_SHA1_80 inline:AAAA'", "needs 30"),
        (f"--key {'00' * 30} --window 63", "--window"),
    ):
        ran = shell.fails(f"mikeytool srtp decrypt in {options}", 2, words)
        assert ran.out == ""


def test_nothing_is_no_input(shell: Shell) -> None:
    shell.fails(f": | mikeytool srtp decrypt --key {KEYS[0].hex()}", 3, "command before")
    shell.fails(f"mikeytool srtp decrypt nofile --key {KEYS[0].hex()}", 3, "no file 'nofile'")
    shell.path("in").write_bytes(wires.pcap([])[:20])
    shell.fails(f"mikeytool srtp decrypt in --key {KEYS[0].hex()}", 3, "header")
    shell.path("in").write_bytes(wires.pcap([]))
    for work in "encrypt", "decrypt":
        told = f"nothing was {work}ed: there is no packet in it"
        shell.fails(f"mikeytool srtp {work} in -o out --key {KEYS[0].hex()}", 1, told)
        assert not shell.path("out").exists()


def test_wrong_keys_fail_every_packet_in_few_words(shell: Shell) -> None:
    one = sender()
    write(shell, "in", [frame(one.protect(rtp(n))) for n in range(200)])
    wrong = f"mikeytool srtp decrypt in -o out --force --key {KEYS[1].hex()}"
    ran = shell.fails(wrong, 1, "nothing was decrypted", "does not verify")
    assert len(ran.err.splitlines()) == 3
    # Where the flow was chosen, its packets fail, and are told in one line.
    ran = shell.fails(f"{wrong} --port 5006", 1, "packet 1: ", "199 packets more do not verify")
    assert len(ran.err.splitlines()) == 3
    assert not shell.path("out").exists()


def test_the_report_counts_what_comes_late_twice_and_for_another_index(shell: Shell) -> None:
    one, other = sender(), sender(1)
    packets = [one.protect(rtp(n, bytes(20))) for n in range(6000)]
    frames = [frame(each) for n, each in enumerate(packets) if n % 97]
    frames[1500], frames[1501] = frames[1501], frames[1500]
    frames.insert(2600, frames[2590])
    frames.insert(2700, frame(sender().protect(rtp(2650, b"another", ssrc=0xCAFEBABE)), 2))
    frames.insert(4700, frame(other.protect(rtp(1, ssrc=9)), 2))
    for n in range(10, 5500, 500):
        frames.insert(n, frame(one.protect(rtcp())))
        frames.insert(n, frame(b"\0\1\0\0" * 5))
    write(shell, "in", frames)
    alone = decrypt(shell, code=1)
    (one_row, other_row) = sorted(alone, key=lambda row: int(row["ssrc"], 16), reverse=True)
    lost = counts(one_row, "duplicates", "clashes", "failed", "out_of_order")
    assert lost == (1, 1, 1, 1)
    assert counts(other_row, "failed", "skipped") == (0, 1)


def test_jobs_is_accepted_and_without_effect(shell: Shell) -> None:
    """Scripts give it; help no longer shows it."""
    write(shell, "in", [frame(sender().protect(rtp(n))) for n in range(3)])
    alone = shell.run(f"mikeytool srtp decrypt in -o out --force --key {KEYS[0].hex()}")
    both = shell.run(f"mikeytool srtp decrypt in -o both --key {KEYS[0].hex()} --jobs 2")
    note = "note: --jobs has no effect: one process does the work"
    assert (alone.code, both.code) == (0, 0)
    assert both.err.splitlines() == [note, *alone.err.splitlines()]
    assert shell.path("both").read_bytes() == shell.path("out").read_bytes()
    assert "--jobs" not in shell.ok("mikeytool srtp decrypt --help")


def test_bare_keys_load_no_grammar_of_messages(shell: Shell) -> None:
    packet = sender().protect(rtp(1)).hex()
    code = (
        "import sys; from mikeytool.cli.main import run;"
        f"code = run(['srtp', 'decrypt', '-q', '{packet}', '--key', '{KEYS[0].hex()}']);"
        "unused = {'construct', 'rich', 'sqlite3', 'mikeytool.exchange.session',"
        " 'mikeytool.wire.registry', 'tempfile'};"
        "assert code == 0 and not unused & set(sys.modules)"
    )
    shell.ok(f'python -c "{code}"')


def test_a_line_that_comes_again_is_a_replay(shell: Shell) -> None:
    packet = sender().protect(rtp(1)).hex()
    shell.path("in").write_text(f"{packet}\n{packet}\n")
    (row,) = decrypt(shell, code=1)
    assert counts(row, "decrypted", "replayed", "duplicates") == (1, 1, 0)
    assert shell.path("out").read_text().split() == [rtp(1).hex()]


def test_keys_of_another_file(shell: Shell) -> None:
    one = sender()
    write(shell, "in", [frame(one.protect(rtp(n))) for n in range(3)])
    shell.path("sdp").write_text(
        f"v=0\nc=IN IP4 192.0.2.1\nm=audio 5004 RTP/SAVP 8\na=crypto:1 {sdes_line(0)}\n"
    )
    (row,) = decrypt(shell, "--signalling sdp", key="")
    assert (row["decrypted"], row["key"]) == (3, "SDP, media 1 (audio), line 1")
    shell.fails(f"mikeytool srtp decrypt in --signalling sdp --key {KEYS[0].hex()}", 2, "either")


def test_what_is_not_encrypted_is_told(shell: Shell) -> None:
    """Other transports than UDP, streams of other keys, and captures without media."""
    packets = [rtp(number) for number in range(1, 4)]
    framed = b"".join(b"$\0" + len(each).to_bytes(2) + each for each in packets)
    ends = Ends(ALICE, 554, BOB, 4000)
    key = f"--key {KEYS[0].hex()}"
    shell.path("in").write_bytes(pcap([tcp(framed, 1, ends), udp(packets[0], Ends(dport=5000))]))
    ran = shell.fails(f"mikeytool srtp encrypt in -o out {key}", 1, "RTSP interleaved: 3 packets")
    assert "not encrypted; only RTP and RTCP in UDP can be" in ran.err
    shell.ok(f"mikeytool srtp encrypt in -o out2 {key} --port 5000")
    data = b"\x40\1" + len(packets[0]).to_bytes(2) + packets[0]
    shell.path("turn").write_bytes(pcap([udp(data, Ends(sport=3478, dport=5000))]))
    shell.fails(f"mikeytool srtp encrypt turn -o out3 {key}", 1, "TURN: 1 packet not encrypted")
    shell.path("dns").write_bytes(pcap([udp(b"query", Ends(dport=53))]))
    shell.fails(
        f"mikeytool srtp encrypt dns -o out4 {key}", 1, "nothing was encrypted: there is no"
    )
    shell.fails(f"mikeytool srtp encrypt in -o out5 {key} --ssrc 7", 1, "none of the streams")


def test_frames_that_are_not_read_are_why_there_is_no_key(shell: Shell) -> None:
    whole = pcap([udp(rtp(1))])
    shell.path("in").write_bytes(whole[:20] + (147).to_bytes(4, "little") + whole[24:])
    shell.fails("mikeytool srtp decrypt in -o out", 1, "not read: 1 link type 147 (USER0)")


_DTLS = ["a=fingerprint:sha-256 " + ":".join(["AB"] * 32), "a=setup:actpass"]
_ZRTP = ["a=zrtp-hash:1.10 " + "ab" * 32]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (_DTLS, "calls with DTLS-SRTP"),
        (_ZRTP, "calls with ZRTP"),
        ([], "has signalling, but no key"),
        (None, "has no SIP,"),
    ],
)
def test_signalling_without_keys_says_why(shell: Shell, more: list[str] | None, says: str) -> None:
    medium = udp(rtp(1), Ends(ALICE, 4000, BOB, 5000))
    call = [] if more is None else [message("INVITE", sdp(more=more)), message("200", answer())]
    shell.path("call.pcap").write_bytes(pcap([*call, medium]))
    shell.fails("mikeytool srtp decrypt call.pcap -o out.pcap", 2, says)
    shell.path("media.pcap").write_bytes(pcap([medium]))
    command = "mikeytool srtp decrypt media.pcap --signalling call.pcap -o out.pcap"
    shell.fails(command, 2, says)


def test_the_ends_of_an_interleaved_stream_are_whole_on_a_narrow_terminal(shell: Shell) -> None:
    shell.path("in").write_bytes((TESTS / "media/captures/unifi-AVP.pcap").read_bytes())
    lines = shell.ok("mikeytool srtp info in", COLUMNS="80").splitlines()
    assert max(map(len, lines)) <= 80
    ends = [line[12:28].strip() for line in lines if "0x11223344" in line or line[:12].isspace()]
    assert ends[-4:] == ["192.0.2.20:554", "channel 0", "192.0.2.10:40000", "channel 0"]
