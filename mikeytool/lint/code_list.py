"""The codes of all rules, as users name and read them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

from mikeytool.lint.check import RULES
from mikeytool.wire.errors import UsageError


def codes_of(texts: Iterable[str]) -> set[str]:
    """The codes in texts, with commas between; raises UsageError for one that there is not."""
    codes = [code.strip() for text in texts for code in text.split(",") if code.strip()]
    for code in codes:
        if code not in RULES:
            near = get_close_matches(code, RULES, n=1)
            hint = f"did you mean {near[0]}?" if near else "see lint --list"
            raise UsageError(f"--ignore {code}: there is no such code; {hint}")
    return set(codes)


def rule_rows() -> list[dict[str, Any]]:
    """Every rule, in the words of `lint --list --json`."""
    return [
        {
            "code": each.code,
            "level": each.level,
            "text": each.about,
            "section": each.section,
            "profile": each.profile,
        }
        for _, each in sorted(RULES.items())
    ]


def rule_table(*, in_columns: bool) -> list[list[str]]:
    """Every rule in a row; if not `in_columns`, its section and profile are behind its text."""
    rows = rule_rows()
    if in_columns:
        return [list(rows[0]), *([cell or "" for cell in row.values()] for row in rows)]
    table = [["code", "level", "text"]]
    for code, level, text, section, profile in map(dict.values, rows):
        asked = f"; --profile {profile}" if profile else ""
        table.append([code, level, f"{text} ({section}{asked})"])
    return table
