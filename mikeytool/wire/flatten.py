"""Turns the `construct` grammar of a record into one flat parsing function.

`construct` walks its objects for every field of every message, which costs some hundred
microseconds a message. The walk is always the same for the same record, so it is done once
here: neighbouring integers become one `struct` call, bits become shifts, lists become loops.
The grammar stays the only description of the wire; the tests hold that both ways of reading
give the same record.

A parser is called as `parse(data, pos, end, spans)` and returns the record and the position
behind it. It never reads at or behind `end`. With a list as `spans` it also appends
`(field name, start, end)` for every field, which is what an annotated dump needs. Fields
that hold payloads of their own leave `<field>_at`, where they start within the record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import construct

from mikeytool.wire.errors import WireError
from mikeytool.wire.grammar import BitGroup, Octets, Record, Records

Spans = list[tuple[str, int, int]]
Parser = Callable[[bytes, int, int, "Spans | None"], tuple[Any, int]]


_PARSERS: dict[type[Record], Parser] = {}


def parser(record: type[Record]) -> Parser:
    """The flat parser of `record`, made at the first call."""
    made = _PARSERS.get(record)
    if made is None:
        code = _Code(record)
        source, namespace = code.function(), code.constants
        exec(compile(source, f"<parser of {record.__name__}>", "exec"), namespace)  # noqa: S102
        made = _PARSERS[record] = namespace["parse"]
    return made


def _short(what: str, field: str, pos: int, need: int, end: int) -> WireError:
    have = max(end - pos, 0)
    return WireError(f"{field} takes {need} octets, {have} are left", payload=what, offset=pos)


def _shown(name: str, inner: list[tuple[str, int]]) -> str:
    """What to call an integer of the wire: its field, or the bit fields that share it."""
    return ", ".join(bit for bit, _ in inner) or name


class _Code:
    """Writes the source of one parser, field by field."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        self.what = getattr(record, "label", record.__name__)
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {
            "record": record,
            "short": _short,
            "WireError": WireError,
            "what": self.what,
        }
        self.run: list[tuple[str, str, int, list[tuple[str, int]]]] = []

    def function(self) -> str:
        """The source of `parse`."""
        for member in self.record.struct.subcons:
            self._field(member.name, member.subcon, "    ")
        self._flush("    ")
        head = [
            "def parse(data, pos, end, spans=None):",
            "    o = record.__new__(record)",
            "    start = pos",
        ]
        return "\n".join([*head, *self.lines, "    return o, pos"])

    def _constant(self, value: Any) -> str:
        key = f"k{len(self.constants)}"
        self.constants[key] = value
        return key

    def _emit(self, indent: str, *lines: str) -> None:
        self.lines.extend(indent + line for line in lines)

    def _field(self, name: str, con: Any, indent: str) -> None:
        if isinstance(con, construct.Default):
            con = con.subcon
        if isinstance(con, construct.FormatField):
            self.run.append((name, con.fmtstr[-1], con.length, []))
            return
        if isinstance(con, BitGroup):
            size = con.sizeof()
            inner = [(bit.name, bit.subcon.sizeof()) for bit in con.subcon.subcon.subcons]
            self.run.append((name, f"{size}s", size, inner))
            return
        self._flush(indent)
        if isinstance(con, construct.IfThenElse):
            self._emit(indent, f"if {self._constant(con.condfunc)}(o):")
            self._field(name, con.thensubcon, indent + "    ")
            self._flush(indent + "    ")
            self._emit(indent, "else:", f"    o.{name} = None")
        elif isinstance(con, Octets):
            self._octets(name, con, indent)
        elif isinstance(con, Records):
            self._records(name, con, indent)
        elif isinstance(con, construct.Switch):
            self._switch(name, con, indent)
        else:
            raise TypeError(f"{self.what}.{name}: {con!r} cannot be flattened")

    def _flush(self, indent: str) -> None:
        """Read the integers that have gathered: one bounds check, one `struct` call."""
        if not self.run:
            return
        run, self.run = self.run, []
        size = sum(length for _, _, length, _ in run)
        unpack = self._constant(struct.Struct(">" + "".join(code for _, code, _, _ in run)))
        parts = self._constant([(_shown(name, inner), size) for name, _, size, inner in run])
        self._emit(
            indent,
            f"if pos + {size} > end:",
            f"    for f, n in {parts}:",
            "        if pos + n > end:",
            "            raise short(what, f, pos, n, end)",
            "        pos += n",
        )
        targets = [f"o.{name}" if not inner else f"b{name}" for name, _, _, inner in run]
        self._emit(indent, f"{', '.join(targets)}, = {unpack}.unpack_from(data, pos)")
        for name, _, length, inner in run:
            left = length * 8
            if inner:
                self._emit(indent, f"b{name} = int.from_bytes(b{name})")
            for bit, width in inner:
                left -= width
                self._emit(indent, f"o.{bit} = b{name} >> {left} & {(1 << width) - 1}")
        self._emit(indent, "if spans is not None:")
        at = 0
        for name, _, length, inner in run:
            shown = _shown(name, inner)
            self._emit(indent, f"    spans.append(({shown!r}, pos + {at}, pos + {at + length}))")
            at += length
        self._emit(indent, f"pos += {size}")

    def _octets(self, name: str, con: Octets, indent: str) -> None:
        self._emit(
            indent,
            f"n = {self._length(con.length)}",
            "if pos + n > end:",
            f"    raise short(what, {name!r}, pos, n, end)",
            f"o.{name} = data[pos:pos + n]",
            *([f"o.{name}_at = pos - start"] if self.record.fields[name].holds else []),
            "if spans is not None:",
            f"    spans.append(({name!r}, pos, pos + n))",
            "pos += n",
        )

    def _records(self, name: str, con: Records, indent: str) -> None:
        if con.of is None:
            self._octets(name, Octets(con.count), indent)
            self._emit(indent, f"o.{name} = list(o.{name})")
            return
        item = self._constant(parser(con.of))
        self._emit(indent, f"items = o.{name} = []")
        if con.count is not None:
            self._emit(
                indent,
                f"for _ in range({self._length(con.count)}):",
                f"    item, pos = {item}(data, pos, end, spans)",
                "    items.append(item)",
            )
            return
        self._emit(
            indent,
            f"n = {self._length(con.length)}",
            "if pos + n > end:",
            f"    raise short(what, {name!r}, pos, n, end)",
            "stop = pos + n",
            "while pos < stop:",
            f"    item, pos = {item}(data, pos, stop, spans)",
            "    items.append(item)",
        )

    def _switch(self, name: str, con: Any, indent: str) -> None:
        key = self._length(con.keyfunc)
        self._emit(indent, f"case = {key}")
        keyword = "if"
        for value, case in con.cases.items():
            self._emit(indent, f"{keyword} case == {value}:")
            keyword = "elif"
            self._field(name, case, indent + "    ")
        self._emit(
            indent,
            "else:",
            f"    raise WireError(f'{name} of the unknown type {{case}} cannot be read',"
            " payload=what, offset=pos)",
        )

    def _length(self, length: Any) -> str:
        """An expression for what `construct` would evaluate; a plain path is inlined."""
        if isinstance(length, int):
            return str(length)
        if isinstance(length, construct.expr.Path):
            return f"o.{length._Path__field}"
        return f"{self._constant(length)}(o)"
