"""The ladder of a call: offers, answers and refusals beside MIKEY messages."""

from __future__ import annotations

from itertools import accumulate, pairwise, repeat

import pytest

from mikeytool.capture.captured_messages import find_captured_messages
from mikeytool.media import signalling_steps
from mikeytool.media.signalling_steps import SignallingSteps
from tests.capture.carriers import key_mgmt, rtsp
from tests.capture.messages import ERROR
from tests.capture.network import ALICE, BOB, PROXY, Ends, pcap, tcp, udp
from tests.cli.shell import Shell
from tests.media.dialogues import A2, A32, ACK, A, B, answer, message, sdp
from tests.support import SHARED

CAPTURE = SHARED / "cases/media/refused-invite.pcap"
FINGERPRINT = "a=fingerprint:sha-256 00:11"


def write(shell: Shell, packets: list[bytes]) -> None:
    shell.path("call.pcap").write_bytes(pcap(packets))


def shown(shell: Shell, *packets: bytes) -> list[str]:
    """The arrows without their lines: what is on them, and what came of them."""
    write(shell, list(packets))
    out = shell.ok("mikeytool decode --flow call.pcap")
    assert max(map(len, out.splitlines())) <= 80
    return [
        " ".join(line.translate(dict.fromkeys(map(ord, "|-<>"), " ")).split())
        for line in out.splitlines()
        if "--" in line
    ]


def test_offers_answers_refusals_and_the_end(shell: Shell) -> None:
    offer = sdp(A, A32)
    assert shown(
        shell,
        message("INVITE", offer),
        message("401", to="x"),
        message("ACK", method="ACK", to="x"),
        message("INVITE", offer, number=2),
        message("100", number=2),
        message("180", number=2, to="b"),
        message("200", answer(A32), number=2, to="b"),
        message("ACK", method="ACK", number=2, to="b"),
        message("INVITE", sdp(A2), number=3, to="b"),
        message("488", number=3, to="b"),
        message("BYE", method="BYE", number=4, to="b"),
        message("200", method="BYE", number=4, to="b"),
    ) == [
        "INVITE: audio SDES 1,2 offer",
        "401 INVITE challenge",
        "ACK",
        "INVITE: audio SDES 1,2 offer",
        "180 INVITE",
        "200 INVITE: audio SDES 2 answer",
        "ACK",
        "INVITE: audio SDES 1 offer",
        "488 INVITE refused",
        "BYE end",
        "200 BYE",
    ]


def test_offers_in_responses_and_repetitions(shell: Shell) -> None:
    early = message("183", answer(B), to="b")
    assert shown(
        shell,
        message("INVITE", sdp(A)), early, early,
        message("200", answer(B), to="b"), ACK,
        message("INVITE", number=2, to="b"),
        message("200", answer(B), number=2, to="b"),
        message("ACK", sdp(A), method="ACK", number=2, to="b"),
    ) == [
        "INVITE: audio SDES 1 offer",
        "183 INVITE: audio SDES 1 answer", "183 INVITE: audio SDES 1 again",
        "200 INVITE: audio SDES 1 again", "ACK",
        "INVITE", "200 INVITE: audio SDES 1 offer", "ACK: audio SDES 1 answer",
    ]  # fmt: skip


def test_each_kind_of_keys_is_named_and_no_key_is_shown(shell: Shell) -> None:
    video = ["m=video 4002 UDP/TLS/RTP/SAVPF 96", FINGERPRINT, "m=video 0 RTP/AVP 31",
             "m=audio 4004 RTP/AVP 0", *["m=audio 4006 RTP/AVP 0"] * 3]  # fmt: skip
    offer = sdp(A, more=[key_mgmt(ERROR), *video])
    write(shell, [message("INVITE", offer), message("200", answer(more=[FINGERPRINT]))])
    out = shell.ok("mikeytool decode --flow call.pcap")
    assert "INVITE: audio MIKEY or SDES 1; video DTLS; video port 0; audio" in out
    assert "200 INVITE: audio DTLS " in out
    assert A.split("inline:")[1] not in out
    assert "00:11" not in out


def test_a_mikey_message_follows_what_carried_it(shell: Shell) -> None:
    write(shell, [message("INVITE", sdp(more=[key_mgmt(ERROR)])), message("200", answer(B))])
    assert shell.ok("mikeytool decode --flow call.pcap") == (
        "     192.0.2.1                       192.0.2.2\n"
        "     |                               |\n"
        "     |---- INVITE: audio MIKEY ----->|  offer\n"
        "     |                               |\n"
        f"  1  |---------- Error {len(ERROR)} ---------->|  not checked\n"
        "     |                               |\n"
        "     |<-- 200 INVITE: audio SDES 1 --|  answer"
    )


