"""Code that `generate_parser` and `generate_builder` share.

Both turn the grammar of a record into the source of one function. In it, the variable `o` is the
record, on which expressions are evaluated that the grammar evaluates on a context.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from mikeytool.wire.construct_fields import REST, Member, equal_sides, field_named, members
from mikeytool.wire.grammar import Implied, LengthOf, Record

INTEGERS = {1: "B", 2: "H", 4: "I"}
"""The `struct` codes of unsigned integers, by their length in octets."""


class GeneratedCode:
    """The source of one function while it is being written, and the constants that it uses."""

    def __init__(self, record: type[Record]) -> None:
        self.record = record
        self.o = "o"
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}

    def compiled(self, name: str, source: Iterable[str]) -> Any:
        """Compile the source and return the function of that name."""
        text = "\n".join(source)
        exec(compile(text, f"<{name} {self.record.__name__}>", "exec"), self.constants)  # noqa: S102
        return self.constants[name]

    def constant(self, value: Any) -> str:
        """The name under which the source can use a value."""
        for key, known in self.constants.items():
            if known is value:
                return key
        key = f"k{len(self.constants)}"
        self.constants[key] = value
        return key

    def emit(self, indent: str, *lines: str) -> None:
        """Add lines."""
        self.lines.extend(indent + line for line in lines)

    def members(self) -> Iterator[tuple[str, list[Member]]]:
        """The fields in order, grouped into runs that share a condition.

        The condition is source text; it is empty for fields that are always present.
        """
        for condition, group in groupby(members(self.record.struct), self._condition):
            yield condition, list(group)

    def _condition(self, member: Member) -> str:
        return "" if member.condition is None else self.evaluated(member.condition)

    def evaluated(self, of: Any) -> str:
        """The source for a value that `construct` would evaluate; known expressions are inlined."""
        if isinstance(of, int):
            return str(int(of))
        if of is REST:
            return "end - pos"
        name, sides = field_named(of), equal_sides(of)
        if name is not None:
            return f"{self.o}.{name}"
        if sides is not None:
            return f"{self.evaluated(sides[0])} == {self.evaluated(sides[1])}"
        if isinstance(of, Implied):
            known, fail = self.constant(of.known), self.constant(of)
            field = f"{self.o}.{of.field}"
            return f"({known}[{field}] if {field} in {known} else {fail}({self.o}))"
        if isinstance(of, LengthOf):
            field = f"{self.o}.{of.field}"
            return (
                f"(len({field}) if {field}.__class__ is bytes else {self.constant(of)}({self.o}))"
            )
        return f"{self.constant(of)}({self.o})"
