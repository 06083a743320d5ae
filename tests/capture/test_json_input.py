"""Values in JSON and JSON Lines."""

from __future__ import annotations

from io import BytesIO

import pytest

from mikeytool.capture.json_input import json_values
from mikeytool.wire.errors import WireError


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1}\n\n{"a": 2}\n',
        b'[{"a": 1}, {"a": 2}]',
        b'{"a":\n1}{"a": 2}',
        b'\xef\xbb\xbf{"a": 1}\r\n{"a": 2}',
    ],
)
def test_one_a_line_or_one_after_the_other_or_in_a_list(text: bytes) -> None:
    assert list(json_values(BytesIO(text))) == [{"a": 1}, {"a": 2}]


def test_reading_goes_on_after_what_is_no_json() -> None:
    first, second = json_values(BytesIO(b'{"a": x}\nnothing\n{"a": 2}\n'))
    assert isinstance(first, WireError)
    assert str(first).startswith("line 1: this is no JSON")
    assert second == {"a": 2}


def test_an_empty_input() -> None:
    with pytest.raises(WireError, match="empty"):
        list(json_values(BytesIO(b"\n \n")))


@pytest.mark.parametrize("text", ['{"a": 1, "b": [{"c": 1, "c": 2}]}', '{"c": 1,\n"c": 2}'])
def test_a_name_that_is_there_twice(text: str) -> None:
    """One of the values would be lost."""
    first, second = json_values(BytesIO(f'{text}\n{{"a": 2}}\n'.encode()))
    assert str(first) == "line 1: this is no JSON: 'c' is there twice; give it once"
    assert second == {"a": 2}


def test_what_is_broken_over_several_lines_ends_the_reading_in_the_end() -> None:
    """Each fault costs a look at all before it, so there is an end to them, and it is told."""
    found = list(json_values(BytesIO(b'{"a"\n' * 100_000 + b'{"a": 2}\n')))
    assert len(found) == 101
    assert "what is behind is not read" in str(found[-1])
    some = list(json_values(BytesIO(b'{"a"\n' * 99 + b'{"a": 2}\n')))
    assert some[-1] == {"a": 2}
