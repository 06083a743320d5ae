from __future__ import annotations

import pytest

from mikeytool.media.signalled_keys import MAX_KEYS, SignalledKey
from tests.capture import network
from tests.capture.carriers import INVITE, OK, key_mgmt, lines, sdp, sip
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
from tests.capture.messages import TRANSFER_RESP, UPDATE_RESP
from tests.capture.network import (
    ALICE,
    BACK,
    CLIENT,
    Ends,
    stream,
    tcp,
    udp,
)
from tests.capture.test_sap import sap


def test_offer_and_answer() -> None:
    offered, answered = keys(udp(sip(INVITE, OFFER)), udp(sip(OK, ANSWER), BACK))
    assert offered == SignalledKey(
        content=ALICE_KEY, earlier=(), owner=ALICES, peer=BOBS, frame=1,
        time=network.START * 10**9, protocol="SIP", call="a84b4c76e66710",
        level="media 1 (audio)", media=1, kind="audio",
    )  # fmt: skip
    assert (answered.content, answered.owner, answered.peer) == (BOB_KEY, BOBS, ALICES)
    assert answered.frame == 2


@pytest.mark.parametrize("address", ["host.example.com", "0.0.0.0"])
def test_an_address_that_says_nothing_is_no_place(address: str) -> None:
    assert keys_with_ends(udp(sip(INVITE, sdp(f"a=crypto:{ALICE_KEY}", address=address)))) == [
        (ALICE_KEY, None, None)
    ]


def test_a_session_key_is_laid_to_each_medium() -> None:
    offer = lines("v=0", "c=IN IP4 192.0.2.1", key_mgmt(TRANSFER_RESP), "m=audio 1000 RTP/SAVP 0",
                  "m=video 2000 RTP/SAVP 31")  # fmt: skip
    found = keys(udp(sip(INVITE, offer)))
    assert [(key.content, key.level, key.media, key.owner) for key in found] == [
        (TRANSFER_RESP, "session level", 1, end(ALICE, 1000)),
        (TRANSFER_RESP, "session level", 2, end(ALICE, 2000)),
    ]


def test_mikey_comes_with_what_it_answers() -> None:
    unasked = bytes(TRANSFER_RESP[:4]) + b"\xff" + TRANSFER_RESP[5:]
    found = keys(
        udp(sip(INVITE, sdp(key_mgmt(TRANSFER_RESP)))),
        udp(sip(INVITE, sdp(key_mgmt(TRANSFER_RESP)))),
        udp(sip(OK, sdp(key_mgmt(UPDATE_RESP), key_mgmt(unasked))), BACK),
    )
    assert [(key.content, key.earlier) for key in found] == [
        (TRANSFER_RESP, ()),
        (UPDATE_RESP, (TRANSFER_RESP,)),
        (unasked, ()),
    ]


def test_broken_keys_are_left_out() -> None:
    broken = sdp("a=key-mgmt:mikey AQ!", "a=key-mgmt:mikey", f"a=crypto:{ALICE_KEY}", port=49000)
    assert keys_with_ends(udp(sip(INVITE, broken))) == [(ALICE_KEY, ALICES, None)]


def test_keys_of_one_medium_are_bounded() -> None:
    crypto = [f"a=crypto:{at} AES_CM_128_HMAC_SHA1_80 inline:x" for at in range(MAX_KEYS + 1)]
    assert len(keys(udp(sip(INVITE, sdp(*crypto))))) == MAX_KEYS


def test_order_is_that_of_frames_in_tcp_without_syn() -> None:
    """Both directions wait for their beginning, which is known only at the end."""
    answer, offer = tcp(sip(OK, ANSWER), 9, CLIENT.back), tcp(sip(INVITE, OFFER), 9)
    assert keys_with_ends(offer, answer) == BOTH


def test_announced_keys_are_for_all_that_goes_there() -> None:
    body = sdp(key_mgmt(TRANSFER_RESP), address="233.252.0.1/127", port=5004)
    packet = udp(sap(body), Ends(sport=5000, dport=9875, destination="224.2.127.254"))
    (key,) = keys(packet)
    assert (key.protocol, key.content) == ("SAP", TRANSFER_RESP)
    assert (key.owner, key.peer) == (None, end("233.252.0.1", 5004))


def test_segments_of_a_long_offer() -> None:
    assert keys_with_ends(*stream(sip(INVITE, OFFER), 99, 2**32 - 7)) == [(ALICE_KEY, ALICES, None)]
