"""Descriptions of messages, with what keys reveal: the checked MACs and the keys inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mikeytool import decode, describe
from mikeytool.wire.describe import describe_keys, describe_text, masked
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, SIGN
from mikeytool.wire.registry import IdRole

if TYPE_CHECKING:
    from mikeytool.exchange.inspect import Inspection
    from mikeytool.exchange.inspect_history import History
    from mikeytool.exchange.inspect_keys import KeyRing

Json = dict[str, Any]


class Inspector:
    """Opens messages with the keys of a ring and describes them as `decode --json` does.

    Pass the messages of an exchange in order: verifying a response needs the message it answers,
    and verifying an update needs the exchange before it. Without a ring, only signatures are
    inspected, because the certificate is in the message.

    `init` is the initial message that a response answers. `identities` are those that the messages
    omit. Keys are shown as the beginning of their SHA-256 unless `show_keys` is set. `note` is
    called with a sentence about an `init` that does not fit.
    """

    def __init__(
        self,
        ring: KeyRing | None = None,
        init: Message | None = None,
        identities: Mapping[IdRole, Identity] | None = None,
        *,
        show_keys: bool = False,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._ring, self._init, self._identities = ring, init, identities or {}
        self._show_keys, self._note = show_keys, note
        self._history: History | None = None

    def is_plain(self, message: Message) -> bool:
        """Return whether a message contains nothing to open."""
        return self._ring is None and {SIGN, CERT}.isdisjoint(map(type, message.payloads))

    def text(self, message: Message) -> str | None:
        """Return the members of a plain message's JSON object as text.

        This is much faster than `describe`. For any other message it returns None; use `describe`.
        """
        if not self.is_plain(message):
            return None
        return f'{describe_text(message, show_keys=self._show_keys)[1:-1]}, "opened": null'

    def describe(self, message: Message) -> tuple[Json, bool]:
        """Describe a message, and return whether a check failed.

        The description's `inspection` is None if the message is truncated or nothing opens it.
        """
        described = describe(message, show_keys=self._show_keys)
        described["opened"] = None
        is_signed = message.find(SIGN) is not None
        if not message.header.is_whole or (self._ring is None and not is_signed):
            return described, False
        if self._init is not None and self._init.header.csb_id != message.header.csb_id:
            self._note(f"--init is of another exchange, CSB ID {self._init.header.csb_id:#010x}")
        inspection = self._open(message)
        self._add(inspection, described)
        return described, inspection.failed

    def remember(self, data: bytes) -> None:
        """Store the octets of a message that is not described, for messages that answer it."""
        with suppress(MikeyError):
            self._open(decode(data))

    def _open(self, message: Message) -> Inspection:
        # Imported here because most messages come without keys and need no cryptography.
        from mikeytool.exchange.inspect_history import History
        from mikeytool.exchange.inspect_keys import KeyRing

        if self._history is None:
            self._history = History(self._ring or KeyRing(), self._identities)
        return self._history.inspect(message, self._init)

    def _add(self, inspection: Inspection, described: Json) -> None:
        """Add an inspection to a description."""
        key = inspection.envelope_key
        described["opened"] = {
            "mac": inspection.mac,
            "signature": inspection.signature,
            "envelope": inspection.envelope,
            "envelope_key": None if key is None else self._shown(key),
            "ticket": inspection.ticket,
            "initiator_data": inspection.initiator_data,
            "keys": describe_keys(inspection.keys, show_keys=self._show_keys),
            "notes": inspection.notes,
        }
        for offset, keys in inspection.kemacs.items():
            _add_keys(described["payloads"], offset, describe_keys(keys, show_keys=self._show_keys))

    def _shown(self, key: bytes) -> str:
        return key.hex() if self._show_keys else masked(key)


def _add_keys(payloads: Any, offset: int, keys: list[Json]) -> None:
    """Add decrypted keys to the KEMAC at an offset, wherever it is nested."""
    for payload in payloads if isinstance(payloads, list) else ():
        if payload["payload"] == "KEMAC" and payload["offset"] == offset:
            payload["keys"] = keys
        for inside in ("tp_data", "ticket_data"):
            _add_keys(payload.get(inside), offset, keys)
