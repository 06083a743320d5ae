"""Messages made by other implementations, and what the tests of this room ask of them."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from mikeytool.wire.generate_parser import parser
from mikeytool.wire.grammar import Record
from tests.support import SHARED, vectors

_MESSAGE = re.compile(r"(REQUEST|TRANSFER|RESOLVE)_(INIT|RESP)(_PSK|_PK)?|Error")


class Sample(NamedTuple):
    """A message and where it comes from."""

    name: str
    data: bytes


def _messages(case: dict[str, Any], name: str) -> Iterator[Sample]:
    for key, value in case.items():
        if isinstance(value, dict):
            yield from _messages(value, f"{name}/{key}")
        elif _MESSAGE.fullmatch(key) and value:
            yield Sample(f"{name}/{key}", bytes.fromhex(value))


def _committed() -> list[Sample]:
    found = [s for case in vectors("exchanges") for s in _messages(case, case["name"])]
    for at, case in enumerate(vectors("public_key")):
        found += _messages(case, f"public key {at}")
    return found


def _shared() -> Iterator[Sample]:
    """What is only there in a checkout that has the shared files beside it."""
    messages = SHARED / "data" / "messages.txt"
    if messages.exists():
        for at, line in enumerate(messages.read_text().splitlines()):
            found = re.search(r'data="([^"]+)"|^([A-Za-z0-9+/]+=*)$', line)
            if found:
                yield Sample(f"other software {at}", base64.b64decode(found[1] or found[2]))


COMMITTED = _committed()
SAMPLES = [*COMMITTED, *_shared()]

every_sample = pytest.mark.parametrize("data", [pytest.param(s.data, id=s.name) for s in SAMPLES])


def read_flat(kind: type[Record], data: bytes) -> Record:
    """The record that fills `data`, by the flat parser."""
    record, end = parser(kind)(data, 0, len(data), None)
    assert isinstance(record, kind)
    assert end == len(data)
    return record


def fields_of(record: Record) -> dict[str, Any]:
    """Field names and values, records inside as their own dictionaries."""
    found = {}
    for key in record.fields:
        value = record[key]
        if isinstance(value, list):
            value = [fields_of(item) if isinstance(item, Record) else item for item in value]
        found[key] = value
    return found
