"""The ladder of a capture in text, drawn by hand."""

from __future__ import annotations

from mikeytool.media import ladder_lines
from mikeytool.media.message_flow import Arrow

NAMES = {"a": ["a", "sip:alice@example.com"], "b": ["b"]}


def drawn(*arrows: Arrow, width: int = 60) -> list[str]:
    return ["".join(part.text for part in line) for line in ladder_lines(arrows, NAMES, width)]


def test_a_ladder() -> None:
    there = Arrow(1, "a", "b", "INIT 300", "verified", "CSB ID 1")
    back = Arrow(2, "b", "a", "RESP 200", "FAILED", "CSB ID 1")
    assert drawn(there, back) == [
        "     a                       b",
        "     sip:alice@example.com",
        "     |                       |",
        "  1  |------ INIT 300 ------>|  verified",
        "     |                       |",
        "  2  |<------ RESP 200 ------|  FAILED",
    ]


def test_labels_without_room_are_above_their_arrows() -> None:
    arrow = Arrow(7, "a", "b", "TRANSFER_INIT, broken 1234", "", "CSB ID 1")
    lines = drawn(arrow, width=40)
    assert lines[-2] == "  7  |  TRANSFER_INIT, broken 1234"
    assert lines[-1].startswith("     |----")
    assert lines[-1].endswith(">|")


def test_results_have_roles() -> None:
    arrows = [
        Arrow(1, "a", "b", "one", "not checked", "x"), Arrow(2, "a", "b", "two", "broken", "x")
    ]  # fmt: skip
    roles = [line[-1].role for line in ladder_lines(arrows, NAMES) if len(line) == 2]
    assert roles == ["not checked", "broken"]
