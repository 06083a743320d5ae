"""`decode`: what is in a message."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mikeytool.capture.text import Found
from mikeytool.cli.keyring import key_ring, opening_options
from mikeytool.cli.main import EXIT_REFUSED, EXIT_UNREADABLE, complain, exit_code, worst
from mikeytool.cli.messages import messages_of, one_message, pick
from mikeytool.cli.values import IDENTITY
from mikeytool.cli.words import json_option, quiet_option, say, show_keys_option
from mikeytool.wire.describe import describe, describe_keys
from mikeytool.wire.errors import MikeyError, UsageError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message
from mikeytool.wire.registry import IdRole

if TYPE_CHECKING:
    from mikeytool.exchange.opening import KeyRing

Json = dict[str, Any]
_ROLES = {"i": IdRole.INITIATOR, "r": IdRole.RESPONDER, "kms": IdRole.KMS}


@click.command()
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@json_option
@click.option("--lines", is_flag=True, help="Every line is a message of its own.")
@click.option("--index", type=int, help="Only the message of that number, from 1.")
@click.option("--init", metavar="MESSAGE", help="The initial message that a response answers.")
@click.option(
    "--identity", "identities", multiple=True, metavar="ROLE=ID",
    help="An identity that the message leaves out; ROLE is i, r or kms.",
)  # fmt: skip
@opening_options
@show_keys_option
@quiet_option
def decode(
    inputs: tuple[str, ...],
    as_json: bool,
    lines: bool,
    index: int | None,
    init: str | None,
    identities: tuple[str, ...],
    show_keys: bool,
    **keys: Any,
) -> int:
    """Show what is in MIKEY messages, as a tree or as JSON.

    INPUT is a message, a file of messages or - for standard input: binary, hex, base64, an
    a=key-mgmt or KeyMgmt line, or whole SDP, SIP and RTSP messages. With keys, every MAC and
    ticket that they cover is verified.
    """
    inputs = inputs or ("-",)
    if (*inputs, init).count("-") > 1:
        raise UsageError("only one argument can be standard input")
    ring = key_ring(**keys)
    initial = None if init is None else Message.parse(one_message(init, what="--init"))
    opener = _Opener(ring, initial, _identities(identities), show_keys)
    found = [item for one in inputs for item in _items(one, lines=lines, many=len(inputs) > 1)]
    if len(found) == 1 and isinstance(found[0].content, MikeyError):
        raise found[0].content
    if index is not None:
        found = [found[pick(index, len(found))]]
    codes: set[int] = set()
    for at, item in enumerate(found):
        codes.add(_decode_one(item, opener, as_json=as_json, at=at, many=len(found) > 1))
    return worst(codes)


class _Item(NamedTuple):
    """A message to decode or why there is none, and where it stood."""

    content: bytes | MikeyError
    where: str


def _items(argument: str, *, lines: bool, many: bool) -> Iterator[_Item]:
    """The messages of one input; an input that cannot be read is one bad item."""
    name = f"{argument}: " if many else ""
    try:
        for item in messages_of(argument, lines=lines):
            if isinstance(item, Found):
                yield _Item(item.message, name + item.where)
            else:
                yield _Item(item, name.removesuffix(": "))
    except MikeyError as error:
        yield _Item(error, "" if argument in str(error) else name.removesuffix(": "))


def _identities(given: tuple[str, ...]) -> dict[IdRole, Identity]:
    found = {}
    for one in given:
        role, _, text = one.partition("=")
        if role not in _ROLES or not text:
            raise UsageError(f"--identity {one}: give i=ID, r=ID or kms=ID")
        found[_ROLES[role]] = IDENTITY.convert(text, None, None)
    return found


class _Opener:
    """Opens messages with the keys of the command line and describes them."""

    def __init__(
        self,
        ring: KeyRing | None,
        init: Message | None,
        identities: dict[IdRole, Identity],
        show_keys: bool,
    ) -> None:
        self._ring, self._init, self._identities = ring, init, identities
        self._show_keys = show_keys

    def describe(self, message: Message) -> tuple[Json, bool]:
        """The described message, and whether a check failed."""
        described = describe(message, show_keys=self._show_keys)
        described["opened"] = None
        if self._ring is None:
            return described, False
        from mikeytool.exchange.opening import open_message

        if self._init is not None and self._init.header.csb_id != message.header.csb_id:
            say(f"note: --init is of another exchange, CSB ID {self._init.header.csb_id:#010x}")
        opened = open_message(message, self._ring, self._init, self._identities)
        described["opened"] = {
            "mac": opened.mac,
            "ticket": opened.ticket,
            "initiator_data": opened.initiator_data,
            "keys": describe_keys(opened.keys, show_keys=self._show_keys),
        }
        for offset, keys in opened.kemacs.items():
            shown = describe_keys(keys, show_keys=self._show_keys)
            _put_keys(described["payloads"], offset, shown)
        return described, opened.failed


def _put_keys(payloads: Any, offset: int, keys: list[Json]) -> None:
    """Put decrypted keys into the KEMAC at an offset, wherever it is nested."""
    for payload in payloads if isinstance(payloads, list) else ():
        if payload["payload"] == "KEMAC" and payload["offset"] == offset:
            payload["keys"] = keys
        for inside in ("tp_data", "ticket_data"):
            _put_keys(payload.get(inside), offset, keys)


def _decode_one(item: _Item, opener: _Opener, *, as_json: bool, at: int, many: bool) -> int:
    """Print one message; gives its exit code."""
    where = f"{item.where}: " if many and item.where else ""
    try:
        if isinstance(item.content, MikeyError):
            raise item.content
        message = Message.read(item.content)
    except MikeyError as error:
        if as_json:
            print(json.dumps({"error": str(error)}))
        complain(f"{where}{error}")
        return exit_code(error)
    described, failed = opener.describe(message)
    if message.error is not None:
        described["error"] = str(message.error)
    if as_json:
        print(json.dumps(described))
    else:
        _print_tree(described, item.where if many else None, first=at == 0)
    if message.error is not None:
        sys.stdout.flush()
        complain(f"{where}{message.error}")
        return EXIT_UNREADABLE
    return EXIT_REFUSED if failed else 0


def _print_tree(described: Json, where: str | None, *, first: bool) -> None:
    # Imported here: a pipe of JSON needs no rich.
    from mikeytool.cli.tree import show_tree

    if where is not None:
        print(f"{'' if first else chr(10)}# {where}")
    show_tree(described)
