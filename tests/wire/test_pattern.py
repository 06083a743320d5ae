"""Patterns of identities, against regular expressions and by counted work."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mikeytool.wire.identity import Identity
from mikeytool.wire.pattern import Pattern, matches

FEW = st.text("ab*.", max_size=8)


@given(FEW, st.text("ab.", max_size=10))
@example("ab*ab", "ab")
@example("a*a*a", "aaa")
@example("a*b*b", "ab")
def test_what_a_regular_expression_says(text: str, identity: str) -> None:
    expression = ".*".join(map(re.escape, text.split("*")))
    assert matches(Identity(identity.encode()), text) == bool(re.fullmatch(expression, identity))


@pytest.mark.parametrize(
    ("text", "octets", "fits"),
    [
        ("sip:*@example.com", b"sip:alice@example.com", True),
        ("sip:*@example.com", b"sip:alice@example.com.evil", False),
        ("sip:*@example.com", b"sip:@example.com", True),
        ("*", b"", True),
        ("", b"", True),
        ("", b"a", False),
        ("*\udcff*", b"a\xffb", True),
        ("sip:*", b"sip:a\nb", True),
    ],
)
def test_octets(text: str, octets: bytes, fits: bool) -> None:
    assert Pattern(text).matches(octets) is fits


def test_no_identity_fits_a_star_alone() -> None:
    assert matches(None, "*")
    assert not matches(None, "sip:*")


class Counted(bytes):
    """Octets that count how far they are searched."""

    searched = 0

    def find(self, piece: bytes, start: int, end: int) -> int:  # type: ignore[override]
        at = super().find(piece, start, end)
        Counted.searched += (end if at < 0 else at + len(piece)) - start
        return at


def test_many_stars_cost_one_look_at_every_octet() -> None:
    octets = Counted(b"a" * 64_000)
    assert not Pattern("*" + "a*" * 500 + "b*").matches(octets)
    assert Counted.searched <= len(octets)
