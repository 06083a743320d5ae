"""Keys of RTSP sessions, and the ends of their media."""

from __future__ import annotations

import pytest

from mikeytool.capture.sdp import G711
from mikeytool.media.ends import channel_end
from mikeytool.media.signalled_keys import SignalledKey
from tests.capture.carriers import key_mgmt, lines, rtsp
from tests.capture.messages import TRANSFER_RESP, UPDATE_RESP, b64
from tests.capture.network import ALICE, BOB, SYN, Ends, tcp
from tests.media.dialogues import A2, A, end, signalled

URI = "rtsp://192.0.2.2/stream"
RTSP = Ends(sport=40000, dport=554)
DESCRIBED = lines(
    "v=0", key_mgmt(TRANSFER_RESP), "m=video 0 RTP/SAVP 96", "a=control:trackID=0",
    "m=audio 0 RTP/SAVP 0", f"a=control:{URI}/trackID=1",
)  # fmt: skip
CLEAR = lines(
    "v=0", "a=control:*", "m=video 0 RTP/AVP 96", "a=control:trackID=0", f"a=crypto:{A}",
    "m=audio 0 RTP/AVP 0", "a=control:trackID=1", f"a=crypto:{A2}",
)  # fmt: skip
UNICAST = "RTP/SAVP;unicast;client_port=5000-5001"
SERVER = f"{UNICAST};server_port=6000-6001;ssrc=11223344"
HEADER = f'KeyMgmt: prot=mikey; uri=""; data="{b64(UPDATE_RESP)}"'


def conversation(*messages: bytes) -> list[bytes]:
    """Requests and answers in turn, each a segment."""
    packets = [tcp(b"", 0, RTSP, flags=SYN), tcp(b"", 0, RTSP.back, flags=SYN)]
    seqs = [1, 1]
    for at, one in enumerate(messages):
        packets.append(tcp(one, seqs[at % 2], RTSP.back if at % 2 else RTSP))
        seqs[at % 2] += len(one)
    return packets


def ask(
    method: str,
    cseq: int,
    *headers: str,
    uri: str = URI,
    body: bytes = b"",
    status: str = "200 OK",
    answer: tuple[str, ...] = (),
    back: bytes = b"",
) -> list[bytes]:
    """A request and its response."""
    base = f"CSeq: {cseq}"
    return [
        rtsp(f"{method} {uri} RTSP/1.0", body, headers=(base, *headers)),
        rtsp(f"RTSP/1.0 {status}", back, headers=(base, *answer)),
    ]


def setup(track: int, client: str, server: str, *headers: str, more: str = "") -> list[bytes]:
    return ask("SETUP", 3 + track, f"Transport: {client}", *headers, uri=f"{URI}/trackID={track}",
               answer=("Session: 77;timeout=60", f"Transport: {server}",
                       *filter(None, [more])))  # fmt: skip


def describe(body: bytes = DESCRIBED) -> list[bytes]:
    return ask("DESCRIBE", 2, answer=(f"Content-Base: {URI}/",), back=body)


def of(*messages: bytes) -> list[SignalledKey]:
    return signalled(*conversation(*messages))


def test_a_description_keys_what_the_server_sends_between_the_ends_of_setup() -> None:
    second = f'{UNICAST.replace("5000-5001", "5002-5003")};server_port=6002;source="192.0.2.77"'
    video, audio = of(*describe(), *setup(0, UNICAST, SERVER), *setup(1, UNICAST, second))
    assert (video.content, video.protocol, video.frame, video.taken) == (
        TRANSFER_RESP,
        "RTSP",
        4,
        6,
    )
    assert (video.call, video.level, video.ssrcs) == ("77", "session level", (0x11223344,))
    assert video.sources == (end(BOB, 6000), end(BOB, 6001))
    assert video.destinations == (end(ALICE, 5000), end(ALICE, 5001))
    assert audio.sources == (end("192.0.2.77", 6002), end("192.0.2.77", 6003))
    assert audio.destinations == (end(ALICE, 5002), end(ALICE, 5003))


def test_crypto_lines_are_those_of_their_media() -> None:
    found = of(*describe(CLEAR), *setup(1, UNICAST, SERVER))
    assert [(one.content, one.sources[0], one.line) for one in found] == [
        (A, end(BOB, 554)[:-2], 1), (A2, end(BOB, 6000), 1),
    ]  # fmt: skip


def test_interleaved_media_has_the_channels_of_its_connection() -> None:
    transport = "RTP/SAVP/TCP;unicast;interleaved=2-3"
    (one, *_) = of(*describe(CLEAR), *setup(0, transport, transport))
    server, client = end(BOB, 554), end(ALICE, 40000)
    assert one.sources == (channel_end(server, 2), channel_end(server, 3))
    assert one.destinations == (channel_end(client, 2), channel_end(client, 3))


