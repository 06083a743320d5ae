"""What the writers of flat code share: `flatten` writes parsers, `flat_build` builders.

Both turn the `construct` grammar of a record into the source of one function, in which `o` is
the record, and what the grammar evaluates on a context is evaluated on that.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import construct

from mikeytool.wire.grammar import REST, Implied, LengthOf, Record

INTEGERS = {1: "B", 2: "H", 4: "I"}
"""The `struct` codes of unsigned integers, by their octets."""


class FlatCode:
    """The source of one function, as it grows, and the constants that it uses."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}

    def compiled(self, name: str, source: Iterable[str]) -> Any:
        """The function of that name in the source."""
        text = "\n".join(source)
        exec(compile(text, f"<{name} {self.record.__name__}>", "exec"), self.constants)  # noqa: S102
        return self.constants[name]

    def constant(self, value: Any) -> str:
        """The name of a value in the source."""
        for key, known in self.constants.items():
            if known is value:
                return key
        key = f"k{len(self.constants)}"
        self.constants[key] = value
        return key

    def emit(self, indent: str, *lines: str) -> None:
        """Add lines."""
        self.lines.extend(indent + line for line in lines)

    def members(self) -> Iterator[tuple[str, list[tuple[str, Any]]]]:
        """The fields with their grammars, in order, under the conditions that they are there.

        Neighbours with one condition go together; it is empty for what is always there.
        """
        for condition, group in groupby(self.record.struct.subcons, self._condition):
            members = [(member.name, member.subcon) for member in group]
            if condition:
                members = [(name, con.thensubcon) for name, con in members]
            yield condition, members

    def _condition(self, member: Any) -> str:
        con = member.subcon
        return self.evaluated(con.condfunc) if isinstance(con, construct.IfThenElse) else ""

    def evaluated(self, of: Any) -> str:
        """An expression for what `construct` would evaluate; what is known here is inlined."""
        if isinstance(of, int):
            return str(int(of))
        if of is REST:
            return "end - pos"
        if isinstance(of, construct.expr.Path):
            return f"o.{of._Path__field}"
        if isinstance(of, construct.expr.BinExpr) and of.op is operator.eq:
            return f"{self.evaluated(of.lhs)} == {self.evaluated(of.rhs)}"
        if isinstance(of, Implied):
            known, fail = self.constant(of.known), self.constant(of)
            field = f"o.{of.field}"
            return f"({known}[{field}] if {field} in {known} else {fail}(o))"
        if isinstance(of, LengthOf):
            field = f"o.{of.field}"
            return f"(len({field}) if {field}.__class__ is bytes else {self.constant(of)}(o))"
        return f"{self.constant(of)}(o)"
