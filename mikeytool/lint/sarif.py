"""Findings as a SARIF 2.1.0 document (OASIS), which code hosts and CI systems show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mikeytool.lint.check import RULES
from mikeytool.lint.rule import Finding
from mikeytool.wire.errors import WireError

_SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
_MANUAL = "https://www.rfc-editor.org/rfc/rfc6043"

Json = dict[str, Any]


class Sarif:
    """One run of lint, to which the findings of messages are added."""

    def __init__(self, version: str) -> None:
        """Begin the run of a version of this tool."""
        self._version = version
        self._rules = sorted(RULES)
        self._at = {code: at for at, code in enumerate(self._rules)}
        self._results: list[Json] = []
        self._errors: list[Json] = []

    def add(
        self, findings: Sequence[Finding], place: Mapping[str, Any], error: WireError | None = None
    ) -> None:
        """Add what is wrong with the message at a place: its `input`, and `line` or `frame`."""
        if error is not None:
            self.add_error(str(error), place)
        for level, code, payload, offset, text, section in findings:
            location = _location(place)
            location["logicalLocations"] = [{"name": payload, "kind": "object"}]
            self._results.append(
                {
                    "ruleId": code,
                    "ruleIndex": self._at[code],
                    "level": level.value,
                    "message": {"text": f"{payload} at octet {offset}: {text}"},
                    "locations": [location],
                    "properties": {"offset": offset, "section": section, **_frame(place)},
                }
            )

    def add_error(self, text: str, place: Mapping[str, Any]) -> None:
        """Add why a message could not be read."""
        self._errors.append({
            "level": "error", "message": {"text": text}, "locations": [_location(place)],
        })  # fmt: skip

    def json(self) -> Json:
        """Give the document."""
        driver = {
            "name": "mikeytool",
            "version": self._version,
            "informationUri": _MANUAL,
            "rules": [_rule(code) for code in self._rules],
        }
        invocation = {
            "executionSuccessful": not self._errors,
            "toolExecutionNotifications": self._errors,
        }
        run = {
            "tool": {"driver": driver},
            "invocations": [invocation],
            "columnKind": "unicodeCodePoints",
            "results": self._results,
        }
        return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(code: str) -> Json:
    found = RULES[code]
    return {
        "id": code,
        "shortDescription": {"text": f"{found.about}."},
        "defaultConfiguration": {"level": found.level.value},
        "properties": {"section": found.section},
    }


def _location(place: Mapping[str, Any]) -> Json:
    physical: Json = {"artifactLocation": {"uri": quote(str(place["input"]))}}
    if place.get("line"):
        physical["region"] = {"startLine": place["line"]}
    return {"physicalLocation": physical}


def _frame(place: Mapping[str, Any]) -> Json:
    return {"frame": place["frame"]} if "frame" in place else {}
