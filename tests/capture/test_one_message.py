"""Which message of an input is meant."""

from __future__ import annotations

import pytest

from mikeytool.capture import FoundMessage, choose, choose_offered
from mikeytool.wire.errors import UsageError, WireError

ONE, TWO = FoundMessage(b"one", "line 1"), FoundMessage(b"two", "line 2")
BAD = WireError("line 3: this is none")


def test_the_only_one_needs_no_number() -> None:
    assert choose([ONE]) is ONE
    assert choose([ONE], 1) is ONE
    assert choose([ONE, TWO], 2) is TWO


@pytest.mark.parametrize("index", [0, 3, -1])
def test_a_number_that_there_is_not(index: int) -> None:
    with pytest.raises(UsageError, match=f"--index {index}: there are 2 messages"):
        choose([ONE, TWO], index)


def test_several_without_a_number() -> None:
    with pytest.raises(UsageError, match=r"MESSAGE holds 2 messages .*; choose with --index N"):
        choose([ONE, TWO])
    with pytest.raises(UsageError, match=r"--init holds 2 messages .*; give it alone"):
        choose([ONE, TWO], what="--init")


def test_an_error_in_the_place_of_a_message() -> None:
    with pytest.raises(WireError, match="line 3"):
        choose([BAD])
    with pytest.raises(WireError, match="line 3"):
        choose([ONE, BAD], 2)
    assert choose([ONE, BAD], 1) is ONE


def test_of_several_offers_the_only_one_that_is_wanted() -> None:
    assert choose_offered([ONE, BAD, TWO], is_wanted=lambda message: message == b"two") is TWO
    with pytest.raises(UsageError, match="2 messages"):
        choose_offered([ONE, TWO], is_wanted=lambda _message: True)
