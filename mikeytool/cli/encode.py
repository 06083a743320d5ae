"""`encode`: messages from their description in JSON."""

from __future__ import annotations

import json
import re
import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

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
from mikeytool.exchange.reseal import Resealer
from mikeytool.wire.errors import MikeyError, StateError, UsageError, WireError

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
    resealer = Resealer(key_ring(**keys), read_init(init), read_identities(identities))
    check_output(output)
    codes: set[int] = set()
    written = []
    items = _items(description)
    first = list(islice(items, 2))
    for at, item in enumerate(chain(first, items), 1):
        try:
            data = _encoded(resealer, item)
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


def _encoded(resealer: Resealer, item: Any) -> bytes:
    """Give the octets of a message; raises UsageError and WireError for what is none."""
    if isinstance(item, WireError):
        raise item
    if not isinstance(item, dict):
        raise WireError("a JSON object is expected for a message, as decode --json prints it")
    encoded = resealer.encode(item)
    if encoded.written:
        say(f"made anew: {', '.join(encoded.written)}")
    elif encoded.written is not None:
        say("note: the keys given cover nothing in this message")
    for note in encoded.notes:
        say(f"note: {note}")
    return encoded.message


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
