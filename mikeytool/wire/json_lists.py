"""The JSON of lists: numbers, records, policy parameters, crypto sessions.

Session Data is shown beside the SSRC, ROC and SEQ that it contains. When it is composed again,
these take precedence, so editing one of them is enough.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache, partial
from typing import Any, NamedTuple

from mikeytool.wire.errors import UsageError
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import (
    GenericIdEntry,
    SrtpIdEntry,
    SrtpSessionData,
    srtp_session_data,
)
from mikeytool.wire.json_field import (
    ABSENT,
    HEX,
    Json,
    JsonField,
    Writer,
    disagree,
    hex_number,
    hex_schema,
    name_schema,
    name_text,
    octets_of,
    or_null,
    quoted,
    read_name,
    short,
)
from mikeytool.wire.json_record import json_record
from mikeytool.wire.payloads import PolicyParam
from mikeytool.wire.registry import (
    CsIdMapType,
    Namespace,
    ProtType,
    SrtpParam,
    label,
)
from mikeytool.wire.srtp_policy import SRTP_VALUES


class NumbersField(JsonField, kind="numbers"):
    """A list of octets, each a number."""

    def written(self) -> Writer:
        """The list."""
        return lambda record, show_keys, depth: f'"{self.name}": {record[self.name]}'

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The numbers."""
        value = described.get(self.name)
        if value is None:
            return ABSENT
        if not isinstance(value, list) or not all(_is_octet(one) for one in value):
            raise UsageError(f"{self.name} {short(value)}: give a list of numbers to 255")
        return value

    def schema(self) -> Json:
        """A list of numbers."""
        return {self.name: {"type": "array", "items": {"type": "integer", "maximum": 255}}}


