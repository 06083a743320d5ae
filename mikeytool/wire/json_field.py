"""How a field of the grammar is written to JSON and read back.

A `JsonField` is made from the declaration of a field. It defines the keys of the field in JSON,
how they are written and read, and their JSON Schema, so that these agree. Texts and times are
in `json_texts`; fields that contain other records are in `json_lists` and `json_nested`.

JSON is written directly as text. Making dictionaries for `json.dumps` took twice as long. Most
fields have the same few values in every message. The text of all such fields of a record is
cached, with a placeholder for each of the other fields; see `json_record`.
"""

from __future__ import annotations

import json.encoder
from collections.abc import Callable, Mapping
from functools import cache, lru_cache
from typing import Any, ClassVar, NamedTuple

from mikeytool.wire.construct_fields import Octets, Records, bare
from mikeytool.wire.errors import UsageError
from mikeytool.wire.grammar import Field, Record
from mikeytool.wire.printable import number_of
from mikeytool.wire.registry import Namespace, TicketFlag, label, labels

Json = dict[str, Any]
Writer = Callable[[Any, bool, int], str]
"""Writes members of the JSON object of a record: `(record, show_keys, depth)`, where `depth` is
the number of levels of nested payloads to open."""


class Recurring(NamedTuple):
    """Members of the JSON object of a record that depend on one attribute with few values."""

    attribute: str
    text: Callable[[Any], str]


quoted = json.encoder.encode_basestring_ascii
"""A text as a JSON string."""

ABSENT: Any = object()
"""The value that `JsonField.read` returns for a field that is null or not in the JSON."""


def or_null(null: str, text: Callable[[Any], str]) -> Callable[[Any], str]:
    """Make a text `null` for a field that is absent."""
    return lambda value: null if value is None else text(value)


REDACTED = "redacted:"
"""What a text begins with that stands in place of octets."""


class MissingFields(UsageError):
    """Fields that are not in the JSON, of a record or of several."""

    @classmethod
    def of(cls, first: str, *others: str) -> MissingFields:
        """The error for some fields of one record."""
        more = f", and so {'are' if len(others) > 1 else 'is'} {', '.join(others)}"
        return cls(f"{first} is missing{more if others else ''}")


HEX = {"type": "string", "pattern": "^(([0-9a-f]{2})*|redacted: [0-9]+ octets)$"}


class JsonField:
    """One field of a record in JSON; this class itself is for plain numbers."""

    kinds: ClassVar[dict[str, type[JsonField]]] = {}

    def __init_subclass__(cls, *, kind: str = "") -> None:
        """Register the class for fields that say `show=kind` or `holds=kind`."""
        if kind:
            JsonField.kinds[kind] = cls

    def __init__(self, record: type[Record], name: str, field: Field) -> None:
        self.record, self.name, self.field = record, name, field
        self.grammar, conditional = bare(field.grammar)
        self.nullable = conditional or getattr(record, "breaks_off", False)

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that the field may have in JSON."""
        return (self.name,)

    def written(self) -> Recurring | Writer:
        """The writer of the field, including its keys."""
        text = f'"{self.name}": %d'.__mod__
        if self.nullable:
            return Recurring(self.name, or_null(f'"{self.name}": null', text))
        return Recurring(self.name, text)

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The field's value from JSON, or ABSENT; `known` has the preceding fields.

        Raises UsageError for a value that the field cannot have.
        """
        value = described.get(self.name)
        if value is None:
            return ABSENT
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= self.most:
            raise UsageError(f"{self.name} {short(value)}: give a number from 0 to {self.most}")
        return value

    @property
    def most(self) -> int:
        """The greatest number that fits."""
        return (1 << (self.field.bit_length or 8 * self.grammar.sizeof())) - 1

    def schema(self) -> Json:
        """The JSON Schema of each key."""
        return {self.name: self.null_too({"type": "integer", "minimum": 0, "maximum": self.most})}

    def null_too(self, schema: Json) -> Json:
        """A schema that also allows null if the field may be absent."""
        return {"anyOf": [schema, {"type": "null"}]} if self.nullable else schema

    @property
    def required(self) -> tuple[str, ...]:
        """The keys that are always written."""
        return (self.name,)


