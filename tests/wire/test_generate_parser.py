"""The flat parsers read what `construct` itself reads from the same grammar."""

from __future__ import annotations

from typing import Any

import construct
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mikeytool.wire.errors import WireError
from mikeytool.wire.generate_parser import Spans, parser
from mikeytool.wire.grammar import Int8ub, Record
from mikeytool.wire.header import HDR
from mikeytool.wire.message import Message, nested
from mikeytool.wire.payloads import PAYLOADS, SP, THDR, Payload, T
from tests.wire.samples import COMMITTED, every_sample, fields_of, read_flat
from tests.wire.strategies import RECORDS

every_kind = pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)


def test_every_class_has_a_strategy() -> None:
    assert {HDR, THDR, *PAYLOADS.values()} <= set(RECORDS)


def payloads_in(payloads: list[Payload]) -> list[Payload]:
    """These payloads and those that they hold."""
    found = list(payloads)
    for payload in payloads:
        for inside in nested(payload).values():
            found += payloads_in(inside)
    return found


@every_sample
def test_both_read_the_same_payloads(data: bytes) -> None:
    message = Message.parse(data)
    assert HDR.parse(data) == message.header
    for payload in payloads_in(message.payloads):
        at = data[payload.offset : payload.offset + payload.length]
        assert type(payload).parse(at) == payload
        assert payload.build() == at


@every_kind
@settings(max_examples=40, deadline=None)
@given(draw=st.data())
def test_both_read_the_same_from_any_record(kind: type[Record], draw: st.DataObject) -> None:
    record = draw.draw(RECORDS[kind])
    data = record.build()
    flat = read_flat(kind, data)
    assert flat == kind.parse(data)
    read = fields_of(flat)
    for key, value in fields_of(record).items():
        if not isinstance(value, list) and value is not None:
            assert read[key] == value


def outcome(read: Any, data: bytes) -> dict[str, Any] | None:
    try:
        record: Record = read(data)
    except (WireError, construct.ConstructError):
        return None
    return fields_of(record)


def flat_of(kind: type[Record]) -> Any:
    return lambda data: parser(kind)(data, 0, len(data), None)[0]


@every_kind
@settings(max_examples=40, deadline=None)
@given(draw=st.data())
def test_both_stop_at_the_same_octets(kind: type[Record], draw: st.DataObject) -> None:
    """Cut off, or with octets changed: both read the same, or both refuse."""
    data = bytearray(draw.draw(RECORDS[kind]).build())
    for _ in range(draw.draw(st.integers(0, 3)) if data else 0):
        at = draw.draw(st.integers(0, len(data) - 1))
        # An unknown CS ID map type is refused by the flat parser alone.
        known_map = kind is HDR and at == 9
        data[at] = draw.draw(st.integers(0, 2 if known_map else 255))
    cut = bytes(data[: draw.draw(st.integers(0, len(data)))])
    assert outcome(flat_of(kind), cut) == outcome(kind.parse, cut)


@every_kind
@settings(max_examples=25, deadline=None)
@given(draw=st.data())
def test_spans_cover_every_octet_once(kind: type[Record], draw: st.DataObject) -> None:
    data = draw.draw(RECORDS[kind]).build()
    before = draw.draw(st.binary(max_size=9))
    spans: Spans = []
    _, end = parser(kind)(before + data, len(before), len(before) + len(data), spans)
    pos = len(before)
    for name, start, stop, of in spans:
        assert all(one in of.fields for one in name.split(", "))
        assert start == pos <= stop
        pos = stop
    assert pos == end == len(before) + len(data)


def test_spans_name_the_fields() -> None:
    spans: Spans = []
    policy, _ = parser(SP)(bytes.fromhex("0b01000006000101010110"), 0, 11, spans)
    assert [record for *_, record in spans] == [policy] * 4 + [
        param for param in policy.policy_param for _ in range(3)
    ]
    assert [span[:3] for span in spans] == [
        ("next_payload", 0, 1),
        ("policy_no", 1, 2),
        ("protocol", 2, 3),
        ("policy_param_length", 3, 5),
        ("type", 5, 6),
        ("length", 6, 7),
        ("value", 7, 8),
        ("type", 8, 9),
        ("length", 9, 10),
        ("value", 10, 11),
    ]


def test_bits_that_share_octets_share_a_span() -> None:
    spans: Spans = []
    header, _ = parser(HDR)(bytes.fromhex("01000080000000000001"), 0, 10, spans)
    assert ("v, prf", 3, 4, header) in spans


def test_what_breaks_off_has_spans_up_to_there() -> None:
    spans: Spans = []
    with pytest.raises(WireError):
        parser(HDR)(bytes.fromhex("0100008000000000"), 0, 8, spans)
    assert [(start, stop) for _, start, stop, _ in spans] == [
        (0, 1),
        (1, 2),
        (2, 3),
        (3, 4),
        (4, 8),
    ]


def test_nothing_is_read_behind_the_end() -> None:
    """The octets are there, but belong to somebody else."""
    data = bytes.fromhex("0000edc34f481f258eee")
    read, _ = parser(T)(data, 0, 10, None)
    assert read.ts_value == data[2:]
    with pytest.raises(WireError) as caught:
        parser(T)(data, 0, 9, None)
    assert (caught.value.payload, caught.value.offset) == ("T", 2)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(WireError, match="ts_type takes 1 octet, 0 are left") as caught:
        parser(T)(b"\0", 0, 1, None)
    assert caught.value.offset == 1
    with pytest.raises(WireError, match="ts_value takes 8 octets, 2 are left"):
        parser(T)(b"\0\0ab", 0, 4, None)


def test_an_item_may_not_run_over_its_list() -> None:
    """A parameter of 3 octets in a policy of 4: its value ends behind the list."""
    data = bytes.fromhex("000100 0004 0003 010203".replace(" ", ""))
    with pytest.raises(WireError):
        parser(SP)(data, 0, len(data), None)
    with pytest.raises(construct.ConstructError):
        SP.parse(data)


def test_a_parser_is_made_once() -> None:
    assert parser(T) is parser(T)


def test_grammar_without_code_is_refused() -> None:
    class Odd(Record):
        number: int

    Odd.struct = construct.Struct("number" / construct.GreedyRange(Int8ub))
    with pytest.raises(TypeError, match="there is no code for"):
        parser(Odd)


@pytest.mark.parametrize("sample", COMMITTED[:6], ids=lambda sample: sample.name)
def test_a_parser_starts_anywhere(sample: Any) -> None:
    message = Message.parse(sample.data)
    for payload in message.payloads:
        end = payload.offset + payload.length
        again, after = parser(type(payload))(sample.data, payload.offset, end, None)
        assert (again, after) == (payload, end)
