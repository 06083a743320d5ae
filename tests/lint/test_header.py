from __future__ import annotations

import pytest

from mikeytool.wire.header import SrtpIdEntry
from mikeytool.wire.message import Message
from tests.lint.messages import (
    HALF,
    Case,
    D,
    case,
    change,
    codes,
    edited,
    entry,
    good,
    header,
    insert,
    sp,
    twice,
    vector,
    without,
)

OLD_MAP = [SrtpIdEntry(policy_no=0, ssrc=1, roc=0)]
ENTRIES = Message.parse(good(D.TRANSFER_INIT)).header.cs_id_map
CASES = [
    case("version", D.PRE_SHARED, header(version=2)),
    case("number-unassigned", D.PRE_SHARED, header(data_type=99)),
    case("number-unassigned", D.PRE_SHARED, header(prf=100)),
    case("number-unassigned", D.TRANSFER_INIT, entry(0, protocol=77, policies=[])),
    case("number-private", D.ERROR, change("ERR", error_no=250)),
    case("empty-map-count", D.ERROR, header(cs_count=3)),
    case("empty-map-policy", D.TRANSFER_INIT, header(cs_id_map_type=1, cs_id_map=[])),
    case("exchange-map", D.REQUEST_INIT_PSK, header(cs_id_map_type=0, cs_id_map=[])),
    case("exchange-map", D.RESOLVE_RESP, header(cs_id_map_type=2, cs_id_map=[])),
    case("transfer-map", D.TRANSFER_INIT, header(cs_id_map_type=0, cs_id_map=OLD_MAP)),
    case("cs-id-twice", D.TRANSFER_INIT, entry(1, cs_id=1)),
    case("ssrc-twice", D.TRANSFER_RESP, entry(1, session_data=b"\x11\x11\x11\x11")),
    case("ssrc-not-filled-in", D.PSK_VER_MSG, entry(0, ssrc=0)),
    case("ssrc-zero-generic", D.TRANSFER_INIT, entry(0, session_data=bytes(4))),
    case("policy-twice", D.PRE_SHARED, insert(sp(p11=4), "SP")),
    case("policy-left-out", D.PRE_SHARED, without("SP")),
    case("policy-missing", D.PRE_SHARED, entry(0, policy_no=9), also=("policy-unused",)),
    case("policy-missing", D.TRANSFER_INIT, entry(0, policies=[0, 9])),
    case("policy-protocol", D.PRE_SHARED, change("SP", protocol=1)),
    case("policy-unused", D.PRE_SHARED, insert(sp(7), "SP")),
    case("session-data-length", D.TRANSFER_INIT, entry(0, session_data=bytes(range(1, 10)))),
    case("session-data-length", D.TRANSFER_INIT, entry(0, s=1)),
    case("answer-incomplete", D.TRANSFER_RESP, entry(0, policies=[0, 1])),
    case("answer-incomplete", D.TRANSFER_RESP, entry(0, spi=b"")),
    case("answer-incomplete", D.TRANSFER_RESP, entry(0, session_data=b"")),
    case("offer-incomplete", vector("TRANSFER_INIT", HALF), entry(0, spi=b"")),
    case("offer-incomplete", vector("TRANSFER_INIT", HALF), entry(0, policies=[])),
    case("offer-incomplete", vector("TRANSFER_INIT", HALF), entry(0, session_data=b"")),
    case("session-dropped", D.TRANSFER_RESP, header(cs_id_map=[]), init=D.TRANSFER_INIT),
    case(
        "session-dropped",
        D.PSK_VER_MSG,
        init=edited(good(D.PRE_SHARED), header(cs_id_map=OLD_MAP * 2)),
        also=("ssrc-twice",)[:0],
    ),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize("flag", [0, 1])
@pytest.mark.parametrize("kind", D, ids=lambda kind: kind.name)
def test_the_v_flag_is_no_matter(kind: D, flag: int) -> None:
    """But for two modes, of which one always has an answer and the other never."""
    wrong = {(D.RSA_R_I_MSG, 0): ["rsa-r-v"], (D.SAKKE_MSG, 1): ["sakke-v"]}
    assert codes(edited(good(kind), header(v=flag))) == wrong.get((kind, flag), [])


def test_an_open_offer_is_fine_when_an_answer_comes() -> None:
    left_open = edited(good(D.TRANSFER_INIT), entry(0, policies=[], spi=b"", session_data=b""))
    assert codes(left_open) == []


def test_255_crypto_sessions() -> None:
    sessions = [ENTRIES[0].copy(cs_id=at, session_data=at.to_bytes(4)) for at in range(1, 256)]
    many = edited(good(D.TRANSFER_INIT), header(cs_id_map=sessions))
    assert codes(many) == []


def test_the_place_of_a_crypto_session_is_that_of_its_octets() -> None:
    from mikeytool.lint import lint
    from tests.lint.messages import NOW

    broken = edited(good(D.TRANSFER_INIT), entry(1, cs_id=1))
    found = lint(broken, now_ns=NOW).findings[0]
    assert (found.payload, found.offset) == ("CS ID map", 10 + len(ENTRIES[0].build()))
    assert broken[found.offset] == 1


def test_a_policy_twice_over() -> None:
    assert "policy-twice" in codes(edited(good(D.PRE_SHARED), twice("SP")))
