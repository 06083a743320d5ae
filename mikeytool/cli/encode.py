"""`encode`: messages from their descriptions in JSON."""

from __future__ import annotations

import sys
from codecs import BOM_UTF8
from collections.abc import Iterator
from typing import Any

import click

from mikeytool.capture.json_input import json_values
from mikeytool.capture.text import Format, format_message
from mikeytool.cli.command_groups import Command
from mikeytool.cli.exit_codes import complain, exit_code, worst
from mikeytool.cli.message_io import message_options, open_input, write_output
from mikeytool.cli.message_items import for_each
from mikeytool.cli.options.common import quiet_option, say
from mikeytool.cli.options.opening import (
    context_options,
    key_ring,
    key_ring_options,
    read_identities,
    read_init,
)
from mikeytool.cli.options.outputs import check_output, output_force_option
from mikeytool.exchange.reseal import Resealer
from mikeytool.wire.errors import MikeyError, StateError, UsageError, WireError

_BEGIN = 256


@click.command(cls=Command)
@click.argument("description", required=False, metavar="[JSON]")
@message_options
@output_force_option
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
    """Write messages from JSON, as decode --json prints it.

    JSON is the text itself, a file, or - for standard input; several objects make several
    messages. Lengths, counts, next_payload and names may be left out and are filled in;
    where they are given they are written as given. A payload may be {"raw": hex}. A readable
    field is used in place of the octets beside it: keys that are not masked for encr_data,
    content for data, ssrc, roc and seq for session_data. With keys, the MACs, signatures and
    tickets that they cover are computed again, and a KEMAC is encrypted from full keys.
    """
    if description in (None, "-") and init == "-":
        raise UsageError("only one argument can be standard input")
    resealer = Resealer(key_ring(**keys), read_init(init), read_identities(identities))
    check_output(output)
    codes: set[int] = set()
    written = []

    def take(at: int, item: Any, many: bool | None) -> None:
        try:
            data = _encoded(resealer, item)
        except MikeyError as error:
            complain(str(error), "" if many is False else f"item {at + 1}")
            codes.add(exit_code(error))
            return
        if output in (None, "-"):
            sys.stdout.buffer.write(format_message(data, fmt))
        else:
            written.append(format_message(data, fmt))

    for_each(_items(description), take)
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
        say(f"computed again: {', '.join(encoded.written)}")
    elif encoded.written is not None:
        say("note: the keys given cover nothing in this message")
    for note in encoded.notes:
        say(f"note: {note}")
    return encoded.message


def _items(argument: str | None) -> Iterator[Any]:
    """Read the values of the input, with a WireError in place of each that is no JSON."""
    with open_input(argument) as source:
        try:
            _check_begin(source.peek(_BEGIN), argument)
            yield from json_values(source)
        except BrokenPipeError:  # of the output, which is given out while the input is waited for
            raise
        except OSError as error:
            raise StateError(f"{argument}: {error.strerror}") from None


def _check_begin(head: bytes, argument: str | None) -> None:
    """Raise WireError for an input that cannot be JSON."""
    head = head.removeprefix(BOM_UTF8)
    if head.strip() and head.lstrip()[:1] not in (b"{", b"["):
        short = argument is not None and argument != "-" and len(argument) < 64
        hint = f"; and there is no file {argument!r}" if short else ""
        raise WireError(f"this is no JSON object, as decode --json prints it{hint}")
