"""What an error says: one line, with the place."""

from __future__ import annotations

import pytest

from mikeytool.wire.errors import MikeyError, Refused, WireError
from mikeytool.wire.message import Message
from tests.wire.samples import COMMITTED


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (WireError("no message"), "no message"),
        (WireError("broken", offset=7), "octet 7: broken"),
        (WireError("broken", payload="SP", offset=7), "SP at octet 7: broken"),
    ],
)
def test_the_place_is_named(error: WireError, shown: str) -> None:
    assert str(error) == shown
    assert isinstance(error, MikeyError)


def test_a_refusal_has_an_error_number() -> None:
    assert Refused("no").error_no == 12
    assert Refused("no", 1).error_no == 1


def test_every_text_is_one_line() -> None:
    data = COMMITTED[0].data
    for cut in range(len(data)):
        with pytest.raises(WireError) as caught:
            Message.parse(data[:cut])
        assert "\n" not in str(caught.value)
        assert caught.value.offset is not None
        assert caught.value.offset <= cut
