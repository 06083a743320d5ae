"""Convert messages to plain dictionaries and back: what `--json` prints and `encode` takes.

The names are those of the grammar, which come from the RFCs; `json_field` defines the values.
Payloads inside payloads are lists if they can be read to the last octet, and hex otherwise.
`compose(describe(message)).build()` gives the same octets, even for a broken message.
"""

from __future__ import annotations

import json

from mikeytool.wire import json_lists  # noqa: F401 - importing it registers its kinds of fields
from mikeytool.wire.errors import UsageError
from mikeytool.wire.header import HDR
from mikeytool.wire.json_field import HEX, Json, MissingFields, masked, name_text, octets_of, quoted
from mikeytool.wire.json_nested import (
    compose_payloads,
    describe_keys,
    full_keys,
    kind_of,
    payloads_text,
)
from mikeytool.wire.json_record import json_record
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, THDR, KeyData, Payload, payload_kind
from mikeytool.wire.registry import DataType, NextPayload, labels

__all__ = [
    "compose",
    "describe",
    "describe_keys",
    "describe_text",
    "full_keys",
    "kind_of",
    "masked",
    "schema",
]

BESIDE = frozenset({
    "opened", "error", "frame", "time", "source", "destination", "transport", "protocol",
    "method", "status", "call_id", "level", "key_purpose", "key_purpose_value",
})  # fmt: skip
"""Keys of a described message that are not fields: its transport, its checks, what it is for."""

_REST = frozenset({"payloads", "trailing"})


def describe_text(message: Message, *, show_keys: bool = False, beside: str = "") -> str:
    """A message as a JSON object, in one line of text.

    Keys in the clear are masked unless `show_keys`. `beside` is the text of members to write
    after those of the message. A message made by hand is built and read first, so that its payloads
    have offsets and lengths.
    """
    if not message.raw:
        message = Message.read(message.build())
    payloads = payloads_text(message.payloads, show_keys)
    trailing = f'"{message.trailing.hex()}"' if message.trailing else "null"
    error = "" if message.error is None else f', "error": {quoted(str(message.error))}'
    head = json_record(HDR).members(message.header, show_keys, 0)
    purpose = _purpose_text(message) if message.header.data_type == _SAKKE_MSG else ""
    more = f", {beside}" if beside else ""
    return f'{{{head}{purpose}, "payloads": [{payloads}], "trailing": {trailing}{error}{more}}}'


_SAKKE_MSG = int(DataType.SAKKE_MSG)


def _purpose_text(message: Message) -> str:
    """What the key in a mission-critical message is for, which its CSB ID says."""
    from mikeytool.wire.mission_critical import key_purpose  # other messages do not need it
    from mikeytool.wire.registry_extensions import KeyPurpose

    purpose = key_purpose(message)
    return "" if purpose is None else f", {name_text('key_purpose', KeyPurpose, purpose)}"


def describe(message: Message, *, show_keys: bool = False) -> Json:
    """The same content as a dictionary."""
    described: Json = json.loads(describe_text(message, show_keys=show_keys))
    return described


def compose(described: Json) -> Message:
    """The message that a dictionary describes.

    Lengths, counts, next payload numbers and names may be left out and are then filled in
    when the message is built. Those that are given are written unchanged. A payload may be
    `{"raw": hex}`. Raises UsageError, which names the place, for an invalid value.
    """
    missing: list[str] = []
    header: HDR | None = None
    payloads: list[Payload] | None = None
    try:
        header = json_record(HDR).compose(described, BESIDE | _REST)
    except MissingFields as error:
        missing.append(f"header: {error}")
    except UsageError as error:
        raise UsageError(f"header: {error}") from None
    try:
        payloads = compose_payloads(described.get("payloads") or [], "payloads")
    except MissingFields as error:
        missing.append(str(error))
    except RecursionError:
        raise UsageError("payloads are nested in payloads too deep to be written") from None
    if header is None or payloads is None:
        raise MissingFields("; ".join(missing))
    trailing = described.get("trailing")
    return Message(header, payloads, b"" if trailing is None else octets_of("trailing", trailing))


def schema() -> Json:
    """The JSON Schema (2020-12) of a described message, made from the grammar."""
    message = json_record(HDR).schema()
    message["properties"] |= {
        "payloads": {"type": "array", "items": {"$ref": "#/$defs/payload"}},
        "trailing": {"anyOf": [HEX, {"type": "null"}]},
        "error": {"type": "string"},
        "opened": {"type": ["object", "null"]},
        "key_purpose": {"type": "string"},
        "key_purpose_value": {"type": "integer"},
    }
    message["required"] = [*message["required"], "payloads", "trailing"]
    message["additionalProperties"] = True  # such as where a message came from
    found = map(payload_kind, labels(NextPayload))
    kinds: list[type[Payload]] = [THDR, *(kind for kind in found if kind is not None)]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "urn:mikeytool:schema:decode:1",
        "version": 1,
        "title": "A MIKEY message as mikeytool decode --json prints it",
        "anyOf": [{"$ref": "#/$defs/message"}, {"$ref": "#/$defs/failure"}],
        "$defs": {
            "message": message,
            "failure": {
                "description": "In place of an input that is not a message.",
                "type": "object",
                "properties": {"error": {"type": "string"}},
                "required": ["error"],
                "not": {"required": ["payloads"]},
            },
            "payload": {"anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in kinds]},
            **{kind.__name__: _payload_schema(kind) for kind in kinds},
            "key": json_record(KeyData).schema(),
        },
    }


_TEXT: Json = {"type": "string"}
_CERTIFICATE: Json = {
    "description": "The facts of a certificate, its URL, or why it cannot be read.",
    "type": "object",
    "properties": {
        **dict.fromkeys(
            ("subject", "issuer", "valid_from", "valid_to", "key", "sha256", "url", "error"), _TEXT
        ),
        "san": {"type": "array", "items": _TEXT},
    },
    "additionalProperties": False,
}


def _payload_schema(kind: type[Payload]) -> Json:
    described = json_record(kind).schema()
    number = {"type": "integer", "minimum": 0}
    place: Json = {
        "payload": {"const": kind.label},
        "payload_value": {"const": kind.number},
        "offset": number,
        "length": number,
    }
    described["properties"] = place | described["properties"]
    if kind is CERT:
        described["properties"]["certificate"] = _CERTIFICATE
    described["required"] = [*place, *described["required"]]
    described["description"] = (kind.__doc__ or "").splitlines()[0]
    return described
