"""Which keys of an offer and its answer are in use, and between which ends."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from mikeytool.media.signalled_keys import SignalledKey, Standing
from tests.capture.carriers import key_mgmt, lines
from tests.capture.messages import TRANSFER_RESP, UPDATE_RESP
from tests.capture.network import ALICE, ALICE6, BOB, Ends, tcp, udp
from tests.capture.test_sap import sap
from tests.media.dialogues import (
    A2,
    A32,
    ACK,
    IN_USE,
    INVITE,
    OFFERED,
    OK,
    A,
    B,
    answer,
    end,
    message,
    sdp,
    shown,
    signalled,
)

F8 = A.replace("1 AES_CM_128", "3 F8_128")
NO_KEY = "declined: no key in the answer"


def told(offer: bytes, back: bytes) -> list[tuple[str | bytes | None, str, int]]:
    return shown(message("INVITE", offer), message("200", back, to="b"))


def made(offer: bytes, back: bytes) -> list[SignalledKey]:
    return signalled(message("INVITE", offer), message("200", back, to="b"))


def test_the_tag_in_the_answer_chooses_the_line() -> None:
    other = "declined: another line was chosen"
    second = B.replace("1 AES", "2 AES").replace("_80", "_32")
    assert told(sdp(A, A32, F8), answer(second)) == [
        (A, other, 0), (A32, IN_USE, 2), (F8, other, 0), (second, IN_USE, 2),
    ]  # fmt: skip
    zero = second.replace("2 AES", "02 AES")
    assert told(sdp(A, A32), answer(zero))[1] == (A32, IN_USE, 2)
    # A tag that was not offered chooses nothing; of more lines than one the first counts.
    nine = B.replace("1 AES", "9 AES")
    assert told(sdp(A), answer(nine, B)) == [
        (A, OFFERED, 0), (nine, IN_USE, 2), (B, OFFERED, 0),
    ]  # fmt: skip


def test_the_suite_chooses_where_the_tag_contradicts_it() -> None:
    """Some answer with tag 1 whatever they take."""
    other = "declined: another line was chosen"
    first = B.replace("_80", "_32")
    assert told(sdp(A, A32, F8), answer(first)) == [
        (A, other, 0), (A32, IN_USE, 2), (F8, other, 0), (first, IN_USE, 2),
    ]  # fmt: skip
    # Several lines of the suite are all tried; a suite that was not offered leaves it to the tag.
    third = A32.replace("2 AES", "3 AES")
    assert told(sdp(A, A32, third), answer(first))[:3] == [
        (A, OFFERED, 0), (A32, OFFERED, 0), (third, OFFERED, 0),
    ]  # fmt: skip
    assert told(sdp(A, A32), answer(F8.replace("3", "1")))[0] == (A, IN_USE, 2)


@pytest.mark.parametrize("octets", [10, 60, 80, 85, 95, 120])
def test_an_answer_keys_its_media_where_the_offer_was_captured_in_part(octets: int) -> None:
    cut = message("INVITE", sdp(A, A32))[: len(message("INVITE", sdp(A, A32))) - len(sdp(A, A32))]
    invite = cut + sdp(A, A32)[:octets]
    (key,) = [each for each in signalled(invite, message("200", answer(B), to="b"))
              if each.content == B]  # fmt: skip
    assert (key.standing(9), key.taken, key.declined) == (Standing.IN_USE, 2, "")
    assert end(BOB, 5000) in key.sources


@pytest.mark.parametrize("octets", [10, 60, 80, 100, 120])
def test_an_answer_that_was_captured_in_part_declines_nothing(octets: int) -> None:
    whole = message("200", answer(B), to="b")
    cut = whole[: len(whole) - len(answer(B)) + octets]
    assert shown(message("INVITE", sdp(A)), cut) == [(A, OFFERED, 0)]
    # What came before the cut counts.
    more = answer(B, more=["m=video 0 RTP/SAVP 31", "a=x"])
    whole = message("200", more, to="b")
    offer = sdp(A, more=["m=video 6000 RTP/SAVP 31", f"a=crypto:{A2}"])
    assert shown(message("INVITE", offer), whole[:-3]) == [
        (A, IN_USE, 2), (A2, "declined: port 0", 0), (B, IN_USE, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("transport", ["RTP/AVP", "RTP/SAVP"])
def test_no_crypto_line_in_the_answer_declines(transport: str) -> None:
    """RFC 8643; and the media without keys is told, for it follows the same ends."""
    offer = sdp(A, transport=transport)
    assert told(offer, answer(transport=transport)) == [(A, NO_KEY, 0), (None, IN_USE, 2)]


def test_media_that_is_refused_or_removed() -> None:
    closed = "declined: port 0"
    assert told(sdp(A), answer(B, port=0)) == [(A, closed, 0), (B, closed, 0)]
    assert told(sdp(A, port=0), answer(port=0)) == [(A, closed, 0)]
    assert told(sdp(A, more=["m=video 6000 RTP/SAVP 31", f"a=crypto:{A2}"]), answer(B)) == [
        (A, IN_USE, 2), (A2, closed, 0), (B, IN_USE, 2),
    ]  # fmt: skip


def test_plain_calls_have_no_keys() -> None:
    assert told(sdp(), answer()) == []


@pytest.mark.parametrize("address", ["0.0.0.0", "host.example.com"])
def test_an_address_that_tells_nothing_leaves_the_port(address: str) -> None:
    (mine, theirs) = made(sdp(A, address=address), answer(B))
    assert mine.sources == theirs.destinations == (b"\x0f\xa0", b"\x0f\xa1")
    assert theirs.sources == (end(BOB, 5000), end(BOB, 5001))


def test_an_unspecified_ipv6_address_leaves_the_port() -> None:
    offer = sdp(A).replace(b"c=IN IP4 192.0.2.1", b"c=IN IP6 ::")
    assert made(offer, answer(B))[0].sources == (b"\x0f\xa0", b"\x0f\xa1")


@pytest.mark.parametrize(
    ("more", "ends"),
    [
        ((), [(ALICE, 4000), (ALICE, 4001)]),
        (["a=rtcp:4700"], [(ALICE, 4000), (ALICE, 4700)]),
        (["a=rtcp:4700 IN IP4 192.0.2.7"], [(ALICE, 4000), ("192.0.2.7", 4700)]),
        (["a=rtcp-mux"], [(ALICE, 4000), (ALICE, 4001)]),
        (["c=IN IP6 2001:db8::7"], [("2001:db8::7", 4000), ("2001:db8::7", 4001)]),
        (["a=candidate:1 1 UDP 99 198.51.100.9 777 typ srflx raddr 192.0.2.1 rport 4000",
          "a=candidate:2 1 TCP 99 198.51.100.9 9 typ host tcptype active"],
         [(ALICE, 4000), (ALICE, 4001), ("198.51.100.9", 777)]),
        (["a=candidate:1 1 UDP 99 198.51.100.9 777 typ srflx raddr 10.0.0.1 rport 4400",
          "a=candidate:2 1 TCP 99 10.0.0.2 4500 typ host tcptype passive"],
         [(ALICE, 4000), (ALICE, 4001), ("198.51.100.9", 777), ("10.0.0.1", 4400),
          ("10.0.0.2", 4500)]),
    ],
)  # fmt: skip
def test_ends_of_a_media_line(more: list[str], ends: list[tuple[str, int]]) -> None:
    (mine, _) = made(sdp(A, more=more), answer(B))
    assert set(mine.sources) == {end(*each) for each in ends}


def server_response(kind: int, attribute: int, address: str, port: int, ends: Ends) -> bytes:
    """A STUN response with one address in it (RFC 8489 14.2), laid out by hand."""
    cookie, transaction = bytes.fromhex("2112a442"), bytes(range(12))
    packed = ip_address(address).packed
    masked = bytes(a ^ b for a, b in zip(packed, cookie + transaction, strict=False))
    family = 1 if len(packed) == 4 else 2
    value = struct.pack("!BBH", 0, family, port ^ 0x2112) + masked
    body = struct.pack("!HH", attribute, len(value)) + value
    return udp(struct.pack("!HH", kind, len(body)) + cookie + transaction + body, ends)


@pytest.mark.parametrize(
    ("kind", "attribute", "address", "is_known"),
    [
        (0x0103, 0x0016, ALICE, True),  # a relay allocates the address that the description has
        (0x0101, 0x0020, ALICE, True),  # a NAT gives it
        (0x0113, 0x0016, ALICE, False),  # an error
        (0x0103, 0x0012, ALICE, False),  # of a peer
        (0x0103, 0x0016, BOB, False),
    ],
)
def test_addresses_that_servers_tell_are_ends_too(
    kind: int, attribute: int, address: str, is_known: bool
) -> None:
    server = Ends("198.51.100.1", 3478, "10.1.1.1", 50000)
    mine, other = signalled(
        INVITE, OK, ACK, server_response(kind, attribute, address, 4000, server)
    )
    behind = end("10.1.1.1", 50000)
    assert (behind in mine.sources, behind in other.destinations) == (is_known, is_known)
    assert behind not in (*mine.destinations, *other.sources)


def test_addresses_of_ipv6_and_of_a_server_that_is_reached_by_tcp() -> None:
    data = server_response(0x0103, 0x0016, ALICE6, 4000, Ends())[28:]
    segment = tcp(data, 1, Ends("198.51.100.1", 3478, "10.1.1.1", 50000))
    (key,) = signalled(message("INVITE", sdp(A, address=ALICE6)), segment)
    assert end("10.1.1.1", 50000) in key.sources


def test_media_in_one_bundle_share_the_ends_of_the_first() -> None:
    def bundled(first: str, second: str, port: int, key: str) -> bytes:
        return lines("v=0", f"c=IN IP4 {first}", "t=0 0", "a=group:BUNDLE 0 1",
                     f"m=audio {port} RTP/SAVP 0", "a=mid:0", f"a=crypto:{key}",
                     f"m=video {second} RTP/SAVP 31", "a=mid:1", f"a=crypto:{key}")  # fmt: skip

    found = made(bundled(ALICE, "0", 4000, A), bundled(BOB, "5000", 5000, B))
    video = [one for one in found if one.kind == "video"]
    assert [(one.content, one.sources[0], one.taken) for one in video] == [
        (A, end(ALICE, 4000), 2), (B, end(BOB, 5000), 2),
    ]  # fmt: skip


def test_ssrcs_are_told() -> None:
    (mine, _) = made(sdp(A, more=["a=ssrc:77 cname:x", "a=ssrc:77 msid:y", "a=ssrc:5"]), answer(B))
    assert mine.ssrcs == (77, 5)


def test_mikey_keys_its_media_line_both_ways() -> None:
    one, two = key_mgmt(TRANSFER_RESP), key_mgmt(UPDATE_RESP)
    found = made(sdp(more=[one]), answer(more=[two]))
    assert [(each.content, each.taken, each.both_ways) for each in found] == [
        (TRANSFER_RESP, 2, True), (UPDATE_RESP, 2, True),
    ]  # fmt: skip
    assert (found[0].earlier, found[1].earlier) == ((), (TRANSFER_RESP,))
    # Not every message is answered by one; but then the media must be secure all the same.
    assert told(sdp(more=[one]), answer()) == [(TRANSFER_RESP, IN_USE, 2)]
    assert told(sdp(more=[one]), answer(transport="RTP/AVP")) == [
        (TRANSFER_RESP, NO_KEY, 0), (None, IN_USE, 2),
    ]  # fmt: skip


def test_mikey_at_session_level_is_for_all_media() -> None:
    offer = lines("v=0", f"c=IN IP4 {ALICE}", key_mgmt(TRANSFER_RESP),
                  "m=audio 1000 RTP/SAVP 0", "m=video 2000 RTP/SAVP 31")  # fmt: skip
    back = lines("v=0", f"c=IN IP4 {BOB}", "m=audio 3000 RTP/SAVP 0", "m=video 0 RTP/SAVP 31")
    (one,) = made(offer, back)
    assert (one.name, one.taken) == ("SIP frame 1, session level", 2)
    assert one.sources == (end(ALICE, 1000), end(ALICE, 1001))
    assert one.destinations == (end(BOB, 3000), end(BOB, 3001))
    (one,) = signalled(message("INVITE", offer))
    assert (len(one.sources), one.destinations, one.taken) == (4, (), 0)


def test_broken_keys_are_left_out() -> None:
    broken = sdp(A, more=["a=key-mgmt:mikey AQ!", "a=key-mgmt:mikey"])
    assert shown(message("INVITE", broken)) == [(A, OFFERED, 0)]


def test_an_announcement_keys_all_that_goes_there() -> None:
    body = sdp(A, address="233.252.0.1/127", port=5004, more=[key_mgmt(TRANSFER_RESP)])
    packet = udp(sap(body), Ends(sport=5000, dport=9875, destination="224.2.127.254"))
    found = signalled(packet)
    assert [(one.content, one.protocol, one.taken) for one in found] == [
        (TRANSFER_RESP, "SAP", 1), (A, "SAP", 1),
    ]  # fmt: skip
    assert found[0].destinations == (end("233.252.0.1", 5004), end("233.252.0.1", 5005))
    assert found[0].sources == ()


def test_the_answer_without_a_capture_of_it() -> None:
    assert shown(INVITE) == [(A, OFFERED, 0)]
    assert shown(message("INVITE", sdp(A, A32, F8))) == [
        (A, OFFERED, 0), (A32, OFFERED, 0), (F8, OFFERED, 0),
    ]  # fmt: skip
    assert told(sdp(A), answer(B))[1] == (B, IN_USE, 2)


def test_crypto_lines_at_session_level_are_for_media_without_any() -> None:
    def session(crypto: str, *media: str) -> bytes:
        return lines("v=0", "s=-", f"c=IN IP4 {ALICE}", "t=0 0", f"a=crypto:{crypto}", *media)

    offer = session(A, "m=audio 4000 RTP/SAVP 0", "m=video 4002 RTP/SAVP 31", f"a=crypto:{A2}")
    assert told(offer, session(B, "m=audio 5000 RTP/SAVP 0", "m=video 5002 RTP/SAVP 31")) == [
        (A, IN_USE, 2), (A2, IN_USE, 2), (B, IN_USE, 2), (B, IN_USE, 2),
    ]  # fmt: skip
