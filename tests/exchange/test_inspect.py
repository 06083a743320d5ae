"""Opening a message to look into it: what is verified, FAILED and not checked, by the keys
that are there (`decode`'s opening options).
"""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.crypto.derive import message_keys
from mikeytool.exchange.inspect import FAILED, NOT_CHECKED, VERIFIED, Inspection, inspect_message
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.profile import PROFILE_128
from mikeytool.exchange.protection import protect
from mikeytool.exchange.sealing import seal_message
from mikeytool.wire.errors import WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import IDR, KEMAC, RANDR, V
from mikeytool.wire.registry import EncrAlg, IdRole, KeyType, NextPayload
from tests.support import vectors
from tests.world import dropping, relaxed, unprotected

CASES = vectors("exchanges")
FORKED = CASES[0]
WRONG = b"\xaa" * 32
INITIALS = {
    "REQUEST_INIT_PSK": None,
    "REQUEST_RESP": "REQUEST_INIT_PSK",
    "TRANSFER_INIT": None,
    "TRANSFER_RESP": "TRANSFER_INIT",
    "RESOLVE_INIT_PSK": None,
    "RESOLVE_RESP": "RESOLVE_INIT_PSK",
    "Error": "RESOLVE_INIT_PSK",
}
ALL = [
    (case, name)
    for case in CASES
    for name in INITIALS
    if (name == "Error" and "error_to_RESOLVE_INIT" in case) or case.get(name)
]
IDS = [f"{case['name']}: {name}" for case, name in ALL]
RESPONSES = [
    pytest.param(case, name, id=one)
    for (case, name), one in zip(ALL, IDS, strict=True)
    if INITIALS[name]
]


def raw_of(case: dict[str, Any], name: str) -> bytes:
    source = case["error_to_RESOLVE_INIT"] if name == "Error" else case
    return bytes.fromhex(source[name])


def message(case: dict[str, Any], name: str) -> Message:
    return Message.parse(raw_of(case, name))


def initial(case: dict[str, Any], name: str) -> Message | None:
    before = INITIALS[name]
    return None if before is None else message(case, before)


