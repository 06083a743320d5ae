"""The CS IDs of media lines, by the name of a purpose and from a session description."""

from __future__ import annotations

import pytest

from mikeytool.capture.sdp_message import SdpPlace
from mikeytool.exchange.crypto_sessions import CsSpec
from mikeytool.media.media_lines import LineUp, MediaLine, media_lines
from mikeytool.media.media_text import parse_cs
from mikeytool.wire.errors import UsageError

HEAD = b"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"
AUDIO = b"m=audio 5004 RTP/SAVP 0\r\na=ssrc:286331153 cname:bob\r\na=ssrc:286331153 label:1\r\n"
VIDEO = b"m=video 5006 RTP/SAVPF 96\r\na=recvonly\r\n"
DECLINED = b"m=video 0 RTP/SAVP 96\r\n"
FAX = b"m=image 5008 udptl t38\r\n"
FLOOR = b"m=application 5010 TCP/TLS/BFCP *\r\n"
MESSAGES = b"m=message 5012 TCP/TLS/MSRP *\r\n"
SSRC = 286331153


def lines_of(*lines: bytes, media: int = 0) -> list[MediaLine]:
    """The media lines of a description with a message at a level."""
    found = media_lines(SdpPlace.find(HEAD + b"".join(lines), media))
    assert found is not None
    return found


def brief(specs: list[CsSpec]) -> list[tuple[int | None, bool, int, int | None]]:
    return [(one.cs_id, one.send, one.protocol, one.ssrc) for one in specs]


@pytest.mark.parametrize(
    ("text", "specs"),
    [
        ("purpose=audio", [(1, True, 0, None), (2, False, 0, None)]),
        ("purpose=video,ssrc=7", [(3, True, 0, 7), (4, False, 0, None)]),
        ("purpose=video,dir=send", [(3, True, 0, None)]),
        ("dir=recv,purpose=video", [(4, False, 0, None)]),
        ("purpose=floor", [(5, True, 241, None)]),
        ("purpose=events,dir=recv", [(7, False, 242, None)]),
    ],
)
def test_the_name_of_a_purpose(
    text: str, specs: list[tuple[int | None, bool, int, int | None]]
) -> None:
    assert brief(parse_cs(text)) == specs


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("purpose=music", "a purpose is one of audio, video, floor, events"),
        ("purpose=", "a purpose is one of"),
        ("purpose=audio,purpose=video", "purpose is given 2 times"),
        ("purpose=audio,id=3", "leave them out"),
        ("purpose=audio,prot=241", "leave them out"),
        ("purpose=audio,dir=both", "dir=send or dir=recv is needed"),
        ("purpose=audio,dir=", "dir=send or dir=recv is needed"),
        ("ssrc=1", "dir=send or dir=recv is needed"),
    ],
)
def test_what_is_no_purpose(text: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_cs(text)


def test_who_answers_sends_in_the_other_one() -> None:
    answers = LineUp(starts=False)
    assert brief(parse_cs("purpose=video", answers)) == [(4, True, 0, None), (3, False, 0, None)]
    assert brief(parse_cs("purpose=floor", answers)) == [(5, True, 241, None)]


def test_an_update_takes_the_ids_that_the_session_has() -> None:
    """Whoever started the session, and whoever the update."""
    called = LineUp(present={1: False, 2: True, 4: True})
    assert brief(parse_cs("purpose=audio,ssrc=9", called)) == [(2, True, 0, 9), (1, False, 0, None)]
    assert brief(parse_cs("purpose=video", called)) == [(4, True, 0, None), (3, False, 0, None)]
    with pytest.raises(UsageError, match="are there already"):
        parse_cs("purpose=audio,dir=recv", LineUp(present={1: True, 2: True}))


def test_media_lines_have_their_place_whatever_is_between() -> None:
    lines = lines_of(DECLINED, FAX, AUDIO, VIDEO, MESSAGES, FLOOR)
    assert brief(LineUp(lines).streams()) == [
        (5, True, 0, SSRC), (6, False, 0, None), (7, True, 0, None), (8, False, 0, None),
        (9, True, 242, None), (11, True, 241, None),
    ]  # fmt: skip
    assert brief(parse_cs("purpose=video,dir=send", LineUp(lines))) == [(7, True, 0, None)]
    assert brief(parse_cs("purpose=floor", LineUp(lines))) == [(11, True, 241, None)]


def test_an_update_adds_the_lines_that_are_new() -> None:
    lines = lines_of(AUDIO, VIDEO)
    there = LineUp(lines, present={1: True, 2: False})
    assert brief(there.streams()) == [(3, True, 0, None), (4, False, 0, None)]
    assert LineUp(lines, present={1: True, 3: True}).streams() == []
    assert LineUp(lines, starts=False).streams() == []


@pytest.mark.parametrize(
    ("lines", "purpose", "why"),
    [
        ([VIDEO, VIDEO], "video", "there are 2 such media lines"),
        ([AUDIO], "video", "there are 0 such media lines"),
        ([AUDIO, DECLINED], "video", "there are 0 such media lines"),
        ([b"m=audio 5004 UDP/DTLS/SCTP 0\r\n"], "audio", "there are 0 such media lines"),
    ],
)
def test_what_stays_ambiguous_is_an_error(lines: list[bytes], purpose: str, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        parse_cs(f"purpose={purpose}", LineUp(lines_of(*lines)))


def test_a_message_at_the_level_of_a_media_line_is_for_that_one() -> None:
    alone = LineUp(lines_of(AUDIO, VIDEO, media=2))
    assert [one.cs_id for one in alone.streams()] == [3, 4]
    with pytest.raises(UsageError, match="there are 0 such media lines"):
        parse_cs("purpose=audio", alone)


def test_descriptions_that_say_too_much_or_nothing() -> None:
    with pytest.raises(UsageError, match="128 media lines"):
        lines_of(*[DECLINED] * 128)
    with pytest.raises(UsageError, match=r"media 1 \(audio\) has 2 SSRCs"):
        lines_of(AUDIO, b"a=ssrc:5 cname:bob\r\n")
    assert LineUp(lines_of(FAX)).streams() == []
    assert media_lines(None) is None
    assert LineUp().streams() == []
