from __future__ import annotations

from tests.capture.carriers import key_mgmt, lines, rtsp
from tests.capture.media_ends import (
    end,
    keys,
)
from tests.capture.messages import TRANSFER_RESP, UPDATE_RESP, b64
from tests.capture.network import (
    ALICE,
    BOB,
    SYN,
    Ends,
    tcp,
)

URI = "rtsp://192.0.2.2/stream"
DESCRIBED = lines(
    "v=0",
    key_mgmt(TRANSFER_RESP),
    "m=video 0 RTP/SAVP 96",
    "a=control:trackID=0",
    "m=audio 0 RTP/SAVP 0",
    f"a=control:{URI}/trackID=1",
)
RTSP = Ends(sport=40000, dport=554)


def setup(track: int, client: str, server: str, *headers: str, session: str = "77") -> list[bytes]:
    """SETUP and its answer."""
    base = f"CSeq: {3 + track}"
    request = rtsp(
        f"SETUP {URI}/trackID={track} RTSP/1.0", headers=(base, f"Transport: {client}", *headers)
    )
    answer = rtsp(
        "RTSP/1.0 200 OK", headers=(base, f"Session: {session};timeout=60", f"Transport: {server}")
    )
    return [request, answer]


def conversation(*messages: bytes) -> list[bytes]:
    """Requests and answers in turn, each a segment."""
    packets = [tcp(b"", 0, RTSP, flags=SYN), tcp(b"", 0, RTSP.back, flags=SYN)]
    seqs = [1, 1]
    for at, message in enumerate(messages):
        where = RTSP.back if at % 2 else RTSP
        packets.append(tcp(message, seqs[at % 2], where))
        seqs[at % 2] += len(message)
    return packets


DESCRIBE = [
    rtsp(f"DESCRIBE {URI} RTSP/1.0", headers=("CSeq: 2",)),
    rtsp("RTSP/1.0 200 OK", DESCRIBED, headers=("CSeq: 2", f"Content-Base: {URI}/")),
]


def test_rtsp_sets_up_what_was_described() -> None:
    packets = conversation(
        *DESCRIBE,
        *setup(0, "RTP/SAVP;unicast;client_port=5000-5001",
               "RTP/SAVP;unicast;client_port=5000-5001;server_port=6000-6001;ssrc=11223344"),
        *setup(1, "RTP/SAVP;unicast;client_port=5002-5003",
               'RTP/SAVP;unicast;client_port=5002-5003;server_port=6002;source="192.0.2.77"'),
    )  # fmt: skip
    video, audio = keys(*packets)
    assert (video.content, video.protocol, video.frame) == (TRANSFER_RESP, "RTSP", 4)
    assert (video.media, video.kind, video.level) == (1, "video", "session level")
    assert (video.owner, video.peer) == (end(BOB, 6000), end(ALICE, 5000))
    assert (audio.media, audio.kind) == (2, "audio")
    assert (audio.owner, audio.peer) == (end("192.0.2.77", 6002), end(ALICE, 5002))


def test_interleaved_media_has_no_ends() -> None:
    packets = conversation(
        *DESCRIBE, *setup(0, "RTP/SAVP/TCP;interleaved=0-1", "RTP/SAVP/TCP;interleaved=0-1")
    )
    assert {(key.owner, key.peer) for key in keys(*packets)} == {(None, None)}


def test_keymgmt_of_setup_is_the_clients() -> None:
    header = f'KeyMgmt: prot=mikey; uri=""; data="{b64(UPDATE_RESP)}"'
    transport = "RTP/SAVP;unicast;client_port=5000-5001"
    packets = conversation(
        *DESCRIBE, *setup(0, transport, f"{transport};server_port=6000-6001", header)
    )
    of_client = [key for key in keys(*packets) if key.level == "KeyMgmt header"]
    assert [
        (key.content, key.earlier, key.owner, key.peer, key.call, key.media) for key in of_client
    ] == [(UPDATE_RESP, (TRANSFER_RESP,), end(ALICE, 5000), end(BOB, 6000), "77", 1)]


def test_a_recording_client_owns_what_it_announces() -> None:
    announce = rtsp(f"ANNOUNCE {URI} RTSP/1.0", DESCRIBED, headers=("CSeq: 2",))
    packets = conversation(
        announce, rtsp("RTSP/1.0 200 OK", headers=("CSeq: 2",)),
        *setup(0, "RTP/SAVP;unicast;client_port=5000-5001;mode=record",
               "RTP/SAVP;unicast;client_port=5000-5001;server_port=6000-6001;RTCP-mux"),
    )  # fmt: skip
    video, audio = keys(*packets)
    assert (video.owner, video.peer) == (end(ALICE, 5000, 5000), end(BOB, 6000, 6000))
    assert (audio.owner, audio.peer) == (None, None)


def test_a_description_that_nobody_set_up() -> None:
    assert {(key.owner, key.peer, key.call) for key in keys(*conversation(*DESCRIBE))} == {
        (None, None, f"{URI}/")
    }
