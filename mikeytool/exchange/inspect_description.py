"""Descriptions of messages, with what keys reveal: the checked MACs and the keys inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from mikeytool import decode, describe
from mikeytool.wire.describe import describe_keys, describe_text, masked
from mikeytool.wire.errors import MikeyError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, SIGN
from mikeytool.wire.redaction import holds_keys, might_hold_keys, redact
from mikeytool.wire.registry import IdRole

if TYPE_CHECKING:
    from mikeytool.exchange.inspect import Inspection
    from mikeytool.exchange.inspect_history import History
    from mikeytool.exchange.inspect_keys import KeyRing

Json = dict[str, Any]


_TO_OPEN = frozenset({SIGN, CERT})
"""Payloads that are inspected without keys."""


class Inspected(NamedTuple):
    """What is known of a message; `error` says why it cannot be read to its end."""

    message: Message | None
    described: Json
    failed: bool
    error: MikeyError | None


class Inspector:
    """Opens messages with the keys of a ring and describes them as `decode --json` does.

    Pass the messages of an exchange in order: verifying a response needs the message it answers,
    and verifying an update needs the exchange before it. Without a ring, only signatures are
    inspected, because the certificate is in the message.

    `init` is the initial message that a response answers. `identities` are those that the messages
    omit. Keys are shown as the beginning of their SHA-256 unless `show_keys` is set. With `redact`,
    the octets that hold keys are left out too. `note` is called with a sentence about an `init`
    that does not fit, and once about octets of messages that are shown and hold keys.
    """

    def __init__(
        self,
        ring: KeyRing | None = None,
        init: Message | None = None,
        identities: Mapping[IdRole, Identity] | None = None,
        *,
        show_keys: bool = False,
        redact: bool = False,
        note: Callable[[str], None] = lambda _text: None,
    ) -> None:
        self._ring, self._init, self._identities = ring, init, identities or {}
        if show_keys and redact:
            raise UsageError(
                "--redact leaves out the keys that --show-keys shows; give one of them"
            )
        self.shows_keys, self.redacts, self._note = show_keys, redact, note
        self._noted = show_keys or redact
        self._history: History | None = None

    def is_plain(self, message: Message) -> bool:
        """Return whether a message contains nothing to open."""
        return self._ring is None and _TO_OPEN.isdisjoint(map(type, message.payloads))

    def text(self, message: Message, beside: str = "") -> str | None:
        """Return the JSON object of a plain message as text, with other members `beside` its own.

        This is much faster than `describe`. For any other message it returns None; use `describe`.
        """
        if self.redacts or not self.is_plain(message):
            return None
        beside = f'"opened": null, {beside}' if beside else '"opened": null'
        text = describe_text(message, show_keys=self.shows_keys, beside=beside)
        if not self._noted and might_hold_keys(text):
            self.note_keys(message)
        return text

    def note_keys(self, message: Message) -> None:
        """Say once that octets which are shown whole hold keys, unless that was asked for."""
        if not self._noted and holds_keys(message.payloads):
            self._noted = True
            self._note("keys in the clear are in these octets; --redact leaves them out")

    def read(self, content: bytes | MikeyError) -> Inspected:
        """Read and describe a message, or the part of it that can be read."""
        message: Message | None = None
        described: Json = {}
        failed = False
        error: MikeyError | None = None
        try:
            if isinstance(content, MikeyError):
                raise content
            message = Message.read(content)
            described, failed = self.describe(message)
            error = message.error
        except MikeyError as caught:
            error = caught
        return Inspected(message, described, failed, error)

    def describe(self, message: Message) -> tuple[Json, bool]:
        """Describe a message, and return whether a check failed.

        The description's `inspection` is None if the message is truncated or nothing opens it.
        """
        described = describe(message, show_keys=self.shows_keys)
        if self.redacts:
            redact(described)
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
            "keys": describe_keys(inspection.keys, show_keys=self.shows_keys),
            "notes": inspection.notes,
        }
        for offset, keys in inspection.kemacs.items():
            _add_keys(described["payloads"], offset, describe_keys(keys, show_keys=self.shows_keys))

    def _shown(self, key: bytes) -> str:
        return key.hex() if self.shows_keys else masked(key)


def _add_keys(payloads: Any, offset: int, keys: list[Json]) -> None:
    """Add decrypted keys to the KEMAC at an offset, wherever it is nested."""
    for payload in payloads if isinstance(payloads, list) else ():
        if payload["payload"] == "KEMAC" and payload["offset"] == offset:
            payload["keys"] = keys
        for inside in ("tp_data", "ticket_data"):
            _add_keys(payload.get(inside), offset, keys)
