"""Keys for the media in a capture, from the signalling in it."""

from __future__ import annotations

import json

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.srtp import MasterKey, Sender
from tests.capture import wires
from tests.capture.wires import ethernet, ipv4, packed, udp
from tests.cli.media import (
    CAPTURE,
    SUITE,
    counts,
    frame,
    frames_of,
    sdes_line,
    sender,
    write,
)
from tests.cli.shell import Shell
from tests.srtp.media import rtp
from tests.support import SHARED, TESTS


def sip(first: str, sdp: str, sequence: str = "1 INVITE") -> bytes:
    lines = [first, "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK1", "Call-ID: call-1",
             "From: <sip:a@example.com>;tag=1", "To: <sip:b@example.com>;tag=2",
             f"CSeq: {sequence}", "Content-Type: application/sdp",
             f"Content-Length: {len(sdp)}", "", sdp]  # fmt: skip
    return "\r\n".join(lines).encode()


def sdp(address: str, port: int, attributes: list[str], transport: str) -> str:
    lines = ["v=0", f"o=- 1 1 IN IP4 {address}", "s=-", f"c=IN IP4 {address}", "t=0 0",
             f"m=audio {port} {transport} 8", *attributes, ""]  # fmt: skip
    return "\r\n".join(lines)


def crypto(number: int, name: str = "AES_CM_128_HMAC_SHA1_80") -> str:
    return f"a=crypto:1 {sdes_line(number, name)}"


def call(offer: list[str], answer: list[str], transport: str = "RTP/SAVP") -> list[bytes]:
    """INVITE from 192.0.2.1, port 5004, and the answer of 198.51.100.2, port 5006."""
    there = (wires.SOURCE, wires.DESTINATION)
    invite = sip("INVITE sip:b@example.com SIP/2.0", sdp(wires.SOURCE, 5004, offer, transport))
    accepted = sip("SIP/2.0 200 OK", sdp(wires.DESTINATION, 5006, answer, transport))
    return [
        ethernet(ipv4(udp(invite, packed(*there), (5060, 5060))), 0x0800),
        ethernet(
            ipv4(udp(accepted, packed(*there[::-1]), (5060, 5060)), addresses=there[::-1]), 0x0800
        ),
    ]


def back(payload: bytes) -> bytes:
    """A frame from the answerer to the caller."""
    pair = (wires.DESTINATION, wires.SOURCE)
    return ethernet(ipv4(udp(payload, packed(*pair), (5006, 5004)), addresses=pair), 0x0800)


def test_sdes_keys_are_found_in_the_capture_itself(shell: Shell) -> None:
    one, two, foreign = sender(0), sender(1), sender(3)
    media = []
    for n in range(3):
        media += [frame(one.protect(rtp(n, ssrc=1))), back(two.protect(rtp(n, ssrc=2)))]
        media += [frame(foreign.protect(rtp(n, ssrc=3)), 7, 9000)]
    intruder = frame(foreign.protect(rtp(9, ssrc=1)))
    signalling = call([crypto(0)], [crypto(1)])
    write(shell, "in", [*signalling, *media, intruder])
    ran = shell.run("mikeytool srtp decrypt in -o out --report report")
    assert ran.code == 1, ran.err
    rows = {row["ssrc"]: row for row in json.loads(shell.path("report").read_text())["streams"]}
    assert counts(rows["0x00000001"], "decrypted", "failed") == (3, 1)
    assert counts(rows["0x00000002"], "decrypted", "failed") == (3, 0)
    assert counts(rows["0x00000003"], "decrypted", "skipped") == (0, 3)
    assert ("frame 1" in rows["0x00000001"]["key"], "frame 2" in rows["0x00000002"]["key"]) == (
        True, True,
    )  # fmt: skip
    assert "frame 2" in ran.err
    clear = frames_of(shell, "out")
    # The descriptions say that the media is clear now.
    assert clear[:2] == call([crypto(0)], [crypto(1)], "RTP/AVP")
    assert clear[2::3] == [frame(rtp(n, ssrc=1)) for n in range(3)]
    assert clear[4::3] == media[2::3]
    assert shell.run("cat in | mikeytool srtp decrypt").code == 2