class FlagField(JsonField, kind="flag"):
    """A single bit that is true or false."""

    def written(self) -> Recurring:
        """True or false."""
        texts = {None: "null", 0: "false", 1: "true"}
        return Recurring(self.name, lambda value: f'"{self.name}": {texts[value]}')

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """0 or 1."""
        value = described.get(self.name)
        if value is None:
            return ABSENT
        if value not in (True, False):
            raise UsageError(f"{self.name} {short(value)}: give true or false")
        return int(value)

    def schema(self) -> Json:
        """A boolean."""
        return {self.name: self.null_too({"type": "boolean"})}


class HexField(JsonField, kind="hex"):
    """An identifier, such as an SSRC: 0x and hex digits."""

    def written(self) -> Recurring | Writer:
        """The number with all its digits; not cached, as identifiers differ in each message."""
        name, template = self.name, f'"{self.name}": "0x%0{self.digits}x"'

        def write(record: Any, show_keys: bool, depth: int) -> str:
            value = getattr(record, name)
            return f'"{name}": null' if value is None else template % value

        return write

    @property
    def digits(self) -> int:
        """The count of hex digits."""
        return (self.most.bit_length() + 3) // 4

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The value of a "0x…" text, or a number."""
        value = described.get(self.name)
        return ABSENT if value is None else hex_number(self.name, value, self.most)

    def schema(self) -> Json:
        """A string of a fixed length."""
        return {self.name: self.null_too(hex_schema(self.digits))}


class TicketFlagsField(HexField, kind="flags"):
    """The flags word of a Ticket Policy, with the letters of the flags that are set."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The word and the letters."""
        return self.name, f"{self.name}_set"

    def written(self) -> Recurring:
        """Both keys."""
        digits = self.digits + 2
        return Recurring(
            self.name,
            lambda word: (
                f'"{self.name}": "{word:#0{digits}x}", '
                f'"{self.name}_set": "{TicketFlag(word).letters}"'
            ),
        )

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The word, or the value of the letters; raises UsageError if the two disagree."""
        word, letters = super().read(described, known), described.get(f"{self.name}_set")
        if letters is None:
            return word
        try:
            named = TicketFlag.from_letters(letters).value
        except (KeyError, TypeError):
            raise UsageError(
                f"{self.name}_set {short(letters)}: give letters from D to O"
            ) from None
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


def name_text(key: str, names: type[Namespace], number: int | None) -> str:
    """The JSON members for an enumerated number: its registry name and the number.

    A number without a name uses its decimal text as the name.
    """
    if number is None:
        return f'"{key}": null, "{key}_value": null'
    return f'"{key}": {quoted(label(names, number))}, "{key}_value": {number:d}'


class NameField(JsonField):
    """An enumerated field: its registry name, and the number in `…_value`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The name and the number."""
        return self.name, f"{self.name}_value"

    def __init__(self, record: type[Record], name: str, field: Field) -> None:
        super().__init__(record, name, field)
        self.names: type[Namespace] = field.names or Namespace

    def written(self) -> Recurring:
        """Both keys."""

        @lru_cache
        def text(number: int | None) -> str:
            return name_text(self.name, self.names, number)

        return Recurring(self.name, text)

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The number; raises UsageError if the name and the number disagree."""
        return read_name(described, self.name, self.names, self.most)

    def schema(self) -> Json:
        """A schema for a registry name or a decimal number."""
        number = self.null_too({"type": "integer", "minimum": 0, "maximum": self.most})
        name = self.null_too(name_schema(self.names))
        return {self.name: name, f"{self.name}_value": number}

    @property
    def required(self) -> tuple[str, ...]:
        """Both."""
        return self.keys


MASKED = "sha256:"
"""What a text begins with that stands in place of a key."""


class MaskedKey(str):
    """The replacement for a key that is not shown: the first 4 octets of its SHA-256.

    `octets` is the length of the key.
    """

    octets: int


def masked(secret: bytes) -> MaskedKey:
    """Mask a key."""
    hidden = MaskedKey(f"{MASKED}{_sha256()(secret).hexdigest()[:8]}")
    hidden.octets = len(secret)
    return hidden


def with_length(value: object) -> str:
    """A value as text for people: a masked key comes with its length."""
    return (
        f"{value} ({number_of(value.octets, 'octet')})"
        if isinstance(value, MaskedKey)
        else str(value)
    )


@cache
def _sha256() -> Any:
    from hashlib import sha256  # loads OpenSSL, which most messages do not need

    return sha256