def key(case: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(case[name])


def ring_of(case: dict[str, Any], name: str) -> KeyRing:
    """The key that a message is protected with, and no other."""
    if name in ("REQUEST_INIT_PSK", "REQUEST_RESP"):
        return KeyRing(psks=[(None, key(case, "psk_initiator"))])
    if name in ("RESOLVE_INIT_PSK", "RESOLVE_RESP", "Error"):
        return KeyRing(psks=[(None, key(case, "psk_responder"))])
    if name == "TRANSFER_RESP" and case["mpkr_forked"]:
        return KeyRing(mpkr=[(None, key(case, "mpkr_forked"))])
    return KeyRing(mpki=[(None, key(case, "mpki"))])


def spoiled(ring: KeyRing) -> KeyRing:
    """As many keys, all of them wrong."""
    return KeyRing(
        psks=[(name, wrong(octets)) for name, octets in ring.psks],
        tpks=[(name, wrong(octets)) for name, octets in ring.tpks],
        mpki=[(csb_id, wrong(octets)) for csb_id, octets in ring.mpki],
        mpkr=[(csb_id, wrong(octets)) for csb_id, octets in ring.mpkr],
    )


def wrong(octets: bytes) -> bytes:
    return bytes(octet ^ 0xFF for octet in octets)


def opened(case: dict[str, Any], name: str, ring: KeyRing, *, init: bool = True) -> Inspection:
    return inspect_message(message(case, name), ring, initial(case, name) if init else None)


@pytest.mark.parametrize(("case", "name"), ALL, ids=IDS)
def test_the_right_key_verifies(case: dict[str, Any], name: str) -> None:
    found = opened(case, name, ring_of(case, name))
    assert found.mac == VERIFIED
    assert not found.failed
    has_kemac = message(case, name).find(KEMAC) is not None
    assert bool(found.keys) == has_kemac


@pytest.mark.parametrize(("case", "name"), ALL, ids=IDS)
def test_a_wrong_key_fails(case: dict[str, Any], name: str) -> None:
    found = opened(case, name, spoiled(ring_of(case, name)))
    assert found.mac == FAILED
    assert found.failed
    assert found.keys == []


@pytest.mark.parametrize(("case", "name"), ALL, ids=IDS)
def test_of_several_keys_the_right_one_counts(case: dict[str, Any], name: str) -> None:
    right, bad = ring_of(case, name), spoiled(ring_of(case, name))
    for first, second in ((right, bad), (bad, right)):
        both = KeyRing(
            first.psks + second.psks,
            first.tpks + second.tpks,
            first.mpki + second.mpki,
            first.mpkr + second.mpkr,
        )
        assert opened(case, name, both).mac == VERIFIED


@pytest.mark.parametrize(("case", "name"), ALL, ids=IDS)
def test_without_keys_nothing_is_checked(case: dict[str, Any], name: str) -> None:
    found = opened(case, name, KeyRing())
    assert found.mac == NOT_CHECKED
    assert {found.ticket, found.initiator_data} <= {None, NOT_CHECKED}
    assert not found.failed
    assert found.keys == []


@pytest.mark.parametrize(("case", "name"), ALL, ids=IDS)
def test_keys_of_another_kind_check_no_mac(case: dict[str, Any], name: str) -> None:
    """A PSK says nothing of a transfer, an MPK nothing of what goes to the KMS."""
    if name.startswith("TRANSFER"):
        other = KeyRing(psks=[(None, WRONG)])
    else:
        other = KeyRing(mpki=[(None, WRONG)], mpkr=[(None, WRONG)])
    assert opened(case, name, other).mac == NOT_CHECKED


@pytest.mark.parametrize(("case", "name"), RESPONSES)
def test_the_mac_of_a_response_takes_the_initial_message(case: dict[str, Any], name: str) -> None:
    """RFC 6043 5.5: it covers the initial message as well; and where it does not, in an Error
    message, its keys still come from the RANDs of that (5.4). Nothing can be said without.
    """
    found = opened(case, name, ring_of(case, name), init=False)
    assert found.mac == NOT_CHECKED
    assert not found.failed


@pytest.mark.parametrize(("case", "name"), RESPONSES)
def test_another_initial_message(case: dict[str, Any], name: str) -> None:
    """RFC 6043 5.5: what a response does not answer does not verify it."""
    before = message(case, INITIALS[name] or "")
    other = Message.parse(before.raw[:-1] + bytes([before.raw[-1] ^ 1]))
    found = inspect_message(message(case, name), ring_of(case, name), other)
    assert found.mac == (VERIFIED if name == "Error" else FAILED)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
@pytest.mark.parametrize("name", ["REQUEST_RESP", "TRANSFER_INIT", "RESOLVE_INIT_PSK"])
def test_a_ticket_opens_with_its_tpk(case: dict[str, Any], name: str) -> None:
    right = KeyRing(tpks=[(None, key(case, "tpk"))])
    found = opened(case, name, right)
    assert found.ticket == VERIFIED
    expected = {bytes.fromhex(one["key"]) for one in case["ticket_keys"]}
    assert {one.key for one in found.keys} >= expected
    forked = bool(case["mpkr"])
    if name != "REQUEST_RESP":
        assert found.initiator_data == (VERIFIED if forked else None)
    assert found.mac == (VERIFIED if name == "TRANSFER_INIT" else NOT_CHECKED)
    bad = opened(case, name, spoiled(right))
    assert bad.ticket == FAILED
    assert bad.failed
    assert bad.keys == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_tpk_opens_the_answer_to_a_call(case: dict[str, Any]) -> None:
    """The ticket in TRANSFER_INIT holds the keys of TRANSFER_RESP, which tells how to fork."""
    if not case["TRANSFER_RESP"]:
        return
    right = KeyRing(tpks=[(None, key(case, "tpk"))])
    assert opened(case, "TRANSFER_RESP", right).mac == VERIFIED
    assert opened(case, "TRANSFER_RESP", right, init=False).mac == NOT_CHECKED
    assert opened(case, "TRANSFER_RESP", spoiled(right)).mac in (FAILED, NOT_CHECKED)


def test_a_tpk_of_another_name_is_not_tried() -> None:
    named = KeyRing(tpks=[(b"tpk-9", key(FORKED, "tpk"))])
    assert opened(FORKED, "TRANSFER_INIT", named).ticket == NOT_CHECKED
    named = KeyRing(tpks=[(b"tpk-9", WRONG[:16]), (b"tpk-1", key(FORKED, "tpk"))])
    assert opened(FORKED, "TRANSFER_INIT", named).ticket == VERIFIED


def test_the_original_mpkr_verifies_initiator_data() -> None:
    """RFC 6043 6.10: Vr is made with MPKr. The forked one cannot tell whether Vr is right."""
    for name, expected in (("mpkr", VERIFIED), ("mpkr_forked", NOT_CHECKED)):
        ring = KeyRing(mpkr=[(None, key(FORKED, name))])
        for where in ("TRANSFER_INIT", "RESOLVE_INIT_PSK"):
            assert opened(FORKED, where, ring).initiator_data == expected


def test_initiator_data_of_another_call() -> None:
    """RFC 6043 4.2.3.6: Vi is the V of the message that it stands in."""
    raw = raw_of(FORKED, "TRANSFER_INIT")
    changed = Message.parse(raw[:-1] + bytes([raw[-1] ^ 1]))
    ring = KeyRing(mpki=[(None, key(FORKED, "mpki"))], mpkr=[(None, key(FORKED, "mpkr"))])
    found = inspect_message(changed, ring)
    assert (found.mac, found.initiator_data) == (FAILED, FAILED)


@pytest.mark.parametrize("name", ["TRANSFER_INIT", "TRANSFER_RESP"])
def test_keys_go_by_csb_id(name: str) -> None:
    csb_id = message(FORKED, name).header.csb_id
    for number, expected in ((csb_id, VERIFIED), (csb_id ^ 1, NOT_CHECKED)):
        right = ring_of(FORKED, name)
        ring = KeyRing(
            mpki=[(number, octets) for _, octets in right.mpki],
            mpkr=[(number, octets) for _, octets in right.mpkr],
        )
        assert opened(FORKED, name, ring).mac == expected


@pytest.mark.parametrize("name", ["REQUEST_INIT_PSK", "RESOLVE_RESP", "Error"])
def test_keys_go_by_the_name_of_their_user(name: str) -> None:
    """By URI or by the name in IDRpsk."""
    octets = ring_of(FORKED, name).psks[0][1]
    who = "initiator" if name == "REQUEST_INIT_PSK" else "responder"
    psk_id = b"psk-alice" if who == "initiator" else b"psk-bob"
    for label, expected in (
        (FORKED[who].encode(), VERIFIED),
        (psk_id, VERIFIED),
        (b"sip:eve@example.com", NOT_CHECKED),
    ):
        assert opened(FORKED, name, KeyRing(psks=[(label, octets)])).mac == expected


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        ("REQUEST_INIT_PSK", (IdRole.INITIATOR, IdRole.KMS)),
        ("TRANSFER_INIT", (IdRole.INITIATOR, IdRole.RESPONDER)),
        ("RESOLVE_INIT_PSK", (IdRole.RESPONDER, IdRole.KMS)),
    ],
)
def test_identities_that_are_left_out(name: str, roles: tuple[IdRole, IdRole]) -> None:
    """Interpretation 4: they are in the MAC, so someone has to name them."""
    right = ring_of(FORKED, name)
    octets = (right.psks or right.mpki)[0][1]
    whole = message(FORKED, name)
    known = {role: Identity.of(_idr(whole, role)) for role in roles}
    rand = whole.all(RANDR)[0].rand
    resolve = name == "RESOLVE_INIT_PSK"
    keys = message_keys(
        0,
        octets,
        whole.header.csb_id,
        response=False,
        randr_i=b"" if resolve else rand,
        randr_r=rand if resolve else b"",
    )
    payloads = [relaxed(p) for p in whole.payloads if not isinstance(p, V | IDR)]
    behind = b"".join(known[role].data for role in roles)
    header = whole.header.copy(next_payload=None)
    bare = Message.parse(protect(header, payloads, PROFILE_128, keys, behind).raw)
    assert inspect_message(bare, right).mac == NOT_CHECKED
    assert inspect_message(bare, right, identities={roles[0]: known[roles[0]]}).mac == NOT_CHECKED
    assert inspect_message(bare, right, identities=known).mac == VERIFIED
    eve = {**known, roles[1]: Identity.from_text("sip:eve@example.com")}
    assert inspect_message(bare, right, identities=eve).mac == FAILED


