from __future__ import annotations

import pytest

from mikeytool.wire.printable import number_of, printable, standing


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("sip:alice@a.example", "sip:alice@a.example"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\x07b\x7f\r", r"a\x07b\x7f\r"),
        ("txt\u202egpj", r"txt\u202egpj"),
        ("file\udcff", r"file\udcff"),
        ("müller 北", "müller 北"),
        ("a\nb\tc", r"a\nb\tc"),
    ],
)
def test_what_could_control_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable(shown) == shown


def test_line_feeds_are_kept_where_asked_for() -> None:
    assert printable("a\n\x1b", keep="\n") == "a\n\\x1b"


def test_one_thing_has_no_plural() -> None:
    assert [number_of(n, "octet") for n in (0, 1, 2)] == ["0 octets", "1 octet", "2 octets"]
    assert [standing(n) for n in (1, 2)] == ["1 octet stands", "2 octets stand"]
