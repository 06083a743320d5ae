"""Messages made to cost more than they should: bounded work, and a clear end to it.

What is counted is work, not time: calls of functions of this package and octets of output.
"""

# ruff: noqa: E501 - a row for each case

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings

from mikeytool.wire.annotated_dump import dump
from mikeytool.wire.describe import compose, describe_text
from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.message import Message
from tests.wire.mutations import mutated

HEADER = bytes.fromhex("01 0b {} 00 00000001 00 01".replace("{}", "10"))
MEGABYTE = 1 << 20


def calls(work: Callable[[], Any]) -> int:
    """How many Python functions are called."""
    count = 0

    def tell(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(tell)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


def look(data: bytes) -> None:
    """All that looking at a message does."""
    message = Message.read(data)
    text = describe_text(message)
    assert len(text) < 2000 + 120 * len(data)
    assert sum(len(row.octets) for row in dump(message)) == len(data)


def tp(inside: bytes, number: int = 0x10) -> bytes:
    """A TP that holds another one, first payload octet included."""
    return (
        bytes.fromhex("00 0001 01 01 000000")
        + (len(inside) + 1).to_bytes(2)
        + bytes([number])
        + inside
    )


def tp_in_tp(levels: int) -> bytes:
    data = b""
    number = 0
    for _ in range(levels):
        if len(data) > 65000:
            break
        data, number = tp(data, number), 0x10
    return HEADER + data


def header(count: int, entry: bytes, kind: int = 2) -> bytes:
    return bytes.fromhex("01 00 00 00 00000001") + bytes([count, kind]) + entry * count


BOMBS: dict[str, bytes] = {
    "TP in TP, 5,000 deep": tp_in_tp(5000),
    "TP in TP, 40 deep": tp_in_tp(40),
    "255 crypto sessions": header(255, bytes.fromhex("01 00 00 0000 00")),
    "255 crypto sessions, full": header(255, bytes.fromhex("01 00 7f") + bytes(127) + bytes.fromhex("0bb8") + bytes(3000) + b"\xff" + bytes(255)),
    "255 of an SRTP-ID map": header(255, bytes(9), 0),
    "255 announced, none there": header(0, b"")[:8] + b"\xff\x02",
    "a field of 65,535 octets": HEADER[:2] + b"\x01" + HEADER[3:] + bytes.fromhex("00 01 ffff") + bytes(65535) + b"\0",
    "65,535 octets announced": HEADER[:2] + b"\x01" + HEADER[3:] + bytes.fromhex("00 01 ffff 00"),
    "a thousand payloads": HEADER[:2] + b"\x0c" + HEADER[3:] + bytes.fromhex("0c000000") * 999 + bytes.fromhex("00000000"),
    "10,000 payloads": HEADER[:2] + b"\x0b" + HEADER[3:] + bytes.fromhex("0b00") * 10_000 + bytes.fromhex("0000"),
    "a policy of 32,767 parameters": HEADER[:2] + b"\x0a" + HEADER[3:] + bytes.fromhex("00 00 00 fffe") + bytes(65534),
    "13,000 keys in the clear": HEADER[:2] + b"\x01" + HEADER[3:] + bytes.fromhex("00 00 fdea") + bytes.fromhex("1400000000")[:5] * 12999 + bytes.fromhex("0000000000")[:5] + b"\0",
    "key IDs without end": HEADER[:2] + b"\x15" + HEADER[3:] + bytes.fromhex("00 03 fffe") + bytes(65534),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_work_grows_with_the_octets(name: str) -> None:
    """A hundred calls are more than the smallest payload, of two octets, takes."""
    data = BOMBS[name]
    look(data[:64])  # makes parsers and forms, once
    assert calls(lambda: look(data)) < 2000 + 60 * len(data)


@pytest.mark.parametrize("name", BOMBS)
def test_what_is_read_is_written_again(name: str) -> None:
    assert Message.read(BOMBS[name]).build() == BOMBS[name]


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_a_message_takes_little(data: bytes) -> None:
    """Far below 50 ms and 20 MB: some thousand calls, and a megabyte."""
    look(data)
    assert calls(lambda: look(data)) < 40_000
    tracemalloc.start()
    try:
        look(data)
        assert tracemalloc.get_traced_memory()[1] < 4 * MEGABYTE
    finally:
        tracemalloc.stop()


def test_deep_json_is_bounded() -> None:
    """TP in TP in JSON is written as deep as it goes, and refused behind that."""
    assert len(deep(20).build()) == 10 + 20 * 11
    with pytest.raises(UsageError, match="too deep"):
        deep(900).build()


def deep(levels: int) -> Message:
    described: Any = []
    for _ in range(levels):
        described = [{"payload": "TP", "ticket_type_value": 1, "subtype": 1, "version": 1,
                      "prf_value": 0, "flags": "0x000", "tp_data": described}]  # fmt: skip
    return compose({"data_type_value": 0, "prf_value": 0, "csb_id": 1, "cs_id_map_type_value": 1,
                       "payloads": described})  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(mutated())
def test_the_tree_up_to_the_fault_is_that_of_the_whole(data: bytes) -> None:
    """What is cut off behind a payload changes nothing of the payloads before it."""
    try:
        message = Message.read(data)
    except WireError:
        return
    for payload in message.payloads[:-1]:
        cut = Message.read(data[: payload.offset + payload.length])
        assert cut.payloads == message.payloads[: len(cut.payloads)]
        assert cut.payloads[-1] == payload
