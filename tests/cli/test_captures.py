"""`decode` of captures, from a shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.capture import network
from tests.capture.carriers import INVITE, OK, key_mgmt, lines, rtsp, sdp, sip
from tests.capture.messages import ERROR, TRANSFER_RESP
from tests.capture.network import ALICE, BACK, BOB, PROXY, Ends, stream, tcp, udp
from tests.cli.shell import Shell
from tests.support import vectors

KMS = "192.0.2.5"
TIME = {"value": "ec91f68400000000", "utc": "2025-10-09T08:53:24Z"}
"""Of the fifth frame: 1,760,000,004 seconds since 1970, 2,208,988,800 more since 1900."""
CASE = vectors("exchanges")[0]
BODY = ("Content-Type: application/mikey",)


def message(name: str) -> bytes:
    return bytes.fromhex(CASE[name])


def http(start: str, name: str) -> bytes:
    body = message(name)
    return lines(start, *BODY, f"Content-Length: {len(body)}", "") + body


def story() -> list[bytes]:
    """Alice asks for a ticket and calls Bob through a proxy; he lets it be resolved."""
    post = "POST /keymanagement HTTP/1.1"
    offer = sip(INVITE, sdp(key_mgmt(message("TRANSFER_INIT"))))
    answer = sip(OK, sdp(key_mgmt(message("TRANSFER_RESP")), address=BOB))
    alice, bob = Ends(ALICE, 40000, KMS, 80), Ends(BOB, 40001, KMS, 80)
    return [
        *stream(http(post, "REQUEST_INIT_PSK"), 1000, 1, alice),
        *stream(http("HTTP/1.1 200 OK", "REQUEST_RESP"), 1000, 1, alice.back),
        udp(offer, Ends(ALICE, 5060, PROXY, 5060)),
        udp(offer, Ends(PROXY, 5060, BOB, 5060)),
        *stream(http(post, "RESOLVE_INIT_PSK"), 1000, 1, bob),
        *stream(http("HTTP/1.1 200 OK", "RESOLVE_RESP"), 1000, 1, bob.back),
        udp(answer, Ends(BOB, 5060, PROXY, 5060)),
        udp(answer, Ends(PROXY, 5060, ALICE, 5060)),
    ]


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def write(shell: Shell, packets: list[bytes], name: str = "call.pcap") -> None:
    shell.path(name).write_bytes(network.pcap(packets))


def keys(shell: Shell) -> None:
    shell.path("keys").write_text(
        f"psk {CASE['initiator']} {CASE['psk_initiator']}\n"
        f"psk {CASE['responder']} {CASE['psk_responder']}\n"
        f"tpk {CASE['kms']} {CASE['tpk']}\n"
    )


KINDS = ["REQUEST_INIT_PSK", "REQUEST_RESP", "TRANSFER_INIT", "TRANSFER_INIT",
         "RESOLVE_INIT_PSK", "RESOLVE_RESP", "TRANSFER_RESP", "TRANSFER_RESP"]  # fmt: skip


def test_a_line_a_message(shell: Shell) -> None:
    write(shell, story())
    head, *rows = shell.ok("mikeytool decode call.pcap").splitlines()
    assert head.split() == ["#", "frame", "time", "from", "to", "carried", "by", "call", "level",
                            "message", "CSB", "ID", "octets"]  # fmt: skip
    assert [row.split()[-3] for row in rows] == KINDS
    assert rows[2].split() == [
        "3", "5", "08:53:24.000", "192.0.2.1:5060", "192.0.2.9:5060", "SIP", "INVITE",
        "a84b4c76e66710", "media", "1", "(audio)", "TRANSFER_INIT", "0xe34b3f93",
        str(len(message("TRANSFER_INIT"))),
    ]  # fmt: skip
    assert rows[7].split()[5:8] == ["SIP", "200", "INVITE"]
    assert rows[0].split()[5:9] == ["HTTP", "POST", "-", "-"]


def test_a_list_of_80_columns(shell: Shell) -> None:
    write(shell, story())
    keys(shell)
    listed = shell.ok("mikeytool decode call.pcap --keys keys", COLUMNS="80")
    assert max(map(len, listed.splitlines())) <= 80
    for whole in ("192.0.2.1:40000", "a84b4c76e66710", "media 1 (audio)", *KINDS, "0xe34b3f93"):
        assert whole in listed
    assert listed.count("verified") == 8


def test_with_keys_every_message_is_checked(shell: Shell) -> None:
    write(shell, story())
    keys(shell)
    _, *rows = shell.ok("mikeytool decode call.pcap --keys keys").splitlines()
    assert [row.split()[-1] for row in rows] == ["verified"] * 8


def test_a_key_that_does_not_fit(shell: Shell) -> None:
    write(shell, story())
    ran = shell.run(f"mikeytool decode call.pcap --psk {'00' * 16}")
    assert ran.code == 1
    assert [row.split()[-1] for row in ran.out.splitlines()[1:3]] == ["FAILED", "FAILED"]


def read(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_json_has_the_place(shell: Shell) -> None:
    write(shell, story())
    found = read(shell.ok("mikeytool decode call.pcap --json"))
    assert [one["data_type"] for one in found] == KINDS
    bare = json.loads(shell.ok(f"mikeytool decode --json {CASE['TRANSFER_INIT']}"))
    added = {
        "frame": 5, "time": TIME, "source": "192.0.2.1:5060",
        "destination": "192.0.2.9:5060", "transport": "UDP", "protocol": "SIP",
        "method": "INVITE", "status": None, "call_id": "a84b4c76e66710",
        "level": "media 1 (audio)",
    }  # fmt: skip
    assert found[2] == bare | added
    assert (found[1]["protocol"], found[1]["status"], found[1]["transport"]) == ("HTTP", 200, "TCP")


def test_json_encodes_to_the_same_octets(shell: Shell) -> None:
    write(shell, story())
    hexed = shell.ok("mikeytool decode call.pcap --json | mikeytool encode -f hex").splitlines()
    assert hexed[2] == CASE["TRANSFER_INIT"]
    assert len(hexed) == 8


def test_json_with_keys_matches_answers_to_what_they_answer(shell: Shell) -> None:
    write(shell, story())
    keys(shell)
    found = read(shell.ok("mikeytool decode call.pcap --json --keys keys"))
    assert {one["opened"]["mac"] for one in found} == {"verified"}


def test_one_of_them(shell: Shell) -> None:
    write(shell, story())
    keys(shell)
    tree = shell.ok("mikeytool decode call.pcap --index 8 --keys keys")
    assert tree.startswith("TRANSFER_RESP  CSB ID 0xe34b3f93")
    assert "verified" in tree
    shell.fails("mikeytool decode call.pcap --index 9", 2, "8 messages")


def test_standard_input(shell: Shell) -> None:
    write(shell, story())
    from_file = shell.ok("mikeytool decode call.pcap")
    assert shell.ok("cat call.pcap | mikeytool decode -") == from_file
    assert shell.ok("mikeytool decode < call.pcap") == from_file


def test_several_captures(shell: Shell) -> None:
    write(shell, story())
    found = read(shell.ok("mikeytool decode call.pcap call.pcap --json"))
    assert [one["frame"] for one in found[:8]] == [one["frame"] for one in found[8:]]
    mixed = f"mikeytool decode call.pcap {ERROR.hex()}"
    assert len(read(shell.ok(f"{mixed} --json"))) == 9
    shell.fails(mixed, 2, "without other messages")


def test_the_flow(shell: Shell) -> None:
    write(shell, story())
    keys(shell)
    ladder = shell.ok("mikeytool decode call.pcap --flow --keys keys").splitlines()
    assert ladder[0].split() == ["192.0.2.1", "192.0.2.5", "192.0.2.9", "192.0.2.2"]
    assert ladder[1].split() == ["sip:alice", "sip:kms.example.co", "sip:bob"]
    assert ladder[2].split() == ["@example.com", "m", "@example.com"]
    arrows = [line for line in ladder if line.endswith(("verified", "checked"))]
    assert len(arrows) == 8
    assert all(line.endswith("  verified") for line in arrows)
    ends = [(line.index("|<") if "<" in line else line.index("|-"), ">" in line) for line in arrows]
    assert [right for _, right in ends] == [True, False, True, True, False, True, False, False]


def test_the_flow_is_as_wide_as_the_terminal(shell: Shell) -> None:
    write(shell, story())
    for width in (76, 80, 100, 120):
        ladder = shell.ok("mikeytool decode call.pcap --flow", COLUMNS=str(width)).splitlines()
        assert max(map(len, ladder)) <= width
        assert sum(line.endswith("not checked") for line in ladder) == 8
        text = "\n".join(ladder)
        assert all(f"{kind} {len(message(kind))}" in text for kind in KINDS)


def test_a_call_that_fits_beside_its_arrows(shell: Shell) -> None:
    size = len(TRANSFER_RESP)
    write(shell, [udp(TRANSFER_RESP, Ends(dport=2269)), udp(TRANSFER_RESP, Ends(dport=2269).back)])
    assert shell.ok("mikeytool decode call.pcap --flow") == (
        "     192.0.2.1                192.0.2.2\n"
        "     sip:bob@example.com\n"
        "     |                        |\n"
        f"  1  |-- TRANSFER_RESP {size} -->|  not checked\n"
        "     |                        |\n"
        f"  2  |<-- TRANSFER_RESP {size} --|  not checked"
    )


def test_parties_on_one_host_are_identities(shell: Shell) -> None:
    here = "127.0.0.1"
    packets = [
        udp(message("TRANSFER_INIT"), Ends(here, 2269, here, 2270)),
        udp(message("TRANSFER_RESP"), Ends(here, 2270, here, 2269)),
        udp(ERROR[:8], Ends(here, 9, here, 2269)),
    ]
    write(shell, packets)
    ran = shell.run("mikeytool decode call.pcap --flow")
    heads = [line.split() for line in ran.out.splitlines() if ":" in line]
    assert heads[:2] == [
        ["sip:alice@example.com", "sip:bob@example.com"],
        ["127.0.0.1:9", "127.0.0.1:2269"],
    ]


def test_many_parties_have_a_ladder_for_each_exchange(shell: Shell) -> None:
    calls = [
        udp(ERROR[:4] + bytes([at]) + ERROR[5:], Ends(f"192.0.2.{at + 20}", 1, KMS, 2269))
        for at in range(6)
    ]
    write(shell, calls)
    ladder = shell.ok("mikeytool decode call.pcap --flow")
    assert ladder.count("CSB ID 0x") == 6
    assert ladder.count("Error 46") == 6


def test_broken_messages_keep_their_place(shell: Shell) -> None:
    cut = TRANSFER_RESP[:60]
    bad = sdp("a=key-mgmt:mikey AQ!F", key_mgmt(cut), key_mgmt(ERROR))
    write(shell, [udp(sip(INVITE, bad))])
    ran = shell.fails("mikeytool decode call.pcap", 3, "frame 1, SIP INVITE, media 1 (audio): ")
    assert [row.split()[-3:] for row in ran.out.splitlines()[1:]] == [
        ["broken", "-", "0"],
        ["broken", "0xe34b3f93", "60"],
        ["Error", "0x4c02f8e6", "46"],
    ]
    ran = shell.run("mikeytool decode call.pcap --json")
    first, second, third = read(ran.out)
    assert ran.code == 3
    assert (first["frame"], second["frame"], third["frame"]) == (1, 1, 1)
    assert "character 3" in first["error"]
    assert second["payloads"][0]["payload"] == "T"
    assert "error" in second
    assert "error" not in third
    assert "broken" in shell.run("mikeytool decode call.pcap --flow").out


def test_a_header_that_breaks_off_does_not_hide_the_others(shell: Shell) -> None:
    """RFC 3830 6.1: the common header has ten octets before its CS ID map."""
    for count in range(1, 10):
        write(shell, [udp(sip(INVITE, sdp(key_mgmt(ERROR[:count]), key_mgmt(ERROR))))])
        listed = shell.fails("mikeytool decode call.pcap", 3, "media 1 (audio): ")
        cut, whole = listed.out.splitlines()[1:]
        assert cut.split()[-3:] == [
            "broken", "0x4c02f8e6" if count >= 8 else "-", str(count)
        ]  # fmt: skip
        assert whole.split()[-3:] == ["Error", "0x4c02f8e6", "46"]
        ladder = shell.fails("mikeytool decode call.pcap --flow", 3, "media 1 (audio): ").out
        assert "Error 46" in ladder
        assert f"broken {count}" in ladder


def test_a_single_broken_message_is_an_item_too(shell: Shell) -> None:
    write(shell, [udp(sip(INVITE, sdp("a=key-mgmt:mikey")))])
    ran = shell.fails("mikeytool decode call.pcap --json", 3, "no data")
    assert read(ran.out)[0]["frame"] == 1


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        ([], ["no frames"]),
        ([udp(bytes([128]) * 40)], ["1 frame, 1 UDP;", "no SIP"]),
        ([network.packet(ALICE, BOB, 1, b"ping")] * 2, ["2 frames", "none of them UDP or TCP"]),
        (
            [udp(sip(INVITE, sdp("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:x"))), tcp(b"x", 1)],
            ["2 frames, 1 UDP, 1 TCP", "1 SIP", "1 with a=crypto", "srtp"],
        ),
    ],
)
def test_a_capture_without_mikey_says_what_was_seen(
    shell: Shell, packets: list[bytes], words: list[str]
) -> None:
    write(shell, packets)
    ran = shell.fails("mikeytool decode call.pcap", 3, *words)
    assert ran.out == ""


def test_a_capture_that_breaks_off(shell: Shell) -> None:
    write(shell, story())
    data = shell.path("call.pcap").read_bytes()
    shell.path("cut.pcap").write_bytes(data[:-100])
    ran = shell.fails("mikeytool decode cut.pcap", 3, "the file ends inside this record")
    assert len(ran.out.splitlines()) == 8
    shell.path("head.pcap").write_bytes(data[:10])
    shell.fails("mikeytool decode head.pcap", 3, "inside its header")


def test_packets_that_are_not_whole_are_noted(shell: Shell) -> None:
    write(shell, [udp(ERROR, Ends(dport=2269))[:-10]])
    ran = shell.fails("mikeytool decode call.pcap", 3)
    assert "captured short: 1" in ran.err


def test_what_cannot_be_read_is_noted(shell: Shell) -> None:
    zipped = sip(INVITE, sdp(), headers=("Content-Encoding: gzip",))
    write(shell, [udp(zipped), udp(ERROR, Ends(dport=2269))])
    ran = shell.run("mikeytool decode call.pcap")
    assert ran.code == 0
    assert "note: frame 1: the body is encoded with 'gzip'" in ran.err


def test_rtsp_answers_have_the_method_of_their_request(shell: Shell) -> None:
    there = Ends(sport=40000, dport=554)
    request = rtsp("DESCRIBE rtsp://cam/1 RTSP/1.0", headers=("CSeq: 5",))
    answer = rtsp(
        "RTSP/1.0 200 OK", sdp(key_mgmt(ERROR)), headers=("CSeq: 5", "Session: 99;timeout=6")
    )
    write(
        shell,
        [*stream(answer, 5000, 1, there.back, opened=False), *stream(request, 5000, 1, there)],
    )
    (found,) = read(shell.ok("mikeytool decode call.pcap --json"))
    assert (found["method"], found["status"], found["call_id"]) == ("DESCRIBE", 200, "99")
    assert "RTSP 200 DESCRIBE" in shell.ok("mikeytool decode call.pcap")


def test_names_from_the_wire_do_not_steer_the_terminal(shell: Shell) -> None:
    write(shell, [udp(sip(INVITE, sdp(key_mgmt(ERROR)), call_id="\x1b[31mred"), BACK)])
    for view in ("", "--flow", "--json"):
        assert "\x1b" not in shell.ok(f"mikeytool decode call.pcap {view}")


def test_flow_takes_captures_only(shell: Shell) -> None:
    shell.fails(f"mikeytool decode --flow {ERROR.hex()}", 2, "--flow")
    for other in ("--json", "--hex", "--index 1"):
        shell.fails(f"mikeytool decode --flow {other} {ERROR.hex()}", 2, "--flow")


def test_a_file_that_is_not_there(shell: Shell) -> None:
    shell.fails("mikeytool decode none.pcap", 3, "there is no file")


def test_other_commands_say_how_to_get_a_message_out(shell: Shell) -> None:
    write(shell, story())
    shell.fails("mikeytool encode call.pcap", 3)
    respond = "mikeytool transfer respond call.pcap --as sip:bob@example.com --session s --tpk 00"
    shell.fails(respond, 3, "decode --json --index N | mikeytool encode")
    one = "mikeytool decode call.pcap --json --index 3 | mikeytool encode -f hex"
    assert shell.ok(one) == CASE["TRANSFER_INIT"]
