"""Which flows a capture's keys open, which are left alone, and what is said of it."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mikeytool.capture.capture_files import open_capture
from mikeytool.media import FlowFilter, Report, Settings, decrypt_capture
from mikeytool.media.demux import Demux
from mikeytool.media.receiver_demux import ReceiverDemux
from mikeytool.srtp import Crypto, MasterKey, Receiver, Sender, parse_crypto, suite
from mikeytool.srtp.index import Excluded
from mikeytool.wire.errors import StateError, UsageError, WireError
from tests.capture.network import ALICE, BOB, Ends, pcap, udp
from tests.media.dialogues import A2, ACK, B2, INVITE, OK, A, B, answer, message, sdp
from tests.srtp.media import rtcp, rtp

CAPTURES = Path(__file__).parent / "captures"
THERE = Ends(ALICE, 4000, BOB, 5000)
F8 = A.replace("1 AES_CM_128", "1 F8_128")
NULL = A.replace("1 AES_CM_128", "3 NULL")
LATER = A.replace("1 AES", "2 AES")
UNKNOWN = A.replace("AES_CM_128", "SEED_CTR_128")


def sender(line: str, roc: int = 0) -> Sender:
    crypto = parse_crypto(f"crypto:{line}")
    return Sender(crypto.suite, crypto.keys[0], roc={0xCAFEBABE: roc})


def run(
    *packets: bytes,
    keys: list[Crypto] | None = None,
    settings: Settings | None = None,
    milliseconds: int = 1000,
) -> tuple[list[bytes], Report]:
    """The packets of a capture after decryption, and the report."""
    out = io.BytesIO()
    data = pcap(packets, milliseconds=milliseconds)
    report = decrypt_capture(io.BytesIO(data), out, keys, settings=settings)
    return [one.frame[14:] for one in open_capture(io.BytesIO(out.getvalue()))], report


def media(sender: Sender | None, *numbers: int, ends: Ends = THERE) -> list[bytes]:
    """RTP packets with these sequence numbers."""
    packets = [rtp(number) for number in numbers]
    return [udp(one if sender is None else sender.protect(one), ends) for one in packets]


def keys(*lines: str) -> list[Crypto]:
    return [parse_crypto(f"crypto:{line}") for line in lines]


def test_the_cipher_is_that_of_the_answer() -> None:
    """F8 and AES-CM have the same tags under one key."""
    for chosen, back in ((F8, B.replace("AES_CM", "F8")), (LATER, B.replace("1 AES", "2 AES"))):
        call = [message("INVITE", sdp(F8, LATER)), message("200", answer(back), to="b"), ACK]
        packets, report = run(*call, *media(sender(chosen), 1, 2))
        assert packets[3:] == media(None, 1, 2)
        assert not [note for note in report.notes if "guess" in note]


def test_without_the_answer_aes_cm_is_a_guess_and_nothing_else_is_guessed() -> None:
    protected = media(sender(LATER), 1, 2)
    packets, report = run(message("INVITE", sdp(F8, LATER)), *protected)
    assert packets[1:] == media(None, 1, 2)
    assert [note for note in report.notes if "guess" in note]
    packets, report = run(message("INVITE", sdp(F8, NULL)), *protected)
    assert packets[1:] == protected
    assert report.nothing


def test_a_suite_that_nobody_knows_is_named_and_no_other_line_is_tried() -> None:
    call = [message("INVITE", sdp(UNKNOWN, LATER)), message("200", answer(UNKNOWN), to="b"), ACK]
    protected = media(sender(LATER), 1, 2, 3)
    packets, report = run(*call, *protected)
    assert packets[3:] == protected
    assert [note for note in report.notes if "SEED" in note and "left as they are" in note]


def test_media_that_goes_on_without_keys_passes() -> None:
    plain = [message("INVITE", sdp(transport="RTP/AVP"), number=2, to="b"),
             message("200", answer(transport="RTP/AVP"), number=2, to="b")]  # fmt: skip
    before, after = media(sender(A), 1, 2), media(None, 3, 4)
    packets, report = run(INVITE, OK, ACK, *before, *plain, *after)
    assert packets[3:5] + packets[7:] == media(None, 1, 2, 3, 4)
    (row,) = report.streams
    assert (row.done, row.skipped, row.failed) == (2, 2, 0)


def test_a_key_changes_at_any_time_and_the_roc_goes_on() -> None:
    again = [message("INVITE", sdp(A2), number=2, to="b"),
             message("200", answer(B2), number=2, to="b")]  # fmt: skip
    first, second = sender(A), sender(A2, roc=1)
    old = media(first, 65534, 65535, 0)
    late = media(first, 1)
    packets, report = run(
        INVITE, OK, ACK, *old, *again, *media(second, 2), *late, *media(second, 3)
    )
    assert packets[3:6] + packets[8:] == media(None, 65534, 65535, 0, 2, 1, 3)
    (row,) = report.streams
    assert [key for _, key in row.keys] == [
        "SIP frame 1, media 1 (audio), line 1", "SIP frame 7, media 1 (audio), line 1",
        "SIP frame 1, media 1 (audio), line 1", "SIP frame 7, media 1 (audio), line 1",
    ]  # fmt: skip
    assert (row.roc, [frame for frame, _ in row.keys]) == (1, [4, 9, 10, 11])


OUTSIDE = Ends("203.0.113.9", 61234, BOB, 5000)


@pytest.mark.parametrize("given", [False, True], ids=["signalled", "given"])
@pytest.mark.parametrize("is_appended", [False, True], ids=["at once", "later"])
def test_a_copy_from_behind_a_nat_is_opened_too(*, given: bool, is_appended: bool) -> None:
    """As where the captures of both sides of a NAT or of a TURN server were merged."""
    call = [] if given else [INVITE, OK, ACK]
    packets = [rtp(number) for number in range(1, 9)]
    protected = list(map(sender(A).protect, packets))
    both = [(one, ends) for one in range(8) for ends in (THERE, OUTSIDE)]
    if is_appended:
        both = [(one, ends) for ends in (THERE, OUTSIDE) for one in range(8)]
    sent = [udp(protected[one], ends) for one, ends in both]
    found, report = run(*call, *sent, keys=keys(A) if given else None, milliseconds=10)
    assert found[len(call) :] == [udp(packets[one], ends) for one, ends in both]
    (row,) = report.streams
    assert (row.packets, row.done, row.duplicates, row.skipped) == (16, 16, 8, 0)
    assert not [note for note in report.notes if "left as they are" in note]


def test_one_key_stream_from_two_sources_is_refused() -> None:
    """In a call as with a key that is given."""
    first, other = sender(A), sender(A)
    clash = [udp(other.protect(rtp(number, b"other")), OUTSIDE) for number in range(1, 30)]
    found, report = run(INVITE, OK, ACK, *media(first, *range(1, 30)), *clash)
    assert found[3:] == media(None, *range(1, 30))
    (row,) = report.streams
    assert (row.done, row.clashes, row.failed, row.skipped) == (29, 29, 29, 0)
    assert "one key" in report.failures[0]
    assert OUTSIDE.source in report.failures[0]


def test_given_keys_may_follow_each_other_on_one_stream() -> None:
    protected = media(sender(A), 1, 2) + media(sender(A2), 3, 4)
    packets, report = run(*protected, keys=keys(A, A2))
    assert packets == media(None, 1, 2, 3, 4)
    assert report.errors == []


def test_a_suite_without_tags_opens_only_what_was_chosen() -> None:
    line = f"{A} UNAUTHENTICATED_SRTP"
    protected = media(sender(line), 1, 2)
    packets, report = run(*protected, keys=keys(line))
    assert packets == protected
    assert "--flow" in report.nothing
    chosen = Settings(flows=FlowFilter.of([5000]))
    packets, report = run(*protected, keys=keys(line), settings=chosen)
    assert packets == media(None, 1, 2)
    # In a call that was answered its ends tell.
    call = [message("INVITE", sdp(line)), message("200", answer(B), to="b"), ACK]
    packets, _ = run(*call, *protected)
    assert packets[3:] == media(None, 1, 2)


def test_what_has_no_key_is_left_alone_and_looks_like_srtp() -> None:
    foreign = media(sender(A2), 1, 2, 3)
    packets, report = run(INVITE, OK, ACK, *foreign)
    assert packets[3:] == foreign
    (row,) = report.streams
    assert (row.skipped, row.failed) == (3, 0)
    assert [note for note in report.notes if "the signalling says that they are SRTP" in note]
    assert report.nothing.startswith(
        "nothing was decrypted: none of the 2 keys in the signalling opens a packet of the capture;"
        " the tag of SSRC 0xcafebabe, sequence number 1 does not verify"
    )


@pytest.mark.parametrize(("size", "told"), [(160, False), (170, True), (20, False), (240, False)])
def test_sound_that_is_longer_than_its_codec_is_named(size: int, told: bool) -> None:
    packets = [udp(rtp(number, bytes(size)), THERE) for number in (1, 2, 3)]
    found, report = run(*packets, keys=keys(A))
    assert found == packets
    assert bool([note for note in report.notes if "as SRTP is" in note]) is told


def test_rtcp_opens_a_flow_too() -> None:
    one = sender(A)
    packets, _ = run(INVITE, OK, ACK, udp(one.protect(rtcp()), Ends(ALICE, 4001, BOB, 5001)))
    assert packets[3] == udp(rtcp(), Ends(ALICE, 4001, BOB, 5001))


def test_a_packet_that_came_before_its_answer_is_opened() -> None:
    back = media(sender(B), 1, 2, ends=THERE.back)
    packets, _ = run(INVITE, *back, OK, ACK)
    assert packets[1:3] == media(None, 1, 2, ends=THERE.back)


def test_more_keys_than_ever_are_all_used() -> None:
    packets, clear = [], []
    for n in range(200):
        ends = Ends(ALICE, 4000 + 2 * n, BOB, 10000 + 2 * n)
        key = MasterKey(n.to_bytes(16), bytes(14))
        line = Crypto(suite("AES_CM_128_HMAC_SHA1_80"), (key,), tag=1).line()
        there = line.removeprefix("a=crypto:")
        packets += [message("INVITE", sdp(there, port=ends.sport), call=str(n)),
                    message("200", answer(B, port=ends.dport), to="b", call=str(n))]  # fmt: skip
        packets += media(sender(there), 7, ends=ends)
        clear += media(None, 7, ends=ends)
    found, report = run(*packets)
    assert found[2::3] == clear
    assert report.errors == []


@pytest.mark.parametrize(
    ("name", "clear"),
    [
        ("refused-invite.pcap", 2), ("srtp-declined-rfc8643.pcap", 4),
        ("reinvite-new-key.pcap", 4), ("f8-line-first.pcap", 2), ("rk-onvif.pcap", 10),
    ],
)  # fmt: skip
def test_captures(name: str, clear: int) -> None:
    """Calls and a camera, made by other software: all RTP is clear afterwards."""
    out = io.BytesIO()
    with (CAPTURES / name).open("rb") as file:
        report = decrypt_capture(file, out)
    assert sum(row.failed for row in report.streams) == 0
    done = sum(row.done for row in report.streams)
    assert done == (0 if report.nothing else clear)


def test_a_key_touches_media_only() -> None:
    line = "AES_CM_128_HMAC_SHA1_80 inline:hn4ssE9aBNy9WSUBpej+nOqvylAlVibKc2wTgEJT"
    out = io.BytesIO()
    with (CAPTURES / "llmnr-dropped.pcap").open("rb") as file:
        report = decrypt_capture(file, out, [parse_crypto(line)])
    assert [(row.done, row.skipped, row.failed) for row in report.streams] == [(0, 1, 0), (1, 0, 0)]
    assert b"phone" in out.getvalue()


@pytest.mark.parametrize("kind", ["capture", "offer", "answer"])
def test_the_signalling_may_be_in_another_file(kind: str, tmp_path: Path) -> None:
    again = [message("INVITE", sdp(A2), number=2, to="b"),
             message("200", answer(B2), number=2, to="b")]  # fmt: skip
    source, other = tmp_path / "media.pcap", tmp_path / "signalling"
    if kind == "capture":
        # Frames 1 to 3 and 100 to 101 by time; the media is between them and behind.
        other.write_bytes(pcap([INVITE, OK, ACK, *[ACK] * 96, *again]))
        packets = media(sender(A), *range(50)) + media(sender(A2), *range(50, 120))
        source.write_bytes(pcap([ACK] * 50 + packets))
    else:
        other.write_bytes(sdp(A) if kind == "offer" else answer(A))
        ends = THERE if kind == "offer" else THERE.back
        source.write_bytes(pcap(media(sender(A), 1, 2, ends=ends)))
    report = decrypt_capture(source, tmp_path / "out", signalling=other)
    (row,) = report.streams
    assert (row.done, row.failed) == (row.packets, 0)
    assert row.key.startswith("SIP frame 1" if kind == "capture" else "SDP, media 1")
    with pytest.raises(UsageError, match="give either"):
        decrypt_capture(source, tmp_path / "out", keys(A), signalling=other)
    other.write_bytes(b"hello")
    with pytest.raises(WireError, match="neither a capture nor"):
        decrypt_capture(source, tmp_path / "out", signalling=other)
    with pytest.raises(StateError):
        decrypt_capture(source, tmp_path / "out", signalling=tmp_path / "none")


def test_rtcp_in_the_clear_beside_srtp_stays() -> None:
    """Phones send some before they have keys, and a BYE after they have given them up."""
    bye = bytes.fromhex("81cb0001cafebabe") + rtcp(kind=202)
    control = Ends(ALICE, 4001, BOB, 5001)
    clear = [udp(one, control) for one in (rtcp(kind=204), bye)]
    protected = udp(sender(A).protect(rtcp()), control)
    packets, report = run(INVITE, OK, ACK, clear[0], protected, *media(sender(A), 1, 2), clear[1])
    assert packets[3:] == [clear[0], udp(rtcp(), control), *media(None, 1, 2), clear[1]]
    assert not report.errors
    assert report.notes == [
        "left as they are: 0xcafebabe to 192.0.2.2:5001 (RTCP in the clear beside SRTP)"
    ]
    # A flow that was chosen is protected as a whole, and a forged packet is not in the clear.
    chosen = Settings(flows=FlowFilter.of([5001]))
    assert run(INVITE, OK, ACK, protected, clear[1], settings=chosen)[1].errors
    forged = udp(sender(A2).protect(rtcp(6)), control)
    assert run(INVITE, OK, ACK, protected, forged)[1].errors


@pytest.mark.parametrize("changed", [F8, NULL, f"{A} UNENCRYPTED_SRTP"])
def test_the_cipher_changes_with_the_answer_though_the_key_stays(changed: str) -> None:
    """The tags do not change, so the frame tells."""
    back = B.replace("1 AES_CM_128", changed.partition("_HMAC")[0])
    back += " UNENCRYPTED_SRTP" * ("UNENCRYPTED" in changed)
    again = [
        message("INVITE", sdp(changed), number=2, to="b"),
        message("200", answer(back), number=2, to="b"),
        message("ACK", method="ACK", number=2, to="b"),
    ]
    packets, report = run(
        INVITE, OK, ACK, *media(sender(A), 1, 2), *media(sender(B), 1, 2, ends=THERE.back),
        *again, *media(sender(changed), 3, 4), *media(sender(back), 3, 4, ends=THERE.back),
    )  # fmt: skip
    assert packets[3:7] == [*media(None, 1, 2), *media(None, 1, 2, ends=THERE.back)]
    assert packets[10:] == [*media(None, 3, 4), *media(None, 3, 4, ends=THERE.back)]
    assert [[change.frame for change in row.keys] for row in report.streams] == [[4, 11], [6, 13]]


def test_without_tags_the_answer_says_which_key_it_is() -> None:
    lines = [f"{one} UNAUTHENTICATED_SRTP" for one in (A, A2)]
    back = answer(f"{B} UNAUTHENTICATED_SRTP")
    call = [message("INVITE", sdp(lines[0])), message("200", back, to="b"), ACK]
    again = [
        message("INVITE", sdp(lines[1]), number=2, to="b"),
        message("200", back, number=2, to="b"),
    ]
    first, second = media(sender(lines[0]), 1, 2), media(sender(lines[1]), 3, 4)
    packets, _ = run(*call, *first, *again, *second)
    assert [*packets[3:5], *packets[7:]] == media(None, 1, 2, 3, 4)


def test_an_mki_that_nobody_announced_is_found_in_rtcp_too() -> None:
    crypto = parse_crypto(f"crypto:{A}")
    master = MasterKey(crypto.keys[0].key, crypto.keys[0].salt, bytes.fromhex("00000001"))
    one = Sender(crypto.suite, master, mki=True)
    control = Ends(ALICE, 4001, BOB, 5001)
    packets, report = run(INVITE, OK, ACK, udp(one.protect(rtcp()), control), *media(one, 1, 2))
    assert packets[3:] == [udp(rtcp(), control), *media(None, 1, 2)]
    assert "the MKI 00000001, which nobody announced" in report.notes[0]


def test_where_the_search_for_a_roc_stopped_is_told() -> None:
    packets, report = run(INVITE, OK, ACK, *media(sender(A, 1 << 20), 3))
    assert packets[3:] == media(sender(A, 1 << 20), 3)
    assert "tried from 0 to 131328" in report.nothing


def test_empty_lines_before_a_message_mean_nothing() -> None:
    """RFC 3261 7.5."""
    late = udp(b"\r\n\r\n" + INVITE[28:])
    packets, _ = run(late, OK, ACK, *media(sender(A), 1, 2))
    assert packets[3:] == media(None, 1, 2)
    clear = message("INVITE", sdp(A, transport="RTP/AVP"))
    assert packets[0] == udp(b"\r\n\r\n" + clear[28:])


def test_streams_beyond_the_rows_of_the_report_are_counted_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("mikeytool.media.report._MOST_STREAMS", 2)
    protect = sender(A).protect
    clear = [rtp(number, ssrc=ssrc) for number in (1, 2, 3) for ssrc in (1, 2, 3, 4)]
    packets, report = run(*(udp(protect(one), THERE) for one in clear), keys=keys(A))
    assert packets == [udp(one, THERE) for one in clear]
    assert [(row.name, row.done) for row in report.streams] == [
        ("0x00000001", 3), ("0x00000002", 3), ("?", 6),
    ]  # fmt: skip
    assert report.notes == ["the streams after the first 2 are counted together"]


def test_room_for_routes_is_made_for_many_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise each new one would cost a look at all, while all others are busy."""
    monkeypatch.setattr("mikeytool.media.demux.MAX_ROUTES", 16)
    calls: Counter[str] = Counter()
    monkeypatch.setattr(Demux, "_give_up", counting(calls, Demux._give_up))
    demux = ReceiverDemux((), None, Settings(), Report("decrypted"), is_text=True)
    for number in range(100):
        for busy in list(demux.known.values())[:-1]:
            busy.last_frame += 1
        demux.add(b"", number.to_bytes(4))
        assert len(demux.known) <= 16
    assert calls["_give_up"] <= 100 / 8


def test_a_stream_too_many_costs_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is authentic, and no other key is tried."""
    monkeypatch.setattr("mikeytool.srtp.receiver.MOST_STREAMS", 1)
    calls: Counter[str] = Counter()
    monkeypatch.setattr(Receiver, "unprotect", counting(calls, Receiver.unprotect))
    protect = sender(A).protect
    sent = [udp(protect(rtp(1, ssrc=ssrc)), THERE) for ssrc in (1, 2, 3)]
    _, report = run(*sent, keys=keys(A, B))
    assert [(row.done, row.failed) for row in report.streams] == [(1, 0), (0, 1), (0, 1)]
    assert calls["unprotect"] == 3
    assert isinstance(report.errors[0], Excluded)


def counting(calls: Counter[str], method: Callable[..., Any]) -> Callable[..., Any]:
    """The method, which counts how often it is called."""

    def counted(*given: Any) -> Any:
        calls[method.__name__] += 1
        return method(*given)

    return counted
