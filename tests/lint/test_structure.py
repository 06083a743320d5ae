from __future__ import annotations

from collections import Counter

import pytest

from mikeytool.wire.message import Message
from mikeytool.wire.payloads import ERR, RAND, RANDR, GeneralExt, Payload
from tests.lint.messages import (
    ALICE,
    PLAIN,
    Case,
    D,
    Draft,
    case,
    cert,
    codes,
    edited,
    good,
    header,
    insert,
    move,
    octets,
    role,
    sp,
    swap,
    tek,
    ticket,
    tp,
    trailing,
    twice,
    user,
    vector,
    without,
)

CASES = [
    Case("unreadable", lambda: good(D.PRE_SHARED)[:-1]),
    Case("unreadable", lambda: good(D.TRANSFER_RESP)[:40]),
    Case("unreadable", lambda: b"\x01\x00\x05"),
    Case("unreadable-inside", lambda: _cut_policy(), also=("initiator-unnamed",)),
    Case("unreadable-inside", lambda: _cut_extension()),
    case("trailing-octets", D.PRE_SHARED, trailing(b"\0\0")),
    case("payload-missing", D.PRE_SHARED, without("T")),
    case("payload-missing", D.PUBLIC_KEY, without("PKE")),
    case("payload-missing", D.DH_INIT, without("DH")),
    case("payload-missing", D.DH_RESP, without("ID"), without("ID")),
    case("payload-missing", D.ERROR, without("ERR")),
    case("payload-missing", D.DHHMAC_INIT, without("ID"), without("ID")),
    case("payload-missing", D.RSA_R_I_MSG, without("SIGN")),
    case("payload-missing", D.RSA_R_R_MSG, without("KEMAC")),
    case("payload-missing", D.REQUEST_INIT_PSK, without("RANDRi")),
    case("payload-missing", D.REQUEST_INIT_PSK, tp(without("IDRr"))),
    case("payload-missing", D.REQUEST_INIT_PK, without("SIGN")),
    case("payload-missing", D.REQUEST_RESP, without("TICKET")),
    case("payload-missing", D.REQUEST_RESP, ticket(without("RAND"))),
    case("payload-missing", D.TRANSFER_INIT, without("RANDRi")),
    case("payload-missing", D.TRANSFER_RESP, without("V")),
    case("payload-missing", D.RESOLVE_INIT_PSK, without("TICKET")),
    case("payload-missing", D.RESOLVE_RESP, without("KEMAC")),
    case("payload-missing", D.REQUEST_KEY_PSK, without("IDRkms")),
    case("payload-missing", D.I_MESSAGE_1, without("IBAKE")),
    case("payload-missing", D.SAKKE_MSG, without("SAKKE")),
    case("payload-twice", D.PRE_SHARED, twice("T")),
    case("payload-twice", D.PRE_SHARED, insert(user(ALICE), "ID")),
    case("payload-twice", D.REQUEST_INIT_PSK, twice("TP")),
    case("payload-twice", D.REQUEST_INIT_PSK, tp(twice("TRe"))),
    case("payload-twice", D.TRANSFER_INIT, twice("IDRi")),
    case("payload-unexpected", D.PRE_SHARED, insert(ERR(error_no=1), "RAND")),
    case("payload-unexpected", D.RESOLVE_RESP, insert(role(1), "KEMAC")),
    case("payload-unexpected", D.REQUEST_INIT_PSK, tp(insert(role(4), "IDRr"))),
    case("dhhmac-payload", D.DHHMAC_INIT, insert(cert(), "SP")),
    # RFC 4650 4.1 has SP and ERR in its table, so they may stand where they are not drawn
    case("payload-unexpected", D.DHHMAC_RESP, insert(sp(), "DH")),
    Case("map-missing", lambda: without_map(D.PUBLIC_KEY)),
    Case("map-missing", lambda: without_map(D.PRE_SHARED, 9)),
    Case("map-missing", lambda: without_map(D.PK_VER_MSG, 100)),
    Case("map-missing", lambda: without_map(D.TRANSFER_INIT, 255)),
    case("sakke-v", D.SAKKE_MSG, header(v=1)),
    Case("payload-count", lambda: with_extensions(1000)),
    case("payload-order", D.PRE_SHARED, move("RAND", "T")),
    case("payload-order", D.REQUEST_INIT_PSK, move("TP", "RANDRi")),
    case("not-last", D.TRANSFER_RESP, move("V", "T")),
    case("not-last", D.PRE_SHARED, move("KEMAC", "SP"), also=("payload-order",)),
    case("id-without-role", D.TRANSFER_INIT, swap("IDRi", user(ALICE)), also=("id-left-out",)),
    case("rand-without-role", D.TRANSFER_INIT, insert(RAND(rand=octets(16)), "IDRi")),
    case("role-not-known", D.PRE_SHARED, swap("ID", role(1))),
    case("role-not-known", D.PRE_SHARED, insert(RANDR(rand_role=1, rand=octets(16)), "RAND")),
    case("rand-missing", D.PRE_SHARED, without("RAND")),
    case("key-data-outside", D.PRE_SHARED, insert(tek(), "KEMAC")),
]


