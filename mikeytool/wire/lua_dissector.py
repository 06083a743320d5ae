"""Write a Wireshark dissector for MIKEY, in Lua, from the grammar.

The generated part is data: the records with their fields in wire order, and the registry names.
`dissector.lua` is the part that reads messages with that data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from typing import Any

from mikeytool.wire.construct_fields import (
    REST,
    BitGroup,
    Member,
    Octets,
    Records,
    bit_fields,
    equal_sides,
    field_named,
    integer_code,
    members,
    switch,
)
from mikeytool.wire.extensions import EXTENSIONS
from mikeytool.wire.grammar import Implied, Record
from mikeytool.wire.header import HDR, SrtpSessionData
from mikeytool.wire.ibake import PointLength
from mikeytool.wire.json_lists import policy_of
from mikeytool.wire.json_nested import MAX_DEPTH
from mikeytool.wire.message import MAX_MESSAGE, MAX_PAYLOADS
from mikeytool.wire.payloads import THDR, payload_kind
from mikeytool.wire.registry import (
    MIKEY_VERSION,
    EncrAlg,
    Namespace,
    NextPayload,
    ProtType,
    TicketFlag,
    TsType,
    labels,
)

_TIMES = {TsType.NTP_UTC: "ntp", TsType.NTP: "ntp", TsType.NTP_UTC_32: "seconds"}
"""How Wireshark reads the TS value of each type that is a time."""

_CONSTANTS = {
    "KEY_DATA": NextPayload.KEY_DATA.value,
    "NULL_ENCRYPTION": EncrAlg.NULL.value,
    "SRTP": ProtType.SRTP.value,
    "MAX_DEPTH": MAX_DEPTH,
    "MAX_PAYLOADS": MAX_PAYLOADS,
    "MAX_MESSAGE": MAX_MESSAGE,
    "VERSION": MIKEY_VERSION,
}


def dissector() -> str:
    """The source of the dissector, in Lua 5.2, which Wireshark 2.0 to 4.x run."""
    tables = _Tables()
    payloads = {number: payload_kind(number) for number in NextPayload}
    tables.add(HDR, SrtpSessionData, THDR, *filter(None, payloads.values()))
    tables.add(*(kind for kinds in EXTENSIONS.values() for kind in kinds))
    data = {
        **_CONSTANTS,
        "TIMES": {kind.value: how for kind, how in _TIMES.items()},
        "PAYLOADS": {
            number.value: kind.__name__ for number, kind in payloads.items() if kind is not None
        },
        "EXTENSIONS": {
            number: [kind.__name__ for kind in kinds] for number, kinds in EXTENSIONS.items()
        },
        "POLICIES": tables.policies(ProtType.SRTP, ProtType.TESLA),
        "RECORDS": tables.records,
        "NAMES": tables.names,
    }
    lines = [f"local {name} = {_lua(value)}\n" for name, value in data.items()]
    runtime = files("mikeytool.wire").joinpath("dissector.lua").read_text("utf-8")
    return "\n".join([*lines, runtime])


class _Tables:
    """The records and registries that were added, as Lua shall have them."""

    def __init__(self) -> None:
        self.records: dict[str, Any] = {}
        self.names: dict[str, dict[int, str]] = {}

    def add(self, *kinds: type[Record]) -> None:
        """Add records, and those that they contain."""
        for kind in kinds:
            if kind.__name__ in self.records:
                continue
            described = self.records[kind.__name__] = {
                "label": getattr(kind, "label", "") or kind.__name__,
            }
            described["fields"] = [self._field(kind, member) for member in members(kind.struct)]

    def policies(self, *protocols: ProtType) -> dict[int, Any]:
        """The names of policy parameters and of their values, by protocol."""
        return {
            protocol.value: {
                "names": self._registry(policy_of(protocol).names),
                "values": {
                    int(kind): self._registry(names)
                    for kind, names in policy_of(protocol).values.items()
                },
            }
            for protocol in protocols
        }

    def _registry(self, names: type[Namespace]) -> str:
        self.names[names.__name__] = labels(names)
        return names.__name__

    def _field(self, kind: type[Record], member: Member) -> dict[str, Any]:
        grammar, name = member.grammar, member.name
        made: dict[str, Any] = {} if isinstance(grammar, BitGroup) else self._shown(kind, name)
        if member.condition is not None:
            made["when"] = _expression(member.condition)
        if integer_code(grammar) is not None:
            made |= {"kind": "integer", "size": grammar.sizeof()}
        elif isinstance(grammar, BitGroup):
            size = grammar.sizeof()
            made |= {"kind": "bits", "size": size, "bits": self._bits(kind, grammar, size * 8)}
        elif isinstance(grammar, Octets):
            made |= {"kind": "octets", "length": _expression(grammar.length)}
        elif isinstance(grammar, Records):
            made |= self._list(grammar)
        elif found := switch(grammar):
            key, cases = found
            made |= {"kind": "switch", "key": field_named(key)}
            made["cases"] = {
                value: self._shown(kind, name) | self._list(case) for value, case in cases.items()
            }
        else:
            raise TypeError(f"{kind.__name__}.{name}: there is no Lua for {grammar!r}")
        return made

    def _shown(self, kind: type[Record], name: str) -> dict[str, Any]:
        """How a field is named and shown."""
        field = kind.fields[name]
        made = {"name": name, "title": name.replace("_", " ")}
        if field.names is not None:
            made["names"] = self._registry(field.names)
        for key in ("show", "holds"):
            if getattr(field, key):
                made[key] = getattr(field, key)
        return made

    def _bits(self, kind: type[Record], group: BitGroup, width: int) -> list[dict[str, Any]]:
        """The bit fields of a group of `width` bits, with their masks."""
        made = []
        for member, size in bit_fields(group):
            width -= size
            one = self._shown(kind, member.name)
            one |= {"scale": 1 << width, "range": 1 << size, "mask": ((1 << size) - 1) << width}
            if one.get("show") == "flags":
                one["flags"] = [
                    {"letter": flag.name, "mask": flag.value << width} for flag in TicketFlag
                ]
            made.append(one)
        return made

    def _list(self, grammar: Records) -> dict[str, Any]:
        made: dict[str, Any] = {"kind": "list"}
        if grammar.of is not None:
            self.add(grammar.of)
            made["of"] = grammar.of.__name__
        for key in ("count", "length"):
            if getattr(grammar, key) is not None:
                made[key] = _expression(getattr(grammar, key))
        return made


def _expression(of: Any) -> Any:
    """A length, a count or a condition of the grammar, as `evaluate` in Lua takes it."""
    if isinstance(of, int):
        return int(of)
    if of is REST:
        return ["rest"]
    if isinstance(of, Implied):
        return ["implied", of.field, {value: int(size) for value, size in of.known.items()}]
    if isinstance(of, PointLength):
        known: dict[int, dict[int, int]] = {}
        for (curve, form), size in of.known.items():
            known.setdefault(curve, {})[form] = size
        return ["pair", *of.fields, known]
    name, sides = field_named(of), equal_sides(of)
    if name is not None:
        return ["field", name]
    if sides is not None:
        return ["equal", field_named(sides[0]), int(sides[1])]
    raise TypeError(f"there is no Lua for {of!r}")


def _lua(value: Any, indent: str = "") -> str:
    """A value as a Lua expression; raises TypeError for one that Lua has no form for."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, int):
        return str(int(value))
    deeper = indent + "  "
    parts: Iterable[str]
    if isinstance(value, Mapping):
        parts = [f"[{_lua(key)}] = {_lua(one, deeper)}" for key, one in value.items()]
    elif isinstance(value, list):
        parts = [_lua(one, deeper) for one in value]
    else:
        raise TypeError(f"there is no Lua for {value!r}")
    flat = f"{{ {', '.join(parts)} }}" if parts else "{}"
    if len(indent) + len(flat) < 92:
        return flat
    return "{\n" + "".join(f"{deeper}{part},\n" for part in parts) + indent + "}"
