from __future__ import annotations

import pytest

from mikeytool.lint import Profile
from mikeytool.wire.header import GenericIdEntry
from mikeytool.wire.mission_critical import KeyParameters, ProtectedPayload
from mikeytool.wire.payloads import SIGN, SP, GeneralExt, PolicyParam
from tests.lint.messages import (
    ALICE,
    BOB,
    Case,
    D,
    Edit,
    case,
    change,
    codes,
    edited,
    good,
    header,
    insert,
    octets,
    role,
    swap,
    without,
)

M = Profile.MC
GMK, PCK, CSK, SPK = 0x00000001, 0x10000001, 0x20000001, 0x30000001
GROUP = {0: 6, 1: 16, 2: 4, 4: 12, 5: 0, 6: 0, 13: 1, 18: 4, 19: 0, 20: 16}
"""TS 33.179 E.2; a private call has neither RCC nor what goes with it (E.3)."""
PRIVATE = {kind: value for kind, value in GROUP.items() if kind not in (2, 13, 18, 19)}


def policy(values: dict[int, int]) -> SP:
    params = [PolicyParam(type=kind, value=bytes([value])) for kind, value in values.items()]
    return SP(policy_no=0, protocol=0, policy_param=params)


def message(csb_id: int, values: dict[int, int], *edits: Edit) -> bytes:
    """A message as TS 33.179 and 33.180, Annex E, want it."""
    kms = (role(6, b"kms.example.org"), role(7, b"kms.example.org"))
    return edited(
        good(D.SAKKE_MSG),
        header(csb_id=csb_id, prf=1, cs_id_map_type=1, cs_id_map=[]),
        change("IDRi", id_data=ALICE),
        change("IDRr", id_data=BOB),
        *(insert(each, "SP") for each in kms),
        change("SAKKE", id_scheme=2),
        swap("SP", policy(values)),
        *edits,
    )


def extension(kind: int, data: bytes) -> Edit:
    return insert(GeneralExt(type=kind, data=data), "SIGN")


def clear(key_type: int) -> Edit:
    zero = bytes(5)
    made = KeyParameters(key_type=key_type, status=1, activation_time=zero, expiry_time=zero,
                         text=b"", mc_group_ids=[])  # fmt: skip
    return extension(7, made.build())


def protected(**changes: int) -> Edit:
    values = {"dppk_id": PCK, "payload_id": 0, "payload_sequence_number": 0} | changes
    made = ProtectedPayload(
        authenticated=0, encrypted=1, message_type=3, date_time=bytes(5), payload_algorithm=1,
        iv=octets(16), payload_iei=120, payload=octets(40), **values,
    )  # fmt: skip
    return extension(7, made.build())


def to_self(following: int, params: int = 1) -> Edit:
    return extension(6, bytes([following, params, 2, 0, 3]) + octets(3))


CALL = message(PCK, PRIVATE)
ONE = GenericIdEntry(cs_id=6, protocol=0, policies=[0], session_data=b"", spi=b"")


def made(code: str, base: bytes | D, *edits: Edit, also: tuple[str, ...] = ()) -> Case:
    return case(code, base, *edits, also=also, profile=M)


CASES = [
    made("mc-mode", D.PRE_SHARED),
    made("mc-identity-missing", CALL, without("IDRkmsi", "IDRkmsr")),
    made("mc-identity-missing", CALL, without("IDRi")),
    made("mc-identity-twice", CALL, insert(role(8, octets(32)), "SP")),
    made("mc-signature", CALL, swap("SIGN", SIGN(s_type=0, signature=octets(256)))),
    made("mc-scheme", CALL, change("SAKKE", id_scheme=1), also=("sakke-tel", "sakke-tel")),
    made("mc-purpose", CALL, header(csb_id=SPK)),
    made("mc-csk-prf", CALL, header(csb_id=CSK, prf=0), without("SP")),
    made("mc-csk-map", CALL, header(csb_id=CSK, cs_id_map_type=2, cs_id_map=[ONE.copy(cs_id=1)])),
    made("mc-csk-map", CALL, header(csb_id=CSK, cs_id_map_type=2, cs_id_map=[])),
    made("mc-policy-missing", CALL, without("SP")),
    made("mc-default-policy", CALL, swap("SP", policy({**PRIVATE, 1: 32}))),
    made("mc-default-policy", message(GMK, PRIVATE)),
    made("mc-to-self", CALL, to_self(4)),
    made("mc-to-self", CALL, to_self(0, 2)),
    made("mc-parameters-clear", CALL, clear(1)),
    made("mc-parameters-type", CALL, clear(2), also=("mc-parameters-clear",)),
    made("mc-parameters-key", CALL, protected(dppk_id=GMK)),
    made("mc-parameters-key", CALL, protected(payload_id=1)),
    made("mc-parameters-key", CALL, protected(payload_sequence_number=1)),
]


@pytest.mark.parametrize("broken", CASES, ids=lambda one: one.code)
def test_a_broken_message(broken: Case) -> None:
    assert broken.found() == broken.expected()


@pytest.mark.parametrize(
    "data",
    [
        CALL,
        message(GMK, GROUP),
        message(CSK, PRIVATE, without("SP")),
        message(CSK, PRIVATE, header(cs_id_map_type=2, cs_id_map=[ONE]), without("SP")),
        edited(CALL, protected(), to_self(0)),
        edited(
            CALL,
            without("IDRi", "IDRr"),
            insert(role(8, octets(32)), "IDRkmsi"),
            insert(role(9, octets(32, 3)), "IDRkmsi"),
        ),
    ],
    ids=["private", "group", "CSK", "CSK with map", "extensions", "hidden"],
)
def test_nothing_is_wrong_with_what_the_annex_asks_for(data: bytes) -> None:
    assert codes(data, profile=M) == []


def test_the_profile_is_asked_for() -> None:
    for broken in CASES:
        assert not [code for code in codes(broken.data()) if code.startswith("mc-")]
