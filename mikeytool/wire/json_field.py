"""How a field of the grammar looks in JSON, and how it is read back from there.

A `Shape` is made from a field's own declaration. It knows the keys that the field has in
JSON, the text that puts its value there, the way back, and the JSON Schema of it, so that the
three cannot come apart. Texts and times have
theirs in `texts`, fields that hold other records in `containers` and `lists`.

The text is a piece of a Python f-string in single quotes that finds the record in `o`; `forms`
makes functions of such pieces.
"""

from __future__ import annotations

import json.encoder
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import construct

from mikeytool.wire.errors import UsageError
from mikeytool.wire.grammar import Field, Octets, Record, Records
from mikeytool.wire.registry import Namespace, TicketFlag, labels

Json = dict[str, Any]
Use = Callable[[Any], str]
"""Gives a name under which generated code finds a value; of a text, one for the function of
`o` that this text is the expression of."""

quoted = json.encoder.encode_basestring_ascii
"""A text as a JSON string."""

ABSENT: Any = object()
"""What `Shape.read` gives when JSON says nothing of a field, or null."""

HEX = {"type": "string", "pattern": "^([0-9a-f]{2})*$"}


class Shape:
    """One field of a record in JSON; this class itself is for plain numbers."""

    kinds: ClassVar[dict[str, type[Shape]]] = {}

    def __init_subclass__(cls, *, kind: str = "") -> None:
        """Register the class for fields that say `show=kind` or `holds=kind`."""
        if kind:
            Shape.kinds[kind] = cls

    def __init__(self, record: type[Record], name: str, field: Field) -> None:
        self.record, self.name, self.field = record, name, field
        self.grammar = field.grammar
        self.conditional = isinstance(self.grammar, construct.IfThenElse)
        if self.conditional:
            self.grammar = self.grammar.thensubcon
        if isinstance(self.grammar, construct.Default):
            self.grammar = self.grammar.subcon
        self.nullable = self.conditional or getattr(record, "breaks_off", False)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that the field may have in JSON."""
        return (self.name,)

    def source(self, use: Use, *, broken: bool = False) -> str:
        """The text of the field, its keys included, in the record `o`.

        With `broken`, fields may be None that otherwise never are.
        """
        return f'"{self.name}": {self.or_null(use, self.value(use), broken)}'

    def value(self, use: Use) -> str:
        """The text for the value of a field that has one key."""
        return f"{{o.{self.name}}}"

    def or_null(self, use: Use, text: str, broken: bool) -> str:
        """A text that is null when the field is not there."""
        if not (self.conditional or broken):
            return text
        function = use(f"'null' if o.{self.name} is None else f'{text}'")
        return f"{{{function}(o, show_keys)}}"

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The field's value from JSON, ABSENT without one; `known` are the fields before it.

        Raises UsageError for what the field cannot be.
        """
        value = described.get(self.name)
        if value is None:
            return ABSENT
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= self.most:
            raise UsageError(f"{self.name} {short(value)}: a number from 0 to {self.most} belongs")
        return value

    @property
    def most(self) -> int:
        """The greatest number that fits."""
        size = self.field.bit_length or 8 * self.grammar.sizeof()
        return (1 << size) - 1

    def schema(self) -> Json:
        """The JSON Schema of each key."""
        return {self.name: self.null_too({"type": "integer", "minimum": 0, "maximum": self.most})}

    def null_too(self, schema: Json) -> Json:
        """A schema that takes null where the field may not be there."""
        return {"anyOf": [schema, {"type": "null"}]} if self.nullable else schema

    @property
    def required(self) -> tuple[str, ...]:
        """The keys that are always written."""
        return (self.name,)


