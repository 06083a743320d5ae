"""The flat builders write what `construct` itself writes from the same grammar."""

from __future__ import annotations

from typing import Any

import construct
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mikeytool.wire.errors import WireError
from mikeytool.wire.generate_builder import _built, _Code, build
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import GenericIdEntry
from tests.wire.strategies import RECORDS

every_kind = pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.__name__)


@every_kind
def test_every_record_has_a_flat_builder(kind: type[Record]) -> None:
    assert _Code(kind).made() is not _built


@every_kind
@settings(max_examples=40, deadline=None)
@given(draw=st.data())
def test_both_write_the_same(kind: type[Record], draw: st.DataObject) -> None:
    record = draw.draw(RECORDS[kind])
    assert build(record) == record.build()


@every_kind
@settings(max_examples=20, deadline=None)
@given(draw=st.data(), number=st.integers(0, 255))
def test_what_follows_is_named_where_the_record_does_not(
    kind: type[Record], draw: st.DataObject, number: int
) -> None:
    record = draw.draw(RECORDS[kind])
    if "next_payload" in kind.fields:
        assert build(record, number) == record.build()
        record = record.copy(next_payload=None)
        assert build(record, number) == record.copy(next_payload=number).build()
    else:
        assert build(record, number) == record.build()


ODD: st.SearchStrategy[Any] = st.sampled_from(
    [None, -1, 1 << 4, 1 << 8, 1 << 16, 1 << 40, b"", b"xyz", "text", [], 1.5]
)


@every_kind
@settings(max_examples=60, deadline=None)
@given(draw=st.data())
def test_both_refuse_the_same_values(kind: type[Record], draw: st.DataObject) -> None:
    record = draw.draw(RECORDS[kind])
    for name in draw.draw(st.lists(st.sampled_from(sorted(kind.fields)), max_size=2)):
        setattr(record, name, draw.draw(ODD))
    assert outcome(build, record) == outcome(kind.build, record)


def test_a_number_in_the_place_of_a_list_is_refused() -> None:
    entry = GenericIdEntry(
        cs_id=1, protocol=0, policy_count=3, policies=[], session_data=b"", spi=b""
    )
    entry.policies = 3  # type: ignore[assignment]
    with pytest.raises(TypeError):
        build(entry)


def outcome(write: Any, record: Record) -> bytes | type[Exception]:
    try:
        written: bytes = write(record)
    except (construct.ConstructError, WireError, TypeError, AttributeError, KeyError) as error:
        return type(error)
    return written
