"""`decode`: what is in a message."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import click

from mikeytool.capture.text import Found
from mikeytool.cli.common import (
    IDENTITY,
    json_option,
    messages_of,
    one_message,
    pick,
    quiet_option,
    read_input,
    show_keys_option,
)
from mikeytool.cli.keyring import key_ring, opening_options
from mikeytool.cli.main import EXIT_REFUSED, EXIT_UNREADABLE, complain, worst
from mikeytool.wire.describe import describe, describe_keys
from mikeytool.wire.errors import UsageError, WireError
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
    if (*inputs, init).count("-") > 1:
        raise UsageError("only one argument can be standard input")
    ring = key_ring(**keys)
    initial = None if init is None else Message.parse(one_message(init, what="--init"))
    opener = _Opener(ring, initial, _identities(identities), show_keys)
    found = [item for one in inputs or ("-",) for item in messages_of(read_input(one), lines=lines)]
    if index is not None:
        found = [found[pick(index, len(found))]]
    codes: set[int] = set()
    for at, item in enumerate(found):
        codes.add(_decode_one(item, opener, as_json=as_json, at=at, many=len(found) > 1))
    return worst(codes)


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

        opened = open_message(message, self._ring, self._init, self._identities)
        described["opened"] = {
            "mac": opened.mac,
            "ticket": opened.ticket,
            "initiator_data": opened.initiator_data,
            "keys": describe_keys(opened.keys, show_keys=self._show_keys),
        }
        return described, opened.failed


def _decode_one(
    item: Found | WireError, opener: _Opener, *, as_json: bool, at: int, many: bool
) -> int:
    """Print one message; gives its exit code."""
    try:
        if isinstance(item, WireError):
            raise item
        message = Message.read(item.message)
        described, failed = opener.describe(message)
    except WireError as error:
        where = f"{item.where}: " if many and isinstance(item, Found) else ""
        if as_json:
            print(json.dumps({"error": str(error)}))
        complain(f"{where}{error}")
        return EXIT_UNREADABLE
    if message.error is not None:
        described["error"] = str(message.error)
    if as_json:
        print(json.dumps(described))
    else:
        _print_tree(described, f"{item.where}" if many else None, first=at == 0)
    if message.error is not None:
        sys.stdout.flush()
        complain(f"{f'{item.where}: ' if many else ''}{message.error}")
        return EXIT_UNREADABLE
    return EXIT_REFUSED if failed else 0


def _print_tree(described: Json, where: str | None, *, first: bool) -> None:
    # Imported here: a pipe of JSON needs no rich.
    from mikeytool.cli.tree import show_tree

    if where is not None:
        print(f"{'' if first else chr(10)}# {where}")
    show_tree(described)