class OctetsField(JsonField):
    """Octets in hex."""

    def written(self) -> Recurring | Writer:
        """Hex digits. Most records do not have an optional field, such as the SPI of a key."""
        name = self.name
        if self.nullable:
            null = f'"{name}": null'
            return Recurring(name, or_null(null, lambda octets: f'"{name}": "{octets.hex()}"'))
        return lambda record, show_keys, depth: f'"{name}": "{getattr(record, name).hex()}"'

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets."""
        value = described.get(self.name)
        return ABSENT if value is None else octets_of(self.name, value)

    def schema(self) -> Json:
        """Hex digits."""
        return {self.name: self.null_too(HEX)}


class SecretField(OctetsField, kind="secret"):
    """A key, which is masked unless `show_keys` is set."""

    def written(self) -> Writer:
        """Hex digits, or the replacement for a key."""
        name = self.name

        def write(record: Any, show_keys: bool, depth: int) -> str:
            key = getattr(record, name)
            if key is None:
                return f'"{name}": null'
            return f'"{name}": "{key.hex() if show_keys else masked(key)}"'

        return write

    def schema(self) -> Json:
        """Hex digits, or a masked key."""
        masked = {"type": "string", "pattern": f"^{MASKED}[0-9a-f]{{8}}$"}
        return {self.name: self.null_too({"anyOf": [HEX, masked]})}


def json_field(record: type[Record], name: str, field: Field) -> JsonField:
    """The `JsonField` for a field, chosen by its declaration."""
    kind = JsonField.kinds.get(field.holds or field.show)
    if kind is None and field.names is not None:
        kind = NameField
    if kind is None:
        grammar, _ = bare(field.grammar)
        if isinstance(grammar, Octets):
            kind = OctetsField
        elif isinstance(grammar, Records):
            kind = JsonField.kinds["numbers" if grammar.of is None else "records"]
    return (kind or JsonField)(record, name, field)


def read_name(described: Json, name: str, names: type[Namespace], most: int) -> Any:
    """The number of an enumerated value from its name, its number, or both."""
    text, number = described.get(name), described.get(f"{name}_value")
    if number is not None and (
        isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most
    ):
        raise UsageError(f"{name}_value {short(number)}: give a number from 0 to {most}")
    if text is None:
        return ABSENT if number is None else number
    found = next((value for value, known in labels(names).items() if known == text), None)
    if found is None and isinstance(text, str) and text.isascii() and text.isdecimal():
        found = int(text) if len(text) < 9 else most + 1
    if found is None or found > most:
        raise UsageError(
            f"{name} {short(text)} is not a name of the registry; give the number in {name}_value"
        )
    if number is not None and number != found:
        raise disagree(f"{name} {text!r}", str(found), f"{name}_value", str(number))
    return found


def name_schema(names: type[Namespace]) -> Json:
    """The schema of a registry name, or of the decimal text of a number without one."""
    return {"anyOf": [{"enum": list(labels(names).values())}, {"pattern": "^[0-9]{1,5}$"}],
            "type": "string"}  # fmt: skip


def hex_number(what: str, value: Any, most: int) -> int:
    """The value of a "0x…" text, or a number; raises UsageError for anything else."""
    number = value
    if isinstance(value, str) and value[:2] in ("0x", "0X") and len(value) <= 34:
        try:
            number = int(value, 16)
        except ValueError:
            number = -1
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
        raise UsageError(f"{what} {short(value)}: give a number from 0x0 to {most:#x}")
    return number


def hex_schema(digits: int) -> Json:
    """The schema of "0x…" with the given number of digits."""
    return {"type": "string", "pattern": f"^0x[0-9a-f]{{{digits}}}$"}


def octets_of(what: str, value: Any) -> bytes:
    """The octets of a hex text; raises UsageError, whose text does not show them."""
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError):
        if isinstance(value, str) and value.startswith(MASKED):
            raise UsageError(f"{what} is masked; decode with --show-keys") from None
        if isinstance(value, str) and value.startswith(REDACTED):
            raise UsageError(
                f"{what} is redacted, so the message is not complete; decode without --redact"
            ) from None
        raise UsageError(f"{what}: give whole octets in hex") from None


def disagree(first: str, means: str, second: str, value: str) -> UsageError:
    """The error for two JSON keys that disagree about one field."""
    return UsageError(f"{first} means {means}, but {second} is {value}; leave one of them out")


def short(value: Any) -> str:
    """A JSON value for an error text, cut if it is long."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
