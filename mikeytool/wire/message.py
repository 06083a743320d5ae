"""Whole messages: a header and a chain of payloads (RFC 3830 5.2, 5.3, 6).

`Message.parse` is for protocol roles and refuses a message that it cannot read to the last
octet. `Message.read` is for inspecting broken messages and returns the part before the fault.
`chain` reads the payloads inside other payloads.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any, Self, TypeVar

import construct

from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.generate_builder import build
from mikeytool.wire.generate_parser import Parser, parser
from mikeytool.wire.header import HDR, broken_header
from mikeytool.wire.payloads import (
    ID,
    THDR,
    Chained,
    KeyData,
    Payload,
    payload_kind,
)
from mikeytool.wire.printable import standing
from mikeytool.wire.registry import EncrAlg, NextPayload

P = TypeVar("P", bound=Payload)

MAX_MESSAGE = 1 << 20
"""The most octets that a message may have; a longer one is not read."""
MAX_PAYLOADS = 1024
"""The most payloads that are read in a message, and in each payload that contains others."""


@dataclass(slots=True)
class Message:
    """One MIKEY message.

    `raw` has the octets that the message was read from, which MACs cover. `trailing` has the
    octets after the last payload, or after the fault in `error`.
    """

    header: HDR
    payloads: list[Payload]
    trailing: bytes = field(default=b"", repr=False)
    raw: bytes = field(default=b"", repr=False)
    error: WireError | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a message to its last octet.

        Raises WireError if part of the message cannot be read or octets follow it.
        """
        message = cls.read(data)
        message.check_whole()
        return message

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read as much of a message as can be read; a fault goes to `error`.

        In a truncated header, the fields after the fault are None, and `error.partial`
        is the message itself. Raises WireError if there are no octets, or more than MAX_MESSAGE.
        """
        if len(data) > MAX_MESSAGE:
            raise WireError(
                f"a message of {len(data)} octets; more than {MAX_MESSAGE} octets are not read"
            )
        try:
            header, pos = parser(HDR)(data, 0, len(data))
        except WireError as error:
            if not data:
                raise
            broken, pos = broken_header(data)
            message = cls(broken, [], trailing=data[pos:], raw=data, error=error)
            error.partial = message
            return message
        payloads: list[Payload] = []
        message = cls(header, payloads, raw=data)
        try:
            chain(data, header.next_payload, pos, len(data), payloads)
        except WireError as error:
            message.error = error
        if payloads:
            pos = payloads[-1].offset + payloads[-1].length
        message.trailing = data[pos:]
        return message

    def check_whole(self) -> None:
        """Raise WireError for a message that could not be read to its last octet."""
        if self.error is not None:
            raise self.error
        if self.trailing:
            raise WireError(
                f"{standing(len(self.trailing))} behind the last payload; cut them off",
                offset=len(self.raw) - len(self.trailing),
            )

    def build(self) -> bytes:
        """The octets of the message; next payload numbers that are None are filled in.

        Raises UsageError for a value that does not fit its field.
        """
        return b"".join(_built([self.header, *self.payloads])) + self.trailing

    def place(self) -> None:
        """Build the message into `raw`, and give each payload its offset and length there."""
        header, *built = _built([self.header, *self.payloads])
        pos = len(header)
        for payload, octets in zip(self.payloads, built, strict=True):
            payload.offset, payload.length = pos, len(octets)
            pos += len(octets)
        self.raw = b"".join((header, *built)) + self.trailing

    def find(self, kind: type[P]) -> P | None:
        """The first payload of a kind, or None."""
        return next((p for p in self.payloads if type(p) is kind), None)

    def all(self, kind: type[P]) -> list[P]:
        """Every payload of a kind, in order."""
        return [p for p in self.payloads if type(p) is kind]


def message_end(data: bytes, at: int = 0) -> int:
    """The end of the message that begins at an octet; raises WireError if it is truncated."""
    header, pos = parser(HDR)(data, at, len(data))
    payloads = chain(data, header.next_payload, pos, len(data))
    return payloads[-1].offset + payloads[-1].length if payloads else pos


def chain(
    data: bytes,
    first: int | None,
    pos: int,
    end: int,
    found: list[Payload] | None = None,
    *,
    base: int = 0,
    whole: bool = False,
) -> list[Payload]:
    """Read payload by payload from `pos`; the first has the number `first`.

    They are added to `found`, in which those before a fault stay. `base` is the offset of `data`
    itself in the message. Raises WireError, which names the payload and the octet, if a payload is
    truncated or has an unknown number, because the next payload cannot be found then
    (interpretation 33). With `whole`, it also raises WireError if the last payload does not end
    at `end`.
    """
    found = [] if found is None else found
    most = len(found) + MAX_PAYLOADS
    number = first
    while number:
        if len(found) == most:
            raise WireError(
                f"more than {MAX_PAYLOADS} payloads in a row; reading stops here", offset=base + pos
            )
        kind, parse, chained = _READERS.get(number) or _reader(number, base + pos)
        try:
            payload, after = parse(data, pos, end)
        except WireError as error:
            raise _placed(error, kind, base, pos) from None
        payload.offset, payload.length = base + pos, after - pos
        found.append(payload)
        pos = after
        number = payload.next_payload if chained else 0  # SIGN, which is always last
    if whole and pos < end:
        raise WireError(f"{standing(end - pos)} behind the last payload in it", offset=base + pos)
    return found


_READERS: dict[int, tuple[type[Payload], Parser, bool]] = {}


def _reader(number: int, at: int) -> tuple[type[Payload], Parser, bool]:
    """The function that reads payloads of a number; raises WireError for an unknown number."""
    kind = payload_kind(number)
    if kind is None:
        raise WireError(
            f"payload number {number} is not one that can be read; reading stops here", offset=at
        )
    made = _READERS[number] = kind, parser(kind), issubclass(kind, Chained)
    return made


def _placed(error: WireError, kind: type[Payload], base: int, pos: int) -> WireError:
    """A parser's error, with its place in the whole message."""
    at = pos if error.offset is None else error.offset
    return WireError(error.text, payload=kind.label, offset=base + at)