def _idr(whole: Message, role: IdRole) -> IDR:
    return next(p for p in whole.all(IDR) if p.id_role == role)


@pytest.mark.parametrize("name", INITIALS)
def test_one_changed_octet_fails(name: str) -> None:
    raw = raw_of(FORKED, name)
    ring = ring_of(FORKED, name)
    for at in range(8, len(raw), 11):
        try:
            changed = Message.read(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :])
        except WireError:
            continue  # not even a header
        found = inspect_message(changed, ring, initial(FORKED, name))
        if name == "TRANSFER_INIT" and found.mac == VERIFIED:
            # Its MAC leaves the Initiator Data to Vr.
            tpk = KeyRing(tpks=[(None, key(FORKED, "tpk"))])
            assert inspect_message(changed, tpk).initiator_data == FAILED
            mpkr = KeyRing(mpkr=[(None, key(FORKED, "mpkr"))])
            assert inspect_message(changed, mpkr).initiator_data != VERIFIED
            continue
        assert found.mac != VERIFIED


def test_a_message_without_a_mac() -> None:
    raw = unprotected(raw_of(FORKED, "TRANSFER_INIT"), dropping(IDR))
    bare = Message.parse(raw)
    bare.payloads.pop()
    assert inspect_message(bare, ring_of(FORKED, "TRANSFER_INIT")).mac is None