class FlagShape(Shape, kind="flag"):
    """A single bit that is true or false."""

    def value(self, use: Use) -> str:
        """True or false."""
        return f'{{"true" if o.{self.name} else "false"}}'

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """0 or 1."""
        value = described.get(self.name)
        if value is None:
            return ABSENT
        if value not in (True, False):
            raise UsageError(f"{self.name} {short(value)}: true or false belongs")
        return int(value)

    def schema(self) -> Json:
        """A boolean."""
        return {self.name: self.null_too({"type": "boolean"})}


class HexShape(Shape, kind="hex"):
    """An identifier, such as an SSRC: 0x and hex digits."""

    def value(self, use: Use) -> str:
        """The number with all its digits."""
        return f'"{{o.{self.name}:#0{self.digits + 2}x}}"'

    @property
    def digits(self) -> int:
        """How many hex digits it takes."""
        return (self.most.bit_length() + 3) // 4

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The number of "0x…", or a number."""
        value = described.get(self.name)
        return ABSENT if value is None else hex_number(self.name, value, self.most)

    def schema(self) -> Json:
        """A string of a fixed length."""
        return {self.name: self.null_too(hex_schema(self.digits))}


class TicketFlagsShape(HexShape, kind="flags"):
    """The flags word of a Ticket Policy; beside it the letters that are set."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The word and the letters."""
        return self.name, f"{self.name}_set"

    def source(self, use: Use, *, broken: bool = False) -> str:
        """Both keys."""
        letters = f"{{{use(Letters())}[o.{self.name}]}}"
        return f'{super().source(use, broken=broken)}, "{self.name}_set": "{letters}"'

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The word, or what the letters say; raises UsageError when they disagree."""
        word, letters = super().read(described, known), described.get(f"{self.name}_set")
        if letters is None:
            return word
        try:
            named = TicketFlag.from_letters(letters).value
        except (KeyError, TypeError):
            raise UsageError(f"{self.name}_set {short(letters)}: letters D to O belong") from None
        if word is not ABSENT and word != named:
            raise disagree(f"{self.name}_set {letters!r}", f"{named:#05x}", self.name, hex(word))
        return named

    def schema(self) -> Json:
        """The word and the letters."""
        letters = {"type": "string", "pattern": "^D?E?F?G?H?I?J?K?L?M?N?O?$"}
        return {**super().schema(), f"{self.name}_set": letters}

    @property
    def required(self) -> tuple[str, ...]:
        """Both."""
        return self.keys


class Names(dict[int | None, str]):
    """Registry names by number, as JSON; a number that has none is its decimal text."""

    def __init__(self, names: type[Namespace]) -> None:
        super().__init__({number: quoted(name) for number, name in labels(names).items()})

    def __missing__(self, number: int | None) -> str:
        return "null" if number is None else f'"{number}"'


class Letters(dict[int, str]):
    """Flag letters by flags word."""

    def __missing__(self, word: int) -> str:
        self[word] = TicketFlag(word).letters
        return self[word]


class NameShape(Shape):
    """An enumerated field: its registry name, and the number in `…_value`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The name and the number."""
        return self.name, f"{self.name}_value"

    def __init__(self, record: type[Record], name: str, field: Field) -> None:
        super().__init__(record, name, field)
        self.names: type[Namespace] = field.names or Namespace

    def source(self, use: Use, *, broken: bool = False) -> str:
        """Both keys."""
        name = f"{{{use(Names(self.names))}[o.{self.name}]}}"
        number = self.or_null(use, self.value(use), broken)
        return f'"{self.name}": {name}, "{self.name}_value": {number}'

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The number; raises UsageError when name and number disagree."""
        return read_name(described, self.name, self.names, self.most)

    def schema(self) -> Json:
        """The name is one of the registry or a decimal number."""
        number = self.null_too({"type": "integer", "minimum": 0, "maximum": self.most})
        name = self.null_too(name_schema(self.names))
        return {self.name: name, f"{self.name}_value": number}

    @property
    def required(self) -> tuple[str, ...]:
        """Both."""
        return self.keys


