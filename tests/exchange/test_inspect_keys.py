"""Which keys of a key ring are tried on a message, and how many."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.crypto.mac import mac_is_good
from mikeytool.exchange import inspect as opening
from mikeytool.exchange.inspect import FAILED, NOT_CHECKED, VERIFIED, inspect_message
from mikeytool.exchange.inspect_keys import Candidate, KeyRing
from mikeytool.wire.message import Message
from tests.support import vectors

CASE = vectors("exchanges")[0]
REQUEST = Message.parse(bytes.fromhex(CASE["REQUEST_INIT_PSK"]))
CALL = Message.parse(bytes.fromhex(CASE["TRANSFER_INIT"]))


def key(number: int) -> bytes:
    return number.to_bytes(16)


def test_keys_go_by_their_names() -> None:
    ring = KeyRing(psks=[(b"a", key(1)), (None, key(2)), (b"b", key(3)), (b"a", key(4))])
    sure = [Candidate(key(number), False) for number in (1, 4, 2)]
    assert list(ring.psks_of([b"x", b"a"])) == sure
    assert list(ring.psks_of([b"x"])) == sure[2:]


def test_without_a_name_every_key_is_a_guess() -> None:
    ring = KeyRing(tpks=[(b"a", key(1)), (None, key(2))])
    assert list(ring.tpks_of(None)) == [Candidate(key(2), False), Candidate(key(1), True)]
    assert list(ring.tpks_of(b"a")) == [Candidate(key(1), False), Candidate(key(2), False)]
    assert list(ring.tpks_of(b"b")) == [Candidate(key(2), False)]


def test_mpks_go_by_csb_id() -> None:
    ring = KeyRing(mpki=[(7, key(1)), (None, key(2))], mpkr=[(7, key(3))])
    assert ring.mpki_of(7) == [key(1), key(2)]
    assert ring.mpki_of(8) == [key(2)]
    assert ring.mpkr_of(8) == []


def test_no_key_is_shown() -> None:
    ring = KeyRing([(b"a", key(1))], [(b"b", key(2))], [(7, key(3))], [(7, key(4))])
    assert "psks=<1 hidden>" in repr(ring)
    for number in (1, 2, 3, 4):
        assert key(number).hex() not in repr(ring)
        assert repr(key(number))[2:-1] not in repr(ring)


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for every MAC of a message that is computed."""
    counted: list[int] = []

    def counting(*given: Any) -> bool:
        counted.append(1)
        return mac_is_good(*given)

    monkeypatch.setattr(opening, "mac_is_good", counting)
    return counted


def test_thousands_of_keys_cost_a_message_no_more_than_its_own(tried: list[int]) -> None:
    others = [(b"sip:user%d@example.com" % number, key(number)) for number in range(5000)]
    right = (CASE["initiator"].encode(), bytes.fromhex(CASE["psk_initiator"]))
    assert inspect_message(REQUEST, KeyRing(psks=[*others, right])).mac == VERIFIED
    assert inspect_message(REQUEST, KeyRing(psks=list(others))).mac == NOT_CHECKED
    wrong = (CASE["initiator"].encode(), key(1))
    assert inspect_message(REQUEST, KeyRing(psks=[*others, wrong])).mac == FAILED
    mpks: list[tuple[int | None, bytes]] = [(number, key(number)) for number in range(5000)]
    assert inspect_message(CALL, KeyRing(mpki=mpks, mpkr=mpks)).mac == NOT_CHECKED
    assert len(tried) == 2
