"""The interface to `construct`: what the generators learn of a grammar."""

from __future__ import annotations

import re

from construct import BitsInteger, BitStruct, Default, If, Int8ub, Int16ub, Struct, Switch, this

from mikeytool.wire.construct_fields import (
    BitGroup,
    Octets,
    bare,
    bit_fields,
    build_leading,
    equal_sides,
    field_named,
    integer_code,
    members,
    parse_leading,
    switch,
)
from tests.support import TESTS

GRAMMAR = Struct(
    "kind" / Int8ub,
    "bits" / BitGroup(BitStruct("flag" / BitsInteger(1), "rest" / Default(BitsInteger(7), 5))),
    "length" / If(this.kind == 2, Default(Int16ub, len)),
    "octets" / Octets(this.length),
)


def test_members() -> None:
    kind, bits, length, octets = members(GRAMMAR)
    assert (kind.name, kind.condition, kind.default) == ("kind", None, None)
    assert isinstance(bits.grammar, BitGroup)
    assert (length.grammar, length.default) == (Int16ub, len)
    assert field_named(octets.grammar.length) == "length"
    left, right = equal_sides(length.condition) or (None, None)
    assert (field_named(left), right) == ("kind", 2)


def test_bit_fields() -> None:
    group = members(GRAMMAR)[1].grammar
    assert [(bit.name, bit.default, width) for bit, width in bit_fields(group)] == [
        ("flag", None, 1),
        ("rest", 5, 7),
    ]


def test_what_an_element_is() -> None:
    assert (integer_code(Int8ub), integer_code(Int16ub), integer_code(GRAMMAR)) == ("B", "H", None)
    key, cases = switch(Switch(this.kind, {1: Int8ub})) or (None, None)
    assert (field_named(key), cases) == ("kind", {1: Int8ub})
    assert switch(Int8ub) is None
    assert bare(If(this.kind == 2, Default(Int16ub, 7))) == (Int16ub, True)
    assert bare(Int8ub) == (Int8ub, False)
    assert field_named(this.kind == 2) is None
    assert equal_sides(this.kind) is None


def test_what_breaks_off() -> None:
    assert parse_leading(GRAMMAR, b"\1") == ({"kind": 1}, 1)
    assert parse_leading(GRAMMAR, b"\1\x85") == ({"kind": 1, "flag": 1, "rest": 5}, 2)
    values = {"kind": 1, "bits": {"flag": 1, "rest": 5}, "flag": 1, "rest": 5, "length": None}
    assert build_leading(GRAMMAR, values) == b"\1\x85"
    assert build_leading(GRAMMAR, values | {"rest": None}) == b"\1"


def test_private_attributes_are_used_in_one_file() -> None:
    """Those of `construct`: only `construct_fields` walks its objects."""
    private = re.compile(
        r"\.(subcons?|thensubcon|condfunc|keyfunc|fmtstr|lhs|rhs|_parse\w*|_build|_Path__field)\b"
    )
    for path in (TESTS.parent / "mikeytool").rglob("*.py"):
        if path.name != "construct_fields.py":
            found = private.search(path.read_text())
            assert found is None, f"{path}: {found}"
