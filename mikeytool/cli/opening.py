"""What keys say of a message, put into its description."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from mikeytool import decode, describe
from mikeytool.cli.options.common import say
from mikeytool.wire.describe import describe_keys, describe_text, masked
from mikeytool.wire.errors import MikeyError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.payloads import CERT, SIGN
from mikeytool.wire.registry import IdRole

if TYPE_CHECKING:
    from mikeytool.exchange.inspect import Opened
    from mikeytool.exchange.inspect_history import History
    from mikeytool.exchange.inspect_keys import KeyRing

Json = dict[str, Any]


class Opener:
    """Opens messages with the keys of the command line and describes them.

    What comes first in an input is known when what answers it is opened.
    """

    def __init__(
        self,
        ring: KeyRing | None,
        init: Message | None,
        identities: Mapping[IdRole, Identity],
        show_keys: bool,
    ) -> None:
        self._ring, self._init, self._identities = ring, init, identities
        self._show_keys = show_keys
        self._history: History | None = None

    def is_plain(self, message: Message) -> bool:
        """Whether there is nothing in a message to open."""
        return self._ring is None and {SIGN, CERT}.isdisjoint(map(type, message.payloads))

    def text(self, message: Message) -> str | None:
        """The members of the JSON object of a message that there is nothing to open in, as text.

        None for another message, which `describe` is for.
        """
        if not self.is_plain(message):
            return None
        return f'{describe_text(message, show_keys=self._show_keys)[1:-1]}, "opened": null'

    def describe(self, message: Message) -> tuple[Json, bool]:
        """The described message, and whether a check failed.

        Without keys only what is signed is opened: its certificate is in it.
        """
        described = describe(message, show_keys=self._show_keys)
        described["opened"] = None
        signed = message.find(SIGN) is not None
        if not message.header.is_whole or (self._ring is None and not signed):
            return described, False
        if self._init is not None and self._init.header.csb_id != message.header.csb_id:
            say(f"note: --init is of another exchange, CSB ID {self._init.header.csb_id:#010x}")
        opened = self._open(message)
        self._put(opened, described)
        return described, opened.failed

    def remember(self, data: bytes) -> None:
        """Take a message that is not described, for what answers it."""
        with suppress(MikeyError):
            self._open(decode(data))

    def _open(self, message: Message) -> Opened:
        # Loaded here because most messages come without keys.
        from mikeytool.exchange.inspect_history import History
        from mikeytool.exchange.inspect_keys import KeyRing

        if self._history is None:
            self._history = History(self._ring or KeyRing(), self._identities)
        return self._history.open(message, self._init)

    def _put(self, opened: Opened, described: Json) -> None:
        envelope_key = opened.envelope_key
        if envelope_key is not None:
            shown = envelope_key.hex() if self._show_keys else masked(envelope_key)
        described["opened"] = {
            "mac": opened.mac,
            "signature": opened.signature,
            "envelope": opened.envelope,
            "envelope_key": None if envelope_key is None else shown,
            "ticket": opened.ticket,
            "initiator_data": opened.initiator_data,
            "keys": describe_keys(opened.keys, show_keys=self._show_keys),
            "notes": opened.notes,
        }
        for offset, keys in opened.kemacs.items():
            _put_keys(described["payloads"], offset, describe_keys(keys, show_keys=self._show_keys))


def _put_keys(payloads: Any, offset: int, keys: list[Json]) -> None:
    """Put decrypted keys into the KEMAC at an offset, wherever it is nested."""
    for payload in payloads if isinstance(payloads, list) else ():
        if payload["payload"] == "KEMAC" and payload["offset"] == offset:
            payload["keys"] = keys
        for inside in ("tp_data", "ticket_data"):
            _put_keys(payload.get(inside), offset, keys)
