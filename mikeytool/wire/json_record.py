"""Write records as JSON and read them back, from their grammar alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from itertools import chain, zip_longest
from operator import attrgetter
from typing import Any

from mikeytool.wire import json_texts  # noqa: F401 - importing it registers its kinds of fields
from mikeytool.wire.errors import UsageError
from mikeytool.wire.grammar import Record
from mikeytool.wire.json_field import ABSENT, Json, MissingFields, Recurring, Writer, json_field

_RECORDS: dict[type[Record], JsonRecord] = {}


def json_record(record: type[Record]) -> JsonRecord:
    """The JSON form of a kind of record, which is made at the first call."""
    made = _RECORDS.get(record)
    if made is None:
        made = _RECORDS[record] = JsonRecord(record)
    return made


class JsonRecord:
    """How one kind of record is described, composed and specified."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        self.fields = [json_field(record, name, field) for name, field in record.fields.items()]
        self.keys = frozenset(key for field in self.fields for key in field.keys)

    # Each is made when it is first needed, because a run that reads one message needs few.

    @cached_property
    def members(self) -> Writer:
        """Writes the members of the JSON object of a record, without its braces."""
        return _writer([one.written() for one in self.fields])

    @cached_property
    def payload(self) -> Writer:
        """Writes the JSON object of a payload, including its place, up to the closing brace.

        Keys are not masked. The keys in a KEMAC are shown beside the octets that `encode` needs,
        but the octets of a key data payload in the message itself are nowhere else.
        """
        kind: Any = self.record
        head = f'{{"payload": "{kind.label}", "payload_value": {kind.number}, "offset": '
        place = [
            Recurring("offset", f"{head}%d".__mod__),
            Recurring("length", '"length": %d'.__mod__),
        ]
        write = _writer([*place, *(one.written() for one in self.fields)])
        if any(field.field.show == "secret" for field in self.fields):
            return lambda record, _, depth: write(record, True, depth)
        return write

    def text(self, record: Any, *, show_keys: bool = True) -> str:
        """The JSON object of a record; payloads inside it are not opened."""
        return f"{{{self.members(record, show_keys, 0)}}}"

    def describe(self, record: Any) -> Json:
        """The dictionary of a record; payloads inside it are not opened."""
        described: Json = json.loads(self.text(record))
        return described

    def compose(self, described: Json, beside: frozenset[str] = frozenset()) -> Any:
        """The record that a dictionary describes; `beside` has the keys that are not fields.

        Fields with a default, including lengths and counts, may be left out. In a record that may
        be truncated, the fields after the fault are null. Raises UsageError for invalid values, and
        MissingFields with all that are missing.
        """
        unknown = described.keys() - self.keys - beside
        if unknown:
            raise UsageError(f"{min(unknown)!r} is not a field here")
        values: dict[str, Any] = {}
        missing: list[str] = []
        inside: list[str] = []
        for field in self.fields:
            try:
                value = field.read(described, values)
            except MissingFields as error:
                inside.append(str(error))
                continue
            except UsageError:
                if missing:  # what it depends on may be among them
                    break
                raise
            if value is not ABSENT:
                values[field.name] = value
            elif field.field.default is ...:
                if not (field.nullable and any(key in described for key in field.keys)):
                    missing.append(field.keys[0])
                values[field.name] = None
        if missing:
            inside.insert(0, str(MissingFields.of(*missing)))
        if inside:
            raise MissingFields("; ".join(inside))
        return self.record(**values)

    def schema(self) -> Json:
        """The JSON Schema of the output of `describe`."""
        properties = {key: value for field in self.fields for key, value in field.schema().items()}
        return {
            "type": "object",
            "properties": properties,
            "required": [key for field in self.fields for key in field.required],
            "additionalProperties": False,
        }


_CUT = "\0"
"""Stands where a writer's text goes; no text of JSON has it unescaped."""
_KEPT = 2048
"""The number of texts of recurring members to cache per kind of record; most take 300 octets."""


class _Pieces(dict[tuple[Any, ...], list[str]]):
    """The text of some members for the values of those that recur.

    It is cut where the texts of the others go.
    """

    def __init__(self, members: Sequence[Recurring | Writer]) -> None:
        super().__init__()
        self._members = members

    def __missing__(self, values: tuple[Any, ...]) -> list[str]:
        if len(self) == _KEPT:
            self.clear()
        given = iter(values)
        texts = [
            one.text(next(given)) if isinstance(one, Recurring) else _CUT for one in self._members
        ]
        made = self[values] = ", ".join(texts).split(_CUT)
        return made


def _writer(members: Sequence[Recurring | Writer]) -> Writer:
    """A writer of these members, with commas between them."""
    names = [one.attribute for one in members if isinstance(one, Recurring)]
    writers = [one for one in members if not isinstance(one, Recurring)]

    pieces = _Pieces(members)

    def few(record: Any) -> tuple[Any, ...]:
        return tuple([getattr(record, name) for name in names])

    values = attrgetter(*names) if len(names) > 1 else few

    def with_one(record: Any, show_keys: bool, depth: int) -> str:
        before, after = pieces[values(record)]
        return f"{before}{write(record, show_keys, depth)}{after}"

    def with_two(record: Any, show_keys: bool, depth: int) -> str:
        before, between, after = pieces[values(record)]
        head = f"{before}{write(record, show_keys, depth)}{between}"
        return f"{head}{second(record, show_keys, depth)}{after}"

    def with_any(record: Any, show_keys: bool, depth: int) -> str:
        texts = [write(record, show_keys, depth) for write in writers]
        between = pieces[values(record)]
        return "".join(chain.from_iterable(zip_longest(between, texts, fillvalue="")))

    match writers:  # nearly all records have one or two, which need no loop
        case [write]:
            return with_one
        case [write, second]:
            return with_two
    return with_any