def test_what_is_opened_are_the_keys_of_the_vectors() -> None:
    found = opened(FORKED, "RESOLVE_RESP", ring_of(FORKED, "RESOLVE_RESP"))
    assert [one.key for one in found.keys if one.type == KeyType.MPK] == [
        key(FORKED, "mpki"),
        key(FORKED, "mpkr_forked"),
    ]
    assert [one.key.hex() for one in found.keys if one.type == KeyType.TGK] == [
        one["key"] for one in FORKED["responder_keys"]
    ]


@pytest.mark.parametrize("number", [22, 23, 26, 200])
def test_a_data_type_that_is_not_known_is_not_checked(number: int) -> None:
    raw = raw_of(FORKED, "REQUEST_INIT_PSK")
    other = Message.parse(raw[:1] + bytes([number]) + raw[2:])
    found = inspect_message(other, ring_of(FORKED, "REQUEST_INIT_PSK"))
    assert (found.mac, found.keys) == (NOT_CHECKED, [])
    [note] = found.notes
    assert "is not known here" in note


def test_notes_say_what_is_missing() -> None:
    update = Message.parse(bytes.fromhex(FORKED["update"]["TRANSFER_INIT"]))
    ring = KeyRing(mpki=[(None, key(FORKED, "mpki"))], mpkr=[(None, key(FORKED, "mpkr"))])
    found = inspect_message(update, ring)
    assert found.mac == NOT_CHECKED
    assert "the exchange before it" in found.notes[0]
    before = [message(FORKED, "TRANSFER_INIT"), message(FORKED, "TRANSFER_RESP")]
    found = inspect_message(update, ring, earlier=before)
    assert (found.mac, found.notes) == (VERIFIED, [])
    assert inspect_message(update, ring, earlier=before[:1]).mac == NOT_CHECKED
    [note] = inspect_message(message(FORKED, "REQUEST_RESP"), KeyRing()).notes
    assert "--init" in note


def test_a_kemac_that_holds_something_else() -> None:
    """It verifies, and what it decrypts to is no key data."""
    case, name = next((case, "REQUEST_RESP") for case in CASES if case["prf"] == PROFILE_128.prf)
    whole = message(case, name)
    kemac = whole.find(KEMAC)
    assert kemac is not None
    init = initial(case, name)
    ring = ring_of(case, name)
    inspection = inspect_message(whole, ring, init)
    assert inspection.kemacs
    payloads = list(whole.payloads)
    at = payloads.index(kemac)
    data = kemac.encr_data
    assert kemac.encr_alg == EncrAlg.AES_CM_128
    # Counter mode: the first key, of several, now says that it is the last one.
    first_is_last = bytes([data[0] ^ NextPayload.KEY_DATA]) + data[1:]
    for octets in (first_is_last, b"\xff" * len(data), data[:-1], b"\x00"):
        payloads[at] = relaxed(kemac, encr_data=octets)
        header = whole.header.copy()
        sent = Message(header, payloads[:-1])
        v = payloads[-1]
        assert isinstance(v, V)
        broken = Message.parse(Message(header, [*sent.payloads, v]).build())
        sealed = seal_message(broken, ring, init)
        found = inspect_message(Message.parse(sealed.message.raw), ring, init)
        assert found.mac == VERIFIED
        assert not found.kemacs
        assert any("does not open" in note for note in found.notes)