def test_a_key_opens_its_stream_behind_a_nat_as_well(shell: Shell) -> None:
    one = sender(0)
    packets = [frame(one.protect(rtp(n)), 77, 4321) for n in range(3)]
    write(shell, "in", [*call([crypto(0)], [crypto(1)]), *packets])
    shell.ok("mikeytool srtp decrypt in -o out")
    assert frames_of(shell, "out")[2:] == [frame(rtp(n), 77, 4321) for n in range(3)]


def test_a_capture_without_keys_says_what_to_give(shell: Shell) -> None:
    write(shell, "in", [frame(sender().protect(rtp(1)))])
    shell.fails("mikeytool srtp decrypt in -o out", 2, "no SIP, RTSP or SAP", "--session")
    write(shell, "in", call([crypto(0, "SEED_CTR_128_HMAC_SHA1_80")], []))
    ran = shell.fails("mikeytool srtp decrypt in -o out", 2, "no key in it that")
    assert "frame 1" in ran.err


@pytest.mark.skipif(not CAPTURE.exists(), reason="../shared is absent")
def test_mikey_in_the_clear_as_cameras_send_it(shell: Shell) -> None:
    lines = (SHARED / "data/messages.txt").read_text().splitlines()
    message = next(line for line in lines if not line.startswith("#"))
    # The 30 octets in the TEK of the message: master key and salt.
    octets = bytes.fromhex("1e9091783dfce8ddcd443a53508b64509f35bd8a86bc4d8b7637a502493daf")[1:]
    camera = Sender(SUITE, MasterKey(octets[:16], octets[16:]))
    packets = [frame(camera.protect(rtp(n))) for n in range(3)]
    write(shell, "in", packets)
    shell.ok(f"mikeytool srtp decrypt in -o out --mikey {message}")
    assert frames_of(shell, "out") == [frame(rtp(n)) for n in range(3)]
    attribute = f"a=key-mgmt:mikey {message}"
    write(shell, "in", [*call([attribute], []), *packets])
    shell.ok("mikeytool srtp decrypt in -o out --force")
    assert frames_of(shell, "out")[2:] == [frame(rtp(n)) for n in range(3)]


def test_a_ticket_exchange_in_the_capture_opens_with_its_keys(shell: Shell) -> None:
    shell.ok(
        "mikeytool keygen tpk -o shared.tpk\n"
        "mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com"
        " --tpk file:shared.tpk --tpk-id shared --save t\n"
        "mikeytool transfer init --ticket t --to sip:bob@example.com --session alice > init\n"
        "mikeytool transfer respond init --as sip:bob@example.com --tpk file:shared.tpk"
        " --session bob > resp\n"
        "mikeytool transfer finish resp --session alice"
    )
    offer, answer = (shell.path(name).read_text().strip() for name in ("init", "resp"))
    streams = json.loads(shell.ok("mikeytool transfer show alice --json"))["crypto_sessions"]
    mine, theirs = (int(one["ssrc"], 16) for one in streams)
    clear = [frame(rtp(1, ssrc=mine)), back(rtp(1, ssrc=theirs))]
    for name, one in (("alice", clear[0]), ("bob", clear[1])):
        write(shell, f"{name}.rtp", [one])
        shell.ok(f"mikeytool srtp encrypt {name}.rtp -o {name}.srtp --session {name}")
    signalling = call([f"a=key-mgmt:mikey {offer}"], [f"a=key-mgmt:mikey {answer}"])
    write(shell, "in", signalling + frames_of(shell, "alice.srtp") + frames_of(shell, "bob.srtp"))
    ran = shell.fails("mikeytool srtp decrypt in -o out", 2, "no key in it that")
    assert "--keys FILE opens it" in ran.err
    shell.path("tab").write_text(f"tpk shared {shell.path('shared.tpk').read_text()}")
    shell.ok("mikeytool srtp decrypt in -o out --keys tab")
    now = call([f"a=key-mgmt:mikey {offer}"], [f"a=key-mgmt:mikey {answer}"], "RTP/AVP")
    assert frames_of(shell, "out") == now + clear
    # A stream of neither is not theirs, and the reason says whose the keys are.
    other = [frame(rtp(number, ssrc=mine ^ theirs)) for number in (1, 2)]
    write(shell, "in", signalling + other)
    ran = shell.fails("mikeytool srtp decrypt in -o out2 --keys tab", 1, "nothing was decrypted")
    assert "is for SSRC " + ", ".join(f"{each:#010x}" for each in sorted((mine, theirs))) in ran.err