def test_multicast_goes_where_the_response_says() -> None:
    transport = "RTP/SAVP;multicast;destination=233.252.0.1;port=5000-5001;ttl=5"
    (one, *_) = of(*describe(CLEAR), *setup(0, "RTP/SAVP;multicast", transport))
    assert one.destinations == (end("233.252.0.1", 5000), end("233.252.0.1", 5001))


@pytest.mark.parametrize("by_client", [True, False])
def test_keymgmt_of_setup(by_client: bool) -> None:
    asked, answered = ((HEADER,), "") if by_client else ((), HEADER)
    found = of(*describe(), *setup(0, UNICAST, SERVER, *asked, more=answered))
    one = next(one for one in found if one.level == "KeyMgmt header")
    ends = (end(ALICE, 5000), end(BOB, 6000))
    assert (one.content, one.earlier, one.taken) == (UPDATE_RESP, (TRANSFER_RESP,), 6)
    assert (one.sources[0], one.destinations[0]) == (ends if by_client else ends[::-1])
    assert one.both_ways


def test_a_setup_that_is_refused_keys_nothing() -> None:
    refused = ask("SETUP", 3, f"Transport: {UNICAST}", HEADER, uri=f"{URI}/trackID=0",
                  status="463 Key management failure")  # fmt: skip
    (one,) = of(*refused)
    assert (one.declined, one.taken) == ("463", 0)


@pytest.mark.parametrize("method", ["SET_PARAMETER", "GET_PARAMETER"])
@pytest.mark.parametrize("line", [f"mikey: {b64(UPDATE_RESP)}", HEADER])
def test_keys_in_parameters(method: str, line: str) -> None:
    body = lines("position: 1", line)
    asked = method == "SET_PARAMETER"
    change = ask(method, 6, "Session: 77", body=body if asked else b"", back=b"" if asked else body)
    found = of(*describe(), *setup(0, UNICAST, SERVER), *change)
    one = found[-1]
    assert (one.content, one.taken, one.frame) == (UPDATE_RESP, 8, 7 if asked else 8)
    assert "parameter" in one.level
    assert (one.sources[0] == end(ALICE, 5000)) is asked
    assert {one.sources[0], one.destinations[0]} == {end(ALICE, 5000), end(BOB, 6000)}
    assert found[0].content == TRANSFER_RESP


def test_teardown_ends_media_and_a_new_setup_begins() -> None:
    down = ask("TEARDOWN", 8, "Session: 77")
    (one,) = of(*describe(), *setup(0, UNICAST, SERVER), *down)
    assert (one.taken, one.ended, one.end) == (6, 8, "TEARDOWN")
    other = SERVER.replace("5000-5001", "5010-5011")
    again = ask("SETUP", 9, f"Transport: {UNICAST}", uri=f"{URI}/trackID=0",
                answer=("Session: 78", f"Transport: {other}"))  # fmt: skip
    found = of(*describe(), *setup(0, UNICAST, SERVER), *down, *describe(), *again)
    live = [one for one in found if one.standing(99).value == "in use"]
    assert [one.destinations[0] for one in live] == [end(ALICE, 5010)]


def test_a_recording_client_keys_what_it_announces() -> None:
    announce = ask("ANNOUNCE", 2, body=DESCRIBED)
    (one, *_) = of(*announce, *setup(0, f"{UNICAST};mode=record", f"{SERVER};RTCP-mux"))
    assert (one.sources[0], one.destinations[0]) == (end(ALICE, 5000), end(BOB, 6000))


def test_what_nobody_set_up_is_for_anything_between_the_hosts() -> None:
    (one,) = of(*describe())
    assert (one.sources, one.destinations) == ((end(BOB, 1)[:-2],), (end(ALICE, 1)[:-2],))
    assert one.call == f"{URI}/"


def test_a_response_that_was_not_captured_leaves_what_was_asked_for() -> None:
    found = of(*describe(CLEAR), *setup(0, UNICAST, SERVER)[:1])
    assert found[0].destinations == (end(ALICE, 5000), end(ALICE, 5001))
    request = setup(0, UNICAST, SERVER, HEADER)[0]
    (one,) = of(request)
    assert (one.content, one.taken, one.sources[0]) == (UPDATE_RESP, 0, end(ALICE, 5000))


def test_payload_types_are_those_that_the_description_names() -> None:
    """Also for keys in a header, which says nothing of them."""
    described = lines(
        "v=0", "m=audio 0 RTP/SAVP 97", "a=control:trackID=0", "a=rtpmap:97 PCMA/16000/2",
        "m=audio 0 RTP/SAVP 98", "a=control:trackID=1", "a=rtpmap:98 pcmu/8000",
        "a=rtpmap:99 opus/48000/2",
    )  # fmt: skip
    first, second = signalled(
        *conversation(
            *ask("DESCRIBE", 1, back=described),
            *setup(0, UNICAST, SERVER, HEADER),
            *setup(1, UNICAST, SERVER.replace("6000-6001", "6002-6003"), HEADER),
        )
    )
    assert first.codecs == {97: G711("PCMA", 16000, 2)}
    assert second.codecs == {98: G711("PCMU", 8000, 1)}
