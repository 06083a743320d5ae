"""Turns the `construct` grammar of a record into one flat building function.

The counterpart of `flatten`, for the same reason: whoever answers many messages builds some
dozens of payloads for each. The grammar stays the only description of the wire. What a flat
builder cannot write is left to `construct`, which knows what to say of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import construct

from mikeytool.wire.generated_code import INTEGERS, FlatCode
from mikeytool.wire.grammar import BitGroup, LengthOf, Octets, Record, Records

Builder = Callable[[Record, "int | None"], bytes]

_BUILDERS: dict[type[Record], Builder] = {}


_MISFITS = (
    construct.ConstructError,
    struct.error,
    AttributeError,
    KeyError,
    TypeError,
    ValueError,
)
"""What flat builders raise for values that do not fit; `construct` says what is wrong."""


def build(record: Record, following: int | None = None) -> bytes:
    """The octets of a record; raises `construct.ConstructError` as `Record.build` does.

    `following` is the number of the payload behind it, for a record that does not say it.
    """
    kind = type(record)
    builder = _BUILDERS.get(kind)
    if builder is None:
        builder = _BUILDERS[kind] = _Code(kind).made()
    try:
        return builder(record, following)
    except _MISFITS:
        return _built(record, following)


def _built(record: Record, following: int | None) -> bytes:
    """The same by `construct` itself."""
    return (record if following is None else record.copy(next_payload=following)).build()


class _Code(FlatCode):
    """Writes the source of one builder, field by field."""

    def __init__(self, record: type[Record]) -> None:
        super().__init__(record)
        self.constants["build"] = build
        self.run: list[tuple[str, str]] = []
        self.parts: list[str] = []

    def made(self) -> Builder:
        """The function, or `construct` itself for a grammar that is not known here."""
        try:
            for condition, members in self.members():
                self._members(condition, members)
        except _Unknown:
            return _built
        self._write("    ")
        head = ["def builder(o, following):", "    out = []"]
        made: Builder = self.compiled("builder", [*head, *self.lines, "    return b''.join(out)"])
        return made

    def _members(self, condition: str, members: list[tuple[str, Any]]) -> None:
        indent = "    "
        if condition:
            self._write(indent)
            self.emit(indent, f"if {condition}:")
            indent += "    "
        for name, con in members:
            self._field(name, con, indent)
        if condition:
            self._write(indent)

    def _field(self, name: str, con: Any, indent: str) -> None:
        value = f"o.{name}"
        if isinstance(con, construct.Default):
            value = self._defaulted(value, con)
            con = con.subcon
        elif name == "next_payload":
            value = f"({value} if {value} is not None else following)"
        if isinstance(con, construct.FormatField):
            self.run.append((con.fmtstr[-1], value))
        elif isinstance(con, BitGroup):
            self._bits(name, con, indent)
        elif isinstance(con, Octets):
            self._part(value)  # join refuses what are no octets
        elif isinstance(con, Records):
            # A list of what is there: `bytes` of a number would be so many zeros.
            self._part(f"bytes([*{value}])" if con.of is None else f"*map(build, {value})")
        elif isinstance(con, construct.Switch):
            self._switch(name, con, indent)
        else:
            raise _Unknown

    def _defaulted(self, value: str, con: Any) -> str:
        """A field, or what its default makes of the record where it is None."""
        made = con.value
        if isinstance(made, LengthOf) and isinstance(
            self.record.fields[made.field].grammar, Records
        ):
            default = f"sum(map(len, map(build, o.{made.field})))"
        else:
            default = self.evaluated(made) if callable(made) else repr(made)
        return f"({value} if {value} is not None else {default})"

    def _bits(self, name: str, con: BitGroup, indent: str) -> None:
        """Bit fields that share octets, put together into one integer."""
        size = con.sizeof()
        left = size * 8
        shifted, beyond = [], []
        for bit in con.subcon.subcon.subcons:
            inner, value = bit.subcon, f"o.{bit.name}"
            if isinstance(inner, construct.Default):
                value, inner = self._defaulted(value, inner), inner.subcon
            width = inner.sizeof()
            left -= width
            self.emit(indent, f"b{bit.name} = {value}")
            beyond.append(f"b{bit.name} >> {width}")
            shifted.append(f"b{bit.name} << {left}")
        self.emit(indent, f"if {' or '.join(beyond)}:")  # one is too large, or negative
        self.emit(indent, "    raise ValueError")
        code, whole = INTEGERS.get(size), f"({' | '.join(shifted)})"
        self.run.append((code, whole) if code else (f"{size}s", f"{whole}.to_bytes({size})"))

    def _switch(self, name: str, con: Any, indent: str) -> None:
        self._write(indent)
        self.emit(indent, f"case = {self.evaluated(con.keyfunc)}")
        keyword = "if"
        for value, case in con.cases.items():
            self.emit(indent, f"{keyword} case == {value!r}:")
            keyword = "elif"
            self._field(name, case, indent + "    ")
            self._write(indent + "    ")
        self.emit(indent, "else:", "    raise ValueError")

    def _part(self, part: str) -> None:
        """Add octets behind the integers that have gathered."""
        self._pack()
        self.parts.append(part)

    def _pack(self) -> None:
        """Write the integers that have gathered with one `struct` call."""
        if self.run:
            pack = self.constant(struct.Struct(">" + "".join(code for code, _ in self.run)).pack)
            self.parts.append(f"{pack}({', '.join(value for _, value in self.run)})")
            self.run = []

    def _write(self, indent: str) -> None:
        """Put out the parts that have gathered."""
        self._pack()
        if self.parts:
            self.emit(indent, f"out += {', '.join(self.parts)},")
            self.parts = []


class _Unknown(Exception):
    """A part of a grammar that no flat code is known for."""