def test_an_update_in_the_capture_opens_with_the_same_keys(shell: Shell) -> None:
    """RFC 6043 5.2: new keys for the same streams, in a re-INVITE."""
    shell.ok(
        "mikeytool keygen tpk -o shared.tpk\n"
        "mikeytool ticket create --as sip:alice@example.com --to sip:bob@example.com"
        " --flags=FGHJLMNO --tpk file:shared.tpk --tpk-id shared --save t\n"
        "mikeytool transfer init --ticket t --to sip:bob@example.com --session alice > init\n"
        "mikeytool transfer respond init --as sip:bob@example.com --tpk file:shared.tpk"
        " --session bob > resp\n"
        "mikeytool transfer finish resp --session alice"
    )
    ssrc = int(json.loads(shell.ok("mikeytool transfer show alice --json"))
               ["crypto_sessions"][0]["ssrc"], 16)  # fmt: skip
    streams = []
    for number in (1, 2):
        write(shell, "rtp", [frame(rtp(number, ssrc=ssrc))])
        shell.ok(f"mikeytool srtp encrypt rtp -o srtp{number} --session alice")
        streams += frames_of(shell, f"srtp{number}")
        if number == 1:
            shell.ok(
                "mikeytool transfer update --session alice --kemac tek+salt > update\n"
                "mikeytool transfer respond update --session bob > answer\n"
                "mikeytool transfer finish answer --session alice"
            )
    texts = {name: shell.path(name).read_text().strip()
             for name in ("init", "resp", "update", "answer")}  # fmt: skip
    attributes = {name: [f"a=key-mgmt:mikey {text}"] for name, text in texts.items()}
    first = call(attributes["init"], attributes["resp"])
    second = [each.replace(b"1 INVITE", b"2 INVITE").replace(b"z9hG4bK1", b"z9hG4bK2")
              for each in call(attributes["update"], attributes["answer"])]  # fmt: skip
    shell.path("tab").write_text(f"tpk shared {shell.path('shared.tpk').read_text()}")
    write(shell, "in", [*first, streams[0], *second, streams[1]])
    shell.ok("mikeytool srtp decrypt in -o out --keys tab --report report")
    out = frames_of(shell, "out")
    assert [out[2], out[5]] == [frame(rtp(number, ssrc=ssrc)) for number in (1, 2)]
    (row,) = json.loads(shell.path("report").read_text())["streams"]
    assert [one["frame"] for one in row["keys"]] == [3, 6]


def test_media_of_a_refused_offer_stays_as_it_is(shell: Shell) -> None:
    """The call went on without keys: the output holds its packets in the clear, unchanged."""
    source = TESTS / "media" / "captures" / "refused-invite.pcap"
    ran = shell.run(f"mikeytool srtp decrypt {source} -o out.pcap")
    assert ran.code == 1
    assert "nothing was decrypted" in ran.err
    with source.open("rb") as file:
        before = [record.frame for record in open_capture(file)]
    assert frames_of(shell, "out.pcap") == before
