"""`encode`: messages from their description in JSON."""

from __future__ import annotations

import json
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from mikeytool.capture.text import Format, format_message
from mikeytool.cli.exit_codes import complain, exit_code, worst
from mikeytool.cli.message_io import check_output, message_options, open_input, write_output
from mikeytool.cli.options.common import quiet_option, say
from mikeytool.cli.options.opening import (
    context_options,
    key_ring,
    key_ring_options,
    read_identities,
    read_init,
)
from mikeytool.wire.describe import compose, full_keys
from mikeytool.wire.errors import MikeyError, StateError, UsageError, WireError
from mikeytool.wire.identity import Identity
from mikeytool.wire.message import Message, build_chain, contents
from mikeytool.wire.payloads import KEMAC, Payload
from mikeytool.wire.registry import EncrAlg, IdRole

if TYPE_CHECKING:
    from mikeytool.exchange.inspect_history import Earlier
    from mikeytool.exchange.inspect_keys import KeyRing

Json = dict[str, Any]
_BEGIN = 256
_EMPTY = (
    "the input is empty; the command before it in the pipe may have failed, look at its messages"
)
_NO_SPACE = re.compile(r"\S|\Z")


@click.command()
@click.argument("description", required=False, metavar="[JSON]")
@message_options
@context_options
@key_ring_options
@quiet_option
def encode(
    description: str | None,
    fmt: Format,
    output: str | None,
    init: str | None,
    identities: tuple[str, ...],
    **keys: Any,
) -> int:
    """Write the messages that JSON describes, as decode --json prints it.

    JSON is the text itself, a file, or - for standard input; several objects make several
    messages. Lengths, counts, next_payload and names may be left out and are made right;
    where they are given they are written as given. A payload may be {"raw": hex}. What is
    readable wins over the octets beside it: keys that are not masked over encr_data, content
    over data, ssrc, roc and seq over session_data. With keys, MACs, signatures and tickets
    that they cover are computed anew, and a KEMAC is encrypted from full keys.
    """
    if description in (None, "-") and init == "-":
        raise UsageError("only one argument can be standard input")
    sealer = _Sealer(key_ring(**keys), read_init(init), read_identities(identities))
    check_output(output)
    codes: set[int] = set()
    written = []
    items = _items(description)
    first = list(islice(items, 2))
    for at, item in enumerate(chain(first, items), 1):
        try:
            data = sealer.write(item)
        except MikeyError as error:
            complain(f"item {at}: {error}" if len(first) > 1 else str(error))
            codes.add(exit_code(error))
            continue
        if output in (None, "-"):
            sys.stdout.buffer.write(format_message(data, fmt))
        else:
            written.append(format_message(data, fmt))
    if written:
        write_output(b"".join(written), output)
    return worst(codes)


def _items(argument: str | None) -> Iterator[Any]:
    """The values in an input: one a line, or one behind the other, or a list of them.

    Where each line is one, as decode --json prints them, one line is held at a time; from
    the first that is none on, the rest is read at once. In the place of what is no JSON
    there is a WireError; reading goes on with the next line that begins with an object.
    """
    with open_input(argument) as source:
        try:
            _check_begin(source.peek(_BEGIN), argument)
            is_blank, is_lost = True, False
            for number, line in enumerate(source, 1):
                if not line.strip() or (is_lost and not line.startswith(b"{")):
                    continue
                is_blank = is_lost = False
                try:
                    value = json.loads(line.removeprefix(BOM_UTF8).decode())
                except (ValueError, RecursionError) as error:
                    if not _is_broken(error):
                        yield from _values(line + source.read(), number)
                        return
                    is_lost, value = True, WireError(f"line {number}: {_no_json(error)}")
                yield from value if isinstance(value, list) else [value]
            if is_blank:
                raise WireError(_EMPTY)
        except OSError as error:
            raise StateError(f"{argument}: {error.strerror}") from None


def _check_begin(head: bytes, argument: str | None) -> None:
    """Raise WireError for an input that cannot be JSON."""
    head = head.removeprefix(BOM_UTF8)
    if head.strip() and head.lstrip()[:1] not in (b"{", b"["):
        short = argument is not None and argument != "-" and len(argument) < 64
        hint = f"; and there is no file {argument!r}" if short else ""
        raise WireError(f"this is no JSON object, as decode --json prints it{hint}")


