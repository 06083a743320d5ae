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