def read_payload(kind: type[P], data: bytes, pos: int, end: int, *, base: int = 0) -> tuple[P, int]:
    """Read one payload of a kind at `pos`; returns it and the position after it."""
    try:
        payload, after = parser(kind)(data, pos, end)
    except WireError as error:
        raise _placed(error, kind, base, pos) from None
    payload.offset, payload.length = base + pos, after - pos
    return payload, after


Found = list[Payload] | None
"""To what a reader adds the payloads that it finds. Those before a fault stay in it."""


def leading_chain(data: bytes, found: Found = None, *, base: int = 0) -> list[Payload]:
    """The payloads of TP Data or Initiator Data, which start with a first payload octet.

    Raises WireError as `chain` does, and if octets follow the last payload.
    """
    return chain(data, data[0], 1, len(data), found, base=base, whole=True) if data else []


def ticket_data(data: bytes, found: Found = None, *, base: int = 0) -> list[Payload]:
    """The payloads of the Ticket Data of a MIKEY base ticket, THDR first (RFC 6043 A.1)."""
    thdr, pos = read_payload(THDR, data, 0, len(data), base=base)
    found = [] if found is None else found
    found.append(thdr)
    return chain(data, thdr.next_payload, pos, len(data), found, base=base, whole=True)


def key_data(data: bytes, *, base: int = 0) -> list[KeyData]:
    """The key data sub-payloads in the decrypted Encr data of a KEMAC (RFC 3830 6.2)."""
    keys: list[KeyData] = []
    _key_data(data, 0, keys, base=base)
    return keys


def _key_data(data: bytes, pos: int, found: list[Any], *, base: int) -> None:
    """Add key data sub-payloads to `found`; those before a fault stay in it."""
    if pos == len(data):
        return
    at = len(found)
    try:
        chain(data, NextPayload.KEY_DATA, pos, len(data), found, base=base, whole=True)
    finally:
        for position in range(at, len(found)):
            if type(other := found[position]) is not KeyData:
                del found[position:]
                raise WireError(
                    "only key data may stand in a KEMAC", payload=other.label, offset=other.offset
                ) from None


