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

from mikeytool.wire.grammar import BitGroup, Octets, Record, Records

Builder = Callable[[Record], bytes]

_BUILDERS: dict[type[Record], Builder] = {}


def build(record: Record) -> bytes:
    """The octets of a record; raises `construct.ConstructError` as `Record.build` does."""
    kind = type(record)
    builder = _BUILDERS.get(kind)
    if builder is None:
        builder = _BUILDERS[kind] = _Code(kind).made()
    try:
        return builder(record)
    except (construct.ConstructError, struct.error, TypeError, ValueError, KeyError):
        return record.build()


class _Code:
    """Writes the source of one builder, field by field."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {"build": build}
        self.run: list[tuple[str, str]] = []

    def made(self) -> Builder:
        """The function, or `Record.build` itself for a grammar that is not known here."""
        try:
            for member in self.record.struct.subcons:
                self._field(member.name, member.subcon, "    ")
        except _Unknown:
            return self.record.build
        self._flush("    ")
        source = "\n".join(["def builder(o):", "    out = []", *self.lines])
        source += "\n    return b''.join(out)\n"
        exec(compile(source, f"<builder of {self.record.__name__}>", "exec"), self.constants)  # noqa: S102
        made: Builder = self.constants["builder"]
        return made

    def _constant(self, value: Any) -> str:
        key = f"k{len(self.constants)}"
        self.constants[key] = value
        return key

    def _emit(self, indent: str, *lines: str) -> None:
        self.lines.extend(indent + line for line in lines)

    def _field(self, name: str, con: Any, indent: str) -> None:
        value = f"o.{name}"
        if isinstance(con, construct.Default):
            value = self._defaulted(value, con)
            con = con.subcon
        if isinstance(con, construct.FormatField):
            self.run.append((con.fmtstr[-1], value))
        elif isinstance(con, BitGroup):
            self._bits(con, indent)
        elif isinstance(con, construct.IfThenElse):
            self._flush(indent)
            self._emit(indent, f"if {self._constant(con.condfunc)}(o):")
            self._field(name, con.thensubcon, indent + "    ")
            self._flush(indent + "    ")
        elif isinstance(con, Octets):
            self._flush(indent)
            self._emit(indent, f"out.append({value})")  # join refuses what are no octets
        elif isinstance(con, Records):
            self._flush(indent)
            items = f"bytes({value})" if con.of is None else f"b''.join(map(build, {value}))"
            self._emit(indent, f"out.append({items})")
        elif isinstance(con, construct.Switch):
            self._switch(name, con, indent)
        else:
            raise _Unknown

    def _defaulted(self, value: str, con: Any) -> str:
        """A field, or what its default makes of the record where it is None."""
        made = f"{self._constant(con.value)}(o)" if callable(con.value) else repr(con.value)
        return f"({value} if {value} is not None else {made})"

    def _bits(self, con: BitGroup, indent: str) -> None:
        """Bit fields that share octets, put together into one integer."""
        left = con.sizeof() * 8
        parts = []
        self._flush(indent)
        for bit in con.subcon.subcon.subcons:
            inner, value = bit.subcon, f"o.{bit.name}"
            if isinstance(inner, construct.Default):
                value, inner = self._defaulted(value, inner), inner.subcon
            width = inner.sizeof()
            left -= width
            self._emit(
                indent,
                f"b{left} = {value}",
                f"if b{left} >> {width}:",  # too large, or negative
                "    raise ValueError",
            )
            parts.append(f"b{left} << {left}")
        self._emit(indent, f"out.append(({' | '.join(parts)}).to_bytes({con.sizeof()}))")

    def _switch(self, name: str, con: Any, indent: str) -> None:
        self._flush(indent)
        self._emit(indent, f"case = {self._constant(con.keyfunc)}(o)")
        keyword = "if"
        for value, case in con.cases.items():
            self._emit(indent, f"{keyword} case == {value!r}:")
            keyword = "elif"
            self._field(name, case, indent + "    ")
            self._flush(indent + "    ")
        self._emit(indent, "else:", "    raise ValueError")

    def _flush(self, indent: str) -> None:
        """Write the integers that have gathered with one `struct` call."""
        if not self.run:
            return
        run, self.run = self.run, []
        pack = self._constant(struct.Struct(">" + "".join(code for code, _ in run)))
        self._emit(indent, f"out.append({pack}.pack({', '.join(value for _, value in run)}))")


class _Unknown(Exception):
    """A part of a grammar that no flat code is known for."""
