"""Encode messages from their descriptions, and recompute what keys cover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from mikeytool.wire.describe import compose, full_keys
from mikeytool.wire.errors import UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.json_nested import agrees, describe_keys
from mikeytool.wire.message import Message, build_chain, contents
from mikeytool.wire.payloads import KEMAC, Payload
from mikeytool.wire.registry import EncrAlg, IdRole

if TYPE_CHECKING:
    from mikeytool.exchange.inspect_history import Earlier
    from mikeytool.exchange.inspect_keys import KeyRing

Json = dict[str, Any]


@dataclass(slots=True)
class Encoded:
    """The octets of a message, and a description for people of what was recomputed.

    `written` names the recomputed parts. It is None if there were no keys, and empty if the keys
    cover nothing in the message.
    """

    message: bytes
    written: list[str] | None = None
    notes: list[str] = field(default_factory=list)


class Resealer:
    """Encodes messages, and recomputes what the keys of a ring cover in each.

    MACs, signatures and tickets that a key covers are corrected. A KEMAC whose description has full
    keys is encrypted from them. Pass the messages of an exchange in order, as for an `Inspector`;
    `init` and `identities` are the same as there. Without a ring, the octets are exactly those of
    the description.
    """

    def __init__(
        self,
        ring: KeyRing | None = None,
        init: Message | None = None,
        identities: Mapping[IdRole, Identity] | None = None,
    ) -> None:
        self._ring, self._init, self._identities = ring, init, identities or {}
        self._earlier: Earlier | None = None

    def encode(self, described: Json) -> Encoded:
        """Encode the message of a description, as `decode --json` prints it.

        Raises UsageError for values that no message can have, WireError if the input is not a
        description.
        """
        if described.keys() == {"error"}:
            raise WireError(f"this was no message before: {str(described['error'])[:200]}")
        message = compose(described if self._ring is None else _with_room(described))
        if self._ring is None or not message.header.is_whole:
            notes = ["without keys, an encrypted KEMAC keeps its encr_data"]
            return Encoded(message.build(), notes=notes if _has_opened(described) else [])
        return self._sealed(message, described, self._ring)

    def _sealed(self, message: Message, described: Json, ring: KeyRing) -> Encoded:
        # Imported here because most messages are written without keys.
        from mikeytool.exchange.inspect_history import Earlier
        from mikeytool.exchange.sealing import seal_message

        self._earlier = self._earlier or Earlier()
        composed, message = message, _readable(message)
        wanted = list(_new_keys(message.payloads, described.get("payloads")))
        sealed = seal_message(
            message,
            ring,
            self._init,
            self._identities,
            self._earlier.of(message),
            keys={one.offset: one.keys for one in wanted},
        )
        for one in wanted:
            if one.offset in sealed.kemacs:
                continue
            if one.is_bare:
                raise UsageError(
                    f"KEMAC at octet {one.offset}: encr_data is missing, and none of the keys"
                    " given encrypts the keys in it"
                )
        for kept in _kept_keys(message.payloads, described.get("payloads"), sealed.kemacs):
            sealed.notes += self._check_kept(message, *kept)
        with suppress(WireError):
            is_read = message is not composed
            self._earlier.add(sealed.message if is_read else Message.parse(sealed.message.raw))
        return Encoded(sealed.message.raw, sealed.written, sealed.notes)

    def _check_kept(self, message: Message, offset: int, keys: Any) -> list[str]:
        """Raise UsageError for keys that were edited beside Encr data which stays as it is."""
        from mikeytool.exchange.inspect_history import History
        from mikeytool.exchange.inspect_keys import KeyRing

        inspected = History(self._ring or KeyRing(), self._identities).inspect(message, self._init)
        found = inspected.kemacs.get(offset)
        if found is None:
            return [f"KEMAC at octet {offset}: encr_data stays, without the keys beside it"]
        if not agrees(keys, *(describe_keys(found, show_keys=shows) for shows in (False, True))):
            raise UsageError(
                f"KEMAC at octet {offset}: keys are edited, but one is masked, so encr_data would"
                " stay; edit the output of decode --show-keys"
            )
        return []


def _readable(message: Message) -> Message:
    """Return a message as it will be read, or as composed if it is too broken to be read."""
    with suppress(WireError):
        read = Message.parse(message.build())
        if len(read.payloads) == len(message.payloads):
            return read
    message.place()
    return message


def _with_room(described: Json, depth: int = 2) -> Json:
    """Copy a description, and add zeros to encrypt to each KEMAC that has only keys."""
    made = dict(described)
    keys = full_keys(made.get("keys")) if made.get("payload") == "KEMAC" else None
    if keys is not None and made.get("encr_data") is None:
        made["encr_data"] = bytes(len(build_chain(keys))).hex()
    for name in ("payloads", "ticket_data"):
        if depth and isinstance(made.get(name), list):
            made[name] = [
                _with_room(one, depth - 1) if isinstance(one, dict) else one for one in made[name]
            ]
    return made


class _Wanted(NamedTuple):
    """The intended content of an encrypted KEMAC; `is_bare` if there is no Encr data to keep."""

    offset: int
    keys: list[Payload]
    is_bare: bool


def _new_keys(payloads: list[Payload], described: Any) -> Iterator[_Wanted]:
    """Find the encrypted KEMACs whose description has full keys."""
    for payload, beside in zip(payloads, described or (), strict=False):
        if isinstance(payload, KEMAC) and payload.encr_alg != EncrAlg.NULL:
            keys = full_keys(beside.get("keys"))
            if keys is not None:
                yield _Wanted(payload.offset, keys, beside.get("encr_data") is None)
        for inside, of_them in _inside(payload, beside):
            yield from _new_keys(inside, of_them)


def _inside(payload: Payload, beside: Json) -> Iterator[tuple[list[Payload], list[Any]]]:
    """Find the payloads in a payload that are described, with their descriptions."""
    for name, inside, fault in contents(payload):
        if isinstance(beside.get(name), list):
            if fault is not None:
                raise fault
            yield inside, beside[name]


def _has_opened(described: Json) -> bool:
    """Whether an encrypted KEMAC has keys beside its Encr data, in Ticket Data too."""
    if described.get("payload") == "KEMAC":
        return bool(described.get("keys")) and described.get("encr_alg") != "NULL"
    inside = described.get("payloads") or described.get("ticket_data")
    every = inside if isinstance(inside, list) else []
    return any(_has_opened(one) for one in every if isinstance(one, dict))


def _kept_keys(
    payloads: list[Payload], described: Any, written: set[int]
) -> Iterator[tuple[int, Any]]:
    """Find the encrypted KEMACs that keep their Encr data, with the keys described beside it."""
    for payload, beside in zip(payloads, described or (), strict=False):
        encrypted = isinstance(payload, KEMAC) and payload.encr_alg != EncrAlg.NULL
        if encrypted and beside.get("keys") and payload.offset not in written:
            yield payload.offset, beside["keys"]
        for inside, of_them in _inside(payload, beside):
            yield from _kept_keys(inside, of_them, written)
