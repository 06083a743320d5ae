"""Where the RFCs leave room the project has decided; each decision has a test that names it."""

from __future__ import annotations

import re

from tests.support import TESTS

PACKAGE = TESTS.parent / "mikeytool"
DECISIONS = 39
_NAMED = re.compile(
    r"interpretations?\s+((?:\d+(?![\d.]*\.\d)(?:,?\s+and\s+|,\s*|\s+to\s+)?)+)", re.IGNORECASE
)


def named_in(text: str) -> set[int]:
    """The numbers that a text names, as in "interpretations 3, 5 and 7" or "34 to 37"."""
    found: set[int] = set()
    for match in _NAMED.finditer(text):
        for first, last in re.findall(r"(\d+)(?:\s+to\s+(\d+))?", match[1]):
            found.update(range(int(first), int(last or first) + 1))
    return found


def test_how_they_are_named() -> None:
    assert named_in("Interpretation 3.") == {3}
    assert named_in("(interpretations 1, 29), 77") == {1, 29}
    assert named_in("interpretations 30 and 31") == {30, 31}
    assert named_in("interpretations 34 to\n37; 5.1") == {34, 35, 36, 37}
    assert named_in("interpretation 12, 5.3") == {12}
    assert named_in("interpret 5") == set()


def test_each_is_named_by_a_test() -> None:
    named: set[int] = set()
    for path in TESTS.rglob("test_*.py"):
        if path.name != "test_interpretations.py":
            named |= named_in(path.read_text())
    assert set(range(1, DECISIONS + 1)) - named == set()


def test_the_manual_has_every_interpretation_that_the_code_cites() -> None:
    manual = (PACKAGE / "manual" / "interpretations.md").read_text()
    there = {int(number) for number in re.findall(r"^### (\d+)\. ", manual, re.MULTILINE)}
    cited: set[int] = set()
    for path in PACKAGE.rglob("*.py"):
        cited |= named_in(path.read_text())
    assert len(cited) > 30
    assert cited - there == set()
    assert there >= set(range(1, DECISIONS + 1))
