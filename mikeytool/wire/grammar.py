"""How a grammar is declared: a class whose attributes are `construct` fields.

Each payload is a `Record` subclass that lists its fields once, in wire order. That one list
defines the attributes with their types, the `construct` grammar in `struct` that parses and
builds, the names in `--json`, and the generated parsers and builders. The parsers also give
byte ranges.

    class IDR(Payload, number=14, section="RFC 6043 6.6"):
        id_role: int = uint8(names=IdRole)
        id_len: int | None = length_of("id_data", Int16ub, default=None)
        id_data: bytes = octets(this.id_len)

When a record is built, lengths, counts and next payload numbers that are None are filled in.
Those that are given are written unchanged, so that broken messages can be made too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, NamedTuple, Self, dataclass_transform

import construct
from construct import BitsInteger, BitStruct, Default, If, Int8ub, Int16ub, Int32ub, Struct, this

from mikeytool.wire.construct_fields import REST, BitGroup, Octets, Records
from mikeytool.wire.errors import WireError
from mikeytool.wire.masked_repr import masked
from mikeytool.wire.registry import Namespace, labels

__all__ = [
    "REST",
    "Field",
    "Implied",
    "Int8ub",
    "Int16ub",
    "Int32ub",
    "LengthOf",
    "Octets",
    "Record",
    "Records",
    "bits",
    "count_of",
    "length_of",
    "octets",
    "records",
    "this",
    "uint8",
    "uint16",
    "uint32",
]

Condition = Callable[[Any], Any]


class Field(NamedTuple):
    """One field of a record: its grammar, and how it is shown to people and in JSON.

    `names` is the registry of an enumerated field. `show` is how a value is printed: "hex" for
    identifiers such as SSRCs, "flag", "flags", "time", "text", "secret", "length". `holds` is
    what an octet string or a list contains, and `title` is what people call that. The modules
    `json_*` define what these mean when JSON is written and read.
    """

    grammar: Any
    bit_length: int = 0
    names: type[Namespace] | None = None
    show: str = ""
    holds: str = ""
    title: str = ""
    default: Any = ...

    def shown(self, value: Any) -> str:
        """A value for the `repr` of a record: keys, and octets that may hold one, are masked."""
        if isinstance(value, bytes):
            return masked(value) if self.holds or self.show == "secret" else value.hex()
        if not isinstance(value, int):
            return repr(value)
        if self.show == "hex":
            return hex(value)
        if self.names is not None and value in labels(self.names):
            return f"{self.names.__name__}.{self.names(value).name}"
        return repr(value)


class Implied:
    """A length, or the presence of something, that another field implies.

    `known` maps the values of that field to what they imply. `unknown` is the error text for
    other values.
    """

    def __init__(
        self,
        field: str,
        known: Mapping[int, int],
        unknown: str = "{field} {value} is unknown, so the length of what follows is too",
    ) -> None:
        self.field, self.known, self.unknown = field, known, unknown

    def __call__(self, ctx: Any) -> int:
        """The implied length or presence; raises WireError for a value not in `known`."""
        value = ctx[self.field]
        if value not in self.known:
            raise WireError(self.unknown.format(field=self.field, value=value))
        return self.known[value]


class LengthOf:
    """The length in octets of the content of `field`."""

    def __init__(self, field: str) -> None:
        self.field = field

    def __call__(self, ctx: Any) -> int:
        """The length; raises `construct.ConstructError` for anything but octets or records."""
        value = ctx[self.field]
        if not isinstance(value, bytes | list):
            raise construct.StreamError(f"octets are needed, not {type(value).__name__}")
        return len(value) if isinstance(value, bytes) else sum(len(item.build()) for item in value)


def _field(grammar: Any, when: Condition | None, **how: Any) -> Any:
    return Field(grammar if when is None else If(when, grammar), **how)


def uint8(*, when: Condition | None = None, default: Any = ..., **how: Any) -> Any:
    """An 8-bit unsigned integer."""
    return _field(Int8ub, when, default=default, **how)


def uint16(*, when: Condition | None = None, default: Any = ..., **how: Any) -> Any:
    """A 16-bit unsigned integer."""
    return _field(Int16ub, when, default=default, **how)


def uint32(*, when: Condition | None = None, default: Any = ..., **how: Any) -> Any:
    """A 32-bit unsigned integer."""
    return _field(Int32ub, when, default=default, **how)


def bits(length: int, *, default: Any = ..., **how: Any) -> Any:
    """An unsigned integer of `length` bits; adjacent ones must add up to whole octets."""
    return Field(BitsInteger(length), bit_length=length, default=default, **how)


def octets(length: Any, *, when: Condition | None = None, default: Any = ..., **how: Any) -> Any:
    """An octet string of `length` octets."""
    return _field(Octets(length), when, default=default, **how)


def length_of(
    other: str | Callable[[Any], int],
    size: Any,
    *,
    when: Condition | None = None,
    default: None = None,
) -> Any:
    """The length in octets of the content of field `other`.

    For content of several fields, `other` computes the length. `size` is an integer of
    `construct`, or a number of bits.
    """
    bit_length = size if isinstance(size, int) else 0
    number = BitsInteger(size) if bit_length else size
    grammar = Default(number, LengthOf(other) if isinstance(other, str) else other)
    return _field(grammar, when, bit_length=bit_length, show="length", default=default)


def count_of(other: str, *, bit_length: int = 0, default: None = None) -> Any:
    """The number of items in the list `other`, in one octet or `bit_length` bits."""
    size = BitsInteger(bit_length) if bit_length else Int8ub
    grammar = Default(size, lambda ctx: len(ctx[other]))
    return Field(grammar, bit_length=bit_length, show="length", default=default)


def records(grammar: Any, **how: Any) -> Any:
    """A list: `grammar` is a `Records`, or a `construct.Switch` between several."""
    return Field(grammar, **how)


@dataclass_transform(
    kw_only_default=True,
    field_specifiers=(
        uint8,
        uint16,
        uint32,
        bits,
        octets,
        length_of,
        count_of,
        records,
    ),
)
class Record:
    """Something on the wire with named fields; a subclass declares them."""

    fields: ClassVar[dict[str, Field]] = {}
    struct: ClassVar[Any]
    _needed: ClassVar[frozenset[str]] = frozenset()
    _bit_groups: ClassVar[list[str]]
    _tail: ClassVar[bool] = False

    def __init_subclass__(cls, *, tail: bool = False) -> None:
        """Turn the declared fields into attributes and the `construct` grammar.

        Inherited fields come before those of the class. The fields of a `tail` base come after.
        """
        own = {key: value for key, value in vars(cls).items() if isinstance(value, Field)}
        fields: dict[str, Field] = {}
        for base in cls.__bases__:
            fields |= {} if base._tail else base.fields  # type: ignore[attr-defined]
        fields |= own
        for base in cls.__bases__:
            fields |= base.fields if base._tail else {}  # type: ignore[attr-defined]
        for key, value in own.items():
            if value.default is ...:
                delattr(cls, key)
            else:
                setattr(cls, key, value.default)
        cls._tail, cls.fields = tail, fields
        cls._needed = frozenset(key for key, one in fields.items() if one.default is ...)
        cls.struct, cls._bit_groups = _grammar(fields)

    def __init__(self, **values: Any) -> None:
        """Set the given fields; the others take their defaults.

        Raises TypeError for a name that is not a field and for a field without a value.
        """
        if not self._needed <= values.keys() <= self.fields.keys():
            raise self._misfit(values)
        self.__dict__ = values

    def _misfit(self, values: Mapping[str, Any]) -> TypeError:
        """The error for a name that is not a field, or else for a field that has no value."""
        for key in values:
            if key not in self.fields:
                return TypeError(f"{type(self).__name__} has no field {key!r}")
        missing = next(key for key in self.fields if key in self._needed - values.keys())
        return TypeError(f"{type(self).__name__} needs {missing!r}")

    def copy(self, **changes: Any) -> Self:
        """A record with the same fields except for `changes`."""
        fields = self.fields
        if not changes.keys() <= fields.keys():
            raise self._misfit(changes)
        made = self.__new__(type(self))
        same = {key: value for key, value in self.__dict__.items() if key in fields}
        made.__dict__ = same | changes
        return made

    def __getitem__(self, key: str) -> Any:
        """The value of the field `key`; `construct` expressions access fields this way."""
        return getattr(self, key)

    def __eq__(self, other: object) -> bool:
        """Two records are equal if they have the same class and equal fields."""
        return type(self) is type(other) and self.values() == other.values()

    def __repr__(self) -> str:
        """Names and values; octets that are a key, or may hold one, are masked."""
        shown = [
            f"{name}={field.shown(value)}"
            for name, field in self.fields.items()
            if (value := getattr(self, name)) is not None
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def build(self) -> bytes:
        """The octets of this record.

        Raises `construct.ConstructError` when a value does not fit its field.
        """
        data: bytes = self.struct.build(self.values())
        return data

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a record that fills `data` from its start, with `construct` itself.

        Raises `construct.ConstructError`. `generate_parser.parser` gives the same.
        """
        return cls.from_container(cls.struct.parse(data))

    def values(self) -> dict[str, Any]:
        """The fields by name, as `construct` builds them."""
        values = {key: getattr(self, key) for key in self.fields}
        for group in self._bit_groups:
            values[group] = dict(values)
        return values

    @classmethod
    def from_container(cls, container: Mapping[str, Any]) -> Self:
        """The record with the values that `construct` parsed."""
        values = {key: value for key, value in container.items() if key in cls.fields}
        for group in cls._bit_groups:
            values.update((k, v) for k, v in container[group].items() if k in cls.fields)
        return cls(**values)


def _grammar(fields: Mapping[str, Field]) -> tuple[Any, list[str]]:
    """The `construct` grammar of `fields`; adjacent bit fields share a `BitStruct`."""
    members: list[Any] = []
    groups: list[str] = []
    pending: list[Any] = []
    width = 0
    for key, field in fields.items():
        if not field.bit_length:
            members.append(key / field.grammar)
            continue
        pending.append(key / field.grammar)
        width += field.bit_length
        if width % 8 == 0:
            groups.append(f"_bits{len(groups)}")
            members.append(groups[-1] / BitGroup(BitStruct(*pending)))
            pending, width = [], 0
    return Struct(*members), groups