def test_rtsp_and_the_messages_in_its_parameters(shell: Shell) -> None:
    there = Ends(sport=40000, dport=554)
    body = f"mikey: {key_mgmt(ERROR).split()[1]}\r\n".encode()
    requests = [
        rtsp("OPTIONS * RTSP/1.0", headers=("CSeq: 1",)),
        rtsp("DESCRIBE rtsp://cam/1 RTSP/1.0", headers=("CSeq: 2",)),
        rtsp("SETUP rtsp://cam/1/a RTSP/1.0", headers=("CSeq: 3",)),
        rtsp("GET_PARAMETER rtsp://cam/1 RTSP/1.0", headers=("CSeq: 4",)),
        rtsp("SET_PARAMETER rtsp://cam/1 RTSP/1.0", body, headers=("CSeq: 5", "Session: 9"))
        .replace(b"application/sdp", b"text/parameters"),
        rtsp("TEARDOWN rtsp://cam/1 RTSP/1.0", headers=("CSeq: 6", "Session: 9")),
    ]  # fmt: skip
    described = sdp(more=["a=control:a", key_mgmt(ERROR)], port=0)
    responses = [
        rtsp("RTSP/1.0 200 OK", headers=("CSeq: 1",)),
        rtsp("RTSP/1.0 200 OK", described, headers=("CSeq: 2",)),
        rtsp("RTSP/1.0 461 Unsupported transport", headers=("CSeq: 3",)),
        rtsp("RTSP/1.0 200 OK", headers=("CSeq: 5", "Session: 9;timeout=60")),
    ]

    def segments(messages: list[bytes], ends: Ends) -> list[bytes]:
        return [*map(tcp, messages, accumulate(map(len, messages), initial=1), repeat(ends))]

    assert shown(shell, *segments(requests, there), *segments(responses, there.back)) == [
        "DESCRIBE", "SETUP", "SET_PARAMETER: MIKEY", f"1 Error {len(ERROR)} not checked",
        "TEARDOWN end", "200 DESCRIBE: audio MIKEY", f"2 Error {len(ERROR)} not checked",
        "461 SETUP refused", "200 SET_PARAMETER",
    ]  # fmt: skip
    listed = shell.ok("mikeytool decode call.pcap")
    assert "mikey parameter" in listed


def test_other_methods_are_not_shown(shell: Shell) -> None:
    write(shell, [message("REGISTER", method="REGISTER"), message("200", method="REGISTER")])
    shell.fails("mikeytool decode --flow call.pcap", 3, "no MIKEY message", "2 SIP")


def test_several_captures_keep_their_order(shell: Shell) -> None:
    write(shell, [message("INVITE", sdp(A)), message("200", answer(B), to="b")])
    shell.path("other.pcap").write_bytes(pcap([message("INVITE", sdp(A2), call="other")]))
    out = shell.ok("mikeytool decode --flow call.pcap other.pcap")
    assert [line.split()[-1] for line in out.splitlines() if "--" in line] == [
        "offer", "answer", "offer",
    ]  # fmt: skip


@pytest.mark.parametrize("width", [76, 80, 100])
def test_long_labels_fit(shell: Shell, width: int) -> None:
    """Also those of hops at the right edge, and of a host that talks to itself."""
    more = [f"m=video {port} RTP/SAVP 96" for port in range(6000, 6012, 2)]
    offer = message("INVITE", sdp(A, A32, more=more))[28:]
    hosts = [ALICE, PROXY, BOB, "192.0.2.77", "192.0.2.78"]
    hops = [udp(offer, Ends(one, 5060, two, 5060)) for one, two in pairwise(hosts)]
    here = [udp(offer, Ends("127.0.0.1", 5060, "127.0.0.1", 5062))]
    write(shell, hops + here)
    out = shell.ok("mikeytool decode --flow call.pcap", COLUMNS=str(width))
    assert max(map(len, out.splitlines())) <= width
    assert out.count("INVITE") == 5


def test_what_is_left_out_is_told(shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signalling_steps, "MAX_STEPS", 1)
    write(shell, [message("INVITE", sdp(A)), message("200", answer(B), to="b")])
    ran = shell.fails("mikeytool decode --flow call.pcap", 3, "1 more are left out")
    assert "INVITE" in ran.out


@pytest.mark.skipif(not CAPTURE.exists(), reason="../shared is absent")
def test_the_library_gives_the_same_steps() -> None:
    steps = SignallingSteps()
    with CAPTURE.open("rb") as file:
        assert list(find_captured_messages(file, watch=steps.begin())) == []
    assert [(one.frame, one.text, one.result) for one in steps.in_order()][-2:] == [
        (6, "INVITE: audio SDES 1", "offer"), (7, "488 INVITE", "refused"),
    ]  # fmt: skip


def test_a_long_call_id_is_cut(shell: Shell) -> None:
    """More parties than fit side by side have a ladder for each call."""
    calls = [
        message("INVITE", sdp(A), call="x" * 100 + str(at), ends=Ends(f"10.0.0.{at}", 1, PROXY, 2))
        for at in range(6)
    ]
    write(shell, calls)
    for variables in ({}, {"FORCE_COLOR": "1"}):
        out = shell.ok("mikeytool decode --flow call.pcap", **variables)
        assert out.count("call xxx") == 6
    assert max(map(len, shell.ok("mikeytool decode --flow call.pcap").splitlines())) <= 80