def _is_broken(error: Exception) -> bool:
    """Whether the lines behind the one that gave this error cannot make it right."""
    if not isinstance(error, json.JSONDecodeError) or error.msg == "Extra data":
        return False
    return error.pos < len(error.doc.rstrip())


def _no_json(error: Exception) -> str:
    reason = getattr(error, "msg", "nested too deep, or a number too long")
    return f"this is no JSON: {reason}"


def _values(data: bytes, line: int) -> Iterator[Any]:
    """The values of a JSON text that begins in that line."""
    try:
        text = data.removeprefix(BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line += data.count(b"\n", 0, error.start)
        yield WireError(f"line {line}: this is no JSON: octets that are no UTF-8")
        return
    decoder = json.JSONDecoder()
    pos = counted = 0
    while True:
        pos = _NO_SPACE.search(text, pos).start()  # type: ignore[union-attr]
        if pos == len(text):
            return
        try:
            value, pos = decoder.raw_decode(text, pos)
        except (ValueError, RecursionError) as error:
            at = getattr(error, "pos", pos)
            line += text.count("\n", counted, at)
            counted = at
            yield WireError(f"line {line}: {_no_json(error)}")
            pos = (text.find("\n{", pos) + 1) or len(text)
            continue
        if isinstance(value, list):
            yield from value
        else:
            yield value


class _Sealer:
    """Makes anew what the keys of the command line cover, message by message."""

    def __init__(
        self, ring: KeyRing | None, init: Message | None, identities: dict[IdRole, Identity]
    ) -> None:
        self._ring, self._init, self._identities = ring, init, identities
        self._earlier: Earlier | None = None

    def write(self, item: Any) -> bytes:
        """The octets of a message; raises UsageError and WireError for what is none."""
        if isinstance(item, WireError):
            raise item
        if not isinstance(item, dict):
            raise WireError("a JSON object is expected for a message, as decode --json prints it")
        if item.keys() == {"error"}:
            raise WireError(f"this was no message before: {str(item['error'])[:200]}")
        message = compose(item if self._ring is None else _with_room(item))
        if self._ring is None or not message.header.is_whole:
            return message.build()
        return self._sealed(message, item, self._ring)

    def _sealed(self, message: Message, item: Json, ring: KeyRing) -> bytes:
        # Loaded here because most messages are written without keys.
        from mikeytool.exchange.inspect_history import Earlier
        from mikeytool.exchange.sealing import seal_message

        self._earlier = self._earlier or Earlier()
        message = _readable(message)
        wanted = list(_new_keys(message.payloads, item.get("payloads")))
        sealed = seal_message(
            message,
            ring,
            self._init,
            self._identities,
            self._earlier.of(message),
            keys={one.offset: one.keys for one in wanted},
        )
        for one in wanted:
            if one.is_bare and one.offset not in sealed.kemacs:
                raise UsageError(
                    f"KEMAC at octet {one.offset}: encr_data is missing, and none of the keys"
                    " given encrypts the keys in it"
                )
        if sealed.written:
            say(f"made anew: {', '.join(sealed.written)}")
        else:
            say("note: the keys given cover nothing in this message")
        for note in sealed.notes:
            say(f"note: {note}")
        with suppress(WireError):
            self._earlier.add(Message.parse(sealed.message))
        return sealed.message


def _readable(message: Message) -> Message:
    """A message as it will be read, or if it is too broken for that as it was composed."""
    with suppress(WireError):
        read = Message.parse(message.build())
        if len(read.payloads) == len(message.payloads):
            return read
    message.place()
    return message


def _with_room(described: Json, depth: int = 2) -> Json:
    """A description in which KEMACs that have nothing but their keys have zeros to encrypt."""
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
    """What an encrypted KEMAC is to hold; `is_bare` without Encr data to fall back on."""

    offset: int
    keys: list[Payload]
    is_bare: bool


def _new_keys(payloads: list[Payload], described: Any) -> Iterator[_Wanted]:
    """What each encrypted KEMAC is to hold that is described with full keys."""
    for payload, beside in zip(payloads, described or (), strict=False):
        if isinstance(payload, KEMAC) and payload.encr_alg != EncrAlg.NULL:
            keys = full_keys(beside.get("keys"))
            if keys is not None:
                yield _Wanted(payload.offset, keys, beside.get("encr_data") is None)
        for name, inside in contents(payload):
            if isinstance(beside.get(name), list):
                yield from _new_keys(list(inside), beside[name])
