"""The interface to `construct`: additional elements for grammars, and access to a grammar's parts.

Only this file uses attributes that `construct` does not document, so a new version of
`construct` can break only this file. `pyproject.toml` gives the versions that work.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import construct

REST = "the rest"
"""Used as a length: all octets up to the end of whatever contains the record."""


# --- Elements -----------------------------------------------------------------------------


class Octets(construct.Construct):  # type: ignore[misc]
    """An octet string with its length in another field; building writes the octets unchanged.

    Unlike `construct.Bytes`, it can be built with a deliberately wrong length field.
    """

    def __init__(self, length: Any) -> None:
        super().__init__()
        self.length = length

    def _parse(self, stream: Any, context: Any, path: str) -> bytes:
        size = _evaluated(self.length, stream, context)
        data: bytes = construct.stream_read(stream, size, path)
        return data

    def _build(self, obj: bytes, stream: Any, context: Any, path: str) -> bytes:
        if not isinstance(obj, bytes):
            raise construct.StreamError(f"octets are needed, not {type(obj).__name__}", path=path)
        construct.stream_write(stream, obj, len(obj), path)
        return obj


class BitGroup(construct.Subconstruct):  # type: ignore[misc]
    """Bit fields that share octets; later expressions can refer to each field by its name."""

    def _parse(self, stream: Any, context: Any, path: str) -> Any:
        values = self.subcon._parsereport(stream, context, path)
        context.update(values)
        return values


class Records(construct.Construct):  # type: ignore[misc]
    """A list of records, or of single octets if `of` is None: `count` items, or all in `length`.

    Building writes every item, whatever the count or length field says.
    """

    def __init__(self, of: Any, count: Any = None, length: Any = None) -> None:
        super().__init__()
        self.of = of
        self.count = count
        self.length = length
        self.item = construct.Int8ub if of is None else of.struct

    def _parse(self, stream: Any, context: Any, path: str) -> list[Any]:
        items = []
        if self.count is not None:
            count = construct.core.evaluate(self.count, context)
            items = [self.item._parsereport(stream, context, path) for _ in range(count)]
        else:
            end = stream.tell() + _evaluated(self.length, stream, context)
            while stream.tell() < end:
                items.append(self.item._parsereport(stream, context, path))
            if stream.tell() > end:
                raise construct.StreamError("an item runs over the end of its list", path=path)
        return items if self.of is None else [self.of.from_container(item) for item in items]

    def _build(self, obj: Iterable[Any], stream: Any, context: Any, path: str) -> Any:
        for item in obj:
            value = item if self.of is None else item.values()
            self.item._build(value, stream, context, path)
        return obj


def _evaluated(length: Any, stream: Any, context: Any) -> int:
    if length is REST:
        return len(stream.getbuffer()) - int(stream.tell())
    return int(construct.core.evaluate(length, context))


# --- The parts of a grammar ---------------------------------------------------------------


class Member(NamedTuple):
    """A field of a grammar, separated from its condition and its default.

    `condition` is the expression that decides whether the field is present; None means always.
    `default` is its value if the record has None: a constant, or a function of the record.
    """

    name: str
    grammar: Any
    condition: Any
    default: Any


def members(struct: Any) -> list[Member]:
    """The fields of a `Struct`, in order."""
    return [_member(renamed) for renamed in struct.subcons]


def bit_fields(group: BitGroup) -> list[tuple[Member, int]]:
    """The bit fields that share the octets of a group, each with its number of bits."""
    found = map(_member, group.subcon.subcon.subcons)
    return [(member, member.grammar.sizeof()) for member in found]


def _member(renamed: Any) -> Member:
    grammar, condition, default = renamed.subcon, None, None
    if isinstance(grammar, construct.IfThenElse):
        condition, grammar = grammar.condfunc, grammar.thensubcon
    if isinstance(grammar, construct.Default):
        default, grammar = grammar.value, grammar.subcon
    return Member(renamed.name, grammar, condition, default)


def bare(grammar: Any) -> tuple[Any, bool]:
    """The grammar of a field without condition and default, and whether it had a condition."""
    member = _member("" / grammar)
    return member.grammar, member.condition is not None


def integer_code(grammar: Any) -> str | None:
    """The `struct` code of an unsigned integer; None for anything else."""
    return grammar.fmtstr[-1] if isinstance(grammar, construct.FormatField) else None


def switch(grammar: Any) -> tuple[Any, Mapping[int, Any]] | None:
    """The key expression of a `Switch` and its cases; None for anything else."""
    return (grammar.keyfunc, grammar.cases) if isinstance(grammar, construct.Switch) else None


def field_named(expression: Any) -> str | None:
    """The field that an expression `this.field` names; None for any other expression."""
    return expression._Path__field if isinstance(expression, construct.expr.Path) else None


def equal_sides(expression: Any) -> tuple[Any, Any] | None:
    """The two sides of an expression `a == b`; None for any other expression."""
    if isinstance(expression, construct.expr.BinExpr) and expression.op is operator.eq:
        return expression.lhs, expression.rhs
    return None


# --- Truncated structures -----------------------------------------------------------------


def parse_leading(struct: Any, data: bytes) -> tuple[dict[str, Any], int]:
    """Read the fields of fixed size at the start of a `Struct`, as far as `data` goes.

    Returns their values by name (bit fields have their own names) and the position after them.
    """
    values: dict[str, Any] = {}
    pos = 0
    for renamed in struct.subcons:
        try:
            size = renamed.sizeof()
        except (construct.SizeofError, KeyError):  # its size varies
            break
        if pos + size > len(data):
            break
        value = renamed.parse(data[pos : pos + size])
        if isinstance(renamed.subcon, BitGroup):
            values |= {name: value[name] for name in _names(renamed)}
        else:
            values[renamed.name] = value
        pos += size
    return values, pos


def build_leading(struct: Any, values: Mapping[str, Any]) -> bytes:
    """Build the fields of a `Struct` up to the first for which `values` has None."""
    there = []
    for renamed in struct.subcons:
        if any(values[name] is None for name in _names(renamed)):
            break
        there.append(renamed)
    data: bytes = construct.Struct(*there).build(values)
    return data


def _names(renamed: Any) -> list[str]:
    """The names of a field, or of the bit fields in it."""
    group = renamed.subcon
    if isinstance(group, BitGroup):
        return [member.name for member, _ in bit_fields(group)]
    return [renamed.name]
