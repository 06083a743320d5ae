"""Opening a whole exchange, message by message, with fewer keys than any of them alone takes."""

from __future__ import annotations

from typing import Any

import pytest

from mikeytool.exchange import inspect_history as opening_history
from mikeytool.exchange.inspect import FAILED, NOT_CHECKED, VERIFIED
from mikeytool.exchange.inspect_history import Earlier, History
from mikeytool.exchange.inspect_keys import KeyRing
from mikeytool.wire.message import Message
from tests.support import vectors

CASES = [case for case in vectors("exchanges") if "update" in case]
NAMES = ("REQUEST_INIT_PSK", "REQUEST_RESP", "TRANSFER_INIT", "RESOLVE_INIT_PSK", "RESOLVE_RESP",
         "TRANSFER_RESP")  # fmt: skip
KMS_OF = {
    "initiator": {"REQUEST_INIT_PSK", "REQUEST_RESP"},
    "responder": {"RESOLVE_INIT_PSK", "RESOLVE_RESP"},
}

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])


def messages(case: dict[str, Any]) -> dict[str, Message]:
    """The messages of an exchange in the order in which they are sent."""
    update = case["update"]
    raws = {name: case[name] for name in NAMES} | {
        "update": update["TRANSFER_INIT"],
        "answer to update": update["TRANSFER_RESP"],
    }
    return {name: Message.parse(bytes.fromhex(raw)) for name, raw in raws.items()}


def macs(case: dict[str, Any], history: History, leave: str = "") -> dict[str, str | None]:
    """What the MACs are, one message after the other; one may be left out."""
    found = messages(case)
    return {name: history.inspect(one).mac for name, one in found.items() if name != leave}


def psk(case: dict[str, Any], who: str) -> KeyRing:
    return KeyRing(psks=[(case[who].encode(), bytes.fromhex(case[f"psk_{who}"]))])


@each_case
def test_the_key_of_the_caller_opens_the_call(case: dict[str, Any]) -> None:
    """REQUEST_RESP tells the initiator the keys of the ticket, which TRANSFER_INIT carries."""
    found = macs(case, History(psk(case, "initiator")))
    assert {name for name, mac in found.items() if mac != VERIFIED} == KMS_OF["responder"]
    assert {found[name] for name in KMS_OF["responder"]} == {NOT_CHECKED}


@each_case
def test_the_key_of_who_is_called_opens_what_comes_after_the_ticket_is_resolved(
    case: dict[str, Any],
) -> None:
    """RESOLVE_RESP tells MPKi and MPKr', when TRANSFER_INIT has gone by already."""
    history = History(psk(case, "responder"))
    found = macs(case, history)
    late = {*KMS_OF["initiator"], "TRANSFER_INIT"}
    assert {name for name, mac in found.items() if mac != VERIFIED} == late
    assert {found[name] for name in late} == {NOT_CHECKED}
    again = history.inspect(messages(case)["TRANSFER_INIT"])
    assert again.mac == VERIFIED
    assert again.initiator_data in (None, NOT_CHECKED)  # Vr takes the MPKr that is not forked


@each_case
def test_what_was_told_of_a_ticket_finds_the_forger(case: dict[str, Any]) -> None:
    history = History(psk(case, "initiator"))
    found = messages(case)
    for name in ("REQUEST_INIT_PSK", "REQUEST_RESP"):
        history.inspect(found[name])
    raw = found["TRANSFER_INIT"].raw
    forged = history.inspect(Message.parse(raw[:-1] + bytes([raw[-1] ^ 1])))
    assert forged.mac == FAILED
    assert forged.initiator_data in (None, FAILED)


@pytest.mark.parametrize("case", [CASES[0]], ids=["forking"])
@pytest.mark.parametrize(
    ("leave", "lost"),
    [
        ("REQUEST_INIT_PSK", {"REQUEST_RESP", "TRANSFER_INIT", "TRANSFER_RESP", "update"}),
        ("TRANSFER_INIT", {"TRANSFER_RESP", "update"}),
        ("TRANSFER_RESP", {"update"}),
        ("update", set[str]()),
    ],
)
def test_what_is_missing_cannot_be_made_up(
    case: dict[str, Any], leave: str, lost: set[str]
) -> None:
    """RFC 6043 5.2 and 5.5: RANDs and MACs run through the whole exchange.

    With an update left out, its answer seems to answer the TRANSFER_INIT of the call.
    """
    found = macs(case, History(psk(case, "initiator")), leave)
    assert {name for name in lost if found[name] == VERIFIED} == set()
    assert found["answer to update"] != VERIFIED


def test_an_exchange_gives_way_when_memory_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = (messages(case)["TRANSFER_INIT"] for case in CASES[:2])
    monkeypatch.setattr(opening_history, "MAX_OCTETS", len(first.raw) + len(other.raw) - 1)
    earlier = Earlier()
    earlier.add(first)
    assert earlier.of(first) == [first]
    earlier.add(other)
    assert earlier.of(first) == []
    assert earlier.of(other) == [other]


def test_a_long_exchange_keeps_its_beginning_and_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_history, "MAX_MESSAGES", 5)
    monkeypatch.setattr(opening_history, "FIRST", 2)
    raw = bytearray(messages(CASES[0])["REQUEST_INIT_PSK"].raw)
    earlier = Earlier()
    for number in range(9):
        raw[-1] = number
        earlier.add(Message.parse(bytes(raw)))
    assert [one.raw[-1] for one in earlier.of(Message.parse(bytes(raw)))] == [0, 1, 6, 7, 8]


def test_tickets_are_forgotten_and_not_told_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening_history, "MAX_TICKETS", 1)
    one, two = CASES[0], CASES[2]
    ring = KeyRing(psks=psk(one, "initiator").psks + psk(two, "initiator").psks)
    history = History(ring)
    for case in (one, two):
        for name in ("REQUEST_INIT_PSK", "REQUEST_RESP"):
            assert history.inspect(messages(case)[name]).mac == VERIFIED
    assert history.inspect(messages(one)["TRANSFER_INIT"]).mac == NOT_CHECKED
    assert history.inspect(messages(two)["TRANSFER_INIT"]).mac == VERIFIED
