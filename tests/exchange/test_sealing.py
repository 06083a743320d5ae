"""Protecting edited messages again: what is blanked comes out as other implementations made it."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.exchange.inspect import FAILED, NOT_CHECKED, VERIFIED, inspect_message
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.sealing import seal_message
from mikeytool.wire.errors import UsageError
from mikeytool.wire.message import Message, nested
from mikeytool.wire.payloads import KEMAC, TICKET, TP, Payload, V
from mikeytool.wire.registry import DataType, EncrAlg
from tests.support import vectors

CASES = vectors("exchanges")
INITIALS = ("REQUEST_INIT_PSK", "TRANSFER_INIT", "RESOLVE_INIT_PSK")
ANSWERED = {
    "REQUEST_RESP": "REQUEST_INIT_PSK",
    "TRANSFER_RESP": "TRANSFER_INIT",
    "RESOLVE_RESP": "RESOLVE_INIT_PSK",
    "Error": "RESOLVE_INIT_PSK",
}


def all_messages() -> list[Any]:
    """Every message of the vectors, with those before it in its exchange."""
    found = []
    for case in CASES:
        raws = {**case, "Error": case.get("error_to_RESOLVE_INIT", {}).get("Error")}
        for name in (*INITIALS, *ANSWERED):
            if raws.get(name):
                earlier = [raws[ANSWERED[name]]] if name in ANSWERED else []
                found.append(pytest.param(case, earlier, raws[name], id=f"{case['name']}: {name}"))
        if "update" in case:
            before = [case["TRANSFER_INIT"], case["TRANSFER_RESP"]]
            init, resp = case["update"]["TRANSFER_INIT"], case["update"]["TRANSFER_RESP"]
            found += [
                pytest.param(case, before, init, id=f"{case['name']}: update"),
                pytest.param(case, [*before, init], resp, id=f"{case['name']}: answer to update"),
            ]
    return found


each_message = pytest.mark.parametrize(("case", "earlier", "raw"), all_messages())


def ring_of(case: dict[str, Any]) -> KeyRing:
    """Every key of a case, by the names that a key tab would give them."""
    octets = bytes.fromhex
    transfer = Message.parse(octets(case["TRANSFER_INIT"])).header.csb_id
    return KeyRing(
        psks=[
            (case["initiator"].encode(), octets(case["psk_initiator"])),
            (case["responder"].encode(), octets(case["psk_responder"])),
        ],
        tpks=[(None, octets(case["tpk"]))],
        mpki=[(transfer, octets(case["mpki"]))],
        mpkr=[(None, octets(case["mpkr"]))] if case["mpkr"] else [],
    )


def parsed(raws: list[str]) -> list[Message]:
    return [Message.parse(bytes.fromhex(raw)) for raw in raws]


def blanked(raw: bytes) -> bytes:
    """A message without a MAC that means anything, and without encrypted key data.

    Vi stays where it is not that of the message itself but of the call it was taken from.
    """
    octets = bytearray(raw)
    whole = Message.parse(raw)
    resolves = whole.header.data_type == DataType.RESOLVE_INIT_PSK

    def blank(payload: Payload) -> None:
        end = payload.offset + payload.length
        if isinstance(payload, V) and not (resolves and payload.next_payload == V.number):
            octets[end - len(payload.ver_data) : end] = bytes(len(payload.ver_data))
        elif isinstance(payload, KEMAC) and payload.encr_alg != EncrAlg.NULL:
            start = payload.offset + 4
            octets[start : start + len(payload.encr_data)] = bytes(len(payload.encr_data))
        for inside in nested(payload).values():
            for one in inside:
                blank(one)

    for payload in whole.payloads:
        blank(payload)
    return bytes(octets)


@each_message
def test_what_is_blanked_comes_out_the_same(
    case: dict[str, Any], earlier: list[str], raw: str
) -> None:
    """RFC 6043 5.5, 6.10, A.1: MACs are functions of what they cover, and so is AES-CM of T."""
    whole = Message.parse(bytes.fromhex(raw))
    ring, before = ring_of(case), parsed(earlier)
    opened = inspect_message(whole, ring, earlier=before)
    assert opened.mac == VERIFIED
    blank = Message.parse(blanked(whole.raw))
    assert inspect_message(blank, ring, earlier=before).failed
    sealed = seal_message(blank, ring, earlier=before, keys=opened.kemacs)
    assert sealed.message.raw == whole.raw
    assert sealed.kemacs == set(opened.kemacs)


CALL = Message.parse(bytes.fromhex(CASES[0]["TRANSFER_INIT"]))


def test_only_what_keys_cover_is_written() -> None:
    blank = Message.parse(blanked(CALL.raw))
    octets = bytes.fromhex(CASES[0]["mpki"])
    sealed = seal_message(blank, KeyRing(mpki=[(None, octets)]))
    assert sealed.written == ["V", "Initiator Data"]  # Vi is V again; Vr takes MPKr
    opened = inspect_message(Message.parse(sealed.message.raw), ring_of(CASES[0]))
    assert (opened.mac, opened.ticket, opened.initiator_data) == (VERIFIED, FAILED, NOT_CHECKED)
    other = KeyRing(psks=[(None, bytes(16))], mpki=[(7, bytes(16))])
    assert seal_message(blank, other).message.raw == blank.raw
    assert seal_message(blank, KeyRing()).written == []


def test_a_name_chooses_among_keys() -> None:
    """A key of another name is never taken, nor one that does not open what stands there."""
    right = bytes.fromhex(CASES[0]["tpk"])
    for tpks, written in (
        ([(b"tpk-1", right)], True),
        ([(b"tpk-2", bytes(16)), (b"tpk-1", right)], True),
        ([(b"tpk-2", right)], False),
        ([(None, bytes(16)), (None, right)], True),
    ):
        sealed = seal_message(CALL, KeyRing(tpks=list(tpks)))
        assert ("the ticket" in sealed.written) is written
        assert sealed.message.raw == CALL.raw


def test_other_keys_in_a_ticket_change_what_is_made_of_them() -> None:
    """The MPK of a ticket makes MPKi and MPKr, which protect the call (RFC 6043 A.2)."""
    case, ring = CASES[0], KeyRing(tpks=[(None, bytes.fromhex(CASES[0]["tpk"]))])
    opened = inspect_message(CALL, ring)
    ticket = CALL.find(TICKET)
    assert ticket is not None
    [offset] = opened.kemacs
    mpk, *others = opened.kemacs[offset]
    keys = {offset: [mpk.copy(key=bytes(range(16))), *others]}
    sealed = seal_message(CALL, ring, keys=keys)
    assert sealed.written == ["the ticket", "V", "Initiator Data"]
    again = inspect_message(Message.parse(sealed.message.raw), ring)
    assert (again.mac, again.ticket, again.initiator_data) == (VERIFIED,) * 3
    assert again.kemacs[offset][0].key == bytes(range(16))
    old = KeyRing(mpki=[(None, bytes.fromhex(case["mpki"]))])
    assert inspect_message(Message.parse(sealed.message.raw), old).mac == FAILED


def test_more_keys_in_a_ticket_move_what_is_behind_it() -> None:
    ring = KeyRing(tpks=[(None, bytes.fromhex(CASES[0]["tpk"]))])
    [(offset, inside)] = inspect_message(CALL, ring).kemacs.items()
    loose = [one.copy(next_payload=None) for one in inside]
    extra = inside[1].copy(next_payload=None, key=bytes(16), spi=b"\0\0\0\x77")
    sealed = seal_message(CALL, ring, keys={offset: [*loose, extra]})
    assert len(sealed.message.raw) == len(CALL.raw) + len(extra.copy(next_payload=0).build())
    again = inspect_message(Message.parse(sealed.message.raw), ring)
    assert (again.mac, again.ticket, again.initiator_data) == (VERIFIED,) * 3
    assert [one.spi for one in again.kemacs[offset]] == [
        *(one.spi for one in inside),
        b"\0\0\0\x77",
    ]


def test_lengths_that_were_given_wrong_stay_wrong() -> None:
    """A message that was composed to be broken is protected as it is."""
    whole = Message.parse(bytes.fromhex(CASES[0]["REQUEST_INIT_PSK"]))
    tp = whole.find(TP)
    assert tp is not None
    at = whole.payloads.index(tp)
    whole.payloads[at] = tp.copy(tp_data_length=len(tp.tp_data) + 3)
    whole.place()
    sealed = seal_message(whole, ring_of(CASES[0]))
    assert sealed.written == ["V"]
    assert sealed.message.raw[:-20] == whole.raw[:-20]
    assert sealed.message.raw[-20:] != whole.raw[-20:]


def test_key_data_that_cannot_be_encrypted() -> None:
    case = next(case for case in CASES if case["transfer_kemac_keys"])
    raws = [bytes.fromhex(case[name]) for name in ("TRANSFER_INIT", "TRANSFER_RESP")]
    raw = next(raw for raw in raws if Message.parse(raw).find(KEMAC) is not None)
    message = Message.parse(raw)
    kemac = message.find(KEMAC)
    assert kemac is not None
    before = [] if raw == raws[0] else [Message.parse(raws[0])]
    keys = inspect_message(message, ring_of(case), earlier=before).kemacs
    message.payloads[message.payloads.index(kemac)] = wrapped = kemac.copy(encr_alg=2)
    message.place()
    short = {wrapped.offset: [keys[kemac.offset][0].copy(key=bytes(5), key_data_len=None)]}
    with pytest.raises(UsageError, match="multiples of 8") as caught:
        seal_message(message, ring_of(case), earlier=before, keys=short)
    assert "00" * 5 not in str(caught.value)


@pytest.mark.parametrize("length", [65_000, 65_500])
def test_a_ticket_that_grows_too_long(length: int) -> None:
    ring = KeyRing(tpks=[(None, bytes.fromhex(CASES[0]["tpk"]))])
    [(offset, inside)] = inspect_message(CALL, ring).kemacs.items()
    long = inside[1].copy(key=bytes(length), key_data_len=None)
    with pytest.raises(UsageError, match="cannot be written"):
        seal_message(CALL, ring, keys={offset: [inside[0], long, *[long] * (length < 65_500)]})
