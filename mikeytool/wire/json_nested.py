"""The JSON of octet strings that hold payloads, keys or extensions.

The content of an octet string is shown beside the octets. When it is composed again, the content
takes precedence, so editing it is enough: keys that are not masked override `encr_data`, and
`content` overrides the `data` of a General Extension payload.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.generate_builder import build
from mikeytool.wire.json_field import (
    ABSENT,
    HEX,
    MASKED,
    Json,
    JsonField,
    MissingFields,
    Writer,
    octets_of,
    quoted,
    read_name,
)
from mikeytool.wire.json_record import json_record
from mikeytool.wire.message import build_chain, build_leading, content
from mikeytool.wire.payloads import ID, KEMAC, THDR, KeyData, Payload, Raw, payload_kind
from mikeytool.wire.registry import EncrAlg, NextPayload

MAX_DEPTH = 6
"""The depth to which nested payloads are opened; the RFCs need three levels."""

_PLACE = frozenset({"payload", "payload_value", "offset", "length", "certificate"})
"""Keys of a described payload that are not fields; none of them is on the wire."""


# --- Payloads -----------------------------------------------------------------------------


def payloads_text(payloads: Iterable[Payload], show_keys: bool, depth: int = MAX_DEPTH) -> str:
    """Payloads in JSON, without brackets: their places, fields and content."""
    writers = _WRITERS
    texts = [writers[type(one)](one, show_keys, depth) for one in payloads]
    return "}, ".join(texts) + "}" if texts else ""


class _Writers(dict[type[Payload], Writer]):
    """The writers of payloads, by their kinds."""

    def __missing__(self, kind: type[Payload]) -> Writer:
        made = self[kind] = json_record(kind).payload
        return made


_WRITERS = _Writers()


def compose_payloads(items: Any, what: str) -> list[Payload]:
    """The payloads of a list of dictionaries; raises UsageError, which names a place in `what`."""
    if not isinstance(items, list):
        raise UsageError(f"{what}: give a list of payloads")
    made: list[Payload] = []
    missing: list[str] = []
    for at, item in enumerate(items):
        try:
            made.append(_compose_payload(item, f"{what}[{at}]"))
        except MissingFields as error:
            missing.append(str(error))
    if missing:
        raise MissingFields("; ".join(missing))
    return made


def _compose_payload(described: Any, where: str) -> Payload:
    try:
        if not isinstance(described, dict):
            raise UsageError("give an object")
        if "raw" in described:
            return _compose_raw(described)
        kind = kind_of(described)
        where = f"{where} ({kind.label})"
        payload: Payload = json_record(kind).compose(described, _PLACE)
    except UsageError as error:
        raise type(error)(f"{where}: {error}") from None
    return payload


def kind_of(described: Json) -> type[Payload]:
    """The class of a described payload; raises UsageError if there is none."""
    named, numbered = described.get("payload"), described.get("payload_value")
    if (named, numbered) in ((THDR.label, None), (THDR.label, 0), (None, 0)):
        return THDR
    number = read_name(described, "payload", NextPayload, 0xFF)
    if number is ABSENT:
        raise UsageError("payload, the name, is missing")
    kind = payload_kind(number)
    if kind is None:
        raise UsageError(f"payload {number} has no grammar; give its octets as raw")
    return kind


def _compose_raw(described: Json) -> Raw:
    unknown = described.keys() - {"raw", *_PLACE}
    if unknown:
        raise UsageError(f"{min(unknown)!r} has no place beside raw")
    payload = Raw(raw=octets_of("raw", described["raw"]))
    number = read_name(described, "payload", NextPayload, 0xFF)
    payload.number = None if number is ABSENT else number
    return payload


class PayloadsField(JsonField, kind="payloads"):
    """TP Data or Initiator Data: a list of payloads if it can be read, otherwise hex."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The field, and the reason if it could not be read."""
        return self.name, f"{self.name}_error"

    def written(self) -> Writer:
        """One JSON key, or two if the field cannot be read."""
        name = self.name

        def write(payload: Any, show_keys: bool, depth: int) -> str:
            data = getattr(payload, name)
            if not data or depth == 0:
                return f'"{name}": "{data.hex()}"'
            try:
                items = payloads_text(content(payload, name), show_keys, depth - 1)
            except WireError as error:
                return f'"{name}": "{data.hex()}", "{name}_error": {quoted(str(error))}'
            return f'"{name}": [{items}]'

        return write

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets, from hex or from a list of payloads."""
        value = described.get(self.name)
        if value is None:
            return ABSENT
        if isinstance(value, str):
            return octets_of(self.name, value)
        return self.build(compose_payloads(value, self.name))

    def build(self, payloads: Sequence[Payload]) -> bytes:
        """The octets of these payloads."""
        return build_leading(payloads)

    def schema(self) -> Json:
        """Hex or a list of payloads."""
        items = {"type": "array", "items": {"$ref": "#/$defs/payload"}}
        return {self.name: {"anyOf": [HEX, items]}, f"{self.name}_error": {"type": "string"}}

    @property
    def required(self) -> tuple[str, ...]:
        """The field."""
        return (self.name,)


class TicketDataField(PayloadsField, kind="ticket data"):
    """Ticket Data of a base ticket, which starts directly with THDR (interpretation 7).

    Ticket Data of other ticket types, including the 3GPP base ticket, is read as that of a base
    ticket if this works to the last octet, and is hex otherwise (interpretation 39).
    """

    def build(self, payloads: Sequence[Payload]) -> bytes:
        """The octets of these payloads."""
        return build_chain(payloads)


# --- Keys ---------------------------------------------------------------------------------

_NULL = int(EncrAlg.NULL)


def describe_keys(keys: Iterable[KeyData], *, show_keys: bool) -> list[Json]:
    """Key data sub-payloads, masked unless `show_keys`."""
    described: list[Json] = json.loads(f"[{_keys_text(keys, show_keys)}]")
    return described


def _keys_text(keys: Iterable[KeyData], show_keys: bool) -> str:
    write = json_record(KeyData).members
    return ", ".join([f"{{{write(key, show_keys, 0)}}}" for key in keys])


def full_keys(keys: Any) -> list[Payload] | None:
    """The key data sub-payloads that `keys` describes; None if there are none or one is masked.

    Raises UsageError.
    """
    if not isinstance(keys, list):
        return None
    hidden = (key.get(name) for key in keys if isinstance(key, dict) for name in ("key", "salt"))
    if any(isinstance(secret, str) and secret.startswith(MASKED) for secret in hidden):
        return None
    found: list[Payload] = []
    for at, key in enumerate(keys):
        try:
            if not isinstance(key, dict):
                raise UsageError("give an object")
            found.append(json_record(KeyData).compose(key))
        except UsageError as error:
            raise UsageError(f"keys[{at}]: {error}") from None
    return found


def agrees(given: Any, *known: Any) -> bool:
    """Whether what is given is known, masked or in full; a part of an object may be left out."""
    if isinstance(given, dict) and all(isinstance(one, dict) for one in known):
        return all(
            value is None or agrees(value, *(one.get(name) for one in known))
            for name, value in given.items()
        )
    if isinstance(given, list) and all(isinstance(one, list) for one in known):
        return all(map(agrees, given, *known)) and {len(given)} == {len(one) for one in known}
    return given in known


class KeyDataField(JsonField, kind="key data"):
    """Encr data of a KEMAC, with the keys beside it if it is not encrypted.

    `keys_id` is the IDi before the keys (RFC 3830 3.2). If the keys cannot be read to the last
    octet, those before the fault are shown, `keys_error` says why, and the octets take
    precedence.
    """

    @property
    def keys(self) -> tuple[str, ...]:
        """The octets, the keys, the IDi before them, and the reason if they could not be read."""
        return self.name, "keys", "keys_id", "keys_error"

    def written(self) -> Writer:
        """One JSON key, or more if the KEMAC is not encrypted."""
        return self._text

    @staticmethod
    def _text(kemac: Any, show_keys: bool, depth: int) -> str:
        octets = f'"encr_data": "{kemac.encr_data.hex()}"'
        if kemac.encr_alg != _NULL:
            return octets
        keys: list[Any] = []
        beside = ""
        try:
            content(kemac, "encr_data", keys)
        except WireError as error:
            beside = f', "keys_error": {quoted(str(error))}'
        if keys and isinstance(keys[0], ID):
            beside = f', "keys_id": {json_record(ID).text(keys.pop(0))}'
        return f'{octets}, "keys": [{_keys_text(keys, show_keys)}]{beside}'

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets; in an unencrypted KEMAC they come from the keys, if none is masked."""
        data, keys = described.get(self.name), described.get("keys")
        if known.get("encr_alg") == EncrAlg.NULL and described.get("keys_error") is None:
            inside = full_keys(keys)
            if inside is not None:
                return build_chain([*self._named(described.get("keys_id")), *inside])
        if data is not None:
            octets = octets_of(self.name, data)
            if known.get("encr_alg") == EncrAlg.NULL:
                self._check_kept(octets, described)
            return octets
        if keys is not None:
            raise UsageError(f"{self.name} is missing, and the keys are masked or to be encrypted")
        return ABSENT

    def _check_kept(self, octets: bytes, described: Json) -> None:
        """Raise UsageError for keys that say otherwise than the octets, which go before them."""
        kemac = KEMAC(encr_alg=_NULL, encr_data=octets, mac_alg=0, mac=b"")
        shown = [json.loads(f"{{{self._text(kemac, show, 0)}}}") for show in (False, True)]
        for name in ("keys", "keys_id"):
            given = described.get(name)
            if given is not None and not agrees(given, *(one.get(name) for one in shown)):
                raise UsageError(
                    f"{name} and encr_data differ, and encr_data goes before keys that are masked"
                    " or cannot be read; edit the output of decode --show-keys, or encr_data"
                )

    @staticmethod
    def _named(described: Any) -> Iterator[ID]:
        if described is None:
            return
        try:
            if not isinstance(described, dict):
                raise UsageError("give an object")
            named: ID = json_record(ID).compose(described)
            yield named
        except UsageError as error:
            raise UsageError(f"keys_id: {error}") from None

    def schema(self) -> Json:
        """Hex, a list of keys, and the IDi before them."""
        keys = {"type": ["array", "null"], "items": {"$ref": "#/$defs/key"}}
        error = {"type": "string"}
        return {
            self.name: HEX,
            "keys": keys,
            "keys_id": json_record(ID).schema(),
            "keys_error": error,
        }

    @property
    def required(self) -> tuple[str, ...]:
        """The octets."""
        return (self.name,)


