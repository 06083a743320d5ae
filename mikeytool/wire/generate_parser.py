"""Generates one parsing function for each record from its grammar.

`construct` walks its objects for every field of every message, which takes several hundred
microseconds per message. The walk is the same for every message, so this module does it once:
adjacent integers become one `struct` call, bits become shifts, lists become loops. The grammar
remains the only description of the wire format. Tests check that both ways of reading give the
same record.

A parser is called as `parse(data, pos, end, spans)` and returns the record and the position
after it. It never reads at `end` or beyond. If `spans` is a list, the parser also appends
`(field name, start, end, record)` for every field, which the annotated dump needs. Bit fields
that share octets share a span. For a field that contains payloads the parser sets `<field>_at`,
the position of the field within the record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any

from mikeytool.wire.construct_fields import (
    BitGroup,
    Member,
    Octets,
    Records,
    bit_fields,
    integer_code,
    switch,
)
from mikeytool.wire.errors import WireError
from mikeytool.wire.generated_code import INTEGERS, GeneratedCode
from mikeytool.wire.grammar import Record
from mikeytool.wire.printable import number_of

Spans = list[tuple[str, int, int, Record]]
Parser = Callable[..., tuple[Any, int]]
"""The generated functions: `(data, pos, end, spans=None)`."""


_PARSERS: dict[type[Record], Parser] = {}
_SPAN_PARSERS: dict[type[Record], Parser] = {}


def parser(record: type[Record]) -> Parser:
    """The parser of `record`, which is generated at the first call."""
    made = _PARSERS.get(record)
    if made is None:
        made = _PARSERS[record] = _Code(record, spans=False).made()
    return made


def _span_parser(record: type[Record]) -> Parser:
    """The variant that appends spans; the plain parser calls it if spans are wanted."""
    made = _SPAN_PARSERS.get(record)
    if made is None:
        made = _SPAN_PARSERS[record] = _Code(record, spans=True).made()
    return made


def _short(what: str, field: str, pos: int, need: int, end: int) -> WireError:
    have = max(end - pos, 0)
    return WireError(
        f"{field} takes {number_of(need, 'octet')}, {have} are left", payload=what, offset=pos
    )


def _shown(name: str, inner: list[tuple[str, int]]) -> str:
    """The name of an integer: its field, or the bit fields that share it."""
    return ", ".join(bit for bit, _ in inner) or name


class _Code(GeneratedCode):
    """Writes the source of one parser, field by field; with `spans`, the parser appends spans.

    The code for the items of a list stands in the loop of the code `around` it, which reads up to
    the position in the variable `end`.
    """

    def __init__(
        self, record: type[Record], *, spans: bool, around: _Code | None = None, end: str = "end"
    ) -> None:
        super().__init__(record)
        self.spans, self.end = spans, end
        self.what = getattr(record, "label", record.__name__)
        self.depth: int = 0 if around is None else around.depth + 1
        if around is None:
            self.constants = {
                "span_parser": _span_parser,
                "short": _short,
                "WireError": WireError,
            }
        else:
            self.constants = around.constants
            self.o = f"o{self.depth}"
        self.start = f"start{self.depth}"
        self.run: list[tuple[str, str, int, list[tuple[str, int]]]] = []

    def made(self) -> Parser:
        """The function `parse`."""
        self.whole("    ")
        head = ["def parse(data, pos, end, spans=None):"]
        if not self.spans:
            head.append("    if spans is not None:")
            head.append(f"        return span_parser({self.of})(data, pos, end, spans)")
        made: Parser = self.compiled("parse", [*head, *self.lines, "    return o, pos"])
        return made

    def whole(self, indent: str) -> None:
        """Write the code that reads a record."""
        self.of = self.constant(self.record)
        self.emit(indent, f"{self.o} = {self.constant(self.record.__new__)}({self.of})")
        if any(field.holds for field in self.record.fields.values()):
            self.emit(indent, f"{self.start} = pos")
        for condition, members in self.members():
            self._members(condition, members, indent)
        self._flush(indent)

    def _members(self, condition: str, members: list[Member], around: str) -> None:
        indent = around
        if condition:
            self._flush(indent)
            self.emit(indent, f"if {condition}:")
            indent += "    "
        for member in members:
            self._field(member.name, member.grammar, indent)
        if condition:
            self._flush(indent)
            fields = self.record.fields
            absent = [one.name for one in members if fields[one.name].default is not None]
            if absent:
                self.emit(around, "else:", *(f"    {self.o}.{name} = None" for name in absent))

    def _field(self, name: str, con: Any, indent: str) -> None:
        code = integer_code(con)
        if code is not None:
            self.run.append((name, code, con.sizeof(), []))
            return
        if isinstance(con, BitGroup):
            size = con.sizeof()
            inner = [(bit.name, width) for bit, width in bit_fields(con)]
            self.run.append((name, INTEGERS.get(size, f"{size}s"), size, inner))
            return
        self._flush(indent)
        if isinstance(con, Octets):
            self._octets(name, con, indent)
        elif isinstance(con, Records):
            self._records(name, con, indent)
        elif found := switch(con):
            self._switch(name, *found, indent)
        else:
            raise TypeError(f"{self.what}.{name}: there is no code for {con!r}")

    def _flush(self, indent: str) -> None:
        """Read the collected integers: one bounds check, one `struct` call."""
        if not self.run:
            return
        run, self.run = self.run, []
        size = sum(length for _, _, length, _ in run)
        code = struct.Struct(">" + "".join(code for _, code, _, _ in run))
        unpack = self.constant(code.unpack_from)
        parts = self.constant([(_shown(name, inner), size) for name, _, size, inner in run])
        self.emit(
            indent,
            f"if pos + {size} > {self.end}:",
            f"    for f, n in {parts}:",
            f"        if pos + n > {self.end}:",
            f"            raise short({self.what!r}, f, pos, n, {self.end})",
            *([f"        spans.append((f, pos, pos + n, {self.o}))"] if self.spans else []),
            "        pos += n",
        )
        targets = [f"{self.o}.{name}" if not inner else f"b{name}" for name, _, _, inner in run]
        self.emit(indent, f"{', '.join(targets)}, = {unpack}(data, pos)")
        for name, _, length, inner in run:
            self._bits(name, length, inner, indent)
        at = 0
        for name, _, length, inner in run if self.spans else ():
            shown = _shown(name, inner)
            self.emit(
                indent, f"spans.append(({shown!r}, pos + {at}, pos + {at + length}, {self.o}))"
            )
            at += length
        self.emit(indent, f"pos += {size}")

    def _bits(self, name: str, length: int, inner: list[tuple[str, int]], indent: str) -> None:
        """Extract bit fields from the octets that they share."""
        left = length * 8
        if inner and length not in INTEGERS:
            self.emit(indent, f"b{name} = int.from_bytes(b{name})")
        for bit, width in inner:
            left -= width
            shifted = f"b{name} >> {left}" if left else f"b{name}"
            self.emit(indent, f"{self.o}.{bit} = {shifted} & {(1 << width) - 1}")

    def _octets(self, name: str, con: Octets, indent: str) -> None:
        holds = self.record.fields[name].holds
        self.emit(
            indent,
            f"after = pos + {self.evaluated(con.length)}",
            f"if after > {self.end}:",
            f"    raise short({self.what!r}, {name!r}, pos, after - pos, {self.end})",
            f"{self.o}.{name} = data[pos:after]",
            *([f"{self.o}.{name}_at = pos - {self.start}"] if holds else []),
            *([f"spans.append(({name!r}, pos, after, {self.o}))"] if self.spans else []),
            "pos = after",
        )

    def _records(self, name: str, con: Records, indent: str) -> None:
        if con.of is None:
            self._octets(name, Octets(con.count), indent)
            self.emit(indent, f"{self.o}.{name} = list({self.o}.{name})")
            return
        add, end = f"add{self.depth}", self.end
        self.emit(indent, f"{self.o}.{name} = []", f"{add} = {self.o}.{name}.append")
        if con.count is not None:
            self.emit(indent, f"for _ in range({self.evaluated(con.count)}):")
        else:
            end = f"stop{self.depth}"
            self.emit(
                indent,
                f"{end} = pos + {self.evaluated(con.length)}",
                f"if {end} > {self.end}:",
                f"    raise short({self.what!r}, {name!r}, pos, {end} - pos, {self.end})",
                f"while pos < {end}:",
            )
        item = _Code(con.of, spans=self.spans, around=self, end=end)
        item.whole(indent + "    ")
        self.emit("", *item.lines)
        self.emit(indent, f"    {add}({item.o})")

    def _switch(self, name: str, key: Any, cases: Mapping[int, Any], indent: str) -> None:
        self.emit(indent, f"case = {self.evaluated(key)}")
        keyword = "if"
        for value, case in cases.items():
            self.emit(indent, f"{keyword} case == {value}:")
            keyword = "elif"
            self._field(name, case, indent + "    ")
        self.emit(
            indent,
            "else:",
            f"    raise WireError(f'{name} of the unknown type {{case}} cannot be read',"
            f" payload={self.what!r}, offset=pos)",
        )
