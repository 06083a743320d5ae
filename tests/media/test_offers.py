from __future__ import annotations

from tests.capture.carriers import INVITE, OK, sdp, sip
from tests.capture.media_ends import (
    ALICE_KEY,
    ALICES,
    ANSWER,
    BOB_KEY,
    BOBS,
    BOTH,
    OFFER,
    end,
    keys,
    keys_with_ends,
)
from tests.capture.network import (
    ALICE,
    BACK,
    BOB,
    PROXY,
    Ends,
    udp,
)


def test_an_offer_without_answer_has_no_peer() -> None:
    assert keys_with_ends(udp(sip(INVITE, OFFER))) == [(ALICE_KEY, ALICES, None)]
    assert keys_with_ends(udp(sip(INVITE, OFFER)), udp(sip("SIP/2.0 486 Busy Here"), BACK)) == [
        (ALICE_KEY, ALICES, None)
    ]


def test_an_offer_in_the_response_is_answered_by_ack() -> None:
    """RFC 3261 13.2.1; here the ACK does not go the way of the INVITE."""
    packets = [
        udp(sip(INVITE), Ends(destination=PROXY)),
        udp(sip(OK, OFFER), Ends(source=PROXY, destination=BOB)),
        udp(sip("ACK sip:x SIP/2.0", ANSWER, cseq="1 ACK")),
    ]
    assert keys_with_ends(*packets) == BOTH


def test_an_offer_in_a_provisional_response_is_answered_by_prack() -> None:
    """RFC 3262 5."""
    prack = sip("PRACK sip:x SIP/2.0", ANSWER, cseq="2 PRACK", headers=("RAck: 7 1 INVITE",))
    assert (
        keys_with_ends(
            udp(sip(INVITE)), udp(sip("SIP/2.0 183 Session Progress", OFFER), BACK), udp(prack)
        )
        == BOTH
    )


def test_repeated_messages_give_a_key_once() -> None:
    call, answer = udp(sip(INVITE, OFFER)), udp(sip(OK, ANSWER), BACK)
    early = udp(sip("SIP/2.0 183 Session Progress", ANSWER), BACK)
    assert keys_with_ends(call, call, early, answer, answer) == BOTH


def test_a_fork_gives_each_answer() -> None:
    carol = sdp(address="192.0.2.3", port=5000)
    packets = [
        udp(sip(INVITE, OFFER)),
        udp(sip("SIP/2.0 183 Session Progress", carol), BACK),
        udp(sip(OK, ANSWER), BACK),
    ]
    assert keys_with_ends(*packets) == [
        (ALICE_KEY, ALICES, end("192.0.2.3", 5000)),
        (ALICE_KEY, ALICES, BOBS),
        (BOB_KEY, BOBS, ALICES),
    ]


def test_a_later_offer_is_an_exchange_of_its_own() -> None:
    moved = sdp(f"a=crypto:{ALICE_KEY}", address=ALICE, port=50000)
    packets = [
        udp(sip(INVITE, OFFER)),
        udp(sip(OK, ANSWER), BACK),
        udp(sip(INVITE, moved, cseq="2 INVITE")),
        udp(sip(OK, ANSWER, cseq="2 INVITE"), BACK),
    ]
    assert keys_with_ends(*packets) == [
        *BOTH, (ALICE_KEY, end(ALICE, 50000), BOBS), (BOB_KEY, BOBS, end(ALICE, 50000)),
    ]  # fmt: skip


def test_calls_are_kept_apart() -> None:
    packets = [
        udp(sip(INVITE, OFFER, call_id="one")),
        udp(sip(OK, ANSWER, call_id="two"), BACK),
    ]
    assert keys_with_ends(*packets) == [(ALICE_KEY, ALICES, None), (BOB_KEY, BOBS, None)]


def test_each_hop_has_its_own_ends() -> None:
    """A proxy on the way puts its own addresses into the descriptions."""
    relayed = sdp(f"a=crypto:{ALICE_KEY}", address=PROXY, port=7000)
    answered = sdp(f"a=crypto:{BOB_KEY}", address=PROXY, port=7002)
    packets = [
        udp(sip(INVITE, OFFER), Ends(destination=PROXY)),
        udp(sip(INVITE, relayed), Ends(source=PROXY)),
        udp(sip(OK, ANSWER), Ends(source=BOB, destination=PROXY)),
        udp(sip(OK, answered), Ends(source=PROXY, destination=ALICE)),
    ]
    assert keys_with_ends(*packets) == [
        (ALICE_KEY, ALICES, end(PROXY, 7002)),
        (ALICE_KEY, end(PROXY, 7000), BOBS),
        (BOB_KEY, BOBS, end(PROXY, 7000)),
        (BOB_KEY, end(PROXY, 7002), ALICES),
    ]


def test_media_are_paired_by_their_order() -> None:
    second = ("m=video 51000 RTP/SAVP 31", "a=rtcp-mux")
    offer = sdp(f"a=crypto:{ALICE_KEY}", *second, f"a=crypto:{BOB_KEY}", port=49000)
    answer = sdp("a=rtcp:32700", "m=video 0 RTP/SAVP 31", address=BOB, port=32640)
    found = keys(udp(sip(INVITE, offer)), udp(sip(OK, answer), BACK))
    assert [(key.media, key.kind, key.owner, key.peer) for key in found] == [
        (1, "audio", ALICES, end(BOB, 32640, 32700)),
        (2, "video", end(ALICE, 51000, 51000), None),
    ]
