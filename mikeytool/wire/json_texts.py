"""The JSON of octets that people can read: texts such as identities, and times."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from mikeytool.wire.errors import UsageError
from mikeytool.wire.grammar import Field, Record
from mikeytool.wire.json_field import (
    ABSENT,
    HEX,
    Json,
    JsonField,
    Writer,
    disagree,
    octets_of,
    quoted,
    short,
)
from mikeytool.wire.registry import TsRole, TsType, labels, lengths
from mikeytool.wire.timestamp import Timestamp, unix_utc, utc_of


class TextField(JsonField, kind="text"):
    """Octets that usually are text: the text if they are UTF-8, otherwise hex in `…_hex`."""

    def __init__(self, record: type[Record], name: str, field: Field) -> None:
        super().__init__(record, name, field)
        self.key = name.removesuffix("_data")

    @property
    def keys(self) -> tuple[str, ...]:
        """The text or the hex."""
        return self.key, f"{self.key}_hex"

    def written(self) -> Writer:
        """The key of the text or the key of the hex."""
        name, key = self.name, self.key

        def write(record: Any, show_keys: bool, depth: int) -> str:
            data = getattr(record, name)
            try:
                return f'"{key}": {quoted(data.decode())}'
            except UnicodeDecodeError:
                return f'"{key}_hex": "{data.hex()}"'

        return write

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets; raises UsageError if both keys are present and disagree."""
        text, hexed = described.get(self.key), described.get(f"{self.key}_hex")
        data = ABSENT if hexed is None else octets_of(f"{self.key}_hex", hexed)
        if text is None:
            return data
        try:
            encoded = text.encode()
        except (AttributeError, UnicodeEncodeError):
            raise UsageError(f"{self.key} {short(text)}: give a text") from None
        if data is not ABSENT and data != encoded:
            raise disagree(self.key, short(text), f"{self.key}_hex", short(hexed))
        return encoded

    def schema(self) -> Json:
        """Both keys, of which one is written."""
        return {self.key: {"type": "string"}, f"{self.key}_hex": HEX}

    @property
    def required(self) -> tuple[str, ...]:
        """None, because neither key is always present."""
        return ()


class TimeField(JsonField, kind="time"):
    """A TS value: its octets and, if it is a time, UTC; for TRr also `seconds`."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The value and the seconds."""
        return self.name, "seconds"

    def written(self) -> Writer:
        """One key or two."""
        if "ts_role" in self.record.fields:
            return _role_time_text
        return lambda record, show_keys, depth: (
            f'"ts_value": {_time_text(record.ts_type, record.ts_value)}'
        )

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets, from UTC or seconds if they are left out.

        Raises UsageError if they are present and disagree.
        """
        given = described.get(self.name)
        if not isinstance(given, dict | None) or (given and given.keys() - {"value", "utc"}):
            raise UsageError(f"{self.name} {short(given)}: give an object of value and utc")
        given = given or {}
        value, utc, seconds = given.get("value"), given.get("utc"), described.get("seconds")
        kind = known.get("ts_type", -1)
        found = ABSENT if value is None else octets_of(f"{self.name}.value", value)
        if seconds is not None:
            made = _interval(kind, seconds)
            same = found is not ABSENT and Timestamp(kind, found).interval == seconds
            found = _agreeing(found, made, f"seconds {short(seconds)}", same)
        if utc is not None:
            same = found is not ABSENT and Timestamp(kind, found).utc == utc
            found = _agreeing(found, None if same else _moment(kind, utc), f"utc {utc!r}", same)
        return found

    def schema(self) -> Json:
        """An object, and the seconds."""
        seconds = {"type": "integer", "minimum": 0, "maximum": (1 << 32) - 1}
        return {self.name: _time_schema()} | (
            {"seconds": seconds} if "ts_role" in self.record.fields else {}
        )


class UnixTimeField(JsonField, kind="unix time"):
    """Seconds since 1970: the octets and UTC, which is null for 0 and beyond the year 9999."""

    def written(self) -> Writer:
        """One key."""
        name = self.name

        def write(record: Any, show_keys: bool, depth: int) -> str:
            value = getattr(record, name)
            utc = unix_utc(int.from_bytes(value))
            return (
                f'"{name}": {{"value": "{value.hex()}",'
                f' "utc": {"null" if utc is None else quoted(utc)}}}'
            )

        return write

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets, from UTC if they are left out; raises UsageError if the two disagree."""
        given = described.get(self.name)
        if not isinstance(given, dict | None) or (given and given.keys() - {"value", "utc"}):
            raise UsageError(f"{self.name} {short(given)}: give an object of value and utc")
        value, utc = (given or {}).get("value"), (given or {}).get("utc")
        found = ABSENT if value is None else octets_of(f"{self.name}.value", value)
        if utc is None or (found is not ABSENT and unix_utc(int.from_bytes(found)) == utc):
            return found
        if found is not ABSENT:
            raise disagree(f"utc {utc!r}", "another time", f"{self.name}.value", found.hex())
        seconds = _unix_ns_of(utc) // 1_000_000_000
        if seconds < 0:
            raise UsageError(f"{self.name} {utc!r}: give a time after 1970")
        return seconds.to_bytes(self.grammar.length)

    def schema(self) -> Json:
        """An object."""
        return {self.name: _time_schema()}


def _time_schema() -> Json:
    return {
        "type": "object",
        "properties": {"value": HEX, "utc": {"type": ["string", "null"]}},
        "required": ["value", "utc"],
        "additionalProperties": False,
    }


def _time_text(ts_type: int, value: bytes) -> str:
    utc = utc_of(ts_type, value)
    shown = "null" if utc is None else f'"{utc}"'
    return f'{{"value": "{value.hex()}", "utc": {shown}}}'


_recurring_time_text = lru_cache(maxsize=1024)(_time_text)
"""The times of a ticket stand in every message of its exchanges."""
_REKEY = int(TsRole.REKEY)


def _role_time_text(record: Any, show_keys: bool, depth: int) -> str:
    if record.ts_role == _REKEY:
        seconds = Timestamp(record.ts_type, record.ts_value).interval
        return (
            f'"ts_value": {{"value": "{record.ts_value.hex()}", "utc": null}}, "seconds": {seconds}'
        )
    return f'"ts_value": {_recurring_time_text(record.ts_type, record.ts_value)}'


def _agreeing(found: Any, made: bytes | None, what: str, same: bool) -> Any:
    if found is not ABSENT and not same:
        raise disagree(what, "another time", "ts_value.value", found.hex())
    return made if found is ABSENT else found


def _interval(kind: int, seconds: Any) -> bytes:
    if isinstance(seconds, bool) or not isinstance(seconds, int) or not 0 <= seconds < 1 << 32:
        raise UsageError(f"seconds {short(seconds)}: give a number below 2^32")
    return seconds.to_bytes(4).ljust(lengths(TsType).get(kind, 4), b"\0")


def _moment(kind: int, utc: Any) -> bytes:
    ns = _unix_ns_of(utc)
    if kind not in labels(TsType):
        raise UsageError(f"utc {utc!r}: give the octets in value")
    return Timestamp.at(ns, TsType(kind)).value


def _unix_ns_of(utc: Any) -> int:
    """A time in ISO 8601 as Unix time in nanoseconds; raises UsageError."""
    try:
        moment = datetime.fromisoformat(utc)
    except (TypeError, ValueError):
        raise UsageError(f"utc {short(utc)}: give a time in ISO 8601") from None
    if moment.tzinfo is None:
        raise UsageError(f"utc {utc!r}: give a time zone, or the octets in value")
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
