"""A captured exchange and any key that opens it give the media keys of the known answers."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.recover import recover_session
from mikeytool.exchange.session import Session
from mikeytool.exchange.update import update_init
from mikeytool.wire.errors import Refused
from mikeytool.wire.registry import KeyType
from tests.support import at, vectors
from tests.world import BOB, World, tek

CASES = vectors("exchanges")
FORKED = CASES[0]
FLAT = next(case for case in CASES if case["name"] == "no forking, TGK, RANDRi only")
HALF = next(case for case in CASES if case["TRANSFER_RESP"] is None)


def raw(case: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(case[name] or "")


def answer(case: dict[str, Any]) -> bytes | None:
    return raw(case, "TRANSFER_RESP") or None


def ring(case: dict[str, Any], *names: str) -> KeyRing:
    """A key ring with these keys of a case, each under no name."""
    kinds = {"tpk": "tpks", "mpki": "mpki", "mpkr": "mpkr", "mpkr_forked": "mpkr",
             "psk_initiator": "psks", "psk_responder": "psks"}  # fmt: skip
    found: dict[str, list[Any]] = {}
    for name in names:
        found.setdefault(kinds[name], []).append((None, raw(case, name)))
    return KeyRing(**found)


def media(session: Session) -> list[dict[str, Any]]:
    found = []
    for one in session.crypto_sessions:
        key = session.media_key(one)
        found.append(
            {
                "cs_id": one.entry.cs_id,
                "ssrc": one.ssrc,
                "spi": key.spi.hex(),
                "tek": key.key.hex(),
                "salt": key.salt.hex(),
            }
        )
    return found


@pytest.fixture(params=CASES, ids=lambda case: case["name"])
def case(request: pytest.FixtureRequest) -> dict[str, Any]:
    found: dict[str, Any] = request.param
    return found


def test_the_tpk_is_enough(case: dict[str, Any]) -> None:
    session = recover_session(raw(case, "TRANSFER_INIT"), answer(case), ring(case, "tpk"))
    assert media(session) == case["crypto_sessions"]
    assert (str(session.local), str(session.remote)) == (case["initiator"], case["responder"])


def test_the_initiators_key_and_what_the_kms_told_them(case: dict[str, Any]) -> None:
    others = [raw(case, "REQUEST_RESP"), raw(case, "REQUEST_INIT_PSK")]
    keys = ring(case, "psk_initiator")
    session = recover_session(raw(case, "TRANSFER_INIT"), answer(case), keys, others)
    assert media(session) == case["crypto_sessions"]


def test_the_responders_key_and_what_the_kms_told_them(case: dict[str, Any]) -> None:
    others = [raw(case, "RESOLVE_INIT_PSK"), raw(case, "RESOLVE_RESP")]
    keys = ring(case, "psk_responder")
    session = recover_session(raw(case, "TRANSFER_INIT"), answer(case), keys, others)
    assert media(session) == case["crypto_sessions"]


@pytest.mark.parametrize("mpkr", ["mpkr", "mpkr_forked"])
def test_mpks_give_the_keys_that_the_two_sent(mpkr: str) -> None:
    """As they stand, without the ticket: MPKr may be forked already or not (5.1.1)."""
    for case in CASES:
        if not case["transfer_kemac_keys"]:
            continue
        keys = ring(case, "mpki", *([mpkr] if case["mpkr"] else []))
        session = recover_session(raw(case, "TRANSFER_INIT"), answer(case), keys)
        assert media(session) == case["crypto_sessions"]


def test_an_observer_sends_nothing() -> None:
    session = recover_session(raw(FORKED, "TRANSFER_INIT"), answer(FORKED), ring(FORKED, "tpk"))
    assert session.role is None
    assert not any(map(session.is_local, session.crypto_sessions))
    assert [one.by_initiator for one in session.crypto_sessions] == [True, False]
    key = tek(b"\1\2\3\4")
    with pytest.raises(Refused, match="observer"):
        update_init(at(0), session, kemac_keys=[key])


@pytest.mark.parametrize(
    ("names", "others", "words"),
    [
        ((), (), "opens TRANSFER_INIT"),
        (("psk_responder",), (), "opens TRANSFER_INIT"),
        (("psk_initiator",), ("RESOLVE_INIT_PSK", "RESOLVE_RESP"), "opens TRANSFER_INIT"),
        (("psk_responder",), ("RESOLVE_RESP",), "opens TRANSFER_INIT"),
        (("mpkr",), (), "opens TRANSFER_INIT"),
        (("mpki",), (), "opens TRANSFER_RESP"),
        (("mpki", "mpkr"), (), "no key has it"),  # a TGK of the ticket stays closed
    ],
)
def test_keys_that_are_not_enough(
    names: tuple[str, ...], others: tuple[str, ...], words: str
) -> None:
    captured = [raw(FORKED, name) for name in others]
    with pytest.raises(Refused, match=words):
        recover_session(
            raw(FORKED, "TRANSFER_INIT"), answer(FORKED), ring(FORKED, *names), captured
        )


def test_what_the_kms_told_of_another_ticket_does_not_count() -> None:
    keys = ring(FLAT, "psk_responder", "psk_initiator")
    others = [raw(FLAT, name) for name in ("RESOLVE_INIT_PSK", "RESOLVE_RESP")]
    with pytest.raises(Refused, match="opens TRANSFER_INIT"):
        recover_session(raw(FORKED, "TRANSFER_INIT"), answer(FORKED), keys, others)


def test_messages_that_do_not_go_together() -> None:
    with pytest.raises(Refused, match="csb_id"):
        recover_session(raw(FORKED, "TRANSFER_INIT"), answer(FLAT), ring(FORKED, "tpk"))
    with pytest.raises(Refused, match="give the TRANSFER_RESP"):
        recover_session(raw(FORKED, "TRANSFER_INIT"), None, ring(FORKED, "tpk"))
    with pytest.raises(Refused, match="no F flag"):
        recover_session(raw(HALF, "TRANSFER_INIT"), answer(FORKED), ring(HALF, "tpk"))


@pytest.mark.parametrize("case", [FORKED, FLAT], ids=lambda case: case["name"])
def test_a_changed_answer_is_refused(case: dict[str, Any]) -> None:
    data = bytearray(raw(case, "TRANSFER_RESP"))
    data[-1] ^= 1
    with pytest.raises(Refused, match="TRANSFER_RESP"):
        recover_session(raw(case, "TRANSFER_INIT"), bytes(data), ring(case, "tpk"))


def test_each_answer_to_a_forked_call_is_a_session_of_its_own(world: World) -> None:
    """Interpretation 28: each is recovered with its own modifier from the same ticket."""
    held = world.held(responders=(BOB,))
    init = world.call(held)
    tpk = KeyRing(tpks=[(None, b"t" * 32)])
    keys = []
    for _ in range(2):
        sent, theirs = world.answered(init)
        session = recover_session(init, sent, tpk)
        assert media(session) == media(theirs)
        assert [key.type for key in session.keys] == [KeyType.TGK]
        keys.append(session.keys[0].key)
    assert keys[0] != keys[1]
