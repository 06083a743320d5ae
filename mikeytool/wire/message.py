"""Whole messages: the header and the chain of payloads behind it (RFC 3830 5.2, 5.3, 6).

`Message.parse` is for protocol roles and refuses what it cannot read to the last octet;
`Message.read` is for looking at broken messages and gives what comes before the fault.
`chain` reads the payloads that other payloads hold.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import construct

from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.flatten import parser
from mikeytool.wire.header import HDR
from mikeytool.wire.payloads import (
    KEMAC,
    PAYLOADS,
    THDR,
    TICKET,
    TP,
    Chained,
    KeyData,
    Payload,
)
from mikeytool.wire.registry import EncrAlg, NextPayload

P = TypeVar("P", bound=Payload)


@dataclass(slots=True)
class Message:
    """One MIKEY message.

    `raw` are the octets that it was read from, which is what MACs cover; `trailing` are
    those behind the last payload, or behind the fault in `error`.
    """

    header: HDR
    payloads: list[Payload]
    trailing: bytes = field(default=b"", repr=False)
    raw: bytes = field(default=b"", repr=False)
    error: WireError | None = field(default=None, compare=False)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a message to its last octet.

        Raises WireError for anything that cannot be read and for trailing octets.
        """
        message = cls.read(data)
        if message.error is not None:
            raise message.error
        if message.trailing:
            raise WireError(
                f"{len(message.trailing)} octets stand behind the last payload; cut them off",
                offset=len(data) - len(message.trailing),
            )
        return message

    @classmethod
    def read(cls, data: bytes) -> Self:
        """Read as much of a message as can be read; a fault goes to `error`.

        Raises WireError only when not even the header can be read.
        """
        header, pos = parser(HDR)(data, 0, len(data), None)
        payloads: list[Payload] = []
        message = cls(header, payloads, raw=data)
        try:
            for payload in chain(data, header.next_payload, pos, len(data)):
                payloads.append(payload)
                pos = payload.offset + payload.length
        except WireError as error:
            message.error = error
        message.trailing = data[pos:]
        return message

    def build(self) -> bytes:
        """The octets of the message; next payload numbers that are None are made right.

        Raises UsageError when a value does not fit its field.
        """
        header = _linked(self.header, self.payloads)
        return _octets(header) + build_chain(self.payloads) + self.trailing

    def find(self, kind: type[P]) -> P | None:
        """The first payload of a kind, or None."""
        return next((p for p in self.payloads if type(p) is kind), None)

    def all(self, kind: type[P]) -> list[P]:
        """Every payload of a kind, in order."""
        return [p for p in self.payloads if type(p) is kind]


def chain(
    data: bytes, first: int | None, pos: int, end: int, *, base: int = 0
) -> Iterator[Payload]:
    """Read payload by payload from `pos`, the first being of number `first`.

    `base` is what `data` itself is offset in the message. Raises WireError, naming the
    payload and the octet, where a payload breaks off or has a number nobody can read.
    """
    number = first
    while number != NextPayload.LAST:
        kind = PAYLOADS.get(number or 0)
        if kind is None:
            raise WireError(
                f"payload number {number} is not one that can be read; reading stops here",
                offset=base + pos,
            )
        payload, pos = read_payload(kind, data, pos, end, base=base)
        yield payload
        if not isinstance(payload, Chained):  # SIGN has no next payload
            return
        number = payload.next_payload


def read_payload(kind: type[P], data: bytes, pos: int, end: int, *, base: int = 0) -> tuple[P, int]:
    """Read one payload of a kind at `pos`; gives it and the position behind it."""
    try:
        payload, after = parser(kind)(data, pos, end, None)
    except WireError as error:
        at = pos if error.offset is None else error.offset
        raise WireError(error.text, payload=kind.label, offset=base + at) from None
    payload.offset, payload.length = base + pos, after - pos
    return payload, after


def leading_chain(data: bytes, *, base: int = 0) -> Iterator[Payload]:
    """The payloads of TP Data or Initiator Data, which start with a first payload octet.

    Raises WireError as `chain` does, and for octets behind the last payload.
    """
    if not data:
        return
    yield from _whole(data, data[0], 1, base)


def ticket_data(data: bytes, *, base: int = 0) -> Iterator[Payload]:
    """The payloads of the Ticket Data of a MIKEY base ticket, THDR first (RFC 6043 A.1)."""
    thdr, pos = read_payload(THDR, data, 0, len(data), base=base)
    yield thdr
    yield from _whole(data, thdr.next_payload, pos, base)


def key_data(data: bytes, *, base: int = 0) -> Iterator[KeyData]:
    """The key data sub-payloads in the decrypted Encr data of a KEMAC (RFC 3830 6.2)."""
    if not data:
        return
    for payload in _whole(data, NextPayload.KEY_DATA, 0, base):
        if not isinstance(payload, KeyData):
            raise WireError(
                "only key data may stand in a KEMAC", payload=payload.label, offset=payload.offset
            )
        yield payload


def _whole(data: bytes, first: int | None, pos: int, base: int) -> Iterator[Payload]:
    for payload in chain(data, first, pos, len(data), base=base):
        yield payload
        pos = payload.offset + payload.length - base
    if pos < len(data):
        raise WireError(
            f"{len(data) - pos} octets stand behind the last payload in it", offset=base + pos
        )


def nested(payload: Payload) -> dict[str, list[Payload]]:
    """What can be read inside a payload without a key, by the name of its field.

    Reads as far as it can; call a reader of `contents` to learn of a fault.
    """
    found: dict[str, list[Payload]] = {}
    for name, inside in contents(payload):
        items = found[name] = []
        try:
            for item in inside:
                items.append(item)
        except WireError:
            pass
    return found


def contents(payload: Payload) -> Iterator[tuple[str, Iterator[Payload]]]:
    """The fields of a payload that hold payloads, each with what reads them.

    Reading raises WireError where the content cannot be read to its last octet.
    """
    for name, reader in _readers(payload):
        base = payload.offset + getattr(payload, f"{name}_at", 0)
        yield name, reader(getattr(payload, name), base=base)


def _readers(payload: Payload) -> Iterator[tuple[str, Any]]:
    if isinstance(payload, TP):
        yield "tp_data", leading_chain
    if isinstance(payload, TICKET):
        yield "ticket_data", ticket_data
        yield "initiator_data", leading_chain
    if isinstance(payload, KEMAC) and payload.encr_alg == EncrAlg.NULL:
        yield "encr_data", key_data


def build_chain(payloads: Sequence[Payload]) -> bytes:
    """The octets of payloads in a row, each naming the next one where it does not yet."""
    return b"".join(
        _octets(_linked(payload, payloads[at + 1 :])) for at, payload in enumerate(payloads)
    )


def build_leading(payloads: Sequence[Payload]) -> bytes:
    """The octets of TP Data or Initiator Data: a first payload octet, then the payloads."""
    first = payloads[0].number if payloads else NextPayload.LAST
    return bytes([first]) + build_chain(payloads)


def _linked(record: Any, rest: Sequence[Payload]) -> Any:
    """`record`, or a copy of it that names the first of `rest` as the next payload."""
    if not isinstance(record, HDR | Chained) or record.next_payload is not None:
        return record
    return record.copy(next_payload=rest[0].number if rest else NextPayload.LAST.value)


def _octets(record: HDR | Payload) -> bytes:
    try:
        return record.build()
    except (construct.ConstructError, WireError) as error:
        reason = str(error).splitlines()[-1].strip()
        raise UsageError(f"{record.label} cannot be written: {reason}") from None
