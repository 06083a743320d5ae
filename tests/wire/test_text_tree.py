"""The tree of a message in words."""

from __future__ import annotations

from mikeytool.wire.describe import describe
from mikeytool.wire.message import Message
from mikeytool.wire.registry import TicketFlag
from mikeytool.wire.text_tree import message_tree
from tests.support import vectors

INIT = Message.read(bytes.fromhex(vectors("exchanges")[0]["TRANSFER_INIT"]))


def test_flags_are_spelled_out() -> None:
    lines = [line.strip("│├└─ ") for line in message_tree(describe(INIT)).lines()]
    at = lines.index("Flags")
    letters = next(line for line in lines if line.startswith("TICKET")).rpartition(" ")[2]
    assert [line[0] for line in lines[at + 1 : at + 1 + len(letters)]] == list(letters)
    assert all(flag.meaning for flag in TicketFlag)


def test_switches_are_on_or_off() -> None:
    described = describe(INIT)
    switches = [
        param
        for payload in described["payloads"]
        for param in payload.get("policy_param", ())
        if param["type"].endswith("off/on")
    ]
    switches[0]["value"] = "00"
    lines = list(message_tree(described).lines())
    assert [line.split()[-1] for line in lines if "off/on" in line] == ["off", "on", "on"]