# --- General Extension --------------------------------------------------------------------


class ExtensionField(JsonField, kind="extension"):
    """Data of a General Extension payload, with its `content` if it has a grammar."""

    @property
    def keys(self) -> tuple[str, ...]:
        """The octets, the content, and the reason if it could not be read."""
        return *self.required, "content_error"

    def written(self) -> Writer:
        """Two JSON keys, or three if the content cannot be read."""
        return lambda payload, show_keys, depth: (
            f'"{self.name}": "{payload.data.hex()}", "content": {self._content(payload)}'
        )

    @staticmethod
    def _content(payload: Any) -> str:
        from mikeytool.wire.extensions import read_extension  # most messages do not need it

        try:
            record = read_extension(payload)
        except WireError as error:
            return f'null, "content_error": {quoted(str(error))}'
        return "null" if record is None else json_record(type(record)).text(record)

    def read(self, described: Json, known: Mapping[str, Any]) -> Any:
        """The octets of the content, or the given octets."""
        from mikeytool.wire.extensions import EXTENSIONS

        content, kinds = described.get("content"), EXTENSIONS.get(known.get("type", -1), ())
        if content is None:
            data = described.get(self.name)
            return ABSENT if data is None else octets_of(self.name, data)
        if not kinds or not isinstance(content, dict):
            raise UsageError("content: this type has none; give the octets in data")
        # A type with several kinds of content has the one that knows these keys.
        kind = next((one for one in kinds if content.keys() <= json_record(one).keys), kinds[0])
        return build(json_record(kind).compose(content), int(NextPayload.LAST))

    def schema(self) -> Json:
        """Hex, and the content as one of the records that have a grammar."""
        from mikeytool.wire.extensions import EXTENSIONS

        known = [json_record(kind).schema() for kinds in EXTENSIONS.values() for kind in kinds]
        content = {"anyOf": [*known, {"type": "null"}]}
        return {self.name: HEX, "content": content, "content_error": {"type": "string"}}

    @property
    def required(self) -> tuple[str, ...]:
        """The octets and the content."""
        return self.name, "content"
