"""Messages from descriptions, as `encode` reads what `decode --json` printed."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.exchange.inspect import VERIFIED, inspect_message
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.exchange.reseal import Resealer
from mikeytool.wire.describe import describe
from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.message import Message
from tests.exchange.test_sealing import CASES, ring_of

CASE = next(case for case in CASES if "update" in case)
EXCHANGE = [
    bytes.fromhex(raw)
    for raw in (CASE["TRANSFER_INIT"], CASE["TRANSFER_RESP"], CASE["update"]["TRANSFER_INIT"])
]


def described(raw: bytes) -> dict[str, Any]:
    return describe(Message.parse(raw))


def kemac_of(one: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = next(p for p in one["payloads"] if p["payload"] == "KEMAC")
    return found


@pytest.mark.parametrize("ring", [None, KeyRing(), ring_of(CASE)])
def test_what_was_described_comes_out_the_same(ring: KeyRing | None) -> None:
    resealer = Resealer(ring)
    for raw in EXCHANGE:
        encoded = resealer.encode(described(raw))
        assert encoded.message == raw
        assert (encoded.written is None) == (ring is None)


def test_an_error_in_place_of_a_message() -> None:
    with pytest.raises(WireError, match="this was no message before: it is short"):
        Resealer().encode({"error": "it is short"})


def test_keys_alone_are_encrypted() -> None:
    """A KEMAC whose description has keys and no Encr data."""
    update = described(EXCHANGE[2])
    kemac = kemac_of(update)
    opened = inspect_message(
        Message.parse(EXCHANGE[2]), ring_of(CASE), earlier=[*map(Message.parse, EXCHANGE[:2])]
    )
    (keys,) = opened.kemacs.values()
    kemac["keys"] = [describe_key(key) for key in keys]
    kemac["encr_data"] = None
    for ring, good in ((ring_of(CASE), True), (KeyRing(), False)):
        resealer = Resealer(ring)
        for raw in EXCHANGE[:2]:
            resealer.encode(described(raw))
        if good:
            assert resealer.encode(update).message == EXCHANGE[2]
            continue
        with pytest.raises(UsageError, match="encr_data is missing"):
            resealer.encode(update)


def describe_key(key: Any) -> dict[str, Any]:
    return {
        "type_value": int(key.type), "key": key.key.hex(), "kv_value": int(key.kv),
        "salt": key.salt.hex() if key.salt else None, "spi": key.spi.hex() if key.spi else None,
    }  # fmt: skip


def test_a_message_with_no_payloads_described() -> None:
    bare = described(EXCHANGE[0])
    bare["payloads"] = []
    assert Resealer(ring_of(CASE)).encode(bare).written == []
    del bare["payloads"]
    assert Resealer(ring_of(CASE)).encode(bare).written == []


def test_a_response_without_its_initial_message_keeps_its_mac() -> None:
    answer = described(EXCHANGE[1])
    encoded = Resealer(ring_of(CASE)).encode(answer)
    assert encoded.message == EXCHANGE[1]
    assert "V" not in (encoded.written or ())
    sealed = Resealer(ring_of(CASE), init=Message.parse(EXCHANGE[0])).encode(answer)
    assert sealed.message == EXCHANGE[1]
    inspected = inspect_message(
        Message.parse(sealed.message), ring_of(CASE), earlier=[Message.parse(EXCHANGE[0])]
    )
    assert inspected.mac == VERIFIED
