"""`decode`: what is in a message."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import chain, islice
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

import click

from mikeytool.capture.one_message import position
from mikeytool.cli.command_groups import Command
from mikeytool.cli.exit_codes import EXIT_REFUSED, EXIT_UNREADABLE, complain, exit_code, worst
from mikeytool.cli.message_io import write_output
from mikeytool.cli.message_items import Item, for_each, items_of, name_of
from mikeytool.cli.options.common import quiet_option, say, show_keys_option
from mikeytool.cli.options.opening import (
    context_options,
    key_ring,
    key_ring_options,
    read_identities,
    read_init,
)
from mikeytool.cli.options.outputs import OUTPUT, check_output, output_force_option
from mikeytool.cli.render.guarded_streams import print_json
from mikeytool.exchange.inspect_description import Inspected, Inspector
from mikeytool.wire.describe import schema
from mikeytool.wire.errors import MikeyError, UsageError, WireError
from mikeytool.wire.message import Message
from mikeytool.wire.redaction import redact as redact_keys

if TYPE_CHECKING:
    from mikeytool.capture.captured_messages import CapturedMessage
    from mikeytool.media.message_flow import Row
    from mikeytool.media.signalling_steps import SignallingSteps
    from mikeytool.wire.annotated_dump import Row as AnnotatedRow

Json = dict[str, Any]


@click.command(cls=Command)
@click.argument("inputs", nargs=-1, metavar="[INPUT]...")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--hex", "as_hex", is_flag=True, help="Print every octet beside its field.")
@click.option("--html", "as_html", is_flag=True, help="Print one page of HTML, complete in itself.")
@click.option("-o", "--output", type=OUTPUT, metavar="FILE", help="Write the page to FILE.")
@output_force_option
@click.option("--schema", "show_schema", is_flag=True, help="Print the JSON Schema of --json.")
@click.option("--lines", is_flag=True, help="Take every line as a message of its own.")
@click.option("--index", type=int, help="Show only the message with this number, from 1.")
@click.option("--redact", is_flag=True, help="Leave out octets that are, or may hold, keys.")
@click.option("--flow", is_flag=True, help="Show the exchanges in a capture as a ladder.")
@context_options
@key_ring_options
@show_keys_option
@quiet_option
def decode(
    inputs: tuple[str, ...],
    as_json: bool,
    as_hex: bool,
    as_html: bool,
    output: str | None,
    show_schema: bool,
    lines: bool,
    index: int | None,
    redact: bool,
    flow: bool,
    init: str | None,
    identities: tuple[str, ...],
    show_keys: bool,
    **keys: Any,
) -> int:
    """Show what is in MIKEY messages, as a tree, as JSON or octet by octet.

    INPUT is a message, a file of messages or - for standard input: binary, hex, base64, an
    a=key-mgmt or KeyMgmt line, or whole SDP, SIP and RTSP messages; or a pcap or pcapng file,
    of which every message is listed. With keys, every MAC and ticket that they cover is
    verified. Keys in the clear are masked without --show-keys, but not in the octets of --json
    and --hex, unless with --redact.
    """
    if show_schema:
        print(json.dumps(schema(), indent=2))
        return 0
    if as_json + as_hex + as_html > 1:
        raise UsageError("--json, --hex and --html: give one of them")
    if output is not None and not as_html:
        raise UsageError("-o goes with --html; for the rest use the shell, as in decode … > FILE")
    check_output(output)
    if flow and (as_json or as_hex or as_html or index is not None):
        raise UsageError("--flow shows all messages, without --json, --hex, --html and --index")
    steps = _steps() if flow or as_html else None
    items = items_of(inputs, init, lines=lines, steps=steps)
    ring = key_ring(**keys)
    inspector = Inspector(
        ring,
        read_init(init),
        read_identities(identities),
        show_keys=show_keys,
        redact=redact,
        note=lambda text: say(f"note: {text}"),
    )
    show = _show_json if as_json else _show_dump if as_hex else _show_tree
    if index is not None:
        items = iter([_chosen(items, index, inspector)])
    if as_html and steps is not None:
        hides = attrgetter("is_redacted" if redact else "is_secret")
        hidden = (lambda _row: False) if show_keys else hides
        return _page(inputs, items, inspector, steps, hidden, output)
    if steps is not None:
        return _overview(items, inspector, steps, checked=ring is not None)
    first = next(items)
    items = chain([first], items)
    if show is _show_tree and index is None and first.captured is not None:
        return _overview(items, inspector, checked=ring is not None)
    codes: set[int] = set()

    def take(at: int, item: Item, many: bool | None) -> None:
        codes.add(_decode_one(item, inspector, show, at=at, many=item.has_place(many)))

    for_each(items, take)
    return worst(codes)


def _chosen(items: Iterator[Item], index: int, inspector: Inspector) -> Item:
    """Find the item that `--index` means; raises UsageError."""
    chosen: dict[int, Item] = {}
    count = 0
    for item in items:
        if count == index - 1:
            chosen[count] = item
        elif count < index and isinstance(item.content, bytes):
            inspector.remember(item.content)
        count += 1
    return chosen[position(index, count)]


Show = Callable[[Inspector, Message, Json, str | None, bool], None]


def _decode_one(item: Item, inspector: Inspector, show: Show, *, at: int, many: bool) -> int:
    """Print one message, or the part of it that can be read; gives its exit code."""
    where = item.where if many else ""
    try:
        if isinstance(item.content, MikeyError):
            raise item.content
        message = Message.read(item.content)
    except MikeyError as error:
        if show is _show_json:
            print_json(json.dumps({"error": str(error), **_facts(item)}))
        complain(str(error), where)
        return exit_code(error)
    text, failed = None, False
    if show is _show_json:
        text = inspector.text(message, json.dumps(_facts(item))[1:-1] if item.captured else "")
    if text is not None:
        print_json(text)
    else:
        described: Json = {}
        if show is not _show_dump or not inspector.is_plain(message):
            described, failed = inspector.describe(message)
        show(inspector, message, described | _facts(item), item.where if many else None, at == 0)
    if message.error is not None:
        complain(str(message.error), where)
        return EXIT_UNREADABLE
    return EXIT_REFUSED if failed else 0


def _facts(item: Item) -> Json:
    return {} if item.captured is None else item.captured.facts


def _steps() -> SignallingSteps:
    from mikeytool.media.signalling_steps import SignallingSteps

    return SignallingSteps()


def _overview(
    items: Iterator[Item],
    inspector: Inspector,
    steps: SignallingSteps | None = None,
    *,
    checked: bool,
) -> int:
    """Print a line for each message of captures, or arrows for them and `steps`.

    Gives the exit code.
    """
    from mikeytool.cli.render.capture import show_list
    from mikeytool.media.message_flow import MOST_ARROWS, flow_of

    codes: set[int] = set()

    def rows() -> Iterator[Row]:
        number = 0
        for item in items:
            known = inspector.read(item.content)
            codes.update(_codes(known, item))
            if item.captured is not None:
                number += 1
                yield _row(item, known, number, 0 if steps is None else steps.file)
            elif known.message is not None:
                raise UsageError(
                    "captures go without other messages beside them; give those in a run of"
                    " their own"
                    if steps is None
                    else "--flow draws captures only; for other messages leave it out"
                )

    found = rows()
    left_out = 0
    if steps is None:
        show_list(found, checked=checked)
    else:
        from mikeytool.cli.render.ladder import show_ladders

        shown = list(islice(found, MOST_ARROWS))
        flow = flow_of(shown, steps)
        show_ladders(flow)
        left_out = sum(1 for _ in found) + flow.left_out
    if left_out:
        raise WireError(f"--flow shows {MOST_ARROWS} messages; {left_out} more are left out")
    return worst(codes)


def _page(
    inputs: tuple[str, ...],
    items: Iterator[Item],
    inspector: Inspector,
    steps: SignallingSteps,
    hides: Callable[[AnnotatedRow], bool],
    output: str | None,
) -> int:
    """Print or write a page with every message; gives the exit code."""
    from mikeytool.lint.check import lint
    from mikeytool.media.html_overview import overview
    from mikeytool.media.html_page import MOST_MESSAGES, HtmlSection, html_document
    from mikeytool.media.message_flow import flow_of

    rows, sections, codes = [], [], set()
    for number, item in enumerate(islice(items, MOST_MESSAGES), 1):
        known = inspector.read(item.content)
        codes.update(_codes(known, item))
        received = None
        if item.captured is not None:
            rows.append(_row(item, known, number, steps.file))
            received = item.captured.signal.moment.time
        message = known.message
        findings = [] if message is None else lint(message, now_ns=received).findings
        sections.append(HtmlSection(item.where, known, findings))
    left_out = sum(1 for _ in items)
    title = ", ".join(name_of(one) for one in inputs) or "MIKEY"
    above = overview(rows, flow_of(rows, steps)) if rows else ()
    document = html_document(title, sections, above, hides)
    if output is None or output == "-":
        sys.stdout.writelines(document)
    elif any(section.known.message is not None for section in sections):
        write_output("".join(document).encode(), output)
    if left_out:
        raise WireError(f"--html shows {MOST_MESSAGES} messages; {left_out} more are left out")
    return worst(codes)


def _row(item: Item, known: Inspected, number: int, file: int = 0) -> Row:
    """Give the row of a message of a capture; `file` is the number of the capture."""
    from mikeytool.media.message_flow import Row, result_of

    return Row(
        number, cast("CapturedMessage", item.captured), known.message, result_of(known), file
    )


def _codes(known: Inspected, item: Item) -> set[int]:
    """Complain of what cannot be read, and give the exit codes of a message."""
    if known.error is not None:
        complain(str(known.error), item.where)
        return {exit_code(known.error)} | ({EXIT_REFUSED} if known.failed else set())
    return {EXIT_REFUSED} if known.failed else set()


def _show_json(
    inspector: Inspector, message: Message, described: Json, _where: str | None, _first: bool
) -> None:
    inspector.note_keys(message)
    print_json(json.dumps(described))


def _show_tree(
    inspector: Inspector, _message: Message, described: Json, where: str | None, first: bool
) -> None:
    # Imported here, as in the next: a pipe of JSON needs no rich.
    from mikeytool.cli.render.tree import show_tree

    _title(where, first)
    is_done = inspector.shows_keys or inspector.redacts
    show_tree(described if is_done else redact_keys(described, unread=False))


def _show_dump(
    inspector: Inspector, message: Message, _described: Json, where: str | None, first: bool
) -> None:
    from mikeytool.cli.render.dump import show_dump

    _title(where, first)
    inspector.note_keys(message)
    show_dump(message, redact=inspector.redacts)


def _title(where: str | None, first: bool) -> None:
    if where is not None:
        print(f"{'' if first else chr(10)}# {where}")