def _is_octet(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= 0xFF


class RecordsField(JsonField, kind="records"):
    """A list of records."""

    @property
    def of(self) -> type[Record]:
        """What is in the list."""
        kind: type[Record] = self.grammar.of
        return kind

    def written(self) -> Writer:
        """A list of objects."""
        text = json_record(self.of).text
        return lambda record, show_keys, depth: (
            f'"{self.name}": [{", ".join(map(text, record[self.name]))}]'
        )

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The records."""
        value = described.get(self.name)
        if value is None:
            return ABSENT
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise UsageError(f"{self.name}: give a list of objects")
        return [self.compose_one(one, f"{self.name}[{at}]", known) for at, one in enumerate(value)]

    def compose_one(self, described: Json, where: str, known: Mapping[str, Any]) -> Any:
        """One record; raises UsageError, which names its place."""
        try:
            return self.compose_item(described, known)
        except UsageError as error:
            raise UsageError(f"{where}: {error}") from None

    def compose_item(self, described: Json, known: Mapping[str, Any]) -> Any:
        """One record."""
        return json_record(self.of).compose(described)

    def schema(self) -> Json:
        """A list of objects."""
        return {self.name: {"type": "array", "items": json_record(self.of).schema()}}


# --- Security policies --------------------------------------------------------------------


class Policy(NamedTuple):
    """The parameters of one protocol: their names and the names of their values."""

    names: type[Namespace]
    values: Mapping[int, type[Namespace]]


class _NoNames(Namespace):
    """The names of an empty registry."""


_SRTP = Policy(SrtpParam, SRTP_VALUES)
_NO_POLICY = Policy(_NoNames, {})


def policy_of(protocol: int) -> Policy:
    """The names of the parameters of a security policy for a protocol."""
    if protocol == ProtType.TESLA:
        from mikeytool.wire.registry_extensions import TeslaMac, TeslaParam, TeslaPrf

        return Policy(TeslaParam, {TeslaParam.PRF: TeslaPrf, TeslaParam.MAC: TeslaMac})
    return _SRTP if protocol == ProtType.SRTP else _NO_POLICY


_LONGEST_MEANING = 2
"""Most octets that a value may have to get a name or number; registered ones have one octet."""


@lru_cache(maxsize=1024)
def param_text(protocol: int, kind: int, length: int, value: bytes) -> str:
    """A policy parameter of a protocol in JSON; `meaning` names an enumerated value.

    `meaning` is null if the value is empty or longer than any registry number.
    """
    policy = policy_of(protocol)
    names = policy.values.get(kind) if 0 < len(value) <= _LONGEST_MEANING else None
    meaning = "null" if names is None else quoted(label(names, int.from_bytes(value)))
    return (
        f'{{"type": {quoted(label(policy.names, kind))}, "type_value": {kind}, '
        f'"length": {length}, "value": "{value.hex()}", "meaning": {meaning}}}'
    )


def _params_text(policy: Any, show_keys: bool, depth: int) -> str:
    protocol = policy.protocol
    items = [param_text(protocol, one.type, one.length, one.value) for one in policy.policy_param]
    return f'"policy_param": [{", ".join(items)}]'


class PolicyParamsField(RecordsField, kind="policy"):
    """Policy parameters; `meaning` is the registry name of an enumerated value."""

    def written(self) -> Writer:
        """A list of objects."""
        return _params_text

    def compose_item(self, described: Json, known: Mapping[str, Any]) -> Any:
        """A parameter, with its type by name or number and its value by octets or meaning."""
        policy = policy_of(known.get("protocol", -1))
        kind = read_name(described, "type", policy.names, 0xFF)
        if kind is ABSENT:
            raise UsageError("type is missing")
        data = None if described.get("value") is None else octets_of("value", described["value"])
        if described.get("meaning") is not None:
            names = policy.values.get(kind, _NoNames)
            meant = read_name({"meaning": described["meaning"]}, "meaning", names, (1 << 63) - 1)
            if data is not None and int.from_bytes(data) != meant:
                raise disagree(
                    f"meaning {short(described['meaning'])}", str(meant), "value", data.hex()
                )
            data = bytes([meant & 0xFF]) if data is None else data
        changed = {
            "type": kind,
            "value": None if data is None else data.hex(),
            "length": described.get("length"),
        }
        unknown = described.keys() - changed.keys() - {"type_value", "meaning"}
        if unknown:
            raise UsageError(f"{min(unknown)!r} is not a field here")
        return json_record(PolicyParam).compose(changed)

    def schema(self) -> Json:
        """A list of objects."""
        named = [policy_of(protocol).names for protocol in (ProtType.SRTP, ProtType.TESLA)]
        properties = {
            "type": {"anyOf": [name_schema(names) for names in named]},
            "type_value": {"type": "integer", "minimum": 0, "maximum": 255},
            "length": {"type": "integer", "minimum": 0, "maximum": 255},
            "value": HEX,
            "meaning": {"type": ["string", "null"]},
        }
        item = {"type": "object", "properties": properties, "required": list(properties),
                "additionalProperties": False}  # fmt: skip
        return {self.name: {"type": "array", "items": item}}


# --- Crypto sessions ----------------------------------------------------------------------


class CsIdMapField(RecordsField, kind="crypto sessions"):
    """The CS ID map; in an SRTP-ID map the CS ID is the position, counted from 1."""

    def written(self) -> Writer:
        """A list of objects, or null if the header is truncated."""
        return lambda record, show_keys, depth: (
            f'"{self.name}": {_crypto_sessions(record.cs_id_map)}'
        )

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The entries, of the kind that the map type gives."""
        if "cs_id_map" not in described and known.get("cs_id_map_type") is not None:
            return []
        found = super().read(described, known)
        if found is not ABSENT and known.get("cs_id_map_type") == CsIdMapType.SRTP_ID:
            for at, one in enumerate(described[self.name], 1):
                if one.get("cs_id", at) != at:
                    raise disagree(f"cs_id_map[{at - 1}], by its position,", f"CS ID {at}", "cs_id",
                                   short(one["cs_id"]))  # fmt: skip
        return found

    def compose_item(self, described: Json, known: Mapping[str, Any]) -> Any:
        """One crypto session."""
        if known.get("cs_id_map_type") == CsIdMapType.SRTP_ID:
            return self._srtp_id(described)
        if known.get("cs_id_map_type") != CsIdMapType.GENERIC_ID:
            raise UsageError("this type of map has no crypto sessions; give octets in trailing")
        fields = {
            key: described[key] for key in described.keys() & json_record(GenericIdEntry).keys
        }
        data = fields.get("session_data")
        placed = self._placed(described, b"" if data is None else octets_of("session_data", data))
        if data is not None or placed:
            fields["session_data"] = placed.hex()
        if described.get("seq") is not None:
            fields.setdefault("s", True)
        unknown = (
            described.keys() - json_record(GenericIdEntry).keys - SrtpSessionData.fields.keys()
        )
        if unknown:
            raise UsageError(f"{min(unknown)!r} is not a field here")
        return json_record(GenericIdEntry).compose(
            {"cs_id": None, "policies": [], "session_data": "", "spi": "", **fields}
        )

    def _placed(self, described: Json, data: bytes) -> bytes:
        """Put SSRC, ROC and SEQ into their places in the Session Data (RFC 6043 6.1.1)."""
        at = 0
        for name, field in SrtpSessionData.fields.items():
            size = field.grammar.sizeof()
            if described.get(name) is not None:
                number = hex_number(name, described[name], (1 << 8 * size) - 1)
                data = data[:at].ljust(at, b"\0") + number.to_bytes(size) + data[at + size :]
            at += size
        return data

    @staticmethod
    def _srtp_id(described: Json) -> SrtpIdEntry:
        for key in described.keys() - {
            "cs_id",
            "protocol",
            "protocol_value",
            "policies",
            "ssrc",
            "roc",
        }:
            if described[key] is not None:
                raise UsageError(f"{key!r} has no place in an SRTP-ID map")
        if read_name(described, "protocol", ProtType, 0xFF) not in (ABSENT, ProtType.SRTP):
            raise UsageError("the protocol of an SRTP-ID map is SRTP")
        policies = described.get("policies")
        if not isinstance(policies, list) or len(policies) != 1:
            raise UsageError("policies: an SRTP-ID map has one number a crypto session")
        entry: SrtpIdEntry = json_record(SrtpIdEntry).compose(
            {
                "policy_no": policies[0],
                "ssrc": described.get("ssrc"),
                "roc": described.get("roc", 0),
            }
        )
        return entry

    def schema(self) -> Json:
        """A list of objects, or null if the header is truncated."""
        number = {"type": "integer", "minimum": 0}
        maybe = {"type": ["integer", "null"], "minimum": 0}
        properties: Json = {
            "cs_id": number,
            "protocol": name_schema(ProtType),
            "protocol_value": number,
            "policies": {"type": "array", "items": number},
            "s": {"type": "boolean"},
            "ssrc": {"anyOf": [hex_schema(8), {"type": "null"}]},
            "roc": maybe,
            "seq": maybe,
            "session_data": {"anyOf": [HEX, {"type": "null"}]},
            "spi": {"anyOf": [HEX, {"type": "null"}]},
        }
        required = [key for key in properties if key != "s"]
        item = {"type": "object", "properties": properties, "required": required,
                "additionalProperties": False}  # fmt: skip
        return {self.name: {"type": ["array", "null"], "items": item}}


_protocol_text = lru_cache(partial(name_text, "protocol", ProtType))


def _crypto_sessions(entries: list[SrtpIdEntry | GenericIdEntry] | None) -> str:
    if entries is None:
        return "null"
    items = [_crypto_session(entry, at) for at, entry in enumerate(entries, 1)]
    return f"[{', '.join(items)}]"


def _crypto_session(entry: SrtpIdEntry | GenericIdEntry, position: int) -> str:
    """One crypto session of a CS ID map; in an SRTP-ID map its CS ID is its position."""
    if isinstance(entry, SrtpIdEntry):
        return (
            f'{{"cs_id": {position}, "protocol": "SRTP", "protocol_value": 0, '
            f'"policies": [{entry.policy_no}], "ssrc": "{entry.ssrc:#010x}", '
            f'"roc": {entry.roc}, "seq": null, "session_data": null, "spi": null}}'
        )
    ssrc, roc, seq = srtp_session_data(entry) or (None, None, None)
    return (
        f'{{"cs_id": {entry.cs_id}, {_protocol_text(entry.protocol)}, '
        f'"policies": {entry.policies}, "s": {"true" if entry.s else "false"}, '
        f'"ssrc": {_hex_or_null(ssrc)}, "roc": {_number_or_null(roc)}, '
        f'"seq": {_number_or_null(seq)}, '
        f'"session_data": "{entry.session_data.hex()}", "spi": "{entry.spi.hex()}"}}'
    )


_hex_or_null = or_null("null", '"0x%08x"'.__mod__)
_number_or_null = or_null("null", str)