def with_extensions(count: int) -> bytes:
    extensions: list[Payload] = [GeneralExt(type=0, data=b"") for _ in range(count)]

    def edit(draft: Draft) -> None:
        draft.payloads[2:2] = extensions

    return edited(good(D.PRE_SHARED), edit)


def _cut_policy() -> bytes:
    """A ticket whose policy says in its last identity that it is longer than it is."""
    data = bytearray(good(D.RESOLVE_INIT_PSK))
    at = data.index(b"\x01\x00\x15sip:alice")
    data[at + 1 : at + 3] = b"\xff\xff"
    return bytes(data)


def _cut_extension() -> bytes:
    """A General Extension with a Key ID that breaks off, before the rest (RFC 4563 4)."""
    data = good(D.PRE_SHARED)
    at = Message.parse(data).payloads[0].offset
    return data[:2] + b"\x15" + data[3:at] + b"\x05\x03\x00\x02\x00\x09" + data[at:]


def without_map(kind: D, count: int = 1) -> bytes:
    """A message whose #CS says that there is a map, which is left out."""
    data = bytearray(edited(good(kind), header(cs_id_map=[])))
    data[8] = count
    return bytes(data)


def test_what_comes_behind_a_break_is_not_missing() -> None:
    """Nor is the RAND (RFC 3830 3) or any payload behind it."""
    data = good(D.PRE_SHARED)
    for end in range(25, len(data)):
        assert codes(data[:end]) == ["unreadable"]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize("kind", D, ids=lambda kind: kind.name)
def test_nothing_is_wrong_with_a_good_message(kind: D) -> None:
    assert codes(good(kind)) == []


@pytest.mark.parametrize(
    "kind", [D.PRE_SHARED, D.DH_INIT, D.DHHMAC_INIT, D.PUBLIC_KEY], ids=lambda kind: kind.name
)
def test_an_update_is_told_from_a_first_message(kind: D) -> None:
    names = {"DH"} if kind in (D.DH_INIT, D.DHHMAC_INIT) else set()
    names |= {"KEMAC"} if kind == D.PUBLIC_KEY else set()
    assert codes(edited(good(kind), without("RAND", *names))) == ["rand-missing"]


def test_what_comes_before_a_fault_is_checked_too() -> None:
    broken = edited(good(D.TRANSFER_INIT), twice("IDRi"))[:-4]
    assert codes(broken) == ["payload-twice", "unreadable"]


def test_a_cut_message_does_not_miss_what_was_cut_off() -> None:
    whole = vector("TRANSFER_INIT", PLAIN)
    for length in range(60, len(whole)):
        assert "payload-missing" not in codes(whole[:length])


def test_of_many_findings_alike_the_first_are_given() -> None:
    many = edited(good(D.TRANSFER_RESP), *[insert(role(1, b""), "V")] * 1000)
    found = Counter(codes(many))
    assert found["id-empty"] == found["payload-unexpected"] == 50
    assert sum(found.values()) < 150


def test_a_thousand_payloads_are_looked_into() -> None:
    empty = insert(role(1, b""), "V")
    few = edited(good(D.TRANSFER_RESP), *[insert(role(1), "V")] * 900, empty)
    assert "id-empty" in codes(few)
    many = edited(good(D.TRANSFER_RESP), *[insert(role(1), "V")] * 1100, empty)
    assert "id-empty" not in codes(many)


def test_a_payload_within_a_payload_within_a_payload_is_not_followed() -> None:
    data = good(D.REQUEST_INIT_PSK)
    policy = Message.parse(data).payloads[4]
    assert policy.label == "TP"
    inner = policy.copy(next_payload=0)
    for _ in range(200):
        inner = policy.copy(next_payload=0, tp_data=b"\x10" + inner.build(), tp_data_length=None)
    assert "payload-unexpected" in codes(edited(data, swap("TP", inner)))
