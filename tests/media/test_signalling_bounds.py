"""Whatever a capture has of signalling, a bounded part is kept, and every bound is told."""

from __future__ import annotations

from base64 import b64encode

import pytest

from mikeytool.capture.sdp import read_sdp
from mikeytool.capture.signalling import signals
from mikeytool.media import calls, dialogs, rtsp_sessions, signalling_bounds
from mikeytool.media.calls import Calls, read_calls
from mikeytool.media.signalling_bounds import Bounds, bounded, size_of
from tests.capture.carriers import INVITE, OK, lines, sip
from tests.capture.network import ALICE, CLIENT, THERE, records, stream, udp
from tests.media.dialogues import A, B, answer, message, sdp
from tests.media.test_rtsp_sessions import (
    HEADER,
    SERVER,
    UNICAST,
    ask,
    conversation,
    describe,
    setup,
)
from tests.srtp.media import rtp

CANDIDATE = f"a=candidate:1 1 UDP 1 {ALICE} {{}} typ host"


def calls_in(*packets: bytes) -> Calls:
    return read_calls(records(packets))


def told(*packets: bytes) -> list[str]:
    return calls_in(*packets).left_out


def test_nothing_is_told_of_what_is_used() -> None:
    assert told(message("INVITE", sdp(A)), message("200", answer(A), to="b")) == []
    full = sdp(
        *[A] * 16, more=[f"a=candidate:1 1 UDP 1 {ALICE} {n} typ host" for n in range(1, 33)]
    )
    assert told(message("INVITE", full)) == []