def kemac_data(data: bytes, found: Found = None, *, base: int = 0) -> list[Payload]:
    """The key data sub-payloads after the IDi that precedes them in the public-key methods.

    The message does not say whether there is an IDi (RFC 3830 3.2, RFC 4738 3.1). One is assumed
    if the octets can be read as an ID followed by key data, but not as key data alone.
    """
    found = [] if found is None else found
    try:
        _key_data(data, 0, found, base=base)
    except WireError:
        with suppress(WireError):
            first, pos = read_payload(ID, data, 0, len(data), base=base)
            if first.next_payload == NextPayload.KEY_DATA:
                named: list[Payload] = [first]
                _key_data(data, pos, named, base=base)
                found[:] = named
                return found
        raise
    return found


def nested(payload: Payload) -> dict[str, list[Payload]]:
    """The payloads inside a payload that can be read without a key, by the name of the field.

    Reading stops at a fault without an error; `content` raises it.
    """
    return {name: inside for name, inside, _ in contents(payload)}


def contents(payload: Payload) -> Iterator[tuple[str, list[Payload], WireError | None]]:
    """The fields of a payload that contain payloads, with those up to the fault, and the fault."""
    for name in _holders(type(payload)):
        if name != "encr_data" or payload.encr_alg == EncrAlg.NULL:  # type: ignore[attr-defined]
            found: list[Payload] = []
            fault = None
            try:
                content(payload, name, found)
            except WireError as error:
                fault = error
            yield name, found, fault


def content(payload: Payload, name: str, found: Found = None) -> list[Payload]:
    """The payloads in one field of a payload.

    Raises WireError if the field cannot be read to its last octet.
    """
    read, place = _holders(type(payload))[name]
    inside: list[Payload] = read(
        getattr(payload, name), found, base=payload.offset + getattr(payload, place, 0)
    )
    return inside


_CONTENTS = {"payloads": leading_chain, "ticket data": ticket_data, "key data": kemac_data}


_HOLDERS: dict[type[Payload], dict[str, tuple[Any, str]]] = {}


def _holders(kind: type[Payload]) -> dict[str, tuple[Any, str]]:
    """The fields of a payload that contain payloads: their reader and the name of their place."""
    made = _HOLDERS.get(kind)
    if made is None:
        made = _HOLDERS[kind] = {
            name: (_CONTENTS[field.holds], f"{name}_at")
            for name, field in kind.fields.items()
            if field.holds in _CONTENTS
        }
    return made


def build_chain(payloads: Sequence[Payload]) -> bytes:
    """The octets of a chain of payloads; next payload numbers that are None are filled in."""
    return b"".join(_built(payloads))


def build_leading(payloads: Sequence[Payload]) -> bytes:
    """The octets of TP Data or Initiator Data: a first payload octet, then the payloads."""
    return bytes([_number_of(payloads[0] if payloads else None)]) + build_chain(payloads)


def _built(records: Sequence[Any]) -> list[bytes]:
    """The octets of each record; only the first record may be a header.

    Next payload numbers that are None are filled in.
    """
    made = []
    for record, after in zip_longest(records, records[1:]):
        linked = isinstance(record, Chained) or (isinstance(record, HDR) and record.is_whole)
        following = _number_of(after) if linked and record.next_payload is None else None
        try:
            made.append(build(record, following))
        except (construct.ConstructError, WireError) as error:
            reason = str(error).splitlines()[-1].strip()
            raise UsageError(f"{record.label} cannot be written: {reason}") from None
    return made


_LAST = int(NextPayload.LAST)


def _number_of(payload: Payload | None) -> int:
    if payload is None:
        return _LAST
    number = payload.number
    if number is None:
        raise UsageError(
            "the payload number of raw octets is not known; give next_payload in the payload"
            " before them, or payload_value beside raw"
        )
    return number
