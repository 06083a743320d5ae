"""Show every octet of a message beside its field, for `decode --hex`.

The positions come from the parsers, and the values are those that `--json` shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

from mikeytool.wire.errors import WireError
from mikeytool.wire.extensions import read_extension
from mikeytool.wire.generate_parser import Spans, parser
from mikeytool.wire.grammar import Record
from mikeytool.wire.header import HDR, GenericIdEntry, SrtpSessionData, srtp_session_data
from mikeytool.wire.json_lists import param_text
from mikeytool.wire.json_nested import MAX_DEPTH
from mikeytool.wire.json_record import json_record
from mikeytool.wire.message import Message, contents
from mikeytool.wire.payloads import SP, GeneralExt, Payload, PolicyParam
from mikeytool.wire.redaction import is_secret, is_unread
from mikeytool.wire.registry import NextPayload, label

Path = tuple[tuple[str, int], ...]
"""The structures that contain some octets, outermost first: their names and start octets."""


class Row(NamedTuple):
    """Some octets, their offset from the start of the message, and a text that explains them.

    `is_secret` says that the octets are a key in the clear, and `is_unread` that they could not be
    read and so may hold one.
    """

    offset: int
    octets: bytes
    text: str
    path: Path
    is_secret: bool = False
    is_unread: bool = False

    @property
    def is_redacted(self) -> bool:
        """Whether the octets are left out of what anyone may see."""
        return self.is_secret or self.is_unread

    def shown(self, start: int, count: int, *, hide: bool) -> str:
        """Some of the octets in hex, or as many masks."""
        some = self.octets[start : start + count]
        return " ".join(["••"] * len(some)) if hide else some.hex(" ")


def dump(message: Message) -> Iterator[Row]:
    """The rows of a message, in order; every octet is in exactly one row."""
    yield from _header_rows(message)
    for payload in message.payloads:
        yield from _payload_rows(message.raw, payload, 0, ())
    if message.trailing:
        at = len(message.raw) - len(message.trailing)
        what = "behind the last payload" if message.error is None else "not read"
        yield Row(at, message.trailing, what, (("trailing octets", at),), is_unread=True)


def _header_rows(message: Message) -> Iterator[Row]:
    spans: Spans = []
    end = len(message.raw) - len(message.trailing)
    if message.payloads:
        end = message.payloads[0].offset
    with suppress(WireError):  # a truncated header has spans up to where it ends
        parser(HDR)(message.raw, 0, end, spans)
    path: Path = ((HDR.label, 0),)
    for sessions, (_, some) in enumerate(groupby(spans, key=lambda span: id(span[3]))):
        fields = list(some)
        if sessions:
            path = (path[0], (f"CS ID map, {sessions}", fields[0][1]))
        else:  # the header record is still incomplete at the positions of its fields
            fields = [(name, start, stop, message.header) for name, start, stop, _ in fields]
        yield from _rows(message.raw, fields, 0, path)


def _payload_rows(data: bytes, payload: Payload, base: int, above: Path) -> Iterator[Row]:
    """The rows of a payload in `data`, which begins at octet `base` of the message."""
    start = payload.offset - base
    spans: Spans = []
    parser(type(payload))(data, start, start + payload.length, spans)
    yield from _rows(data, spans, base, (*above, (payload.label, payload.offset)), payload)


def _rows(
    data: bytes, spans: Spans, base: int, path: Path, payload: Payload | None = None
) -> Iterator[Row]:
    deep = len(path) > 2 * MAX_DEPTH  # payloads, and the fields that hold them
    inside: dict[str, list[Payload]] = {}
    if payload is not None and not deep:  # what cannot be read to its last octet is one row
        inside = {name: held for name, held, fault in contents(payload) if fault is None}
    last, described = None, {}
    for name, start, end, record in spans:
        if record is not last:
            last, described = record, _described(record, payload)
        octets, at = data[start:end], base + start
        held = inside.get(name) if octets else None
        if held is not None:
            yield from _held_rows(octets, at, held, (*path, (record.fields[name].title, at)))
        elif isinstance(record, GenericIdEntry) and name == "session_data":
            yield from _session_data_rows(record, octets, at, path)
        elif isinstance(payload, GeneralExt) and name == "data":
            yield from _extension_rows(payload, octets, at, path)
        else:
            text = _text(name, record, described)
            secret, unread = is_secret(name, record), is_unread(name, record)
            yield Row(at, octets, text, path, secret, unread)


def _held_rows(octets: bytes, at: int, held: list[Payload], path: Path) -> Iterator[Row]:
    first = held[0].offset - at if held else len(octets)
    if first:
        yield Row(at, octets[:first], f"first payload {label(NextPayload, octets[0])}", path)
    for payload in held:
        yield from _payload_rows(octets, payload, at, path)


def _session_data_rows(entry: Any, octets: bytes, at: int, path: Path) -> Iterator[Row]:
    """SSRC, ROC and SEQ, if the Session Data is for SRTP (RFC 6043 6.1.1)."""
    pos = 0
    for (name, field), value in zip(
        SrtpSessionData.fields.items(), srtp_session_data(entry) or (), strict=False
    ):
        if value is not None:
            size = field.grammar.sizeof()
            shown = f"{value:#010x}" if field.show == "hex" else value
            yield Row(at + pos, octets[pos : pos + size], f"{name} {shown}", path)
            pos += size
    if pos < len(octets) or not octets:
        yield Row(at + pos, octets[pos:], "session data", path)


def _extension_rows(payload: GeneralExt, octets: bytes, at: int, path: Path) -> Iterator[Row]:
    spans: Spans = []
    with suppress(WireError):
        read_extension(payload, spans)
    if spans:
        yield from _rows(octets, spans, at, path)
    else:
        yield Row(at, octets, "data", path)


def _described(record: Record, payload: Payload | None) -> dict[str, Any]:
    if isinstance(record, PolicyParam) and isinstance(payload, SP):
        return _param(payload.protocol, record.type, record.length or 0, record.value)
    if isinstance(record, SP):  # its parameters have rows of their own
        record = record.copy(policy_param=[])
    return json_record(type(record)).describe(record)


@lru_cache(maxsize=1024)
def _param(protocol: int, kind: int, length: int, value: bytes) -> dict[str, Any]:
    described: dict[str, Any] = json.loads(param_text(protocol, kind, length, value))
    number = int.from_bytes(value) if value else None
    described["value"] = number if described["meaning"] is None else described["meaning"]
    return described


def _text(names: str, record: Record, described: dict[str, Any]) -> str:
    """A field's name, and its value if that says more than the octets."""
    if ", " not in names:
        return _field_text(names, record, described)
    return ", ".join(_field_text(name, record, described) for name in names.split(", "))


_READABLE = ("text", "time", "unix time")
"""How octets are shown whose value says more than the octets."""


def _field_text(name: str, record: Record, described: dict[str, Any]) -> str:
    shown = name.replace("_", " ")
    key = name.removesuffix("_data") if record.fields[name].show == "text" else name
    value = described.get(key)
    if isinstance(value, dict):
        value = value["utc"] or described.get("seconds")
    octets = isinstance(getattr(record, name, None), bytes)
    if value is None or (octets and key == name and record.fields[name].show not in _READABLE
                         and not isinstance(record, PolicyParam)):  # fmt: skip
        return shown
    if f"{name}_set" in described:
        value = f"{value} {described[f'{name}_set']}"
    return f"{shown} {int(value) if isinstance(value, bool) else value}"