def test_messages_that_the_capture_cut_short_are_told() -> None:
    call = [message("INVITE", sdp(A))[:200], message("200", answer(A), to="b")[:-40]]
    others = [udp(rtp(1))[:40], udp(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")[:50]]
    (note,) = told(*call, *others, stream(message("INVITE", sdp(A))[28:], 1000, 1)[1][:300])
    assert note.startswith("3 messages of calls, incomplete; the capture lacks")
    # A stream whose second segment was lost, and the other direction.
    offer = sip(INVITE, sdp(A))
    first, _, *rest = stream(offer + offer, offer.index(b"v=0") + 20, 1000, opened=False)
    (note,) = told(first, *rest, *stream(sip(OK, answer(B)), 1400, 1, CLIENT.back, opened=False))
    assert note.startswith("1 message of calls, incomplete")


def test_header_extensions_that_stay_encrypted_are_told() -> None:
    extension = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
    plain = f"a=extmap:4 {extension}"
    assert told(message("INVITE", sdp(A, more=[plain]))) == []
    hidden = f"a=extmap:4/sendrecv urn:ietf:params:rtp-hdrext:encrypt {extension}"
    (note,) = told(message("INVITE", sdp(A, more=[hidden, plain])))
    assert "RFC 6904" in note


@pytest.mark.parametrize(
    ("more", "bound"),
    [
        ([f"a=crypto:{A}"] * 16, "a part of a description has more than 16 keys of one kind: 1"),
        (["a=key-mgmt:mikey AQAFAA=="] * 20, "more than 16 keys of one kind: 4"),
        (["m=audio 4000 RTP/SAVP 0"] * 70, "a description has more than 64 media: 7"),
        (["m=audio 4000 RTP/SAVP 0"] * 1100, "more than 1024 media; not read: 1"),
        ([f"a=ssrc:{n} cname:x" for n in range(40)], "more than 32 SSRCs: 1"),
        ([CANDIDATE.format(n) for n in range(1, 50)], "more than 32 candidates: 1"),
    ],
)
def test_bounds_of_a_description(more: list[str], bound: str) -> None:
    (note,) = told(message("INVITE", sdp(A, more=more)))
    assert bound in note
    assert note.endswith(" left out")


def test_bounds_of_a_description_in_a_file() -> None:
    bounds = Bounds()
    sections = bounded(read_sdp(sdp(*[A] * 20)), bounds)
    assert len(sections[1].cryptos) == 16
    assert bounds.notes() == [
        "a part of a description has more than 16 keys of one kind: 4 left out"
    ]


def test_what_comes_first_is_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    one = [message("INVITE", sdp(A), call="1"), message("200", answer(A), to="b", call="1")]
    more = [message("INVITE", sdp(A), call=str(n)) for n in range(2, 9)]
    monkeypatch.setattr(calls, "MAX_SIGNALLING", 12_000)
    found = calls_in(*one, *more)
    assert [each.call for each in found.keys][:2] == ["1", "1"]
    (note,) = found.left_out
    assert note == "the messages of calls take more than 0 MB of memory: 7 left out"


def test_keys_beyond_their_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_KEYS_KEPT", 5000)
    found = calls_in(*[message("INVITE", sdp(A), call=str(n)) for n in range(9)])
    assert len(found.keys) == 4
    assert found.left_out == [
        "the keys in the messages of calls take more than 0 MB of memory; the rest is left out"
    ]


def test_one_call_of_many_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Offers, answers of forks, and offers in responses."""
    monkeypatch.setattr(dialogs, "MAX_OF_CALL", 20)
    invites = [message("INVITE", sdp(A), number=n) for n in range(1, 30)]
    assert told(*invites) == ["a call has more than 20 requests: 9 left out"]
    forks = [message("200", answer(A), to=f"b{n}") for n in range(30)]
    assert told(message("INVITE", sdp(A)), *forks) == [
        "a request has more than 16 answers: 14 left out"
    ]
    assert told(message("INVITE"), *forks) == ["a request has more than 16 answers: 14 left out"]
    lost = [message("200", answer(A), to="b", number=n) for n in range(1, 30)]
    assert told(*lost) == ["a call has more than 20 requests: 9 left out"]
    monkeypatch.setattr(dialogs, "MAX_OF_CALL", 3)
    assert told(message("INVITE", sdp(A)), *forks[:8]) == [
        "a call has more than 3 offers and answers: 5 left out"
    ]


def test_rtsp_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_sessions, "MAX_KEPT", 2)
    setups = [each for n in range(4) for each in setup(n, UNICAST, SERVER, HEADER)]
    found = told(*conversation(*describe(), *setups))
    assert "a connection sets up more than 2 media: 2 left out" in found
    assert "a connection has more than 2 parts with keys: 3 left out" in found
    monkeypatch.setattr(rtsp_sessions, "MAX_PARTS", 1)
    found = told(*conversation(*describe(), *setups))
    assert "RTSP messages have more than 1 parts with keys: 4 left out" in found


def test_a_header_with_many_uris_is_read_once() -> None:
    """Not once for each URI."""
    value = ",".join(f'prot=mikey;uri="{n}";data="AQAFAA=="' for n in range(1200))
    packets = conversation(*ask("SETUP", 3, f"KeyMgmt: {value}"))
    assert any("more than 256 parts with keys: 944 left out" in note for note in told(*packets))


def test_mikey_messages_to_open_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def bare(number: int, size: int, kind: int = 0) -> bytes:
        octets = bytes([1, kind, 21, 0]) + number.to_bytes(4) + bytes([0, 1, 0, 0])
        content = octets + size.to_bytes(2) + bytes(size)
        specs = lines(f"a=key-mgmt:mikey {b64encode(content).decode()}")
        return message("INVITE", sdp(A) + specs, call=str(number))

    assert told(*[bare(1, size) for size in range(1, 20)])[0].startswith(
        "a CSB ID has more than 16 messages: 3"
    )
    monkeypatch.setattr(calls, "MAX_MIKEY", 3000)
    assert told(*[bare(number, 600) for number in range(5)]) == [
        "MIKEY messages take more than 0 MB of memory: 2 left out"
    ]
    monkeypatch.setattr(calls, "MAX_MIKEY", 1 << 20)
    monkeypatch.setattr(calls, "MAX_KMS_MESSAGES", 3)
    assert "there are more than 3 messages with a KMS: 2 left out" in told(
        *[bare(number, 600, kind=11) for number in range(5)]
    )


def test_an_announcement_that_is_repeated_is_kept_once() -> None:
    body = b"v=0\r\nm=audio 5004 RTP/SAVP 0\r\na=crypto:" + A.encode() + b"\r\n"
    sap = bytes([0x20, 0, 0, 1, 10, 0, 0, 1]) + b"application/sdp\0" + body
    packets = [udp(sap, THERE._replace(dport=9875, destination="224.2.127.254"))] * 50
    reader = calls._Reader()
    for signal in signals(records(packets)):
        reader.add(signal)
    assert len(reader._described) == 1
    assert len(reader.calls().keys) == 1


def test_texts_of_others_make_few_notes() -> None:
    bounds = Bounds()
    for number in range(100):
        bounds.leave_out(f"bound {number}")
    assert len(bounds.notes()) == signalling_bounds._MOST_BOUNDS + 1
    assert bounds.notes()[-1] == "other bounds were met: 84 left out"


def test_long_texts_count() -> None:
    short, long = (size_of(read_sdp(sdp(A + "x" * length))) for length in (0, 5000))
    assert long - short == 5000
    named = size_of(read_sdp(sdp(more=[f"a=mid:{'m' * 5000}", f"a=control:{'c' * 5000}"])))
    assert named > 10_000
