"""Generates one building function for each record from its grammar.

This is the counterpart of `generate_parser` and exists for the same reason: a server that answers
many messages builds dozens of payloads for each. The grammar remains the only description of the
wire format. If a generated builder cannot write a value, `construct` tries and reports the error.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

import construct

from mikeytool.wire.construct_fields import (
    BitGroup,
    Member,
    Octets,
    Records,
    bit_fields,
    integer_code,
    switch,
)
from mikeytool.wire.generated_code import INTEGERS, GeneratedCode
from mikeytool.wire.grammar import LengthOf, Record

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
"""Exceptions of builders for values that do not fit; `construct` then reports the error."""


def build(record: Record, following: int | None = None) -> bytes:
    """The octets of a record; raises `construct.ConstructError` as `Record.build` does.

    `following` is the number of the next payload, for a record that does not give it.
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
    """The octets of a record, built by `construct` itself."""
    return (record if following is None else record.copy(next_payload=following)).build()


class _Code(GeneratedCode):
    """Writes the source of one builder, field by field."""

    def __init__(self, record: type[Record]) -> None:
        super().__init__(record)
        self.constants["build"] = build
        self.run: list[tuple[str, str]] = []
        self.parts: list[str] = []

    def made(self) -> Builder:
        """The function, or one that calls `construct` if the grammar has an unsupported part."""
        try:
            for condition, members in self.members():
                self._members(condition, members)
        except _Unknown:
            return _built
        self._write("    ")
        head = ["def builder(o, following):", "    out = []"]
        made: Builder = self.compiled("builder", [*head, *self.lines, "    return b''.join(out)"])
        return made

    def _members(self, condition: str, members: list[Member]) -> None:
        indent = "    "
        if condition:
            self._write(indent)
            self.emit(indent, f"if {condition}:")
            indent += "    "
        for member in members:
            self._field(member, indent)
        if condition:
            self._write(indent)

    def _field(self, member: Member, indent: str) -> None:
        name, con = member.name, member.grammar
        value = self._value(member)
        code = integer_code(con)
        if code is not None:
            self.run.append((code, value))
        elif isinstance(con, BitGroup):
            self._bits(con, indent)
        elif isinstance(con, Octets):
            self._part(value)  # join refuses anything but octets
        elif isinstance(con, Records):
            # A list, because `bytes` of a number would be that many zeros.
            self._part(f"bytes([*{value}])" if con.of is None else f"*map(build, {value})")
        elif found := switch(con):
            self._switch(name, *found, indent)
        else:
            raise _Unknown

    def _value(self, member: Member) -> str:
        """A field, or the default that is computed from the record if the field is None."""
        value, made = f"o.{member.name}", member.default
        if member.name == "next_payload":
            return f"({value} if {value} is not None else following)"
        if made is None:
            return value
        if isinstance(made, LengthOf) and isinstance(
            self.record.fields[made.field].grammar, Records
        ):
            default = f"sum(map(len, map(build, o.{made.field})))"
        else:
            default = self.evaluated(made) if callable(made) else repr(made)
        return f"({value} if {value} is not None else {default})"

    def _bits(self, con: BitGroup, indent: str) -> None:
        """Bit fields that share octets, combined into one integer."""
        size = con.sizeof()
        left = size * 8
        shifted, beyond = [], []
        for bit, width in bit_fields(con):
            left -= width
            self.emit(indent, f"b{bit.name} = {self._value(bit)}")
            beyond.append(f"b{bit.name} >> {width}")
            shifted.append(f"b{bit.name} << {left}")
        self.emit(indent, f"if {' or '.join(beyond)}:")  # a value is too large or negative
        self.emit(indent, "    raise ValueError")
        code, whole = INTEGERS.get(size), f"({' | '.join(shifted)})"
        self.run.append((code, whole) if code else (f"{size}s", f"{whole}.to_bytes({size})"))

    def _switch(self, name: str, key: Any, cases: Mapping[int, Any], indent: str) -> None:
        self._write(indent)
        self.emit(indent, f"case = {self.evaluated(key)}")
        keyword = "if"
        for value, case in cases.items():
            self.emit(indent, f"{keyword} case == {value!r}:")
            keyword = "elif"
            self._field(Member(name, case, None, None), indent + "    ")
            self._write(indent + "    ")
        self.emit(indent, "else:", "    raise ValueError")

    def _part(self, part: str) -> None:
        """Add octets after the collected integers."""
        self._pack()
        self.parts.append(part)

    def _pack(self) -> None:
        """Write the collected integers with one `struct` call."""
        if self.run:
            pack = self.constant(struct.Struct(">" + "".join(code for code, _ in self.run)).pack)
            self.parts.append(f"{pack}({', '.join(value for _, value in self.run)})")
            self.run = []

    def _write(self, indent: str) -> None:
        """Write the collected parts."""
        self._pack()
        if self.parts:
            self.emit(indent, f"out += {', '.join(self.parts)},")
            self.parts = []


class _Unknown(Exception):
    """A part of a grammar for which no code can be generated."""
