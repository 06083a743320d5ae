"""What a record looks like in JSON, both ways, from its grammar alone.

A `Form` puts the shapes of a record's fields together. The text of a record is written by
generated code, one f-string a record, because that is what `decode --json` does most; its
dictionary is what JSON makes of the text.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cached_property
from typing import Any

from mikeytool.wire import json_texts  # noqa: F401 - its shapes register themselves
from mikeytool.wire.errors import UsageError
from mikeytool.wire.grammar import Record
from mikeytool.wire.json_field import ABSENT, Json, shape_of

Writer = Callable[[Any, bool, int], str]

_FORMS: dict[type[Record], Form] = {}


def form(record: type[Record]) -> Form:
    """The form of a record, made at the first call."""
    made = _FORMS.get(record)
    if made is None:
        made = _FORMS[record] = Form(record)
    return made


class Form:
    """How one kind of record is described, composed and specified."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        self.breaks_off = getattr(record, "breaks_off", False)
        self.shapes = [shape_of(record, name, field) for name, field in record.fields.items()]
        self.keys = frozenset(key for shape in self.shapes for key in shape.keys)

    # Each is compiled when it is first needed: a run that reads one message needs few.

    @cached_property
    def _whole(self) -> Writer:
        return self._writer()

    @cached_property
    def _broken(self) -> Writer:
        return self._writer(broken=True)

    @cached_property
    def payload_text(self) -> Writer:
        """Writes the whole JSON object of a payload, its place included.

        Keys are not masked: in a KEMAC the octets that `encode` needs stand beside them, in
        the message itself nothing else tells them.
        """
        kind: Any = self.record
        clear = any(shape.field.show == "secret" for shape in self.shapes)
        write = self._writer(
            f'{{{{"payload": "{kind.label}", "payload_value": {kind.number}, '
            '"offset": {o.offset}, "length": {o.length}, ',
            "}}",
        )
        return (lambda o, _, depth: write(o, True, depth)) if clear else write

    def _writer(self, before: str = "", after: str = "", *, broken: bool = False) -> Writer:
        """The function that writes the members of the JSON object between these texts."""
        namespace: dict[str, Any] = {}

        def use(value: Any) -> str:
            name = f"k{len(namespace)}"
            namespace[name] = None
            if isinstance(value, str):
                value = eval(f"lambda o, show_keys: {value}", namespace)  # noqa: S307
            namespace[name] = value
            return name

        members = ", ".join(shape.source(use, broken=broken) for shape in self.shapes)
        source = f"def write(o, show_keys, depth):\n    return f'{before}{members}{after}'"
        exec(compile(source, f"<form of {self.record.__name__}>", "exec"), namespace)  # noqa: S102
        made: Writer = namespace["write"]
        return made

    def text(self, record: Any, show_keys: bool = True, depth: int = 0) -> str:
        """The members of the JSON object of a record, without its braces.

        `depth` is how many levels of payloads are opened.
        """
        if self.breaks_off and not record.is_whole:
            return self._broken(record, show_keys, depth)
        return self._whole(record, show_keys, depth)

    def describe(self, record: Any) -> Json:
        """The dictionary of a record, without what it holds."""
        described: Json = json.loads(f"{{{self.text(record)}}}")
        return described

    def compose(self, described: Json, beside: frozenset[str] = frozenset()) -> Any:
        """The record that a dictionary describes; `beside` are keys that are none of its fields.

        Fields that have a default, lengths and counts among them, may be left out; in a
        record that may break off, fields that are null are those that are not there any
        more. Raises UsageError.
        """
        unknown = described.keys() - self.keys - beside
        if unknown:
            raise UsageError(f"{min(unknown)!r} is no field here")
        values: dict[str, Any] = {}
        for shape in self.shapes:
            value = shape.read(described, values)
            if value is not ABSENT:
                values[shape.name] = value
            elif shape.field.default is ...:
                if not (shape.nullable and any(key in described for key in shape.keys)):
                    raise UsageError(f"{shape.keys[0]} is missing")
                values[shape.name] = None
        return self.record(**values)

    def schema(self) -> Json:
        """The JSON Schema of what `describe` gives."""
        properties = {key: value for shape in self.shapes for key, value in shape.schema().items()}
        return {
            "type": "object",
            "properties": properties,
            "required": [key for shape in self.shapes for key in shape.required],
            "additionalProperties": False,
        }