def masked(secret: bytes) -> str:
    """What stands for a key that is not to be shown: the beginning of its SHA-256."""
    import hashlib  # loads OpenSSL, which most messages do not need

    return f"sha256:{hashlib.sha256(secret).hexdigest()[:8]}"


class OctetsShape(Shape, kind="secret"):
    """Octets in hex; keys are masked when they are not to be shown."""

    def value(self, use: Use) -> str:
        """Hex digits, or what stands for a key."""
        if self.field.show == "secret":
            return f'"{{o.{self.name}.hex() if show_keys else {use(masked)}(o.{self.name})}}"'
        return f'"{{o.{self.name}.hex()}}"'

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets."""
        value = described.get(self.name)
        return ABSENT if value is None else octets_of(self.name, value)

    def schema(self) -> Json:
        """Hex digits, or a masked key."""
        masked = {"type": "string", "pattern": "^sha256:[0-9a-f]{8}$"}
        secret = self.field.show == "secret"
        return {self.name: self.null_too({"anyOf": [HEX, masked]} if secret else HEX)}


def shape_of(record: type[Record], name: str, field: Field) -> Shape:
    """The shape of a field, by what its declaration says."""
    kind = Shape.kinds.get(field.holds or field.show)
    if kind is not None:
        return kind(record, name, field)
    if field.names is not None:
        return NameShape(record, name, field)
    plain = Shape(record, name, field)
    if isinstance(plain.grammar, Octets):
        return OctetsShape(record, name, field)
    if isinstance(plain.grammar, Records):
        return Shape.kinds["numbers" if plain.grammar.of is None else "records"](
            record, name, field
        )
    return plain


def read_name(described: Json, name: str, names: type[Namespace], most: int) -> Any:
    """The number of an enumerated value that has its name, its number, or both in JSON."""
    text, number = described.get(name), described.get(f"{name}_value")
    if number is not None and (
        isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most
    ):
        raise UsageError(f"{name}_value {short(number)}: a number from 0 to {most} belongs")
    if text is None:
        return ABSENT if number is None else number
    found = next((value for value, known in labels(names).items() if known == text), None)
    if found is None and isinstance(text, str) and text.isascii() and text.isdecimal():
        found = int(text) if len(text) < 9 else most + 1
    if found is None or found > most:
        raise UsageError(
            f"{name} {short(text)} is no name of the registry; give the number in {name}_value"
        )
    if number is not None and number != found:
        raise disagree(f"{name} {text!r}", str(found), f"{name}_value", str(number))
    return found


def name_schema(names: type[Namespace]) -> Json:
    """The schema of a registry name, or of the decimal text of a number without one."""
    return {"anyOf": [{"enum": list(labels(names).values())}, {"pattern": "^[0-9]{1,5}$"}],
            "type": "string"}  # fmt: skip


def hex_number(what: str, value: Any, most: int) -> int:
    """The number of "0x…" text, or a number; raises UsageError."""
    number = value
    if isinstance(value, str) and value[:2] in ("0x", "0X") and len(value) <= 34:
        try:
            number = int(value, 16)
        except ValueError:
            number = -1
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise UsageError(f"{what} {short(value)}: a number from 0x0 to {most:#x} belongs")
    return number


def hex_schema(digits: int) -> Json:
    """The schema of "0x…" with that many digits."""
    return {"type": "string", "pattern": f"^0x[0-9a-f]{{{digits}}}$"}


def octets_of(what: str, value: Any) -> bytes:
    """The octets of hex text; raises UsageError, which shows nothing of them."""
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        if isinstance(value, str) and value.startswith("sha256:"):
            raise UsageError(f"{what} is masked; decode with --show-keys") from None
        raise UsageError(f"{what}: hex of whole octets belongs") from None


def disagree(first: str, means: str, second: str, value: str) -> UsageError:
    """The error of two keys that say different things of one field."""
    return UsageError(f"{first} means {means}, but {second} is {value}; leave one of them out")


def short(value: Any) -> str:
    """A value of JSON for an error: not the whole of what may be long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
